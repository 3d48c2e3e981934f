//! The events of a transfer, and the interface of the listener that receives them and may stop the transfer.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::depth_trial::DepthRate;
use super::digest::algorithm::Digest;
use super::stop_reason::StopReason;
use super::verify::read_back::ReadBack;
use super::writers::Writers;
use crate::sys::cpu::ThreadUsage;

/// An engine that cannot copy a file, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The name of the engine.
    pub engine: &'static str,
    /// The missing capability, in words.
    pub why: String,
}

/// What one engine cost in its trial, in which it copied a part of the file.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The name of the engine.
    pub engine: &'static str,
    /// CPU time in seconds for 10^9 bytes.
    pub cpu_per_gb: f64,
    /// Wall time in seconds for 10^9 bytes.
    pub wall_per_gb: f64,
    /// CPU time in seconds of its longest call.
    pub longest_call: f64,
}

/// How many pieces of a file are on their way at once, found by measurement.
#[derive(Debug, Clone)]
pub struct DepthSummary {
    /// Number of pieces on their way at once.
    pub depth: usize,
    /// Bytes that one piece may have.
    pub piece: u64,
    /// The rates that were measured.
    pub tried: Vec<DepthRate>,
}

/// What is decided about one file before its first byte is copied.
#[derive(Debug, Clone)]
pub struct PlanSummary {
    /// Size of the source in bytes; `None` for a stream.
    pub size: Option<u64>,
    /// Bytes of the source that are allocated.
    pub data: u64,
    /// The engine that is tried first; `None` for an empty file.
    pub engine: Option<&'static str>,
    /// `genuine`, `unproven` (the first write shows), or `no`.
    pub direct: &'static str,
    /// Alignment of memory for direct writes, in bytes.
    pub mem_align: u64,
    /// Alignment of offsets and lengths for direct writes, in bytes.
    pub offset_align: u64,
    /// The engines that cannot copy this file.
    pub refused: Vec<Refusal>,
    /// Why space is not reserved before the data is written; `None` if it is.
    pub unreserved: Option<String>,
    /// Whether another process can write to the source now.
    pub writers: Writers,
}

/// What the complete copy of one file did and cost.
#[derive(Debug, Clone)]
pub struct CopySummary {
    /// Size of the destination in bytes.
    pub bytes: u64,
    /// Bytes that were moved or written.
    pub data_bytes: u64,
    /// The engine that moved most bytes; `None` for an empty file.
    pub engine: Option<&'static str>,
    /// Bytes that each engine moved.
    pub engines: BTreeMap<&'static str, u64>,
    /// Number of extents found in the source.
    pub extents: u64,
    /// Wall time of the copy in seconds.
    pub elapsed: f64,
    /// `bytes` divided by `elapsed`, in bytes per second.
    pub rate: f64,
    /// CPU time in user mode that this file took, in seconds.
    pub cpu_user: f64,
    /// CPU time in the kernel that this file took, in seconds.
    pub cpu_system: f64,
    /// Most bytes of the file that were on their way at once.
    pub in_flight: u64,
    /// Peak resident set size of the process so far, in bytes.
    pub max_rss: u64,
    /// Whether another process could write to the source, as asked before and after the copy.
    pub writers: Writers,
    /// The digest of the source, if one was wanted.
    pub digest: Option<Digest>,
    /// How the destination was read back and compared, if that was wanted.
    pub read_back: Option<ReadBack>,
}

impl CopySummary {
    /// Sets the wall time that the file took in all, and the rate that follows from it.
    pub(super) fn set_elapsed(&mut self, elapsed: Duration) {
        self.elapsed = elapsed.as_secs_f64();
        self.rate = self.bytes as f64 / self.elapsed.max(1e-9);
    }

    /// Adds the CPU time of a thread that worked beside the copy.
    pub(super) fn add_usage(&mut self, usage: ThreadUsage) {
        self.cpu_user += usage.user;
        self.cpu_system += usage.system;
    }
}

/// An event in the transfer of one file that a listener may report.
#[derive(Debug, Clone)]
pub enum Event {
    /// The plan, before the first byte is copied.
    Plan(PlanSummary),
    /// An engine failed, and another one continues.
    Fallback {
        /// The name of the engine that failed.
        from: &'static str,
        /// The name of the engine that continues.
        to: &'static str,
        /// The error of the first engine, in words.
        why: String,
        /// Offset in the file at which the second engine starts, in bytes.
        at: u64,
    },
    /// The faster of two engines was found by measurement.
    Choice {
        /// The name of the engine that continues.
        engine: &'static str,
        /// What decided between the two, in words.
        why: &'static str,
        /// What each engine cost in its trial.
        tried: Vec<Trial>,
    },
    /// The number of pieces on their way at once was found by measurement.
    Depth(DepthSummary),
    /// Others began to wait for the device of the destination, or do so no more.
    Sharing {
        /// Whether others wait for it now.
        is_shared: bool,
        /// Bytes of the file that may be on their way at once from now on.
        bytes: u64,
    },
    /// A degradation that does not change the engine.
    Note {
        /// The degradation and its reason, in words.
        text: String,
    },
    /// The whole file is copied.
    Done(CopySummary),
}

/// What is being done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Its bytes are being copied.
    #[default]
    Copy,
    /// Its copy is complete, and is read back and compared.
    Verify {
        /// Time between the start of the file and that of the comparison.
        begun: Duration,
    },
}

/// How far the copy of one file is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Bytes from the start of the file, holes included, that the device has taken, or that are compared.
    pub copied: u64,
    /// Size of the file in bytes; `None` for a stream.
    pub size: Option<u64>,
    /// The name of the engine in use.
    pub engine: &'static str,
    /// Time since the copy of the file was started.
    pub elapsed: Duration,
    /// What is being done with the file.
    pub phase: Phase,
}

impl Progress {
    /// Returns the time since the phase was begun.
    #[must_use]
    pub fn phase_elapsed(&self) -> Duration {
        match self.phase {
            Phase::Copy => self.elapsed,
            Phase::Verify { begun } => self.elapsed.saturating_sub(begun),
        }
    }
}

/// Receives the events and the progress of a transfer, and may stop it.
pub trait CopyListener {
    /// Returns whether events are wanted. If not, the transfer does not collect what they need.
    fn listens(&self) -> bool {
        true
    }
    /// Receives an event of the transfer.
    fn event(&mut self, event: &Event);
    /// Receives the progress, after each chunk.
    fn progress(&mut self, progress: &Progress);
    /// Receives the offset up to which the destination is on the disk, where that was asked for.
    ///
    /// # Errors
    /// An error ends the transfer.
    fn durable(&mut self, at: u64) -> io::Result<()> {
        let _ = at;
        Ok(())
    }
    /// Receives how many bytes of memory of the source were given back, where that was asked for.
    fn freed(&mut self, bytes: u64) {
        let _ = bytes;
    }
    /// Returns whether the transfer shall stop. It is asked before each chunk.
    fn interrupted(&self) -> bool;
    /// Returns why the transfer shall end with what it has by now, if it shall. It is asked before each chunk.
    fn stop_reason(&self) -> Option<StopReason> {
        None
    }
}

/// Ignores all events and never stops the transfer.
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
