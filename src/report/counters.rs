//! Counts what all threads of the run have done so far, and the total amount of work, once that is known.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::transfer::rate_limit::RemainingWork;

/// The result of one source. A file is anything but a directory; bytes are its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceOutcome {
    /// The file was copied, linked or newly made. Its bytes were counted by progress reports while they were copied.
    Copied,
    /// The file, of so many bytes, was skipped without an error.
    Skipped(u64),
    /// The file, of so many bytes, was not copied, and the error was reported.
    Failed(u64),
    /// A new directory was made.
    DirectoryCreated,
}

/// Counters of the whole run, which all threads update.
#[derive(Debug)]
pub(super) struct Counters {
    started: Instant,
    /// Nanoseconds between the start of the run and that of its copy, which may wait for its turn first.
    waited_ns: AtomicU64,
    multiple_files: AtomicBool,
    copied_files: AtomicU64,
    skipped_files: AtomicU64,
    failed_files: AtomicU64,
    directories: AtomicU64,
    errors: AtomicU64,
    /// Failed files whose beginning was kept.
    cut_files: AtomicU64,
    /// Bytes of complete files, and of unfinished files so far.
    copied_bytes: AtomicU64,
    /// Bytes of files that were skipped or failed.
    uncopied_bytes: AtomicU64,
    /// Bytes of memory of sources that were given back.
    freed_bytes: AtomicU64,
    /// Whether somebody is told of the progress who does not see it.
    is_watched: AtomicBool,
    /// Changes whenever bytes are moved or compared, or a source is finished.
    activity: AtomicU64,
    total: OnceLock<TotalWork>,
    /// Bytes that the count of the total has found so far: sizes, and what is charged for them.
    found_bytes: AtomicU64,
    found_data: AtomicU64,
    /// Bytes that each engine moved in complete files.
    engine_bytes: Mutex<BTreeMap<&'static str, u64>>,
}

/// The amount of work of the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TotalWork {
    /// Number of files, not counting directories.
    pub files: u64,
    /// Sum of the sizes of these files.
    pub bytes: u64,
    /// The bytes that a rate limiter charges for them: what is allocated, which excludes holes, and a block at least.
    pub data: u64,
}

/// How far the whole run is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunProgress {
    /// Files that are copied, skipped or failed.
    pub(super) files: u64,
    /// Bytes of these files, and of unfinished files so far.
    pub(super) bytes: u64,
    /// Bytes that were copied, skipped and failed files not counted.
    pub(super) copied_bytes: u64,
    /// Bytes of memory of sources that were given back.
    pub(super) freed_bytes: u64,
    /// The mean rate of these bytes, in bytes per second.
    pub(super) rate: f64,
    /// Time since the run was started, without the wait for its turn.
    pub(super) elapsed: Duration,
    /// The amount of work; `None` until it is known.
    pub(super) total: Option<TotalWork>,
}

