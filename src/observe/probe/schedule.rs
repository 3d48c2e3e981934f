//! The moments at which questions are asked: fixed beforehand, whatever the answers take (an open loop).

/// Moments a period apart. Pure arithmetic: time comes in as a value.
#[derive(Debug, Clone)]
pub struct Schedule {
    next: u64,
    period: u64,
}

/// The intended moments that one question serves: `first`, `first + period`, ..., `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTimes {
    /// The oldest.
    pub first: u64,
    /// How many; at least one.
    pub count: u64,
}

impl Schedule {
    /// Moments from `first` on, `period` nanoseconds apart.
    ///
    /// # Panics
    /// A period of 0.
    #[must_use]
    pub fn new(first: u64, period: u64) -> Self {
        assert!(period > 0, "a period of nothing");
        Self {
            next: first,
            period,
        }
    }

    /// The next moment.
    #[must_use]
    pub fn next_due(&self) -> u64 {
        self.next
    }

    /// Whether it has come.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        self.next <= now
    }

    /// Takes all moments that have come by `now`, at least the next. Those that passed while an earlier answer was late
    /// are asked together: each waits from its own moment to the same answer. So a stall of a second is a second of
    /// late answers in the histogram (no coordinated omission), and the questions that pile up behind it do not become a
    /// load of their own.
    pub fn take_due(&mut self, now: u64) -> DueTimes {
        let count = 1 + now.saturating_sub(self.next) / self.period;
        let first = self.next;
        self.next += count * self.period;
        DueTimes { first, count }
    }

    /// Passes over the moments from `from` to `to`, when the prober itself was busy between two questions: but not when
    /// it was late already, since then someone waits. Returns how many.
    pub fn skip_between(&mut self, from: u64, to: u64) -> u64 {
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

    use super::{DueTimes, Schedule};

    #[test]
    fn in_time_each_moment_is_its_own_question() {
        let mut schedule = Schedule::new(100, 10);
        for moment in [100, 110, 120] {
            assert!(!schedule.is_due(moment - 1));
            assert_eq!(
                schedule.take_due(moment + 1),
                DueTimes {
                    first: moment,
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
                first: 110,
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
        /// Whatever the answers take, no moment is left out and none is asked twice.
        #[test]
        fn every_moment_is_asked_once(period in 1_u64..1000, stalls in prop::collection::vec(0_u64..5000, 1..50)) {
            let mut schedule = Schedule::new(7, period);
            let (mut now, mut expected) = (7, 7);
            for stall in stalls {
                now = schedule.next_due().max(now);
                let due = schedule.take_due(now);
                prop_assert_eq!(due.first, expected);
                prop_assert!(due.first + (due.count - 1) * period <= now);
                expected += due.count * period;
                prop_assert!(expected > now);
                now += stall;
            }
        }
    }
}
