//! The argument of an option, and how it is read: words of a list, rates, times, percentages and counts, each within its bounds.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::super::cli_answer::CliAnswer;
use super::argmatch::argmatch;
use crate::report::quote::quote_word;
use crate::report::units::{parse_rate, parse_time_with_unit, suggest_unit};

/// Slower than a page in four seconds nobody copies, and faster than memory neither.
const RATES: std::ops::RangeInclusive<u64> = 1 << 10..=100 << 30;

/// Shortest limit of a latency, since probers measure in microseconds.
const MIN_LIMIT_TIME: Duration = Duration::from_micros(1);

/// A percentile of a window of seconds says nothing about hours.
const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// Six weeks: who wants to wait longer has no limit to give.
const MAX_GIVE_UP_AFTER: Duration = Duration::from_secs(1000 * 3600);

/// What the help names. `m`, which others take for minutes, is taken for milliseconds by who limits a latency.
const UNITS: [&str; 5] = ["us", "ms", "s", "min", "h"];

/// The least pressure that is told from none: a ten-thousandth of a second in each.
const LEAST_PRESSURE: f64 = 0.01;

/// The argument of an option as it was given.
#[derive(Debug, Clone, Copy)]
pub struct OptionValue<'a> {
    /// The long name of the option, without its dashes.
    pub option: &'static str,
    /// The argument, which may be any bytes.
    pub value: &'a OsStr,
}

impl OptionValue<'_> {
    /// Returns what the argument means in `table`.
    ///
    /// # Errors
    /// The usage error, in cp's words, where it means nothing or several things.
    pub fn keyword<T: Copy + PartialEq>(self, table: &[(&'static str, T)]) -> Result<T, CliAnswer> {
        argmatch(&self.option_name(), self.value, table)
    }

    /// Does the same for one member of an argument that is a list.
    ///
    /// # Errors
    /// As [`keyword`](Self::keyword).
    pub fn list_keyword<T: Copy + PartialEq>(
        self,
        member: &[u8],
        table: &[(&'static str, T)],
    ) -> Result<T, CliAnswer> {
        let value = OsStr::from_bytes(member);
        OptionValue { value, ..self }.keyword(table)
    }

    /// Returns the argument as a number of files of at least 1.
    ///
    /// # Errors
    /// The usage error where it is none.
    pub fn job_count(self) -> Result<NonZeroUsize, CliAnswer> {
        self.or_invalid(self.text().parse().ok(), "a number of at least 1")
    }

    /// Returns the argument as bytes a second.
    ///
    /// # Errors
    /// The usage error where it is none, or out of bounds.
    pub fn rate(self) -> Result<u64, CliAnswer> {
        let takes = "bytes a second from 1K to 100G, as 50M";
        let rate = parse_rate(self.text()).ok();
        let rate = rate.filter(|rate| RATES.contains(rate));
        match suggest_unit(self.text()) {
            Some(unit) => self.or_invalid(rate, &format!("{takes}; did you mean {unit}?")),
            None => self.or_invalid(rate, takes),
        }
    }

    /// Returns the argument as the limit of a latency.
    ///
    /// # Errors
    /// The usage error where it is none, or out of bounds.
    pub fn latency(self) -> Result<Duration, CliAnswer> {
        let time = time(self.text(), MAX_LATENCY);
        self.or_invalid(time, "a time from 1us to 1h with its unit, as 5ms")
    }

    /// Returns the argument as the time after which a run that misses its limits fails.
    ///
    /// # Errors
    /// The usage error where it is none, or out of bounds.
    pub fn give_up_time(self) -> Result<Duration, CliAnswer> {
        let time = time(self.text(), MAX_GIVE_UP_AFTER);
        self.or_invalid(time, "a time from 1us to 1000h with its unit, as 30s")
    }

    /// Returns the argument as a percentage of time.
    ///
    /// # Errors
    /// The usage error where it is none, or out of bounds.
    pub fn pressure(self) -> Result<f64, CliAnswer> {
        self.or_invalid(percent(self.text()), "a percentage from 0.01 to 100")
    }

    fn option_name(self) -> String {
        format!("--{}", self.option)
    }

    /// Returns the argument, or nothing where it is not UTF-8, which is no number either.
    fn text(&self) -> &str {
        self.value.to_str().unwrap_or_default()
    }

    fn or_invalid<T>(self, value: Option<T>, takes: &str) -> Result<T, CliAnswer> {
        value.ok_or_else(|| {
            CliAnswer::usage_error(&format!(
                "invalid argument {} for {}: it takes {takes}",
                quote_word(self.value),
                quote_word(self.option_name())
            ))
        })
    }
}

/// Reads a time that has a unit: without one, 5 might be meant as ms and be read as s.
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
