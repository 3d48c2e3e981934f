//! `--why`: the causes of late answers are named, as the kernel's trace points show them, or else /proc.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mmapcp::forklat::model::{Report, WhyResult};
use nix::sys::signal::{Signal, kill};

use super::unprivileged::{limited, open_place};
use super::{COMMAND_TIME_ONLY, HeldRun, Process, RunFixture, cpus, subject, wait_until};
use crate::support::{as_nobody, assert_exit, describe_output, is_root_or_skip, lossy_string, run};

/// Held by each test that stops a prober or takes a CPU from one: the other would be late by it, too, and the ring buffers
/// take no records while they are read for that.
static DISTURBANCE: Mutex<()> = Mutex::new(());

/// How long a prober is stopped: far above the threshold, and above what a busy machine adds.
const STOP_LENGTH: Duration = Duration::from_millis(300);

/// How long a CPU must be taken at least: twice the threshold.
const HOG_LENGTH: Duration = Duration::from_millis(100);

const WORDS: [&str; 5] = [
    "--probe=fork",
    "--period=fork=5ms",
    "--why=100ms",
    "--export-json=json",
    "-v",
];

fn why<'a>(report: &'a Report, name: &str) -> &'a WhyResult {
    subject(report, name)
        .why
        .as_ref()
        .expect("a field of --why")
}

/// Stops the first forker of a run for a while, and lets it go on.
fn stop_a_forker(held: &HeldRun) {
    let victim = *held.observers("fork-on-CPU-").iter().min().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(victim, Signal::SIGSTOP).unwrap();
    wait_until("it stands still", || {
        Process::of(victim).unwrap().state == b'T'
    });
    std::thread::sleep(STOP_LENGTH);
    kill(victim, Signal::SIGCONT).unwrap();
    std::thread::sleep(Duration::from_millis(300));
}

/// The prober was stopped by this test, and that is what is said.
fn names_the_stop(report: &Report, stdout: &str) {
    let why = why(report, "during");
    assert!(why.answers >= 1 && why.threshold == 0.1, "{why:?}");
    let stopped = why.causes.iter().find(|sum| sum.cause == "stopped");
    let stopped = stopped.unwrap_or_else(|| panic!("{why:?}"));
    assert!(stopped.seconds > 0.15, "{why:?}");
    let told = why
        .late
        .iter()
        .find(|late| late.sentence.contains("stop signal"));
    let told = told.unwrap_or_else(|| panic!("{why:?}"));
    assert_eq!((&*told.probe, &*told.part), ("fork", "until exit"));
    assert!(told.latency > 200e3, "{told:?}");
    let line = stdout.lines().find(|line| line.contains("late: stopped"));
    assert!(line.is_some(), "{stdout}");
    assert!(stdout.contains(&told.sentence), "{stdout}");
}

/// By the recorder if this user and this kernel allow it, or else by a look at /proc, which is said.
#[test]
fn a_stopped_prober_is_explained() {
    let _alone = DISTURBANCE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = RunFixture::new();
    let held = HeldRun::start(&place, &[&WORDS[..], &COMMAND_TIME_ONLY].concat());
    stop_a_forker(&held);
    let output = held.finish();
    assert_exit(&output, 0);
    let report = place.report("json");
    let table = lossy_string(&output.stderr);
    names_the_stop(&report, &table);
    let observer = report
        .observers
        .iter()
        .find(|o| ["recorder", "states"].contains(&&*o.name));
    let observer = observer.unwrap_or_else(|| panic!("{:?}", report.observers));
    let notes = report.notes.join("\n");
    if observer.name == "recorder" {
        assert!(
            notes.contains("--why: ") && notes.contains(" records a second were written"),
            "{notes}"
        );
        let late = &why(&report, "during").late;
        let told = late
            .iter()
            .any(|late| late.sentence.contains("a stop signal from "));
        assert!(told, "{late:?}");
    } else {
        assert!(
            notes.contains("--why: the kernel's trace points are not recorded ("),
            "{notes}"
        );
    }
}

/// A process of real-time priority takes a CPU from a prober, and its name and what it did are said.
#[test]
fn who_takes_the_cpu_is_named() {
    if !is_root_or_skip("who_takes_the_cpu_is_named") {
        return;
    }
    let _alone = DISTURBANCE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = RunFixture::new();
    let words = ["--probe=wakeup", "--why=50ms", "--export-json=json"];
    let held = HeldRun::start(&place, &[&words[..], &COMMAND_TIME_ONLY].concat());
    let cpu = cpus()[0].to_string();
    // It ends by itself: nothing of the same priority on that CPU could end it.
    let hog = ["-f", "10", "taskset", "-c", &cpu, "dd", "count=4000"];
    let work = ["if=/dev/zero", "of=/dev/null", "bs=1M", "status=none"];
    let started = Instant::now();
    let ended = Command::new("chrt").args(hog).args(work).output();
    let length = started.elapsed();
    let output = held.finish();
    let is_hogged = ended.is_ok_and(|ended| ended.status.success()) && length >= HOG_LENGTH;
    if !is_hogged {
        return crate::harness::skip(
            "no process of real-time priority can take a CPU for long here".into(),
        );
    }
    assert_exit(&output, 0);
    let report = place.report("json");
    let why = why(&report, "during");
    if report
        .observers
        .iter()
        .any(|observer| observer.name == "states")
    {
        return crate::harness::skip(
            "this kernel does not let its trace points be recorded".into(),
        );
    }
    let taken = why.causes.iter().find(|sum| sum.cause == "CPU taken by dd");
    assert!(taken.is_some_and(|sum| sum.seconds > 0.05), "{why:?}");
    let told = why
        .late
        .iter()
        .find(|late| late.sentence.contains("dd was on the CPU"));
    let told = told.unwrap_or_else(|| panic!("{why:?}"));
    assert_eq!(
        (&*told.probe, told.cpu),
        ("wakeup", Some(cpus()[0])),
        "{told:?}"
    );
}

/// A user without rights is told why there are no trace points, and gets causes all the same.
#[test]
fn without_rights_proc_is_looked_at() {
    if !is_root_or_skip("without_rights_proc_is_looked_at") {
        return;
    }
    let place = open_place();
    let output = run(as_nobody(
        limited(&place, &[]).args(["--why=1us", "--probe=touch"]),
    ));
    assert!(output.status.success(), "{}", describe_output(&output));
    let report = place.report("json");
    let mut observers = report.observers.iter();
    if observers.any(|observer| observer.name == "recorder") {
        return crate::harness::skip("every user may record trace points here".into());
    }
    let notes = report.notes.join("\n");
    assert!(
        notes.contains("--why: the kernel's trace points are not recorded (cannot "),
        "{notes}"
    );
    assert!(
        report
            .observers
            .iter()
            .any(|observer| observer.name == "states")
    );
    let why = why(&report, "during");
    assert_eq!(why.threshold, 1e-6);
    assert!(!why.late.is_empty(), "{why:?}");
    for late in &why.late {
        assert!(
            !late.causes.is_empty() && !late.sentence.is_empty(),
            "{late:?}"
        );
    }
    place.assert_only(&["json", "program"]);
}

#[test]
fn nothing_is_late_without_the_option() {
    let place = RunFixture::new();
    let words = [&COMMAND_TIME_ONLY[..], &["--probe=touch", "--for=50ms"]].concat();
    let (output, report) = place.run_and_report(&words);
    assert!(subject(&report, "during").why.is_none());
    assert!(!lossy_string(&output.stdout).contains("late answers"));
}
