//! What is said of limits that cannot be kept.

use std::time::Duration;

use crate::report::phrase_of;
use crate::report::units;
use crate::transfer::pace::Holding;

/// The machine is over the target before we do anything.
pub(super) fn over_without_us(holding: &Holding) -> String {
    format!(
        "warning: before a byte is copied, {}: going on at {} until it is better",
        phrase_of(holding),
        units::rate(holding.rate as f64)
    )
}

/// The user's patience is over.
pub(super) fn give_up(holding: &Holding, after: Duration) -> String {
    format!(
        "giving up: for {} at {}, {}",
        humantime::format_duration(after),
        units::rate(holding.rate as f64),
        phrase_of(holding)
    )
}
