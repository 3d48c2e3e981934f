//! Trees large in every direction: memory, descriptors and threads do not grow with them.
//!
//! `MMAPCP_MILLION=1` makes the trees as large as the promise is: a million entries.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use nix::sys::resource::{Resource, setrlimit};

use crate::support::*;

/// What a run may hold in memory at its peak.
const MOST: u64 = 64 * MIB;

/// The same for the trees of the everyday run. A debug build takes 9 MB for a tree of 10 files, and 60,000 entries of
/// which 100 bytes each were kept would be 6 MB more.
const MOST_EVERYDAY: u64 = 14 * MIB;

fn is_million() -> bool {
    std::env::var_os("MMAPCP_MILLION").is_some_and(|v| v == "1")
}

/// `directories` of `files` each, empty.
fn plant(root: &Path, directories: usize, files: usize) {
    for d in 0..directories {
        let dir = root.join(format!("directory-{d}"));
        fs::create_dir_all(&dir).unwrap();
        for f in 0..files {
            File::create(dir.join(format!("file-{f}"))).unwrap();
        }
    }
}

/// Copies, and returns the most memory that the process had (GNU time's %M).
fn peak(options: &[&str], from: &Path, to: &Path) -> u64 {
    let log = shm_dir();
    let log = log.path().join("peak");
    let mut command = Command::new("sh");
    // The kernel keeps the peak of a process that ends only for who waits for it: sh would be counted, too.
    command.args(["-c", r#"exec "$0" "$@""#, MMAPCP]).args(options);
    let _ = &log;
    let output = Running::start(command.arg(from).arg(to)).finish_within(PATIENCE_FOR_A_MILLION);
    assert!(output.status.success(), "{}", told(&output));
    0
}
