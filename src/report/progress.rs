//! How far the copy is: a bar on a terminal, lines in a log, events in JSON; and when it is time for the next.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bar::Bar;
pub use super::bar::LASTING;
use super::held::Held;
use super::order::Stream;
use super::tally::Tally;
use super::{json, phrase};
use crate::transfer::Progress;

/// Lines in a log come this far apart, events in JSON and changes of the bar less.
const LINE_EVERY: Duration = Duration::from_secs(3);
const EVENT_EVERY: Duration = Duration::from_secs(1);
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// When to show progress: cp's WHEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// On a terminal, for copies that last.
    Auto,
    /// In a log, too.
    Always,
    /// Not at all.
    Never,
}

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bar,
    Lines,
    Events,
    Nothing,
}

/// What the user sees of progress. Any thread may come with news; one of them brings it out when it is time.
#[derive(Debug)]
pub(super) struct Display {
    mode: Mode,
    bar: Bar,
    /// When the next is due, in nanoseconds since the run began.
    next: AtomicU64,
}

/// The file that tells of itself, if one does.
type AtWork<'a> = Option<(&'a Progress, &'a Path)>;

/// A line that is to be written.
pub(super) type Due = Option<(Stream, String)>;

impl Display {
    /// Decides once where progress goes.
    pub(super) fn new(when: When, json: bool) -> Self {
        let mode = match when {
            When::Never => Mode::Nothing,
            _ if json => Mode::Events,
            _ if std::io::stderr().is_terminal() => Mode::Bar,
            When::Always => Mode::Lines,
            When::Auto => Mode::Nothing,
        };
        let first = match mode {
            Mode::Bar => LASTING,
            Mode::Lines => LINE_EVERY,
            Mode::Events | Mode::Nothing => Duration::ZERO,
        };
        Self {
            mode,
            bar: Bar::new(),
            next: AtomicU64::new(nanoseconds(first)),
        }
    }

    /// Whether progress goes anywhere.
    pub(super) fn is_shown(&self) -> bool {
        self.mode != Mode::Nothing
    }

    /// A file goes on, or the run has done with one.
    pub(super) fn progress(&self, tally: &Tally, held: &Held, at_work: AtWork<'_>) -> Due {
        match (self.mode, at_work) {
            (Mode::Nothing, _) | (Mode::Events, None) => {}
            (Mode::Events, Some((progress, _))) => {
                if self.due(tally, EVENT_EVERY) {
                    return Some((Stream::Out, json::progress(progress, &tally.so_far())));
                }
            }
            (Mode::Bar, _) => {
                if self.due(tally, DRAW_EVERY) {
                    self.draw(tally, held, at_work);
                }
            }
            (Mode::Lines, _) => {
                if self.due(tally, LINE_EVERY) {
                    return words(tally, held, at_work).map(|line| (Stream::Err, line));
                }
            }
        }
        None
    }

    /// Whether it is time, and this thread is the one to tell.
    fn due(&self, tally: &Tally, every: Duration) -> bool {
        let now = nanoseconds(tally.elapsed());
        let next = self.next.load(Ordering::Relaxed);
        let after = now + nanoseconds(every);
        now >= next
            && self
                .next
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn draw(&self, tally: &Tally, held: &Held, at_work: AtWork<'_>) {
        if tally.is_several() {
            self.bar.draw_run(&tally.so_far(), at_work);
        } else if let Some((progress, _)) = at_work {
            self.bar.draw_one(progress);
        }
        self.bar.draw_held(held.now().as_ref());
    }

    /// A file has ended, completely or not.
    pub(super) fn end(&self, tally: &Tally, last: &Progress, source: &Path, complete: bool) -> Due {
        match self.mode {
            Mode::Lines if complete && !tally.is_several() => {
                return Some((Stream::Err, phrase::file(last, source)));
            }
            // Only one that lasted has a line.
            Mode::Bar if last.elapsed >= LASTING => self.bar.end(source),
            _ => {}
        }
        None
    }

    /// Takes the bar away while something else is written to the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// The run has ended.
    pub(super) fn finish(&self, tally: &Tally) -> Due {
        self.bar.finish();
        (self.mode == Mode::Lines && tally.is_several())
            .then(|| (Stream::Err, phrase::run(&tally.so_far())))
    }
}

/// A line for a log.
fn words(tally: &Tally, held: &Held, at_work: AtWork<'_>) -> Option<String> {
    let line = if tally.is_several() {
        Some(phrase::run(&tally.so_far()))
    } else {
        at_work.map(|(progress, source)| phrase::file(progress, source))
    };
    line.map(|line| with_who_holds(line, held))
}

/// The answer to SIGUSR1: the file at work, the run if there are more, and who holds it back.
pub(super) fn status(tally: &Tally, held: &Held, at_work: AtWork<'_>) -> Option<String> {
    let file = at_work.map(|(progress, source)| phrase::file(progress, source));
    let run = tally.is_several().then(|| phrase::run(&tally.so_far()));
    let line = match (file, run) {
        (Some(file), Some(run)) => Some(format!("{file}; in all {run}")),
        (file, run) => file.or(run),
    };
    line.map(|line| with_who_holds(line, held))
}

fn with_who_holds(line: String, held: &Held) -> String {
    match held.now() {
        Some(holding) => format!("{line}, {}", phrase::held(&holding)),
        None => line,
    }
}

/// 2^64 of them are 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
