//! Limits the CPU time of one system call to about a third of a millisecond, by measuring each call.
//!
//! On a kernel without preemption nothing else runs on that CPU until the call returns or waits, so a call that moves,
//! frees or reserves much is made in pieces, whose size adapts to the cost of the last one.

use std::time::{Duration, Instant};

use crate::sys::cpu::thread_cpu_time;

/// CPU time of a call above which the next one is half as large. The fork of another program waits behind a call at
/// most for this time. With 0.3 ms the 99.9th percentile of others' forks was 0.54 to 0.65 ms (8 GiB, five rounds),
/// with 0.5 ms 0.67 to 0.78, at the same rate; under dd in calls of 1 MiB it was 0.59 to 0.91.
const MAX_CPU: Duration = Duration::from_micros(300);

/// CPU time of a call below which the next one is twice as large: twice of it is still below [`MAX_CPU`].
const LITTLE_CPU: Duration = Duration::from_micros(120);

/// Length of a sleep between two periods of [`MAX_CPU`]. The timer adds 0.05 ms, so at most a fifth of the time is
/// spent sleeping.
const SLEEP_LENGTH: Duration = Duration::from_micros(50);

/// The size of the next call in bytes, always a power of two between its bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdaptiveCallSize {
    bytes: u64,
    least: u64,
    most: u64,
}

impl AdaptiveCallSize {
    /// Starts with `first` bytes, between the bounds `least` and `most`. All three are powers of two.
    #[must_use]
    pub(super) fn new(first: u64, least: u64, most: u64) -> Self {
        Self {
            bytes: first.clamp(least, most),
            least,
            most,
        }
    }

    /// Returns how many bytes the next call may process.
    #[must_use]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes a call that processes `bytes`, and adapts to the CPU time that it took.
    pub(super) fn measure<T>(&mut self, bytes: u64, call: impl FnOnce() -> T) -> T {
        let before = thread_cpu_time();
        let result = call();
        self.adapt(bytes, thread_cpu_time().saturating_sub(before));
        result
    }

    /// Adapts to a call that processed `bytes` in `cpu`.
    pub(super) fn adapt(&mut self, bytes: u64, cpu: Duration) {
        if cpu > MAX_CPU {
            // A call that processed less than it was allowed is too expensive for its own size.
            self.bytes = (bytes.min(self.bytes).next_power_of_two() / 2).max(self.least);
        } else if cpu < LITTLE_CPU && bytes >= self.bytes {
            self.bytes = (self.bytes * 2).min(self.most);
        }
    }
}

/// The time that one call took.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallCost {
    /// CPU time of the calling thread.
    pub(super) cpu: Duration,
    /// Wall time from begin to end.
    pub(super) wall: Duration,
}

/// Makes a call, and returns what it returned and took.
pub(super) fn measure_call<T>(call: impl FnOnce() -> T) -> (T, CallCost) {
    let (began, before) = (Instant::now(), thread_cpu_time());
    let result = call();
    let cpu = thread_cpu_time().saturating_sub(before);
    let wall = began.elapsed();
    (result, CallCost { cpu, wall })
}

/// Inserts sleeps into a phase that computes without ever waiting, so that other tasks get the CPU in time.
///
/// Short calls alone are not enough: the scheduler lets a task that does not sleep keep its CPU until a tick finds its
/// slice used up. On 6.18 with HZ=250 a fork of another program waited 2 to 5 ms while space for 8 GiB was reserved in
/// calls of 0.05 ms.
#[derive(Debug)]
pub(super) struct PeriodicSleep {
    since: Duration,
}

impl PeriodicSleep {
    /// Starts to count the CPU time of the calling thread.
    #[must_use]
    pub(super) fn begin() -> Self {
        Self {
            since: thread_cpu_time(),
        }
    }

    /// Sleeps for [`SLEEP_LENGTH`] if the thread has used [`MAX_CPU`] since the last sleep.
    pub(super) fn sleep_if_due(&mut self) {
        if thread_cpu_time().saturating_sub(self.since) >= MAX_CPU {
            std::thread::sleep(SLEEP_LENGTH);
            self.since = thread_cpu_time();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_shrinks_and_grows_with_its_cost() {
        let mut piece = AdaptiveCallSize::new(8 << 20, 64 << 10, 8 << 20);
        piece.adapt(8 << 20, Duration::from_millis(2));
        assert_eq!(piece.bytes(), 4 << 20);
        piece.adapt(4 << 20, Duration::from_micros(300));
        assert_eq!(piece.bytes(), 4 << 20, "between the two");
        piece.adapt(1 << 20, Duration::from_micros(1));
        assert_eq!(
            piece.bytes(),
            4 << 20,
            "a small call says nothing of a large one"
        );
        piece.adapt(4 << 20, Duration::from_micros(10));
        piece.adapt(8 << 20, Duration::from_micros(10));
        assert_eq!(piece.bytes(), 8 << 20, "and no further");
        for _ in 0..20 {
            piece.adapt(64 << 10, Duration::from_secs(1));
        }
        assert_eq!(piece.bytes(), 64 << 10, "and no less");
    }

    #[test]
    fn a_thread_rests_once_it_has_used_its_share() {
        let mut rest = PeriodicSleep::begin();
        let begin = rest.since;
        rest.sleep_if_due();
        assert_eq!(rest.since, begin, "nothing is due yet");
        while thread_cpu_time() < begin + MAX_CPU {}
        rest.sleep_if_due();
        assert!(rest.since >= begin + MAX_CPU);
    }
}
