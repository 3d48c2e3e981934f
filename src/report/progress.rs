//! Shows the progress as a bar on a terminal, as lines in a log, or as JSON events, and decides when the next one is
//! due.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counters::Counters;
use super::line_order::Stream;
pub use super::terminal_bars::PROGRESS_DELAY;
use super::terminal_bars::TerminalBars;
use super::throttle_status::ThrottleStatus;
use super::{progress_text, wire};
use crate::transfer::Progress;

/// Time between two lines in a log. JSON events and changes of the bar are more frequent.
const LOG_LINE_INTERVAL: Duration = Duration::from_secs(3);
const JSON_EVENT_INTERVAL: Duration = Duration::from_secs(1);
const BAR_DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// When to show progress: the WHEN argument of `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShowProgress {
    /// On a terminal, for copies that take long enough.
    #[default]
    Auto,
    /// Also in a log that is no terminal.
    Always,
    /// Progress is never shown at all.
    Never,
}

/// The form in which progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProgressMode {
    Bar,
    LogLines,
    JsonEvents,
    Off,
}

/// What the user sees of the progress. Any thread may report progress, and one of them shows it when it is due.
#[derive(Debug)]
pub(super) struct ProgressDisplay {
    mode: ProgressMode,
    bar: TerminalBars,
    /// When the next output is due, in nanoseconds since the run was started.
    next_due_ns: AtomicU64,
}

/// The progress and the source of the file whose thread reports, if one does.
type ActiveFile<'a> = Option<(&'a Progress, &'a Path)>;

/// A line that the caller shall write, and its stream.
pub(super) type PendingLine = Option<(Stream, String)>;

impl ProgressDisplay {
    /// Decides the form of the progress, once for the run.
    pub(super) fn new(when: ShowProgress, json: bool) -> Self {
        let mode = match when {
            ShowProgress::Never => ProgressMode::Off,
            _ if json => ProgressMode::JsonEvents,
            _ if std::io::stderr().is_terminal() => ProgressMode::Bar,
            ShowProgress::Always => ProgressMode::LogLines,
            ShowProgress::Auto => ProgressMode::Off,
        };
        let first = match mode {
            ProgressMode::Bar => PROGRESS_DELAY,
            ProgressMode::LogLines => LOG_LINE_INTERVAL,
            ProgressMode::JsonEvents | ProgressMode::Off => Duration::ZERO,
        };
        Self {
            mode,
            bar: TerminalBars::new(),
            next_due_ns: AtomicU64::new(nanoseconds(first)),
        }
    }

    /// Returns whether progress is shown in any form.
    pub(super) fn is_shown(&self) -> bool {
        self.mode != ProgressMode::Off
    }

    /// Shows the progress if it is due: a file advanced, or a source was finished.
    pub(super) fn update(
        &self,
        tally: &Counters,
        held: &ThrottleStatus,
        at_work: ActiveFile<'_>,
    ) -> PendingLine {
        match (self.mode, at_work) {
            (ProgressMode::Off, _) | (ProgressMode::JsonEvents, None) => {}
            (ProgressMode::JsonEvents, Some((progress, _))) => {
                if self.claim_turn(tally, JSON_EVENT_INTERVAL) {
                    let event = wire::Progress::new(progress, &tally.run_progress());
                    let line = wire::Event::Progress(event).into_line();
                    return Some((Stream::Stdout, line));
                }
            }
            (ProgressMode::Bar, _) => {
                if self.claim_turn(tally, BAR_DRAW_INTERVAL) {
                    self.draw(tally, held, at_work);
                }
            }
            (ProgressMode::LogLines, _) => {
                if self.claim_turn(tally, LOG_LINE_INTERVAL) {
                    return log_line(tally, held, at_work).map(|line| (Stream::Stderr, line));
                }
            }
        }
        None
    }

    /// Returns whether output is due and this thread is the one to show it.
    fn claim_turn(&self, tally: &Counters, every: Duration) -> bool {
        let now = nanoseconds(tally.elapsed());
        let next = self.next_due_ns.load(Ordering::Relaxed);
        let after = now + nanoseconds(every);
        now >= next
            && self
                .next_due_ns
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn draw(&self, tally: &Counters, held: &ThrottleStatus, at_work: ActiveFile<'_>) {
        if tally.has_multiple_files() {
            self.bar.draw_run(&tally.run_progress(), at_work);
        } else if let Some((progress, _)) = at_work {
            self.bar.draw_single_file(progress);
        }
        self.bar.draw_throttle_line(held.current().as_ref());
    }

    /// Removes the line of a file that has ended, completely or not, or returns its last line for a log.
    pub(super) fn finish_file(
        &self,
        tally: &Counters,
        last: &Progress,
        source: &Path,
        complete: bool,
    ) -> PendingLine {
        match self.mode {
            ProgressMode::LogLines if complete && !tally.has_multiple_files() => {
                return Some((Stream::Stderr, progress_text::file_text(last, source)));
            }
            // Only a file that took long has a line.
            ProgressMode::Bar if last.elapsed >= PROGRESS_DELAY => {
                self.bar.remove_file_line(source);
            }
            _ => {}
        }
        None
    }

    /// Removes the bar while something else is written to the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Removes the bar at the end of the run, or returns the last line for a log.
    pub(super) fn finish(&self, tally: &Counters) -> PendingLine {
        self.bar.finish();
        (self.mode == ProgressMode::LogLines && tally.has_multiple_files()).then(|| {
            (
                Stream::Stderr,
                progress_text::run_text(&tally.run_progress()),
            )
        })
    }
}

/// Formats a progress line for a log.
fn log_line(tally: &Counters, held: &ThrottleStatus, at_work: ActiveFile<'_>) -> Option<String> {
    let line = if tally.has_multiple_files() {
        Some(progress_text::run_text(&tally.run_progress()))
    } else {
        at_work.map(|(progress, source)| progress_text::file_text(progress, source))
    };
    line.map(|line| append_throttle_status(line, held))
}

/// Formats the answer to SIGUSR1: the current file, the whole run if it has more files, and what holds the copy back.
pub(super) fn status_line(
    tally: &Counters,
    held: &ThrottleStatus,
    at_work: ActiveFile<'_>,
) -> Option<String> {
    let file = at_work.map(|(progress, source)| progress_text::file_text(progress, source));
    let run = tally
        .has_multiple_files()
        .then(|| progress_text::run_text(&tally.run_progress()));
    let line = match (file, run) {
        (Some(file), Some(run)) => Some(format!("{file}; in all {run}")),
        (file, run) => file.or(run),
    };
    line.map(|line| append_throttle_status(line, held))
}

fn append_throttle_status(line: String, held: &ThrottleStatus) -> String {
    match held.current() {
        Some(holding) => format!("{line}, {}", progress_text::bottleneck_text(&holding)),
        None => line,
    }
}

/// Returns the nanoseconds as 64 bits, which suffice for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
