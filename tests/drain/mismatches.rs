//! States, sources and destinations that do not match: nothing is copied anew over what is freed.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

use super::SIZE;
use super::fixture::{DrainFixture, command, durable_in_state, has_content, state_of};
use crate::support::*;

/// Something that happens between two runs, and the words of the error.
type Between = (&'static str, fn(&DrainFixture));

fn edit_state(drain: &DrainFixture, edit: impl Fn(String) -> String) {
    let path = state_of(&drain.dest());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, edit(text)).unwrap();
}

const BETWEEN: [Between; 9] = [
    (
        "of another source, or of this one before it changed",
        |drain| {
            append(&drain.source(), b"more");
        },
    ),
    (
        "of another source, or of this one before it changed",
        |drain| {
            fs::remove_file(drain.source()).unwrap();
            make_dense_dump(&drain.source(), SIZE);
            wait_until_closed(&drain.source());
        },
    ),
    ("is damaged", |drain| {
        edit_state(drain, |text| text.replace("durable ", "durable 1"));
    }),
    ("is damaged", |drain| {
        edit_state(drain, |_| "x".repeat(9000))
    }),
    ("a newer version", |drain| {
        edit_state(drain, |text| {
            text.replacen("mmapcp-drain 1", "mmapcp-drain 2", 1)
        });
    }),
    ("no file that only this user can write to", |drain| {
        let mode = fs::Permissions::from_mode(0o666);
        fs::set_permissions(state_of(&drain.dest()), mode).unwrap();
    }),
    ("no file that only this user can write to", |drain| {
        let (path, other) = (
            state_of(&drain.dest()),
            drain.reference().with_file_name("s"),
        );
        fs::copy(&path, &other).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
    }),
    ("a part of it was freed already and is in", |drain| {
        fs::remove_file(state_of(&drain.dest())).unwrap();
    }),
    ("what was copied is not there any more", |drain| {
        let moved = drain.dest().with_file_name("moved");
        fs::rename(drain.dest(), &moved).unwrap();
        fs::write(drain.dest(), vec![7; SIZE as usize]).unwrap();
    }),
];

#[test]
fn what_does_not_match_is_refused_and_nothing_is_lost() {
    for (words, change) in BETWEEN {
        let drain = DrainFixture::new(SIZE, &[]);
        drain.interrupt(&[]);
        let durable = durable_in_state(&drain.dest()).unwrap();
        assert!(durable >= 64 * MIB);
        change(&drain);
        let (source, dest) = (
            allocated_bytes(&drain.source()),
            fs::metadata(drain.dest()).unwrap().len(),
        );
        for options in [&[][..], &["--resume", "-f"]] {
            let output = run(&mut drain.command(options));
            assert_exit_in(&output, 1, words);
            let said = lossy_string(&output.stderr);
            assert!(said.contains(words), "{words}: {said}");
            assert_eq!(allocated_bytes(&drain.source()), source, "{words}");
            assert_eq!(fs::metadata(drain.dest()).unwrap().len(), dest, "{words}");
        }
    }
}

#[test]
fn a_part_that_was_cut_is_refused() {
    let drain = DrainFixture::new(SIZE, &[]);
    drain.interrupt(&[]);
    let file = File::options().write(true).open(drain.dest()).unwrap();
    file.set_len(MIB).unwrap();
    let output = run(&mut drain.command(&[]));
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains("has become shorter"), "{said}");
    assert_eq!(drain.dest_len(), MIB);
}

/// Neither another destination nor another source makes the freed part worthless, and nor does a run without --drain.
#[test]
fn what_is_freed_is_not_copied_elsewhere_nor_over() {
    let drain = DrainFixture::new(SIZE, &[]);
    drain.interrupt(&[]);
    let durable = durable_in_state(&drain.dest()).unwrap();
    let other = drain.dest().with_file_name("other");
    let second = drain.source().with_file_name("second");
    make_dense_dump(&second, SIZE);
    wait_until_closed(&second);
    let mut resume = mmapcp();
    resume.arg("--resume").arg(drain.source()).arg(drain.dest());
    let mut elsewhere = mmapcp();
    elsewhere.arg("--resume").arg(drain.source()).arg(&other);
    let mut over = mmapcp();
    over.arg("--resume").arg(&second).arg(drain.dest());
    for (mut command, words) in [
        (
            command(&[], &drain.source(), &other),
            "a part of it was freed already",
        ),
        (elsewhere, "a part of it was freed already"),
        (command(&[], &second, &drain.dest()), "of another source"),
        (over, "of another source"),
        (resume, "to go on: mmapcp --resume --drain -T -- "),
    ] {
        let output = run(&mut command);
        assert_exit_in(&output, 1, words);
        let said = lossy_string(&output.stderr);
        assert!(said.contains(words), "{words}: {said}");
        assert!(!other.exists(), "{words}");
        assert!(has_content(&drain.dest(), &drain.reference(), 0, durable));
    }
    fs::remove_file(second).unwrap();
    drain.complete(&[]);
}

/// A plain state is gone on from, and is one of a drain from then on.
#[test]
fn a_drain_goes_on_with_what_a_copy_has_begun() {
    let drain = DrainFixture::new(SIZE, &[]);
    let running = Running::start(
        mmapcp()
            .args(["--resume", "--limit-rate=80M"])
            .args([drain.source(), drain.dest()]),
    );
    wait_until("a step is on the disk", || {
        durable_in_state(&drain.dest()) >= Some(64 * MIB)
    });
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.finish();
    drain.complete(&[]);
}

/// A state that says that nothing is durable yet forbids nothing.
#[test]
fn without_a_freed_byte_a_changed_source_is_copied_anew() {
    let drain = DrainFixture::new(SIZE, &[]);
    let running = Running::start(&mut drain.command(&["--limit-rate=20M"]));
    wait_until("bytes", || has_written_bytes(&drain.dest()));
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.finish();
    for path in [drain.source(), drain.reference()] {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(b"changed", 0).unwrap();
    }
    let output = drain.complete(&[]);
    let said = lossy_string(&output.stderr);
    assert!(said.contains("is copied anew"), "{said}");
}
