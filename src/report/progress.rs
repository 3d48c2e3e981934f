//! Shows the progress as a bar on a terminal, as lines in a log, or as JSON events, and decides when the next one is
//! due.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counters::Counters;
use super::line_order::Stream;
use super::progress_figures::ProgressFigures;
pub use super::terminal_bars::PROGRESS_DELAY;
use super::terminal_bars::{RunView, TerminalBars};
use super::throttle_status::ThrottleStatus;
use super::{ReportOptions, progress_text, terminal_frame, wire};
use crate::transfer::Progress;

/// Time between two lines in a log. JSON events and changes of the bar are more frequent.
const LOG_LINE_INTERVAL: Duration = Duration::from_secs(3);
const JSON_EVENT_INTERVAL: Duration = Duration::from_secs(1);
const BAR_DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How often a terminal and a log show the place in a queue: a second is read, and a log grows.
const TERMINAL_WAIT_INTERVAL: Duration = Duration::from_secs(1);
const LOG_WAIT_INTERVAL: Duration = Duration::from_secs(10);

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
    /// Whether a copy that lasts less than [`PROGRESS_DELAY`] has a last line, too: in a log that was asked for.
    summarizes_short_runs: bool,
    /// Whether engines are named: with `-v` and `--debug`.
    names_engines: bool,
    bar: TerminalBars,
    /// When the next output is due, in nanoseconds since the run was started.
    next_due_ns: AtomicU64,
}

/// The progress and the source of the file whose thread reports, if one does.
type ActiveFile<'a> = Option<(&'a Progress, &'a Path)>;

/// A line that the caller shall write, and its stream.
pub(super) type PendingLine = Option<(Stream, String)>;

