//! Reads CLOCK_MONOTONIC in nanoseconds, and sleeps until a moment of that clock.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Returns CLOCK_MONOTONIC in nanoseconds. Its zero is arbitrary, but the same for all processes until the next boot.
#[must_use]
pub fn monotonic_ns() -> u64 {
    // Fails for clocks that do not exist; this one does since Linux 2.6.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        t.tv_sec().cast_unsigned() * NANOS_PER_SECOND + t.tv_nsec().cast_unsigned()
    })
}

/// Sleeps until `deadline`, in nanoseconds of CLOCK_MONOTONIC (`TIMER_ABSTIME`: neither a signal nor a late start moves
/// it). Returns at once if it has passed.
pub fn sleep_until(deadline: u64) {
    let at = TimeSpec::from(Duration::from_nanos(deadline));
    let sleep = || {
        clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &at,
        )
    };
    while sleep() == Err(Errno::EINTR) {}
}
