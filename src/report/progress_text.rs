//! The progress of a file or a run, and what holds it back, in words: for a log, for the bar, and in answer to SIGUSR1.

use std::path::Path;

use super::counters::{RunSummary, bytes_per_second};
use super::progress_figures::ProgressFigures;
use super::quote::quote;
use super::text_width::display_width;
use super::units::{
    format_clock, format_files, format_percent, format_rate_short, format_seconds, format_size,
    format_span,
};
use crate::transfer::rate_limit::{Bottleneck, Cause, FIGURE_PLACEHOLDER, FigureUnit, Rate};
use crate::transfer::{Phase, Progress, engine};

/// Formats the progress of one file for a log or a status line.
pub(super) fn file_text(progress: &Progress, source: &Path, engine: &str) -> String {
    let figures = figures_text(&ProgressFigures::of_file(progress));
    let engine = if engine.is_empty() {
        String::new()
    } else {
        format!(", {engine}")
    };
    format!(
        "{}: {}{figures}{engine}",
        quote(source),
        phase_prefix(progress.phase)
    )
}

/// Returns the words before what is said of a file, which is nothing while it is copied.
pub(super) fn phase_prefix(phase: Phase) -> &'static str {
    match phase {
        Phase::Copy => "",
        Phase::Verify { .. } => "verifying ",
    }
}

/// Formats the figures of a file or a run, in the order of the fields of the bar.
pub(super) fn figures_text(figures: &ProgressFigures) -> String {
    let mut parts = Vec::new();
    parts.extend(figures.percent().map(|percent| format!("{percent}%")));
    let done = format_size(figures.done);
    parts.push(match figures.total {
        None => format!("{done} so far"),
        Some(total) => format!("{done} of {}", format_size(total)),
    });
    parts.extend(figures.files.map(|files| match figures.total_files {
        None => format_files(files),
        Some(total) => format!("{files} of {}", format_files(total)),
    }));
    parts.push(format!("{}/s", format_size(figures.rate as u64)));
    parts.push(format!("{} elapsed", format_clock(figures.elapsed)));
    let left = figures.time_left();
    parts.extend(left.map(|left| format!("{} left", format_clock(left))));
    parts.join(", ")
}

/// Formats how much memory of sources has come back: `1.50 GiB of memory given back`. `None` if it is none.
pub(super) fn freed_text(bytes: u64) -> Option<String> {
    (bytes > 0).then(|| format!("{} of memory given back", format_size(bytes)))
}

/// Formats what a run did, for its last line: `4.00 GiB in 26 s, 157 MiB/s, 3000 files, O_DIRECT by splice`. What does not
/// fit into `width` columns is left out, the last first.
pub(super) fn summary_text(summary: &RunSummary, has_multiple_files: bool, width: usize) -> String {
    let rate = bytes_per_second(summary.bytes, summary.elapsed) as u64;
    let (bytes, time) = (format_size(summary.bytes), format_span(summary.elapsed));
    let mut parts = vec![
        format!("{bytes} in {time}"),
        format!("{}/s", format_size(rate)),
    ];
    if has_multiple_files {
        parts.push(format_files(summary.files));
    }
    parts.extend(summary.engine.map(|name| match engine::find(name) {
        Some(spec) if spec.is_direct() => format!("O_DIRECT by {name}"),
        Some(spec) if spec.is_cached() => format!("page cache by {name}"),
        _ => format!("by {name}"),
    }));
    parts.extend(freed_text(summary.freed_bytes));
    if summary.skipped > 0 {
        parts.push(format!("{} skipped", summary.skipped));
    }
    match summary.errors {
        0 => {}
        1 => parts.push("1 error".to_owned()),
        errors => parts.push(format!("{errors} errors")),
    }
    while parts.len() > 1 && display_width(&parts.join(", ")) > width {
        parts.pop();
    }
    parts.join(", ")
}

