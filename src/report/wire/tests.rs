//! Tests that the output is the committed one byte for byte, and that the committed schema is the one of the types.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::*;
use crate::report::counters::TotalWork;
use crate::report::queue_state::{QueuePlace, QueueState};
use crate::transfer::rate_limit::{Cause, Rate};
use crate::transfer::{CopySummary, PlanSummary};

fn plan_event() -> transfer::Event {
    transfer::Event::Plan(PlanSummary {
        size: Some(1_000_000),
        data: 900_000,
        engine: Some("mmap"),
        direct: "genuine",
        mem_align: 4,
        offset_align: 512,
        refused: vec![transfer::Refusal {
            engine: "reflink",
            why: "the files are on two file systems".into(),
        }],
        unreserved: Some("Operation not supported".into()),
        writers: transfer::Writers::None,
    })
}

fn empty_plan_event() -> transfer::Event {
    transfer::Event::Plan(PlanSummary {
        size: None,
        data: 0,
        engine: None,
        direct: "no",
        mem_align: 1,
        offset_align: 1,
        refused: Vec::new(),
        unreserved: None,
        writers: transfer::Writers::Unknown("it is no regular file with a size".into()),
    })
}

fn fallback_event() -> transfer::Event {
    transfer::Event::Fallback {
        from: "mmap",
        to: "direct",
        why: "Invalid argument".into(),
        at: 1 << 20,
    }
}

fn choice_event() -> transfer::Event {
    let trial = |engine, cpu_per_gb| transfer::Trial {
        engine,
        cpu_per_gb,
        wall_per_gb: 0.75,
        longest_call: 0.0003,
    };
    transfer::Event::Choice {
        engine: "splice",
        why: "it takes less CPU",
        tried: vec![trial("mmap", 0.125), trial("splice", 0.1)],
    }
}

fn depth_event() -> transfer::Event {
    let rate = |depth, wall_per_gb| transfer::DepthRate { depth, wall_per_gb };
    transfer::Event::Depth(transfer::DepthSummary {
        depth: 2,
        piece: 1 << 20,
        tried: vec![rate(1, 0.75), rate(2, 0.625)],
    })
}

fn sharing_event() -> transfer::Event {
    transfer::Event::Sharing {
        is_shared: true,
        bytes: 1 << 20,
    }
}

fn done_event() -> transfer::Event {
    transfer::Event::Done(CopySummary {
        bytes: 1_000_000,
        data_bytes: 900_000,
        engine: Some("mmap"),
        engines: BTreeMap::from([("mmap", 899_072), ("buffered", 928)]),
        extents: 3,
        elapsed: 0.5,
        rate: 2_000_000.0,
        cpu_user: 0.001,
        cpu_system: 0.01,
        in_flight: 2 << 20,
        max_rss: 5 << 20,
        writers: transfer::Writers::Possible,
        digest: None,
        read_back: None,
    })
}

fn hashed_event() -> transfer::Event {
    let transfer::Event::Done(summary) = done_event() else {
        unreachable!("it is made above");
    };
    transfer::Event::Done(CopySummary {
        digest: Some(transfer::Digest {
            algorithm: transfer::DigestAlgorithm::Sha256,
            hex: "00ff".repeat(16),
        }),
        read_back: Some(ReadBack::Cached("FUSE: the daemon may cache".into())),
        ..summary
    })
}

/// Returns the lines of the events of files: each kind, and the first again with paths that are not UTF-8.
fn file_lines() -> Vec<String> {
    let (source, dest) = (Path::new("/dev/shm/dump"), Path::new("/var/dump \"é\""));
    let bytes = Path::new(OsStr::from_bytes(b"d\xffmp"));
    let events = [
        plan_event(),
        empty_plan_event(),
        fallback_event(),
        choice_event(),
        depth_event(),
        sharing_event(),
        done_event(),
        hashed_event(),
    ];
    let lines = events.iter().map(|event| {
        let event = Event::of_file(event, source, dest);
        event.expect("it is no note").into_line()
    });
    let mut lines: Vec<_> = lines.collect();
    lines.push(Event::durable(source, dest, 64 << 20).into_line());
    lines.push(Event::freed(source, dest, 60 << 20).into_line());
    let cut = CutFile {
        paths: (source, dest),
        part: Path::new("/var/dump.part"),
        map: Path::new("/var/dump.part.map"),
        at: 4 << 20,
        size: Some(16 << 20),
        why: "keep-free",
    };
    lines.push(Event::cut(&cut).into_line());
    let stream = CutFile {
        paths: (bytes, bytes),
        part: bytes,
        map: bytes,
        size: None,
        ..cut
    };
    lines.push(Event::cut(&stream).into_line());
    let event = plan_event();
    let with_bytes = Event::of_file(&event, bytes, bytes);
    lines.push(with_bytes.expect("it is no note").into_line());
    lines
}

fn queue_lines() -> [String; 3] {
    let place = QueuePlace {
        place: 3,
        members: 7,
        ahead: Some(3 << 30),
        estimate: Some(Duration::from_secs(40)),
        waited: Duration::from_millis(2500),
    };
    let member = QueueMember {
        queue: "dumps",
        pid: 4711,
        state: QueueState::Copying,
        place: 1,
        priority: -5,
        size: Some(1 << 30),
        copied: 1 << 20,
        waited: Duration::from_millis(1500),
        limit_rate: Some(50 << 20),
    };
    let news = |state, place, adopted| QueueNews {
        queue: "dumps",
        state,
        place,
        adopted,
    };
    let first = QueuePlace {
        place: 1,
        ahead: None,
        estimate: None,
        ..place
    };
    let adopted = ["--limit-rate=1048576".to_owned()];
    let waiting = news(QueueState::Waiting, place, &[]);
    let copying = news(QueueState::Copying, first, &adopted);
    [
        Event::Queue((&waiting).into()).into_line(),
        Event::Queue((&copying).into()).into_line(),
        Event::Member((&member).into()).into_line(),
    ]
}

