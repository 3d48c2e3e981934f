//! `forklat watch`: the parts of memory add up, a leak of slabs shows, and neither a dead prober nor a bad log ends it early.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::unprivileged::open_place;
use super::{Process, RunFixture, children, wait_until};
use crate::support::{
    Running, as_nobody, assert_exit, describe_output, is_root_or_skip, lossy_string, run,
};

/// Files whose inodes and names take about 20 MiB of slabs.
const LEAKED_FILES: u32 = 20_000;

/// Growth of one cache that nothing else causes here.
const LEAKED_BYTES: i64 = 8 << 20;

const LOG: &str = "log.jsonl";

fn watch(place: &RunFixture, words: &[&str]) -> Command {
    let mut command = place.forklat();
    command.arg("watch").args(words);
    command
}

/// The whole lines of a log that may be written at this moment.
fn log_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Starts a watch with a log and waits for its first line.
fn start(place: &RunFixture, words: &[&str]) -> Running {
    let mut command = watch(place, words);
    command.args(["--interval=100ms", "--export-jsonl", LOG]);
    let mut running = Running::start(&mut command);
    wait_until("the first line", || {
        assert!(!running.has_ended(), "ended early: {command:?}");
        !log_lines(&place.path(LOG)).is_empty()
    });
    running
}

fn probe<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    let probes = line["probes"].as_array().unwrap();
    probes.iter().find(|probe| probe["name"] == name)
}

#[test]
fn the_parts_add_up_and_a_signal_ends_it_well() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = RunFixture::new();
        let running = start(&place, &["--no-probes"]);
        wait_until("three lines", || log_lines(&place.path(LOG)).len() >= 3);
        running.signal(signal);
        let output = running.finish();
        assert_exit(&output, 0);
        for line in log_lines(&place.path(LOG)) {
            let memory = line["memory"].as_object().unwrap();
            let bytes = |key: &str| memory[key].as_u64().unwrap_or(0);
            let no_parts = ["total", "available", "dirty", "writeback"];
            let parts = memory
                .keys()
                .filter(|key| !no_parts.contains(&key.as_str()));
            let sum: u64 = parts.map(|key| bytes(key)).sum();
            // What is read at two instants may overlap, and then nothing is unaccounted.
            assert!(sum == bytes("total") || bytes("unaccounted") == 0, "{line}");
            assert!(bytes("processes") > 0 && bytes("slab") > 0, "{line}");
            assert_eq!(line["probes"].as_array().unwrap().len(), 0);
        }
        let text = lossy_string(&output.stdout);
        for row in ["total ", "  dirty ", "unaccounted ", "slab ", "since start"] {
            assert!(text.contains(row), "{text}");
        }
        place.assert_only(&[LOG]);
    }
}

/// Twenty thousand files on a tmpfs take inodes and names, which `free` shows nowhere.
#[test]
fn a_leak_of_slabs_shows_with_its_name_and_growth() {
    if !is_root_or_skip("a_leak_of_slabs_shows_with_its_name_and_growth") {
        return;
    }
    let place = RunFixture::new();
    let running = start(&place, &["--no-probes"]);
    let leak = place.path("leak");
    fs::create_dir(&leak).unwrap();
    for n in 0..LEAKED_FILES {
        fs::File::create(leak.join(n.to_string())).unwrap();
    }
    let mut leaked = String::new();
    wait_until("a cache that grows", || {
        let lines = log_lines(&place.path(LOG));
        let caches = lines.last().unwrap()["slab_caches"]
            .as_array()
            .unwrap()
            .clone();
        let grown = caches
            .iter()
            .find(|cache| cache["growth"].as_i64().unwrap() >= LEAKED_BYTES);
        leaked = grown.map_or_else(String::new, |cache| {
            cache["name"].as_str().unwrap().to_owned()
        });
        !leaked.is_empty()
    });
    running.signal(Signal::SIGINT);
    let output = running.finish();
    assert_exit(&output, 0);
    let text = lossy_string(&output.stdout);
    let last = text.split("\n\n").last().unwrap();
    let line = last
        .lines()
        .find(|line| line.trim_start().starts_with(&leaked));
    assert!(
        line.is_some_and(|line| line.contains('+')),
        "{leaked} in {last}"
    );
    fs::remove_dir_all(&leak).unwrap();
    place.assert_only(&[LOG]);
}

#[test]
fn probes_answer_and_one_that_dies_is_said_while_the_others_go_on() {
    let place = RunFixture::new();
    let running = start(
        &place,
        &["--probe=touch,exec", "--period=touch=20ms,exec=20ms"],
    );
    let path = place.path(LOG);
    wait_until("answers of both", || {
        let lines = log_lines(&path);
        let answered = |name| {
            lines
                .iter()
                .any(|line| probe(line, name).is_some_and(|p| p["last"].is_f64()))
        };
        answered("touch") && answered("exec")
    });
    let probers: Vec<Process> = children(running.pid());
    let touch = probers
        .iter()
        .find(|process| process.name == "touch")
        .unwrap();
    kill(touch.pid, Signal::SIGKILL).unwrap();
    wait_until("the end of one is told", || {
        let lines = log_lines(&path);
        let last = lines.last().unwrap();
        let ended = &probe(last, "touch").unwrap()["ended"];
        let goes_on = probe(last, "exec").unwrap()["answers"].as_u64() > Some(0);
        ended == "touch: was killed by signal 9" && goes_on
    });
    running.signal(Signal::SIGINT);
    let output = running.finish();
    assert_exit(&output, 0);
    let text = lossy_string(&output.stdout);
    assert!(
        text.contains("ended: touch: was killed by signal 9"),
        "{text}"
    );
    place.assert_only(&[LOG]);
}

