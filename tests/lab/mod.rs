//! The lab: tests that need root, loop mounts or extra packages; one at a time, and skipped with a reason where they cannot run.

mod atomic;
mod attributes;
mod bind;
mod calls;
mod cuts;
mod device;
mod dump;
mod durable;
#[cfg(target_arch = "x86_64")]
mod faults;
mod host;
mod image;
mod kernel;
mod kernels;
mod late;
mod lying;
mod matrix;
pub(crate) mod newest_cp;
mod one_inode;
mod power;
mod program;
mod reflink;
mod space;
mod truncated;

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use image::{Kind, Mount};
use kernel::tools;

/// Images and mount points lie below the target directory: `/tmp` may be a tmpfs, and an image there would eat memory.
const HOME: &str = env!("CARGO_TARGET_TMPDIR");

/// The prefix of every directory the lab makes in `HOME`, by which leftovers of a killed run are known.
const PREFIX: &str = "lab-";

/// A directory below `HOME`, removed when dropped, and known for the lab's if that never came.
fn home() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(PREFIX).tempdir_in(HOME)
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
    fn enter(tools: &[&str]) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            return skip("the lab needs root, for mounts");
        }
        if let Some(tool) = tools.iter().find(|tool| !installed(tool)) {
            return skip(&format!("{tool} is not installed"));
        }
        let file =
            File::create(Path::new(HOME).join("lab.lock")).expect("create the lab's lock file");
        let turn = Flock::lock(file, FlockArg::LockExclusive).expect("lock the lab");
        sweep();
        Some(Self { _turn: turn })
    }

    /// A fresh file system of this kind. `None` after saying why, when it cannot be made here.
    fn mount(&self, kind: Kind, mib: u64) -> Option<Mount> {
        Mount::new(kind, mib).map_or_else(|why| skip(&format!("no {kind:?} here: {why}")), Some)
    }

    /// A file system whose image lies on a tmpfs of only `backing` MiB, as on a thinly provisioned disk.
    fn mount_thin(&self, kind: Kind, mib: u64, backing: u64) -> Option<Mount> {
        Mount::thin(kind, mib, backing)
            .map_or_else(|why| skip(&format!("no thin {kind:?} here: {why}")), Some)
    }
}

/// A set-up that fails is not a test that fails, unless whoever runs the tests demands a complete lab.
fn skip<T>(reason: &str) -> Option<T> {
    let required = env::var_os("MMAPCP_REQUIRE_LAB").is_some_and(|value| value == "1");
    assert!(!required, "MMAPCP_REQUIRE_LAB=1, but {reason}");
    eprintln!("skipped: {reason}");
    None
}

fn installed(tool: &str) -> bool {
    env::split_paths(&tools::search_path()).any(|dir| dir.join(tool).is_file())
}

/// Runs a tool of the system; its standard output, or what it complained about.
fn run<S: AsRef<std::ffi::OsStr>>(tool: &str, args: &[S]) -> Result<String, String> {
    tools::said(Command::new(tool).args(args)).map_err(|why| format!("{why:#}"))
}

/// Clears what a killed run left. Whoever holds the turn is alone, so every mount of the lab that exists now is such.
fn sweep() {
    let ours = format!("{HOME}/{PREFIX}");
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for dir in table
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|dir| dir.starts_with(&ours))
    {
        if let Err(why) = run("umount", &["-l", dir]) {
            eprintln!("left over from an earlier run: {why}");
            return;
        }
    }
    if let Err(why) = image::restore_pool() {
        eprintln!("left over from an earlier run: {why}");
    }
    remove_left(PREFIX);
}

/// Removes what is left in `HOME` under names that begin so.
fn remove_left(prefix: &str) {
    for entry in fs::read_dir(HOME).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
