//! `--drain`: the memory of a source comes back while it is copied, and at every moment destination, source and state are the
//! whole.

mod fixture;
mod interference;
pub(crate) mod kills;
mod mismatches;
mod refusals;
mod trees;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::*;
use fixture::{DrainFixture, command, durable_in_state, names_in};

const SIZE: u64 = 150 * MIB + 77;

#[test]
fn a_drained_source_is_copied_whole_and_gone() {
    let hole = (3 * MIB, 40 * MIB);
    let options: [&[&str]; 5] = [
        &[],
        &["--verify"],
        &["--checksum=blake3", "--verify"],
        &["--engine=direct", "-p"],
        &["--sparse=always"],
    ];
    for options in options {
        for (size, extents) in [
            (0, vec![]),
            (1, vec![(0, 1)]),
            (64 * KIB, vec![(0, 64 * KIB)]),
            (5 * MIB + 3, vec![]),
            (70 * MIB + 5, vec![(0, hole.0), (hole.1, 30 * MIB + 5)]),
            (140 * MIB, vec![(0, MIB)]),
        ] {
            let drain = DrainFixture::new(size, &extents);
            fs::set_permissions(drain.source(), fs::Permissions::from_mode(0o640)).unwrap();
            let before = fs::metadata(drain.source()).unwrap();
            let data = allocated_bytes(&drain.source());
            let words = [&["--json"], options].concat();
            let output = run(&mut drain.command(&words));
            let context = format!("{words:?} {size}");
            assert_exit_in(&output, 0, &context);
            assert_eq!(lossy_string(&output.stderr), "", "{context}");
            drain.assert_complete(&context);
            let after = fs::metadata(drain.dest()).unwrap();
            assert_eq!(after.mode() & 0o740, 0o640, "{context}");
            if options.contains(&"-p") {
                assert_eq!(after.mtime_nsec(), before.mtime_nsec(), "{context}");
            }
            let events = parse_events(&output);
            let freed = events.iter().filter(|event| event["event"] == "freed");
            let freed: u64 = freed.map(|event| event["bytes"].as_u64().unwrap()).sum();
            assert_eq!(freed, data, "{context}");
            let done = only_event(&events, "done");
            if options.contains(&"--verify") {
                assert!(done["verified"].is_string(), "{context}");
            }
            if options.contains(&"--checksum=blake3") {
                let digest = blake3::hash(&fs::read(drain.reference()).unwrap());
                assert_eq!(done["checksum"], digest.to_hex().as_str(), "{context}");
            }
        }
    }
}

/// Every byte of the source that is freed was on the disk before, and the state says so: looked at while the copy runs.
#[test]
fn memory_comes_back_behind_what_is_durable() {
    for options in [&[][..], &["--verify"], &["--checksum", "--in-flight=8M"]] {
        let drain = DrainFixture::new(SIZE, &[]);
        let all = allocated_bytes(&drain.source());
        let words = [&["--limit-rate=80M"], options].concat();
        let mut running = Running::start(&mut drain.command(&words));
        let mut least = all;
        while !running.has_ended() {
            // What is left is looked at first: it only becomes less, and what is durable more.
            let Ok(source) = fs::metadata(drain.source()) else {
                break;
            };
            let left = source.blocks() * 512;
            let Some(durable) = durable_in_state(&drain.dest()) else {
                continue;
            };
            assert!(
                left + durable >= all,
                "{options:?}: {left} left, {durable} durable"
            );
            least = least.min(left);
            sleep(Duration::from_millis(20));
        }
        let output = running.finish();
        assert_exit(&output, 0);
        drain.assert_complete(&format!("{options:?}"));
        assert!(least <= all - 64 * MIB, "{options:?}: {least} of {all}");
    }
}

#[test]
fn a_signal_leaves_the_whole_and_says_how_to_go_on() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let drain = DrainFixture::new(SIZE, &[]);
        let running = Running::start(&mut drain.command(&["--limit-rate=80M"]));
        drain.wait_until_freed();
        running.signal(signal);
        let output = running.finish();
        assert_signal(&output, signal as i32);
        let said = lossy_string(&output.stderr);
        let (from, to) = (drain.source(), drain.dest());
        let go_on = format!(
            "to go on: mmapcp --resume --drain -T -- {} {}",
            from.display(),
            to.display()
        );
        assert!(said.contains(&go_on), "{said}");
        drain.assert_whole("after a signal");
        drain.complete(&[]);
    }
}

