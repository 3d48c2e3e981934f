//! Probers: small processes that do one small operation repeatedly, at times fixed beforehand, and measure its latency.

mod exec;
mod fork;
mod overwrite;
mod page_fault;
mod probe_table;
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
use crate::sys::clock::MonotonicNs;

pub use probe_table::{PROBE_SPECS, ProbeSpec, find_spec};
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

    /// Does the operation once. Returns the time of the child's first instruction for `fork`, and `None` for others.
    ///
    /// # Errors
    /// What failed and why; the prober then ends.
    fn run_once(&mut self) -> Result<Option<MonotonicNs>, ObserveError>;
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
    /// The mean time between two operations, if it is not that of the probe.
    pub period: Option<Duration>,
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
