//! The bar on a terminal: a line of the run, one about what holds it back, and one of a file that takes long.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::counters::RunProgress;
use super::progress_text;
use crate::transfer::Progress;
use crate::transfer::rate_limit::Bottleneck;

/// Shortest time after which a bar is shown and the total work is counted. Shorter copies end before a bar can be read.
pub const PROGRESS_DELAY: Duration = Duration::from_secs(1);

/// The lines on the terminal, if there are any.
#[derive(Debug)]
pub(super) struct TerminalBars {
    bars: MultiProgress,
    drawn: AtomicBool,
    lines: Mutex<BarLines>,
}

#[derive(Debug, Default)]
struct BarLines {
    run_line: Option<ProgressBar>,
    /// Whether the first line shows how much of the total is done.
    is_total_known: bool,
    /// The line about what holds the copy back, below the first line, which has no room for it. Once shown it stays,
    /// because lines that appear and disappear cannot be read.
    throttle_line: Option<ProgressBar>,
    file_line: Option<ProgressBar>,
    /// The source that the second line shows. If several files are copied at once, one is shown until it ends, because
    /// a line that keeps changing cannot be read.
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

    /// Draws the only file of a run.
    pub(super) fn draw_single_file(&self, progress: &Progress) {
        let mut lines = self.lines();
        let bar = lines.run_line.get_or_insert_with(|| {
            let bar = hidden_bar();
            // Bytes copied before the bar was shown must not raise the rate that it estimates.
            bar.set_position(progress.copied);
            bar.reset_eta();
            let template =
                "{bytes}/{total_bytes} {bar:24} {binary_bytes_per_sec}, {eta} left, {msg}";
            self.add(bar, template)
        });
        bar.set_length(progress.size.unwrap_or_default());
        bar.set_position(progress.copied);
        bar.set_message(progress.engine);
    }

    /// Draws a run of several files, and the file whose thread reports.
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
        // Only the file name is shown: a path would leave no room for the numbers.
        let name = source.file_name().map_or(source, Path::new);
        bar.set_message(progress_text::file_text(progress, name));
        lines.file_line_source = Some(source.into());
    }

    /// Draws what holds the copy back, below the first line.
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
        line.set_message(
            holding.map_or_else(|| "not limited".to_owned(), progress_text::bottleneck_text),
        );
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

    /// Frees the line of a file that has ended for another file.
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

    /// Removes the bar while something else is written to the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.drawn.load(Ordering::Relaxed) {
            self.bars.suspend(write)
        } else {
            write()
        }
    }

    /// Removes all lines at the end of the run.
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

/// Makes a line that is not on the terminal yet.
fn hidden_bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden())
        .with_elapsed(PROGRESS_DELAY)
}

/// Returns the style of a template. An invalid template would be a bug here; the default style is then used.
fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
