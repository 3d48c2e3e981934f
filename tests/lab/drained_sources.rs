//! `--drain` with sources on huge pages, destinations that cannot be trusted, disks that are full, and memory that is short.

use std::fs;
use std::path::Path;

use super::program_run::{copy_arguments, mmapcp as run_json};
use super::test_filesystem::FsKind;
use super::{Lab, lab_temp_dir};
use crate::drain;
use crate::support::{self, MIB};

const TOOLS: [&str; 4] = ["losetup", "mkfs.ext4", "mount", "umount"];

#[test]
fn killed_at_any_moment_a_drain_of_huge_pages_is_completed() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let size = drain::kills::size();
    for kind in [FsKind::TmpfsHuge, FsKind::Hugetlbfs] {
        let Some(memory) = lab.mount(kind, size / MIB + 16) else {
            return;
        };
        if kind == FsKind::TmpfsHuge {
            drain::kills::check_kills(&memory.dir, size, &[&[]]);
        } else {
            check_hugetlbfs(&memory.dir);
        }
    }
}

/// write(2) does not write there, and a file has whole pages.
fn check_hugetlbfs(dir: &Path) {
    let place = lab_temp_dir().expect("make a directory");
    let (source, dest) = (dir.join("dump"), place.path().join("copy"));
    let size = 100 * MIB;
    let fill = || {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&source)
            .expect("create the dump");
        file.set_len(size).expect("give it a size");
        let map =
            mmapcp::sys::mapped_file::MappedWriter::new(&file, size as usize).expect("map it");
        for at in (0..size as usize).step_by(4096) {
            map.store_byte(at, (at / 4096) as u8 | 1);
        }
    };
    for options in [&["--drain"][..], &["--drain", "--verify", "--checksum"]] {
        fill();
        let _ = fs::remove_file(&dest);
        let outcome = run_json(&copy_arguments(options, &source, &dest));
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(!source.exists(), "{options:?}");
        let copied = fs::read(&dest).expect("the copy");
        assert_eq!(copied.len() as u64, size);
        for at in (0..copied.len()).step_by(4096) {
            assert_eq!(copied[at], (at / 4096) as u8 | 1, "{options:?}: {at}");
        }
    }
}

#[test]
fn destinations_that_cannot_be_trusted_are_refused() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let shm = support::shm_dir();
    let source = shm.path().join("dump");
    support::make_dense_dump(&source, MIB);
    support::wait_until_closed(&source);
    for (kind, words) in [
        (FsKind::Tmpfs, "is memory and no disk"),
        (FsKind::Ext4Journalled, "data=journal"),
        (
            FsKind::Overlay,
            "it is not known that fdatasync reaches a disk",
        ),
        (
            FsKind::Fuse,
            "it is not known that fdatasync reaches a disk",
        ),
    ] {
        let Some(mount) = lab.mount(kind, 64) else {
            continue;
        };
        let dest = mount.path("copy");
        let outcome = run_json(&copy_arguments(&["--drain"], &source, &dest));
        assert_eq!(outcome.code, Some(1), "{kind:?}: {outcome:?}");
        assert!(outcome.stderr.contains(words), "{kind:?}: {outcome:?}");
        assert_eq!(support::allocated_bytes(&source), MIB, "{kind:?}");
        let left = fs::read_dir(&mount.dir).expect("list").flatten();
        let left: Vec<_> = left
            .map(|entry| entry.file_name())
            .filter(|name| name != "lost+found")
            .collect();
        assert!(left.is_empty(), "{kind:?}: {left:?}");
    }
}

/// A full disk in the middle loses nothing, and with room the drain goes on.
#[test]
fn a_disk_that_is_full_in_the_middle() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    // Space is not reserved for holes, so that the disk is full only when the data comes.
    let Some(disk) = lab.mount(FsKind::Ext4, 200) else {
        return;
    };
    let shm = support::shm_dir();
    let (source, dest) = (shm.path().join("dump"), disk.path("copy"));
    let reference = shm.path().join("reference");
    for path in [&source, &reference] {
        support::make_dense_dump(path, 120 * MIB);
        support::wait_until_closed(path);
    }
    let words =
        |options: &[&str]| copy_arguments(&[&["--drain"], options].concat(), &source, &dest);
    let mut command = support::mmapcp();
    command.args(words(&["--sparse=always", "--limit-rate=60M"]));
    let running = support::Running::start(&mut command);
    support::wait_until("memory came back", || {
        support::allocated_bytes(&source) < 120 * MIB
    });
    let ballast = disk.path("ballast");
    fill_up(&ballast);
    let output = running.finish();
    support::assert_exit(&output, 1);
    let said = support::lossy_string(&output.stderr);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("to go on: "), "{said}");
    let left = support::allocated_bytes(&source);
    let full = run_json(&words(&[]));
    assert_eq!(full.code, Some(1), "{full:?}");
    assert_eq!(support::allocated_bytes(&source), left);
    fs::remove_file(ballast).expect("make room");
    let outcome = run_json(&words(&["--resume"]));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    support::assert_same_content(&reference, &dest, "with room again");
    assert!(!source.exists());
}

/// Takes all the space of a file system.
fn fill_up(ballast: &Path) {
    let file = fs::File::create(ballast).expect("create the ballast");
    let mut at = 0;
    for step in [1_i64 << 20, 4096] {
        while nix::fcntl::posix_fallocate(&file, at, step).is_ok() {
            at += step;
        }
    }
}
