//! Probers: small processes that do one small operation repeatedly, at times fixed beforehand, and measure its latency.

mod exec;
mod fork;
mod page_fault;
mod prober;
mod read;
pub mod schedule;
mod supervisor;
mod wakeup;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::observe::error::{ObserveError, cannot};

pub use prober::Prober;
pub use supervisor::{ProberEvent, SupervisedProber};

/// An operation that is measured repeatedly. Everything that it needs is made before the first time.
pub trait Probe {
    /// Prepares the next operation. Returns true if that took time for which no user of the operation would wait:
    /// intended times that passed meanwhile are skipped.
    ///
    /// # Errors
    /// What could not be done and why; the prober then ends.
    fn prepare(&mut self) -> Result<bool, ObserveError> {
        Ok(false)
    }

    /// Does the operation once. Returns the time of the child's first instruction for `fork`, and 0 for others.
    ///
    /// # Errors
    /// What failed and why; the prober then ends.
    fn run_once(&mut self) -> Result<u64, ObserveError>;
}

/// Creates a file without a name in `dir`, so that no file remains however a prober ends.
fn create_unnamed_file(dir: &Path) -> Result<File, ObserveError> {
    tempfile::tempfile_in(dir).map_err(|e| cannot("create a file in", dir, e))
}

/// Settings with which the probes are made.
#[derive(Debug, Clone, Default)]
pub struct ProbeSetup {
    /// Size in bytes of the heap of the process that forks.
    pub heap_bytes: usize,
    /// The directory whose file system is measured.
    pub directory: Option<PathBuf>,
    /// Whether the file that is appended to must stay small.
    pub keep_log_small: bool,
    /// Whether to drop the pages of the program before each exec.
    pub exec_cold: bool,
    /// The program that `exec` runs; no other probe uses it.
    pub program: PathBuf,
    /// Whether the file system of `directory` allows programs to be executed.
    pub directory_allows_exec: bool,
}

/// One kind of prober and its properties.
#[derive(Debug, Clone, Copy)]
pub struct ProbeSpec {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What it measures, for the help text.
    pub description: &'static str,
    /// Its period, unless the user sets another.
    pub period: Duration,
    /// Whether it needs a directory to write to.
    pub needs_directory: bool,
    /// Whether one is started on each CPU.
    pub per_cpu: bool,
    make: fn(&ProbeSetup) -> Result<Box<dyn Probe>, ObserveError>,
}

/// All kinds of probers.
///
/// Periods: each prober shall stay below 3 % of a CPU. Measured on a virtual machine of two idle cores with Linux 6.18,
/// where caches are cold at every wakeup: fork and reap 0.5 ms of CPU (2.1 to 2.4 % every 25 ms; 4 to 6 % every 10 ms),
/// exec of true 1.3 ms (2.5 %), 2 MiB in pages of 4 KiB 1.0 ms (2.6 %), a write 0.05 ms (0.9 %), fdatasync 0.6 ms (0.3
/// %), a read 0.3 ms (0.6 %).
pub const PROBE_SPECS: [ProbeSpec; 7] = [
    ProbeSpec {
        name: "wakeup",
        description: "sleep, and run again at the moment that was asked for; one prober on each CPU",
        period: Duration::from_millis(1),
        needs_directory: false,
        per_cpu: true,
        make: wakeup::make,
    },
    ProbeSpec {
        name: "fork",
        description: "fork, child exits at once, reaped; one prober on each CPU",
        period: Duration::from_millis(25),
        needs_directory: false,
        per_cpu: true,
        make: fork::make,
    },
    ProbeSpec {
        name: "exec",
        description: "start true(1) with posix_spawn, and its exit; a copy of it on DIR",
        period: Duration::from_millis(50),
        needs_directory: false,
        per_cpu: false,
        make: exec::make,
    },
    ProbeSpec {
        name: "touch",
        description: "map 2 MiB of anonymous memory and write to each page",
        period: Duration::from_millis(50),
        needs_directory: false,
        per_cpu: false,
        make: page_fault::make,
    },
    ProbeSpec {
        name: "write",
        description: "append 4 KiB to a file on DIR",
        period: Duration::from_millis(10),
        needs_directory: true,
        per_cpu: false,
        make: write::make,
    },
    ProbeSpec {
        name: "fsync",
        description: "append 4 KiB to a file on DIR, and fdatasync",
        period: Duration::from_millis(100),
        needs_directory: true,
        per_cpu: false,
        make: write::make_synced,
    },
    ProbeSpec {
        name: "read",
        description: "read 4 KiB with O_DIRECT from a file on DIR",
        period: Duration::from_millis(50),
        needs_directory: true,
        per_cpu: false,
        make: read::make,
    },
];

/// Returns the kind with that name.
#[must_use]
pub fn find_spec(name: &str) -> Option<&'static ProbeSpec> {
    PROBE_SPECS.iter().find(|row| row.name == name)
}
