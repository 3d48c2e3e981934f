//! The listener of one file's copy: it counts the bytes, and prints events and progress.

use std::io;
use std::path::Path;

use super::line_order::Stream;
use super::ordered_output::OrderedOutput;
use super::{debug, wire};
use crate::transfer::{CopyListener, Event, Phase, Progress, StopReason};

/// Receives the events of one file's copy and prints them.
#[derive(Debug)]
pub struct FileReporter<'a> {
    output: &'a mut OrderedOutput,
    source: &'a Path,
    dest: &'a Path,
    last_progress: Progress,
    /// Bytes of this file that the counters of the run include.
    counted_bytes: u64,
    is_complete: bool,
    /// Bytes that each engine moved, if the last line of the run names the engine.
    engine_bytes: Vec<(&'static str, u64)>,
}

impl<'a> FileReporter<'a> {
    /// Makes the listener for the copy of `source` to `dest`. It prints in the position of `voice`.
    #[must_use]
    pub fn new(voice: &'a mut OrderedOutput, source: &'a Path, dest: &'a Path) -> Self {
        Self {
            output: voice,
            source,
            dest,
            last_progress: Progress::default(),
            counted_bytes: 0,
            is_complete: false,
            engine_bytes: Vec::new(),
        }
    }

    /// Marks the file, of `size` bytes, as complete, so that its bytes stay counted. Small files report no progress, and
    /// the last report of others may be of less than all. The size of a stream is 0.
    pub fn finish(mut self, size: u64) {
        self.count(size.max(self.counted_bytes));
        self.is_complete = true;
    }

    /// Attributes the bytes since the last report to the engine in use.
    fn count_engine(&mut self, progress: &Progress) {
        let bytes = progress.copied.saturating_sub(self.last_progress.copied);
        if bytes == 0 || progress.engine.is_empty() {
            return;
        }
        match self
            .engine_bytes
            .iter_mut()
            .find(|(name, _)| *name == progress.engine)
        {
            Some((_, all)) => *all += bytes,
            None => self.engine_bytes.push((progress.engine, bytes)),
        }
    }

    fn count(&mut self, bytes: u64) {
        self.output
            .shared
            .counters
            .adjust_copied_bytes(self.counted_bytes, bytes);
        self.counted_bytes = bytes;
    }
}

impl Drop for FileReporter<'_> {
    fn drop(&mut self) {
        if !self.is_complete {
            self.count(0);
        }
        self.output.uncommitted_bytes = self.counted_bytes;
        let shared = &self.output.shared;
        if self.is_complete && !self.engine_bytes.is_empty() {
            shared.counters.add_engine_bytes(&self.engine_bytes);
        }
        shared.display.finish_file(&self.last_progress, self.source);
    }
}

impl CopyListener for FileReporter<'_> {
    fn listens(&self) -> bool {
        self.output.shared.report.json || self.output.shared.report.debug
    }

    fn event(&mut self, event: &Event) {
        if let Event::Done(summary) = event {
            self.count(summary.bytes);
        }
        if self.output.shared.report.json
            && let Some(event) = wire::Event::of_file(event, self.source, self.dest)
        {
            let line = event.into_line();
            self.output.print_line(Stream::Stdout, &line);
        }
        if self.output.shared.report.debug {
            for line in debug::event_lines(event, self.source) {
                self.output.print_info(&line);
            }
        }
    }

    fn progress(&mut self, progress: &Progress) {
        if self.output.shared.display.shows_summary() && progress.phase == Phase::Copy {
            self.count_engine(progress);
        }
        let last = (self.last_progress.copied, self.last_progress.phase);
        if last != (progress.copied, progress.phase) {
            self.output.shared.counters.note_activity();
        }
        self.last_progress = *progress;
        if progress.phase == Phase::Copy {
            self.count(progress.copied);
        }
        self.output
            .shared
            .progress_tick(Some((progress, self.source)));
    }

    fn durable(&mut self, at: u64) -> io::Result<()> {
        self.output.shared.counters.note_activity();
        if self.output.shared.report.json {
            let line = wire::Event::durable(self.source, self.dest, at).into_line();
            self.output.print_line(Stream::Stdout, &line);
        }
        if self.output.shared.report.debug {
            let line = debug::durable(self.source, at);
            self.output.print_info(&line);
        }
        Ok(())
    }

    fn freed(&mut self, bytes: u64) {
        self.output.report_freed(self.source, self.dest, bytes);
    }

    fn interrupted(&self) -> bool {
        self.output.is_interrupted()
    }

    fn stop_reason(&self) -> Option<StopReason> {
        self.output.shared.stop_reason.get().copied()
    }
}
