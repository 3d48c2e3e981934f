//! What a copy tells about itself: the bar, the lines of `--progress=always`, the events of `--json`, and `--debug`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::*;

/// Long enough to be caught in the middle.
const SIZE: u64 = 200 * MIB;

/// A bar appears after a second; a copy held for longer has one.
const BAR_HOLD_TIME: Duration = Duration::from_millis(1500);

/// A copy with `options` that was held for longer than a second in its middle.
fn slow_copy(pair: &CopyFixture, options: &[&str]) -> Output {
    let mut ended = None;
    retry_until_met("a copy held in the middle", || {
        let _ = fs::remove_file(pair.destination());
        let mut command = mmapcp();
        command
            .args(options)
            .arg(pair.source())
            .arg(pair.destination());
        let Some(running) = start_and_stop_midway(&mut command, &pair.destination()) else {
            return false;
        };
        thread::sleep(BAR_HOLD_TIME);
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        assert_exit(&output, 0);
        ended = Some(output);
        true
    });
    assert_same_content(&pair.source(), &pair.destination(), "a slow copy");
    ended.unwrap()
}

// ---------------------------------------------------------------- pipes and terminals

#[test]
fn nothing_on_a_pipe() {
    let output = slow_copy(&CopyFixture::new(SIZE), &[]);
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{}",
        describe_output(&output)
    );
}

#[test]
fn lines_on_a_pipe_when_asked() {
    for option in ["--progress=always", "--progress"] {
        let output = slow_copy(&CopyFixture::new(SIZE), &[option]);
        let stderr = lossy_string(&output.stderr);
        assert!(output.stdout.is_empty(), "{}", describe_output(&output));
        assert!(stderr.ends_with('\n'), "whole lines: {stderr:?}");
        assert!(
            !stderr.contains(['\r', '\x1b']),
            "no terminal's language in a log: {stderr:?}"
        );
        assert!(
            stderr.lines().all(|line| line.contains("/s")),
            "each with a rate: {stderr}"
        );
    }
}

#[test]
fn a_bar_on_a_terminal() {
    let pair = CopyFixture::new(SIZE);
    let screen = on_terminal(&pair, &[pair.source()], "", &pair.destination());
    assert!(
        screen.contains(['\r', '\x1b']),
        "a bar redraws itself: {screen:?}"
    );
    assert!(screen.contains("/s"), "the rate: {screen:?}");
    assert!(
        ENGINES.iter().any(|engine| screen.contains(engine)),
        "the engine: {screen:?}"
    );
    assert!(screen.contains("200"), "the whole: {screen:?}");
}

#[test]
fn no_bar_when_told_never() {
    let pair = CopyFixture::new(SIZE);
    let screen = on_terminal(
        &pair,
        &[pair.source()],
        "--progress=never",
        &pair.destination(),
    );
    assert_eq!(screen, "");
}

