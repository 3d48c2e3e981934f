//! A directory on a disk that is held to a rate: below the disk's I/O scheduler (`--disk-limit`), or above it
//! (`--disk-limit-above`).
//!
//! A slow disk lets its scheduler, its queue limit and writeback throttling see that it is busy. So does `--disk-limit`: the
//! directory is a file system of its own on a [`LoopStack`]. With `--disk-limit-above` it is the directory that was
//! named, and the block controller holds requests before any of these see them.

use std::path::{Path, PathBuf};

use super::disk_limit::{DiskLimit, check_rate};
use super::loop_stack::{self, LoopStack};
use super::undo_journal::UndoJournal;
use crate::forklat::cli::disk_limit_args::DiskLimitArgs;
use crate::forklat::error::ForklatError;
use crate::report::units::format_rate;

/// A directory on a limited disk. Dropping it disables the limit, so that nothing waits for the disk any more; the rest
/// is undone by the undo journal.
#[derive(Debug)]
pub struct LimitedDir {
    dir: PathBuf,
    limit: DiskLimit,
    notes: Vec<String>,
}

impl LimitedDir {
    /// Prepares the limit that the options ask for, for files in `on`. The limit is not enabled yet. Returns `None` if
    /// the options ask for none.
    ///
    /// # Errors
    /// A rate that is too low, or what is missing here. What was made is in the journal.
    pub fn set_up(
        words: &DiskLimitArgs,
        on: &Path,
        journal: &mut UndoJournal,
    ) -> Result<Option<Self>, ForklatError> {
        match (words.disk_limit, words.disk_limit_above) {
            (Some(rate), _) => Self::below(on, rate, words.disk_limit_size, journal).map(Some),
            (None, Some(rate)) => Self::above(on, rate, journal).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn below(
        on: &Path,
        rate: u64,
        size: Option<u64>,
        journal: &mut UndoJournal,
    ) -> Result<Self, ForklatError> {
        check_rate(rate)?;
        let stack = LoopStack::make(on, size, journal)?;
        let root = Path::new("/");
        let limit = DiskLimit::of(root, stack.lower.clone(), rate, journal)?;
        limit.hold_kernel_thread(root, &format!("jbd2/{}-8", stack.upper))?;
        let (scheduler, requests) = stack.queue()?;
        let note = format!(
            "disk limit: {} on {} takes reads and writes at {} each; requests are held below its scheduler ({scheduler}, nr_requests {requests}), as by a slow disk (--disk-limit)",
            loop_stack::FILE_SYSTEM,
            stack.upper,
            format_rate(rate as f64),
        );
        Ok(Self {
            dir: stack.dir,
            notes: std::iter::once(note).chain(limit.note()).collect(),
            limit,
        })
    }

    fn above(on: &Path, rate: u64, journal: &mut UndoJournal) -> Result<Self, ForklatError> {
        let limit = DiskLimit::new(Path::new("/"), on, rate, journal)?;
        let note = format!(
            "disk limit: {} takes reads and writes at {} each; requests are held above its scheduler, in a queue without a bound that no disk has (--disk-limit-above)",
            limit.device(),
            format_rate(rate as f64),
        );
        Ok(Self {
            dir: on.to_owned(),
            notes: std::iter::once(note).chain(limit.note()).collect(),
            limit,
        })
    }

    /// Returns the directory whose files are on the limited disk.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns notes, for the reader of the figures, on where requests are held and what the limit does not hold.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Enables the limit, and checks that the kernel has accepted it.
    ///
    /// # Errors
    /// A file that cannot be written. The limit is disabled then.
    pub fn enable(&self) -> Result<(), ForklatError> {
        self.limit.enable()
    }

    /// Disables the limit.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub fn disable(&self) -> Result<(), ForklatError> {
        self.limit.disable()
    }
}

impl Drop for LimitedDir {
    fn drop(&mut self) {
        // The error is ignored: the undo journal disables the limit as well, and says why it could not.
        let _ = self.disable();
    }
}
