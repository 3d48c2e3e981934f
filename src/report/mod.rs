//! What is said while copying: diagnostics, -v, progress, and JSON events.

mod counters;
pub mod debug;
mod file_reporter;
mod line_order;
mod ordered_output;
pub mod progress;
mod progress_text;
pub mod quote;
mod run_output;
pub mod signals;
mod terminal_bars;
mod throttle_status;
pub mod units;
pub mod wire;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use counters::{SourceOutcome, TotalWork};
pub use file_reporter::FileReporter;
pub use ordered_output::OrderedOutput;
pub use progress_text::bottleneck_clause;
pub use run_output::write_stdout;

use crate::sys::strerror::strerror;
use crate::transfer::rate_limit::Bottleneck;
use line_order::Stream;
use progress::ShowProgress;
use run_output::RunOutput;
use signals::Signals;
use wire::ErrorCause;

/// The name of the program.
pub const PROGRAM_NAME: &str = env!("CARGO_PKG_NAME");

/// How it was called, where it speaks by that name.
static INVOKED_NAME: OnceLock<String> = OnceLock::new();

/// The name that diagnostics begin with.
#[must_use]
pub fn program_name() -> &'static str {
    INVOKED_NAME.get().map_or(PROGRAM_NAME, String::as_str)
}

/// Takes the first word of the command line: called `cp`, from wherever, the program speaks as it was called, as cp does.
/// Said once, before anything is diagnosed.
pub fn set_program_name(word: &OsStr) {
    if Path::new(word).file_name() == Some(OsStr::new("cp")) {
        INVOKED_NAME.get_or_init(|| word.to_string_lossy().into_owned());
    }
}

/// An error or a warning on standard error, before there is a [`Reporter`].
pub fn diagnose(message: &str) {
    run_output::eprint_line(&format_diagnostic(message));
}

/// What is told, and how.
#[derive(Debug, Clone, Copy)]
pub struct ReportOptions {
    /// A line for each file.
    pub verbose: bool,
    /// Decisions and their reasons.
    pub debug: bool,
    /// Events on standard output.
    pub json: bool,
    /// The bar.
    pub progress: ShowProgress,
}

/// Speaks for the whole run.
#[derive(Debug)]
pub struct Reporter {
    shared: Arc<RunOutput>,
}

impl Reporter {
    /// For a run that reports so.
    #[must_use]
    pub fn new(report: &ReportOptions, signals: Signals) -> Self {
        Self {
            shared: Arc::new(RunOutput::new(report, signals)),
        }
    }

    /// The first voice, from which all others are split. There is one for a run.
    #[must_use]
    pub fn first_output(&self) -> OrderedOutput {
        OrderedOutput::new(&self.shared)
    }

    /// The run is of more than one file: progress is that of all.
    pub fn set_multiple_files(&self) {
        self.shared.counters.set_multiple_files();
    }

    /// Whether progress is shown, so that it is worth to count what there is to do.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        self.shared.display.is_shown()
    }

    /// This is what there is to do.
    pub fn set_total(&self, total: TotalWork) {
        self.shared.counters.set_total(total);
    }

    /// Who holds the copy back from now on, if anyone does: for the bar and for whoever asks. To be called again and again;
    /// what has changed is told in its time.
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

    /// An error or a warning that belongs to no file, at once and in no order with what voices say.
    pub fn warn(&self, message: &str) {
        self.shared
            .write(Stream::Stderr, &format_diagnostic(message));
    }

    /// The run shall end as after a signal, but for the signal: what is complete stays, and [`finish`](Self::finish) says that
    /// it was not all.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// The same, with the error that is the reason.
    pub fn abort(&self, message: &str) {
        self.shared.counters.add_error();
        self.warn(message);
        if self.shared.report.json {
            let event = wire::Event::run_error(message, ErrorCause::default());
            self.shared.write(Stream::Stdout, &event.into_line());
        }
        self.stop();
    }

    /// Whether the run is to end: it was stopped, or a signal asks for it.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }

    /// Ends the run, when all voices are gone: the bar goes, a signal that stopped it is raised again, and what standard
    /// output did not take is said. Returns whether everything was told, and nothing given up.
    pub fn finish(self) -> bool {
        let shared = &self.shared;
        shared.write_pending(shared.display.finish(&shared.counters));
        if shared.report.json {
            let total = wire::Total::from(&shared.counters.summary());
            shared.write(Stream::Stdout, &wire::Event::Total(total).into_line());
        }
        self.shared.signals.raise_again();
        match self.shared.stdout_error.get() {
            Some(e) => {
                let line = format_diagnostic(&format!("write error: {}", strerror(e)));
                self.shared.write(Stream::Stderr, &line);
                false
            }
            None => !self.shared.is_stopped(),
        }
    }
}

/// A message as standard error gets it.
fn format_diagnostic(message: &str) -> String {
    format!("{}: {message}", program_name())
}
