//! How far a file or a run is, in words: for a log, for the bar, and in answer to SIGUSR1.

use std::path::Path;
use std::time::Duration;

use super::quote::quote;
use super::tally::{SoFar, per_second};
use super::units::{bytes, rate, time};
use crate::transfer::Progress;

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
