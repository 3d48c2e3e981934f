//! Reads the kernel's figures of memory and stalls, /proc/meminfo, vmstat, PSI and slabinfo, without fork or exec.
//!
//! The root under which `proc` lies is a parameter, since tests have directory trees of their own.

pub mod proc_file;
pub mod slab;
pub mod timeline;

pub use psi::StallCounter;

use crate::observe::error::{ObserveError, cannot};
use crate::sys::clock::MonotonicNs;
pub use timeline::Timeline;

mod meminfo;
mod psi;
mod vmstat;

use std::path::Path;
use std::time::Duration;

use self::proc_file::ProcFile;
use self::psi::PsiFiles;
use super::kernel_file::path_below;

macro_rules! metrics {
    ($($metric:ident $name:literal),*) => {
        /// The figures that are read ten times a second, in the order of [`MetricValues`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        #[expect(
            missing_docs,
            reason = "the kernel's own names: proc_meminfo(5), proc_vmstat(5), psi.rst"
        )]
        pub enum Metric {
            $($metric),*
        }

        impl Metric {
            /// All metrics in the order of [`MetricValues`].
            pub const ALL: [Self; METRIC_COUNT] = [$(Self::$metric),*];

            /// Returns the kernel's name for the metric.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$metric => $name),*
                }
            }
        }
    };
}

// The gauges, the counters and the stalls, in this order: `Metric::kind` goes by it.
metrics! {
    MemFree "MemFree",
    MemAvailable "MemAvailable",
    Cached "Cached",
    Dirty "Dirty",
    Writeback "Writeback",
    Shmem "Shmem",
    SReclaimable "SReclaimable",
    SUnreclaim "SUnreclaim",
    KernelStack "KernelStack",
    PageTables "PageTables",
    AllocStall "allocstall",
    PgscanDirect "pgscan_direct",
    CompactStall "compact_stall",
    OomKill "oom_kill",
    CpuSome "cpu some",
    CpuFull "cpu full",
    MemorySome "memory some",
    MemoryFull "memory full",
    IoSome "io some",
    IoFull "io full"
}

/// The kind of number that a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// An amount in bytes that rises and falls.
    Gauge,
    /// Number of events since boot.
    Counter,
    /// Microseconds that tasks were stalled since boot.
    Stall,
}

impl Metric {
    /// Returns what kind of number the metric is.
    #[must_use]
    pub fn kind(self) -> MetricKind {
        match self as usize {
            n if n < Self::AllocStall as usize => MetricKind::Gauge,
            n if n < Self::CpuSome as usize => MetricKind::Counter,
            _ => MetricKind::Stall,
        }
    }
}

/// The number of metrics that are read.
pub const METRIC_COUNT: usize = Metric::IoFull as usize + 1;

/// A value for each metric; `None` if this kernel does not report it.
pub type MetricValues = [Option<u64>; METRIC_COUNT];

/// The values that were read at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When the values were read.
    pub at: MonotonicNs,
    /// Delay of the reading after its intended time.
    pub delay: Duration,
    /// The values in the order of [`Metric`].
    pub values: MetricValues,
}

impl Reading {
    /// Returns the value of one metric.
    #[must_use]
    pub fn get(&self, field: Metric) -> Option<u64> {
        self.values[field as usize]
    }
}

/// The sizes of the slab caches at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlabReading {
    /// The time at which they were read.
    pub at: MonotonicNs,
    /// Bytes of each cache. A cache that appeared later has no entry yet and held nothing.
    pub bytes: Vec<u64>,
}

/// All readings of the slab caches.
#[derive(Debug, Clone, Default)]
pub struct SlabHistory {
    /// Names of the caches, in the order of [`SlabReading::bytes`].
    pub names: Vec<String>,
    /// The readings in the order of time.
    pub readings: Vec<SlabReading>,
    /// Number of caches that were not read, because there are more than [`slab::MAX_CACHES`].
    pub untracked: u64,
}

/// All readings, and the reasons why some are missing.
#[derive(Debug, Clone)]
pub struct History {
    /// The readings in the order of time.
    pub readings: Vec<Reading>,
    /// The reason why there is no PSI, as an error.
    pub pressure: Result<(), ObserveError>,
    /// The slab caches, or why they cannot be read.
    pub slabs: Result<SlabHistory, ObserveError>,
}

/// The open files of one root. After [`open`](Self::open) it does not allocate.
#[derive(Debug)]
pub struct ProcReader {
    meminfo: ProcFile,
    vmstat: ProcFile,
    pressure: Result<PsiFiles, ObserveError>,
}

impl ProcReader {
    /// Opens all files once.
    ///
    /// # Errors
    /// Which file could not be opened and why. A machine without PSI is no error.
    pub fn open(root: &Path) -> Result<Self, ObserveError> {
        let open = |name: &str| {
            let path = path_below(root, name);
            ProcFile::open(&path).map_err(|e| cannot("read", &path, e))
        };
        Ok(Self {
            meminfo: open("proc/meminfo")?,
            vmstat: open("proc/vmstat")?,
            pressure: PsiFiles::open(root),
        })
    }

    /// Checks that the machine has PSI.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn check_psi(&self) -> Result<(), ObserveError> {
        self.pressure.as_ref().map(drop).map_err(Clone::clone)
    }

    /// Reads all values now. A file that cannot be read this time leaves its values `None`.
    pub fn read(&mut self) -> MetricValues {
        let mut values = [None; METRIC_COUNT];
        // The values that are compared with the clock are read first.
        if let Ok(pressure) = &mut self.pressure {
            pressure.read(&mut values);
        }
        if let Ok(text) = self.meminfo.read() {
            meminfo::parse(text, &mut values);
        }
        if let Ok(text) = self.vmstat.read() {
            vmstat::parse(text, &mut values);
        }
        values
    }
}

/// Returns why there is no PSI on the machine of `root`; `None` if there is.
#[must_use]
pub fn why_no_psi(root: &Path) -> Option<String> {
    PsiFiles::open(root).err().map(|why| why.to_string())
}

/// The sleep between two pages of /proc/slabinfo. Where slabs hold 0.7 GiB the text takes 3 ms of CPU to make (6.18), and
/// without pauses the forks of others waited for as long once a second.
const SLAB_READ_PAUSE: Duration = Duration::from_micros(50);

/// The file /proc/slabinfo, which is opened once.
#[derive(Debug)]
pub struct SlabReader {
    text: ProcFile,
    caches: slab::CacheTable,
}

impl SlabReader {
    /// Opens the file, which only root can.
    ///
    /// # Errors
    /// The reason why it cannot be opened, for the user.
    pub fn open(root: &Path) -> Result<Self, ObserveError> {
        let path = path_below(root, "proc/slabinfo");
        Ok(Self {
            text: ProcFile::open(&path).map_err(|e| cannot("read", &path, e))?,
            caches: slab::CacheTable::default(),
        })
    }

    /// Fills `bytes`, which must have [`slab::MAX_CACHES`] elements. Returns false if the file could not be read this
    /// time.
    pub fn read(&mut self, bytes: &mut [u64]) -> bool {
        let Ok(text) = self.text.read_with_pauses(SLAB_READ_PAUSE) else {
            return false;
        };
        self.caches.parse(text, bytes);
        true
    }

    /// Returns the caches that were seen so far.
    #[must_use]
    pub fn seen_caches(&self) -> &slab::CacheTable {
        &self.caches
    }
}

#[cfg(test)]
mod tests;
