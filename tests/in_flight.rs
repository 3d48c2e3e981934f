//! Several pieces of one file on their way at once: right bytes in every order, and an error leaves the contiguous part.

use std::fs;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::seccomp_filter::{DeniedSyscall, run_with_denied};
use crate::support::*;

/// The engines that may have several pieces on their way.
const DIRECT_ENGINES: [&str; 3] = ["mmap", "splice", "direct"];

/// Bytes at once, as four pieces of 1 MiB.
const IN_FLIGHT: u64 = 4 * MIB;

fn most_in_flight(events: &[Value]) -> u64 {
    only_event(events, "done")["in_flight"].as_u64().unwrap()
}

#[test]
fn every_engine_copies_all_bytes_with_several_pieces_at_once() {
    for engine in DIRECT_ENGINES {
        let option = format!("--engine={engine}");
        for size in [
            24 * MIB,
            24 * MIB + 1,
            24 * MIB - 1,
            24 * MIB + 4096,
            5 * MIB + 511,
        ] {
            // Whether a helper runs before the copying thread has moved all the rest is up to the scheduler.
            retry_until_met("several pieces at once", || {
                let pair = CopyFixture::new(size);
                let options = [option.as_str(), "--in-flight=4M"];
                let events = copy_json(&options, &pair.source(), &pair.destination());
                let context = format!("{engine}, {size}");
                assert_same_content(&pair.source(), &pair.destination(), &context);
                assert_eq!(engines_used(&events), [engine], "{size}");
                let most = most_in_flight(&events);
                assert!(most <= IN_FLIGHT, "{context}: {most}");
                most > MIB
            });
        }
    }
}

#[test]
fn holes_stay_holes_with_several_pieces_at_once() {
    for engine in ["mmap", "splice"] {
        let (shm, disk) = (shm_dir(), disk_dir());
        let (source, dest) = (shm.path().join("dump"), disk.path().join("copy"));
        let extents: Vec<(u64, u64)> = (0..20)
            .map(|n| (n * 3 * MIB + 4096, 2 * MIB + 4096))
            .collect();
        make_dump(&source, 64 * MIB + 5, &extents);
        let option = format!("--engine={engine}");
        retry_until_met("several pieces at once", || {
            let _ = fs::remove_file(&dest);
            let events = copy_json(&[&option, "--in-flight=4M"], &source, &dest);
            assert_same_content(&source, &dest, engine);
            assert!(allocated_bytes(&dest) < 42 * MIB, "{engine}");
            most_in_flight(&events) > 2 * MIB
        });
    }
}

#[test]
fn one_piece_at_a_time_where_so_little_is_allowed() {
    let pair = CopyFixture::new(8 * MIB + 3);
    let options = ["--engine=splice", "--in-flight=256K"];
    let events = copy_json(&options, &pair.source(), &pair.destination());
    assert_same_content(&pair.source(), &pair.destination(), "256K");
    assert_eq!(most_in_flight(&events), 256 << 10);
}

#[test]
fn the_page_cache_holds_no_more_than_may_be_in_flight() {
    let pair = CopyFixture::new(8 * MIB);
    let options = ["--engine=buffered", "--in-flight=1M"];
    let events = copy_json(&options, &pair.source(), &pair.destination());
    assert_same_content(&pair.source(), &pair.destination(), "buffered");
    assert!(most_in_flight(&events) <= MIB);
}

/// What is decided depends on who else uses this disk; `lab::shared_device` has a disk of its own.
#[test]
fn a_long_file_has_a_few_pieces_on_its_way() {
    let pair = CopyFixture::new(600 * MIB);
    let events = copy_json(&["--engine=splice"], &pair.source(), &pair.destination());
    assert_same_content(&pair.source(), &pair.destination(), "measured");
    assert!(most_in_flight(&events) <= 8 * MIB);
}

#[test]
fn a_throttled_copy_has_one_piece_on_its_way() {
    let pair = CopyFixture::new(24 * MIB);
    let options = ["--engine=splice", "--in-flight=4M", "--limit-rate=1G"];
    let events = copy_json(&options, &pair.source(), &pair.destination());
    assert_same_content(&pair.source(), &pair.destination(), "throttled");
    assert!(most_in_flight(&events) <= MIB);
}

