//! The progress of a file or a run, and what holds it back, in words: for a log, for the bar, and in answer to SIGUSR1.

use std::path::Path;
use std::time::Duration;

use super::counters::{RunProgress, bytes_per_second};
use super::quote::quote;
use super::units::{
    format_bytes, format_hms, format_percent, format_rate, format_rate_short, format_seconds,
};
use crate::transfer::Progress;
use crate::transfer::rate_limit::{Bottleneck, Cause, FIGURE_PLACEHOLDER, FigureUnit, Rate};

/// Formats the progress of one file.
pub(super) fn file_text(progress: &Progress, source: &Path) -> String {
    let source = quote(source);
    let speed = bytes_per_second(progress.copied, progress.elapsed);
    let copied = format_bytes(progress.copied);
    let size = progress.size.filter(|size| *size > 0);
    let mut line = match size {
        None => format!("{source}: {copied}"),
        Some(size) => format!("{source}: {copied} of {}", format_bytes(size)),
    };
    line.push_str(&format!(", {}", format_rate(speed)));
    if let Some(size) = size {
        line.push_str(&time_left(size.saturating_sub(progress.copied), speed));
    }
    if !progress.engine.is_empty() {
        line.push_str(&format!(", {}", progress.engine));
    }
    line
}

/// Formats the progress of a run of several files.
pub(super) fn run_text(so_far: &RunProgress) -> String {
    let (files, done, speed) = (
        so_far.files,
        format_bytes(so_far.bytes),
        format_rate(so_far.rate),
    );
    match so_far.total {
        None => format!("{files} files, {done} so far, {speed}"),
        Some(total) => {
            let left = match total.bytes.saturating_sub(so_far.bytes) {
                0 => String::new(),
                bytes => time_left(bytes, so_far.rate),
            };
            let all = format_bytes(total.bytes);
            format!(
                "{files} of {} files, {done} of {all}, {speed}{left}",
                total.files
            )
        }
    }
}

/// Formats the remaining time; the text is empty while no estimate is possible.
fn time_left(bytes: u64, speed: f64) -> String {
    if speed <= 0.0 {
        return String::new();
    }
    let left = Duration::from_secs((bytes as f64 / speed) as u64);
    format!(", {} left", format_hms(left))
}

/// Formats what holds the copy back, in few words and with the allowed value in brackets: `held to 35 MiB/s by
/// fork-latency 6.2 ms (5 ms)`.
pub(super) fn bottleneck_text(holding: &Bottleneck) -> String {
    let rate = format_rate_short(holding.rate.as_f64());
    if holding.cause == Cause::LimitRate {
        return format!("limited to {rate}");
    }
    let (cause, target) = (holding.cause.name(), format_figure(holding, holding.target));
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
