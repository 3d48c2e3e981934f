//! Other processes that change the source or the destination meanwhile: nothing is freed that is not on the disk.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::SIZE;
use super::fixture::{DrainFixture, command, durable_in_state, has_content_from, state_of};
use crate::support::*;

const SMALL: u64 = 3 * MIB / 2;

/// A small source that is copied as a whole and not freed, since another process has opened it meanwhile.
fn complete_but_held() -> DrainFixture {
    let drain = DrainFixture::new(SMALL, &[]);
    let running = Running::start(&mut drain.command(&["--limit-rate=1M"]));
    wait_until("the destination", || state_of(&drain.dest()).exists());
    let reader = File::open(drain.source()).unwrap();
    let output = running.finish();
    drop(reader);
    assert_fails(&output, "another process has it open or mapped");
    assert_eq!(durable_in_state(&drain.dest()), Some(SMALL));
    wait_until_closed(&drain.source());
    drain
}

fn assert_fails(output: &std::process::Output, words: &str) {
    assert_exit_in(output, 1, words);
    let said = lossy_string(&output.stderr);
    assert!(said.contains(words), "{words}: {said}");
}

fn overwrite(path: &Path, at: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"others", at).unwrap();
    drop(file);
    wait_until_closed(path);
}

#[test]
fn a_source_that_may_be_freed_is_not_drained_elsewhere() {
    let drain = complete_but_held();
    let other = drain.dest().with_file_name("other");
    let output = run(&mut command(&[], &drain.source(), &other));
    assert_fails(&output, "a part of it was freed already and is in");
    assert!(!other.exists());
    drain.complete(&["--checksum"]);
}

#[test]
fn a_failed_second_run_leaves_a_small_destination() {
    let drain = complete_but_held();
    let next = drain.dest().with_file_name(".copy.mmapcp-state~");
    fs::create_dir(&next).unwrap();
    assert_exit(&run(&mut drain.command(&[])), 1);
    assert_same_content(&drain.reference(), &drain.dest(), "the destination");
    fs::remove_dir(&next).unwrap();
    drain.complete(&[]);
}

#[test]
fn a_destination_that_was_written_to_between_two_runs_is_noticed() {
    let drain = complete_but_held();
    overwrite(&drain.dest(), MIB + 7);
    for options in [&[][..], &["--checksum"]] {
        let output = run(&mut drain.command(options));
        assert_fails(&output, "it was written to since it was copied");
        assert!(has_content_from(&drain.source(), &drain.reference(), 0));
    }
}

#[test]
fn a_source_that_was_written_to_between_two_runs_is_noticed() {
    let drain = DrainFixture::new(SIZE, &[]);
    drain.interrupt(&[]);
    wait_until_closed(&drain.source());
    overwrite(&drain.source(), 10 * MIB);
    let left = allocated_bytes(&drain.source());
    for _ in 0..2 {
        let output = run(&mut drain.command(&[]));
        assert_fails(&output, "it was written to since it was copied");
        assert_eq!(allocated_bytes(&drain.source()), left);
    }
}

/// Something that another process does to a destination in the middle.
type Change = fn(&Path);

const CHANGES: [Change; 3] = [
    |dest| fs::remove_file(dest).unwrap(),
    |dest| {
        let other = dest.with_file_name("other");
        fs::write(&other, "other").unwrap();
        fs::rename(&other, dest).unwrap();
    },
    |dest| fs::rename(dest, dest.with_file_name("moved")).unwrap(),
];

#[test]
fn nothing_is_freed_when_the_destination_lost_its_name() {
    for (change, size) in CHANGES.iter().flat_map(|c| [(c, SIZE), (c, SMALL)]) {
        let drain = DrainFixture::new(size, &[]);
        let all = allocated_bytes(&drain.source());
        let rate = if size == SIZE {
            "--limit-rate=40M"
        } else {
            "--limit-rate=1M"
        };
        let running = Running::start(&mut drain.command(&[rate]));
        wait_until("the state", || state_of(&drain.dest()).exists());
        change(&drain.dest());
        let output = running.finish();
        assert_exit_in(&output, 1, "the destination lost its name");
        assert_eq!(allocated_bytes(&drain.source()), all);
        assert!(has_content_from(&drain.source(), &drain.reference(), 0));
    }
}

#[test]
fn nothing_more_is_freed_when_the_destination_was_cut() {
    let drain = DrainFixture::new(3 * SIZE, &[]);
    let running = Running::start(&mut drain.command(&["--limit-rate=80M"]));
    drain.wait_until_freed();
    let file = File::options().write(true).open(drain.dest()).unwrap();
    file.set_len(0).unwrap();
    drop(file);
    assert_exit(&running.finish(), 1);
    let durable = durable_in_state(&drain.dest()).unwrap();
    assert!(has_content_from(
        &drain.source(),
        &drain.reference(),
        durable
    ));
}

/// The source keeps its memory when it has got another name.
#[test]
fn a_source_that_was_renamed_is_an_error() {
    let drain = DrainFixture::new(SMALL, &[]);
    let running = Running::start(&mut drain.command(&["--limit-rate=1M"]));
    wait_until("the state", || state_of(&drain.dest()).exists());
    let moved = drain.source().with_file_name("moved");
    fs::rename(drain.source(), &moved).unwrap();
    assert_exit(&running.finish(), 1);
    assert!(has_content_from(&moved, &drain.reference(), 0));
}