#[test]
fn no_bar_for_a_short_copy() {
    let pair = CopyFixture::new(5000);
    let line = format!(
        "{MMAPCP} {} {}",
        pair.source().display(),
        pair.destination().display()
    );
    let output = run(Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm"));
    assert_exit(&output, 0);
    assert_eq!(lossy_string(&output.stdout), "");
    assert_same_content(
        &pair.source(),
        &pair.destination(),
        "a short copy on a terminal",
    );
}

#[test]
fn the_current_file_of_many_on_a_terminal() {
    let pair = CopyFixture::new(SIZE);
    let first = pair.shm.path().join("first");
    make_dense_dump(&first, MIB);
    fs::create_dir(pair.destination()).unwrap();
    // Held in the second of two: that it is one of many is known by then, however the names came.
    let screen = on_terminal(
        &pair,
        &[first, pair.source()],
        "",
        &pair.destination().join("dump"),
    );
    assert!(screen.contains("dump"), "the current file: {screen:?}");
    assert!(screen.contains("/s"), "the rate: {screen:?}");
}

/// What a terminal showed during a copy to the pair's destination that was held once `first` had begun.
fn on_terminal(pair: &CopyFixture, sources: &[PathBuf], option: &str, first: &Path) -> String {
    let pidfile = pair.shm.path().join("pid");
    let sources: Vec<String> = sources
        .iter()
        .map(|source| source.display().to_string())
        .collect();
    let line = format!(
        "echo $$ > {}; exec {MMAPCP} {option} {} {}",
        pidfile.display(),
        sources.join(" "),
        pair.destination().display()
    );
    let mut screen = String::new();
    retry_until_met("a copy held on a terminal", || {
        let _ = fs::remove_file(first);
        let mut command = Command::new("script");
        let mut script = Running::start(
            command
                .args(["-qec", &line, "/dev/null"])
                .env("TERM", "xterm"),
        );
        if !hold(&mut script, &pidfile, first) {
            return false;
        }
        let output = script.finish();
        assert_exit(&output, 0);
        screen = lossy_string(&output.stdout);
        true
    });
    screen
}

/// Stops the copier below `script` for a while, once the destination has bytes; false if it was too quick.
fn hold(script: &mut Running, pidfile: &Path, destination: &Path) -> bool {
    let started = Instant::now();
    while !has_written_bytes(destination) {
        if script.has_ended() {
            return false;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the destination never appeared"
        );
        thread::sleep(Duration::from_micros(50));
    }
    let copier = Pid::from_raw(fs::read_to_string(pidfile).unwrap().trim().parse().unwrap());
    if kill(copier, Signal::SIGSTOP).is_err() {
        return false;
    }
    thread::sleep(BAR_HOLD_TIME);
    // script(1) stops itself when its child stops; it would wake the child, but it may not have noticed yet.
    script.signal(Signal::SIGCONT);
    kill(copier, Signal::SIGCONT).is_ok()
}

// ---------------------------------------------------------------- JSON

/// The fields that scripts hold on to, by event.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "plan",
        &[
            "source",
            "destination",
            "size",
            "data",
            "engine",
            "direct",
            "mem_align",
            "offset_align",
            "refused",
        ],
    ),
    (
        "progress",
        &[
            "copied",
            "size",
            "rate",
            "elapsed",
            "files_done",
            "files",
            "bytes_done",
            "bytes",
        ],
    ),
    ("choice", &["engine"]),
    ("fallback", &["from", "to", "why", "at"]),
    ("throttle", &["cause", "figure", "target", "rate"]),
    (
        "done",
        &[
            "source",
            "destination",
            "bytes",
            "data_bytes",
            "engine",
            "engines",
            "elapsed",
            "rate",
            "cpu_user",
            "cpu_system",
            "max_rss",
        ],
    ),
    (
        "error",
        &["source", "destination", "error", "op", "errno", "code"],
    ),
    (
        "total",
        &[
            "files",
            "bytes",
            "directories",
            "skipped",
            "errors",
            "elapsed",
            "rate",
        ],
    ),
];

/// Every event is known and has all its fields.
fn has_fields(events: &[Value]) {
    for event in events {
        let name = event["event"].as_str().unwrap();
        let (_, fields) = FIELDS
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap_or_else(|| panic!("unknown: {event}"));
        for field in *fields {
            assert!(event.get(field).is_some(), "{name} lacks {field}: {event}");
        }
    }
}

#[test]
fn json_of_a_slow_copy() {
    let pair = CopyFixture::new(SIZE);
    let output = slow_copy(&pair, &["--json"]);
    assert!(output.stderr.is_empty(), "{}", describe_output(&output));
    let events = parse_events(&output);
    has_fields(&events);
    assert_eq!(events[0]["event"], "plan", "first the plan");
    let [.., done, total] = &events[..] else {
        panic!("too few: {events:#?}");
    };
    assert_eq!(done["event"], "done", "last the end of the file");
    assert_eq!(total["event"], "total", "and of the run");
    assert_eq!(
        (&total["files"], &total["bytes"]),
        (&1.into(), &SIZE.into()),
        "{total}"
    );
    let progress: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "progress")
        .collect();
    assert!(
        !progress.is_empty(),
        "a copy that lasts shows progress: {events:#?}"
    );
    let copied: Vec<u64> = progress
        .iter()
        .map(|event| event["copied"].as_u64().unwrap())
        .collect();
    assert!(
        copied.is_sorted() && copied.iter().all(|&bytes| bytes <= SIZE),
        "{copied:?}"
    );
    for event in progress {
        assert_eq!(
            [&event["files"], &event["bytes"], &event["bytes_done"]],
            [&1.into(), &SIZE.into(), &event["copied"]],
            "of one file all is known at once: {event}"
        );
    }
}

