//! A listener that brings a destination to the disk from time to time while it is copied, and says how far it is then.

use std::fs::File;
use std::io;

use nix::unistd::fdatasync;

use super::errno_class::retry;
use super::error::Error;
use super::event::{CopyListener, Event, Phase, Progress};

/// Bytes between two durable points, which is what an interrupted copy moves again at most. Each point costs an
/// fdatasync(2) and a small file that replaces another: 1 to 20 ms on disks that take 30 ms and more for these bytes.
pub const DURABLE_STEP: u64 = 64 << 20;

/// Passes everything on, and makes a durable point after each step.
pub(super) struct DurablePoints<'a> {
    inner: &'a mut dyn CopyListener,
    dest: &'a File,
    /// Offset from which on the next point is due.
    next: u64,
    error: Option<io::Error>,
}

impl<'a> DurablePoints<'a> {
    /// Makes the listener of a copy that begins at an offset up to which `dest` is durable.
    pub(super) fn new(inner: &'a mut dyn CopyListener, dest: &'a File, begin: u64) -> Self {
        Self {
            inner,
            dest,
            next: begin + DURABLE_STEP,
            error: None,
        }
    }

    /// Returns the error that stopped the copy, in place of the interruption that it is to the engines.
    pub(super) fn own_error(&mut self, error: Error) -> Error {
        match (error, self.error.take()) {
            (Error::Interrupted, Some(e)) => Error::DurablePoint(e),
            (error, _) => error,
        }
    }

    fn make_point(&mut self, at: u64) -> io::Result<()> {
        retry(|| fdatasync(self.dest))?;
        self.inner.durable(at)
    }
}

impl CopyListener for DurablePoints<'_> {
    fn listens(&self) -> bool {
        self.inner.listens()
    }

    fn event(&mut self, event: &Event) {
        self.inner.event(event);
    }

    fn progress(&mut self, progress: &Progress) {
        self.inner.progress(progress);
        if progress.phase == Phase::Copy && progress.copied >= self.next && self.error.is_none() {
            self.next = progress.copied + DURABLE_STEP;
            self.error = self.make_point(progress.copied).err();
        }
    }

    fn durable(&mut self, at: u64) -> io::Result<()> {
        self.inner.durable(at)
    }

    fn interrupted(&self) -> bool {
        self.error.is_some() || self.inner.interrupted()
    }
}
