//! A listener that brings a destination to the disk from time to time while it is copied, and says how far it is then.

use std::io;

use nix::unistd::{fdatasync, ftruncate};

use super::copy_job::CopyJob;
use super::drain::free_step;
use super::errno_class::retry;
use super::error::Error;
use super::event::{CopyListener, Event, Phase, Progress};
use super::plan::TransferOptions;
use super::stop_reason::StopReason;
use super::verify::verify_range;

/// Bytes between two durable points, which is what an interrupted copy moves again at most, and what a drained source
/// holds more than it must. Each point costs an fdatasync(2) and a small file that replaces another: 1 to 20 ms on disks
/// that take 30 ms and more for these bytes.
pub const DURABLE_STEP: u64 = 64 << 20;

/// A copy goes on at a multiple of this: a whole number of units of every file system.
pub const RESUME_UNIT: u64 = 1 << 20;

/// Passes everything on, and makes a durable point after each step.
pub(super) struct DurablePoints<'a> {
    inner: &'a mut dyn CopyListener,
    job: &'a CopyJob<'a>,
    /// Whether each step is compared before its source is freed.
    is_verified: bool,
    /// Offset from which on the next point is due.
    next: u64,
    error: Option<Error>,
}

impl<'a> DurablePoints<'a> {
    /// Makes the listener of a copy whose destination is durable up to the offset at which it begins.
    pub(super) fn new(
        inner: &'a mut dyn CopyListener,
        job: &'a CopyJob<'a>,
        options: TransferOptions,
    ) -> Self {
        Self {
            inner,
            job,
            is_verified: options.verify,
            next: options.resume_at + step(job),
            error: None,
        }
    }

    /// Returns the error that stopped the copy, in place of the interruption that it is to the engines.
    pub(super) fn own_error(&mut self, error: Error) -> Error {
        match (error, self.error.take()) {
            (Error::Interrupted, Some(own)) => own,
            (error, _) => error,
        }
    }

    /// Makes the destination durable up to an offset, has that recorded, and frees the source up to there if it is
    /// drained. The order is the promise of `--drain`.
    fn make_point(&mut self, progress: &Progress) -> Result<(), Error> {
        let at = progress.copied - progress.copied % RESUME_UNIT;
        self.free_too_early_in_lab(at)?;
        self.extend(at)?;
        retry(|| fdatasync(self.job.dest)).map_err(Error::DurablePoint)?;
        let Some(drain) = self.job.drain else {
            return self.inner.durable(at).map_err(Error::DurablePoint);
        };
        if self.is_verified {
            let mut still = StillListener {
                inner: self.inner,
                progress: *progress,
            };
            let how = verify_range(self.job, drain.verified()..at, &mut still)?;
            drain.note_verified(at, how);
        }
        drain.note_durable(self.job.dest, at);
        self.inner.durable(at).map_err(Error::DurablePoint)?;
        drain.free_behind(at, self.inner)
    }

    /// Frees the source before anything is durable, if the build of the kernel laboratory is told to. The error is
    /// deliberate: the laboratory's power cuts must find it.
    fn free_too_early_in_lab(&mut self, at: u64) -> Result<(), Error> {
        let is_told = || std::env::var_os("MMAPCP_LAB_BREAK").is_some_and(|what| what == "drain");
        if let Some(drain) = self.job.drain.filter(|_| cfg!(mmapcp_lab) && is_told()) {
            drain.free_behind(at, self.inner)?;
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        Ok(())
    }

    /// Gives the destination at least the size `at`, which a hole that was left out has not. No piece beyond is on its way
    /// where the file is shorter: its size is set before. What was durable must be there still.
    fn extend(&self, at: u64) -> Result<(), Error> {
        let dest = self.job.dest;
        let now = dest.metadata().map_err(Error::DurablePoint)?.len();
        if let Some(drain) = self.job.drain {
            drain.check_dest(dest)?;
        }
        match now < at {
            true => retry(|| ftruncate(dest, at.cast_signed())).map_err(Error::DurablePoint),
            false => Ok(()),
        }
    }
}

/// Returns the bytes between two durable points. Small sources have several in the build of the kernel laboratory, if it is
/// told to.
fn step(job: &CopyJob<'_>) -> u64 {
    if cfg!(mmapcp_lab) && std::env::var_os("MMAPCP_LAB_SMALL_STEPS").is_some() {
        return RESUME_UNIT;
    }
    match job.drain {
        Some(_) => free_step(DURABLE_STEP),
        None => DURABLE_STEP,
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
            self.next = progress.copied + step(self.job);
            self.error = self.make_point(progress).err();
        }
    }

    fn durable(&mut self, at: u64) -> io::Result<()> {
        self.inner.durable(at)
    }

    fn freed(&mut self, bytes: u64) {
        self.inner.freed(bytes);
    }

    fn interrupted(&self) -> bool {
        self.error.is_some() || self.inner.interrupted()
    }

    fn stop_reason(&self) -> Option<StopReason> {
        self.inner.stop_reason()
    }
}

/// The listener of a comparison in the middle of a copy, which leaves the progress of the copy where it is.
struct StillListener<'a> {
    inner: &'a mut dyn CopyListener,
    progress: Progress,
}

impl CopyListener for StillListener<'_> {
    fn listens(&self) -> bool {
        self.inner.listens()
    }

    fn event(&mut self, event: &Event) {
        self.inner.event(event);
    }

    fn progress(&mut self, progress: &Progress) {
        self.progress.elapsed = self.progress.elapsed.max(progress.elapsed);
        self.inner.progress(&self.progress);
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }

    fn stop_reason(&self) -> Option<StopReason> {
        self.inner.stop_reason()
    }
}
