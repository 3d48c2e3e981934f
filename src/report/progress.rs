//! How far the copy is: a bar on a terminal, lines in a log, events in JSON; and when it is time for the next.

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

/// Lines in a log come this far apart, events in JSON and changes of the bar less.
const LOG_LINE_INTERVAL: Duration = Duration::from_secs(3);
const JSON_EVENT_INTERVAL: Duration = Duration::from_secs(1);
const BAR_DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// When to show progress: cp's WHEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowProgress {
    /// On a terminal, for copies that last.
    Auto,
    /// In a log, too.
    Always,
    /// Not at all.
    Never,
}

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProgressMode {
    Bar,
    LogLines,
    JsonEvents,
    Off,
}

/// What the user sees of progress. Any thread may come with news; one of them brings it out when it is time.
#[derive(Debug)]
pub(super) struct ProgressDisplay {
    mode: ProgressMode,
    bar: TerminalBars,
    /// When the next is due, in nanoseconds since the run began.
    next_due_ns: AtomicU64,
}

/// The file that tells of itself, if one does.
type ActiveFile<'a> = Option<(&'a Progress, &'a Path)>;

/// A line that is to be written.
pub(super) type PendingLine = Option<(Stream, String)>;

impl ProgressDisplay {
    /// Decides once where progress goes.
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

    /// Whether progress goes anywhere.
    pub(super) fn is_shown(&self) -> bool {
        self.mode != ProgressMode::Off
    }

    /// A file goes on, or the run has done with one.
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

    /// Whether it is time, and this thread is the one to tell.
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

    /// A file has ended, completely or not.
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
            // Only one that lasted has a line.
            ProgressMode::Bar if last.elapsed >= PROGRESS_DELAY => {
                self.bar.remove_file_line(source)
            }
            _ => {}
        }
        None
    }

    /// Takes the bar away while something else is written to the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// The run has ended.
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

/// A line for a log.
fn log_line(tally: &Counters, held: &ThrottleStatus, at_work: ActiveFile<'_>) -> Option<String> {
    let line = if tally.has_multiple_files() {
        Some(progress_text::run_text(&tally.run_progress()))
    } else {
        at_work.map(|(progress, source)| progress_text::file_text(progress, source))
    };
    line.map(|line| append_throttle_status(line, held))
}

/// The answer to SIGUSR1: the file at work, the run if there are more, and who holds it back.
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

/// 2^64 of them are 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
