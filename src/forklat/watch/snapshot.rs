//! What `forklat watch` knows at one moment, as plain data: a line of its log, and the source of what it prints.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::probe_watch::ProbeAnswers;
use super::slab_watch::CacheSize;
use crate::observe::memory_usage::{MemoryPart, MemoryUsage};

/// The version of the lines of the log.
const LINE_VERSION: u32 = 1;

/// A line of the table of memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryRow {
    /// The name in the log.
    pub key: &'static str,
    /// The name on the terminal.
    pub label: &'static str,
    read: fn(&MemoryUsage) -> Option<u64>,
}

/// The rows of the table of memory, in their order. All but `dirty`, `writeback` and `available` add up to `total`.
pub(super) const MEMORY_ROWS: [MemoryRow; 14] = [
    row("total", "total", MemoryUsage::total),
    row("available", "available", MemoryUsage::available),
    row("free", "free", |m| m.part(MemoryPart::Free)),
    row("processes", "processes", |m| m.part(MemoryPart::Processes)),
    row("shared_memory", "shared memory", |m| {
        m.part(MemoryPart::SharedMemory)
    }),
    row("page_cache", "page cache", |m| {
        m.part(MemoryPart::PageCache)
    }),
    row("dirty", "  dirty", MemoryUsage::dirty),
    row("writeback", "  in writeback", MemoryUsage::writeback),
    row("page_tables", "page tables", |m| {
        m.part(MemoryPart::PageTables)
    }),
    row("kernel_stacks", "kernel stacks", |m| {
        m.part(MemoryPart::KernelStacks)
    }),
    row("other_kernel", "other kernel", |m| {
        m.part(MemoryPart::OtherKernel)
    }),
    row("huge_pages", "huge pages", |m| {
        m.part(MemoryPart::HugePages)
    }),
    row("unaccounted", "unaccounted", MemoryUsage::unaccounted),
    // The caches are listed below it.
    row("slab", "slab", |m| m.part(MemoryPart::Slab)),
];

const fn row(
    key: &'static str,
    label: &'static str,
    read: fn(&MemoryUsage) -> Option<u64>,
) -> MemoryRow {
    MemoryRow { key, label, read }
}

impl MemoryRow {
    /// Returns the bytes of the row, or `None` if the kernel does not report it.
    pub(super) fn bytes(self, usage: &MemoryUsage) -> Option<u64> {
        (self.read)(usage)
    }
}

/// All that is known at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The wall-clock time in seconds since the epoch.
    pub time: f64,
    /// Seconds since the first snapshot.
    pub seconds: f64,
    /// Seconds by which the snapshot was made too late.
    pub late: f64,
    pub memory: MemoryUsage,
    /// The memory of the snapshot before, and of the first one.
    pub before: MemoryUsage,
    pub first: MemoryUsage,
    pub caches: Vec<CacheSize>,
    pub probes: Vec<ProbeAnswers>,
    /// Lines of the log that were lost before this one, since the file did not take them in time.
    pub lost: u64,
}

impl Snapshot {
    /// Returns the snapshot as one line of JSON, with its end of line.
    pub(super) fn json_line(&self) -> String {
        // No key is anything but a text, so that this cannot fail.
        let line = serde_json::to_string(self).unwrap_or_default();
        line + "\n"
    }
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &LINE_VERSION)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("seconds", &self.seconds)?;
        map.serialize_entry("late", &self.late)?;
        map.serialize_entry("memory", &MemoryValues(&self.memory))?;
        map.serialize_entry("slab_caches", &self.caches)?;
        map.serialize_entry("probes", &self.probes)?;
        map.serialize_entry("lost", &self.lost)?;
        map.end()
    }
}

/// The rows of the memory as an object of JSON. What the kernel does not report is null.
struct MemoryValues<'a>(&'a MemoryUsage);

impl Serialize for MemoryValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(MEMORY_ROWS.iter().map(|row| (row.key, row.bytes(self.0))))
    }
}
