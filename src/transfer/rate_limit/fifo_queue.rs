//! FIFO queue in front of the token bucket. If settings are not renewed for `STALE_AFTER_NS` (500 ms), the rate falls
//! to `MIN_RATE`. The current time is an argument.

use std::collections::VecDeque;

use std::time::Duration;

use super::{MAX_BURST, MIN_RATE, Rate, RateSettings, TokenBucket, Wait};
use crate::sys::clock::MonotonicNs;

/// The smallest chunk that is worth a call, in bytes.
const MIN_CHUNK_BYTES: usize = 4096;

/// The largest chunk in bytes while the settings are stale.
const BLIND_CHUNK: usize = 64 << 10;

/// Age in nanoseconds from which settings are stale. A governor renews them every 20 ms; if they are older, its thread
/// hangs or gets no CPU.
const STALE_AFTER: Duration = Duration::from_millis(500);

/// A position in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The queue and its token bucket.
#[derive(Debug)]
pub(super) struct FifoQueue {
    bucket: TokenBucket,
    waiting: VecDeque<Ticket>,
    next: u64,
    rate: Rate,
    chunk: usize,
    burst: Duration,
    /// Whether settings become stale, and when the last ones were applied.
    governed: bool,
    obeyed: MonotonicNs,
}

impl FifoQueue {
    /// Makes a queue that lets no bytes through before [`apply`](Self::apply).
    pub(super) fn new(governed: bool, now: MonotonicNs) -> Self {
        Self {
            bucket: TokenBucket::new(Rate::Stopped, 0, now),
            waiting: VecDeque::new(),
            next: 0,
            rate: Rate::Stopped,
            chunk: MIN_CHUNK_BYTES,
            burst: MAX_BURST,
            governed,
            obeyed: now,
        }
    }

    /// Applies new settings, which are valid from `now` on.
    pub(super) fn apply(&mut self, orders: &RateSettings, now: MonotonicNs) {
        // Older settings do not become valid later, either.
        self.expire(now);
        self.burst = orders.burst;
        self.set(orders.rate, orders.chunk.max(MIN_CHUNK_BYTES), now);
        self.obeyed = self.obeyed.max(now);
    }

    /// Returns the largest number of bytes for one call.
    pub(super) fn chunk(&mut self, now: MonotonicNs) -> usize {
        self.expire(now);
        self.chunk
    }

