//! How far the copy is: a bar on a terminal, lines in a log, events in JSON.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::json;
use super::quote::quote;
use super::shared::eprint_line;
use super::units::{bytes, rate, time};
use crate::transfer::Progress;

/// Copies shorter than this show no bar.
const LASTING: Duration = Duration::from_secs(1);

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

/// What the user sees of progress.
#[derive(Debug)]
pub struct Display {
    mode: Mode,
    bars: MultiProgress,
    total: Option<ProgressBar>,
    current: Option<ProgressBar>,
    started: Instant,
    told: Option<Instant>,
    source: String,
    files: u64,
    before: u64,
    last: Progress,
}

impl Display {
    /// Decides once where progress goes.
    #[must_use]
    pub fn new(when: When, json: bool) -> Self {
        let mode = match when {
            When::Never => Mode::Nothing,
            _ if json => Mode::Events,
            _ if std::io::stderr().is_terminal() => Mode::Bar,
            When::Always => Mode::Lines,
            When::Auto => Mode::Nothing,
        };
        Self {
            mode,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            total: None,
            current: None,
            started: Instant::now(),
            told: None,
            source: String::new(),
            files: 0,
            before: 0,
            last: Progress::default(),
        }
    }

    /// A file begins.
    pub fn begin(&mut self, source: &Path) {
        self.source = quote(source);
        self.last = Progress::default();
        self.files += 1;
    }

    /// A file has ended.
    pub fn end(&mut self) {
        if self.mode == Mode::Lines {
            eprint_line(&line(&self.last, &self.source));
        }
        self.before += self.last.copied;
    }

    /// A file goes on. Returns a line for standard output, when an event is due.
    pub fn progress(&mut self, progress: &Progress) -> Option<String> {
        self.last = *progress;
        match self.mode {
            Mode::Nothing => None,
            Mode::Bar => {
                if self.started.elapsed() >= LASTING && self.due(DRAW_EVERY) {
                    self.draw(progress);
                }
                None
            }
            Mode::Lines => {
                self.told.get_or_insert(self.started);
                if self.due(LINE_EVERY) {
                    eprint_line(&line(progress, &self.source));
                }
                None
            }
            Mode::Events => self
                .due(EVENT_EVERY)
                .then(|| json::progress(progress, speed(progress))),
        }
    }

    fn due(&mut self, every: Duration) -> bool {
        let due = self.told.is_none_or(|at| at.elapsed() >= every);
        if due {
            self.told = Some(Instant::now());
        }
        due
    }

    fn draw(&mut self, progress: &Progress) {
        let bars = &self.bars;
        let total = self.total.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(0).with_elapsed(LASTING));
            bar.set_style(style(
                "{bytes}/{total_bytes} {bar:24} {binary_bytes_per_sec}, {eta} left, {msg}",
            ));
            bar
        });
        // The sizes of the files to come are not known: the bar is of the current file, and many files get a second
        // line that names it and counts what was before.
        total.set_length(progress.size);
        total.set_position(progress.copied);
        total.set_message(progress.engine);
        if self.files > 1 {
            let second = self.current.get_or_insert_with(|| {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.set_style(style("{msg}"));
                bar
            });
            let done = bytes(self.before + progress.copied);
            second.set_message(format!(
                "file {}: {}, {done} in all",
                self.files, self.source
            ));
        }
    }

    /// Takes the bar away while something else is written to the terminal.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.total.is_some() {
            self.bars.suspend(write)
        } else {
            write()
        }
    }

    /// The run has ended.
    pub fn finish(&mut self) {
        for bar in [self.current.take(), self.total.take()]
            .into_iter()
            .flatten()
        {
            bar.finish_and_clear();
        }
    }
}

/// A template of ours that indicatif cannot read would be a mistake of ours, and the default still tells the truth.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn speed(progress: &Progress) -> f64 {
    progress.copied as f64 / progress.elapsed.as_secs_f64().max(1e-9)
}

/// A line for a log.
fn line(progress: &Progress, source: &str) -> String {
    let speed = speed(progress);
    let copied = bytes(progress.copied);
    let mut line = match progress.size {
        0 => format!("{source}: {copied}"),
        size => format!("{source}: {copied} of {}", bytes(size)),
    };
    line.push_str(&format!(", {}", rate(speed)));
    // Before the first byte there is nothing to reckon with.
    if progress.size > 0 && speed > 0.0 {
        let left = progress.size.saturating_sub(progress.copied) as f64 / speed;
        let left = Duration::from_secs(left as u64);
        line.push_str(&format!(", {} left", time(left)));
    }
    if !progress.engine.is_empty() {
        line.push_str(&format!(", {}", progress.engine));
    }
    line
}

/// The answer to SIGUSR1.
#[must_use]
pub fn status(progress: &Progress, source: &Path) -> String {
    line(progress, &quote(source))
}
