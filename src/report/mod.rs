//! What is said while copying: diagnostics, -v, progress, and JSON events.

pub mod debug;
pub mod json;
pub mod progress;
pub mod quote;
pub mod signals;
pub mod units;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::sys::words::reason;
use crate::transfer::{Event, Observer, Progress};
use progress::{Display, When};
use signals::Signals;

/// The name that diagnostics begin with.
pub const PROGRAM: &str = env!("CARGO_PKG_NAME");

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
    report: Report,
    signals: Signals,
    display: Display,
    /// The first failure to write to standard output: said once, at the end, as cp does.
    unwritten: Option<io::Error>,
}

impl Reporter {
    /// For a run that reports so.
    #[must_use]
    pub fn new(report: &Report, signals: Signals) -> Self {
        Self {
            report: *report,
            signals,
            display: Display::new(report.progress, report.json),
            unwritten: None,
        }
    }

    /// An error or a warning, on standard error.
    pub fn diagnose(&mut self, message: &str) {
        self.display
            .suspend(|| eprint_line(&format!("{PROGRAM}: {message}")));
    }

    /// An error of one file, as a diagnostic and as an event.
    pub fn error(&mut self, source: &Path, dest: &Path, message: &str) {
        self.diagnose(message);
        if self.report.json {
            self.line(&json::error(source, dest, message));
        }
    }

    /// An error that ends the run before there is a file to name.
    pub fn error_without_file(&mut self, message: &str) {
        self.diagnose(message);
        if self.report.json {
            self.line(&json::error_without_file(message));
        }
    }

    /// A line of -v: on standard output, which --json takes for itself.
    pub fn verbose(&mut self, line: &str) {
        if self.report.verbose {
            self.aside(line);
        }
    }

    fn aside(&mut self, line: &str) {
        if self.report.json {
            self.display.suspend(|| eprint_line(line));
        } else {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        if self.unwritten.is_some() {
            return;
        }
        let mut out = io::stdout();
        let written = self
            .display
            .suspend(|| writeln!(out, "{line}").and_then(|()| out.flush()));
        self.unwritten = written.err();
    }

    /// Whether a signal asks to stop.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.signals.pending().is_some()
    }

    /// The same question, for who waits while the reporter is lent elsewhere.
    pub fn stopper(&self) -> impl Fn() -> bool + use<> {
        let signals = self.signals.clone();
        move || signals.pending().is_some()
    }

    /// Listens to the copy of one file.
    pub fn file<'a>(&'a mut self, source: &Path, dest: &Path) -> FileReporter<'a> {
        self.display.begin(source);
        FileReporter {
            reporter: self,
            source: source.into(),
            dest: dest.into(),
        }
    }

    /// Ends the run: the bar goes, a signal that stopped it is raised again, and what standard output did not take is
    /// said. Returns whether everything was told.
    pub fn finish(mut self) -> bool {
        self.display.finish();
        self.signals.raise_again();
        match self.unwritten.take() {
            Some(e) => {
                let text = reason(&e);
                eprint_line(&format!("{PROGRAM}: write error: {text}"));
                false
            }
            None => true,
        }
    }
}

/// Standard error that is gone cannot be told about.
fn eprint_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Speaks for one file.
#[derive(Debug)]
pub struct FileReporter<'a> {
    reporter: &'a mut Reporter,
    source: PathBuf,
    dest: PathBuf,
}

impl FileReporter<'_> {
    /// The file is complete.
    pub fn finish(self) {
        self.reporter.display.end();
    }
}

impl Observer for FileReporter<'_> {
    fn listens(&self) -> bool {
        self.reporter.report.json || self.reporter.report.debug
    }

    fn event(&mut self, event: &Event) {
        if self.reporter.report.json
            && let Some(line) = json::event(event, &self.source, &self.dest)
        {
            self.reporter.line(&line);
        }
        if self.reporter.report.debug {
            for line in debug::lines(event, &self.source) {
                self.reporter.aside(&line);
            }
        }
    }

    fn progress(&mut self, progress: &Progress) {
        if let Some(line) = self.reporter.display.progress(progress) {
            self.reporter.line(&line);
        }
        if self.reporter.signals.status_wanted() {
            let line = progress::status(progress, &self.source);
            self.reporter.display.suspend(|| eprint_line(&line));
        }
    }

    fn interrupted(&self) -> bool {
        self.reporter.interrupted()
    }
}
