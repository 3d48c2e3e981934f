//! `--atomic` on file systems that have unnamed files, renaming without replacing and locks, or not; and without room.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;

use super::Lab;
use super::disk_full::fill_up;
use super::program_run::{copy_arguments, mmapcp};
use super::source_dump::write_dense;
use super::test_filesystem::{FsKind, Mount};

const TOOLS: [&str; 4] = ["losetup", "mkfs.ext4", "mount", "umount"];
const DUMP: u64 = 12 << 20;
const OLD: &[u8] = b"the old file";

macro_rules! destinations {
    ($($name:ident: $kind:ident, $mib:literal,)*) => {
        $(#[test]
        fn $name() {
            replaces_on(FsKind::$kind, $mib);
        })*
    };
}

destinations! {
    btrfs: Btrfs, 256,
    ext4: Ext4, 96,
    fuse: Fuse, 96,
    overlay: Overlay, 96,
    ramfs: Ramfs, 96,
    tmpfs: Tmpfs, 96,
    xfs: Xfs, 320,
}

/// Over a file, to a new name, and when there is no room for a second file.
fn replaces_on(kind: FsKind, mib: u64) {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 64) else {
        return;
    };
    let Some(disk) = lab.mount(kind, mib) else {
        return;
    };
    let source = memory.path("dump");
    write_dense(&File::create(&source).expect("create the dump"), 0..DUMP).expect("write the dump");
    let dir = disk.path("dir");
    fs::create_dir(&dir).expect("make a directory");
    let dest = dir.join("dest");
    for options in [&["--atomic"][..], &["--atomic", "--fsync", "-p"]] {
        for existing in [true, false] {
            if existing {
                fs::write(&dest, OLD).expect("write the old file");
            }
            let outcome = mmapcp(&copy_arguments(options, &source, &dest));
            let context = format!("{kind:?} {options:?} existing: {existing}");
            assert_eq!(outcome.code, Some(0), "{context}: {outcome:?}");
            let same = fs::read(&source).expect("read") == fs::read(&dest).expect("read");
            assert!(same, "{context}: bytes differ");
            assert_eq!(names(&dir), ["dest"], "{context}");
            fs::remove_file(&dest).expect("remove the copy");
        }
    }
    if kind != FsKind::Ramfs {
        leaves_the_old_file_without_room(&disk, &source, &dest);
    }
}

fn leaves_the_old_file_without_room(disk: &Mount, source: &Path, dest: &Path) {
    fs::write(dest, OLD).expect("write the old file");
    // What was removed a moment ago is room only when the journal has it.
    nix::unistd::syncfs(File::open(dest).expect("open")).expect("sync the file system");
    let filler = fill_up(disk, DUMP / 2);
    let outcome = mmapcp(&copy_arguments(&["--atomic"], source, dest));
    assert_eq!(outcome.code, Some(1), "{:?}: {outcome:?}", disk.kind);
    assert!(
        outcome.stderr.contains("No space left on device"),
        "{:?}: {}",
        disk.kind,
        outcome.stderr
    );
    assert_eq!(fs::read(dest).expect("read"), OLD, "{:?}", disk.kind);
    assert_eq!(names(dest.parent().expect("a directory")), ["dest"]);
    fs::remove_file(filler).expect("remove the filler");
}

fn names(dir: &Path) -> Vec<OsString> {
    fs::read_dir(dir)
        .expect("list")
        .map(|entry| entry.expect("an entry").file_name())
        .collect()
}
