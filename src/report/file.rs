//! Listens to the copy of one file, and speaks for it.

use std::path::{Path, PathBuf};

use super::order::Stream;
use super::voice::Voice;
use super::{debug, json, progress};
use crate::transfer::{Event, Observer, Progress};

/// Speaks for one file.
#[derive(Debug)]
pub struct FileReporter<'a> {
    voice: &'a mut Voice,
    source: PathBuf,
    dest: PathBuf,
}

impl<'a> FileReporter<'a> {
    pub(super) fn new(voice: &'a mut Voice, source: &Path, dest: &Path) -> Self {
        voice.shared.display().begin(source);
        Self {
            voice,
            source: source.into(),
            dest: dest.into(),
        }
    }

    /// The file is complete.
    pub fn finish(self) {
        self.voice.shared.display().end();
    }
}

impl Observer for FileReporter<'_> {
    fn event(&mut self, event: &Event) {
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
        let shared = &self.voice.shared;
        let due = shared.display().progress(progress);
        if let Some(line) = due {
            shared.write(Stream::Out, &line);
        }
        if shared.signals.status_wanted() {
            shared.write(Stream::Err, &progress::status(progress, &self.source));
        }
    }

    fn interrupted(&self) -> bool {
        self.voice.interrupted()
    }
}
