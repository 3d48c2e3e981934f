//! Signals to `forklat run`: what was measured is shown, and a command is asked to end.

use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use super::{COMMAND_TIME_ONLY, HeldRun, RunFixture, SHORT_RUN, wait_until};
use crate::support::{
    Running, assert_exit, assert_signal, describe_output, lossy_string, retry_until_met,
};

const FORK: &str = "--probe=fork";

#[test]
fn a_command_gets_the_signal_and_the_table_is_printed() {
    for (signal, status) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGINT, 130),
        (Signal::SIGHUP, 129),
    ] {
        let place = RunFixture::new();
        let held = HeldRun::start(&place, &[&SHORT_RUN[..], &["--export-json=json"]].concat());
        held.running.signal(signal);
        let output = held.running.finish();
        assert_exit(&output, status);
        let stderr = lossy_string(&output.stderr);
        let head = ["baseline", "during", "ratio"];
        let table = stderr.lines().any(|line| line.split_whitespace().eq(head));
        assert!(table && stderr.contains("fork "), "{stderr}");
        assert_eq!(place.report("json").subjects.len(), 2);
        place.assert_only(&["go", "json", "started"]);
    }
}

/// A program that answers an interrupt by going on, as a shell does, has the last word: forklat waits for it.
#[test]
fn a_command_that_goes_on_is_measured_to_its_end() {
    let place = RunFixture::new();
    let [shell, option, script] = HeldRun::command(&place);
    let mut command = place.forklat();
    command
        .arg("run")
        .args(&SHORT_RUN[..])
        .args([shell, option]);
    let held = HeldRun::with(&place, command.arg(format!("trap '' TERM; {script}")));
    for _ in 0..3 {
        held.running.signal(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(100));
    }
    let output = held.finish();
    assert_exit(&output, 0);
    assert!(
        lossy_string(&output.stderr).contains("during"),
        "{}",
        describe_output(&output)
    );
    place.assert_only(&["done", "go", "started"]);
}

/// The settling is not waited for either: who interrupts wants to see.
#[test]
fn the_watching_ends_and_what_was_measured_is_shown() {
    let mut sleeper = Running::start(Command::new("sleep").arg("1h"));
    let attach = format!("--attach={}", sleeper.pid());
    for target in ["--for=1h", &attach] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            // The first answer may not have come by then; from outside nobody can tell.
            retry_until_met("a measurement to interrupt", || {
                let shown = interrupted(target, signal);
                assert!(!shown.contains("after"), "{shown}");
                shown.contains("during") && shown.contains("fork ")
            });
        }
    }
    assert!(!sleeper.has_ended(), "it is only watched");
}

/// What is shown of a watching that a signal has ended.
fn interrupted(target: &str, signal: Signal) -> String {
    let place = RunFixture::new();
    let mut command = place.forklat();
    command.args([
        "run",
        "--baseline=0",
        "--settle=1h",
        FORK,
        target,
        "--export-json=json",
    ]);
    let running = Running::start(&mut command);
    wait_until("the observers", || is_measuring(&running));
    thread::sleep(Duration::from_millis(100));
    running.signal(signal);
    let output = running.finish();
    assert_exit(&output, 0);
    assert!(output.stderr.is_empty(), "{}", describe_output(&output));
    place.assert_only(&["json"]);
    lossy_string(&output.stdout)
}

/// Whether the first and the last observer are there; forklat has its handlers before them.
fn is_measuring(running: &Running) -> bool {
    let all = super::children(running.pid());
    let named = |name: &str| all.iter().any(|process| process.name.starts_with(name));
    named("fork-on-CPU") && named("sampler")
}

#[test]
fn the_baseline_is_given_up_and_the_command_never_starts() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = RunFixture::new();
        let mut command = place.forklat();
        command.args([
            "run",
            "--baseline=1h",
            FORK,
            "--export-json=json",
            "touch",
            "started",
        ]);
        let running = Running::start(&mut command);
        wait_until("the observers", || is_measuring(&running));
        running.signal(signal);
        let output = running.finish();
        assert_signal(&output, signal as i32);
        assert!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "{}",
            describe_output(&output)
        );
        place.assert_only(&[]);
    }
}

/// Started by nohup, or in the background of a shell.
#[test]
fn forklat_leaves_a_signal_ignored_that_was_ignored_at_start() {
    let place = RunFixture::new();
    let mut command = place.command_with_mark("sh");
    command.args([
        "-c",
        "trap '' INT; exec \"$@\"",
        "sh",
        &*super::FORKLAT,
        "run",
        FORK,
    ]);
    command
        .args(COMMAND_TIME_ONLY)
        .args(HeldRun::command(&place));
    let held = HeldRun::with(&place, &mut command);
    held.running.signal(Signal::SIGINT);
    let output = held.finish();
    assert_exit(&output, 0);
    place.assert_only(&["done", "go", "started"]);
}

/// A second signal does not wait for an observer that does not answer.
#[test]
fn a_second_signal_ends_the_run_at_once() {
    let place = RunFixture::new();
    let mut command = place.forklat();
    command
        .args(["run", "--for=1h", FORK, "--export-json=json"])
        .args(COMMAND_TIME_ONLY);
    let running = Running::start(&mut command);
    wait_until("the observers", || is_measuring(&running));
    let all = super::children(running.pid());
    let held = all
        .iter()
        .find(|process| process.name.starts_with("fork-on-CPU"));
    kill(held.unwrap().pid, Signal::SIGSTOP).unwrap();
    running.signal(Signal::SIGTERM);
    thread::sleep(Duration::from_millis(300));
    running.signal(Signal::SIGTERM);
    let output = running.finish();
    assert_signal(&output, Signal::SIGTERM as i32);
    assert!(output.stdout.is_empty(), "{}", describe_output(&output));
    place.assert_only(&[]);
}

/// A signal that its caller ignores is ignored by the command, too, as it would be without forklat.
#[test]
fn what_is_ignored_stays_so_for_the_command() {
    let script = format!(
        "trap '' USR1 XFSZ; exec {} run --baseline=0 --settle=0 --probe=fork -- grep SigIgn /proc/self/status",
        &*super::FORKLAT
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let mask = said.trim().strip_prefix("SigIgn:").map(str::trim);
    let mask = u64::from_str_radix(mask.unwrap(), 16).unwrap();
    for signal in [Signal::SIGUSR1, Signal::SIGXFSZ] {
        assert_ne!(
            mask & (1 << (signal as i32 - 1)),
            0,
            "{}",
            describe_output(&output)
        );
    }
}
