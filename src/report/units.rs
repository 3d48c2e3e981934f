//! Formats and reads numbers for people: bytes, rates, times and shares.

use std::time::Duration;

/// Units of size, each 1024 times the one before it.
const SIZE_UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns a number of bytes in the largest unit of which it is one or more, and the unit.
fn in_largest_unit(n: u64) -> (f64, usize) {
    let unit = n.checked_ilog2().map_or(0, |log| log as usize / 10);
    (n as f64 / 1024_f64.powi(unit as i32), unit)
}

/// Formats a number of bytes: `1.50 GiB`.
#[must_use]
pub fn format_bytes(n: u64) -> String {
    match in_largest_unit(n) {
        (_, 0) => format!("{n} B"),
        (number, unit) => format!("{number:.2} {}", SIZE_UNITS[unit]),
    }
}

/// Formats a number of bytes with three digits: `1.50 GiB`, `157 MiB`.
#[must_use]
pub fn format_size(n: u64) -> String {
    let (number, unit) = three_digits_in_unit(n);
    format!("{number} {unit}")
}

/// Formats a part of a number of bytes, with one unit if it is that of both: `1.68/4.00 GiB`, `512 MiB/4.00 GiB`.
#[must_use]
pub fn format_size_of(part: u64, whole: u64) -> String {
    let (number, unit) = three_digits_in_unit(part);
    let (all, whole_unit) = three_digits_in_unit(whole);
    if unit == whole_unit {
        format!("{number}/{all} {unit}")
    } else {
        format!("{number} {unit}/{all} {whole_unit}")
    }
}

fn three_digits_in_unit(n: u64) -> (String, &'static str) {
    match in_largest_unit(n) {
        (_, 0) => (n.to_string(), SIZE_UNITS[0]),
        // Rounded it would be 1024 of a unit.
        (number, unit) if number >= 1023.5 && unit + 1 < SIZE_UNITS.len() => {
            ("1.00".to_owned(), SIZE_UNITS[unit + 1])
        }
        (number, unit) => {
            let behind = digits_behind_point(number);
            (format!("{number:.behind$}"), SIZE_UNITS[unit])
        }
    }
}

/// Formats a rate in bytes per second: `1.50 GiB/s`.
#[must_use]
pub fn format_rate(per_second: f64) -> String {
    format!("{}/s", format_bytes(per_second as u64))
}

/// Formats a rate without trailing zeros: `35 MiB/s`.
#[must_use]
pub fn format_rate_short(per_second: f64) -> String {
    format_rate(per_second).replace(".00 ", " ")
}

/// Formats a number of files: `1 file`, `3000 files`.
#[must_use]
pub fn format_files(n: u64) -> String {
    format!("{n} {}", if n == 1 { "file" } else { "files" })
}

/// Formats a time as a clock does, with hours where there are any: `1:30`, `2:01:30`.
#[must_use]
pub fn format_clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Formats how long something took, in a sentence: `2.5 s`, `26 s`, `1 min 30 s`, `2 h 1 min`.
#[must_use]
pub fn format_span(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Formats a short time in milliseconds: `2.5 ms`.
#[must_use]
pub fn format_milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_secs_f64() * 1e3)
}

/// Formats a measured time, given in seconds, with three digits: `6.2 ms`.
#[must_use]
pub fn format_seconds(seconds: f64) -> String {
    let (scale, unit) = match seconds {
        s if s >= 0.9995 => (1.0, "s"),
        s if s >= 0.000_999_5 => (1e3, "ms"),
        _ => (1e6, "us"),
    };
    format!("{} {unit}", three_digits(seconds * scale))
}

/// Formats a share as percent with three digits: `12.5 %`.
#[must_use]
pub fn format_percent(share: f64) -> String {
    format!("{} %", three_digits(share))
}

