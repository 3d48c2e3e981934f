//! Tells whether others wait for the device that is copied to. While they do, only one small piece is on its way.
//!
//! A request of somebody else waits behind all that this copy has given to the device. Nobody feels that on a device of
//! one's own, where a deep queue is faster; whoever shares it feels little else.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::File;
use std::time::{Duration, Instant};

/// Time between two looks at the counters. A bystander who asks 20 times a second is seen by the second.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long a request counts. One who asks a few times a second is not met by a deep queue in between.
const HOLD: Duration = Duration::from_secs(1);

/// Requests within [`HOLD`] that are not those of a journal alone: a commit of jbd2 flushes once, or twice on a device
/// without FUA, and comes every five seconds.
const MIN_REQUESTS: u64 = 3;

/// Requests that a device was given since boot, of the kinds that somebody waits for and a copy from memory does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WaitedRequests {
    /// Reads that are complete, of data or metadata.
    pub reads: u64,
    /// Flushes of the device's own cache, by which syncs end.
    pub flushes: u64,
}

/// Counts the requests of one device.
pub trait RequestCounter: Debug + Send {
    /// Returns the counts of this moment, or `None` if they cannot be read.
    fn count(&mut self) -> Option<WaitedRequests>;
}

/// Opens the counter of the device below a file, if there is one.
pub type OpenRequestCounter = fn(&File) -> Option<Box<dyn RequestCounter>>;

/// What is known of others at the device of one copy.
#[derive(Debug)]
pub(super) struct SharedDevice {
    counter: Box<dyn RequestCounter>,
    /// Whether flushes are those of others: a copy that syncs makes some itself.
    counts_flushes: bool,
    /// The counts of the last look, and when that was.
    last: WaitedRequests,
    looked: Instant,
    /// The looks of the last second, with the number of requests that each saw.
    recent: VecDeque<(Instant, u64)>,
    is_first_look: bool,
    is_shared: bool,
}

impl SharedDevice {
    /// Begins to look. Until the first interval is over, others count as waiting. Returns `None` if nothing can be counted.
    pub(super) fn new(
        mut counter: Box<dyn RequestCounter>,
        counts_flushes: bool,
        now: Instant,
    ) -> Option<Self> {
        Some(Self {
            last: counter.count()?,
            counter,
            counts_flushes,
            looked: now,
            recent: VecDeque::new(),
            is_first_look: true,
            is_shared: true,
        })
    }

    /// Returns whether others count as waiting.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Looks again if it is time. Returns whether the answer is another one than after the last look, or after none that
    /// nobody waits.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let since_last = now.saturating_duration_since(self.looked);
        if since_last < LOOK_INTERVAL {
            return false;
        }
        self.looked = now;
        // Where the counters are gone, the device is, too.
        let Some(count) = self.counter.count() else {
            return false;
        };
        let last = std::mem::replace(&mut self.last, count);
        let reads = count.reads.saturating_sub(last.reads);
        let flushes = count.flushes.saturating_sub(last.flushes);
        let seen = reads + if self.counts_flushes { flushes } else { 0 };
        // After a call that took long, what came in a second of that time.
        let seen = seen / since_last.as_secs().max(1);
        self.recent
            .retain(|(at, _)| now.saturating_duration_since(*at) < HOLD);
        self.recent.push_back((now, seen));
        let is_first = std::mem::replace(&mut self.is_first_look, false);
        let was_shared = self.is_shared && !is_first;
        let recent: u64 = self.recent.iter().map(|(_, seen)| seen).sum();
        // No journal reads, so one read is enough where little is known.
        self.is_shared =
            recent >= MIN_REQUESTS || is_first && reads > 0 || was_shared && recent > 0;
        self.is_shared != was_shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one count after the other.
    #[derive(Debug)]
    struct Counts(Vec<WaitedRequests>);

    impl RequestCounter for Counts {
        fn count(&mut self) -> Option<WaitedRequests> {
            (!self.0.is_empty()).then(|| self.0.remove(0))
        }
    }

    /// Returns what is known after each look, where looks see so many requests more.
    fn after(seen: &[u64], counts_flushes: bool, flushes: bool) -> Vec<bool> {
        let mut count = 1000;
        let mut counts = vec![WaitedRequests::default(); seen.len() + 1];
        for (place, value) in counts.iter_mut().enumerate() {
            count += place.checked_sub(1).map_or(0, |look| seen[look]);
            let (reads, others) = if flushes { (0, count) } else { (count, 7) };
            *value = WaitedRequests {
                reads,
                flushes: others,
            };
        }
        let start = Instant::now();
        let mut device =
            SharedDevice::new(Box::new(Counts(counts)), counts_flushes, start).unwrap();
        assert!(device.is_shared(), "nothing is known yet");
        let mut known = false;
        let looks = 1..=seen.len() as u32;
        looks
            .map(|look| {
                let is_changed = device.look(start + LOOK_INTERVAL * look);
                assert_eq!(is_changed, device.is_shared() != known);
                known = device.is_shared();
                known
            })
            .collect()
    }

    #[test]
    fn a_device_without_others_is_free_after_the_first_look() {
        assert_eq!(after(&[0, 0], true, false), [false, false]);
    }

    #[test]
    fn a_read_in_the_first_look_or_some_requests_in_a_second_are_others() {
        assert_eq!(after(&[1, 0], true, false), [true, true]);
        assert_eq!(after(&[1, 0], true, true), [false, false]);
        assert_eq!(after(&[0, MIN_REQUESTS], true, false), [false, true]);
        assert_eq!(
            after(&[0, 1, 1, 1], true, true),
            [false, false, false, true]
        );
    }

    #[test]
    fn a_commit_of_a_journal_is_nobody() {
        let mut looks = [0; 60];
        (looks[8], looks[9], looks[59]) = (1, 1, MIN_REQUESTS - 1);
        assert_eq!(after(&looks, true, true), [false; 60]);
    }

    #[test]
    fn after_a_long_call_it_is_the_rate_that_counts() {
        for (flushes, is_shared) in [(20, false), (40, true)] {
            let count = |flushes| WaitedRequests { reads: 0, flushes };
            let counts = Counts(vec![count(0), count(0), count(flushes)]);
            let start = Instant::now();
            let mut device = SharedDevice::new(Box::new(counts), true, start).unwrap();
            device.look(start + LOOK_INTERVAL);
            device.look(start + Duration::from_secs(10) + LOOK_INTERVAL);
            assert_eq!(device.is_shared(), is_shared, "{flushes} in ten seconds");
        }
    }

    #[test]
    fn others_are_gone_a_second_after_their_last_request() {
        let mut looks = [0; 12];
        looks[0] = 5;
        let known = after(&looks, true, false);
        assert_eq!(known.iter().filter(|shared| **shared).count(), 10);
        assert!(!known[11]);
    }

    #[test]
    fn flushes_of_a_copy_that_syncs_are_its_own() {
        assert_eq!(after(&[9, 9], true, true), [true, true]);
        assert_eq!(after(&[9, 9], false, true), [false, false]);
    }

    #[test]
    fn nothing_is_asked_between_two_looks_and_nothing_changes_without_counters() {
        let counts = vec![WaitedRequests::default()];
        let start = Instant::now();
        let mut device = SharedDevice::new(Box::new(Counts(counts)), true, start).unwrap();
        assert!(!device.look(start + LOOK_INTERVAL / 2));
        assert!(!device.look(start + LOOK_INTERVAL * 2));
        assert!(device.is_shared());
        assert!(SharedDevice::new(Box::new(Counts(Vec::new())), true, start).is_none());
    }
}
