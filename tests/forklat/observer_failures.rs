//! Observers that die or find the disk full, and a forklat that is killed: no half table, and nobody is left.

use std::fs;

use nix::sys::signal::{Signal, kill};

use super::{COMMAND_TIME_ONLY, FORKLAT, HeldRun, Process, RunFixture, marked, wait_until};
use crate::support::{Running, assert_exit, describe_output, lossy_string, run, skip};

const EXPORTS: [&str; 2] = ["--export-json=json", "--export-hlog=hlog"];

/// The command is someone's work: it ends as it would have, but there are no figures.
#[test]
fn an_observer_that_is_killed_costs_the_figures_not_the_command() {
    for (comm, name) in [("fork-on-CPU-", "fork on CPU "), ("sampler", "sampler")] {
        let place = RunFixture::new();
        let words = [&COMMAND_TIME_ONLY[..], &EXPORTS, &["--probe=fork"]].concat();
        let held = HeldRun::start(&place, &words);
        let victim = held.observers(comm)[0];
        kill(victim, Signal::SIGKILL).unwrap();
        wait_until("the death is noticed", || Process::of(victim).is_none());
        let output = held.finish();
        assert_exit(&output, 125);
        assert!(output.stdout.is_empty(), "{}", describe_output(&output));
        let stderr = lossy_string(&output.stderr);
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{stderr}");
        assert!(
            lines[0].starts_with(&format!("forklat: {name}")),
            "{stderr}"
        );
        let how = ": was killed by signal 9; the command continues, but is not measured any more";
        assert!(lines[0].ends_with(how), "{stderr}");
        assert_eq!(
            lines[1],
            "forklat: there are no figures, because the measurement failed"
        );
        place.assert_only(&["done", "go", "started"]);
    }
}

/// With no command there is nobody to wait for.
#[test]
fn an_observer_that_is_killed_ends_the_watching_and_the_baseline() {
    for words in [["--baseline=0", "--for=1h"], ["--baseline=1h", "--for=1h"]] {
        let place = RunFixture::new();
        let mut command = place.forklat();
        command.arg("run").args(EXPORTS).args(words);
        let mut running = Running::start(command.args(["--settle=0", "--probe=touch"]));
        let mut found = None;
        wait_until("the prober", || {
            assert!(!running.has_ended());
            let all = super::children(running.pid());
            found = all.into_iter().find(|process| process.name == "touch");
            found.is_some()
        });
        kill(found.unwrap().pid, Signal::SIGKILL).unwrap();
        let output = running.finish();
        assert_exit(&output, 125);
        assert!(output.stdout.is_empty(), "{}", describe_output(&output));
        assert_eq!(
            lossy_string(&output.stderr),
            "forklat: touch: was killed by signal 9\n"
        );
        place.assert_only(&[]);
    }
}

#[test]
fn no_observer_outlives_a_forklat_that_is_killed() {
    let place = RunFixture::new();
    let mut command = place.forklat();
    command
        .args(["run", "--on=.", "--for=1h"])
        .args(COMMAND_TIME_ONLY);
    let running = Running::start(&mut command);
    // Two for each CPU, five more probers, and the sampler.
    let all = 2 * super::cpus().len() + 6;
    wait_until("all observers", || {
        let names = super::children(running.pid());
        names
            .iter()
            .filter(|process| process.name != "forklat")
            .count()
            == all
    });
    assert!(marked(&place.env_mark()).len() > all);
    running.signal(Signal::SIGKILL);
    let output = running.finish();
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{}",
        describe_output(&output)
    );
    place.assert_only(&[]);
}

/// tmpfs of 256 KiB: full after 64 answers. The file that is read is larger from the start.
#[test]
fn a_full_disk_ends_the_observer_with_an_error() {
    let place = RunFixture::new();
    if !run(place.command_with_mark("unshare").args(["-m", "true"]))
        .status
        .success()
    {
        return skip(
            "a_full_disk_ends_the_observer_with_an_error",
            "no mount namespaces here",
        );
    }
    fs::create_dir(place.path("disk")).unwrap();
    let on_disk = |words: &[&str]| {
        let mut command = place.command_with_mark("unshare");
        let script = "mount -t tmpfs -o size=256k none disk && exec \"$@\"";
        command.args([
            "-m",
            "sh",
            "-c",
            script,
            "sh",
            &*FORKLAT,
            "run",
            "--on=disk",
        ]);
        command.args(COMMAND_TIME_ONLY).args(EXPORTS).args(words);
        command
    };
    let no_room = |name: &str| format!("{name}: cannot write in 'disk': No space left on device");
    let output = run(&mut on_disk(&["--probe=read", "touch", "started"]));
    assert_exit(&output, 125);
    assert_eq!(
        lossy_string(&output.stderr),
        format!("forklat: {}\n", no_room("read"))
    );
    place.assert_only(&["disk"]);
    for name in ["write", "fsync"] {
        let words = [format!("--probe={name}"), format!("--period={name}=1ms")];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = on_disk(&words);
        let held = HeldRun::with(&place, command.args(HeldRun::command(&place)));
        wait_until("a full disk", || held.observers(name).is_empty());
        let output = held.finish();
        assert_exit(&output, 125);
        assert!(output.stdout.is_empty(), "{}", describe_output(&output));
        // Who looks while the command still runs says that it goes on; else there is nothing that does.
        let said = format!("forklat: {}", no_room(name));
        let stderr = lossy_string(&output.stderr);
        let going_on = format!(
            "{said}; the command continues, but is not measured any more\nforklat: there are no figures, because the measurement failed\n"
        );
        assert!(
            stderr == format!("{said}\n") || stderr == going_on,
            "{stderr}"
        );
        place.assert_only(&["disk", "done", "go", "started"]);
        for file in ["done", "go", "started"] {
            fs::remove_file(place.path(file)).unwrap();
        }
    }
}