fn throttle_lines() -> [String; 2] {
    let bottleneck = Bottleneck {
        cause: Cause::ForkLatency,
        figure: 0.0062,
        target: 0.005,
        rate: Rate::from_bytes_per_sec(35 << 20),
    };
    [Some(&bottleneck), None].map(|b| Event::Throttle(b.into()).into_line())
}

fn progress_lines() -> [String; 2] {
    let file = transfer::Progress {
        copied: 1 << 20,
        size: Some(4 << 20),
        engine: "mmap",
        elapsed: Duration::from_millis(250),
        phase: Phase::Copy,
    };
    let compared = transfer::Progress {
        elapsed: Duration::from_millis(500),
        phase: Phase::Verify {
            begun: Duration::from_millis(250),
        },
        ..file
    };
    let total = TotalWork {
        data: 0,
        files: 10,
        bytes: 1 << 30,
    };
    [(file, None), (compared, Some(total))].map(|(file, total)| {
        let run = RunProgress {
            files: 2,
            bytes: 3 << 20,
            copied_bytes: 3 << 20,
            freed_bytes: 1 << 20,
            rate: 1e6,
            elapsed: Duration::from_secs(3),
            total,
        };
        Event::Progress(Progress::new(&file, &run)).into_line()
    })
}

fn error_lines() -> [String; 3] {
    let (source, dest) = (Path::new("a"), Path::new("b"));
    let message = "error writing 'b': No space left on device";
    let cause = |op, errno: Option<i32>| ErrorCause {
        op,
        errno,
        code: errno.and_then(errno_name),
    };
    let same = "'a' and 'b' are the same file";
    [
        Event::file_error(source, dest, same, cause("copy", None)).into_line(),
        Event::file_error(source, dest, message, cause("write", Some(28))).into_line(),
        Event::run_error("missing file operand", cause("copy", None)).into_line(),
    ]
}

fn total_line() -> String {
    let summary = RunSummary {
        files: 10,
        bytes: 1 << 30,
        freed_bytes: 1 << 29,
        directories: 2,
        skipped: 1,
        errors: 3,
        cut: 1,
        elapsed: Duration::from_millis(2500),
        engine: None,
    };
    Event::Total(Total::from(&summary)).into_line()
}

/// Returns a line of each kind of event, and of each form that it can have.
fn lines_of_each_kind() -> Vec<String> {
    let mut lines = file_lines();
    lines.extend(queue_lines());
    lines.extend(throttle_lines());
    lines.extend(progress_lines());
    lines.extend(error_lines());
    lines.push(total_line());
    lines
}

/// Returns the schema of what `T` serializes to, which is stricter than that of what it could be read from.
fn schema_of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<T>()
}

/// Fails if the committed file differs from `text`. With the variable `UPDATE_DOCS` it writes the file instead.
fn assert_committed(path: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, text).unwrap_or_else(|e| panic!("writing {path}: {e}"));
    }
    let committed =
        std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("reading {path}: {e}"));
    assert!(
        committed == text,
        "{path} is stale: UPDATE_DOCS=1 cargo test --lib wire\n{text}"
    );
}

#[test]
fn lines_are_the_committed_ones() {
    let text = lines_of_each_kind().join("\n") + "\n";
    assert_committed("tests/golden/events.jsonl", &text);
}

#[test]
fn schema_is_the_committed_one() {
    let schema = schema_of::<Line<'static>>();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    assert_committed("man/mmapcp-events.schema.json", &text);
}

/// A new kind of event must be added to the committed lines.
#[test]
fn committed_lines_have_each_kind() {
    let name = |line: String| {
        let event: Value = serde_json::from_str(&line).unwrap();
        event["event"].as_str().unwrap().to_owned()
    };
    let mut names: Vec<_> = lines_of_each_kind().into_iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    let schema = schema_of::<Event<'static>>().to_value();
    let kinds = schema["oneOf"].as_array().unwrap().iter();
    let mut kinds: Vec<_> = kinds
        .map(|kind| kind["properties"]["event"]["const"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(names, kinds);
}

#[test]
fn notes_have_no_event() {
    let note = transfer::Event::Note {
        text: "for people".into(),
    };
    assert!(Event::of_file(&note, Path::new("a"), Path::new("b")).is_none());
}

#[test]
fn throttle_names_cause_figure_target_and_rate() {
    let [limited, unlimited] = throttle_lines().map(|line| serde_json::from_str::<Value>(&line));
    let want = serde_json::json!({
        "event": "throttle", "v": 1,
        "cause": "fork-latency", "figure": 0.0062, "target": 0.005, "rate": 36_700_160,
    });
    assert_eq!(limited.unwrap(), want);
    let want = serde_json::json!({
        "event": "throttle", "v": 1,
        "cause": null, "figure": null, "target": null, "rate": null,
    });
    assert_eq!(unlimited.unwrap(), want);
}
