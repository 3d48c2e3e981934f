//! `forklat scale`: its tables, exports, refusals, and nothing left behind. Needs no root.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{disk_dir, shm_dir};
use crate::tested_programs::FORKLAT;

/// More measurements than end before a test stops them.
const UNREACHABLE_COUNT: &str = "1000000";

const TABLES: [&str; 6] = [
    "fork",
    "exec",
    "copy-on-write",
    "storm",
    "join-mapping",
    "write-mapping",
];

/// The tables that once had other names, and these names.
const OLD_NAMES: [(&str, &str); 4] = [
    ("1a", "fork"),
    ("1b", "exec"),
    ("2a", "join-mapping"),
    ("2b", "write-mapping"),
];

fn scale(words: &[&str]) -> Output {
    let mut command = Command::new(&*FORKLAT);
    command.env("LC_ALL", "C").arg("scale").args(words);
    command.output().unwrap()
}

fn says(output: &Output, want: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(want), "{errors}");
}

#[test]
fn all_tables_and_the_same_in_json_and_csv() {
    let dir = disk_dir();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, markdown) = (file("a.json"), file("a.csv"), file("a.md"));
    fs::write(&csv, "x".repeat(100_000)).unwrap();
    let on = dir.path().to_str().unwrap();
    let mut words = vec!["--max", "12", "--repeat", "3", "--on", on];
    words.extend(["--export-json", &json, "--export-csv", &csv]);
    words.extend(["--export-markdown", &markdown]);
    let output = scale(&words);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let record: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let tables = record["tables"].as_array().unwrap();
    let names: Vec<_> = tables.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, TABLES);
    for table in tables {
        assert!(text.contains(table["title"].as_str().unwrap()));
        for series in table["series"].as_array().unwrap() {
            let cells = series["cells"].as_array().unwrap();
            let ns: Vec<_> = cells.iter().map(|c| c["n"].as_u64().unwrap()).collect();
            assert_eq!(ns, [1, 10, 12]);
            let is_storm = table["name"] == "storm";
            for cell in cells {
                // Storms are few, and the probers answer as often as they last.
                assert!(is_storm || cell["count"] == 3, "{cell}");
                assert!(cell["count"].as_u64() >= Some(2), "{cell}");
                assert!(cell["p50"].as_f64() <= cell["max"].as_f64());
            }
            assert!(series["growth"]["exponent"].is_f64());
        }
    }
    let series = |table: &Value| table["series"].as_array().unwrap().len();
    let all: usize = tables.iter().map(series).sum();
    // Where the kernel gives no huge pages, two series are missing, and a note says so.
    assert!(
        all == 2 + 2 + 4 + 3 + 2 + 4 || text.contains("has no huge pages"),
        "{text}"
    );
    let lines = fs::read_to_string(&csv).unwrap().lines().count();
    assert_eq!(lines, 1 + all * 3);
    let answer = record["answer"].as_str().unwrap();
    assert!(text.starts_with(answer), "{text}");
    assert!(
        answer.contains("with 12 idle processes instead of 1: "),
        "{answer}"
    );
    assert!(
        answer.contains("while 12 processes end at once, in "),
        "{answer}"
    );
    assert!(
        fs::read_to_string(&markdown)
            .unwrap()
            .contains("| join | 1 |")
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_measured() {
    let dir = shm_dir();
    let on = dir.path().to_str().unwrap();
    for (words, want) in [
        (&["--max", "0"][..], "invalid argument '0' for '--max'"),
        (&["--repeat", "0"], "invalid argument '0' for '--repeat'"),
        (
            &["--max", "4000000000"],
            "no room for 4000000001 more processes",
        ),
        (&["--touch", "100T"], "more than half of the"),
        (&["--file-size", "100T"], "more than half of the"),
        (
            &["--file-size", "100"],
            "--file-size: a file of 100 is smaller than a page",
        ),
        (&["--only", "3"], "invalid argument '3' for '--only'"),
        (
            &["--export-csv", "/nonexistent/x"],
            "cannot write '/nonexistent/x': No such file",
        ),
    ] {
        let output = scale(&[&["--on", on], words].concat());
        assert!(!output.status.success(), "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
        says(&output, want);
    }
    says(
        &scale(&["--on", "/nonexistent"]),
        "--on: '/nonexistent' is not a directory",
    );
}

#[test]
fn several_directories_are_side_by_side() {
    let (disk, memory) = (disk_dir(), shm_dir());
    let places = [&disk, &memory].map(|dir| dir.path().to_str().unwrap());
    let json = disk.path().join("a.json");
    let mut words = vec!["--max=10", "--repeat=2", "--only=join-mapping,fork"];
    words.extend(places.iter().flat_map(|place| ["--on", place]));
    words.extend(["--export-json", json.to_str().unwrap()]);
    let output = scale(&words);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let record: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(record["on"], serde_json::json!(places));
    assert_eq!(record["file_systems"][1], "tmpfs");
    let series = |table: usize| {
        record["tables"][table]["series"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert!(
        series(0).iter().all(|series| series["on"].is_null()),
        "fork has no file"
    );
    let on: Vec<Value> = series(1)
        .iter()
        .map(|series| series["on"].clone())
        .collect();
    assert_eq!(on, [places[0], places[1], places[0], places[1]]);
    let head = text.lines().find(|line| line.contains(": p50")).unwrap();
    assert!(places.iter().all(|place| head.contains(place)), "{head}");
    let row = text
        .lines()
        .find(|line| line.starts_with("leave "))
        .unwrap();
    assert_eq!(row.split_whitespace().count(), 2 + 2 * 3, "{row}");
    let refused = scale(&["--on", places[0], "--on", "/nonexistent"]);
    says(&refused, "--on: '/nonexistent' is not a directory");
}

#[test]
fn tables_also_go_by_their_old_names() {
    let dir = disk_dir();
    let on = dir.path().to_str().unwrap();
    let words = ["--max", "1", "--repeat", "1", "--on", on, "--only"];
    for (old, name) in OLD_NAMES {
        let output = scale(&[&words[..], &[old]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let title = format!("\n{name}  ");
        assert!(
            output.status.success() && text.contains(&title),
            "{old}: {output:?}"
        );
    }
}

/// The processes that `pid` has started and that are there.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect()
}

fn ends_with_all(table: &str, signal: Signal) {
    let dir = disk_dir();
    let json = dir.path().join("a.json");
    let mut forklat = Command::new(&*FORKLAT)
        .args([
            "scale",
            "--max",
            "20",
            "--only",
            table,
            "--repeat",
            UNREACHABLE_COUNT,
            "--on",
        ])
        .arg(dir.path())
        .arg("--export-json")
        .arg(&json)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let standing = loop {
        let standing = children(forklat.id());
        if !standing.is_empty() {
            break standing;
        }
        assert!(Instant::now() < deadline, "nothing stands");
        std::thread::sleep(Duration::from_millis(10));
    };
    kill(Pid::from_raw(forklat.id().cast_signed()), signal).unwrap();
    forklat.wait().unwrap();
    for pid in standing {
        while fs::exists(format!("/proc/{pid}")).unwrap() {
            assert!(
                Instant::now() < deadline,
                "{pid} is left of table {table} after {signal}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "a file is left"
    );
}

#[test]
fn nothing_is_left_whatever_ends_it() {
    for table in TABLES {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            ends_with_all(table, signal);
        }
    }
}

#[test]
fn a_run_that_lost_an_idle_process_fails() {
    let dir = disk_dir();
    let forklat = Command::new(&*FORKLAT)
        .args([
            "scale",
            "--max",
            "1",
            "--only",
            "write-mapping",
            "--repeat",
            "3000",
            "--on",
        ])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // The one that stands, and then the one that measures.
    let standing = loop {
        match children(forklat.id())[..] {
            [standing, _] => break standing,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(Instant::now() < deadline, "nothing measures");
    };
    kill(Pid::from_raw(standing.cast_signed()), Signal::SIGKILL).unwrap();
    let output = forklat.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(output.stdout.is_empty());
    says(&output, "one of the idle processes was killed");
}

#[test]
fn a_file_that_cannot_be_written_is_said() {
    let dir = disk_dir();
    let mut command = Command::new("bash");
    let script =
        format!("ulimit -f 100; exec {FORKLAT} scale --max 2 --only join-mapping --on \"$0\"");
    let output = command
        .args(["-c", &script])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    says(&output, "cannot write 1.00 MiB to a file in");
    says(&output, "File too large");
}