#[test]
fn json_plan_and_done_tell_the_truth() {
    let pair = CopyFixture::new(0);
    // Two extents, one with a ragged end, and a hole between and behind them.
    make_dump(&pair.source(), 9 * MIB, &[(0, MIB), (4 * MIB, MIB + 5)]);
    let events = copy_json::<&str>(&[], &pair.source(), &pair.destination());
    has_fields(&events);
    let (plan, done) = (only_event(&events, "plan"), only_event(&events, "done"));
    // tmpfs counts data in pages.
    let data = allocated_bytes(&pair.source());
    assert_eq!(
        (plan["size"].as_u64(), plan["data"].as_u64()),
        (Some(9 * MIB), Some(data)),
        "{plan}"
    );
    assert_eq!(
        (done["bytes"].as_u64(), done["data_bytes"].as_u64()),
        (Some(9 * MIB), Some(data)),
        "{done}"
    );
    let by_engine: u64 = done["engines"]
        .as_object()
        .unwrap()
        .values()
        .map(|bytes| bytes.as_u64().unwrap())
        .sum();
    assert_eq!(
        by_engine, data,
        "the engines' shares make up the data: {done}"
    );
    assert!(
        done["engines"]
            .get(done["engine"].as_str().unwrap())
            .is_some(),
        "{done}"
    );
    for field in ["elapsed", "rate"] {
        assert!(
            done[field].as_f64().is_some_and(|number| number > 0.0),
            "{field}: {done}"
        );
    }
    for field in ["cpu_user", "cpu_system"] {
        assert!(
            done[field]
                .as_f64()
                .is_some_and(|number| (0.0..60.0).contains(&number)),
            "{field}: {done}"
        );
    }
    let rss = done["max_rss"].as_u64().unwrap();
    assert!(
        (MIB..16 * MIB).contains(&rss),
        "a small process, counted in bytes: {rss}"
    );
    for refusal in plan["refused"].as_array().unwrap() {
        assert!(refusal["engine"].is_string(), "{plan}");
        assert!(
            refusal["why"].as_str().is_some_and(|why| !why.is_empty()),
            "a reason: {plan}"
        );
    }
}

#[test]
fn json_choice_between_mmap_and_splice() {
    let pair = CopyFixture::new(280 * MIB);
    let events = copy_json::<&str>(&[], &pair.source(), &pair.destination());
    has_fields(&events);
    let (choice, done) = (only_event(&events, "choice"), only_event(&events, "done"));
    assert_eq!(
        choice["engine"], done["engine"],
        "what was chosen is what went on"
    );
    for engine in ["mmap", "splice"] {
        assert!(
            done["engines"][engine]
                .as_u64()
                .is_some_and(|bytes| bytes > 0),
            "{engine} was tried: {done}"
        );
        assert!(
            choice.to_string().contains(engine),
            "the price of {engine}: {choice}"
        );
    }
    assert_same_content(&pair.source(), &pair.destination(), "a measured choice");
}

#[test]
fn json_stays_json_beside_other_words() {
    let pair = CopyFixture::new(5000);
    let output = run(mmapcp()
        .args(["--json", "-v", "--debug", "--progress=always"])
        .arg(pair.source())
        .arg(pair.destination()));
    assert_exit(&output, 0);
    has_fields(&parse_events(&output));
}