    /// Adds a waiter at the end of the queue.
    pub(super) fn line_up(&mut self) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push_back(ticket);
        ticket
    }

    /// Removes a waiter. Returns whether another one remains, whose turn it may be now.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.waiting.retain(|other| *other != ticket);
        !self.waiting.is_empty()
    }

    /// Takes the number of bytes that `piece` returns for the chunk in force, and returns it.
    ///
    /// # Errors
    /// What to wait for: a change, if another waiter or new settings must come first.
    pub(super) fn take(
        &mut self,
        ticket: Ticket,
        piece: impl FnOnce(usize) -> u64,
        now: MonotonicNs,
    ) -> Result<u64, Wait> {
        self.expire(now);
        if self.waiting.front() != Some(&ticket) {
            return Err(Wait::ForChange);
        }
        let bytes = piece(self.chunk);
        self.bucket.take(bytes, now)?;
        Ok(bytes)
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        self.bucket.give_back(bytes);
    }

    /// Replaces stale settings by `MIN_RATE`, from the time at which they became stale.
    fn expire(&mut self, now: MonotonicNs) {
        let old = self.obeyed.after(STALE_AFTER);
        if self.governed && now > old && self.rate > MIN_RATE {
            self.set(MIN_RATE, self.chunk.min(BLIND_CHUNK), old);
        }
    }

    fn set(&mut self, rate: Rate, chunk: usize, now: MonotonicNs) {
        let burst = rate.bytes_in(self.burst).max(chunk as u64);
        self.bucket.set(rate, burst, now);
        (self.rate, self.chunk) = (rate, chunk);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(nanoseconds: u64) -> MonotonicNs {
        MonotonicNs::from_nanos(nanoseconds)
    }

    fn orders(bytes: u64, chunk: usize) -> RateSettings {
        RateSettings {
            rate: Rate::from_bytes_per_sec(bytes),
            chunk,
            burst: MAX_BURST,
            bottleneck: None,
            notice: None,
        }
    }

    /// Lets chunks through one after another until `until`, each as soon as possible. Returns the number of bytes.
    fn drain(line: &mut FifoQueue, from: u64, until: u64) -> u64 {
        let (mut now, mut sum) = (from, 0);
        loop {
            let ticket = line.line_up();
            while let Err(wait) = line.take(ticket, |chunk| chunk as u64, at(now)) {
                let moment = match wait {
                    Wait::Until(moment) => moment,
                    Wait::ForChange => MonotonicNs::MAX,
                };
                assert!(moment > at(now), "asked again at once");
                now = moment.as_nanos();
                if now >= until {
                    line.leave(ticket);
                    return sum;
                }
            }
            sum += line.chunk(at(now)) as u64;
            line.leave(ticket);
        }
    }

    #[test]
    fn orders_that_grow_old_count_as_the_trickle() {
        let mut line = FifoQueue::new(true, MonotonicNs::ZERO);
        line.apply(&orders(1 << 30, 8 << 20), at(0));
        let fresh = drain(&mut line, 0, SECOND / 2);
        assert!(fresh > 450 << 20, "{fresh}");
        let old = drain(&mut line, SECOND, 11 * SECOND);
        let lowest = MIN_RATE.bytes_per_sec().unwrap();
        assert!(old <= 11 * lowest && old > 8 * lowest, "{old}");
        assert_eq!(line.chunk(at(11 * SECOND)), BLIND_CHUNK);
        line.apply(&orders(1 << 30, 8 << 20), at(11 * SECOND));
        let again = drain(&mut line, 11 * SECOND, 11 * SECOND + SECOND / 2);
        assert!(again > 450 << 20 && again < 560 << 20, "{again}");
    }

    #[test]
    fn orders_that_nobody_looked_at_do_not_come_true_later() {
        let mut line = FifoQueue::new(true, MonotonicNs::ZERO);
        line.apply(&orders(1 << 30, 4096), at(0));
        line.apply(&orders(0, 4096), at(3600 * SECOND));
        let ticket = line.line_up();
        assert!(line.take(ticket, |_| 1 << 20, at(3600 * SECOND)).is_err());
    }

    #[test]
    fn a_limit_alone_does_not_grow_old() {
        let mut line = FifoQueue::new(false, MonotonicNs::ZERO);
        line.apply(&orders(100 << 20, 1 << 20), at(0));
        let sum = drain(&mut line, 0, 10 * SECOND);
        assert!(sum > 990 << 20 && sum <= 1000 << 20, "{sum}");
    }

    #[test]
    fn old_orders_below_the_trickle_stay_what_they_are() {
        let mut line = FifoQueue::new(true, MonotonicNs::ZERO);
        for rate in [0, 1000] {
            line.apply(&orders(rate, 4096), at(0));
            assert!(drain(&mut line, 0, 100 * SECOND) <= 100 * rate);
        }
    }

    #[test]
    fn the_piece_is_that_of_the_moment_at_which_it_goes() {
        let mut line = FifoQueue::new(true, MonotonicNs::ZERO);
        line.apply(&orders(1 << 30, 8 << 20), at(0));
        let ticket = line.line_up();
        let piece = |chunk: usize| chunk.min(8 << 20) as u64;
        let wait = line.take(ticket, piece, at(0)).unwrap_err();
        let Wait::Until(moment) = wait else {
            panic!("no moment is known");
        };
        let slow = RateSettings {
            rate: MIN_RATE,
            ..orders(0, 16 << 10)
        };
        line.apply(&slow, at(1));
        assert_eq!(line.take(ticket, piece, moment), Ok(16 << 10));
    }

    #[test]
    fn a_large_piece_is_not_overtaken_by_small_ones() {
        let mut line = FifoQueue::new(false, MonotonicNs::ZERO);
        line.apply(&orders(1 << 20, 4096), at(0));
        let (large, small) = (line.line_up(), line.line_up());
        let wait = line.take(large, |_| 30_000, at(0)).unwrap_err();
        let Wait::Until(last) = wait else {
            panic!("no moment is known");
        };
        for moment in [at(0), at(last.as_nanos() / 2), last] {
            assert_eq!(line.take(small, |_| 1, moment), Err(Wait::ForChange));
        }
        assert_eq!(line.take(large, |_| 30_000, last), Ok(30_000));
        assert!(line.leave(large));
        assert!(
            line.take(small, |_| 1, last.after(Duration::from_secs(1)))
                .is_ok()
        );
        assert!(!line.leave(small));
    }

    proptest! {
        /// Waiters leave in any order; those that stay get their turns in the order in which they came.
        #[test]
        fn who_leaves_holds_nobody_up(leaves in prop::collection::vec(any::<bool>(), 1..40)) {
            let mut line = FifoQueue::new(false, MonotonicNs::ZERO);
            let unlimited = RateSettings {
                rate: Rate::Unlimited,
                ..orders(0, 4096)
            };
            line.apply(&unlimited, at(0));
            let tickets: Vec<_> = leaves.iter().map(|_| line.line_up()).collect();
            for (ticket, _) in tickets.iter().zip(&leaves).filter(|(_, leaves)| **leaves) {
                line.leave(*ticket);
            }
            for (ticket, _) in tickets.iter().zip(&leaves).filter(|(_, leaves)| !**leaves) {
                prop_assert_eq!(line.take(*ticket, |_| 1, at(0)), Ok(1));
                line.leave(*ticket);
            }
        }
    }
}