/// Formats what holds the copy back, in few words and with the allowed value in brackets: `held to 35 MiB/s by
/// fork-latency 6.2 ms (5 ms)`.
pub(super) fn bottleneck_text(holding: &Bottleneck) -> String {
    let rate = format_rate_short(holding.rate.as_f64());
    if holding.cause == Cause::LimitRate {
        return format!("limited to {rate}");
    }
    let (cause, target) = (holding.cause.name(), format_figure(holding, holding.target));
    if holding.cause == Cause::Deadline {
        return match holding.rate {
            Rate::Unlimited => "limits lifted for the deadline".to_owned(),
            _ => format!("raised to {rate} for the deadline"),
        };
    }
    let figure = format_figure(holding, holding.figure);
    match holding.rate {
        Rate::Stopped => format!("waiting for {cause} {figure} ({target})"),
        _ => format!("held to {rate} by {cause} {figure} ({target})"),
    }
}

/// Formats what holds the copy back as a clause: `fork takes 6.2 ms (limit: 5 ms)`.
#[must_use]
pub fn bottleneck_clause(holding: &Bottleneck) -> String {
    let figure = format_figure(holding, holding.figure);
    let target = format_figure(holding, holding.target);
    let now = holding.cause.spec().phrase;
    let now = now.replace(FIGURE_PLACEHOLDER, &figure);
    if holding.cause == Cause::Deadline {
        return format!("{now}, and the deadline needs {target}");
    }
    format!("{now} (limit: {target})")
}

/// Formats a figure or a target in the unit of its signal.
fn format_figure(holding: &Bottleneck, figure: f64) -> String {
    match holding.cause.spec().unit {
        FigureUnit::BytesPerSec => format_rate_short(figure),
        FigureUnit::Seconds => format_seconds(figure),
        FigureUnit::Percent => format_percent(figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(cause: Cause, (figure, target): (f64, f64), short: &str, long: &str) {
        let holding = Bottleneck {
            cause,
            figure,
            target,
            rate: Rate::from_bytes_per_sec(35 << 20),
        };
        assert_eq!(bottleneck_text(&holding), short);
        assert_eq!(bottleneck_clause(&holding), long);
    }

    #[test]
    fn who_holds_back_is_named_with_figure_and_target() {
        says(
            Cause::ForkLatency,
            (0.0062, 0.005),
            "held to 35 MiB/s by fork-latency 6.2 ms (5 ms)",
            "fork takes 6.2 ms (limit: 5 ms)",
        );
        says(
            Cause::WriteLatency,
            (1.25, 0.05),
            "held to 35 MiB/s by write-latency 1.25 s (50 ms)",
            "a write with fdatasync takes 1.25 s (limit: 50 ms)",
        );
        says(
            Cause::MemoryPressure,
            (12.34, 5.0),
            "held to 35 MiB/s by memory-pressure 12.3 % (5 %)",
            "tasks wait for memory 12.3 % of the time (limit: 5 %)",
        );
        says(
            Cause::IoPressure,
            (100.0, 0.5),
            "held to 35 MiB/s by io-pressure 100 % (0.5 %)",
            "tasks wait for disks 100 % of the time (limit: 0.5 %)",
        );
        says(
            Cause::LimitRate,
            (3e7, 36_700_160.0),
            "limited to 35 MiB/s",
            "the copy runs at 28.61 MiB/s (limit: 35 MiB/s)",
        );
        says(
            Cause::Deadline,
            (3e7, 36_700_160.0),
            "raised to 35 MiB/s for the deadline",
            "the copy runs at 28.61 MiB/s, and the deadline needs 35 MiB/s",
        );
    }

    #[test]
    fn where_nothing_moves_yet_there_is_no_rate() {
        let holding = Bottleneck {
            cause: Cause::ForkLatency,
            figure: 0.0004,
            target: 0.005,
            rate: Rate::Stopped,
        };
        let short = "waiting for fork-latency 400 us (5 ms)";
        assert_eq!(bottleneck_text(&holding), short);
    }
}
