//! Which probes are asked, how often, and where.

use std::fs;

use super::{COMMAND_TIME_ONLY, HeldRun, RunFixture, cpus, names, probe, probe_kinds, subject};
use crate::support::{describe_output, disk_dir, lossy_string, run};

#[test]
fn probes_without_a_directory_are_the_default() {
    let place = RunFixture::new();
    let (_, report) = place.run_and_report(&[&COMMAND_TIME_ONLY[..], &["--for=200ms"]].concat());
    let all = ["wakeup", "fork", "fork-child", "exec", "touch"];
    assert_eq!(probe_kinds(subject(&report, "during")), all);
    assert_eq!(report.facts.on, None);
}

#[test]
fn only_chosen_probes_run() {
    let place = RunFixture::new();
    let (output, report) = place.run_and_report(&[
        "--baseline=100ms",
        "--settle=0",
        "--probe=touch,exec",
        "-v",
        "--for=200ms",
    ]);
    for subject in &report.subjects {
        assert_eq!(probe_kinds(subject), ["exec", "touch"]);
    }
    let observers: Vec<&str> = report.observers.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(observers, ["exec", "touch", "sampler"]);
    // What they cost is told on demand.
    let (_, told_of) = lossy_string(&output.stdout)
        .split_once("observers:\n")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    for (line, name) in told_of.lines().zip(observers) {
        assert!(line.starts_with(&format!("  {name}: ")), "{told_of}");
        assert!(
            line.contains(" % of a CPU, ") && line.ends_with(" resident"),
            "{told_of}"
        );
    }
    // And what they do to the first of them.
    let effect = told_of
        .lines()
        .find(|line| line.starts_with("  effect on exec: "));
    let effect = effect.unwrap_or_else(|| panic!("{told_of}"));
    assert!(
        effect.contains(" alone, ") && effect.contains("p99 "),
        "{effect}"
    );
    let alone = report.alone.expect("measured alone");
    assert!(alone.latency.count > 0 && alone.probe == "exec");
}

/// An open loop: whatever the answers take, every moment in the span has one, no more and no less.
#[test]
fn each_probe_runs_at_its_period() {
    let place = RunFixture::new();
    let words = [
        "--on=.",
        "--probe=fork,write",
        "--period=fork=4ms,write=9s",
        "--period=write=25ms",
        "--for=500ms",
    ];
    let (_, report) = place.run_and_report(&[&COMMAND_TIME_ONLY[..], &words].concat());
    let during = subject(&report, "during");
    let alone = (cpus().len() > 1).then(cpus);
    for (name, period, each) in [("fork", 0.004, alone), ("write", 0.025, None)] {
        let each = each.map_or(vec![None], |cpus| cpus.into_iter().map(Some).collect());
        for cpu in each {
            let probe = probe(during, name, cpu);
            assert_eq!(probe.period, Some(period));
            let wanted = during.seconds / period;
            let count = probe.latency.count as f64;
            // The moments of the first and of the last period may lie outside of the span.
            assert!(
                (count - wanted).abs() <= 2.0,
                "{name} on {cpu:?}: {count} of {wanted}"
            );
            assert!(probe.service.count <= probe.latency.count);
        }
    }
}

/// Files without a name: whatever happens to the probers, none is left.
#[test]
fn each_directory_probe_runs() {
    let place = RunFixture::new();
    let disk = disk_dir();
    let on = format!("--on={}", disk.path().display());
    for name in ["write", "fsync", "read", "exec", "overwrite", "stream"] {
        let chosen = format!("--probe={name}");
        let period = format!("--period={name}=10ms");
        let words = [
            &COMMAND_TIME_ONLY[..],
            &["--export-json=json", &on, &chosen, &period],
        ]
        .concat();
        let held = HeldRun::start(&place, &words);
        assert_eq!(held.observers(name).len(), 1);
        assert_eq!(names(disk.path()), [""; 0], "{name}");
        std::thread::sleep(std::time::Duration::from_millis(50));
        let output = held.finish();
        assert!(output.status.success(), "{}", describe_output(&output));
        let report = place.report("json");
        assert_eq!(probe_kinds(subject(&report, "during")), [name]);
        let of = report.facts.on.expect("facts of the directory");
        assert!(of.file_system.is_some() && of.size > Some(0), "{of:?}");
        assert_eq!(names(disk.path()), [""; 0], "{name}");
        place.assert_only(&["done", "go", "json", "started"]);
        for file in ["done", "go", "started"] {
            fs::remove_file(place.path(file)).unwrap();
        }
    }
}