fn three_digits(number: f64) -> String {
    let behind = digits_behind_point(number);
    let text = format!("{number:.behind$}");
    match text.split_once('.') {
        Some((whole, part)) => match part.trim_end_matches('0') {
            "" => whole.to_owned(),
            part => format!("{whole}.{part}"),
        },
        None => text,
    }
}

/// Returns how many digits behind the point make three in all.
fn digits_behind_point(number: f64) -> usize {
    match number {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    }
}

/// Parses a number of bytes as coreutils does: `K`, `M`, `G`, `T` (also `KiB`...) are powers of 1024, `KB`, `MB`... of
/// 1000. Fractions such as `1.5G` are accepted, too.
///
/// # Errors
/// A message for the user: no number, an unknown unit, negative, or beyond 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = unit_scale(unit).ok_or_else(|| unknown_unit(text, unit))?;
    let bad = || format!("'{text}' is not a size");
    if let Ok(whole) = number.parse::<u64>() {
        return whole
            .checked_mul(scale)
            .ok_or_else(|| format!("'{text}' is too large"));
    }
    let value = number.parse::<f64>().map_err(|_| bad())? * scale as f64;
    // 2^64 as f64: the first value that does not fit.
    if value < 18_446_744_073_709_551_616.0 {
        Ok(value as u64)
    } else {
        Err(format!("'{text}' is too large"))
    }
}

/// Returns the unit of size that is probably meant by one that is none, for a number with such a unit: `M` for `50m`.
#[must_use]
pub fn suggest_unit(text: &str) -> Option<String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (size, behind) = unit
        .strip_suffix("/s")
        .map_or((unit, ""), |size| (size, "/s"));
    let upper = size.to_uppercase().replace("IB", "iB");
    let is_meant = unit_scale(size).is_none() && unit_scale(&upper).is_some();
    is_meant.then(|| upper + behind)
}

fn unknown_unit(text: &str, unit: &str) -> String {
    match suggest_unit(text) {
        Some(meant) => format!("'{unit}' in '{text}' is not a unit of size; did you mean {meant}?"),
        None => format!("unknown unit '{unit}' in '{text}'"),
    }
}

/// Parses a rate: a number of bytes as [`parse_bytes`] takes it, which `/s` may follow.
///
/// # Errors
/// The same as of [`parse_bytes`].
pub fn parse_rate(text: &str) -> Result<u64, String> {
    parse_bytes(text.strip_suffix("/s").unwrap_or(text))
}

