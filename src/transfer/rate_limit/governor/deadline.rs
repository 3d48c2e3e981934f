//! The deadline of a copy (--finish-within): for how long the limits hold, and the rate that the copy needs when they do
//! not suffice.
//!
//! The rate that is needed is what remains, divided by the time that is left until nine tenths of the whole time. While
//! the limits allow as much, nothing changes. When they have allowed less for a while, they yield: the copy runs at the
//! rate that is needed, and no faster. It is arithmetic, as the governor is: the time is an argument.

use std::time::Duration;

use super::throughput_meter::CopyPace;
use super::{Bottleneck, Cause, CopyTotals, Limits, Notice, Rate};
use crate::sys::clock::MonotonicNs;

/// The part of the whole time within which the copy aims to be complete. The rest is for what follows the data, as
/// fsync, and for a disk that becomes slower.
const AIMED_PART: f64 = 0.9;

/// The part of the whole time, and the longest time, for which the limits may allow less than is needed before they
/// yield: the governor begins with little, and doubles it in a fraction of a second.
const PATIENCE_DIVISOR: u32 = 20;
const MAX_PATIENCE: Duration = Duration::from_secs(10);

/// Limits that yielded hold again when they allow so many times what is needed.
const CALM_AGAIN: f64 = 1.25;

/// The shortest time over which the rate of a copy that nothing holds back is measured before it is called too low.
const MIN_JUDGED: Duration = Duration::from_secs(1);

/// A copy is called too slow where its rate leaves more than this part of what remains: rates vary.
const MISSING_PART: f64 = 0.05;

/// The work that a copy has still to do, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemainingWork {
    /// Bytes that are known to remain.
    pub bytes: u64,
    /// Whether there may be more, of which nothing is known yet.
    pub may_be_more: bool,
}

/// Returns the bytes per second at which `work` is done in `left`: infinity where no time is left, or where nobody knows
/// how much there is.
#[must_use]
pub fn needed_rate(work: RemainingWork, left: Duration) -> f64 {
    match (work.bytes, work.may_be_more) {
        (0, false) => 0.0,
        _ if left.is_zero() => f64::INFINITY,
        (bytes, _) => bytes as f64 / left.as_secs_f64(),
    }
}

/// Watches the deadline of a copy, and decides when the limits yield.
#[derive(Debug)]
pub(super) struct DeadlineController {
    began: MonotonicNs,
    within: Duration,
    /// The rate that is never exceeded (--limit-rate).
    limit: f64,
    remaining: RemainingWork,
    /// Since when the limits allow less than is needed.
    short_since: Option<MonotonicNs>,
    is_yielding: bool,
    /// Since when nothing holds the copy back, and the bytes that it had moved then.
    free_since: Option<(MonotonicNs, u64)>,
    has_yielded: bool,
    is_too_short: bool,
    is_over: bool,
}

impl DeadlineController {
    /// Makes the controller, if there is a deadline.
    pub(super) fn new(limits: &Limits) -> Option<Self> {
        let within = limits.finish_within?;
        Some(Self {
            began: limits.began,
            within,
            limit: limits.rate.map_or(f64::INFINITY, |rate| rate as f64),
            remaining: RemainingWork {
                bytes: 0,
                may_be_more: true,
            },
            short_since: None,
            is_yielding: false,
            free_since: None,
            has_yielded: false,
            is_too_short: false,
            is_over: false,
        })
    }

    /// Sets what remains to be copied.
    pub(super) fn set_remaining(&mut self, remaining: RemainingWork) {
        self.remaining = remaining;
    }

    /// Returns the longest time for which the machine may be measured before the first byte.
    pub(super) fn longest_baseline(&self) -> Duration {
        self.within / PATIENCE_DIVISOR
    }

    /// Returns whether the limits yield to the deadline now.
    pub(super) fn is_yielding(&self) -> bool {
        self.is_yielding
    }

    /// Returns whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the rate of the copy, given the one that the limits allow.
    pub(super) fn rate(&mut self, now: MonotonicNs, allowed: f64) -> f64 {
        let aimed = self.within.mul_f64(AIMED_PART);
        let left = aimed.saturating_sub(self.elapsed(now));
        // A copy that still runs then is not complete, whatever is known of it.
        let needed = match left.is_zero() {
            true => f64::INFINITY,
            false => needed_rate(self.remaining, left),
        };
        let is_short = allowed < needed && allowed < self.limit;
        if !is_short {
            self.short_since = None;
            self.is_yielding &= allowed < (CALM_AGAIN * needed).min(self.limit);
        } else if !self.is_yielding {
            let since = *self.short_since.get_or_insert(now);
            let patience = (self.within / PATIENCE_DIVISOR).min(MAX_PATIENCE);
            self.is_yielding = needed.is_infinite() || now.since(since) >= patience;
        }
        if self.is_yielding {
            allowed.max(needed).min(self.limit)
        } else {
            allowed
        }
    }