#[test]
fn a_program_whose_pages_were_dropped() {
    let place = RunFixture::new();
    let words = ["--probe=exec", "--exec-cold", "--on=.", "--for=200ms"];
    let (_, report) = place.run_and_report(&[&COMMAND_TIME_ONLY[..], &words].concat());
    assert!(
        probe(subject(&report, "during"), "exec", None)
            .latency
            .count
            > 0
    );
    place.assert_only(&["json"]);
}

#[test]
fn a_forker_with_a_heap() {
    const HEAP: u64 = 64 << 20;
    let place = RunFixture::new();
    let held = HeldRun::start(
        &place,
        &[
            &COMMAND_TIME_ONLY[..],
            &["--probe=fork,touch", "--rss=64M", "--export-json=json"],
        ]
        .concat(),
    );
    let resident = |name: &str| {
        let observers = held.observers(name);
        let sizes = observers
            .into_iter()
            .map(|pid| mmapcp::sys::proc_status::read_bytes_of(pid, "VmRSS").unwrap());
        sizes.collect::<Vec<u64>>()
    };
    let forkers = resident("fork-on-CPU-");
    assert_eq!(forkers.len(), cpus().len());
    assert!(forkers.iter().all(|size| *size >= HEAP), "{forkers:?}");
    let others = [resident("touch"), resident("sampler")].concat();
    assert!(others.iter().all(|size| *size < HEAP), "{others:?}");
    assert!(held.finish().status.success());
    for observer in place.report("json").observers {
        let forks = observer.name.starts_with("fork");
        assert_eq!(observer.max_rss >= HEAP, forks, "{observer:?}");
    }
}

/// One that is asked more often than it can answer is late at every moment, and ends all the same.
#[test]
fn a_probe_that_is_always_late_still_ends() {
    let place = RunFixture::new();
    let output = place
        .forklat()
        .args(["run", "--baseline=0", "--settle=0", "--for=300ms"])
        .args(["--probe=fork", "--period=fork=100us", "--rss=64M"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", describe_output(&output));
}

/// A place without true(1) has no exec, and everything else.
#[test]
fn a_program_is_wanted_by_exec_only() {
    let place = RunFixture::new();
    for (probe, status) in [("--probe=fork", 0), ("--probe=exec", 125)] {
        let output = place
            .forklat()
            .env("PATH", "/nowhere")
            .args(["run", "--baseline=0", "--settle=0", "--for=100ms", probe])
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{}",
            describe_output(&output)
        );
    }
}

/// As for compare, the current directory, if it is a disk; in memory a note says that none was measured.
#[test]
fn without_on_the_current_directory_is_measured() {
    let place = RunFixture::new();
    let disk = disk_dir();
    let output = run(place
        .forklat()
        .current_dir(disk.path())
        .args(["run", "--for=300ms"])
        .args(COMMAND_TIME_ONLY)
        .arg("--export-json")
        .arg(place.path("json")));
    assert!(output.status.success(), "{}", describe_output(&output));
    let report = place.report("json");
    let all = [
        "wakeup",
        "fork",
        "fork-child",
        "exec",
        "touch",
        "write",
        "fsync",
        "read",
    ];
    assert_eq!(probe_kinds(subject(&report, "during")), all);
    assert!(report.facts.on.is_some(), "the file system is told");
    assert_eq!(names(disk.path()), [""; 0], "nothing is left");
    let (_, in_memory) = place.run_and_report(&[&COMMAND_TIME_ONLY[..], &["--for=200ms"]].concat());
    let note = "no disk was measured: the current directory lies in memory, and there is no --on";
    assert_eq!(in_memory.notes.last().map(String::as_str), Some(note));
}
