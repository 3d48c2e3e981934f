//! Output of a copy: diagnostics, `-v` lines, progress, and JSON events. It keeps lines of several threads in order.

mod counters;
pub mod debug;
mod file_reporter;
mod line_order;
mod manifest_sink;
mod ordered_output;
pub mod progress;
mod progress_figures;
mod progress_line;
mod progress_text;
mod queue_report;
mod queue_state;
pub mod quote;
mod run_output;
pub mod signal_handlers;
mod terminal_bars;
pub(crate) mod terminal_frame;
mod text_width;
mod throttle_status;
pub mod units;
pub mod wire;

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use counters::{SourceOutcome, TotalWork};
pub use file_reporter::FileReporter;
pub use ordered_output::OrderedOutput;
pub use progress_text::bottleneck_clause;
pub use queue_report::queue_member_line;
pub use queue_state::{QueueMember, QueueNews, QueuePlace, QueueState};
pub use run_output::write_stdout;

use crate::sys::strerror::strerror;
use crate::transfer::StopReason;
use crate::transfer::rate_limit::{Bottleneck, RemainingWork};
use line_order::Stream;
use progress::ShowProgress;
use run_output::RunOutput;
use signal_handlers::Signals;
use wire::ErrorCause;

/// The name of this program.
pub const PROGRAM_NAME: &str = env!("CARGO_PKG_NAME");

/// The name in diagnostics, if it differs from [`PROGRAM_NAME`].
static INVOKED_NAME: OnceLock<String> = OnceLock::new();

/// Returns the name that diagnostics begin with.
#[must_use]
pub fn program_name() -> &'static str {
    INVOKED_NAME.get().map_or(PROGRAM_NAME, String::as_str)
}

/// Sets the name in diagnostics to the first word of the command line, if its last component is `cp`. Must be called
/// before the first diagnostic.
pub fn set_program_name(word: &OsStr) {
    if Path::new(word).file_name() == Some(OsStr::new("cp")) {
        INVOKED_NAME.get_or_init(|| word.to_string_lossy().into_owned());
    }
}

/// Prints an error or a warning on standard error, before there is a [`Reporter`].
pub fn diagnose(message: &str) {
    run_output::eprint_line(&format_diagnostic(message));
}

/// An error that is printed as a diagnostic, its `Display`, and reported as the event `error`.
pub trait ReportedError: Display {
    /// Returns the short word for what was being done, such as `open`.
    fn operation(&self) -> &'static str;

    /// Returns the number of the system's error, where a system call failed.
    fn errno(&self) -> Option<i32>;
}

/// Which kinds of output are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReportOptions {
    /// Whether to print a line for each file.
    pub verbose: bool,
    /// Whether to print decisions and their reasons.
    pub debug: bool,
    /// Whether to write JSON events to standard output.
    pub json: bool,
    /// When to show the progress.
    pub progress: ShowProgress,
}

/// Output that concerns the whole run.
#[derive(Debug)]
pub struct Reporter {
    shared: Arc<RunOutput>,
}

impl Reporter {
    /// Makes the output of a run with these options.
    #[must_use]
    pub fn new(report: &ReportOptions, signals: Signals) -> Self {
        Self {
            shared: Arc::new(RunOutput::new(report, signals)),
        }
    }

    /// Returns the first ordered output, from which all others are split. It must be called once in a run.
    #[must_use]
    pub fn first_output(&self) -> OrderedOutput {
        OrderedOutput::new(&self.shared)
    }

    /// Records that the run has more than one source file: then progress is that of the whole run.
    pub fn set_multiple_files(&self) {
        self.shared.counters.set_multiple_files();
    }

    /// Makes lines with digests go to a file, in place of standard output.
    pub fn set_manifest(&self, file: File) {
        self.shared.manifest.open(file);
    }

    /// Returns whether the file with digests must not get its name, because that belongs to a file of the run.
    #[must_use]
    pub fn is_manifest_discarded(&self) -> bool {
        self.shared.manifest.is_discarded()
    }

    /// Writes the rest of the lines with digests to the file, after the last output is dropped.
    ///
    /// # Errors
    /// The first error of all writes to the file.
    pub fn flush_manifest(&self) -> io::Result<()> {
        self.shared.manifest.flush()
    }

    /// Returns whether it is useful to count the total work: where progress is shown, or somebody else is told of it.
    #[must_use]
    pub fn wants_total(&self) -> bool {
        self.shared.display.is_shown() || self.shared.counters.is_watched()
    }