#[test]
fn json_of_errors_and_the_files_beside_them() {
    let pair = CopyFixture::new(5000);
    let missing = pair.shm.path().join("missing");
    let output = run(mmapcp()
        .arg("--json")
        .arg(&missing)
        .arg(pair.source())
        .arg(pair.disk.path()));
    assert_exit(&output, 1);
    let events = parse_events(&output);
    has_fields(&events);
    let error = only_event(&events, "error");
    assert_eq!(error["source"], missing.to_str().unwrap(), "{error}");
    assert!(
        error["error"]
            .as_str()
            .unwrap()
            .contains("No such file or directory"),
        "{error}"
    );
    assert_eq!(
        (&error["op"], &error["errno"], &error["code"]),
        (&json!("stat"), &json!(2), &json!("ENOENT")),
        "{error}"
    );
    assert_eq!(
        lossy_string(&output.stderr),
        format!(
            "mmapcp: cannot stat '{}': No such file or directory\n",
            missing.display()
        ),
        "people are told too"
    );
    assert_eq!(
        only_event(&events, "done")["source"],
        pair.source().to_str().unwrap()
    );
}

/// Returns the operation, the error number and its name of the only error of a run.
fn error_data(command: &mut Command) -> [Value; 3] {
    let output = run(command);
    let events = parse_events(&output);
    let error = only_event(&events, "error");
    ["op", "errno", "code"].map(|field| {
        let value = error.get(field);
        value
            .unwrap_or_else(|| panic!("no {field}: {error}"))
            .clone()
    })
}

#[test]
fn json_of_an_error_tells_operation_and_errno() {
    let pair = CopyFixture::new(5000);
    let source = pair.source();
    let not_attempted = [json!("copy"), json!(null), json!(null)];
    let onto_itself = error_data(mmapcp().arg("--json").arg(&source).arg(&source));
    assert_eq!(onto_itself, not_attempted, "source and destination are one");
    let directory = error_data(mmapcp().arg("--json").arg(pair.shm.path()).arg("new"));
    assert_eq!(directory, not_attempted, "-r is missing");
    let below = pair.disk.path().join("missing/new");
    let no_parent = error_data(mmapcp().arg("--json").arg(&source).arg(&below));
    assert_eq!(no_parent, [json!("open"), json!(2), json!("ENOENT")]);
    let sources = [&source, &source];
    let no_directory = error_data(mmapcp().arg("--json").args(sources).arg(&source));
    assert_eq!(no_directory, [json!("open"), json!(20), json!("ENOTDIR")]);
    let mut link = mmapcp();
    link.args(["--json", "-l"]).arg(&source).arg(&below);
    assert_eq!(error_data(&mut link)[0], "link");
}

#[test]
fn json_of_a_tree_is_a_plan_and_a_done_a_file() {
    let pair = CopyFixture::new(5000);
    fs::create_dir(pair.shm.path().join("sub")).unwrap();
    make_dense_dump(&pair.shm.path().join("sub/other"), 7000);
    let events = copy_json(&["-r"], pair.shm.path(), &pair.destination());
    has_fields(&events);
    for name in ["plan", "done"] {
        let mut sources: Vec<&str> = events
            .iter()
            .filter(|e| e["event"] == name)
            .map(|e| e["source"].as_str().unwrap())
            .collect();
        sources.sort_unstable();
        let expected = [pair.source(), pair.shm.path().join("sub/other")];
        assert_eq!(
            sources,
            expected.each_ref().map(|path| path.to_str().unwrap()),
            "{name}"
        );
    }
}

// ---------------------------------------------------------------- trees

/// Files of the tree, and their sizes together.
const FILES: u64 = 6;
const BYTES: u64 = SIZE + 3 * MIB + 2 * 1000;

/// A tree in memory: a big file, one that is a hole for the most part, one with two names, an empty one and a link.
fn tree() -> CopyFixture {
    let pair = CopyFixture {
        shm: shm_dir(),
        disk: disk_dir(),
    };
    let root = pair.source();
    fs::create_dir_all(root.join("sub")).unwrap();
    make_dump(&root.join("holes"), 3 * MIB, &[(0, 4096)]);
    make_dense_dump(&root.join("sub/name"), 1000);
    fs::hard_link(root.join("sub/name"), root.join("sub/other name")).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
    make_dense_dump(&root.join("big"), SIZE);
    pair
}

