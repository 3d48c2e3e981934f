//! The intended times of a prober, fixed beforehand, however long the operations take (an open loop).
//!
//! Each period has one, at a random moment: times at a fixed distance would miss a disturbance whose period is a multiple
//! or a fraction of theirs. The gaps are random with the period as their mean, and at most two periods long. A Poisson
//! process, whose gaps have no bound, would miss a stall of one period's length with a probability of 1/e = 0.37; these
//! times miss it with 1/6, and none of two periods.

use std::time::Duration;

use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// Times that are a period apart on average. It is pure arithmetic: the current time and the seed are arguments.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The start of the period in which the next intended time lies.
    slot: MonotonicNs,
    next: MonotonicNs,
    period_ns: u64,
    dice: fastrand::Rng,
}

/// The intended times that one operation serves: `first`, that plus a period, ..., `count` of them. The later ones are
/// taken to be a period apart, which they are on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTimes {
    /// The oldest of the intended times.
    pub first: MonotonicNs,
    /// Number of intended times, at least one.
    pub count: u64,
}

impl Schedule {
    /// Makes a schedule whose first time is `first`. The others are drawn from `seed`.
    ///
    /// # Panics
    /// If `period` is zero.
    #[must_use]
    pub fn new(first: MonotonicNs, period: Duration, seed: u64) -> Self {
        assert!(!period.is_zero(), "a period of nothing");
        Self {
            slot: first,
            next: first,
            period_ns: saturating_nanos(period),
            dice: fastrand::Rng::with_seed(seed),
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
        self.slot = self
            .slot
            .after(Duration::from_nanos(count * self.period_ns));
        let offset = self.dice.u64(..self.period_ns);
        self.next = self.slot.after(Duration::from_nanos(offset));
        DueTimes { first, count }
    }

    /// Skips the intended times from `from` to `to`, in which the prober itself was busy between two operations. Skips
    /// none if it was late already, since that lateness must be counted. Returns how many were skipped.
    pub fn skip_between(&mut self, from: MonotonicNs, to: MonotonicNs) -> u64 {
        let mut skipped = 0;
        if !self.is_due(from) {
            // The moment of the last period may have come as well.
            while self.is_due(to) {
                skipped += self.take_due(to).count;
            }
        }
        skipped
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
        Schedule::new(at(first), Duration::from_nanos(period), 1)
    }

    #[test]
    fn each_period_has_one_moment() {
        let mut schedule = schedule(100, 10);
        for period in 0..1000 {
            let next = schedule.next_due();
            let from = 100 + period * 10;
            assert!(
                (from..from + 10).contains(&next.as_nanos()),
                "{period}: {next:?}"
            );
            assert!(!schedule.is_due(at(next.as_nanos() - 1)));
            let due = DueTimes {
                first: next,
                count: 1,
            };
            assert_eq!(schedule.take_due(next), due);
        }
    }

    /// A disturbance that comes once in a period is met as often as it lasts.
    #[test]
    fn no_part_of_a_period_is_left_out() {
        let mut schedule = schedule(0, 100);
        let met = (0..10_000).filter(|_| {
            let due = schedule.next_due();
            schedule.take_due(due);
            due.as_nanos() % 100 >= 70
        });
        let met = met.count();
        assert!((2800..3200).contains(&met), "{met} of 3000");
    }

    /// Stalls of the length of a period, at random moments: a Poisson process would miss 37 % of them.
    #[test]
    fn a_stall_of_a_period_is_missed_once_in_six() {
        let mut schedule = schedule(0, 100);
        let times: Vec<u64> = (0..60_000)
            .map(|_| {
                let due = schedule.next_due();
                schedule.take_due(due).first.as_nanos()
            })
            .collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let mean = gaps.clone().sum::<u64>() as f64 / gaps.len() as f64;
        assert!((99.0..101.0).contains(&mean), "{mean}");
        assert!(gaps.clone().all(|gap| gap < 200));
        let mut dice = fastrand::Rng::with_seed(2);
        let missed = (0..20_000).filter(|_| {
            let stall = dice.u64(..5_900_000);
            let next = times[times.partition_point(|time| *time < stall)];
            next >= stall + 100
        });
        let missed = missed.count() as f64 / 20_000.0;
        assert!((0.15..0.18).contains(&missed), "{missed}");
    }

    #[test]
    fn after_a_stall_all_moments_that_passed_are_asked_at_once() {
        let mut schedule = schedule(100, 10);
        let due = DueTimes {
            first: at(100),
            count: 6,
        };
        assert_eq!(schedule.take_due(at(155)), due);
        assert!((160..170).contains(&schedule.next_due().as_nanos()));
    }

    #[test]
    fn housekeeping_counts_against_nobody_unless_someone_waits() {
        for seed in 0..100 {
            let mut schedule = Schedule::new(at(100), Duration::from_nanos(10), seed);
            let skipped = schedule.skip_between(at(95), at(125));
            assert!((3..=4).contains(&skipped), "{skipped}");
            let next = schedule.next_due();
            assert!(
                !schedule.is_due(at(125)),
                "what was skipped is not asked for"
            );
            assert_eq!(schedule.skip_between(next, at(200)), 0);
            assert_eq!(schedule.next_due(), next);
        }
    }

    proptest! {
        /// However long the operations take, each period has one moment, and none is taken before it has come.
        #[test]
        fn every_moment_is_asked_once(
            period in 1_u64..1000,
            stalls in prop::collection::vec(0_u64..5000, 1..50),
            seed: u64,
        ) {
            let mut schedule = Schedule::new(at(7), Duration::from_nanos(period), seed);
            let (mut now, mut periods) = (7, 0);
            for stall in stalls {
                let next = schedule.next_due().as_nanos();
                let from = 7 + periods * period;
                prop_assert!((from..from + period).contains(&next));
                now = next.max(now);
                let due = schedule.take_due(at(now));
                prop_assert_eq!(due.first.as_nanos(), next);
                prop_assert!(next + (due.count - 1) * period <= now);
                periods += due.count;
                prop_assert!(7 + (periods + 1) * period > now);
                now += stall;
            }
        }
    }
}