#[test]
fn a_stopped_prober_is_overdue() {
    let place = RunFixture::new();
    let running = start(&place, &["--probe=touch", "--period=touch=10ms"]);
    let prober = children(running.pid()).remove(0);
    kill(prober.pid, Signal::SIGSTOP).unwrap();
    wait_until("silence", || {
        let lines = log_lines(&place.path(LOG));
        lines.last().unwrap()["probes"][0]["overdue"].as_f64() > Some(0.3)
    });
    running.signal(Signal::SIGINT);
    let output = running.finish();
    assert_exit(&output, 0);
    let text = lossy_string(&output.stdout);
    assert!(text.contains("no answer for "), "{text}");
    place.assert_only(&[LOG]);
}

/// Returns a size in the status of a process.
fn status(pid: Pid, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.trim_start_matches(':')
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn it_starts_nothing_and_its_memory_is_locked() {
    if !is_root_or_skip("it_starts_nothing_and_its_memory_is_locked") {
        return;
    }
    let place = RunFixture::new();
    let running = start(&place, &["--no-probes"]);
    wait_until("memory is locked", || status(running.pid(), "VmLck") > 0);
    assert!(children(running.pid()).is_empty());
    let wait_for_lines = |more: usize| {
        let lines = log_lines(&place.path(LOG)).len();
        wait_until("more lines", || {
            log_lines(&place.path(LOG)).len() > lines + more
        });
    };
    // VmLck is there before mlockall(2) has brought all pages in.
    wait_for_lines(1);
    let before = status(running.pid(), "VmRSS");
    wait_for_lines(5);
    let after = status(running.pid(), "VmRSS");
    // The kernel counts by CPU and adds up now and then: some hundred KiB are no growth.
    assert!(after <= before + 1024, "{before} KiB became {after} KiB");
    let adjusted = fs::read_to_string(format!("/proc/{}/oom_score_adj", running.pid())).unwrap();
    running.signal(Signal::SIGINT);
    let output = running.finish();
    assert_exit(&output, 0);
    // Root in a container may lack the right, and then that is said.
    let said = lossy_string(&output.stderr);
    let is_refused = said.contains("the kernel may kill this process if memory is short");
    assert!(is_refused != (adjusted == "-1000\n"), "{adjusted}{said}");
}

#[test]
fn a_log_that_takes_nothing_is_an_error_at_the_end() {
    let place = RunFixture::new();
    let words = [
        "--no-probes",
        "--for=250ms",
        "--interval=100ms",
        "--export-jsonl=/dev/full",
    ];
    let output = run(&mut watch(&place, &words));
    assert_exit(&output, 125);
    let stderr = lossy_string(&output.stderr);
    assert!(
        stderr.contains("cannot write '/dev/full': No space left on device"),
        "{stderr}"
    );
    let shown = lossy_string(&output.stdout).matches("unaccounted").count();
    assert!(
        shown >= 2,
        "the watch went on: {}",
        describe_output(&output)
    );
    let words = ["--no-probes", "--for=1ms", "--export-jsonl=/nonexistent/x"];
    let output = run(&mut watch(&place, &words));
    assert_exit(&output, 125);
    assert!(output.stdout.is_empty());
}

#[test]
fn a_log_on_standard_output_leaves_the_table_to_standard_error() {
    let place = RunFixture::new();
    let words = ["--no-probes", "--for=50ms", "--export-jsonl=-"];
    let output = run(&mut watch(&place, &words));
    assert_exit(&output, 0);
    let lines = lossy_string(&output.stdout);
    assert!(
        lines
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "{lines}"
    );
    assert_eq!(lines.lines().count(), 1);
    assert!(lossy_string(&output.stderr).contains("page cache"));
}

#[test]
fn a_user_who_may_not_read_the_caches_is_told_so() {
    if !is_root_or_skip("a_user_who_may_not_read_the_caches_is_told_so") {
        return;
    }
    let place = open_place();
    let mut command = place.command_with_mark(place.path("program"));
    command.args(["watch", "--no-probes", "--for=50ms"]);
    let output = run(as_nobody(&mut command));
    assert_exit(&output, 0);
    let text = lossy_string(&output.stdout);
    assert!(
        text.contains("slab caches: cannot read '/proc/slabinfo': Permission denied"),
        "{text}"
    );
    assert!(text.contains("\nslab "), "{text}");
    let said = lossy_string(&output.stderr);
    assert!(said.contains("the kernel may kill this process"), "{said}");
}

#[test]
fn what_cannot_be_is_refused() {
    let place = RunFixture::new();
    for (words, want) in [
        (
            &["--interval=1ms"][..],
            "the interval must be from 100ms to 1h",
        ),
        (&["--no-probes", "--probe=fork"], "cannot be used with"),
        (
            &["--probe=fork", "--period=exec=1s"],
            "that probe is not selected",
        ),
        (&["word"], "extra operand 'word'"),
    ] {
        let output = run(&mut watch(&place, words));
        assert_exit(&output, 125);
        let said = lossy_string(&output.stderr);
        assert!(said.contains(want), "{words:?}: {said}");
    }
    place.assert_only(&[]);
}

#[test]
fn the_time_of_for_ends_it() {
    let place = RunFixture::new();
    let words = ["--no-probes", "--for=20ms", "--interval=1h"];
    let output = run(&mut watch(&place, &words));
    assert_exit(&output, 0);
    let text = lossy_string(&output.stdout);
    assert_eq!(text.matches("since start").count(), 1, "{text}");
}