impl ProgressDisplay {
    /// Decides the form of the progress, once for the run. A terminal that cannot redraw a line gets the lines of a log.
    pub(super) fn new(report: &ReportOptions) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let mode = match report.progress {
            ShowProgress::Never => ProgressMode::Off,
            _ if report.json => ProgressMode::JsonEvents,
            _ if terminal_frame::can_redraw() => ProgressMode::Bar,
            ShowProgress::Auto if !is_terminal => ProgressMode::Off,
            ShowProgress::Auto | ShowProgress::Always => ProgressMode::LogLines,
        };
        let first = match mode {
            ProgressMode::Bar => PROGRESS_DELAY,
            ProgressMode::LogLines => LOG_LINE_INTERVAL,
            ProgressMode::JsonEvents | ProgressMode::Off => Duration::ZERO,
        };
        Self {
            mode,
            summarizes_short_runs: mode == ProgressMode::LogLines
                && report.progress == ShowProgress::Always,
            names_engines: report.verbose || report.debug,
            bar: TerminalBars::default(),
            next_due_ns: AtomicU64::new(nanoseconds(first)),
        }
    }

    /// Returns whether the run may have a last line, which names the engine.
    pub(super) fn shows_summary(&self) -> bool {
        matches!(self.mode, ProgressMode::Bar | ProgressMode::LogLines)
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
                if let Some((progress, source)) = at_work.filter(|_| tally.has_multiple_files()) {
                    self.bar.record_file(progress, source);
                }
                if self.claim_turn(tally, BAR_DRAW_INTERVAL) {
                    self.draw(tally, held, at_work);
                }
            }
            (ProgressMode::LogLines, _) => {
                if self.claim_turn(tally, LOG_LINE_INTERVAL) {
                    return self
                        .log_line(tally, held, at_work)
                        .map(|line| (Stream::Stderr, line));
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
        let has_multiple_files = tally.has_multiple_files();
        if has_multiple_files || at_work.is_some() {
            self.bar.draw(RunView {
                run: &tally.run_progress(),
                has_multiple_files,
                at_work,
                bottleneck: held.current().as_ref(),
                names_engines: self.names_engines,
            });
        }
    }

    /// Removes the line of a file that has ended, completely or not.
    pub(super) fn finish_file(&self, last: &Progress, source: &Path) {
        // Only a file that took long has a line.
        if self.mode == ProgressMode::Bar && last.elapsed >= PROGRESS_DELAY {
            self.bar.remove_file(source);
        }
    }

    /// Removes the bar while something else is written to the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.mode {
            ProgressMode::Bar => self.bar.suspend(write),
            _ => write(),
        }
    }

    /// Returns how often the place in a queue shall be looked at, to be shown.
    pub(super) fn waiting_refresh(&self) -> Option<Duration> {
        match self.mode {
            ProgressMode::Bar => Some(TERMINAL_WAIT_INTERVAL),
            ProgressMode::LogLines | ProgressMode::JsonEvents => Some(LOG_WAIT_INTERVAL),
            ProgressMode::Off => None,
        }
    }

    /// Shows that the copy waits. Returns the line of a log.
    pub(super) fn show_waiting(&self, text: &str) -> PendingLine {
        match self.mode {
            ProgressMode::Bar => self.bar.draw_text(text),
            ProgressMode::LogLines => return Some((Stream::Stderr, text.to_owned())),
            ProgressMode::JsonEvents | ProgressMode::Off => {}
        }
        None
    }

    /// Removes the line about the wait.
    pub(super) fn end_waiting(&self) {
        self.suspend(|| ());
    }

    /// Removes the bar at the end of the run, and returns the last line: what a run did that was not stopped and lasted.
    pub(super) fn finish(&self, tally: &Counters, is_complete: bool) -> PendingLine {
        let has_lasted = match self.mode {
            ProgressMode::Bar => self.bar.finish(),
            _ => self.summarizes_short_runs || tally.elapsed() >= PROGRESS_DELAY,
        };
        let summary = tally.summary();
        let has_copied = summary.files > 0 && self.shows_summary();
        (has_lasted && has_copied && is_complete).then(|| {
            let width = match self.mode {
                ProgressMode::Bar => terminal_frame::ScreenSize::of_stderr().line_width(),
                _ => usize::MAX,
            };
            let text = progress_text::summary_text(&summary, tally.has_multiple_files(), width);
            (Stream::Stderr, text)
        })
    }

    /// Formats a progress line for a log.
    fn log_line(
        &self,
        tally: &Counters,
        held: &ThrottleStatus,
        at_work: ActiveFile<'_>,
    ) -> Option<String> {
        let line = match at_work {
            _ if tally.has_multiple_files() => run_text(tally),
            Some((progress, source)) => self.file_text(progress, source),
            None => return None,
        };
        Some(append_status(line, tally, held))
    }

    /// Formats the answer to SIGUSR1: the current file, the whole run if it has more files, and what holds the copy
    /// back.
    pub(super) fn status_line(
        &self,
        tally: &Counters,
        held: &ThrottleStatus,
        at_work: ActiveFile<'_>,
    ) -> Option<String> {
        let file = at_work.map(|(progress, source)| self.file_text(progress, source));
        let run = tally.has_multiple_files().then(|| run_text(tally));
        let line = match (file, run) {
            (Some(file), Some(run)) => Some(format!("{file}; in all {run}")),
            (file, run) => file.or(run),
        };
        line.map(|line| append_status(line, tally, held))
    }

    fn file_text(&self, progress: &Progress, source: &Path) -> String {
        let engine = if self.names_engines {
            progress.engine
        } else {
            ""
        };
        progress_text::file_text(progress, source, engine)
    }
}

/// Formats how far the whole run is, and what holds it back.
pub(super) fn run_status(tally: &Counters, held: &ThrottleStatus) -> String {
    append_status(run_text(tally), tally, held)
}

fn run_text(tally: &Counters) -> String {
    let has_files = tally.has_multiple_files();
    let figures = ProgressFigures::of_run(&tally.run_progress(), has_files);
    progress_text::figures_text(&figures)
}

/// Appends how much memory has come back, and what holds the copy back.
fn append_status(mut line: String, tally: &Counters, held: &ThrottleStatus) -> String {
    let freed = progress_text::freed_text(tally.run_progress().freed_bytes);
    let holding = held
        .current()
        .map(|holding| progress_text::bottleneck_text(&holding));
    for text in freed.into_iter().chain(holding) {
        line.push_str(", ");
        line.push_str(&text);
    }
    line
}

/// Returns the nanoseconds as 64 bits, which suffice for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
