//! What the machine says of itself: /proc/meminfo, vmstat, PSI and slabinfo, read without fork or exec.
//!
//! The root under which `proc` lies is a parameter: tests have trees of their own.

pub mod slab;
pub mod text;
pub mod timeline;

pub use pressure::Stalls;
pub use timeline::Timeline;

mod meminfo;
mod pressure;
mod vmstat;

use std::path::Path;

use self::pressure::Pressure;
use self::text::Text;
use super::root::below;
use crate::report::quote::cannot;

/// What is read ten times a second, in the order of [`Values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
#[expect(
    missing_docs,
    reason = "the kernel's own names: proc_meminfo(5), proc_vmstat(5), psi.rst"
)]
pub enum Field {
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
pub enum Kind {
    /// Bytes that come and go.
    Gauge,
    /// Events since boot.
    Counter,
    /// Microseconds stalled since boot.
    Stall,
}

impl Field {
    /// All of them, in order.
    pub const ALL: [Self; FIELDS] = [
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
    pub fn kind(self) -> Kind {
        match self as usize {
            n if n < Self::AllocStall as usize => Kind::Gauge,
            n if n < Self::CpuSome as usize => Kind::Counter,
            _ => Kind::Stall,
        }
    }
}

/// How many fields there are.
pub const FIELDS: usize = Field::IoFull as usize + 1;

/// A value a field; `None` where this kernel does not say it.
pub type Values = [Option<u64>; FIELDS];

/// What the machine said at one moment. Times are CLOCK_MONOTONIC in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When.
    pub at: u64,
    /// How long after the intended moment that was.
    pub late: u64,
    /// By [`Field`].
    pub values: Values,
}

impl Reading {
    /// The value of one field.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<u64> {
        self.values[field as usize]
    }
}

/// What the slab caches held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlabReading {
    /// When: CLOCK_MONOTONIC in nanoseconds.
    pub at: u64,
    /// Bytes by cache; a cache that came later has no place yet and held nothing.
    pub bytes: Vec<u64>,
}

/// All that was read of the slab caches.
#[derive(Debug, Clone, Default)]
pub struct Slabs {
    /// What the places of a reading stand for.
    pub names: Vec<String>,
    /// In the order of time.
    pub readings: Vec<SlabReading>,
    /// Caches that were not followed, because there are more than [`slab::CACHES`].
    pub beyond: u64,
}

/// All that was read, and why some of it could not be.
#[derive(Debug, Clone)]
pub struct History {
    /// In the order of time.
    pub readings: Vec<Reading>,
    /// Why there is no PSI.
    pub pressure: Result<(), String>,
    /// The slab caches, or why they cannot be read.
    pub slabs: Result<Slabs, String>,
}

/// The open files of one root. After [`open`](Self::open) it allocates nothing.
#[derive(Debug)]
pub struct Reader {
    meminfo: Text,
    vmstat: Text,
    pressure: Result<Pressure, String>,
}

impl Reader {
    /// Opens all files once.
    ///
    /// # Errors
    /// Which file could not be opened and why. A machine without PSI is no error.
    pub fn open(root: &Path) -> Result<Self, String> {
        let open = |name: &str| {
            let path = below(root, name);
            Text::open(&path).map_err(|e| cannot("read", &path, &e))
        };
        Ok(Self {
            meminfo: open("proc/meminfo")?,
            vmstat: open("proc/vmstat")?,
            pressure: Pressure::open(root),
        })
    }

    /// Why there is no PSI.
    ///
    /// # Errors
    /// That.
    pub fn pressure(&self) -> Result<(), String> {
        self.pressure.as_ref().map(drop).map_err(Clone::clone)
    }

    /// What the machine says now. A file that cannot be read this time leaves its fields `None`.
    pub fn read(&mut self) -> Values {
        let mut values = [None; FIELDS];
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
pub fn why_no_pressure(root: &Path) -> Option<String> {
    Pressure::open(root).err()
}

/// /proc/slabinfo, opened once.
#[derive(Debug)]
pub struct SlabReader {
    text: Text,
    caches: slab::Caches,
}

impl SlabReader {
    /// Opens it, which only root can.
    ///
    /// # Errors
    /// Why not, for the user.
    pub fn open(root: &Path) -> Result<Self, String> {
        let path = below(root, "proc/slabinfo");
        Ok(Self {
            text: Text::open(&path).map_err(|e| cannot("read", &path, &e))?,
            caches: slab::Caches::default(),
        })
    }

    /// Fills `bytes`, [`slab::CACHES`] of them. False where it could not be read this time.
    pub fn read(&mut self, bytes: &mut [u64]) -> bool {
        let Ok(text) = self.text.read() else {
            return false;
        };
        self.caches.parse(text, bytes);
        true
    }

    /// The caches seen so far.
    #[must_use]
    pub fn caches(&self) -> &slab::Caches {
        &self.caches
    }
}

#[cfg(test)]
mod tests;
