//! No room: file systems that are full before or during the copy, thin backing stores that fill up, and read-only mounts.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use mmapcp::sys::residency::resident_bytes;
use nix::fcntl::posix_fallocate;

use super::Lab;
use super::program_run::{CopyOutcome, PORTABLE_ENGINES, copy_arguments, cp, mmapcp};
use super::source_dump::write_dense;
use super::test_filesystem::{FsKind, Mount};

const TOOLS: [&str; 4] = ["losetup", "mkfs.ext4", "mount", "umount"];
const NO_SPACE: &str = "No space left on device";
const DUMP: u64 = 32 << 20;

/// Less than the dump needs, and more than any file system rounds to.
const FREE_BYTES_LEFT: u64 = 8 << 20;

#[test]
fn ext4_without_room() {
    check_full_disk(
        FsKind::Ext4,
        64,
        &[&PORTABLE_ENGINES[..], &["--engine=dontcache"]].concat(),
    );
}

#[test]
fn xfs_without_room() {
    check_full_disk(
        FsKind::Xfs,
        320,
        &[&PORTABLE_ENGINES[..], &["--engine=dontcache"]].concat(),
    );
}

#[test]
fn btrfs_without_room() {
    check_full_disk(FsKind::Btrfs, 256, &PORTABLE_ENGINES);
}

#[test]
fn copy_file_range_without_room() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(mut disk) = lab.mount(FsKind::Ext4, 96) else {
        return;
    };
    let source = disk.path("dump");
    write_dense(&File::create(&source).expect("create the dump"), 0..DUMP).expect("write the dump");
    fill_up(&disk, FREE_BYTES_LEFT);
    assert_no_space(&disk, &source, "--engine=copy-file-range");
    disk.check().expect("a sound image");
}

#[test]
fn a_full_thin_backing_store_is_an_error() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some((_memory, source)) = dump_in_memory(&lab) else {
        return;
    };
    for option in PORTABLE_ENGINES.iter().chain(&["--engine=dontcache"]) {
        // A new one for each: what a full backing store leaves of a file system is nobody's promise.
        let Some(disk) = lab.mount_thin(FsKind::Ext4, 96, 24) else {
            return;
        };
        let outcome = mmapcp(&copy_arguments(&[option], &source, disk.path("copy")));
        assert_eq!(
            outcome.code,
            Some(1),
            "{option}: the disk lost bytes: {outcome:?}"
        );
        let told = [NO_SPACE, "Input/output error"]
            .iter()
            .any(|words| outcome.stderr.contains(words));
        assert!(told, "{option}: {}", outcome.stderr);
    }
}

#[test]
fn a_read_only_mount_is_an_error() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(disk) = lab.mount(FsKind::Ext4, 64) else {
        return;
    };
    let (source, existing) = (disk.path("dump"), disk.path("existing"));
    fs::write(&source, b"new").expect("write the dump");
    fs::write(&existing, b"old").expect("write the existing file");
    disk.make_read_only().expect("remount read-only");
    for dest in [disk.path("copy"), existing.clone(), disk.dir.clone()] {
        let (ours, theirs) = (
            mmapcp(&copy_arguments(&[], &source, &dest)),
            cp(&copy_arguments(&[], &source, &dest)),
        );
        assert_eq!(
            (ours.code, ours.stderr),
            (theirs.code, theirs.stderr),
            "to {}",
            dest.display()
        );
    }
    assert_eq!(fs::read(&existing).expect("read the existing file"), b"old");
}

/// The sentence of cp, and behind it what was needed and what there was; called as cp, the sentence alone.
#[test]
fn a_full_disk_tells_what_is_missing() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some((_memory, source)) = dump_in_memory(&lab) else {
        return;
    };
    let Some(small) = lab.mount(FsKind::Tmpfs, 16) else {
        return;
    };
    let dest = small.path("copy");
    let said = format!("error writing '{}': {NO_SPACE}", dest.display());
    let links = crate::support::shm_dir();
    let cp = links.path().join("cp");
    std::os::unix::fs::symlink(&*crate::support::MMAPCP, &cp).expect("link");
    for option in ["--engine=buffered", "--sparse=auto"] {
        // The space of a file that is overwritten counts as free, and an old one is there after a failure.
        for old_size in [0, 4 << 20] {
            let message = |program: &Path| {
                fs::write(&dest, vec![1; old_size]).expect("make an old file");
                let output = std::process::Command::new(program)
                    .env("LC_ALL", "C")
                    .arg(option)
                    .args([&source, &dest])
                    .output()
                    .expect("run the copy");
                String::from_utf8(output.stderr).expect("a text")
            };
            let ours = message(Path::new(&*crate::support::MMAPCP));
            let figures = "; 32.0 MiB needed, 16.0 MiB free";
            assert_eq!(
                ours,
                format!("mmapcp: {said}{figures}\n"),
                "{option} {old_size}"
            );
            assert_eq!(message(&cp), format!("{}: {said}\n", cp.display()));
        }
    }
}

