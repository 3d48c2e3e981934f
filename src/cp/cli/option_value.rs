//! The argument of an option, and how it is parsed: keywords of a list, rates, times, percentages and counts, each
//! within its bounds.

use std::ffi::{CString, OsStr};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::super::usage_error::{UsageError, ValueKind};
use super::argmatch::argmatch;
use crate::report::units::{parse_bytes, parse_rate, parse_time_with_unit, suggest_unit};
use crate::transfer::KeepFree;

/// The accepted rates, in bytes a second. A lower limit would be less than a page in four seconds, and a higher one is
/// faster than memory.
const RATES: std::ops::RangeInclusive<u64> = 1 << 10..=100 << 30;

/// The accepted sizes of what is on its way at once. Smaller pieces cost several times the CPU, and more bytes gain
/// nothing on any disk.
const IN_FLIGHT_SIZES: std::ops::RangeInclusive<u64> = 64 << 10..=64 << 20;

/// Shortest limit of a latency, since probers measure in microseconds.
const MIN_LIMIT_TIME: Duration = Duration::from_micros(1);

/// Longest limit of a latency: a percentile of a window of seconds says nothing about hours.
const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// Longest give-up time, six weeks. A user who wants to wait longer needs no limit.
const MAX_GIVE_UP_AFTER: Duration = Duration::from_secs(1000 * 3600);

/// Shortest time for a whole copy, since no program starts in less.
const MIN_DEADLINE: Duration = Duration::from_millis(1);

/// The units that the help names. `m` is not accepted: elsewhere it means minutes, but a user who limits a latency
/// would mean milliseconds.
const UNITS: [&str; 5] = ["us", "ms", "s", "min", "h"];

/// The least pressure, in percent, that can be distinguished from none: a ten-thousandth of a second in each second.
const LEAST_PRESSURE: f64 = 0.01;

/// The accepted priorities in a queue: those of nice(1).
const QUEUE_PRIORITIES: std::ops::RangeInclusive<i8> = -20..=19;

/// Most bytes of the name of a queue: enough for a device or a service, on one line of a terminal.
const MAX_QUEUE_NAME: usize = 64;

/// The argument of an option, as the command line gave it.
#[derive(Debug, Clone, Copy)]
pub struct OptionValue<'a> {
    /// The long name of the option, without its dashes.
    pub option: &'static str,
    /// The argument, which may contain any bytes.
    pub value: &'a OsStr,
}

