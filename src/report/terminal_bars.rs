//! The bar on a terminal: a line of the run, one of who holds it back, and one of a file in it that takes its time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::counters::RunProgress;
use super::progress_text;
use crate::transfer::Progress;
use crate::transfer::rate_limit::Bottleneck;

/// Shortest time after which a copy has a bar, and what there is to do is counted: shorter ones are over before it is read.
pub const PROGRESS_DELAY: Duration = Duration::from_secs(1);

/// What is on the screen, if anything is.
#[derive(Debug)]
pub(super) struct TerminalBars {
    bars: MultiProgress,
    drawn: AtomicBool,
    lines: Mutex<BarLines>,
}

#[derive(Debug, Default)]
struct BarLines {
    run_line: Option<ProgressBar>,
    /// Whether the first shows how much of all is done.
    is_total_known: bool,
    /// Below the first, which has no room for it, once somebody has held it back. It stays: lines that come and go cannot
    /// be read.
    throttle_line: Option<ProgressBar>,
    file_line: Option<ProgressBar>,
    /// Whom the second line is of. Of several files at work one is shown until it ends: a line that changes with each
    /// glance cannot be read.
    file_line_source: Option<PathBuf>,
}

impl TerminalBars {
    pub(super) fn new() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            drawn: AtomicBool::new(false),
            lines: Mutex::default(),
        }
    }

    fn lines(&self) -> MutexGuard<'_, BarLines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: ProgressBar, template: &str) -> ProgressBar {
        let bar = self.bars.add(line);
        bar.set_style(bar_style(template));
        self.drawn.store(true, Ordering::Relaxed);
        bar
    }

    /// The only file of a run.
    pub(super) fn draw_single_file(&self, progress: &Progress) {
        let mut lines = self.lines();
        let bar = lines.run_line.get_or_insert_with(|| {
            let bar = hidden_bar();
            // What was copied before there was a bar did not come in no time.
            bar.set_position(progress.copied);
            bar.reset_eta();
            let template =
                "{bytes}/{total_bytes} {bar:24} {binary_bytes_per_sec}, {eta} left, {msg}";
            self.add(bar, template)
        });
        bar.set_length(progress.size);
        bar.set_position(progress.copied);
        bar.set_message(progress.engine);
    }

    /// A run of several files, and the one of them that tells of itself.
    pub(super) fn draw_run(&self, so_far: &RunProgress, at_work: Option<(&Progress, &Path)>) {
        let mut lines = self.lines();
        self.draw_run_line(&mut lines, so_far);
        let Some((progress, source)) = at_work.filter(|(p, _)| p.elapsed >= PROGRESS_DELAY) else {
            return;
        };
        if lines
            .file_line_source
            .as_deref()
            .is_some_and(|shown| shown != source)
        {
            return;
        }
        let bar = lines
            .file_line
            .get_or_insert_with(|| self.add(hidden_bar(), "{wide_msg}"));
        // Its name alone: a path would leave no room for the figures.
        let name = source.file_name().map_or(source, Path::new);
        bar.set_message(progress_text::file_text(progress, name));
        lines.file_line_source = Some(source.into());
    }

    /// Who holds it back, below the first line.
    pub(super) fn draw_throttle_line(&self, holding: Option<&Bottleneck>) {
        let mut lines = self.lines();
        if lines.run_line.is_none() || (lines.throttle_line.is_none() && holding.is_none()) {
            return;
        }
        let line = lines.throttle_line.get_or_insert_with(|| {
            let line = self.bars.insert(1, hidden_bar());
            line.set_style(bar_style("{wide_msg}"));
            line
        });
        line.set_message(holding.map_or_else(
            || "not held back".to_owned(),
            progress_text::bottleneck_text,
        ));
    }

    fn draw_run_line(&self, lines: &mut BarLines, so_far: &RunProgress) {
        let bar = lines
            .run_line
            .get_or_insert_with(|| self.add(hidden_bar(), "{wide_msg}"));
        if let Some(total) = so_far.total {
            if !lines.is_total_known {
                bar.set_style(bar_style("{percent:>3}% {wide_bar} {msg}"));
                lines.is_total_known = true;
            }
            bar.set_length(total.bytes);
            bar.set_position(so_far.bytes);
        }
        bar.set_message(progress_text::run_text(so_far));
    }

    /// A file has ended: its line is free for another.
    pub(super) fn remove_file_line(&self, source: &Path) {
        let mut lines = self.lines();
        if lines.file_line_source.as_deref() == Some(source) {
            lines.file_line_source = None;
            if let Some(bar) = lines.file_line.take() {
                bar.finish_and_clear();
                self.bars.remove(&bar);
            }
        }
    }

    /// Takes the bar away while something else is written to the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.drawn.load(Ordering::Relaxed) {
            self.bars.suspend(write)
        } else {
            write()
        }
    }

    /// The run has ended.
    pub(super) fn finish(&self) {
        let mut lines = self.lines();
        for bar in [
            lines.file_line.take(),
            lines.throttle_line.take(),
            lines.run_line.take(),
        ]
        .into_iter()
        .flatten()
        {
            bar.finish_and_clear();
        }
        self.drawn.store(false, Ordering::Relaxed);
    }
}

/// A line that is on no screen yet.
fn hidden_bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden())
        .with_elapsed(PROGRESS_DELAY)
}

/// A template of ours that indicatif cannot read would be a mistake of ours, and the default still tells the truth.
fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
