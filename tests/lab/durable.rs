//! --fsync of many files: by syncfs(2) only where that is known to reach the medium.

use std::fs;
use std::process::Command;

use super::image::Kind;
use super::{Lab, home};
use crate::support::{MMAPCP, lossy, run, told};

/// More than are synced one by one where syncfs serves.
const FILES: usize = 40;

/// Copies a tree there with --fsync under a tracer; how often fsync and syncfs were called.
fn calls(lab: &Lab, kind: Kind) -> Option<(usize, usize)> {
    let disk = lab.mount(kind, 128)?;
    let home = home().expect("a directory");
    let (source, log) = (home.path().join("tree"), home.path().join("log"));
    fs::create_dir(&source).expect("a directory");
    for n in 0..FILES {
        fs::write(source.join(n.to_string()), "content").expect("a file");
    }
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=fsync,syncfs", "-o"])
        .arg(&log)
        .arg(MMAPCP)
        .args(["-r", "--fsync"])
        .args([&source, &disk.path("copy")]);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", told(&output));
    let log = lossy(&fs::read(&log).expect("a log"));
    let count = |call: &str| log.lines().filter(|line| line.contains(call)).count();
    Some((count(" fsync("), count(" syncfs(")))
}

#[test]
fn a_daemon_hears_of_every_file_and_a_disk_of_all_at_once() {
    let Some(lab) = Lab::enter(&["bindfs", "strace", "mount", "umount"]) else {
        return;
    };
    let Some((each, whole)) = calls(&lab, Kind::Fuse) else {
        return;
    };
    // The files, the directory, and the one that it is in.
    assert!(
        each >= FILES + 2,
        "{each} calls of fsync reached the daemon"
    );
    assert_eq!(whole, 0, "syncfs ends in the kernel");
    let Some((_, whole)) = calls(&lab, Kind::Ext4) else {
        return;
    };
    assert_eq!(whole, 1);
}
