//! --fsync of many files: by syncfs(2) only where that is known to reach the medium.

use std::fs;
use std::process::Command;

use super::test_filesystem::FsKind;
use super::{Lab, lab_temp_dir};
use crate::support::{MMAPCP, assert_exit, lossy_string, run};

/// More than are synced one by one where syncfs serves.
const FILES: usize = 40;

/// Copies a tree there with --fsync under a tracer; how often fsync and syncfs were called.
fn count_sync_calls(lab: &Lab, kind: FsKind) -> Option<(usize, usize)> {
    let disk = lab.mount(kind, 128)?;
    let home = lab_temp_dir().expect("a directory");
    let (source, log) = (home.path().join("tree"), home.path().join("log"));
    fs::create_dir(&source).expect("a directory");
    for n in 0..FILES {
        fs::write(source.join(n.to_string()), "content").expect("a file");
    }
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=fsync,syncfs", "-o"])
        .arg(&log)
        .arg(&*MMAPCP)
        .args(["-r", "--fsync"])
        .args([&source, &disk.path("copy")]);
    let output = run(&mut command);
    assert_exit(&output, 0);
    let log = lossy_string(&fs::read(&log).expect("a log"));
    let count = |call: &str| log.lines().filter(|line| line.contains(call)).count();
    Some((count(" fsync("), count(" syncfs(")))
}

#[test]
fn fuse_gets_an_fsync_per_file_and_a_disk_one_syncfs() {
    let Some(lab) = Lab::acquire_or_skip(&["bindfs", "strace", "mount", "umount"]) else {
        return;
    };
    let Some((each, whole)) = count_sync_calls(&lab, FsKind::Fuse) else {
        return;
    };
    // The files, the directory, and the one that it is in.
    assert!(
        each >= FILES + 2,
        "{each} calls of fsync reached the daemon"
    );
    assert_eq!(whole, 0, "syncfs ends in the kernel");
    let Some((_, whole)) = count_sync_calls(&lab, FsKind::Ext4) else {
        return;
    };
    assert_eq!(whole, 1);
}