fn unit_scale(unit: &str) -> Option<u64> {
    if unit.is_empty() || unit == "B" {
        return Some(1);
    }
    let (letter, rest) = unit.split_at_checked(1)?;
    let power = match letter {
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    match rest {
        "" | "iB" => Some(1024_u64.pow(power)),
        "B" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// Parses a span of time: `5ms`, `3s`, `1h30m`; a number without a unit is seconds, as in sleep(1).
///
/// # Errors
/// A message for the user about what is wrong.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|e| format!("'{text}': {e}"));
    }
    parse_time_with_unit(text)
}

/// Parses a span of time as [`parse_time`] does, but requires a unit, even for 0.
///
/// # Errors
/// A message for the user about what is wrong.
pub fn parse_time_with_unit(text: &str) -> Result<Duration, String> {
    if text.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("'{text}' has no unit"));
    }
    humantime::parse_duration(text).map_err(|e| format!("'{text}' is not a time: {e}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        format_percent, format_rate_short, format_seconds, parse_bytes, parse_time,
        parse_time_with_unit,
    };

    #[test]
    fn a_unit_that_is_none_is_named_with_the_one_that_is_meant() {
        assert_eq!(
            super::parse_bytes("50m"),
            Err("'m' in '50m' is not a unit of size; did you mean M?".to_owned())
        );
        assert_eq!(super::suggest_unit("1.5mib").as_deref(), Some("MiB"));
        for text in ["50M", "50", "50q", ""] {
            assert_eq!(super::suggest_unit(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_may_say_that_it_is_by_the_second() {
        assert_eq!(super::parse_rate("10MiB/s"), Ok(10 << 20));
        assert_eq!(super::parse_rate("5MB/s"), Ok(5_000_000));
        assert!(super::parse_rate("5MB/h").is_err());
    }

    #[test]
    fn sizes_have_a_unit_that_people_read() {
        for (bytes, exact, short) in [
            (0, "0 B", "0 B"),
            (1023, "1023 B", "1023 B"),
            (1024, "1.00 KiB", "1.00 KiB"),
            (16_148, "15.77 KiB", "15.8 KiB"),
            (164_626_432, "157.00 MiB", "157 MiB"),
            ((1 << 30) - 1, "1024.00 MiB", "1.00 GiB"),
            (4 << 30, "4.00 GiB", "4.00 GiB"),
            (u64::MAX, "16.00 EiB", "16.0 EiB"),
        ] {
            assert_eq!(super::format_bytes(bytes), exact);
            assert_eq!(super::format_size(bytes), short);
        }
        assert_eq!(super::format_size_of(1 << 30, 4 << 30), "1.00/4.00 GiB");
        assert_eq!(
            super::format_size_of(512 << 20, 4 << 30),
            "512 MiB/4.00 GiB"
        );
    }

    #[test]
    fn spans_are_read_at_a_glance() {
        for (seconds, clock, span) in [
            (0.04, "0:00", "0.0 s"),
            (2.46, "0:02", "2.5 s"),
            (26.4, "0:26", "26 s"),
            (90.0, "1:30", "1 min 30 s"),
            (7290.0, "2:01:30", "2 h 1 min"),
        ] {
            let time = Duration::from_secs_f64(seconds);
            assert_eq!(super::format_clock(time), clock);
            assert_eq!(super::format_span(time), span);
        }
    }

    #[test]
    fn three_digits_are_enough() {
        for (seconds, text) in [
            (0.0, "0 us"),
            (0.000_000_5, "0.5 us"),
            (0.000_25, "250 us"),
            (0.000_999_7, "1 ms"),
            (0.0062, "6.2 ms"),
            (0.005, "5 ms"),
            (0.062_35, "62.4 ms"),
            (0.999_6, "1 s"),
            (100.0, "100 s"),
        ] {
            assert_eq!(format_seconds(seconds), text);
        }
        assert_eq!(format_percent(12.345), "12.3 %");
        assert_eq!(format_percent(100.0), "100 %");
        assert_eq!(format_rate_short(36_700_160.0), "35 MiB/s");
        assert_eq!(format_rate_short(1536.0), "1.50 KiB/s");
    }

    #[test]
    fn times_are_seconds_unless_they_say_what_they_are() {
        assert_eq!(parse_time("3"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_time("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("2ms"), Ok(Duration::from_millis(2)));
        for text in ["", "-1", "nan", "1e30", "5 parsecs"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn where_seconds_are_not_meant_a_unit_is_wanted() {
        for (text, microseconds) in [
            ("5us", 5),
            ("2.5ms", 2500),
            ("5 ms", 5000),
            ("1s 500ms", 1_500_000),
            ("1min", 60_000_000),
        ] {
            let time = Duration::from_micros(microseconds);
            assert_eq!(parse_time_with_unit(text), Ok(time), "{text}");
        }
        for text in [
            "", "0", "5", "5.0", "5 ", "ms", "-5ms", "1s5", "5mss", "1e3ms",
        ] {
            assert!(parse_time_with_unit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_coreutils_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1K", 1024),
            ("1kB", 1000),
            ("1.5G", 1_610_612_736),
            ("400M", 400 << 20),
            ("2MiB", 2 << 20),
            ("100MB", 100_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_said() {
        for text in [
            "",
            "G",
            "-1",
            "1X",
            "1.2.3",
            "20000000T",
            "99999999999999999999",
            "nan",
            "1 G",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