/// What is behind the offset is refused to every thread; each thread then holds other pieces, before it and behind it.
#[test]
fn an_error_leaves_the_contiguous_part() {
    let pair = CopyFixture::new(24 * MIB);
    fs::write(pair.destination(), "old").unwrap();
    let command = pair.command(&["--engine=mmap", "--in-flight=4M"]);
    let output = run_with_denied(&[DeniedSyscall::PwriteFrom10M], Errno::EIO as i32, command);
    assert_exit(&output, 1);
    let words = format!(
        "mmapcp: error writing '{}': Input/output error\n",
        pair.destination().display()
    );
    assert!(
        lossy_string(&output.stderr).starts_with(words.trim_end()),
        "{}",
        describe_output(&output)
    );
    let copied = fs::read(pair.destination()).unwrap();
    assert_eq!(copied.len() as u64, 10 * MIB);
    assert!(fs::read(pair.source()).unwrap().starts_with(&copied));
}

#[test]
fn pieces_that_are_refused_go_by_the_next_engine_once() {
    let (from, to) = (disk_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, 24 * MIB + 9);
    let mut command = mmapcp();
    command.args(["--json", "--reflink=never", "--in-flight=4M"]);
    command.arg(&source).arg(&dest);
    let output = run_with_denied(
        &[DeniedSyscall::PwriteFrom10M],
        Errno::EINVAL as i32,
        command,
    );
    assert_exit(&output, 0);
    assert_same_content(&source, &dest, "after a fallback");
    let events = parse_events(&output);
    let first = events
        .iter()
        .find(|event| event["event"] == "fallback")
        .unwrap();
    assert_eq!(first["from"], "direct", "{first}");
    assert!(first["at"].as_u64().unwrap() >= 10 * MIB, "{first}");
    let done = only_event(&events, "done");
    let moved: u64 = done["engines"]
        .as_object()
        .unwrap()
        .values()
        .map(|bytes| bytes.as_u64().unwrap())
        .sum();
    assert_eq!(moved, 24 * MIB + 9, "nothing goes twice: {done}");
}

/// The last engine gives up, so that there is none to account anything to.
#[test]
fn without_another_engine_a_refusal_is_an_error() {
    for engine in ["mmap", "direct"] {
        let pair = CopyFixture::new(24 * MIB);
        fs::write(pair.destination(), "old").unwrap();
        let option = format!("--engine={engine}");
        let command = pair.command(&[&option, "--in-flight=4M"]);
        let refused = [DeniedSyscall::PwriteFrom10M];
        let output = run_with_denied(&refused, Errno::EINVAL as i32, command);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{engine}: {}",
            describe_output(&output)
        );
        let stderr = lossy_string(&output.stderr);
        let words = format!("engine {engine} cannot copy it: Invalid argument");
        assert!(stderr.contains(&words), "{stderr}");
        let copied = fs::read(pair.destination()).unwrap();
        assert!(
            copied.len() as u64 <= 10 * MIB,
            "{engine}: {}",
            copied.len()
        );
        assert!(
            fs::read(pair.source()).unwrap().starts_with(&copied),
            "{engine}"
        );
    }
}

/// A file that fails before its first byte is not begun: what was made for it is removed.
#[test]
fn a_copy_that_fails_at_its_first_byte_leaves_nothing() {
    let pair = CopyFixture::new(24 * MIB);
    let command = pair.command(&["--engine=mmap", "--in-flight=4M"]);
    let output = run_with_denied(&[DeniedSyscall::Pwrite], Errno::EIO as i32, command);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        describe_output(&output)
    );
    assert!(!pair.destination().exists(), "{}", describe_output(&output));
    let words = format!(
        "mmapcp: error writing '{}': Input/output error\n",
        pair.destination().display()
    );
    assert_eq!(lossy_string(&output.stderr), words);
}

#[test]
fn a_signal_leaves_the_contiguous_part() {
    let pair = CopyFixture::new(300 * MIB);
    // A file that the copy itself made would be removed.
    fs::write(pair.destination(), "").unwrap();
    let options = ["--engine=splice", "--in-flight=8M"];
    let stopped = || {
        let mut command: Command = pair.command(&options);
        start_and_stop_midway(&mut command, &pair.destination())
    };
    retry_until_met("a copy that is stopped midway", || {
        let Some(running) = stopped() else {
            return false;
        };
        running.signal(Signal::SIGINT);
        running.signal(Signal::SIGCONT);
        let output = running.finish();
        assert!(!output.status.success(), "{}", describe_output(&output));
        let copied = fs::read(pair.destination()).unwrap();
        assert!(copied.len() < 300 << 20);
        assert!(
            fs::read(pair.source()).unwrap().starts_with(&copied),
            "{} bytes",
            copied.len()
        );
        true
    });
}
