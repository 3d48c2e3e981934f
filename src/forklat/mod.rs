//! Measures how long processes on a machine wait while something runs, compares such measurements, and exports them.
//!
//! [`cli`] parses the command line, [`probe_plan`] resolves which probes are needed, [`session`] runs the observers,
//! [`phases`] sorts their samples, and [`model`] is the result, which [`export`] prints.

pub mod cli;
pub mod compare;
mod default_directory;
pub mod distribution;
pub mod error;
pub mod export;
pub mod host;
pub mod interval_log;
pub mod late_answers;
pub mod measured_command;
pub mod merge;
pub mod model;
pub mod observer_effect;
pub mod phases;
pub mod probe_plan;
mod report_builder;
pub mod run_comparison;
pub mod run_result;
mod run_subcommand;
pub mod scale;
pub mod session;
pub mod statistics;
pub mod status_line;
mod watch;
pub mod why_result;
pub mod writeback_idle;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::FromArgMatches;

use crate::forklat::error::{EXIT_FORKLAT_FAILED, ForklatError};
use crate::observe::host_info::HostInfo;
use crate::report::signal_handlers::Signals;
use crate::report::write_stdout;
use crate::sys::std_streams;
use crate::sys::strerror::strerror;
use cli::{ForklatArgs, ForklatCommand};
use export::hlog::HistogramLog;
use export::rows::Detail;
use export::{Exports, OpenExports, terminal_report};
use model::Report;
use status_line::StatusLine;

/// The name at the start of diagnostics.
pub const PROGRAM: &str = "forklat";

/// The context that all subcommands share.
#[derive(Debug)]
pub(crate) struct TaskContext {
    signals: Signals,
    command_line: Vec<String>,
    date: String,
}

impl TaskContext {
    /// Returns a report of this task in which nothing is measured.
    fn report(&self, kind: &str) -> Report {
        Report::new(kind, self.command_line.clone(), self.date.clone())
    }
}

/// The result of one subcommand, before it is printed.
#[derive(Debug)]
pub(crate) struct TaskOutcome {
    /// The exit status of forklat.
    status: i32,
    report: Box<Report>,
    /// The interval log, if one was requested.
    log: Option<HistogramLog>,
    /// Whether the table goes to standard error, because a command had standard output for itself.
    table_to_stderr: bool,
}

impl TaskOutcome {
    /// Returns the outcome of a task that ran no command and kept no interval log.
    fn succeeded(report: Report) -> Self {
        Self {
            status: 0,
            report: Box::new(report),
            log: None,
            table_to_stderr: false,
        }
    }

    /// Prints the table and writes the exports.
    fn publish(self, exports: OpenExports, verbose: bool) -> Result<i32, ForklatError> {
        let detail = if verbose { Detail::Full } else { Detail::Short };
        let text = terminal_report::render(&self.report, detail);
        let printed = if self.table_to_stderr || exports.has_standard_output() {
            io::stderr().write_all(text.as_bytes())
        } else {
            write_stdout(text.as_bytes())
        };
        exports.write(&self.report, self.log.as_ref())?;
        printed.map_err(|e| format!("write error: {}", strerror(&e)))?;
        Ok(self.status)
    }
}

/// Runs `forklat` with the arguments of the command line, of which the first is the program's name.
#[must_use]
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    if words
        .get(1)
        .is_some_and(|word| word == scale::IDLE_PROCESS_ARG)
    {
        let errno = scale::run_idle_process(words.into_iter().skip(2));
        return ExitCode::from(u8::try_from(errno).unwrap_or(u8::MAX));
    }
    let parsed = cli::command()
        .try_get_matches_from(&words)
        .and_then(|matches| ForklatArgs::from_arg_matches(&matches));
    let words_read = match parsed {
        Ok(words) => words,
        Err(e) => return answer(&e, &words),
    };
    match perform(&words_read.subcommand, &words) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        Err(failure) => {
            print_diagnostic(&failure.to_string());
            if matches!(failure, ForklatError::Usage(_)) {
                print_hint(&words);
            }
            ExitCode::from(u8::try_from(failure.exit_status()).unwrap_or(u8::MAX))
        }
    }
}

