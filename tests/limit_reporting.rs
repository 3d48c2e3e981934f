//! Who holds a copy back is named wherever its progress is: in events, in lines, in the bar, and in answer to SIGUSR1.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::*;

fn throttles(events: &[Value]) -> Vec<&Value> {
    let of = |event: &&Value| event["event"] == "throttle";
    events.iter().filter(of).collect()
}

#[test]
fn json_names_the_limit_and_the_rate() {
    let pair = CopyFixture::new(6 * MIB);
    let output = run(&mut pair.command(&["--json", "--limit-rate=4M"]));
    assert_exit(&output, 0);
    assert!(output.stderr.is_empty(), "{}", describe_output(&output));
    let events = parse_events(&output);
    let told = throttles(&events);
    let first = told.first().expect("a throttle event");
    assert_eq!(first["v"], 1);
    assert_eq!(first["cause"], "limit-rate", "{first}");
    assert_eq!(first["rate"], 4 * MIB, "{first}");
    assert_eq!(first["target"].as_f64(), Some(4.0 * MIB as f64), "{first}");
    assert!(first["figure"].as_f64().is_some(), "{first}");
    // Once a second at most, and the first at once.
    let elapsed = only_event(&events, "total")["elapsed"].as_f64().unwrap();
    assert!(told.len() <= elapsed as usize + 1, "{told:#?}");
    assert_same_content(&pair.source(), &pair.destination(), "a limited copy");
}

#[test]
fn a_limit_that_is_not_reached_is_not_told() {
    let pair = CopyFixture::new(6 * MIB);
    for options in [&["--json"][..], &["--json", "--limit-rate=100G"]] {
        let output = run(&mut pair.command(options));
        assert_exit(&output, 0);
        let events = parse_events(&output);
        assert_eq!(throttles(&events), Vec::<&Value>::new(), "{options:?}");
    }
}

#[test]
fn debug_says_the_rate_and_why() {
    let pair = CopyFixture::new(6 * MIB);
    let output = run(&mut pair.command(&["--debug", "--limit-rate=4M"]));
    assert_exit(&output, 0);
    assert!(output.stderr.is_empty(), "{}", describe_output(&output));
    let stdout = lossy_string(&output.stdout);
    let line = stdout.lines().find(|line| line.starts_with("throttle: "));
    let line = line.unwrap_or_else(|| panic!("{stdout}"));
    assert!(line.starts_with("throttle: 4.00 MiB/s: "), "{line}");
    assert!(line.ends_with(" (limit: 4 MiB/s)"), "{line}");
}

#[test]
fn lines_end_with_the_limit() {
    // Lines come every three seconds.
    let pair = CopyFixture::new(5 * MIB);
    let output = run(&mut pair.command(&["--progress=always", "--limit-rate=1M"]));
    assert_exit(&output, 0);
    let stderr = lossy_string(&output.stderr);
    let limited = |line: &str| line.contains("/s, ") && line.ends_with(", limited to 1 MiB/s");
    assert!(stderr.lines().any(limited), "{stderr}");
}

#[test]
fn status_names_the_limit() {
    let pair = CopyFixture::new(6 * MIB);
    retry_until_met("a status line of a limited copy", || {
        let _ = fs::remove_file(pair.destination());
        let mut running = Running::start(&mut pair.command(&["--limit-rate=4M"]));
        while !has_written_bytes(&pair.destination()) && !running.has_ended() {
            thread::sleep(Duration::from_millis(1));
        }
        // Until the copy has waited for its limit, that is not known to hold it.
        thread::sleep(Duration::from_millis(500));
        running.signal(Signal::SIGUSR1);
        let output = running.finish();
        assert_exit(&output, 0);
        let stderr = lossy_string(&output.stderr);
        assert!(stderr.lines().count() <= 1, "{stderr}");
        stderr.ends_with(", limited to 4 MiB/s\n")
    });
}

#[test]
fn the_bar_has_a_line_for_the_limit() {
    let pair = CopyFixture::new(3 * MIB);
    let screen = on_terminal(&pair, &[pair.source()]);
    has_rows(&screen, &["limited to 1 MiB/s"]);
    let rows = rows(&screen);
    let rate = |row: &String| row.contains("/3.00 MiB  ") && row.contains("/s  ");
    assert!(rows.iter().any(rate), "the rate above it: {rows:#?}");
    // What came before there was a bar is no burst.
    assert!(!screen.contains("GiB/s"), "{rows:#?}");
}

