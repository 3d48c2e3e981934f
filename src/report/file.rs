//! Listens to the copy of one file, and speaks for it.

use std::path::{Path, PathBuf};

use super::order::Stream;
use super::voice::Voice;
use super::{debug, json};
use crate::transfer::{Event, Observer, Progress};

/// Speaks for one file.
#[derive(Debug)]
pub struct FileReporter<'a> {
    voice: &'a mut Voice,
    source: PathBuf,
    dest: PathBuf,
    last: Progress,
    /// What the run was told that this file adds to it.
    counted: u64,
    complete: bool,
}

impl<'a> FileReporter<'a> {
    /// Listens to the copy of `source` to `dest`, and reports in the order of `voice`.
    #[must_use]
    pub fn new(voice: &'a mut Voice, source: &Path, dest: &Path) -> Self {
        Self {
            voice,
            source: source.into(),
            dest: dest.into(),
            last: Progress::default(),
            counted: 0,
            complete: false,
        }
    }

    /// The file is complete.
    pub fn finish(mut self) {
        self.complete = true;
    }

    fn count(&mut self, bytes: u64) {
        self.voice.shared.tally.move_on(self.counted, bytes);
        self.counted = bytes;
    }
}

impl Drop for FileReporter<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.count(0);
        }
        self.voice.unsettled = self.counted;
        let shared = &self.voice.shared;
        let due = shared
            .display
            .end(&shared.tally, &self.last, &self.source, self.complete);
        shared.write_due(due);
    }
}

impl Observer for FileReporter<'_> {
    fn listens(&self) -> bool {
        self.voice.shared.report.json || self.voice.shared.report.debug
    }

    fn event(&mut self, event: &Event) {
        if let Event::Done { bytes, .. } = event {
            self.count(*bytes);
        }
        if self.voice.shared.report.json
            && let Some(line) = json::event(event, &self.source, &self.dest)
        {
            self.voice.say(Stream::Out, &line);
        }
        if self.voice.shared.report.debug {
            for line in debug::lines(event, &self.source) {
                self.voice.aside(&line);
            }
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.last = *progress;
        self.count(progress.copied);
        self.voice.shared.news(Some((progress, &self.source)));
    }

    fn interrupted(&self) -> bool {
        self.voice.interrupted()
    }
}
