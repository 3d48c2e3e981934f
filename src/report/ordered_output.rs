//! A voice: one place in the order of what is said, for one thread at a time.

use std::path::Path;
use std::sync::Arc;

use super::counters::SourceOutcome;
use super::line_order::Stream;
use super::run_output::RunOutput;
use super::wire::{self, ErrorCause};

/// Lines that wait for a slow file before them may take as much memory as this before [`OrderedOutput::is_backlogged`] says so: enough
/// for the events of 20,000 files.
const MAX_BUFFERED_BYTES: usize = 16 << 20;

/// One place in the order of what is said. What it says comes out before what is said by a voice that comes later in the
/// order, whenever it is said. Dropped, it makes way for the next.
#[derive(Debug)]
pub struct OrderedOutput {
    pub(super) shared: Arc<RunOutput>,
    slot: usize,
    /// Bytes of the file that was last complete here: they count for nothing should its attributes or its name fail.
    pub(super) uncommitted_bytes: u64,
}

impl OrderedOutput {
    pub(super) fn new(shared: &Arc<RunOutput>) -> Self {
        Self {
            shared: Arc::clone(shared),
            slot: 0,
            uncommitted_bytes: 0,
        }
    }

    /// The voice that comes back speaks here; `self` goes on after it.
    #[must_use]
    pub fn split(&mut self) -> OrderedOutput {
        // What this one said and still waits stays before what the other will say.
        let after = self.shared.order().insert_after(self.slot);
        OrderedOutput {
            shared: Arc::clone(&self.shared),
            slot: std::mem::replace(&mut self.slot, after),
            uncommitted_bytes: 0,
        }
    }

    /// Whether what it says comes out at once: all that come before are done.
    #[must_use]
    pub fn is_front(&self) -> bool {
        self.shared.order().is_front(self.slot)
    }

    /// Whether so much waits to be said that no more should be begun before it is out.
    #[must_use]
    pub fn is_backlogged(&self) -> bool {
        self.shared.order().buffered_bytes() > MAX_BUFFERED_BYTES
    }

    /// Whether -v lines are wanted: making them costs more than not saying them.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.shared.report.verbose
    }

    /// An error or a warning, on standard error.
    pub fn diagnose(&mut self, message: &str) {
        self.print_line(Stream::Stderr, &super::format_diagnostic(message));
    }

    /// An error of one file, as a diagnostic and as an event.
    pub fn error(&mut self, source: &Path, dest: &Path, message: &str) {
        self.shared.counters.add_error();
        self.diagnose(message);
        if self.shared.report.json {
            let event = wire::Event::file_error(source, dest, message, ErrorCause::default());
            self.print_line(Stream::Stdout, &event.into_line());
        }
    }

    /// An error that ends the run before there is a file to name.
    pub fn error_without_file(&mut self, message: &str) {
        self.shared.counters.add_error();
        self.diagnose(message);
        if self.shared.report.json {
            let event = wire::Event::run_error(message, ErrorCause::default());
            self.print_line(Stream::Stdout, &event.into_line());
        }
    }

    /// What a person is told below an error, and a program needs not know.
    pub fn print_hint(&mut self, line: &str) {
        self.print_line(Stream::Stderr, line);
    }

    /// A question, with the answer to follow on its line. Who asks has seen to it that nothing else waits to be said.
    pub fn ask(&self, question: &str) {
        self.shared.ask(question);
    }

    /// A line of -v.
    pub fn print_verbose(&mut self, line: &str) {
        if self.is_verbose() {
            self.print_info(line);
        }
    }

    /// A line for people.
    pub(super) fn print_info(&mut self, line: &str) {
        self.print_line(self.shared.info_stream(), line);
    }

    pub(super) fn print_line(&mut self, stream: Stream, line: &str) {
        let write = |stream, line: &str| self.shared.write(stream, line);
        self.shared
            .order()
            .write_or_buffer(self.slot, stream, line, write);
    }

    /// Whether a signal asks to stop, or the run was given up.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.shared.is_stopping()
    }

    /// The same question, for who waits while the voice is lent elsewhere.
    pub fn interrupt_check(&self) -> impl Fn() -> bool + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.is_stopping()
    }

    /// Counts a source that is done with: once each that could be looked at, whatever became of it, by the voice that
    /// listened to it.
    pub fn count_source(&mut self, fate: SourceOutcome) {
        let moved = std::mem::take(&mut self.uncommitted_bytes);
        if matches!(fate, SourceOutcome::Failed(_)) {
            self.shared.counters.adjust_copied_bytes(moved, 0);
        }
        self.shared.counters.count_source(fate);
        self.shared.progress_tick(None);
    }
}

impl Drop for OrderedOutput {
    fn drop(&mut self) {
        let write = |stream, line: &str| self.shared.write(stream, line);
        self.shared.order().close(self.slot, write);
    }
}