/// The time of the source is that before it was freed, also if another run completes the copy.
#[test]
fn attributes_are_those_of_the_source_as_it_was() {
    let drain = DrainFixture::new(SIZE, &[]);
    let before = fs::metadata(drain.source()).unwrap();
    drain.interrupt(&["-p"]);
    assert_ne!(
        fs::metadata(drain.source()).unwrap().mtime_nsec(),
        before.mtime_nsec(),
        "what was freed changed it"
    );
    drain.complete(&["-a"]);
    let after = fs::metadata(drain.dest()).unwrap();
    assert_eq!(
        (after.mtime(), after.mtime_nsec()),
        (before.mtime(), before.mtime_nsec())
    );
    let marks = xattr::list(drain.dest()).unwrap().count();
    assert_eq!(marks, 0, "the mark of the source is not copied");
}

/// The digest is that of all bytes, though the first ones are at the destination alone.
#[test]
fn a_digest_is_made_of_what_is_freed_as_well() {
    for extents in [&[][..], &[(0, 70 * MIB), (90 * MIB, 60 * MIB)]] {
        let drain = DrainFixture::new(SIZE, extents);
        drain.interrupt(&[]);
        let output = drain.complete(&["--checksum=blake3"]);
        let digest = blake3::hash(&fs::read(drain.reference()).unwrap());
        let line = lossy_string(&output.stdout);
        assert!(line.starts_with(digest.to_hex().as_str()), "{line}");
    }
}

#[test]
fn what_was_freed_without_a_comparison_is_said() {
    let drain = DrainFixture::new(SIZE, &[]);
    drain.interrupt(&[]);
    let output = drain.complete(&["--verify"]);
    let said = lossy_string(&output.stderr);
    assert!(said.contains("so they are not compared"), "{said}");
    let drain = DrainFixture::new(SIZE, &[]);
    drain.interrupt(&["--verify"]);
    let output = drain.complete(&["--verify"]);
    assert_eq!(lossy_string(&output.stderr), "");
}

/// A byte that the disk has wrong is found before the source is freed.
#[test]
fn a_range_is_compared_before_it_is_freed() {
    let drain = DrainFixture::new(SIZE, &[]);
    let running = Running::start(&mut drain.command(&["--verify", "--limit-rate=40M"]));
    wait_until("bytes", || has_written_bytes(&drain.dest()));
    let dest = File::options().write(true).open(drain.dest()).unwrap();
    wait_until("a MiB", || drain.dest_len() > 2 * MIB);
    dest.write_all_at(b"wrong", MIB).unwrap();
    dest.sync_all().unwrap();
    let output = running.finish();
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains(&format!("from byte {MIB} on")), "{said}");
    assert!(fixture::has_content_from(
        &drain.source(),
        &drain.reference(),
        0
    ));
    drain.complete(&["--verify"]);
}

/// Somebody who opens the source in the middle keeps what there is, and the copy goes on.
#[test]
fn what_another_process_has_opened_is_not_taken_away() {
    let drain = DrainFixture::new(SIZE, &[]);
    let running = Running::start(&mut drain.command(&["--limit-rate=80M"]));
    drain.wait_until_freed();
    let reader = File::open(drain.source()).unwrap();
    sleep(Duration::from_millis(50));
    let left = reader.metadata().unwrap().blocks();
    let output = running.finish();
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(
        said.contains("another process has it open or mapped"),
        "{said}"
    );
    assert_eq!(reader.metadata().unwrap().blocks(), left);
    drain.assert_whole("it was opened");
    drop(reader);
    drain.complete(&[]);
}

#[test]
fn a_source_that_is_written_to_in_the_middle_is_left() {
    let drain = DrainFixture::new(SIZE, &[]);
    let running = Running::start(&mut drain.command(&["--limit-rate=80M"]));
    drain.wait_until_freed();
    // The first step is freed by then.
    sleep(Duration::from_millis(200));
    let writer = File::options().write(true).open(drain.source()).unwrap();
    writer.write_all_at(b"late", 149 * MIB).unwrap();
    drop(writer);
    let output = running.finish();
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains("was modified during the copy"), "{said}");
    assert!(said.contains("to go on: "), "{said}");
    let mut late = [0; 4];
    let source = File::open(drain.source()).unwrap();
    source.read_exact_at(&mut late, 149 * MIB).unwrap();
    assert_eq!(&late, b"late", "it is still there");
}

#[test]
fn two_drains_of_one_source_do_not_meet() {
    let drain = DrainFixture::new(SIZE, &[]);
    let running = Running::start(&mut drain.command(&["--limit-rate=40M"]));
    wait_until("bytes", || has_written_bytes(&drain.dest()));
    for dest in [drain.dest(), drain.dest().with_file_name("other")] {
        let output = run(&mut command(&[], &drain.source(), &dest));
        assert_exit(&output, 1);
        let said = lossy_string(&output.stderr);
        assert!(said.contains("another run drains it"), "{said}");
    }
    assert_exit(&running.finish(), 0);
    drain.assert_complete("the first");
    assert_eq!(names_in(&drain.dest()), ["copy"]);
}
