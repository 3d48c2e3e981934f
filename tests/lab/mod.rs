//! The lab: tests that need root, loop mounts or extra packages; one at a time, and skipped with a reason where they cannot run.

mod aliased_destinations;
mod atomic_filesystems;
mod bind_mounts;
mod block_devices;
mod core_dumps;
mod deferred_write_errors;
mod disk_full;
mod drain_power_cuts;
mod drained_memory;
mod drained_sources;
#[cfg(target_arch = "x86_64")]
mod fault_injection;
mod forklat_host_changes;
mod forklat_limited_disk;
mod frozen_queue;
mod kernel;
mod kernel_versions;
mod memory_cgroup;
mod memory_group;
pub(crate) mod newest_cp;
mod power_cut_replay;
mod power_cut_snapshots;
mod program_run;
mod reflink;
mod room;
mod shared_device;
mod source_dest_matrix;
mod source_dump;
mod strace_injection;
mod syncfs;
mod syscall_cpu_time;
mod test_filesystem;
mod truncated_source;
mod unsupported_attributes;
mod verified_filesystems;
mod without_proc;

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use crate::support::is_installed;
use kernel::tool_command;
use test_filesystem::{FsKind, Mount};

/// Images and mount points lie below the target directory: `/tmp` may be a tmpfs, and an image there would eat memory.
const LAB_DIR: &str = env!("CARGO_TARGET_TMPDIR");

/// The prefix of every directory the lab makes in `HOME`, by which leftovers of a killed run are known.
const LAB_DIR_PREFIX: &str = "lab-";

/// A directory below `HOME`, removed when dropped, and known for the lab's if that never came.
fn lab_temp_dir() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(LAB_DIR_PREFIX)
        .tempdir_in(LAB_DIR)
}

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn faults_are_not_injected() {
    skip::<()>("the injector of faults knows the registers of x86-64 alone");
}

/// The right to mount. A lock on a file rather than a mutex: each test opens the file for itself, so it excludes the
/// other threads as well as other test processes, it cannot be poisoned, and it dies with its holder.
struct Lab {
    _turn: Flock<File>,
}

impl Lab {
    /// Waits for the turn. `None` after saying why, when this machine cannot run what needs root and `tools`.
    fn acquire_or_skip(tools: &[&str]) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            return skip("the lab needs root, for mounts");
        }
        if let Some(tool) = tools.iter().find(|tool| !is_installed(tool)) {
            return skip(&format!("{tool} is not installed"));
        }
        let file =
            File::create(Path::new(LAB_DIR).join("lab.lock")).expect("create the lab's lock file");
        let turn = Flock::lock(file, FlockArg::LockExclusive).expect("lock the lab");
        remove_leftovers();
        Some(Self { _turn: turn })
    }

    /// A fresh file system of this kind. `None` after saying why, when it cannot be made here.
    fn mount(&self, kind: FsKind, mib: u64) -> Option<Mount> {
        Mount::new(kind, mib).map_or_else(|why| skip(&format!("no {kind:?} here: {why}")), Some)
    }

    /// A file system whose image lies on a tmpfs of only `backing` MiB, as on a thinly provisioned disk.
    fn mount_thin(&self, kind: FsKind, mib: u64, backing: u64) -> Option<Mount> {
        Mount::thin(kind, mib, backing)
            .map_or_else(|why| skip(&format!("no thin {kind:?} here: {why}")), Some)
    }
}

/// Counts the running test as skipped: a set-up that fails is not a test that fails, unless whoever runs the tests demands a
/// complete lab.
fn skip<T>(reason: &str) -> Option<T> {
    crate::harness::skip(reason.to_owned());
    None
}

/// Runs a tool of the system; its standard output, or what it complained about.
fn run_tool<S: AsRef<std::ffi::OsStr>>(tool: &str, args: &[S]) -> Result<String, String> {
    tool_command::stdout_of(Command::new(tool).args(args)).map_err(|why| format!("{why:#}"))
}

/// Clears what a killed run left. Whoever holds the turn is alone, so every mount of the lab that exists now is such.
fn remove_leftovers() {
    let ours = format!("{LAB_DIR}/{LAB_DIR_PREFIX}");
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for dir in table
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|dir| dir.starts_with(&ours))
    {
        if let Err(why) = run_tool("umount", &["-l", dir]) {
            eprintln!("left over from an earlier run: {why}");
            return;
        }
    }
    if let Err(why) = test_filesystem::restore_hugepage_pool() {
        eprintln!("left over from an earlier run: {why}");
    }
    remove_leftover_dirs(LAB_DIR_PREFIX);
}

/// Removes what is left in `HOME` under names that begin so.
fn remove_leftover_dirs(prefix: &str) {
    for entry in fs::read_dir(LAB_DIR).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
