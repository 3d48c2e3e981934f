//! The intended times of a prober, fixed beforehand, however long the operations take (an open loop).

/// Times that are a period apart. It is pure arithmetic: the current time is an argument.
#[derive(Debug, Clone)]
pub struct Schedule {
    next_ns: u64,
    period_ns: u64,
}

/// The intended times that one operation serves: `first_ns`, that plus a period, ..., `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTimes {
    /// The oldest of the intended times.
    pub first_ns: u64,
    /// Number of intended times, at least one.
    pub count: u64,
}

impl Schedule {
    /// Makes a schedule from `first_ns` on, with times `period_ns` apart.
    ///
    /// # Panics
    /// If `period_ns` is 0.
    #[must_use]
    pub fn new(first_ns: u64, period_ns: u64) -> Self {
        assert!(period_ns > 0, "a period of nothing");
        Self {
            next_ns: first_ns,
            period_ns,
        }
    }

    /// Returns the next intended time.
    #[must_use]
    pub fn next_due(&self) -> u64 {
        self.next_ns
    }

    /// Returns whether the next intended time has come.
    #[must_use]
    pub fn is_due(&self, now_ns: u64) -> bool {
        self.next_ns <= now_ns
    }

    /// Takes all intended times that have come by `now_ns`, at least the next. Those that passed during a late operation
    /// are served together: the latency of each is from its own time to the end of the same operation. So a stall of a
    /// second appears as a second of latencies in the histogram (no coordinated omission), and the late operations do
    /// not become a load of their own.
    pub fn take_due(&mut self, now_ns: u64) -> DueTimes {
        let count = 1 + now_ns.saturating_sub(self.next_ns) / self.period_ns;
        let first_ns = self.next_ns;
        self.next_ns += count * self.period_ns;
        DueTimes { first_ns, count }
    }

    /// Skips the intended times from `from_ns` to `to_ns`, in which the prober itself was busy between two operations. Skips
    /// none if it was late already, since that lateness must be counted. Returns how many were skipped.
    pub fn skip_between(&mut self, from_ns: u64, to_ns: u64) -> u64 {
        if !self.is_due(from_ns) && self.is_due(to_ns) {
            self.take_due(to_ns).count
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DueTimes, Schedule};

    #[test]
    fn in_time_each_moment_is_its_own_question() {
        let mut schedule = Schedule::new(100, 10);
        for moment in [100, 110, 120] {
            assert!(!schedule.is_due(moment - 1));
            assert_eq!(
                schedule.take_due(moment + 1),
                DueTimes {
                    first_ns: moment,
                    count: 1
                }
            );
        }
    }

    #[test]
    fn after_a_stall_all_moments_that_passed_are_asked_at_once() {
        let mut schedule = Schedule::new(100, 10);
        schedule.take_due(100);
        assert_eq!(
            schedule.take_due(155),
            DueTimes {
                first_ns: 110,
                count: 5
            }
        );
        assert_eq!(schedule.next_due(), 160);
    }

    #[test]
    fn housekeeping_counts_against_nobody_unless_someone_waits() {
        let mut schedule = Schedule::new(100, 10);
        assert_eq!(schedule.skip_between(95, 125), 3);
        assert_eq!(schedule.next_due(), 130);
        assert_eq!(schedule.skip_between(131, 200), 0);
        assert_eq!(schedule.next_due(), 130);
    }

    proptest! {
        /// However long the operations take, no intended time is left out or taken twice.
        #[test]
        fn every_moment_is_asked_once(period in 1_u64..1000, stalls in prop::collection::vec(0_u64..5000, 1..50)) {
            let mut schedule = Schedule::new(7, period);
            let (mut now, mut expected) = (7, 7);
            for stall in stalls {
                now = schedule.next_due().max(now);
                let due = schedule.take_due(now);
                prop_assert_eq!(due.first_ns, expected);
                prop_assert!(due.first_ns + (due.count - 1) * period <= now);
                expected += due.count * period;
                prop_assert!(expected > now);
                now += stall;
            }
        }
    }
}