impl OptionValue<'_> {
    /// Returns the meaning of the argument in `table`.
    ///
    /// # Errors
    /// Returns the usage error where the argument has no meaning or several.
    pub fn keyword<T: Copy + PartialEq>(
        self,
        table: &[(&'static str, T)],
    ) -> Result<T, UsageError> {
        argmatch(&self.option_name(), self.value, table)
    }

    /// Returns the meaning of one member of an argument that is a list.
    ///
    /// # Errors
    /// Returns the same error as [`keyword`](Self::keyword).
    pub fn list_keyword<T: Copy + PartialEq>(
        self,
        member: &[u8],
        table: &[(&'static str, T)],
    ) -> Result<T, UsageError> {
        let value = OsStr::from_bytes(member);
        OptionValue { value, ..self }.keyword(table)
    }

    /// Returns the argument as a number of files of at least 1.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no such number.
    pub fn job_count(self) -> Result<NonZeroUsize, UsageError> {
        self.or_invalid(self.text().parse().ok(), ValueKind::JobCount)
    }

    /// Returns the argument as bytes a second.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no rate, or out of bounds.
    pub fn rate(self) -> Result<u64, UsageError> {
        let rate = parse_rate(self.text()).ok();
        let rate = rate.filter(|rate| RATES.contains(rate));
        let meant = suggest_unit(self.text());
        self.or_invalid(rate, ValueKind::Rate { meant })
    }

    /// Returns the argument as the bytes of a file that may be on their way at once.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no size, or out of bounds.
    pub fn in_flight(self) -> Result<u64, UsageError> {
        let size = parse_bytes(self.text()).ok();
        let size = size.filter(|size| IN_FLIGHT_SIZES.contains(size));
        self.or_invalid(size, ValueKind::InFlight)
    }

    /// Returns the argument as the limit of a latency.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no time, or out of bounds.
    pub fn latency(self) -> Result<Duration, UsageError> {
        let time = time(self.text(), MAX_LATENCY);
        self.or_invalid(time, ValueKind::Latency)
    }

    /// Returns the argument as the time after which a run that misses its limits fails.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no time, or out of bounds.
    pub fn give_up_time(self) -> Result<Duration, UsageError> {
        let time = time(self.text(), MAX_GIVE_UP_AFTER);
        self.or_invalid(time, ValueKind::GiveUpTime)
    }

    /// Returns the argument as the time within which a copy shall be complete.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no time, or out of bounds: no time at all is over before it begins.
    pub fn deadline(self) -> Result<Duration, UsageError> {
        let time = time(self.text(), MAX_GIVE_UP_AFTER);
        let time = time.filter(|time| *time >= MIN_DEADLINE);
        self.or_invalid(time, ValueKind::Deadline)
    }

    /// Returns the argument as a percentage of time.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no percentage, or out of bounds.
    pub fn pressure(self) -> Result<f64, UsageError> {
        self.or_invalid(percent(self.text()), ValueKind::Pressure)
    }

    /// Returns the argument as a pattern of file names.
    ///
    /// # Errors
    /// Returns the usage error where the argument is empty, which no file name matches.
    pub fn pattern(self) -> Result<CString, UsageError> {
        let pattern = CString::new(self.value.as_bytes()).ok();
        let pattern = pattern.filter(|pattern| !pattern.is_empty());
        self.or_invalid(pattern, ValueKind::Pattern)
    }

    /// Returns the argument as the name of a queue, which is the name of a directory as well.
    ///
    /// # Errors
    /// Returns the usage error where the argument has other characters, begins with a dot, or is too long.
    pub fn queue_name(self) -> Result<String, UsageError> {
        let name = Some(self.text()).filter(|name| is_queue_name(name));
        self.or_invalid(name.map(str::to_owned), ValueKind::QueueName)
    }

    /// Returns the argument as a priority.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no whole number, or out of bounds.
    pub fn queue_priority(self) -> Result<i8, UsageError> {
        let priority = self.text().parse().ok();
        let priority = priority.filter(|priority| QUEUE_PRIORITIES.contains(priority));
        self.or_invalid(priority, ValueKind::QueuePriority)
    }

    /// Returns the argument as space that is to stay free: a size, or a percentage of the file system.
    ///
    /// # Errors
    /// Returns the usage error where the argument is neither.
    pub fn keep_free(self) -> Result<KeepFree, UsageError> {
        let text = self.text();
        let free = match text.strip_suffix('%') {
            Some(share) => decimal(share)
                .filter(|share| *share > 0.0 && *share <= 100.0)
                .map(KeepFree::Percent),
            None => parse_bytes(text).ok().map(KeepFree::Bytes),
        };
        self.or_invalid(free, ValueKind::KeepFree)
    }

    /// Returns the argument as the largest size of a file, of at least one byte.
    ///
    /// # Errors
    /// Returns the usage error where the argument is no such size.
    pub fn max_size(self) -> Result<u64, UsageError> {
        let size = parse_bytes(self.text()).ok().filter(|size| *size > 0);
        self.or_invalid(size, ValueKind::MaxSize)
    }

    fn option_name(self) -> String {
        format!("--{}", self.option)
    }

    /// Returns the argument, or an empty string where it is not UTF-8, which is rejected as a number too.
    fn text(&self) -> &str {
        self.value.to_str().unwrap_or_default()
    }

    fn or_invalid<T>(self, value: Option<T>, takes: ValueKind) -> Result<T, UsageError> {
        value.ok_or_else(|| UsageError::Value {
            option: self.option,
            value: self.value.to_owned(),
            takes,
        })
    }
}

fn is_queue_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=MAX_QUEUE_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(is_allowed)
}

/// Parses a time that has a unit. Without a unit, 5 might be meant as milliseconds and be read as seconds.
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
    let share = decimal(text.strip_suffix('%').unwrap_or(text));
    share.filter(|share| (LEAST_PRESSURE..=100.0).contains(share))
}

/// Parses digits with at most one point.
fn decimal(number: &str) -> Option<f64> {
    // These are other forms that f64 would accept: inf, nan, exponents and signs.
    if number.contains(|c: char| !c.is_ascii_digit() && c != '.') {
        return None;
    }
    number.parse().ok()
}
