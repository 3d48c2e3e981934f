//! What is said of limits that cannot be kept.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::report::bottleneck_clause;
use crate::report::quote::quote;
use crate::report::units;
use crate::sys::strerror::strerror;
use crate::transfer::rate_limit::Bottleneck;

/// Says that a probe of the destination measures nothing, since its file system is in memory.
pub(super) fn in_memory_warning(option: &str, dir: &Path, file_system: &str) -> String {
    format!(
        "warning: {option}: {} is on {file_system}, in memory, where no write waits for a disk: this limit holds nothing back",
        quote(dir)
    )
}

/// A machine that is short of memory may take the probers' as well.
pub(super) fn unlocked(error: &io::Error) -> String {
    format!(
        "warning: cannot lock the probers in memory ({}): raise RLIMIT_MEMLOCK; stalls of their own may be counted",
        strerror(error)
    )
}

/// The machine is over the target before we do anything.
pub(super) fn over_without_us(holding: &Bottleneck) -> String {
    format!(
        "warning: before a byte is copied, {}: going on at {} until it is better",
        bottleneck_clause(holding),
        units::format_rate(holding.rate.as_f64())
    )
}

/// The user's patience is over.
pub(super) fn give_up(holding: &Bottleneck, after: Duration) -> String {
    format!(
        "giving up: for {} at {}, {}",
        humantime::format_duration(after),
        units::format_rate(holding.rate.as_f64()),
        bottleneck_clause(holding)
    )
}
