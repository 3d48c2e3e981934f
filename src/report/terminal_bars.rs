//! The progress on a terminal: a line of the run, one about what holds it back, and one of each file that takes long.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counters::RunProgress;
use super::progress_figures::ProgressFigures;
use super::progress_line::ProgressLine;
use super::progress_text;
use super::quote::quote_if_needed;
use super::terminal_frame::{ScreenSize, TerminalFrame};
use super::text_width::display_width;
use crate::transfer::rate_limit::Bottleneck;
use crate::transfer::{Phase, Progress};

/// Shortest time after which a bar is shown and the total work is counted. Shorter copies end before a bar can be read.
pub const PROGRESS_DELAY: Duration = Duration::from_secs(1);

/// Time over which the shown rate is an average: a throttled copy changes its rate within seconds.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Least time between two samples of the rate.
const RATE_SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// The lines that the terminal shows now.
#[derive(Debug, Default)]
pub(super) struct TerminalBars(Mutex<BarState>);

#[derive(Debug, Default)]
struct BarState {
    frame: TerminalFrame,
    /// Whether anything was drawn in this run.
    was_drawn: bool,
    recent_rate: RecentRate,
    /// Whether something has held the copy back. The line about it then stays, because lines that appear and disappear
    /// cannot be read.
    was_throttled: bool,
    /// Files that take long, the first one that was begun on top.
    active: Vec<ActiveFile>,
}

/// A file that is being copied.
#[derive(Debug)]
struct ActiveFile {
    source: PathBuf,
    /// The last component of the source, since a path would leave no room for the figures.
    name: String,
    progress: Progress,
}

impl ActiveFile {
    fn new(source: &Path, progress: &Progress) -> Self {
        Self {
            source: source.into(),
            name: shown_name(source, progress.phase),
            progress: *progress,
        }
    }
}

/// Returns the last component of a path, without control characters, behind what is done with the file.
fn shown_name(source: &Path, phase: Phase) -> String {
    let name = quote_if_needed(source.file_name().unwrap_or(source.as_os_str()));
    format!("{}{name}", progress_text::phase_prefix(phase))
}

/// What is drawn in one frame, apart from the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunView<'a> {
    pub(super) run: &'a RunProgress,
    pub(super) has_multiple_files: bool,
    /// The progress and the source of the file whose thread reports.
    pub(super) at_work: Option<(&'a Progress, &'a Path)>,
    /// What holds the copy back, if anything does.
    pub(super) bottleneck: Option<&'a Bottleneck>,
    /// Whether the lines name the engines.
    pub(super) names_engines: bool,
}

impl TerminalBars {
    fn state(&self) -> MutexGuard<'_, BarState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the progress of a file that takes long. It is shown in the next frame.
    pub(super) fn record_file(&self, progress: &Progress, source: &Path) {
        if progress.elapsed < PROGRESS_DELAY {
            return;
        }
        let mut state = self.state();
        match state.active.iter_mut().find(|file| file.source == source) {
            Some(file) => *file = ActiveFile::new(source, progress),
            None => state.active.push(ActiveFile::new(source, progress)),
        }
    }

    /// Removes a file that has ended, completely or not.
    pub(super) fn remove_file(&self, source: &Path) {
        self.state().active.retain(|file| file.source != source);
    }

    /// Draws the run and all files at work.
    pub(super) fn draw(&self, view: RunView<'_>) {
        let mut state = self.state();
        state.was_throttled |= view.bottleneck.is_some();
        let rate = state.recent_rate.sample(view.run);
        let size = ScreenSize::of_stderr();
        let lines = state.lines(view, rate, size);
        state.frame.draw(&lines, size);
        state.was_drawn = true;
    }

    /// Draws one line of text, before the run copies anything.
    pub(super) fn draw_text(&self, text: &str) {
        let lines = [text.to_owned()];
        self.state().frame.draw(&lines, ScreenSize::of_stderr());
    }

    /// Removes the lines while something else is written to the terminal. The next frame shows them again.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        state.frame.clear();
        write()
    }

    /// Removes all lines at the end of the run, and returns whether there ever were any.
    pub(super) fn finish(&self) -> bool {
        let mut state = self.state();
        state.frame.clear();
        state.was_drawn
    }
}

impl BarState {
    fn lines(&self, view: RunView<'_>, rate: f64, size: ScreenSize) -> Vec<String> {
        let figures = ProgressFigures {
            rate,
            ..ProgressFigures::of_run(view.run, view.has_multiple_files)
        };
        let mut lines = vec![run_line(view, &figures, size.line_width())];
        lines.extend(progress_text::freed_text(view.run.freed_bytes));
        if self.was_throttled {
            lines.push(
                view.bottleneck
                    .map_or_else(|| "not limited".to_owned(), progress_text::bottleneck_text),
            );
        }
        if view.has_multiple_files {
            let room = size.rows.saturating_sub(lines.len() + 1);
            lines.extend(self.file_lines(view.names_engines, size.line_width(), room));
        }
        lines
    }

