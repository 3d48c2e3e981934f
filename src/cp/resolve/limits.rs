//! The limits of a copy, read: rates, times and shares, each within its bounds.

use std::ffi::OsStr;
use std::time::Duration;

use super::super::cli::table::Limit;
use super::super::cli_answer::CliAnswer;
use super::invalid;
use crate::report::units::{parse_bytes, parse_time_with_unit};
use crate::transfer::rate_limit::Limits;

/// Slower than a page in four seconds nobody copies, and faster than memory neither.
const RATES: std::ops::RangeInclusive<u64> = 1 << 10..=100 << 30;

/// Probers measure in microseconds.
const MIN_LIMIT_TIME: Duration = Duration::from_micros(1);

/// A percentile of a window of seconds says nothing about hours.
const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// Six weeks: who wants to wait longer has no limit to give.
const MAX_GIVE_UP_AFTER: Duration = Duration::from_secs(1000 * 3600);

/// What the help names. `m`, which others take for minutes, is taken for milliseconds by who limits a latency.
const UNITS: [&str; 5] = ["us", "ms", "s", "min", "h"];

/// The least pressure that is told from none: a ten-thousandth of a second in each.
const LEAST_PRESSURE: f64 = 0.01;

const LATENCY: &str = "a time from 1us to 1h with its unit, as 5ms";

/// Takes `value` for what `limit` is.
///
/// # Errors
/// What it takes instead.
pub(super) fn set_limit(limits: &mut Limits, limit: Limit, value: &OsStr) -> Result<(), CliAnswer> {
    let text = value.to_str().unwrap_or_default();
    let (name, takes, understood) = match limit {
        Limit::Rate => {
            limits.rate = rate(text);
            let takes = "bytes a second from 1K to 100G, as 50M";
            ("--limit-rate", takes, limits.rate.is_some())
        }
        Limit::ForkLatency => {
            limits.fork_latency = time(text, MAX_LATENCY);
            ("--max-fork-latency", LATENCY, limits.fork_latency.is_some())
        }
        Limit::WriteLatency => {
            limits.write_latency = time(text, MAX_LATENCY);
            (
                "--max-write-latency",
                LATENCY,
                limits.write_latency.is_some(),
            )
        }
        Limit::Pressure => {
            limits.pressure = percent(text);
            let takes = "a percentage from 0.01 to 100";
            ("--max-pressure", takes, limits.pressure.is_some())
        }
        Limit::GiveUpAfter => {
            limits.give_up_after = time(text, MAX_GIVE_UP_AFTER);
            let takes = "a time from 1us to 1000h with its unit, as 30s";
            ("--give-up-after", takes, limits.give_up_after.is_some())
        }
    };
    if understood {
        Ok(())
    } else {
        Err(invalid(name, value, takes))
    }
}

fn rate(text: &str) -> Option<u64> {
    parse_bytes(text).ok().filter(|rate| RATES.contains(rate))
}

/// Without a unit 5 might be meant as ms, and be read as s.
fn time(text: &str, longest: Duration) -> Option<Duration> {
    let mut units = text
        .split(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .filter(|word| !word.is_empty());
    if !units.all(|unit| UNITS.contains(&unit)) {
        return None;
    }
    let time = parse_time_with_unit(text).ok();
    time.filter(|time| (MIN_LIMIT_TIME..=longest).contains(time))
}

fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%').unwrap_or(text);
    // What else f64 would take: inf, nan, exponents, signs.
    if number.contains(|c: char| !c.is_ascii_digit() && c != '.') {
        return None;
    }
    let share = number.parse::<f64>().ok();
    share.filter(|share| (LEAST_PRESSURE..=100.0).contains(share))
}
