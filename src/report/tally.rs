//! What the run has done so far, by all its threads, and what there is to do, once that is known.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What became of one source. A file is anything but a directory; bytes are its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Copied, linked or made anew. Its bytes were told of while they moved.
    Copied,
    /// Left as it is, which is no error.
    Skipped(u64),
    /// Not copied, which was said.
    Failed(u64),
    /// A directory was made.
    Directory,
}

/// Counts of a run.
#[derive(Debug)]
pub(super) struct Tally {
    started: Instant,
    several: AtomicBool,
    copied: AtomicU64,
    skipped: AtomicU64,
    failed: AtomicU64,
    directories: AtomicU64,
    errors: AtomicU64,
    /// Bytes of files that are copied, and of those at work as far as they are.
    moved: AtomicU64,
    /// Bytes of files that are not to be copied any more.
    passed: AtomicU64,
    total: OnceLock<Total>,
}

/// All that there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// All but directories.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
}

/// How far the run is.
#[derive(Debug, Clone, Copy)]
pub(super) struct SoFar {
    /// Files that are copied, skipped or failed.
    pub(super) files: u64,
    /// Their bytes, and those of the files at work.
    pub(super) bytes: u64,
    /// Of these, bytes that were copied, a second.
    pub(super) rate: f64,
    /// What there is to do.
    pub(super) total: Option<Total>,
}

/// The end of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) directories: u64,
    pub(super) skipped: u64,
    pub(super) errors: u64,
    pub(super) elapsed: Duration,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            several: AtomicBool::default(),
            copied: AtomicU64::default(),
            skipped: AtomicU64::default(),
            failed: AtomicU64::default(),
            directories: AtomicU64::default(),
            errors: AtomicU64::default(),
            moved: AtomicU64::default(),
            passed: AtomicU64::default(),
            total: OnceLock::new(),
        }
    }

    /// Time since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The run is of more than one file.
    pub(super) fn set_several(&self) {
        self.several.store(true, Relaxed);
    }

    /// Whether it is.
    pub(super) fn is_several(&self) -> bool {
        self.several.load(Relaxed)
    }

    /// This is all.
    pub(super) fn set_total(&self, total: Total) {
        let _ = self.total.set(total);
    }

    pub(super) fn add_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(super) fn add(&self, fate: Fate) {
        let (count, bytes) = match fate {
            Fate::Copied => (&self.copied, 0),
            Fate::Skipped(bytes) => (&self.skipped, bytes),
            Fate::Failed(bytes) => (&self.failed, bytes),
            Fate::Directory => (&self.directories, 0),
        };
        self.passed.fetch_add(bytes, Relaxed);
        count.fetch_add(1, Relaxed);
    }

    /// One file was `before` bytes far and is `now`: less where it failed.
    pub(super) fn move_on(&self, before: u64, now: u64) {
        // Modulo 2^64, as the counter is.
        self.moved.fetch_add(now.wrapping_sub(before), Relaxed);
    }

    pub(super) fn so_far(&self) -> SoFar {
        let moved = self.moved.load(Relaxed);
        let count = |count: &AtomicU64| count.load(Relaxed);
        let files = count(&self.copied) + count(&self.skipped) + count(&self.failed);
        let bytes = moved + count(&self.passed);
        // Files that grow or have no size beforehand make more than was counted.
        let total = self.total.get().map(|total| Total {
            files: total.files.max(files),
            bytes: total.bytes.max(bytes),
        });
        SoFar {
            files,
            bytes,
            rate: per_second(moved, self.elapsed()),
            total,
        }
    }

    pub(super) fn sum(&self) -> Sum {
        Sum {
            files: self.copied.load(Relaxed),
            bytes: self.moved.load(Relaxed),
            directories: self.directories.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            errors: self.errors.load(Relaxed),
            elapsed: self.elapsed(),
        }
    }
}

/// Bytes a second.
pub(super) fn per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9)
}