#[test]
fn the_bar_of_several_files_has_it_too() {
    let pair = CopyFixture::new(3 * MIB);
    let second = pair.shm.path().join("second");
    make_dense_dump(&second, 5000);
    fs::create_dir(pair.destination()).unwrap();
    let screen = on_terminal(&pair, &[second, pair.source()]);
    has_rows(&screen, &["limited to 1 MiB/s", "dump  "]);
    assert!(
        screen.contains("/2 files  "),
        "the run beside it: {screen:?}"
    );
}

/// What a terminal of 80 columns showed of a copy of `sources` to the destination at 1 MiB/s.
fn on_terminal(pair: &CopyFixture, sources: &[PathBuf]) -> String {
    let sources: Vec<String> = sources
        .iter()
        .map(|source| source.display().to_string())
        .collect();
    let line = format!(
        "stty cols 80; exec {MMAPCP} --limit-rate=1M {} {}",
        sources.join(" "),
        pair.destination().display()
    );
    let output = run(Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm"));
    assert_exit(&output, 0);
    lossy_string(&output.stdout)
}

/// Rows of a terminal of 80 columns, which are filled up with blanks and not ended.
fn rows(screen: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for line in screen.split(['\n', '\r']) {
        let columns: Vec<char> = printed(line).chars().collect();
        rows.extend(columns.chunks(80).map(|row| row.iter().collect::<String>()));
    }
    rows
}

/// Each of these begins a row: none before it was longer than the terminal is wide.
fn has_rows(screen: &str, beginnings: &[&str]) {
    let rows = rows(screen);
    for beginning in beginnings {
        let begins = |row: &String| row.starts_with(beginning);
        assert!(rows.iter().any(begins), "{beginning}: {rows:#?}");
    }
}

/// A line without the terminal's language: escape, bracket, numbers, a letter.
fn printed(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        text.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    text
}

/// A fork or a wake-up within a microsecond is to be had nowhere: the copy says so, goes on at the lowest rate, and ends when it
/// was told to.
#[test]
fn a_copy_that_is_given_up_says_why_and_fails() {
    for cause in ["fork-latency", "wakeup-latency"] {
        give_up_copy(cause);
    }
}

fn give_up_copy(cause: &str) {
    let pair = CopyFixture::new(60 * MIB);
    let limit = format!("--max-{cause}=1us");
    let options = [&limit[..], "--give-up-after=1s"];
    let output = run(&mut pair.command(&[&["--json"], &options[..]].concat()));
    assert_exit(&output, 1);
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.contains("mmapcp: warning: "), "{stderr}");
    assert!(
        stderr.contains("mmapcp: giving up after 1s at "),
        "{stderr}"
    );
    assert!(stderr.contains("(limit: 1 us)"), "{stderr}");
    assert!(!stderr.contains("--help"), "no usage: {stderr}");
    let events = parse_events(&output);
    let held = throttles(&events);
    assert!(
        held.iter().any(|event| event["cause"] == cause
            && event["target"] == 1e-6
            && event["rate"] == 2 * MIB),
        "{held:#?}"
    );
    let given_up = |event: &Value| {
        let text = event["error"].as_str().unwrap_or_default();
        event["event"] == "error" && text.starts_with("giving up after 1s at ")
    };
    assert!(events.iter().any(given_up), "{events:#?}");
    assert!(only_event(&events, "total")["errors"].as_u64() >= Some(1));
}

#[test]
fn a_copy_that_is_given_up_leaves_the_old_file_with_atomic() {
    let pair = CopyFixture::new(60 * MIB);
    fs::write(pair.destination(), "kept").unwrap();
    let output =
        run(&mut pair.command(&["--atomic", "--max-fork-latency=1us", "--give-up-after=1s"]));
    assert_exit(&output, 1);
    assert_eq!(fs::read(pair.destination()).unwrap(), b"kept");
    let names = fs::read_dir(pair.disk.path()).unwrap().count();
    assert_eq!(names, 1, "nothing is left beside it");
}
