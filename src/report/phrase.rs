//! How far a file or a run is, and who holds it back, in words: for a log, for the bar, and in answer to SIGUSR1.

use std::path::Path;
use std::time::Duration;

use super::quote::quote;
use super::tally::{SoFar, per_second};
use super::units::{bytes, percent, rate, short_rate, short_time, time};
use crate::transfer::Progress;
use crate::transfer::pace::{Cause, Holding};

/// One file.
pub(super) fn file(progress: &Progress, source: &Path) -> String {
    let source = quote(source);
    let speed = per_second(progress.copied, progress.elapsed);
    let copied = bytes(progress.copied);
    let mut line = match progress.size {
        0 => format!("{source}: {copied}"),
        size => format!("{source}: {copied} of {}", bytes(size)),
    };
    line.push_str(&format!(", {}", rate(speed)));
    if progress.size > 0 {
        line.push_str(&left(progress.size.saturating_sub(progress.copied), speed));
    }
    if !progress.engine.is_empty() {
        line.push_str(&format!(", {}", progress.engine));
    }
    line
}

/// A run of several files.
pub(super) fn run(so_far: &SoFar) -> String {
    let (files, done, speed) = (so_far.files, bytes(so_far.bytes), rate(so_far.rate));
    match so_far.total {
        None => format!("{files} files, {done} so far, {speed}"),
        Some(total) => {
            let left = match total.bytes.saturating_sub(so_far.bytes) {
                0 => String::new(),
                bytes => left(bytes, so_far.rate),
            };
            let all = bytes(total.bytes);
            format!(
                "{files} of {} files, {done} of {all}, {speed}{left}",
                total.files
            )
        }
    }
}

/// The time that is left, once there is something to reckon with.
fn left(bytes: u64, speed: f64) -> String {
    if speed <= 0.0 {
        return String::new();
    }
    let left = Duration::from_secs((bytes as f64 / speed) as u64);
    format!(", {} left", time(left))
}

/// Who holds the copy back, in few words: `held to 35 MiB/s by fork-latency 6.2 ms (5 ms)`, what is allowed in brackets.
pub(super) fn held(holding: &Holding) -> String {
    let rate = short_rate(holding.rate as f64);
    if holding.cause == Cause::LimitRate {
        return format!("limited to {rate}");
    }
    let (cause, target) = (holding.cause.name(), measure(holding, holding.target));
    let figure = measure(holding, holding.figure);
    match holding.rate {
        0 => format!("waiting for {cause} {figure} ({target})"),
        _ => format!("held to {rate} by {cause} {figure} ({target})"),
    }
}

/// The same as a clause: `fork takes 6.2 ms, 5 ms are allowed`.
#[must_use]
pub fn phrase_of(holding: &Holding) -> String {
    let figure = measure(holding, holding.figure);
    let target = measure(holding, holding.target);
    let now = match holding.cause {
        Cause::LimitRate => format!("the copy goes at {figure}"),
        Cause::ForkLatency => format!("fork takes {figure}"),
        Cause::WriteLatency => format!("a write with fdatasync takes {figure}"),
        Cause::MemoryPressure => format!("tasks wait for memory {figure} of the time"),
        Cause::IoPressure => format!("tasks wait for disks {figure} of the time"),
    };
    format!("{now}, {target} are allowed")
}

/// A figure in the unit of its cause.
fn measure(holding: &Holding, figure: f64) -> String {
    match holding.cause {
        Cause::LimitRate => short_rate(figure),
        Cause::ForkLatency | Cause::WriteLatency => short_time(figure),
        Cause::MemoryPressure | Cause::IoPressure => percent(figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(cause: Cause, (figure, target): (f64, f64), short: &str, long: &str) {
        let holding = Holding {
            cause,
            figure,
            target,
            rate: 35 << 20,
        };
        assert_eq!(held(&holding), short);
        assert_eq!(phrase_of(&holding), long);
    }

    #[test]
    fn who_holds_back_is_named_with_figure_and_target() {
        says(
            Cause::ForkLatency,
            (0.0062, 0.005),
            "held to 35 MiB/s by fork-latency 6.2 ms (5 ms)",
            "fork takes 6.2 ms, 5 ms are allowed",
        );
        says(
            Cause::WriteLatency,
            (1.25, 0.05),
            "held to 35 MiB/s by write-latency 1.25 s (50 ms)",
            "a write with fdatasync takes 1.25 s, 50 ms are allowed",
        );
        says(
            Cause::MemoryPressure,
            (12.34, 5.0),
            "held to 35 MiB/s by memory-pressure 12.3 % (5 %)",
            "tasks wait for memory 12.3 % of the time, 5 % are allowed",
        );
        says(
            Cause::IoPressure,
            (100.0, 0.5),
            "held to 35 MiB/s by io-pressure 100 % (0.5 %)",
            "tasks wait for disks 100 % of the time, 0.5 % are allowed",
        );
        says(
            Cause::LimitRate,
            (3e7, 36_700_160.0),
            "limited to 35 MiB/s",
            "the copy goes at 28.61 MiB/s, 35 MiB/s are allowed",
        );
    }

    #[test]
    fn where_nothing_moves_yet_there_is_no_rate() {
        let holding = Holding {
            cause: Cause::ForkLatency,
            figure: 0.0004,
            target: 0.005,
            rate: 0,
        };
        let short = "waiting for fork-latency 400 us (5 ms)";
        assert_eq!(held(&holding), short);
    }
}
