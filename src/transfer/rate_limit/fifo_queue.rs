//! FIFO queue in front of the token bucket. If settings are not renewed for `STALE_AFTER_NS` (500 ms), the rate falls
//! to `MIN_RATE`. The current time is an argument.

use std::collections::VecDeque;

use super::{MIN_RATE, RateSettings, TokenBucket};

/// Capacity of the bucket, as a fraction of a second at the rate. With the chunks in flight, which together are at most
/// an eightieth, no second has more bytes than the rate and 50 ms of it.
const BURST: u64 = 27;

/// The smallest chunk that is worth a call, in bytes.
const MIN_CHUNK_BYTES: usize = 4096;

/// The largest chunk in bytes while the settings are stale.
const BLIND_CHUNK: usize = 64 << 10;

/// Age in nanoseconds from which settings are stale. A governor renews them every 20 ms; if they are older, its thread
/// hangs or gets no CPU.
const STALE_AFTER_NS: u64 = 500_000_000;

/// A position in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The queue and its token bucket.
#[derive(Debug)]
pub(super) struct FifoQueue {
    bucket: TokenBucket,
    waiting: VecDeque<Ticket>,
    next: u64,
    rate: u64,
    chunk: usize,
    /// Whether settings become stale, and when the last ones were applied.
    governed: bool,
    obeyed: u64,
}

impl FifoQueue {
    /// Makes a queue that lets no bytes through before [`apply`](Self::apply).
    pub(super) fn new(governed: bool, now: u64) -> Self {
        Self {
            bucket: TokenBucket::new(0, 0, now),
            waiting: VecDeque::new(),
            next: 0,
            rate: 0,
            chunk: MIN_CHUNK_BYTES,
            governed,
            obeyed: now,
        }
    }

    /// Applies new settings, which are valid from `now` on.
    pub(super) fn apply(&mut self, orders: &RateSettings, now: u64) {
        // Older settings do not become valid later, either.
        self.expire(now);
        self.set(orders.rate, orders.chunk.max(MIN_CHUNK_BYTES), now);
        self.obeyed = self.obeyed.max(now);
    }

