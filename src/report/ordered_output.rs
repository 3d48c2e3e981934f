//! The output of one thread at a time, with a position in the order of all lines.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use super::ReportedError;
use super::counters::SourceOutcome;
use super::debug;
use super::line_order::Stream;
use super::run_output::RunOutput;
use super::wire::{self, CutFile, ErrorCause};

/// Limit of the memory for lines that wait for a slow file before them, above which [`OrderedOutput::is_backlogged`]
/// returns true: enough for the events of 20,000 files.
const MAX_BUFFERED_BYTES: usize = 16 << 20;

/// A position in the order of all lines. Its lines are written before those of every later position, whenever they are
/// printed. Dropping it lets the next position be written.
#[derive(Debug)]
pub struct OrderedOutput {
    pub(super) shared: Arc<RunOutput>,
    slot: usize,
    /// Bytes of the file that was copied last. They are subtracted again if its attributes or its name cannot be set.
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

    /// Returns a new output at this position, and moves `self` to a position directly after it.
    #[must_use]
    pub fn split(&mut self) -> OrderedOutput {
        // Lines that this output has buffered stay before those of the other.
        let after = self.shared.order().insert_after(self.slot);
        OrderedOutput {
            shared: Arc::clone(&self.shared),
            slot: std::mem::replace(&mut self.slot, after),
            uncommitted_bytes: 0,
        }
    }

    /// Returns whether its lines are written at once, because all earlier positions are dropped.
    #[must_use]
    pub fn is_front(&self) -> bool {
        self.shared.order().is_front(self.slot)
    }

    /// Returns whether so many lines are buffered that no new file should be started before they are written.
    #[must_use]
    pub fn is_backlogged(&self) -> bool {
        self.shared.order().buffered_bytes() > MAX_BUFFERED_BYTES
    }

    /// Returns whether `-v` lines are wanted. A caller should ask first, since making the lines costs more than the
    /// question.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.shared.report.verbose
    }

    /// Prints an error or a warning on standard error.
    pub fn diagnose(&mut self, message: impl Display) {
        self.print_line(Stream::Stderr, &super::format_diagnostic(message));
    }

    /// Reports an error of one file, as a diagnostic and as an event.
    pub fn error(&mut self, source: &Path, dest: &Path, error: &dyn ReportedError) {
        self.report_error(Some((source, dest)), error);
    }

    /// Reports an error that ends the run before a file can be named.
    pub fn error_without_file(&mut self, error: &dyn ReportedError) {
        self.report_error(None, error);
    }

    fn report_error(&mut self, files: Option<(&Path, &Path)>, error: &dyn ReportedError) {
        self.shared.counters.add_error();
        self.diagnose(error);
        if self.shared.report.json {
            let (message, cause) = (error.to_string(), ErrorCause::of(error));
            let event = match files {
                Some((source, dest)) => wire::Event::file_error(source, dest, &message, cause),
                None => wire::Event::run_error(&message, cause),
            };
            self.print_line(Stream::Stdout, &event.into_line());
        }
    }

    /// Prints a hint for people below an error. It has no event.
    pub fn print_hint(&mut self, line: &str) {
        self.print_line(Stream::Stderr, line);
    }

    /// Prints a question, whose answer follows on its line. The caller must ensure that no other line is buffered.
    pub fn ask(&self, question: &str) {
        self.shared.ask(question);
    }

    /// Prints a line of `-v` output.
    pub fn print_verbose(&mut self, line: &str) {
        if self.is_verbose() {
            self.print_info(line);
        }
    }

    /// Prints a line for people, on the stream that JSON events do not use.
    pub(super) fn print_info(&mut self, line: &str) {
        self.print_line(self.shared.info_stream(), line);
    }

    /// Counts and reports memory of a source that was given back.
    pub fn report_freed(&mut self, source: &Path, dest: &Path, bytes: u64) {
        self.shared.counters.add_freed_bytes(bytes);
        if bytes == 0 {
            return;
        }
        if self.shared.report.json {
            let line = wire::Event::freed(source, dest, bytes).into_line();
            self.print_line(Stream::Stdout, &line);
        }
        if self.shared.report.debug {
            self.print_info(&debug::freed(source, bytes));
        }
    }

    /// Counts and reports a file whose beginning was kept in place of the whole: with `message`, and as an event.
    pub fn report_cut(&mut self, cut: &CutFile<'_>, message: impl Display) {
        self.shared.counters.add_cut();
        self.diagnose(message);
        if self.shared.report.json {
            let line = wire::Event::cut(cut).into_line();
            self.print_line(Stream::Stdout, &line);
        }
    }

    pub(super) fn print_line(&mut self, stream: Stream, line: &str) {
        self.print_bytes(stream, line.as_bytes());
    }

    /// Prints a line with the digest of a file: to the manifest, or else on standard output, which with `--json` has
    /// the digest in the event `done`.
    pub fn print_digest(&mut self, line: &[u8]) {
        if self.shared.manifest.is_open() || !self.shared.report.json {
            self.print_bytes(Stream::Digests, line);
        }
    }

    /// Makes sure that the manifest does not get its name, because that belongs to a file of the run.
    pub fn discard_manifest(&self) {
        self.shared.manifest.discard();
    }

    fn print_bytes(&mut self, stream: Stream, line: &[u8]) {
        let write = |stream, line: &[u8]| self.shared.write_bytes(stream, line);
        self.shared
            .order()
            .write_or_buffer(self.slot, stream, line, write);
    }

    /// Returns whether a signal asks to stop, or the run was given up.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.shared.is_stopping()
    }

    /// Returns a function that answers [`is_interrupted`](Self::is_interrupted), for a caller that waits while `self`
    /// is borrowed.
    pub fn interrupt_check(&self) -> impl Fn() -> bool + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.is_stopping()
    }

    /// Counts a source that is finished, whatever its result is. It must be called once for each source that could be
    /// read, on the output whose listener copied it.
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
        let write = |stream, line: &[u8]| self.shared.write_bytes(stream, line);
        self.shared.order().close(self.slot, write);
    }
}
