//! The intended times of a prober, fixed beforehand, however long the operations take (an open loop).

use std::time::Duration;

use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// Times that are a period apart. It is pure arithmetic: the current time is an argument.
#[derive(Debug, Clone)]
pub struct Schedule {
    next: MonotonicNs,
    period_ns: u64,
}

/// The intended times that one operation serves: `first`, that plus a period, ..., `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTimes {
    /// The oldest of the intended times.
    pub first: MonotonicNs,
    /// Number of intended times, at least one.
    pub count: u64,
}

impl Schedule {
    /// Makes a schedule from `first` on, with times `period` apart.
    ///
    /// # Panics
    /// If `period` is zero.
    #[must_use]
    pub fn new(first: MonotonicNs, period: Duration) -> Self {
        assert!(!period.is_zero(), "a period of nothing");
        Self {
            next: first,
            period_ns: saturating_nanos(period),
        }
    }

    /// Returns the next intended time.
    #[must_use]
    pub fn next_due(&self) -> MonotonicNs {
        self.next
    }

    /// Returns whether the next intended time has come.
    #[must_use]
    pub fn is_due(&self, now: MonotonicNs) -> bool {
        self.next <= now
    }

    /// Takes all intended times that have come by `now`, at least the next. Those that passed during a late operation
    /// are served together: the latency of each is from its own time to the end of the same operation. So a stall of a
    /// second appears as a second of latencies in the histogram (no coordinated omission), and the late operations do
    /// not become a load of their own.
    pub fn take_due(&mut self, now: MonotonicNs) -> DueTimes {
        let count = 1 + now.nanos_since(self.next) / self.period_ns;
        let first = self.next;
        self.next = first.after(Duration::from_nanos(count * self.period_ns));
        DueTimes { first, count }
    }

    /// Skips the intended times from `from` to `to`, in which the prober itself was busy between two operations. Skips
    /// none if it was late already, since that lateness must be counted. Returns how many were skipped.
    pub fn skip_between(&mut self, from: MonotonicNs, to: MonotonicNs) -> u64 {
        if !self.is_due(from) && self.is_due(to) {
            self.take_due(to).count
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DueTimes, Duration, MonotonicNs, Schedule};

    fn at(nanoseconds: u64) -> MonotonicNs {
        MonotonicNs::from_nanos(nanoseconds)
    }

    fn schedule(first: u64, period: u64) -> Schedule {
        Schedule::new(at(first), Duration::from_nanos(period))
    }

    #[test]
    fn in_time_each_moment_is_its_own_question() {
        let mut schedule = schedule(100, 10);
        for moment in [100, 110, 120] {
            assert!(!schedule.is_due(at(moment - 1)));
            assert_eq!(
                schedule.take_due(at(moment + 1)),
                DueTimes {
                    first: at(moment),
                    count: 1
                }
            );
        }
    }

    #[test]
    fn after_a_stall_all_moments_that_passed_are_asked_at_once() {
        let mut schedule = schedule(100, 10);
        schedule.take_due(at(100));
        assert_eq!(
            schedule.take_due(at(155)),
            DueTimes {
                first: at(110),
                count: 5
            }
        );
        assert_eq!(schedule.next_due(), at(160));
    }

    #[test]
    fn housekeeping_counts_against_nobody_unless_someone_waits() {
        let mut schedule = schedule(100, 10);
        assert_eq!(schedule.skip_between(at(95), at(125)), 3);
        assert_eq!(schedule.next_due(), at(130));
        assert_eq!(schedule.skip_between(at(131), at(200)), 0);
        assert_eq!(schedule.next_due(), at(130));
    }

    proptest! {
        /// However long the operations take, no intended time is left out or taken twice.
        #[test]
        fn every_moment_is_asked_once(period in 1_u64..1000, stalls in prop::collection::vec(0_u64..5000, 1..50)) {
            let mut schedule = schedule(7, period);
            let (mut now, mut expected) = (7, 7);
            for stall in stalls {
                now = schedule.next_due().as_nanos().max(now);
                let due = schedule.take_due(at(now));
                prop_assert_eq!(due.first, at(expected));
                prop_assert!(due.first.as_nanos() + (due.count - 1) * period <= now);
                expected += due.count * period;
                prop_assert!(expected > now);
                now += stall;
            }
        }
    }
}