/// Full to the last block, then with room for a part; each engine; then the checker's word, and a copy that fits.
fn check_full_disk(kind: FsKind, mib: u64, options: &[&str]) {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some((_memory, source)) = dump_in_memory(&lab) else {
        return;
    };
    let Some(mut disk) = lab.mount(kind, mib) else {
        return;
    };
    for room in [0, FREE_BYTES_LEFT] {
        let filler = fill_up(&disk, room);
        for option in options {
            assert_no_space(&disk, &source, option);
        }
        disk.check().expect("a sound image");
        fs::remove_file(filler).expect("remove the filler");
    }
    if reserves(kind) {
        assert_existing_unharmed(&disk, &source, options);
    }
    let dest = disk.path("copy");
    let outcome = mmapcp(&copy_arguments(&[], &source, &dest));
    assert_eq!(outcome.code, Some(0), "with room again: {outcome:?}");
    assert!(
        fs::read(&source).expect("read") == fs::read(&dest).expect("read"),
        "bytes differ"
    );
}

/// Whether the tool can reserve the space before it writes; on btrfs that would switch compression off.
fn reserves(kind: FsKind) -> bool {
    kind != FsKind::Btrfs
}

fn assert_no_space(disk: &Mount, source: &Path, option: &str) {
    let dest = disk.path("copy");
    let free = disk.free();
    let outcome = mmapcp(&copy_arguments(&[option], source, &dest));
    assert_eq!(
        outcome.code,
        Some(1),
        "{option} with {free} bytes free: {outcome:?}"
    );
    assert_told(&outcome, option);
    if reserves(disk.kind) {
        // A full xfs has no room for the file itself.
        assert!(
            outcome.stderr.contains("; 32.0 MiB needed, ")
                || outcome.stderr.contains("cannot create regular file"),
            "{option}: {}",
            outcome.stderr
        );
        assert!(
            !dest.exists(),
            "{option}: a file that this run created is left: {}",
            outcome.stderr
        );
        assert!(
            disk.free() + (1 << 20) > free,
            "{option}: {} bytes free of {free} before",
            disk.free()
        );
    } else if let Ok(file) = File::open(&dest) {
        let cached = resident_bytes(&file, 0, DUMP).expect("mincore");
        assert_eq!(cached, 0, "{option}: the partial destination is cached");
        fs::remove_file(&dest).expect("remove the partial destination");
    }
}

fn assert_told(outcome: &CopyOutcome, option: &str) {
    assert!(
        outcome.stderr.starts_with("mmapcp: "),
        "{option}: {}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains(NO_SPACE),
        "{option}: {}",
        outcome.stderr
    );
    assert!(
        outcome.event("error").is_some(),
        "{option}: no error event in {:?}",
        outcome.events
    );
}

/// What clearly does not fit is refused before the old content is touched; plain cp would have cut it off first.
fn assert_existing_unharmed(disk: &Mount, source: &Path, options: &[&str]) {
    let filler = fill_up(disk, 2 * FREE_BYTES_LEFT);
    let dest = disk.path("existing");
    write_dense(
        &File::create(&dest).expect("create"),
        DUMP..DUMP + (1 << 20),
    )
    .expect("write the existing file");
    let old = fs::read(&dest).expect("read the existing file");
    for option in options {
        let outcome = mmapcp(&copy_arguments(&[option], source, &dest));
        assert_eq!(outcome.code, Some(1), "{option}: {outcome:?}");
        assert_told(&outcome, option);
        assert!(
            fs::read(&dest).expect("read the existing file") == old,
            "{option}: the existing file was harmed"
        );
    }
    fs::remove_file(dest).expect("remove the existing file");
    fs::remove_file(filler).expect("remove the filler");
}

fn dump_in_memory(lab: &Lab) -> Option<(Mount, PathBuf)> {
    let memory = lab.mount(FsKind::Tmpfs, 64)?;
    let source = memory.path("dump");
    write_dense(&File::create(&source).expect("create the dump"), 0..DUMP).expect("write the dump");
    Some((memory, source))
}

/// Takes all space that can be had, in ever smaller steps since statvfs promises more than that, and gives `room` back.
pub(super) fn fill_up(disk: &Mount, room: u64) -> PathBuf {
    let path = disk.path("filler");
    let file = File::create(&path).expect("create the filler");
    let mut size = 0_u64;
    for step in [16 << 20, 1 << 20, 64 << 10, 4 << 10] {
        while posix_fallocate(file.as_fd(), size.cast_signed(), step).is_ok() {
            size += step.cast_unsigned();
        }
    }
    file.set_len(size.saturating_sub(room))
        .expect("give room back");
    // btrfs frees extents only with the next commit.
    nix::unistd::syncfs(&file).expect("sync the file system");
    path
}