    /// Returns what is to be said about the deadline, each thing once in a run.
    pub(super) fn notices(
        &mut self,
        now: MonotonicNs,
        done: CopyTotals,
        pace: &CopyPace,
    ) -> Vec<Notice> {
        let mut notices = Vec::new();
        let has_work = self.remaining != RemainingWork::default();
        if self.is_yielding && has_work && !self.has_yielded {
            self.has_yielded = true;
            notices.push(Notice::LimitsYield(self.bottleneck(
                now,
                pace,
                Rate::Stopped,
            )));
        }
        if self.elapsed(now) >= self.within {
            if !self.is_over {
                notices.push(Notice::DeadlineOver);
            }
            (self.is_over, self.is_too_short) = (true, true);
        }
        if let Some(rate) = self
            .too_low_rate(now, done, pace)
            .filter(|_| !self.is_too_short)
        {
            self.is_too_short = true;
            notices.push(Notice::DeadlineTooShort {
                rate,
                needs: Duration::try_from_secs_f64(self.remaining.bytes as f64 / rate.max(1.0))
                    .unwrap_or(Duration::MAX),
                left: self.left(now),
            });
        }
        notices
    }

    /// Returns what the copy reaches, beside what it needs until the deadline and the rate that it may have.
    pub(super) fn bottleneck(&self, now: MonotonicNs, pace: &CopyPace, rate: Rate) -> Bottleneck {
        let target = needed_rate(self.remaining, self.left(now));
        Bottleneck {
            cause: Cause::Deadline,
            figure: pace.reached,
            target: if target.is_finite() { target } else { 0.0 },
            rate,
        }
    }

    /// Returns the highest rate that the copy can have, if that is too low: the limit that the user has set, or the rate
    /// that was measured while nothing held the copy back.
    fn too_low_rate(&mut self, now: MonotonicNs, done: CopyTotals, pace: &CopyPace) -> Option<f64> {
        let left = self.left(now).as_secs_f64();
        let is_too_low = |rate: f64| {
            let missing = self.remaining.bytes as f64 - rate * left;
            missing > MISSING_PART * self.remaining.bytes as f64
        };
        if is_too_low(self.limit) {
            return Some(self.limit);
        }
        if pace.was_throttled || pace.is_idle || pace.reached == 0.0 {
            self.free_since = None;
            return None;
        }
        let (since, moved) = *self.free_since.get_or_insert((now, done.moved));
        let passed = now.since(since);
        if passed < MIN_JUDGED.max(self.within / PATIENCE_DIVISOR) {
            return None;
        }
        let measured = done.moved.saturating_sub(moved) as f64 / passed.as_secs_f64();
        is_too_low(measured).then_some(measured)
    }

    fn elapsed(&self, now: MonotonicNs) -> Duration {
        now.since(self.began)
    }

