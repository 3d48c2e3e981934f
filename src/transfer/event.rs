//! What a transfer tells while it runs: the events of `--json`, and the interface of whoever listens.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// A row that was not taken, and why.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Refusal {
    /// The row.
    pub engine: &'static str,
    /// The missing capability, in words.
    pub why: String,
}

/// What one engine cost in its trial stretch.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// The row.
    pub engine: &'static str,
    /// Seconds of CPU for a GB (10^9 bytes).
    pub cpu_per_gb: f64,
    /// Seconds of wall time for a GB.
    pub wall_per_gb: f64,
}

/// Something worth telling about one file. Sizes in bytes, times in seconds, rates in bytes a second.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Before the first byte.
    Plan {
        /// Size of the source; 0 for a stream.
        size: u64,
        /// Bytes of it that are allocated.
        data: u64,
        /// The first row to be tried; none for an empty file.
        engine: Option<&'static str>,
        /// `genuine`, `unproven` (the first write shows), or `no`.
        direct: &'static str,
        /// Alignment of memory for direct writes.
        mem_align: u64,
        /// Alignment of offsets and lengths for direct writes.
        offset_align: u64,
        /// The rows that cannot serve.
        refused: Vec<Refusal>,
        /// Why space is not reserved before the data, if it is not.
        unreserved: Option<String>,
    },
    /// A row gave up, and another goes on.
    Fallback {
        /// The row that gave up.
        from: &'static str,
        /// The next.
        to: &'static str,
        /// What it met.
        why: String,
        /// Offset in the file.
        at: u64,
    },
    /// The cheaper of two rows was found by measurement.
    Choice {
        /// The row that goes on.
        engine: &'static str,
        /// What each cost.
        tried: Vec<Trial>,
    },
    /// A degradation that changes no row.
    Note {
        /// In words.
        text: String,
    },
    /// All of the file is copied.
    Done {
        /// Size of the destination.
        bytes: u64,
        /// Bytes that were moved or written.
        data_bytes: u64,
        /// The row that moved most; none for an empty file.
        engine: Option<&'static str>,
        /// Bytes by each row.
        engines: BTreeMap<&'static str, u64>,
        /// Extents found in the source.
        extents: u64,
        /// Seconds of wall time.
        elapsed: f64,
        /// `bytes` over `elapsed`.
        rate: f64,
        /// CPU seconds in user mode that this file took.
        cpu_user: f64,
        /// CPU seconds in the kernel that this file took.
        cpu_system: f64,
        /// Peak resident size of the process so far.
        max_rss: u64,
    },
}

/// How far one file is.
#[derive(Debug, Clone, Copy, Serialize, Default)]
pub struct Progress {
    /// Bytes from the start of the file, holes included, that the device has taken.
    pub copied: u64,
    /// Size of the file; 0 for a stream.
    pub size: u64,
    /// The row at work.
    #[serde(skip)]
    pub engine: &'static str,
    /// Time since the file was begun.
    #[serde(skip)]
    pub elapsed: Duration,
}

/// Listens to a transfer, and may stop it.
pub trait CopyListener {
    /// Whether events are wanted at all: where they are not, what they would cost is spared.
    fn listens(&self) -> bool {
        true
    }
    /// Something worth telling.
    fn event(&mut self, event: &Event);
    /// Called after each chunk.
    fn progress(&mut self, progress: &Progress);
    /// Asked before each chunk: whether to stop.
    fn interrupted(&self) -> bool;
}

/// Nobody listens, and nothing stops the transfer.
impl CopyListener for () {
    fn listens(&self) -> bool {
        false
    }
    fn event(&mut self, _: &Event) {}
    fn progress(&mut self, _: &Progress) {}
    fn interrupted(&self) -> bool {
        false
    }
}