/// Prints help, the version, or the error in the command line. Returns the exit status.
fn answer(error: &clap::Error, words: &[OsString]) -> ExitCode {
    if error.exit_code() != 0 {
        print_diagnostic(&cli::usage_error::sentence(error));
        print_hint(words);
        return ExitCode::from(EXIT_FORKLAT_FAILED as u8);
    }
    match std_streams::stdout().and_then(|_| error.print()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            print_diagnostic(&format!("write error: {}", strerror(&e)));
            ExitCode::from(EXIT_FORKLAT_FAILED as u8)
        }
    }
}

/// Prints the second line of a usage error: where the help of the subcommand is, or that of the program.
fn print_hint(words: &[OsString]) {
    let name = words.get(1).and_then(|word| word.to_str());
    let known = name.filter(|name| cli::command().find_subcommand(name).is_some());
    let command = known.map_or_else(|| PROGRAM.to_owned(), |name| format!("{PROGRAM} {name}"));
    let hint = format!("Try '{command} --help' for more information.");
    let _ = writeln!(io::stderr(), "{hint}");
}

/// Runs one subcommand. Changes that an earlier forklat left are undone first, and exports are opened before the
/// measurement. A signal that ended the task is raised again once everything is restored.
fn perform(command: &ForklatCommand, words: &[OsString]) -> Result<i32, ForklatError> {
    let no_exports = Exports::default();
    let (exports, verbose) = match command {
        ForklatCommand::Run(words) => (&words.export.0, words.verbose),
        ForklatCommand::Compare(words) => (&words.export.0, words.verbose),
        ForklatCommand::Scale(words) => (&words.export.0, false),
        // It has a log instead, and no report at the end.
        ForklatCommand::Watch(_) => (&no_exports, false),
        ForklatCommand::Merge(words) => (&words.export.0, words.verbose),
    };
    for line in host::undo_journal::undo_leftovers() {
        print_diagnostic(&line);
    }
    let opened = exports.open()?;
    let words = words.iter().map(|word| word.to_string_lossy().into_owned());
    let task = TaskContext {
        signals: install_signals(command).map_err(|e| format!("cannot handle signals: {e}"))?,
        command_line: words.collect(),
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
    };
    let result = match command {
        ForklatCommand::Run(words) => run_subcommand::run(words, &task),
        ForklatCommand::Compare(words) => compare::run(words, &task),
        ForklatCommand::Scale(words) => grow(words, &task).map(TaskOutcome::succeeded),
        ForklatCommand::Watch(words) => return watch::run(words, &task),
        ForklatCommand::Merge(words) => merge::merge(&words.files).map(TaskOutcome::succeeded),
    };
    task.signals.terminate_on_next_signal();
    match result {
        Ok(outcome) => outcome.publish(opened, verbose),
        Err(failure) => {
            task.signals.raise_again();
            Err(failure)
        }
    }
}

fn install_signals(command: &ForklatCommand) -> io::Result<Signals> {
    match command {
        // A command may survive an interrupt. The measurement then ends when the command does.
        ForklatCommand::Run(words) if !words.command.is_empty() => {
            Signals::install_without_termination()
        }
        // These change the host, so a second signal must not end it before it has restored the host.
        ForklatCommand::Compare(_) => Signals::install_without_termination(),
        ForklatCommand::Run(words) if words.disk.is_given() => {
            Signals::install_without_termination()
        }
        _ => Signals::install(),
    }
}

/// Runs `forklat scale` and returns its report.
fn grow(words: &cli::scale::ScaleArgs, task: &TaskContext) -> Result<Report, ForklatError> {
    let live = StatusLine::on_terminal();
    let report = Report {
        facts: HostInfo::read(Path::new("/"), words.on.first().map(PathBuf::as_path)),
        ..task.report("scale")
    };
    let caller = scale::RunControl {
        interrupted: &|| task.signals.pending_signal().is_some(),
        status: &|text| live.set_message(text),
    };
    let scale = scale::run(words, report, &caller);
    live.finish();
    scale
}

/// Prints a line on standard error. A failure is ignored, since there is nowhere to report it.
pub(crate) fn print_diagnostic(message: &str) {
    let _ = writeln!(io::stderr(), "{PROGRAM}: {message}");
}
