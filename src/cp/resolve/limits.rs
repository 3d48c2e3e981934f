//! The limits of a copy, read: rates, times and shares, each within its bounds.

use std::ffi::OsStr;
use std::time::Duration;

use super::super::cli::table::Limit;
use super::super::usage::Answer;
use super::invalid;
use crate::report::units::{parse_bytes, parse_time_with_unit};
use crate::transfer::pace::Limits;

/// Slower than a page in four seconds nobody copies, and faster than memory neither.
const RATES: std::ops::RangeInclusive<u64> = 1 << 10..=100 << 30;

/// Probers measure in microseconds.
const SHORTEST: Duration = Duration::from_micros(1);

/// A percentile of a window of seconds says nothing about hours.
const LONGEST: Duration = Duration::from_secs(3600);

/// Time is counted in 64 bits of nanoseconds: 584 years, which have 31,557,600 seconds each.
const FOREVER: Duration = Duration::from_secs(584 * 31_557_600);

const LATENCY: &str = "a time from 1us to 1h with its unit, as 5ms";

/// Takes `value` for what `limit` is.
///
/// # Errors
/// What it takes instead.
pub(super) fn set(limits: &mut Limits, limit: Limit, value: &OsStr) -> Result<(), Answer> {
    let text = value.to_str().unwrap_or_default();
    let (name, takes, understood) = match limit {
        Limit::Rate => {
            limits.rate = rate(text);
            let takes = "bytes a second from 1K to 100G, as 50M";
            ("--limit-rate", takes, limits.rate.is_some())
        }
        Limit::ForkLatency => {
            limits.fork_latency = time(text, LONGEST);
            ("--max-fork-latency", LATENCY, limits.fork_latency.is_some())
        }
        Limit::WriteLatency => {
            limits.write_latency = time(text, LONGEST);
            (
                "--max-write-latency",
                LATENCY,
                limits.write_latency.is_some(),
            )
        }
        Limit::Pressure => {
            limits.pressure = percent(text);
            let takes = "a percentage above 0 and up to 100";
            ("--max-pressure", takes, limits.pressure.is_some())
        }
        Limit::Patience => {
            limits.give_up_after = time(text, FOREVER);
            let takes = "a time from 1us to 584years with its unit, as 30s";
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
    let time = parse_time_with_unit(text).ok();
    time.filter(|time| (SHORTEST..=longest).contains(time))
}

fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%').unwrap_or(text);
    // What else f64 would take: inf, nan, exponents, signs.
    if number.contains(|c: char| !c.is_ascii_digit() && c != '.') {
        return None;
    }
    let share = number.parse::<f64>().ok();
    share.filter(|share| *share > 0.0 && *share <= 100.0)
}
