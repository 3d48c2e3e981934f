//! What the run has done so far, by all its threads, and what there is to do, once that is known.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What became of one source. A file is anything but a directory; bytes are its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceOutcome {
    /// Copied, linked or made anew. Its bytes were told of while they moved.
    Copied,
    /// Left as it is, which is no error.
    Skipped(u64),
    /// Not copied, which was said.
    Failed(u64),
    /// A directory was made.
    DirectoryCreated,
}

/// Counts of a run.
#[derive(Debug)]
pub(super) struct Counters {
    started: Instant,
    multiple_files: AtomicBool,
    copied_files: AtomicU64,
    skipped_files: AtomicU64,
    failed_files: AtomicU64,
    directories: AtomicU64,
    errors: AtomicU64,
    /// Bytes of files that are copied, and of those at work as far as they are.
    copied_bytes: AtomicU64,
    /// Bytes of files that are not to be copied any more.
    uncopied_bytes: AtomicU64,
    total: OnceLock<TotalWork>,
}

/// All that there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TotalWork {
    /// All but directories.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
}

/// How far the run is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunProgress {
    /// Files that are copied, skipped or failed.
    pub(super) files: u64,
    /// Their bytes, and those of the files at work.
    pub(super) bytes: u64,
    /// Of these, bytes that were copied, a second.
    pub(super) rate: f64,
    /// What there is to do.
    pub(super) total: Option<TotalWork>,
}

/// The end of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunSummary {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) directories: u64,
    pub(super) skipped: u64,
    pub(super) errors: u64,
    pub(super) elapsed: Duration,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            multiple_files: AtomicBool::default(),
            copied_files: AtomicU64::default(),
            skipped_files: AtomicU64::default(),
            failed_files: AtomicU64::default(),
            directories: AtomicU64::default(),
            errors: AtomicU64::default(),
            copied_bytes: AtomicU64::default(),
            uncopied_bytes: AtomicU64::default(),
            total: OnceLock::new(),
        }
    }

    /// Time since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The run is of more than one file.
    pub(super) fn set_multiple_files(&self) {
        self.multiple_files.store(true, Relaxed);
    }

    /// Whether it is.
    pub(super) fn has_multiple_files(&self) -> bool {
        self.multiple_files.load(Relaxed)
    }

    /// This is all.
    pub(super) fn set_total(&self, total: TotalWork) {
        let _ = self.total.set(total);
    }

    pub(super) fn add_error(&self) {
        self.errors.fetch_add(1, Relaxed);
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
    }

    /// One file was `before` bytes far and is `now`: less where it failed.
    pub(super) fn adjust_copied_bytes(&self, before: u64, now: u64) {
        // Modulo 2^64, as the counter is.
        self.copied_bytes
            .fetch_add(now.wrapping_sub(before), Relaxed);
    }

    pub(super) fn run_progress(&self) -> RunProgress {
        let moved = self.copied_bytes.load(Relaxed);
        let count = |count: &AtomicU64| count.load(Relaxed);
        let files =
            count(&self.copied_files) + count(&self.skipped_files) + count(&self.failed_files);
        let bytes = moved + count(&self.uncopied_bytes);
        // Files that grow or have no size beforehand make more than was counted.
        let total = self.total.get().map(|total| TotalWork {
            files: total.files.max(files),
            bytes: total.bytes.max(bytes),
        });
        RunProgress {
            files,
            bytes,
            rate: bytes_per_second(moved, self.elapsed()),
            total,
        }
    }

    pub(super) fn summary(&self) -> RunSummary {
        RunSummary {
            files: self.copied_files.load(Relaxed),
            bytes: self.copied_bytes.load(Relaxed),
            directories: self.directories.load(Relaxed),
            skipped: self.skipped_files.load(Relaxed),
            errors: self.errors.load(Relaxed),
            elapsed: self.elapsed(),
        }
    }
}

/// Bytes a second.
pub(super) fn bytes_per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9)
}
