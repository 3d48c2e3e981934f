//! Reads CLOCK_MONOTONIC and CLOCK_BOOTTIME in nanoseconds, and sleeps until a moment of the first.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_getres, clock_gettime, clock_nanosleep};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Returns CLOCK_MONOTONIC in nanoseconds. Its zero is arbitrary, but the same for all processes until the next boot.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read_clock(ClockId::CLOCK_MONOTONIC)
}

/// Returns CLOCK_BOOTTIME: the time since the machine was started, suspension included. It is the same for all processes,
/// and nobody sets it.
#[must_use]
pub fn since_boot() -> Duration {
    Duration::from_nanos(read_clock(ClockId::CLOCK_BOOTTIME))
}

fn read_clock(clock: ClockId) -> u64 {
    // Fails for clocks that do not exist; these do since Linux 2.6.39.
    clock_gettime(clock).map_or(0, |t| {
        t.tv_sec().cast_unsigned() * NANOS_PER_SECOND + t.tv_nsec().cast_unsigned()
    })
}

/// Returns the ticks of the kernel in a second (CONFIG_HZ): CLOCK_MONOTONIC_COARSE advances once in a tick.
#[must_use]
pub fn ticks_per_second() -> Option<u64> {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok()?;
    let tick_ns = tick.tv_sec().cast_unsigned() * NANOS_PER_SECOND + tick.tv_nsec().cast_unsigned();
    // The length of a tick is rounded to whole nanoseconds.
    (tick_ns > 0).then(|| (NANOS_PER_SECOND + tick_ns / 2) / tick_ns)
}

/// A moment of CLOCK_MONOTONIC, in nanoseconds since an unnamed moment in the past; the same for all processes of a boot.
///
/// Arithmetic saturates at both ends, so that no value from outside can overflow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonotonicNs(u64);

impl MonotonicNs {
    /// The first moment that there is.
    pub const ZERO: Self = Self(0);

    /// The last moment, which no clock reaches.
    pub const MAX: Self = Self(u64::MAX);

    /// Makes the moment from its nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the present moment of the clock.
    #[must_use]
    pub fn now() -> Self {
        Self(monotonic_ns())
    }

    /// Returns the nanoseconds of this moment.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the moment that is `time` later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(time)))
    }

    /// Returns the moment that is `time` earlier.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(time)))
    }

    /// Returns the nanoseconds since `earlier`, zero if that is later.
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time since `earlier`, zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }
}

/// Returns the nanoseconds of a duration, `u64::MAX` beyond 584 years.
#[must_use]
pub fn saturating_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until `deadline` (`TIMER_ABSTIME`: neither a signal nor a late start moves
/// it). Returns at once if it has passed.
pub fn sleep_until(deadline: MonotonicNs) {
    let at = TimeSpec::from(Duration::from_nanos(deadline.0));
    let sleep = || {
        clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &at,
        )
    };
    while sleep() == Err(Errno::EINTR) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_saturate_at_both_ends() {
        let second = Duration::from_secs(1);
        let moment = MonotonicNs::from_nanos(5);
        assert_eq!(moment.after(second).since(moment), second);
        assert_eq!(moment.since(moment.after(second)), Duration::ZERO);
        assert_eq!(moment.before(second), MonotonicNs::ZERO);
        assert_eq!(moment.after(Duration::MAX), MonotonicNs::MAX);
        assert!(MonotonicNs::now() > moment);
    }
}
