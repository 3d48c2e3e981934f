//! What the machine says of itself: /proc/meminfo, vmstat, PSI and slabinfo, read without fork or exec.
//!
//! The root under which `proc` lies is a parameter: tests have trees of their own.

pub mod proc_file;
pub mod slab;
pub mod timeline;

pub use psi::StallCounters;
pub use timeline::Timeline;

mod meminfo;
mod psi;
mod vmstat;

use crate::observe::error::{ObserveError, cannot};
use std::path::Path;

use self::proc_file::ProcFile;
use self::psi::PsiFiles;
use super::kernel_file::path_below;

/// What is read ten times a second, in the order of [`MetricValues`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
#[expect(
    missing_docs,
    reason = "the kernel's own names: proc_meminfo(5), proc_vmstat(5), psi.rst"
)]
pub enum Metric {
    MemFree,
    MemAvailable,
    Cached,
    Dirty,
    Writeback,
    Shmem,
    SReclaimable,
    SUnreclaim,
    KernelStack,
    PageTables,
    AllocStall,
    PgscanDirect,
    CompactStall,
    OomKill,
    CpuSome,
    CpuFull,
    MemorySome,
    MemoryFull,
    IoSome,
    IoFull,
}

/// What kind of number a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Bytes that come and go.
    Gauge,
    /// Events since boot.
    Counter,
    /// Microseconds stalled since boot.
    Stall,
}

impl Metric {
    /// All of them, in order.
    pub const ALL: [Self; METRIC_COUNT] = [
        Self::MemFree,
        Self::MemAvailable,
        Self::Cached,
        Self::Dirty,
        Self::Writeback,
        Self::Shmem,
        Self::SReclaimable,
        Self::SUnreclaim,
        Self::KernelStack,
        Self::PageTables,
        Self::AllocStall,
        Self::PgscanDirect,
        Self::CompactStall,
        Self::OomKill,
        Self::CpuSome,
        Self::CpuFull,
        Self::MemorySome,
        Self::MemoryFull,
        Self::IoSome,
        Self::IoFull,
    ];

    /// The kernel's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MemFree => "MemFree",
            Self::MemAvailable => "MemAvailable",
            Self::Cached => "Cached",
            Self::Dirty => "Dirty",
            Self::Writeback => "Writeback",
            Self::Shmem => "Shmem",
            Self::SReclaimable => "SReclaimable",
            Self::SUnreclaim => "SUnreclaim",
            Self::KernelStack => "KernelStack",
            Self::PageTables => "PageTables",
            Self::AllocStall => "allocstall",
            Self::PgscanDirect => "pgscan_direct",
            Self::CompactStall => "compact_stall",
            Self::OomKill => "oom_kill",
            Self::CpuSome => "cpu some",
            Self::CpuFull => "cpu full",
            Self::MemorySome => "memory some",
            Self::MemoryFull => "memory full",
            Self::IoSome => "io some",
            Self::IoFull => "io full",
        }
    }

    /// How to read it.
    #[must_use]
    pub fn kind(self) -> MetricKind {
        match self as usize {
            n if n < Self::AllocStall as usize => MetricKind::Gauge,
            n if n < Self::CpuSome as usize => MetricKind::Counter,
            _ => MetricKind::Stall,
        }
    }
}

/// How many fields there are.
pub const METRIC_COUNT: usize = Metric::IoFull as usize + 1;

/// A value a field; `None` where this kernel does not say it.
pub type MetricValues = [Option<u64>; METRIC_COUNT];

/// What the machine said at one moment. Times are CLOCK_MONOTONIC in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When.
    pub at_ns: u64,
    /// How long after the intended moment that was.
    pub delay_ns: u64,
    /// By [`Metric`].
    pub values: MetricValues,
}

impl Reading {
    /// The value of one field.
    #[must_use]
    pub fn get(&self, field: Metric) -> Option<u64> {
        self.values[field as usize]
    }
}

/// What the slab caches held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlabReading {
    /// When: CLOCK_MONOTONIC in nanoseconds.
    pub at_ns: u64,
    /// Bytes by cache; a cache that came later has no place yet and held nothing.
    pub bytes: Vec<u64>,
}

/// All that was read of the slab caches.
#[derive(Debug, Clone, Default)]
pub struct SlabHistory {
    /// What the places of a reading stand for.
    pub names: Vec<String>,
    /// In the order of time.
    pub readings: Vec<SlabReading>,
    /// Caches that were not followed, because there are more than [`slab::MAX_CACHES`].
    pub untracked: u64,
}

/// All that was read, and why some of it could not be.
#[derive(Debug, Clone)]
pub struct History {
    /// In the order of time.
    pub readings: Vec<Reading>,
    /// Why there is no PSI.
    pub pressure: Result<(), ObserveError>,
    /// The slab caches, or why they cannot be read.
    pub slabs: Result<SlabHistory, ObserveError>,
}

/// The open files of one root. After [`open`](Self::open) it allocates nothing.
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

    /// Why there is no PSI.
    ///
    /// # Errors
    /// That.
    pub fn check_psi(&self) -> Result<(), ObserveError> {
        self.pressure.as_ref().map(drop).map_err(Clone::clone)
    }

    /// What the machine says now. A file that cannot be read this time leaves its fields `None`.
    pub fn read(&mut self) -> MetricValues {
        let mut values = [None; METRIC_COUNT];
        // First what is compared with the clock.
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

/// Why there is no PSI on the machine of `root`; `None` where there is.
#[must_use]
pub fn why_no_psi(root: &Path) -> Option<String> {
    PsiFiles::open(root).err().map(|why| why.to_string())
}

/// /proc/slabinfo, opened once.
#[derive(Debug)]
pub struct SlabReader {
    text: ProcFile,
    caches: slab::CacheTable,
}

impl SlabReader {
    /// Opens it, which only root can.
    ///
    /// # Errors
    /// Why not, for the user.
    pub fn open(root: &Path) -> Result<Self, ObserveError> {
        let path = path_below(root, "proc/slabinfo");
        Ok(Self {
            text: ProcFile::open(&path).map_err(|e| cannot("read", &path, e))?,
            caches: slab::CacheTable::default(),
        })
    }

    /// Fills `bytes`, [`slab::MAX_CACHES`] of them. False where it could not be read this time.
    pub fn read(&mut self, bytes: &mut [u64]) -> bool {
        let Ok(text) = self.text.read() else {
            return false;
        };
        self.caches.parse(text, bytes);
        true
    }

    /// The caches seen so far.
    #[must_use]
    pub fn seen_caches(&self) -> &slab::CacheTable {
        &self.caches
    }
}

#[cfg(test)]
mod tests;
