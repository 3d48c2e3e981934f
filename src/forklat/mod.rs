//! What the machine feels while something runs: measured, compared, exported.
//!
//! [`cli`] reads words, [`observing`] resolves what is asked, [`session`] keeps the observers, [`spans`] sorts what they hear,
//! and [`model`] is what comes out, for [`export`] to print.

pub mod alone;
mod assemble;
pub mod child;
pub mod cli;
pub mod compare;
pub mod export;
pub mod host;
pub mod live;
pub mod merge;
pub mod model;
pub mod observing;
pub mod quiet;
mod run;
pub mod scale;
pub mod seconds;
pub mod session;
pub mod spans;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::FromArgMatches;

use crate::observe::facts::Facts;
use crate::report::print;
use crate::report::quote::quote;
use crate::report::signals::Signals;
use crate::sys::streams;
use crate::sys::words::reason;
use cli::Words;
use export::hlog::Log;
use export::rows::Detail;
use export::{Exports, Format, Opened};
use live::Live;
use model::Report;
use scale::record::Scale;

/// The name that diagnostics begin with.
pub const PROGRAM: &str = "forklat";

/// Exit status when forklat itself failed, usage errors among them: as of timeout(1), env(1) and nice(1), so that it can
/// be told from the status of the command.
const FAILED: i32 = 125;

/// Why there is no result.
#[derive(Debug)]
pub(crate) struct Failure {
    status: i32,
    message: String,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self {
            status: FAILED,
            message,
        }
    }
}

impl Failure {
    /// A command that cannot be run: 127 where it is not found, else 126, as in a shell.
    fn cannot_run(name: &OsStr, error: &io::Error) -> Self {
        Self {
            status: if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            },
            message: format!("cannot run {}: {}", quote(name), reason(error)),
        }
    }

    /// A signal ended it; that signal is raised again once all is restored.
    fn interrupted() -> Self {
        "interrupted".to_owned().into()
    }
}

/// What all tasks have in common.
#[derive(Debug)]
pub(crate) struct Task {
    signals: Signals,
    command_line: Vec<String>,
    date: String,
}

/// What was found out.
#[derive(Debug)]
pub(crate) enum Findings {
    /// By `run`, `compare` and `merge`; the log where one was asked for.
    Report(Box<Report>, Option<Log>),
    /// By `scale`.
    Scale(Box<Scale>),
}

impl Findings {
    /// For a terminal.
    fn text(&self, detail: Detail) -> String {
        match self {
            Self::Report(report, _) => export::text::render(report, detail),
            Self::Scale(scale) => scale::render::text(scale),
        }
    }

    fn render(&self, format: Format) -> Result<String, String> {
        match self {
            Self::Report(report, log) => export::render(format, report, log.as_ref()),
            Self::Scale(scale) => scale::render::export(scale, format),
        }
    }
}

/// What a task comes to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status.
    status: i32,
    findings: Findings,
    /// The table goes to standard error: a command had standard output for itself.
    aside: bool,
}

impl Outcome {
    /// Prints the table and writes the exports.
    fn publish(self, exports: Opened, verbose: bool) -> Result<i32, Failure> {
        let detail = if verbose { Detail::Full } else { Detail::Short };
        let text = self.findings.text(detail);
        let printed = if self.aside || exports.take_standard_output() {
            io::stderr().write_all(text.as_bytes())
        } else {
            print(text.as_bytes())
        };
        exports.write(|format| self.findings.render(format))?;
        printed.map_err(|e| format!("write error: {}", reason(&e)))?;
        Ok(self.status)
    }
}

/// Runs `forklat` with the words of the command line, program name first.
#[must_use]
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    if words.get(1).is_some_and(|word| word == scale::STAND) {
        let errno = scale::stand(words.into_iter().skip(2));
        return ExitCode::from(u8::try_from(errno).unwrap_or(u8::MAX));
    }
    let parsed = cli::command()
        .try_get_matches_from(&words)
        .and_then(|matches| Words::from_arg_matches(&matches));
    let words_read = match parsed {
        Ok(words) => words,
        Err(e) => return answer(&e),
    };
    match perform(&words_read.task, &words) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        Err(failure) => {
            say(&failure.message);
            ExitCode::from(u8::try_from(failure.status).unwrap_or(u8::MAX))
        }
    }
}

/// Help, version, or what is wrong with the command line.
fn answer(error: &clap::Error) -> ExitCode {
    let printed = if error.use_stderr() {
        error.print()
    } else {
        streams::stdout().and_then(|_| error.print())
    };
    match (error.exit_code(), printed) {
        (0, Ok(())) => return ExitCode::SUCCESS,
        (0, Err(e)) => say(&format!("write error: {}", reason(&e))),
        _ => {}
    }
    ExitCode::from(FAILED as u8)
}

fn perform(task: &cli::Task, words: &[OsString]) -> Result<i32, Failure> {
    let line = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match task {
        // A command may live on after an interrupt, and has the last word then.
        cli::Task::Run(words) => measure(
            if words.command.is_empty() {
                Signals::install
            } else {
                Signals::install_patient
            },
            (words.export.files(), words.verbose),
            line,
            |task| run::run(words, task),
        ),
        // It changes the host: impatience shall not leave it so.
        cli::Task::Compare(words) => measure(
            Signals::install_patient,
            (words.export.files(), words.verbose),
            line,
            |task| compare::run(words, task),
        ),
        cli::Task::Scale(words) => {
            measure(Signals::install, (words.files(), false), line, |task| {
                let scale = grow(words, task)?;
                Ok(Outcome {
                    status: 0,
                    findings: Findings::Scale(Box::new(scale)),
                    aside: false,
                })
            })
        }
        cli::Task::Merge(words) => measure(
            Signals::install,
            (words.export.files(), words.verbose),
            line,
            |_| {
                let report = merge::merge(&words.files)?;
                Ok(Outcome {
                    status: 0,
                    findings: Findings::Report(Box::new(report), None),
                    aside: false,
                })
            },
        ),
    }
}

/// `forklat scale`
fn grow(words: &cli::scale::ScaleWords, task: &Task) -> Result<Scale, Failure> {
    let live = Live::on_terminal();
    let facts = Facts::of(Path::new("/"), Some(&words.on));
    let caller = scale::Caller {
        interrupted: &|| task.signals.pending().is_some(),
        status: &|text| live.say(text),
    };
    let scale = scale::run(words, task.command_line.clone(), facts, &caller);
    live.finish();
    scale.map_err(|stop| match stop {
        scale::Stop::Interrupted => Failure::interrupted(),
        scale::Stop::Failed(message) => message.into(),
    })
}

/// Runs one task: what an earlier forklat left is undone first, exports are tried before anything is measured, and a
/// signal that ended it is raised again when all is restored.
fn measure(
    signals: fn() -> io::Result<Signals>,
    (exports, verbose): (Exports, bool),
    command_line: Vec<String>,
    body: impl FnOnce(&Task) -> Result<Outcome, Failure>,
) -> Result<i32, Failure> {
    for line in host::record::clear_leftovers() {
        say(&line);
    }
    let opened = exports.open()?;
    let signals = signals().map_err(|e| format!("cannot handle signals: {e}"))?;
    let task = Task {
        signals,
        command_line,
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
    };
    let result = body(&task);
    task.signals.end_at_once();
    match result {
        Ok(outcome) => outcome.publish(opened, verbose),
        Err(failure) => {
            task.signals.raise_again();
            Err(failure)
        }
    }
}

/// A line on standard error. Where that is gone nobody can be told.
pub(crate) fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{PROGRAM}: {message}");
}
