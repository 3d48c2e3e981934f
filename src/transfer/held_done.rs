//! A listener that keeps the event of a complete copy until everything that follows the data has succeeded.

use std::io;
use std::time::Instant;

use super::event::{CopyListener, CopySummary, Event, Progress};
use super::stop_reason::StopReason;

/// Passes on everything but [`Event::Done`], which it keeps.
pub(super) struct HeldDone<'a> {
    inner: &'a mut dyn CopyListener,
    started: Instant,
    held: Option<CopySummary>,
}

impl<'a> HeldDone<'a> {
    /// Makes the listener that stands before `inner`.
    pub(super) fn new(inner: &'a mut dyn CopyListener) -> Self {
        Self {
            inner,
            started: Instant::now(),
            held: None,
        }
    }

    /// Returns when the file was begun.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Passes the kept event on, after `complete` has added to it what was found out since.
    pub(super) fn release(&mut self, complete: impl FnOnce(&mut CopySummary)) {
        if let Some(mut summary) = self.held.take() {
            summary.set_elapsed(self.started.elapsed());
            complete(&mut summary);
            self.inner.event(&Event::Done(summary));
        }
    }
}

impl CopyListener for HeldDone<'_> {
    fn listens(&self) -> bool {
        self.inner.listens()
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Done(summary) => self.held = Some(summary.clone()),
            other => self.inner.event(other),
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.inner.progress(progress);
    }

    fn durable(&mut self, at: u64) -> io::Result<()> {
        self.inner.durable(at)
    }

    fn freed(&mut self, bytes: u64) {
        self.inner.freed(bytes);
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }

    fn stop_reason(&self) -> Option<StopReason> {
        self.inner.stop_reason()
    }
}
