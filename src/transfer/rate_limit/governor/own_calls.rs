//! Watches the copy's own calls for the wait that begins where a disk is saturated.
//!
//! Below the knee of a disk a call takes what the disk needs for its bytes, an eighth of the target or less, since chunks are
//! made so small. At the knee it waits in a queue, and so does everybody else.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::call_summary::{CallSpan, CallSummary};
use crate::sys::clock::MonotonicNs;

/// The part of the target from which a call counts as a stall: four times what a chunk takes at most, and early enough for
/// a cut before others are late.
const STALL_SHARE: f64 = 0.5;

/// The time over which stalls are added up: two slices of 100 ms of blk-throttle and a half.
const ADDED_UP_OVER: Duration = Duration::from_millis(250);

/// Least and most time of stalls in it that show a full disk; in between it is half of the target. Single calls of 3 ms came
/// several times a second on a busy machine, and held a copy with a target of 5 ms at the lowest rate.
const FULL_FROM: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(25)];

/// A call that takes less than so many times the usual is no stall, however short the target is: a disk that seeks for each.
const STALL_FACTOR: f64 = 3.0;

/// Weight of the last decision's calls in what is usual: 20 decisions are 0.4 s.
const USUAL_WEIGHT: f64 = 0.05;

/// The time for which it is remembered how long calls were late: the ten seconds of which one in a hundred may be.
const MEMORY: Duration = Duration::from_secs(10);

/// The part of that time in which calls may have been late for the rate to grow near the congestion: half of what is
/// allowed, so that the next stall is paid for before it is risked.
const SPENT_SHARE: f64 = 0.005;

/// The calls of the copy as a sensor of its disk.
#[derive(Debug)]
pub(super) struct OwnCalls {
    target: Duration,
    /// Calls since the last decision.
    pending: Option<CallSummary>,
    /// The usual duration of a call in seconds, once there was one.
    usual: Option<f64>,
    /// Calls from before this time were stopped with the process.
    resumed: MonotonicNs,
    /// When calls stalled, and for how long beyond the usual.
    stalls: VecDeque<(MonotonicNs, Duration)>,
    /// When calls were late, and the time for which another program's write would have been late with them.
    late: VecDeque<(MonotonicNs, Duration)>,
}

impl OwnCalls {
    /// Starts to watch for calls that come near `target`.
    pub(super) fn new(target: Duration) -> Self {
        Self {
            target,
            pending: None,
            usual: None,
            resumed: MonotonicNs::ZERO,
            stalls: VecDeque::new(),
            late: VecDeque::new(),
        }
    }

    /// Adds calls, which are judged with the next decision.
    pub(super) fn add(&mut self, calls: CallSummary) {
        if calls.longest.began < self.resumed {
            return;
        }
        self.pending = Some(self.pending.map_or(calls, |known| known.with(calls)));
    }

    /// Judges the calls since the last decision. Returns the longest, if it stalled and the disk was full.
    pub(super) fn take_stall(&mut self, now: MonotonicNs) -> Option<CallSpan> {
        forget(&mut self.late, now.before(MEMORY));
        forget(&mut self.stalls, now.before(ADDED_UP_OVER));
        let calls = self.pending.take()?;
        let longest = calls.longest.duration();
        let threshold = self.threshold();
        let mean = calls.mean().as_secs_f64();
        let usual = self.usual.unwrap_or(mean);
        // One stall does not make stalls usual.
        let step = mean.min(2.0 * usual) - usual;
        self.usual = Some(usual + USUAL_WEIGHT * step);
        if longest <= threshold {
            return None;
        }
        let late = longest.saturating_sub(self.target);
        if late > Duration::ZERO {
            self.late.push_back((now, late));
        }
        let beyond = (longest.as_secs_f64() - usual).max(0.0);
        self.stalls
            .push_back((now, Duration::from_secs_f64(beyond)));
        let [least, most] = FULL_FROM;
        let full = (self.target / 2).clamp(least, most);
        (sum(&self.stalls) >= full).then_some(calls.longest)
    }

    /// Starts anew at `now`, after a time in which the process was stopped.
    pub(super) fn resume(&mut self, now: MonotonicNs) {
        self.pending = None;
        self.stalls.clear();
        self.late.clear();
        self.resumed = now;
    }

    /// Returns whether there was a call to judge.
    pub(super) fn is_heard(&self) -> bool {
        self.usual.is_some()
    }