    /// Returns the largest number of bytes for one call.
    pub(super) fn chunk(&mut self, now: u64) -> usize {
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

    /// Takes the number of bytes that `piece` returns for the chunk in force, and returns it. If that is not possible
    /// yet, the error is the time at which to try again, or `u64::MAX` if another waiter or new settings must come
    /// first.
    pub(super) fn take(
        &mut self,
        ticket: Ticket,
        piece: impl FnOnce(usize) -> u64,
        now: u64,
    ) -> Result<u64, u64> {
        self.expire(now);
        if self.waiting.front() != Some(&ticket) {
            return Err(u64::MAX);
        }
        let bytes = piece(self.chunk);
        self.bucket.take(bytes, now)?;
        Ok(bytes)
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        self.bucket.give_back(bytes);
    }

    /// Replaces stale settings by `MIN_RATE`, from the time at which they became stale.
    fn expire(&mut self, now: u64) {
        let old = self.obeyed.saturating_add(STALE_AFTER_NS);
        if self.governed && now > old && self.rate > MIN_RATE {
            self.set(MIN_RATE, self.chunk.min(BLIND_CHUNK), old);
        }
    }

    fn set(&mut self, rate: u64, chunk: usize, now: u64) {
        let burst = (rate / BURST).max(chunk as u64);
        self.bucket.set(rate, burst, now);
        (self.rate, self.chunk) = (rate, chunk);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn orders(rate: u64, chunk: usize) -> RateSettings {
        RateSettings {
            rate,
            chunk,
            bottleneck: None,
            notice: None,
        }
    }

    /// Lets chunks through one after another until `until`, each as soon as possible. Returns the number of bytes.
    fn drain(line: &mut FifoQueue, from: u64, until: u64) -> u64 {
        let (mut now, mut sum) = (from, 0);
        loop {
            let ticket = line.line_up();
            while let Err(at) = line.take(ticket, |chunk| chunk as u64, now) {
                assert!(at > now, "asked again at once");
                now = at;
                if now >= until {
                    line.leave(ticket);
                    return sum;
                }
            }
            sum += line.chunk(now) as u64;
            line.leave(ticket);
        }
    }

    #[test]
    fn orders_that_grow_old_count_as_the_trickle() {
        let mut line = FifoQueue::new(true, 0);
        line.apply(&orders(1 << 30, 8 << 20), 0);
        let fresh = drain(&mut line, 0, SECOND / 2);
        assert!(fresh > 450 << 20, "{fresh}");
        let old = drain(&mut line, SECOND, 11 * SECOND);
        assert!(old <= 11 * MIN_RATE && old > 8 * MIN_RATE, "{old}");
        assert_eq!(line.chunk(11 * SECOND), BLIND_CHUNK);
        line.apply(&orders(1 << 30, 8 << 20), 11 * SECOND);
        let again = drain(&mut line, 11 * SECOND, 11 * SECOND + SECOND / 2);
        assert!(again > 450 << 20 && again < 560 << 20, "{again}");
    }

    #[test]
    fn orders_that_nobody_looked_at_do_not_come_true_later() {
        let mut line = FifoQueue::new(true, 0);
        line.apply(&orders(1 << 30, 4096), 0);
        line.apply(&orders(0, 4096), 3600 * SECOND);
        let ticket = line.line_up();
        assert!(line.take(ticket, |_| 1 << 20, 3600 * SECOND).is_err());
    }

    #[test]
    fn a_limit_alone_does_not_grow_old() {
        let mut line = FifoQueue::new(false, 0);
        line.apply(&orders(100 << 20, 1 << 20), 0);
        let sum = drain(&mut line, 0, 10 * SECOND);
        assert!(sum > 990 << 20 && sum <= 1000 << 20, "{sum}");
    }

    #[test]
    fn old_orders_below_the_trickle_stay_what_they_are() {
        let mut line = FifoQueue::new(true, 0);
        for rate in [0, 1000] {
            line.apply(&orders(rate, 4096), 0);
            assert!(drain(&mut line, 0, 100 * SECOND) <= 100 * rate);
        }
    }

    #[test]
    fn the_piece_is_that_of_the_moment_at_which_it_goes() {
        let mut line = FifoQueue::new(true, 0);
        line.apply(&orders(1 << 30, 8 << 20), 0);
        let ticket = line.line_up();
        let piece = |chunk: usize| chunk.min(8 << 20) as u64;
        let at = line.take(ticket, piece, 0).unwrap_err();
        line.apply(&orders(MIN_RATE, 16 << 10), 1);
        assert_eq!(line.take(ticket, piece, at), Ok(16 << 10));
    }

    #[test]
    fn a_large_piece_is_not_overtaken_by_small_ones() {
        let mut line = FifoQueue::new(false, 0);
        line.apply(&orders(1 << 20, 4096), 0);
        let (large, small) = (line.line_up(), line.line_up());
        let at = line.take(large, |_| 30_000, 0).unwrap_err();
        for moment in [0, at / 2, at] {
            assert_eq!(line.take(small, |_| 1, moment), Err(u64::MAX));
        }
        assert_eq!(line.take(large, |_| 30_000, at), Ok(30_000));
        assert!(line.leave(large));
        assert!(line.take(small, |_| 1, at + SECOND).is_ok());
        assert!(!line.leave(small));
    }

    proptest! {
        /// Waiters leave in any order; those that stay get their turns in the order in which they came.
        #[test]
        fn who_leaves_holds_nobody_up(leaves in prop::collection::vec(any::<bool>(), 1..40)) {
            let mut line = FifoQueue::new(false, 0);
            line.apply(&orders(u64::MAX, 4096), 0);
            let tickets: Vec<_> = leaves.iter().map(|_| line.line_up()).collect();
            for (ticket, _) in tickets.iter().zip(&leaves).filter(|(_, leaves)| **leaves) {
                line.leave(*ticket);
            }
            for (ticket, _) in tickets.iter().zip(&leaves).filter(|(_, leaves)| !**leaves) {
                prop_assert_eq!(line.take(*ticket, |_| 1, 0), Ok(1));
                line.leave(*ticket);
            }
        }
    }
}
