//! Whether another process can write to a source: what `plan` and `done` say of it, and `--require-quiescent`.

use std::fs::{self, File};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mmapcp::sys::mapped_file::{MappedReader, MappedWriter};
use serde_json::Value;

use crate::support::*;

/// How often each answer is asked for.
const ROUNDS: usize = 20;

/// A shared mapping that can be written to, whose descriptor is closed.
fn map_for_writing(path: &Path) -> MappedWriter {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    MappedWriter::new(&file, len as usize).unwrap()
}

fn map_for_reading(path: &Path) -> MappedReader {
    let file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    MappedReader::new(&file, len as usize).unwrap()
}

/// What both events say of writers.
fn told(events: &[Value]) -> [(Value, Value); 2] {
    ["plan", "done"].map(|name| {
        let event = only_event(events, name);
        (event["writers"].clone(), event["writers_why"].clone())
    })
}

fn assert_told(events: &[Value], word: &str, context: &str) {
    for (writers, why) in told(events) {
        assert_eq!(writers, word, "{context}");
        assert_eq!(why.is_null(), word != "unknown", "{context}: {why}");
    }
}

/// The copies on the disk and in memory of a source, by the engines that can make them.
fn copies_of(source: &Path, word: &str) {
    let (disk, memory) = (disk_dir(), shm_dir());
    if word == "none" {
        wait_until_closed(source);
    }
    for engine in ["direct", "dontcache", "sendfile", "buffered"] {
        let option = format!("--engine={engine}");
        let events = copy_json(&[option.as_str()], source, &disk.path().join("copy"));
        assert_told(&events, word, &option);
        if matches!(engine, "sendfile" | "buffered") {
            let events = copy_json(&[option.as_str()], source, &memory.path().join("copy"));
            assert_told(&events, word, &option);
        }
    }
}

#[test]
fn a_mapping_that_stores_is_seen_in_every_copy_and_readers_in_none() {
    let pair = CopyFixture::new(2 * MIB);
    let (source, copy) = (pair.source(), pair.destination());
    let writer = map_for_writing(&source);
    // Only the first store to a page moves the time of the file.
    writer.store_byte(0, 1);
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let events = thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    writer.store_byte(0, round as u8);
                }
            });
            let events = copy_json::<&str>(&[], &source, &copy);
            stop.store(true, Ordering::Relaxed);
            events
        });
        assert_told(&events, "possible", "a mapping stores");
    }
    drop(writer);
    wait_until_closed(&source);
    let reader = map_for_reading(&source);
    let descriptor = File::open(&source).unwrap();
    for _ in 0..ROUNDS {
        reader.touch_pages();
        let events = copy_json::<&str>(&[], &source, &copy);
        assert_told(&events, "none", "there are readers");
    }
    drop(descriptor);
}

#[test]
fn every_engine_and_size_tells_of_writers() {
    for shm in [shm_dir(), disk_dir()] {
        let source = shm.path().join("dump");
        for size in [0, 1, 64 * KIB, 64 * KIB + 1, 3 * MIB + 5] {
            make_dense_dump(&source, size);
            copies_of(&source, "none");
            let writer = File::options().write(true).open(&source).unwrap();
            copies_of(&source, "possible");
            drop(writer);
            let (auto, writer) = (
                shm.path().join("auto"),
                map_for_writing_if_any(&source, size),
            );
            let word = if writer.is_some() { "possible" } else { "none" };
            if writer.is_none() {
                wait_until_closed(&source);
            }
            let events = copy_json::<&str>(&[], &source, &auto);
            assert_told(&events, word, &format!("auto, {size} bytes"));
        }
    }
}

fn map_for_writing_if_any(path: &Path, size: u64) -> Option<MappedWriter> {
    (size > 0).then(|| map_for_writing(path))
}

/// Copies with `--require-quiescent` and expects an error that says `why`.
fn assert_refused(output: &Output, why: &str) {
    assert_exit(output, 1);
    let text = lossy_string(&output.stderr);
    assert!(text.contains("--require-quiescent"), "{text}");
    assert!(text.contains(why), "{text}");
}

