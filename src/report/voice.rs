//! A voice: one place in the order of what is said, for one thread at a time.

use std::path::Path;
use std::sync::Arc;

use super::json;
use super::order::Stream;
use super::shared::Shared;
use super::tally::Fate;

/// Lines that wait for a slow file before them may take as much memory as this before [`Voice::is_behind`] says so: enough
/// for the events of 20,000 files.
const MUCH: usize = 16 << 20;

/// One place in the order of what is said. What it says comes out before what is said by a voice that comes later in the
/// order, whenever it is said. Dropped, it makes way for the next.
#[derive(Debug)]
pub struct Voice {
    pub(super) shared: Arc<Shared>,
    place: usize,
    /// Bytes of the file that was last complete here: they count for nothing should its attributes or its name fail.
    pub(super) unsettled: u64,
}

impl Voice {
    pub(super) fn first(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            place: 0,
            unsettled: 0,
        }
    }

    /// The voice that comes back speaks here; `self` goes on after it.
    #[must_use]
    pub fn split(&mut self) -> Voice {
        // What this one said and still waits stays before what the other will say.
        let after = self.shared.order().open_after(self.place);
        Voice {
            shared: Arc::clone(&self.shared),
            place: std::mem::replace(&mut self.place, after),
            unsettled: 0,
        }
    }

    /// Whether what it says comes out at once: all that come before are done.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.shared.order().is_front(self.place)
    }

    /// Whether so much waits to be said that no more should be begun before it is out.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.shared.order().kept() > MUCH
    }

    /// Whether -v lines are wanted: making them costs more than not saying them.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.shared.report.verbose
    }

    /// An error or a warning, on standard error.
    pub fn diagnose(&mut self, message: &str) {
        self.say(Stream::Err, &super::diagnostic(message));
    }

    /// An error of one file, as a diagnostic and as an event.
    pub fn error(&mut self, source: &Path, dest: &Path, message: &str) {
        self.shared.tally.add_error();
        self.diagnose(message);
        if self.shared.report.json {
            self.say(Stream::Out, &json::error(source, dest, message));
        }
    }

    /// An error that ends the run before there is a file to name.
    pub fn error_without_file(&mut self, message: &str) {
        self.shared.tally.add_error();
        self.diagnose(message);
        if self.shared.report.json {
            self.say(Stream::Out, &json::error_without_file(message));
        }
    }

    /// What a person is told below an error, and a program needs not know.
    pub fn hint(&mut self, line: &str) {
        self.say(Stream::Err, line);
    }

    /// A question, with the answer to follow on its line. Who asks has seen to it that nothing else waits to be said.
    pub fn ask(&self, question: &str) {
        self.shared.ask(question);
    }

    /// A line of -v.
    pub fn verbose(&mut self, line: &str) {
        if self.is_verbose() {
            self.aside(line);
        }
    }

    /// A line for people.
    pub(super) fn aside(&mut self, line: &str) {
        self.say(self.shared.aside(), line);
    }

    pub(super) fn say(&mut self, stream: Stream, line: &str) {
        let write = |stream, line: &str| self.shared.write(stream, line);
        self.shared.order().say(self.place, stream, line, write);
    }

    /// Whether a signal asks to stop, or the run was given up.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.shared.is_ending()
    }

    /// The same question, for who waits while the voice is lent elsewhere.
    pub fn stopper(&self) -> impl Fn() -> bool + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.is_ending()
    }

    /// Counts a source that is done with: once each that could be looked at, whatever became of it, by the voice that
    /// listened to it.
    pub fn passed(&mut self, fate: Fate) {
        let moved = std::mem::take(&mut self.unsettled);
        if matches!(fate, Fate::Failed(_)) {
            self.shared.tally.move_on(moved, 0);
        }
        self.shared.tally.add(fate);
        self.shared.news(None);
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        let write = |stream, line: &str| self.shared.write(stream, line);
        self.shared.order().close(self.place, write);
    }
}
