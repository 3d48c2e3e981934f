//! A token bucket: it lets so many bytes per second through, and at most a burst at once. The current time is an
//! argument.

use std::time::Duration;

use super::Rate;
use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// The nanoseconds in a second.
const SECOND: u128 = 1_000_000_000;

/// What a caller waits for when its bytes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The bytes are available from this moment on.
    Until(MonotonicNs),
    /// The bytes are available only after a change of the rate or of the queue.
    ForChange,
}

/// The token bucket. In any span of time it lets no more bytes through than the rate allows for it and one burst.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: Rate,
    burst: u64,
    /// Byte-nanoseconds: bytes times [`SECOND`], so that no fraction is lost at any rate. It is negative if more was
    /// taken than there was.
    level: i128,
    /// The time for which `level` is valid, in nanoseconds.
    at: MonotonicNs,
}

impl TokenBucket {
    /// Makes an empty bucket of `burst` bytes.
    #[must_use]
    pub fn new(rate: Rate, burst: u64, now: MonotonicNs) -> Self {
        Self {
            rate,
            burst,
            level: 0,
            at: now,
        }
    }

    /// Sets another rate, and another burst in bytes, from `now` on.
    pub fn set(&mut self, rate: Rate, burst: u64, now: MonotonicNs) {
        self.fill(now);
        self.rate = rate;
        self.burst = burst;
        self.level = self.level.min(full(burst));
    }

    /// Takes `bytes` out. More than a burst at once can be taken from a full bucket, and leaves a debt.
    ///
    /// # Errors
    /// What to wait for before the next try.
    pub fn take(&mut self, bytes: u64, now: MonotonicNs) -> Result<(), Wait> {
        let rate = match self.rate {
            Rate::Unlimited => return Ok(()),
            Rate::Stopped => {
                self.fill(now);
                return Err(Wait::ForChange);
            }
            Rate::Limited(rate) => rate,
        };
        self.fill(now);
        let wanted = full(bytes.min(self.burst));
        if self.level >= wanted {
            self.level -= full(bytes);
            return Ok(());
        }
        let wait = (wanted - self.level)
            .cast_unsigned()
            .div_ceil(rate.get().into());
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        Err(Wait::Until(self.at.after(wait)))
    }

    /// Returns bytes that were taken and not used.
    pub fn give_back(&mut self, bytes: u64) {
        if self.rate != Rate::Unlimited {
            self.level = (self.level + full(bytes)).min(full(self.burst));
        }
    }

    /// Fills the bucket up to `now`. An earlier time fills nothing: the caller may have read the clock before another
    /// one that was quicker. Time in which the process was stopped fills no more than a burst.
    fn fill(&mut self, now: MonotonicNs) {
        let passed = saturating_nanos(now.since(self.at));
        self.at = self.at.max(now);
        let rate = self.rate.bytes_per_sec().unwrap_or(u64::MAX);
        let more = i128::from(rate).saturating_mul(passed.into());
        self.level = self.level.saturating_add(more).min(full(self.burst));
    }
}

