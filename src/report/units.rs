//! Numbers for people: bytes, rates and times as indicatif writes them, so that the bar and the lines agree.

use std::time::Duration;

use indicatif::{BinaryBytes, FormattedDuration};

/// A count of bytes: `1.50 GiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    BinaryBytes(n).to_string()
}

/// A rate: `1.50 GiB/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    format!("{}/s", bytes(per_second as u64))
}

/// A time: `00:01:30`.
#[must_use]
pub fn time(duration: Duration) -> String {
    FormattedDuration(duration).to_string()
}