    /// Makes the total work be counted, since somebody is told of the progress who does not see it.
    pub fn count_total(&self) {
        self.shared.counters.set_watched();
    }

    /// Returns a number that differs from the last one if bytes were moved or compared, or a file was finished, since.
    #[must_use]
    pub fn activity(&self) -> u64 {
        self.shared.counters.activity()
    }

    /// Returns in words how far the run is, and what holds it back.
    #[must_use]
    pub fn status_text(&self) -> String {
        progress::run_status(&self.shared.counters, &self.shared.throttle_status)
    }

    /// Records the total amount of work.
    pub fn set_total(&self, total: TotalWork) {
        self.shared.counters.set_total(total);
    }

    /// Records the part of the work that is known while it is still counted.
    pub fn set_found(&self, found: TotalWork) {
        self.shared.counters.set_found(found);
    }

    /// Returns the bytes that were copied so far.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.shared.counters.copied_bytes()
    }

    /// Returns what is known to remain, given the bytes of data that were moved, if these are counted.
    #[must_use]
    pub fn remaining_work(&self, moved: Option<u64>) -> RemainingWork {
        self.shared.counters.remaining_work(moved)
    }

    /// Records what holds the copy back now, if anything does, for the progress bar and the status line. Prints an
    /// event and a debug line if it has changed and the last event is old enough. May be called as often as the caller
    /// likes.
    pub fn report_throttle(&self, holding: Option<&Bottleneck>) {
        let shared = &self.shared;
        if !shared
            .throttle_status
            .update(holding, shared.counters.elapsed())
        {
            return;
        }
        if shared.report.json {
            let line = wire::Event::Throttle(holding.into()).into_line();
            shared.write(Stream::Stdout, &line);
        }
        if shared.report.debug {
            shared.write(shared.info_stream(), &debug::throttle(holding));
        }
    }

    /// Prints an error or a warning that belongs to no file, at once and outside the order of the other lines.
    pub fn warn(&self, message: impl Display) {
        self.shared
            .write(Stream::Stderr, &format_diagnostic(message));
    }

    /// Prints a line of `--debug` that belongs to no file, at once and outside the order of the other lines.
    pub fn debug(&self, line: &str) {
        if self.shared.report.debug {
            self.shared.write(self.shared.info_stream(), line);
        }
    }

    /// Ends all copies of the run with what they have by now, for this reason. The first reason counts.
    pub fn end_copies(&self, reason: StopReason) {
        let _ = self.shared.stop_reason.set(reason);
    }

    /// Returns whether the beginning of some file was kept in place of the whole.
    #[must_use]
    pub fn has_cut_files(&self) -> bool {
        self.shared.counters.cut_files() > 0
    }

    /// Makes the run end as after a signal, but without the signal: complete files stay, and [`finish`](Self::finish)
    /// returns false.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Reports an error and makes the run end as [`stop`](Self::stop) does.
    pub fn abort(&self, error: &dyn ReportedError) {
        self.shared.counters.add_error();
        self.warn(error);
        if self.shared.report.json {
            let message = error.to_string();
            let event = wire::Event::run_error(&message, ErrorCause::of(error));
            self.shared.write(Stream::Stdout, &event.into_line());
        }
        self.stop();
    }

    /// Returns whether the run is to end, because it was stopped or a signal asks for it.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }

    /// Ends the run after all [`OrderedOutput`] are dropped: removes the bar, raises the signal that stopped the run
    /// again, and reports an error of standard output. Returns whether all output was written and the run was not
    /// stopped.
    #[must_use]
    pub fn finish(self) -> bool {
        let shared = &self.shared;
        let is_complete = !shared.is_stopping();
        shared.write_pending(shared.display.finish(&shared.counters, is_complete));
        if shared.report.json {
            let total = wire::Total::from(&shared.counters.summary());
            shared.write(Stream::Stdout, &wire::Event::Total(total).into_line());
        }
        self.shared.signals.raise_again();
        match self.shared.stdout_error.get() {
            Some(e) => {
                let line = format_diagnostic(format_args!("write error: {}", strerror(e)));
                self.shared.write(Stream::Stderr, &line);
                false
            }
            None => !self.shared.is_stopped(),
        }
    }
}

/// Formats a message as it is written to standard error.
fn format_diagnostic(message: impl Display) -> String {
    format!("{}: {message}", program_name())
}