/// Sums of the whole run at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunSummary {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) freed_bytes: u64,
    pub(super) directories: u64,
    pub(super) skipped: u64,
    pub(super) errors: u64,
    pub(super) cut: u64,
    pub(super) elapsed: Duration,
    /// The engine that moved most bytes; `None` if that was not recorded or there are none.
    pub(super) engine: Option<&'static str>,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            waited_ns: AtomicU64::default(),
            multiple_files: AtomicBool::default(),
            copied_files: AtomicU64::default(),
            skipped_files: AtomicU64::default(),
            failed_files: AtomicU64::default(),
            directories: AtomicU64::default(),
            errors: AtomicU64::default(),
            cut_files: AtomicU64::default(),
            copied_bytes: AtomicU64::default(),
            uncopied_bytes: AtomicU64::default(),
            freed_bytes: AtomicU64::default(),
            is_watched: AtomicBool::default(),
            activity: AtomicU64::default(),
            total: OnceLock::new(),
            found_bytes: AtomicU64::default(),
            found_data: AtomicU64::default(),
            engine_bytes: Mutex::default(),
        }
    }

    /// Returns the time since the run was started, without the wait for its turn.
    pub(super) fn elapsed(&self) -> Duration {
        let waited = Duration::from_nanos(self.waited_ns.load(Relaxed));
        self.started.elapsed().saturating_sub(waited)
    }

    /// Makes the time begin here.
    pub(super) fn begin_here(&self) {
        let waited = self.started.elapsed().as_nanos();
        let waited = u64::try_from(waited).unwrap_or(u64::MAX);
        self.waited_ns.store(waited, Relaxed);
    }

    /// Records that the run has more than one source file.
    pub(super) fn set_multiple_files(&self) {
        self.multiple_files.store(true, Relaxed);
    }

    /// Returns whether the run has more than one source file.
    pub(super) fn has_multiple_files(&self) -> bool {
        self.multiple_files.load(Relaxed)
    }

    /// Records that somebody is told of the progress who does not see it.
    pub(super) fn set_watched(&self) {
        self.is_watched.store(true, Relaxed);
    }

    /// Returns whether somebody is told of the progress who does not see it.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Relaxed)
    }

    /// Records that bytes were moved or compared, or that a source is finished.
    pub(super) fn note_activity(&self) {
        self.activity.fetch_add(1, Relaxed);
    }

    /// Returns a number that changes with each such record.
    pub(super) fn activity(&self) -> u64 {
        self.activity.load(Relaxed)
    }

    /// Records the amount of work of the run.
    pub(super) fn set_total(&self, total: TotalWork) {
        self.set_found(total);
        let _ = self.total.set(total);
    }

    /// Records the part of the work that is known while it is still counted.
    pub(super) fn set_found(&self, found: TotalWork) {
        self.found_bytes.store(found.bytes, Relaxed);
        self.found_data.store(found.data, Relaxed);
    }

    /// Returns the bytes that were copied so far.
    pub(super) fn copied_bytes(&self) -> u64 {
        self.copied_bytes.load(Relaxed)
    }

    /// Returns what is known to remain. Sizes include holes, and `moved`, the bytes of data that were moved so far, does
    /// not include what was skipped: the less of the two is nearer to the truth.
    pub(super) fn remaining_work(&self, moved: Option<u64>) -> RemainingWork {
        let done = self.copied_bytes() + self.uncopied_bytes.load(Relaxed);
        let by_size = self.found_bytes.load(Relaxed).saturating_sub(done);
        let data = self.found_data.load(Relaxed);
        // More data than is allocated was moved where a file system does not tell what is.
        let by_data = moved.and_then(|moved| data.checked_sub(moved));
        RemainingWork {
            bytes: by_data.map_or(by_size, |bytes| bytes.min(by_size)),
            may_be_more: self.total.get().is_none(),
        }
    }

    pub(super) fn add_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(super) fn add_cut(&self) {
        self.cut_files.fetch_add(1, Relaxed);
    }

    /// Returns the number of files whose beginning was kept in place of the whole.
    pub(super) fn cut_files(&self) -> u64 {
        self.cut_files.load(Relaxed)
    }

    pub(super) fn count_source(&self, fate: SourceOutcome) {
        let (count, bytes) = match fate {
            SourceOutcome::Copied => (&self.copied_files, 0),
            SourceOutcome::Skipped(bytes) => (&self.skipped_files, bytes),
            SourceOutcome::Failed(bytes) => (&self.failed_files, bytes),
            SourceOutcome::DirectoryCreated => (&self.directories, 0),
        };
        self.uncopied_bytes.fetch_add(bytes, Relaxed);
        count.fetch_add(1, Relaxed);
        self.note_activity();
    }

    /// Replaces `before` bytes of one file in the sum by `now` bytes, which are fewer if the file failed.
    pub(super) fn adjust_copied_bytes(&self, before: u64, now: u64) {
        // The difference is modulo 2^64, like the counter.
        self.copied_bytes
            .fetch_add(now.wrapping_sub(before), Relaxed);
    }

    /// Adds bytes of memory of a source that were given back.
    pub(super) fn add_freed_bytes(&self, bytes: u64) {
        self.freed_bytes.fetch_add(bytes, Relaxed);
        self.note_activity();
    }

    /// Adds the bytes of one complete file, by the engines that moved them.
    pub(super) fn add_engine_bytes(&self, moved: &[(&'static str, u64)]) {
        let mut all = self
            .engine_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (engine, bytes) in moved {
            *all.entry(engine).or_default() += bytes;
        }
    }

    /// Returns the engine that moved most bytes, if any moved one.
    fn main_engine(&self) -> Option<&'static str> {
        let all = self
            .engine_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let most = all.iter().max_by_key(|(_, bytes)| **bytes);
        most.map(|(engine, _)| *engine)
    }

    pub(super) fn run_progress(&self) -> RunProgress {
        let moved = self.copied_bytes.load(Relaxed);
        let count = |count: &AtomicU64| count.load(Relaxed);
        let files =
            count(&self.copied_files) + count(&self.skipped_files) + count(&self.failed_files);
        let bytes = moved + count(&self.uncopied_bytes);
        // Files that grow or have no known size can exceed the total that was counted.
        let total = self.total.get().map(|total| TotalWork {
            files: total.files.max(files),
            bytes: total.bytes.max(bytes),
            ..*total
        });
        let elapsed = self.elapsed();
        RunProgress {
            files,
            bytes,
            copied_bytes: moved,
            freed_bytes: count(&self.freed_bytes),
            rate: bytes_per_second(moved, elapsed),
            elapsed,
            total,
        }
    }

    pub(super) fn summary(&self) -> RunSummary {
        RunSummary {
            files: self.copied_files.load(Relaxed),
            bytes: self.copied_bytes.load(Relaxed),
            freed_bytes: self.freed_bytes.load(Relaxed),
            directories: self.directories.load(Relaxed),
            skipped: self.skipped_files.load(Relaxed),
            errors: self.errors.load(Relaxed),
            cut: self.cut_files(),
            elapsed: self.elapsed(),
            engine: self.main_engine(),
        }
    }
}

/// Returns a rate in bytes per second.
pub(super) fn bytes_per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9)
}