fn full(bytes: u64) -> i128 {
    i128::from(bytes) * SECOND.cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MonotonicNs, Rate, TokenBucket, Wait};

    const SECOND: u64 = 1_000_000_000;

    fn at(nanoseconds: u64) -> MonotonicNs {
        MonotonicNs::from_nanos(nanoseconds)
    }

    fn bytes_per_sec(bytes: u64) -> Rate {
        Rate::from_bytes_per_sec(bytes)
    }

    fn until(nanoseconds: u64) -> Result<(), Wait> {
        Err(Wait::Until(at(nanoseconds)))
    }

    /// Takes each chunk, waiting until it may and trying again.
    fn run(bucket: &mut TokenBucket, chunks: &[u64], delays: &[u64]) -> Vec<(u64, u64)> {
        let mut now = 0;
        let mut taken = Vec::new();
        for (bytes, delay) in chunks.iter().zip(delays) {
            while let Err(wait) = bucket.take(*bytes, at(now)) {
                let Wait::Until(moment) = wait else {
                    panic!("no moment is known");
                };
                assert!(moment > at(now), "asked again at once");
                now = moment.as_nanos();
            }
            taken.push((now, *bytes));
            now += delay;
        }
        taken
    }

    #[test]
    fn the_rate_is_reached_to_the_byte() {
        for rate in [1 << 10, 10_000_000, 100 << 20, 100 << 30] {
            let chunk = rate / 80 + 1;
            let mut bucket = TokenBucket::new(bytes_per_sec(rate), chunk, at(0));
            let taken = run(&mut bucket, &[chunk; 800], &[0; 800]);
            let expected = 800.0 * chunk as f64 / rate as f64;
            let took = taken.last().unwrap().0 as f64 / SECOND as f64;
            assert!(
                (took / expected - 1.0).abs() < 1e-6,
                "{rate}: {took} {expected}"
            );
        }
    }

    #[test]
    fn a_stop_is_not_made_up_for() {
        let mut bucket = TokenBucket::new(bytes_per_sec(1000), 50, at(0));
        bucket.take(50, at(SECOND)).unwrap();
        // The process is stopped for an hour.
        let later = 3601 * SECOND;
        bucket.take(50, at(later)).unwrap();
        assert_eq!(bucket.take(50, at(later)), until(later + SECOND / 20));
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut bucket = TokenBucket::new(bytes_per_sec(1000), 100, at(SECOND));
        assert_eq!(bucket.take(100, at(SECOND)), until(SECOND + SECOND / 10));
        assert_eq!(
            bucket.take(100, at(SECOND / 2)),
            until(SECOND + SECOND / 10)
        );
        // The same time does not fill the bucket twice.
        bucket.take(50, at(SECOND + SECOND / 20)).unwrap();
        bucket.set(bytes_per_sec(1000), 100, at(SECOND));
        assert!(bucket.take(50, at(SECOND + SECOND / 20)).is_err());
    }

    #[test]
    fn nothing_and_everything() {
        let mut bucket = TokenBucket::new(bytes_per_sec(0), 0, at(0));
        assert_eq!(bucket.take(1, at(SECOND)), Err(Wait::ForChange));
        bucket.set(Rate::Unlimited, u64::MAX, at(SECOND));
        assert_eq!(bucket.take(u64::MAX, at(SECOND)), Ok(()));
        bucket.set(bytes_per_sec(100), 100, at(SECOND));
        assert_eq!(bucket.take(100, at(3 * SECOND)), Ok(()));
    }

    #[test]
    fn what_was_not_used_counts_for_the_next() {
        let mut bucket = TokenBucket::new(bytes_per_sec(1000), 100, at(0));
        bucket.take(100, at(SECOND)).unwrap();
        bucket.give_back(60);
        assert_eq!(bucket.take(60, at(SECOND)), Ok(()));
        bucket.give_back(1 << 40);
        assert_eq!(bucket.take(100, at(SECOND)), Ok(()));
        assert!(
            bucket.take(100, at(SECOND)).is_err(),
            "no more than a burst"
        );
    }

    proptest! {
        /// Callers whose clock was read earlier never make time count twice.
        #[test]
        fn no_time_counts_twice(
            calls in prop::collection::vec((any::<bool>(), 0_u64..SECOND / 100, 0_u64..SECOND / 100), 1..200),
        ) {
            const RATE: u64 = 1_000_000;
            let mut bucket = TokenBucket::new(bytes_per_sec(RATE), RATE / 27, at(0));
            let (mut now, mut sum) = (0, 0_u64);
            for (takes, passed, behind) in calls {
                now += passed;
                let read = now.saturating_sub(behind);
                if !takes {
                    bucket.set(bytes_per_sec(RATE), RATE / 27, at(read));
                } else if bucket.take(RATE / 80, at(read)).is_ok() {
                    sum += RATE / 80;
                }
                prop_assert!(sum <= RATE * now / SECOND, "{sum} in {now} ns");
            }
        }

        /// In no span more is let through than the rate allows for it, a burst, and the excess of one chunk over that.
        #[test]
        fn no_span_has_more_than_its_share(
            rate in 1_u64..1 << 37,
            share in 1_u64..200,
            sizes in prop::collection::vec(1_u64..100, 1..60),
            delays in prop::collection::vec(0_u64..2_000_000_000, 60),
        ) {
            let burst = rate / share + 1;
            let sizes: Vec<u64> = sizes.iter().map(|part| burst * part / 60 + 1).collect();
            let mut bucket = TokenBucket::new(bytes_per_sec(rate), burst, at(0));
            let taken = run(&mut bucket, &sizes, &delays);
            for (from, (start, _)) in taken.iter().enumerate() {
                let mut sum: u128 = 0;
                for (end, bytes) in &taken[from..] {
                    let span = u128::from(end - start);
                    // The first chunk of a span may be partly a debt from before.
                    let over = u128::from(bytes.saturating_sub(burst));
                    sum += u128::from(*bytes);
                    let allowed = u128::from(rate) * span / 1_000_000_000 + u128::from(burst) + over + 1;
                    prop_assert!(sum <= allowed, "{sum} in {span} ns, {allowed} allowed");
                }
            }
        }
    }
}