/// A copy of the tree that was held in its big file twice: what there is to do is counted between the two.
fn slow_tree(pair: &CopyFixture, options: &[&str]) -> Option<Output> {
    let big = pair.destination().join("big");
    let _ = fs::remove_file(&big);
    let mut command = mmapcp();
    command.args(options).arg("-rT");
    command.arg(pair.source()).arg(pair.destination());
    let running = start_and_stop_midway(&mut command, &big)?;
    thread::sleep(BAR_HOLD_TIME);
    running.signal(Signal::SIGCONT);
    thread::sleep(Duration::from_millis(30));
    running.signal(Signal::SIGSTOP);
    thread::sleep(BAR_HOLD_TIME);
    running.signal(Signal::SIGCONT);
    let output = running.finish();
    assert_exit(&output, 0);
    Some(output)
}

#[test]
fn json_of_a_tree_counts_files_and_bytes() {
    let pair = tree();
    retry_until_met("progress with totals", || {
        let _ = fs::remove_dir_all(pair.destination());
        let Some(output) = slow_tree(&pair, &["--json", "--progress=always"]) else {
            return false;
        };
        assert!(output.stderr.is_empty(), "{}", describe_output(&output));
        let events = parse_events(&output);
        has_fields(&events);
        let total = events.last().unwrap();
        assert_eq!(total["event"], "total");
        for (field, number) in [
            ("files", FILES),
            ("bytes", BYTES),
            ("directories", 2),
            ("skipped", 0),
            ("errors", 0),
        ] {
            assert_eq!(total[field], number, "{field}: {total}");
        }
        let mut known = false;
        for event in events.iter().filter(|e| e["event"] == "progress") {
            assert!(event["files_done"].as_u64().unwrap() <= FILES, "{event}");
            assert!(event["bytes_done"].as_u64().unwrap() <= BYTES, "{event}");
            assert!(event["copied"].as_u64() <= event["size"].as_u64());
            if !event["files"].is_null() {
                known = true;
                assert_eq!(event["files"], FILES, "{event}");
                assert_eq!(event["bytes"], BYTES, "{event}");
            }
        }
        known
    });
}

#[test]
fn lines_of_a_tree_are_of_the_whole_run() {
    let pair = tree();
    retry_until_met("a line with totals", || {
        let _ = fs::remove_dir_all(pair.destination());
        let Some(output) = slow_tree(&pair, &["--progress=always"]) else {
            return false;
        };
        let stderr = lossy_string(&output.stderr);
        assert!(output.stdout.is_empty(), "{}", describe_output(&output));
        assert!(
            stderr
                .lines()
                .all(|line| line.contains(" files, ") && line.contains("/s")),
            "{stderr}"
        );
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("203 MiB in "), "{stderr}");
        assert!(last.contains(&format!("iB/s, {FILES} files")), "{stderr}");
        let whole = " of 203 MiB, ";
        let all_files = format!(" of {FILES} files, ");
        stderr
            .lines()
            .any(|line| line.contains(whole) && line.contains(&all_files))
    });
}

/// They report no progress while they are copied.
#[test]
fn small_files_count_too() {
    let pair = CopyFixture {
        shm: shm_dir(),
        disk: disk_dir(),
    };
    fs::create_dir(pair.source()).unwrap();
    for i in 0..300 {
        make_dense_dump(&pair.source().join(format!("{i}")), 4096);
    }
    let output = run(&mut pair.command(&["--progress=always", "-rT"]));
    assert!(output.status.success(), "{}", describe_output(&output));
    let stderr = lossy_string(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("1.17 MiB in "), "{stderr}");
    assert!(last.contains(", 300 files"), "{stderr}");
}

