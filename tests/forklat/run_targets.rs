//! What `forklat run` watches: a command, a process, a span of time; with a baseline or without, and until all is settled.

use std::process::Command;

use mmapcp::forklat::model::Report;
use nix::sys::signal::Signal;

use super::{COMMAND_TIME_ONLY, RunFixture, subject};
use crate::support::{Running, assert_exit, describe_output, lossy_string, run};

const FORK: &str = "--probe=fork";

fn columns(report: &Report) -> Vec<&str> {
    report.subjects.iter().map(|s| s.name.as_str()).collect()
}

#[test]
fn a_span_of_time_is_measured() {
    let place = RunFixture::new();
    let (output, report) =
        place.run_and_report(&["--baseline=100ms", "--settle=100ms", FORK, "--for=200ms"]);
    assert!(output.stderr.is_empty(), "{}", describe_output(&output));
    let table = lossy_string(&output.stdout);
    let head = table
        .lines()
        .find(|line| line.contains("baseline"))
        .unwrap();
    let head: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(head, ["baseline", "during", "ratio", "after", "ratio"]);
    assert_eq!(columns(&report), ["baseline", "during", "after"]);
    for (name, least) in [("baseline", 0.1), ("during", 0.2), ("after", 0.1)] {
        let subject = subject(&report, name);
        assert!(subject.seconds >= least, "{name}: {}", subject.seconds);
        assert!(subject.command.is_empty(), "there was none");
    }
    place.assert_only(&["json"]);
}

#[test]
fn without_a_baseline_and_without_settling() {
    let place = RunFixture::new();
    let (output, report) =
        place.run_and_report(&[&COMMAND_TIME_ONLY[..], &[FORK, "--for=100ms"]].concat());
    assert_eq!(columns(&report), ["during"]);
    let table = lossy_string(&output.stdout);
    let head = |line: &str| line.trim() == "during";
    assert!(table.lines().any(head), "nothing to compare with: {table}");
}

/// It is over when the process is: also where nobody reaps it.
#[test]
fn a_process_until_it_ends() {
    let place = RunFixture::new();
    let watched = Running::start(Command::new("sleep").arg("1h"));
    let mut command = place.forklat();
    let attach = format!("--attach={}", watched.pid());
    let words = ["run", FORK, &attach, "--export-json=json"];
    let mut running = Running::start(command.args(words).args(COMMAND_TIME_ONLY));
    super::wait_until("the sampler", || {
        let all = super::children(running.pid());
        all.iter().any(|process| process.name == "sampler")
    });
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!running.has_ended(), "as long as it lives");
    watched.signal(Signal::SIGKILL);
    let output = running.finish();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        describe_output(&output)
    );
    assert!(
        lossy_string(&output.stdout).contains("during"),
        "{}",
        describe_output(&output)
    );
    assert_eq!(columns(&place.report("json")), ["during"]);
    watched.finish();
    place.assert_only(&["json"]);
}

#[test]
fn a_process_for_some_time_at_most() {
    let place = RunFixture::new();
    let mut watched = Running::start(Command::new("sleep").arg("1h"));
    let attach = format!("--attach={}", watched.pid());
    let (_, report) =
        place.run_and_report(&[&COMMAND_TIME_ONLY[..], &[FORK, &attach, "--for=100ms"]].concat());
    assert!(subject(&report, "during").seconds >= 0.1);
    assert!(!watched.has_ended());
}

/// What cannot have settled in that time is said, and the exit status is still the command's.
#[test]
fn until_writeback_has_settled_or_not() {
    let place = RunFixture::of_programs();
    let words = [
        "--baseline=0",
        "--settle=600ms",
        FORK,
        "--export-json=json",
        "sh",
        "-c",
        "head -c 40M /dev/zero >dirty; exit 3",
    ];
    let output = run(place.forklat().arg("run").args(words));
    assert_exit(&output, 3);
    let report = place.report("json");
    let unsettled = |note: &String| note.starts_with("writeback had not settled: ");
    assert!(report.notes.iter().any(unsettled), "{:?}", report.notes);
    assert!(
        lossy_string(&output.stderr).contains("\nnotes:\n"),
        "{}",
        describe_output(&output)
    );
    assert_eq!(columns(&report), ["during", "after"]);
}
