//! What is said while copying: diagnostics, -v, progress, and JSON events.

mod bar;
pub mod debug;
mod file;
mod held;
pub mod json;
mod order;
mod phrase;
pub mod progress;
pub mod quote;
mod shared;
pub mod signals;
mod tally;
pub mod units;
mod voice;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use file::FileReporter;
pub use phrase::phrase_of;
pub use shared::print;
pub use tally::{Fate, Total};
pub use voice::Voice;

use crate::sys::words::reason;
use crate::transfer::pace::Holding;
use order::Stream;
use progress::When;
use shared::Shared;
use signals::Signals;

/// The name of the program.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// How it was called, where it speaks by that name.
static CALLED: OnceLock<String> = OnceLock::new();

/// The name that diagnostics begin with.
#[must_use]
pub fn program() -> &'static str {
    CALLED.get().map_or(NAME, String::as_str)
}

/// Takes the first word of the command line: called `cp`, from wherever, the program speaks as it was called, as cp does.
/// Said once, before anything is diagnosed.
pub fn called(word: &OsStr) {
    if Path::new(word).file_name() == Some(OsStr::new("cp")) {
        CALLED.get_or_init(|| word.to_string_lossy().into_owned());
    }
}

/// An error or a warning on standard error, before there is a [`Reporter`].
pub fn diagnose(message: &str) {
    shared::eprint_line(&diagnostic(message));
}

/// What is told, and how.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// A line for each file.
    pub verbose: bool,
    /// Decisions and their reasons.
    pub debug: bool,
    /// Events on standard output.
    pub json: bool,
    /// The bar.
    pub progress: When,
}

/// Speaks for the whole run.
#[derive(Debug)]
pub struct Reporter {
    shared: Arc<Shared>,
}

impl Reporter {
    /// For a run that reports so.
    #[must_use]
    pub fn new(report: &Report, signals: Signals) -> Self {
        Self {
            shared: Arc::new(Shared::new(report, signals)),
        }
    }

    /// The first voice, from which all others are split. There is one for a run.
    #[must_use]
    pub fn voice(&self) -> Voice {
        Voice::first(&self.shared)
    }

    /// The run is of more than one file: progress is that of all.
    pub fn set_several(&self) {
        self.shared.tally.set_several();
    }

    /// Whether progress is shown, so that it is worth to count what there is to do.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        self.shared.display.is_shown()
    }

    /// This is what there is to do.
    pub fn set_total(&self, total: Total) {
        self.shared.tally.set_total(total);
    }

    /// Who holds the copy back from now on, if anyone does: for the bar and for whoever asks. To be called again and again;
    /// what has changed is told in its time.
    pub fn throttled(&self, holding: Option<&Holding>) {
        let shared = &self.shared;
        if !shared.held.is_due(holding, shared.tally.elapsed()) {
            return;
        }
        if shared.report.json {
            shared.write(Stream::Out, &json::throttle(holding));
        }
        if shared.report.debug {
            shared.write(shared.aside(), &debug::throttle(holding));
        }
    }

    /// An error or a warning that belongs to no file, at once and in no order with what voices say.
    pub fn warn(&self, message: &str) {
        self.shared.write(Stream::Err, &diagnostic(message));
    }

    /// The run shall end as after a signal, but for the signal: what is complete stays, and [`finish`](Self::finish) says that
    /// it was not all.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// The same, with the error that is the reason.
    pub fn give_up(&self, message: &str) {
        self.shared.tally.add_error();
        self.warn(message);
        if self.shared.report.json {
            let line = json::error_without_file(message);
            self.shared.write(Stream::Out, &line);
        }
        self.stop();
    }

    /// Whether the run is to end: it was stopped, or a signal asks for it.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.shared.is_ending()
    }

    /// Ends the run, when all voices are gone: the bar goes, a signal that stopped it is raised again, and what standard
    /// output did not take is said. Returns whether everything was told, and nothing given up.
    pub fn finish(self) -> bool {
        let shared = &self.shared;
        shared.write_due(shared.display.finish(&shared.tally));
        if shared.report.json {
            shared.write(Stream::Out, &json::total(&shared.tally.sum()));
        }
        self.shared.signals.raise_again();
        match self.shared.unwritten.get() {
            Some(e) => {
                let line = diagnostic(&format!("write error: {}", reason(e)));
                self.shared.write(Stream::Err, &line);
                false
            }
            None => !self.shared.is_stopped(),
        }
    }
}

/// A message as standard error gets it.
fn diagnostic(message: &str) -> String {
    format!("{}: {message}", program())
}