#[test]
fn the_bar_of_a_tree_is_of_the_whole_run() {
    let pair = tree();
    retry_until_met("a bar with totals", || {
        let _ = fs::remove_dir_all(pair.destination());
        let screen = on_terminal(
            &pair,
            &[pair.source()],
            "-rT",
            &pair.destination().join("big"),
        );
        assert!(screen.contains(" files  "), "the run: {screen:?}");
        assert!(
            screen.contains("big  "),
            "the file that takes long: {screen:?}"
        );
        screen.contains(&format!("/{FILES} files  ")) && screen.contains('%')
    });
}

#[test]
fn status_of_a_tree_is_of_the_file_and_the_whole_run() {
    let pair = tree();
    retry_until_met("a status line", || {
        let _ = fs::remove_dir_all(pair.destination());
        let mut command = mmapcp();
        command
            .arg("-rT")
            .arg(pair.source())
            .arg(pair.destination());
        let big = pair.destination().join("big");
        let Some(running) = start_and_stop_midway(&mut command, &big) else {
            return false;
        };
        running.signal(Signal::SIGUSR1);
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        assert_exit(&output, 0);
        let stderr = lossy_string(&output.stderr);
        if stderr.is_empty() {
            return false;
        }
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains("; in all "), "{stderr}");
        assert!(stderr.contains(" files, "), "{stderr}");
        true
    });
}

#[test]
fn what_is_skipped_or_fails_is_no_copy() {
    let pair = tree();
    fs::remove_file(pair.source().join("big")).unwrap();
    fs::create_dir_all(pair.destination().join("empty")).unwrap();
    fs::write(pair.destination().join("holes"), "kept").unwrap();
    let output = run(mmapcp()
        .args(["--json", "-nrT"])
        .arg(pair.source())
        .arg(pair.destination()));
    let events = parse_events(&output);
    let total = only_event(&events, "total");
    for (field, number) in [
        ("files", 3),
        ("bytes", 2000),
        ("directories", 1),
        ("skipped", 2),
        ("errors", 0),
    ] {
        assert_eq!(total[field], number, "{field}: {total}");
    }
    let output = run(mmapcp()
        .args(["--json", "-rT"])
        .arg(pair.source())
        .arg(pair.destination()));
    let events = self::parse_events(&output);
    let total = only_event(&events, "total");
    // The empty file meets a directory.
    for (field, number) in [("skipped", 0), ("errors", 1)] {
        assert_eq!(total[field], number, "{field}: {total}");
    }
}

/// Nobody knows what is in a directory that cannot be read: it is an error, and no part of what there is to do.
#[test]
fn what_cannot_be_read_is_not_counted() {
    let pair = tree();
    let (place, bin) = public_bin_dir();
    let copy = place.path().join("copies/copy");
    fs::create_dir(place.path().join("copies")).unwrap();
    std::os::unix::fs::chown(place.path().join("copies"), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(pair.shm.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(pair.source().join("sub"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new(bin.join("mmapcp"));
    command
        .args(["--json", "-rT"])
        .arg(pair.source())
        .arg(&copy);
    let output = run(as_nobody(&mut command));
    assert_exit(&output, 1);
    let events = parse_events(&output);
    let total = only_event(&events, "total");
    for (field, number) in [
        ("files", FILES - 2),
        ("bytes", BYTES - 2000),
        ("directories", 2),
        ("errors", 1),
    ] {
        assert_eq!(total[field], number, "{field}: {total}");
    }
}

// ---------------------------------------------------------------- --debug

#[test]
fn debug_names_the_engine_and_why_not_the_others() {
    let pair = CopyFixture::new(3 * MIB + 5);
    // From the disk: the two rows that need a source in memory are refused, and `direct` is taken.
    let on_disk = pair.disk.path().join("dump");
    fs::copy(pair.source(), &on_disk).unwrap();
    let output = run(mmapcp()
        .arg("--debug")
        .arg(&on_disk)
        .arg(pair.destination()));
    assert_exit(&output, 0);
    let text = lossy_string(&output.stdout) + &lossy_string(&output.stderr);
    for word in [
        "mmap",
        "splice",
        "direct",
        "align",
        "extent",
        on_disk.to_str().unwrap(),
    ] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
}
