//! Two names of the destination that are one file: the one that is copied last is there, whole, as with one thread and
//! with cp. On the code before, most of these runs left a mixture.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program_run::{CopyOutcome, copy_arguments, cp, mmapcp};
use super::test_filesystem::Mount;
use super::{Lab, lab_temp_dir, run_tool, skip};
use crate::tested_programs::MMAPCP;

/// Copies of each case: before the mending, 12 of 15 went wrong for two files of 20 MB.
const COPIES_PER_CASE: usize = 8;

/// Bytes of a file: two of them take long enough to meet.
const SIZE: usize = 20 << 20;

fn fill(path: &Path, letter: u8) {
    fs::write(path, vec![letter; SIZE]).expect("write a source");
}

/// A source with two files of one length, and a destination that has both names.
fn pair(home: &Path) -> (PathBuf, PathBuf) {
    let (from, to) = (home.join("from"), home.join("to"));
    fs::create_dir_all(&from).expect("a source");
    fs::create_dir_all(&to).expect("a destination");
    for (name, letter) in [("a", b'A'), ("b", b'B')] {
        fill(&from.join(name), letter);
        fs::write(to.join(name), "").expect("a destination");
    }
    (from, to)
}

/// Which letter a file is made of; none if it is a mixture or has another length.
fn letter_of(path: &Path) -> Option<u8> {
    let bytes = fs::read(path).expect("read the copy");
    let first = *bytes.first()?;
    (bytes.len() == SIZE && bytes.iter().all(|byte| *byte == first)).then_some(first)
}

fn assert_succeeded(outcome: &CopyOutcome) {
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}

#[test]
fn a_file_bound_onto_another_is_written_by_the_last() {
    let Some(_lab) = Lab::acquire_or_skip(&["mount", "umount"]) else {
        return;
    };
    let home = lab_temp_dir().expect("a directory");
    let (from, to) = pair(home.path());
    let Some(_bound) =
        Mount::bind_file(&to.join("a"), &to.join("b")).map_or_else(|why| skip(&why), Some)
    else {
        return;
    };
    assert_succeeded(&cp(&copy_arguments(&["-rT"], &from, &to)));
    let want = letter_of(&to.join("a"));
    assert!(want.is_some(), "cp copies one after the other");
    for options in [
        &["-rT", "--jobs=1"][..],
        &["-rT", "--jobs=4"],
        &["-rT"],
        &["-rTp"],
    ] {
        for _ in 0..COPIES_PER_CASE {
            assert_succeeded(&mmapcp(&copy_arguments(options, &from, &to)));
            assert_eq!(letter_of(&to.join("a")), want, "{options:?}");
        }
    }
}

/// As above, but one of the two is read: what is bound onto the source is what the run writes.
#[test]
fn a_source_that_the_run_writes_is_read_when_it_is_whole() {
    let Some(_lab) = Lab::acquire_or_skip(&["mount", "umount"]) else {
        return;
    };
    let home = lab_temp_dir().expect("a directory");
    let (from, to) = pair(home.path());
    let Some(_bound) =
        Mount::bind_file(&to.join("a"), &from.join("b")).map_or_else(|why| skip(&why), Some)
    else {
        return;
    };
    for _ in 0..COPIES_PER_CASE {
        fs::write(to.join("a"), "").expect("empty it");
        assert_succeeded(&mmapcp(&copy_arguments(&["-rT", "--jobs=4"], &from, &to)));
        assert_eq!(letter_of(&to.join("a")), Some(b'A'));
        assert_eq!(letter_of(&to.join("b")), Some(b'A'));
    }
}

/// exFAT by a FUSE daemon, which shows the two names of a file as two inodes.
#[test]
fn names_that_a_file_system_folds_are_written_by_the_last() {
    let tools = [
        "mkfs.exfat",
        "mount.exfat-fuse",
        "losetup",
        "umount",
        "bash",
    ];
    let Some(_lab) = Lab::acquire_or_skip(&tools) else {
        return;
    };
    let home = lab_temp_dir().expect("a directory");
    let script = r#"
        set -e
        truncate -s 256M img; mkfs.exfat img; mkdir m
        loop=$(losetup -f --show img)
        away() { umount m; for n in $(seq 100); do pgrep -f "mount.exfat-fuse $loop " || return 0; sleep 0.1; done; return 1; }
        trap 'umount -l m 2>&- || true; losetup -d $loop' EXIT
        mkdir s
        for n in $(seq 10 29); do
            yes "lower $n" | head -c $((n * 20000)) > s/f$n
            yes "UPPER $n" | head -c $(((40 - n) * 20000)) > s/F$n
        done
        # What the tool leaves, read by a fresh mount: the kernel caches each name of a file for itself.
        copied() {
            mount.exfat-fuse $loop m; rm -rf m/s
            case $mode in
                existing) mkdir m/s; for n in $(seq 10 29); do echo old > m/s/f$n; done ;;
                new) mkdir m/s ;;
            esac
            status=0; "$@" s m 2> said || status=$?
            away; mount.exfat-fuse $loop m
            echo "$status $(wc -l < said)"; ls m/s; cat m/s/* | cksum
            away
        }
        for mode in existing new none; do
            copied cp -r > want
            for n in 1 2; do
                copied "$OWN" -r --jobs=4 > got; diff want got
            done
        done
        mode=existing; copied "$OWN" -r --jobs=1 --atomic > want; copied "$OWN" -r --jobs=4 --atomic > got; diff want got
    "#;
    fs::write(home.path().join("script"), script).expect("write the script");
    let own = &*MMAPCP;
    let at = home.path().display();
    // In a mount namespace of its own: what is left there goes with it.
    let line = format!("cd '{at}' && OWN='{own}' exec unshare -m bash script");
    if let Err(why) = run_tool("bash", &["-c", &line]) {
        panic!("{why}");
    }
}

/// Without a mount: links that lead to a file which the same run makes or overwrites.
#[test]
fn links_to_a_file_of_the_run_are_written_in_order() {
    let home = crate::support::disk_dir();
    let script = r#"
        set -e
        mkdir s; for n in $(seq 8); do head -c 2M /dev/zero | tr '\0' $n > s/f$n; done
        into() {
            rm -rf d; mkdir d; if [ $kind = old ]; then : > d/f1; fi
            for n in $(seq 2 8); do ln -s f1 d/f$n; done
            "$@" -rT s d || echo failed
            cksum < d/f1; find d -type l | wc -l
        }
        for kind in new old; do
            into cp > want
            for round in 1 2 3 4 5 6; do into "$OWN" --jobs=4 > got; diff want got; done
        done
    "#;
    let output = Command::new("bash")
        .args(["-c", script])
        .env("OWN", &*MMAPCP)
        .current_dir(home.path())
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
}