    /// Returns whether a call took longer than the target in the last ten seconds.
    pub(super) fn were_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Returns whether others may have been late for half of the time that is allowed.
    pub(super) fn is_nearly_spent(&self) -> bool {
        sum(&self.late).as_secs_f64() > SPENT_SHARE * MEMORY.as_secs_f64()
    }

    fn threshold(&self) -> Duration {
        let share = self.target.as_secs_f64() * STALL_SHARE;
        let usual = self.usual.unwrap_or(0.0) * STALL_FACTOR;
        Duration::try_from_secs_f64(share.max(usual)).unwrap_or(Duration::MAX)
    }
}

fn forget(times: &mut VecDeque<(MonotonicNs, Duration)>, before: MonotonicNs) {
    while times.front().is_some_and(|(at, _)| *at < before) {
        times.pop_front();
    }
}

fn sum(times: &VecDeque<(MonotonicNs, Duration)>) -> Duration {
    times.iter().map(|(_, time)| *time).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Makes one call of so many milliseconds that ends at `at` milliseconds. Returns whether it was a stall.
    fn call(calls: &mut OwnCalls, at: u64, took: u64) -> bool {
        let end = MonotonicNs::from_nanos(at * MS);
        let began = MonotonicNs::from_nanos((at - took) * MS);
        calls.add(CallSummary::new(CallSpan { began, end }));
        calls.take_stall(end).is_some()
    }

    #[test]
    fn a_wait_of_half_the_target_is_a_stall() {
        let mut calls = OwnCalls::new(Duration::from_millis(40));
        assert!(calls.take_stall(MonotonicNs::from_nanos(0)).is_none());
        assert!(!call(&mut calls, 100, 1));
        assert!(!call(&mut calls, 120, 20));
        assert!(call(&mut calls, 140, 25));
        assert!(!calls.is_nearly_spent(), "25 ms are in time");
        assert!(!call(&mut calls, 160, 1), "each call is judged once");
    }

    #[test]
    fn short_stalls_count_if_there_are_many() {
        let mut calls = OwnCalls::new(Duration::from_millis(5));
        assert!(!call(&mut calls, 1_000, 1));
        assert!(!call(&mut calls, 2_000, 4), "one call waited for a CPU");
        assert!(!call(&mut calls, 3_000, 4) && !call(&mut calls, 3_100, 4));
        assert!(!call(&mut calls, 3_120, 1));
        assert!(call(&mut calls, 3_200, 6), "10 ms of 250");
    }

    #[test]
    fn the_longest_of_many_calls_is_judged() {
        let mut calls = OwnCalls::new(Duration::from_millis(10));
        let span = |began: u64, end: u64| {
            CallSummary::new(CallSpan {
                began: MonotonicNs::from_nanos(began * MS),
                end: MonotonicNs::from_nanos(end * MS),
            })
        };
        calls.add(span(100, 101));
        calls.add(span(101, 120));
        calls.add(span(120, 121));
        let stall = calls.take_stall(MonotonicNs::from_nanos(121 * MS)).unwrap();
        assert_eq!(stall.duration(), Duration::from_millis(19));
    }

    #[test]
    fn what_is_usual_on_a_slow_disk_is_no_stall() {
        let mut calls = OwnCalls::new(Duration::from_millis(5));
        for step in 1..100 {
            let stalled = call(&mut calls, 100 * step, 8);
            assert!(step < 3 || !stalled, "call {step}");
        }
        assert!(call(&mut calls, 10_000, 30));
    }

    #[test]
    fn a_call_that_was_stopped_with_the_process_is_no_stall() {
        let mut calls = OwnCalls::new(Duration::from_millis(10));
        assert!(!call(&mut calls, 100, 1));
        calls.resume(MonotonicNs::from_nanos(60_000 * MS));
        assert!(!call(&mut calls, 60_001, 59_000));
        assert!(!calls.were_late() && !calls.is_nearly_spent());
        assert!(call(&mut calls, 60_100, 40));
        assert!(calls.were_late());
    }

    #[test]
    fn late_time_is_remembered_for_ten_seconds() {
        let mut calls = OwnCalls::new(Duration::from_millis(10));
        assert!(!call(&mut calls, 100, 1));
        assert!(call(&mut calls, 1_000, 50));
        assert!(!calls.is_nearly_spent(), "40 ms are 0.4 %");
        assert!(call(&mut calls, 2_000, 30));
        assert!(calls.is_nearly_spent(), "60 ms are 0.6 %");
        assert!(!call(&mut calls, 11_001, 1));
        assert!(!calls.is_nearly_spent(), "the first is forgotten");
    }
}