    fn left(&self, now: MonotonicNs) -> Duration {
        self.within.saturating_sub(self.elapsed(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: f64) -> MonotonicNs {
        MonotonicNs::ZERO.after(Duration::from_secs_f64(seconds))
    }

    fn known(bytes: u64) -> RemainingWork {
        RemainingWork {
            bytes,
            may_be_more: false,
        }
    }

    /// Makes the controller of a copy of so many bytes within 100 s.
    fn controller(bytes: u64, limit: Option<u64>) -> DeadlineController {
        let limits = Limits {
            finish_within: Some(Duration::from_secs(100)),
            rate: limit,
            ..Limits::default()
        };
        let mut deadline = DeadlineController::new(&limits).unwrap();
        deadline.set_remaining(known(bytes));
        deadline
    }

    fn pace(reached: f64, was_throttled: bool) -> CopyPace {
        CopyPace {
            reached,
            was_throttled,
            ..CopyPace::default()
        }
    }

    #[test]
    fn the_needed_rate_is_what_remains_in_the_time_that_is_left() {
        let ten = Duration::from_secs(10);
        let unknown = RemainingWork {
            may_be_more: true,
            ..known(0)
        };
        assert_eq!(needed_rate(known(1000), ten), 100.0);
        assert_eq!(needed_rate(known(0), Duration::ZERO), 0.0);
        assert_eq!(needed_rate(known(1), Duration::ZERO), f64::INFINITY);
        assert_eq!(needed_rate(unknown, ten), 0.0);
        assert_eq!(needed_rate(unknown, Duration::ZERO), f64::INFINITY);
    }

    #[test]
    fn limits_hold_while_they_allow_what_is_needed() {
        let mut deadline = controller(900 * MIB, None);
        let needed = 10.0 * MIB as f64;
        assert_eq!(deadline.rate(at(0.0), needed), needed);
        assert_eq!(deadline.rate(at(0.0), f64::INFINITY), f64::INFINITY);
        assert!(!deadline.is_yielding());
    }

    #[test]
    fn limits_that_allow_less_for_a_while_yield_to_what_is_needed() {
        let mut deadline = controller(900 * MIB, None);
        let calm = MIB as f64;
        assert_eq!(deadline.rate(at(0.0), calm), calm);
        assert_eq!(deadline.rate(at(4.9), calm), calm);
        let rate = deadline.rate(at(5.0), calm);
        assert_eq!(rate, (900 * MIB) as f64 / 85.0);
        // They hold again when they allow a quarter more than is needed.
        assert_eq!(deadline.rate(at(5.0), 1.2 * rate), 1.2 * rate);
        assert!(deadline.is_yielding());
        assert_eq!(deadline.rate(at(5.0), 1.3 * rate), 1.3 * rate);
        assert!(!deadline.is_yielding());
        // A short time below, as in slow start, is no reason.
        assert_eq!(deadline.rate(at(6.0), calm), calm);
        assert_eq!(deadline.rate(at(10.0), 2.0 * rate), 2.0 * rate);
        assert_eq!(deadline.rate(at(11.0), calm), calm);
        assert_eq!(deadline.rate(at(15.9), calm), calm);
    }

    #[test]
    fn the_last_tenth_is_without_limits_but_that_of_the_user() {
        let mut deadline = controller(MIB, None);
        assert_eq!(deadline.rate(at(90.0), 1.0), f64::INFINITY);
        let mut limited = controller(MIB, Some(5000));
        assert_eq!(limited.rate(at(90.0), 1.0), 5000.0);
        assert_eq!(limited.rate(at(200.0), 5000.0), 5000.0);
        assert!(
            !limited.is_yielding(),
            "the limit of the user does not yield"
        );
        let mut unknown = controller(0, None);
        unknown.set_remaining(RemainingWork {
            bytes: 0,
            may_be_more: true,
        });
        assert_eq!(unknown.rate(at(89.0), 1.0), 1.0);
        assert_eq!(unknown.rate(at(91.0), 1.0), f64::INFINITY);
    }

    #[test]
    fn a_limit_that_cannot_make_it_is_reported_at_once_and_once() {
        let mut deadline = controller(1000 * MIB, Some(MIB));
        let start = CopyTotals::default();
        let notices = deadline.notices(at(0.0), start, &pace(0.0, true));
        let [Notice::DeadlineTooShort { rate, needs, left }] = notices[..] else {
            panic!("{notices:?}");
        };
        assert_eq!(
            (rate, needs.as_secs(), left.as_secs()),
            (MIB as f64, 1000, 100)
        );
        assert!(
            deadline
                .notices(at(1.0), start, &pace(0.0, true))
                .is_empty()
        );
        let over = deadline.notices(at(100.0), start, &pace(0.0, true));
        assert_eq!(over, [Notice::DeadlineOver]);
        assert!(
            deadline
                .notices(at(101.0), start, &pace(0.0, true))
                .is_empty()
        );
    }

    #[test]
    fn a_disk_that_cannot_make_it_is_reported_when_it_was_measured() {
        let mut deadline = controller(1000 * MIB, None);
        let free = pace(5.0 * MIB as f64, false);
        let mut told = None;
        for second in 0..20 {
            let moved = second * 5 * MIB;
            deadline.set_remaining(known(1000 * MIB - moved));
            let done = CopyTotals {
                moved,
                ..CopyTotals::default()
            };
            for notice in deadline.notices(at(second as f64), done, &free) {
                assert!(
                    matches!(notice, Notice::DeadlineTooShort { .. }),
                    "{notice:?}"
                );
                assert_eq!(told.replace(second), None);
            }
        }
        assert_eq!(told, Some(5));
    }

    #[test]
    fn a_disk_that_makes_it_is_not_reported() {
        let mut deadline = controller(1000 * MIB, None);
        for second in 0..50 {
            let moved = second * 11 * MIB;
            deadline.set_remaining(known(1000 * MIB - moved));
            let done = CopyTotals {
                moved,
                ..CopyTotals::default()
            };
            let notices = deadline.notices(at(second as f64), done, &pace(11e6, false));
            assert!(notices.is_empty(), "{notices:?}");
        }
    }
}