    /// Formats a line of each active file, in at most `room` lines.
    fn file_lines(&self, names_engines: bool, width: usize, room: usize) -> Vec<String> {
        let shown = if self.active.len() > room {
            room.saturating_sub(1)
        } else {
            self.active.len()
        };
        let names = self.active[..shown].iter();
        let longest_name = names.map(|file| display_width(&file.name)).max();
        let files = self.active[..shown].iter().map(|file| {
            ProgressLine {
                figures: &ProgressFigures::of_file(&file.progress),
                name: &file.name,
                longest_name: longest_name.unwrap_or(0),
                is_one_of_several: true,
                engine: if names_engines {
                    file.progress.engine
                } else {
                    ""
                },
            }
            .fit(width)
        });
        let mut lines: Vec<String> = files.collect();
        if shown < self.active.len() && room > 0 {
            lines.push(format!("and {} more files", self.active.len() - shown));
        }
        lines
    }
}

/// Formats the first line: of the run, or of its only file.
fn run_line(view: RunView<'_>, figures: &ProgressFigures, width: usize) -> String {
    let only = view.at_work.filter(|_| !view.has_multiple_files);
    let name = only.map_or_else(String::new, |(file, source)| shown_name(source, file.phase));
    // The run is complete by its bytes while its only file is compared.
    let compared = only.filter(|(file, _)| file.phase != Phase::Copy);
    let compared = compared.map(|(file, _)| ProgressFigures::of_file(file));
    ProgressLine {
        figures: compared.as_ref().unwrap_or(figures),
        name: &name,
        longest_name: display_width(&name),
        is_one_of_several: false,
        engine: match only {
            Some((progress, _)) if view.names_engines => progress.engine,
            _ => "",
        },
    }
    .fit(width)
}

/// The rate over the last [`RATE_WINDOW`].
#[derive(Debug, Default)]
struct RecentRate(VecDeque<(Duration, u64)>);

impl RecentRate {
    /// Takes a sample, if the last one is old enough, and returns the rate since the oldest in bytes per second. The rate
    /// is that of the whole run until there are two samples.
    fn sample(&mut self, run: &RunProgress) -> f64 {
        let samples = &mut self.0;
        let (now, bytes) = (run.elapsed, run.copied_bytes);
        if samples
            .back()
            .is_none_or(|(last, _)| now >= *last + RATE_SAMPLE_INTERVAL)
        {
            samples.push_back((now, bytes));
        }
        while samples
            .get(1)
            .is_some_and(|(second, _)| now >= *second + RATE_WINDOW)
        {
            samples.pop_front();
        }
        match samples.front() {
            Some((then, before)) if now >= *then + RATE_SAMPLE_INTERVAL => {
                // Fewer bytes than before are those of a file that failed.
                bytes.saturating_sub(*before) as f64 / (now - *then).as_secs_f64()
            }
            _ => run.rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = RecentRate::default();
        let mut at = |seconds: u64, bytes: u64| {
            rate.sample(&RunProgress {
                files: 0,
                bytes,
                copied_bytes: bytes,
                freed_bytes: 0,
                rate: 7.0,
                elapsed: Duration::from_secs(seconds),
                total: None,
            })
        };
        assert_eq!(at(1, 0), 7.0, "with one sample that of the run");
        for second in 2..=20 {
            assert_eq!(at(second, (second - 1) * 100), 100.0);
        }
        for second in 21..=32 {
            at(second, 1900 + (second - 20) * 10);
        }
        assert_eq!(at(33, 2030), 10.0, "what was before is forgotten");
        assert_eq!(at(34, 0), 0.0, "a file failed");
    }

    #[test]
    fn all_files_at_work_are_shown_as_far_as_there_is_room() {
        let mut state = BarState::default();
        for name in ["one", "two", "three"] {
            let progress = Progress {
                copied: 1 << 20,
                size: Some(4 << 20),
                engine: "splice",
                elapsed: Duration::from_secs(2),
                phase: Phase::Copy,
            };
            state
                .active
                .push(ActiveFile::new(Path::new(name), &progress));
        }
        let all = state.file_lines(false, 39, 3);
        assert_eq!(all[0], "one    25% 1.00/4.00 MiB 512 KiB/s", "{all:?}");
        assert_eq!(all.len(), 3);
        let some = state.file_lines(true, 79, 2);
        assert!(some[0].ends_with("0:06 left  splice"), "{some:?}");
        assert_eq!(some[1], "and 2 more files");
        assert!(state.file_lines(false, 79, 0).is_empty());
    }
}
