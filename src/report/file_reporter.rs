//! The listener of one file's copy: it counts the bytes, and prints events and progress.

use std::path::{Path, PathBuf};

use super::line_order::Stream;
use super::ordered_output::OrderedOutput;
use super::{debug, wire};
use crate::transfer::{CopyListener, Event, Progress};

/// Receives the events of one file's copy and prints them.
#[derive(Debug)]
pub struct FileReporter<'a> {
    output: &'a mut OrderedOutput,
    source: PathBuf,
    dest: PathBuf,
    last_progress: Progress,
    /// Bytes of this file that the counters of the run include.
    counted_bytes: u64,
    is_complete: bool,
}

impl<'a> FileReporter<'a> {
    /// Makes the listener for the copy of `source` to `dest`. It prints in the position of `voice`.
    #[must_use]
    pub fn new(voice: &'a mut OrderedOutput, source: &Path, dest: &Path) -> Self {
        Self {
            output: voice,
            source: source.into(),
            dest: dest.into(),
            last_progress: Progress::default(),
            counted_bytes: 0,
            is_complete: false,
        }
    }

    /// Marks the file as complete, so that its bytes stay counted.
    pub fn finish(mut self) {
        self.is_complete = true;
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
        let due = shared.display.finish_file(
            &shared.counters,
            &self.last_progress,
            &self.source,
            self.is_complete,
        );
        shared.write_pending(due);
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
            && let Some(event) = wire::Event::of_file(event, &self.source, &self.dest)
        {
            let line = event.into_line();
            self.output.print_line(Stream::Stdout, &line);
        }
        if self.output.shared.report.debug {
            for line in debug::event_lines(event, &self.source) {
                self.output.print_info(&line);
            }
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.last_progress = *progress;
        self.count(progress.copied);
        self.output
            .shared
            .progress_tick(Some((progress, &self.source)));
    }

    fn interrupted(&self) -> bool {
        self.output.is_interrupted()
    }
}