#[test]
fn a_source_that_is_written_to_is_refused_before_a_byte_is_written() {
    for options in [
        &["--require-quiescent"][..],
        &["--require-quiescent", "--atomic"],
    ] {
        for size in [1, 64 * KIB, 2 * MIB] {
            let pair = CopyFixture::new(size);
            let writer = map_for_writing(&pair.source());
            assert_refused(
                &run(&mut pair.command(options)),
                "open or mapped for writing",
            );
            assert!(!pair.destination().exists(), "nothing was made");
            fs::write(pair.destination(), "old").unwrap();
            assert_refused(
                &run(&mut pair.command(options)),
                "open or mapped for writing",
            );
            assert_eq!(fs::read(pair.destination()).unwrap(), b"old");
            drop(writer);
            wait_until_closed(&pair.source());
            assert_exit(&run(&mut pair.command(options)), 0);
            assert_same_content(&pair.source(), &pair.destination(), "quiescent");
        }
    }
}

#[test]
fn a_writer_that_comes_during_the_copy_is_an_error_after_it() {
    for (options, is_left) in [
        (&["--limit-rate=8M"][..], false),
        (&["--limit-rate=8M", "--atomic"], true),
    ] {
        let pair = CopyFixture::new(8 * MIB);
        fs::write(pair.destination(), "old").unwrap();
        wait_until_closed(&pair.source());
        let running = Running::start(pair.command(options).arg("--require-quiescent"));
        let writer = if is_left {
            // The new file has no name yet: the reader of the source shows that the copy runs.
            wait_until("the copy has opened its source", || {
                reads(running.pid(), &pair.source())
            });
            thread::sleep(std::time::Duration::from_millis(100));
            map_for_writing(&pair.source())
        } else {
            wait_until("the copy has begun", || {
                fs::metadata(pair.destination()).unwrap().len() > MIB
            });
            map_for_writing(&pair.source())
        };
        let output = running.finish();
        assert_refused(&output, "open or mapped for writing");
        let kept = fs::read(pair.destination()).unwrap() == b"old";
        assert_eq!(kept, is_left, "{options:?}");
        drop(writer);
    }
}

/// Whether a process has a file open.
fn reads(pid: nix::unistd::Pid, path: &Path) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target == path)
}

#[test]
fn what_cannot_be_told_is_unknown_with_its_reason_and_refused_where_rest_is_required() {
    let pair = CopyFixture::new(KIB);
    // A pipe has a writer, and no count of them.
    let script = format!(
        "cat '{}' | \"$0\" --json /dev/stdin '{}'",
        pair.source().display(),
        pair.destination().display()
    );
    let mut shell = std::process::Command::new("sh");
    let output = run(shell.args(["-c", &script]).arg(&*MMAPCP));
    assert_exit(&output, 0);
    assert_told(&parse_events(&output), "unknown", "a pipe");
    let script = script.replace("--json", "--require-quiescent");
    let mut shell = std::process::Command::new("sh");
    assert_refused(&run(shell.args(["-c", &script]).arg(&*MMAPCP)), "unknown");
}

#[test]
fn a_lease_that_is_refused_is_said() {
    let test = "a_lease_that_is_refused_is_said";
    if !is_root_or_skip(test) {
        return;
    }
    let (bin_dir, bin) = public_bin_dir();
    let pair = CopyFixture::new(KIB);
    if !is_reachable_or_skip(test, pair.disk.path()) {
        return;
    }
    let nobody = |option: &str| {
        let mut command = std::process::Command::new(bin.join("mmapcp"));
        command
            .arg(option)
            .arg(pair.source())
            .arg(pair.destination());
        run(as_nobody(&mut command))
    };
    let output = nobody("--json");
    assert_exit(&output, 0);
    let events = parse_events(&output);
    assert_told(&events, "unknown", "nobody's copy");
    let why = only_event(&events, "plan")["writers_why"].clone();
    assert!(why.as_str().unwrap().contains("CAP_LEASE"), "{why}");
    assert_refused(&nobody("--require-quiescent"), "CAP_LEASE");
    drop(bin_dir);
}

#[test]
fn a_plain_copy_says_nothing_and_debug_does() {
    let pair = CopyFixture::new(KIB);
    let writer = map_for_writing(&pair.source());
    let output = run(&mut pair.command(&[]));
    assert_exit(&output, 0);
    assert_eq!(
        describe_output(&output),
        "exit status: 0\nstdout: \nstderr: "
    );
    let output = run(&mut pair.command(&["--debug"]));
    let said = lossy_string(&output.stdout)
        .matches("open or mapped for writing")
        .count();
    assert_eq!(said, 2, "{}", describe_output(&output));
    drop(writer);
}
