//! Answers on their way from a prober to who counts them: a ring in shared memory, one writer, one reader.

use std::io;
use std::sync::atomic::Ordering;

use crate::sys::shared::SharedWords;

/// One answer, for one or more moments at which it was asked for. Times are CLOCK_MONOTONIC in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// The first intended moment.
    pub intended: u64,
    /// How many intended moments, a period apart, this answer serves: more than one after a stall.
    pub moments: u64,
    /// When the question was asked in truth.
    pub start: u64,
    /// When the answer was there.
    pub end: u64,
    /// For `fork`: when the child ran its first instruction. Else 0.
    pub first: u64,
}

const FIELDS: usize = 5;

/// The words before the samples: written so far, read so far, moments lost because nobody read in time.
const HEAD: usize = 0;
const TAIL: usize = 1;
const LOST: usize = 2;
const SAMPLES: usize = 3;

/// The ring.
#[derive(Debug)]
pub struct Ring {
    words: SharedWords,
    capacity: usize,
}

impl Ring {
    /// Room for `capacity` answers.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(capacity: usize) -> io::Result<Self> {
        SharedWords::new(SAMPLES + capacity * FIELDS).map(|words| Self { words, capacity })
    }

    /// The writer's side. A full ring loses the sample, and says so in [`lost`](Self::lost).
    pub fn push(&self, sample: Sample) {
        let head = self.words[HEAD].load(Ordering::Relaxed);
        if head - self.words[TAIL].load(Ordering::Acquire) >= self.capacity as u64 {
            self.words[LOST].fetch_add(sample.moments, Ordering::Relaxed);
            return;
        }
        let Sample {
            intended,
            moments,
            start,
            end,
            first,
        } = sample;
        let values = [intended, moments, start, end, first];
        let slot = self.slot(head);
        for (word, value) in self.words[slot..].iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        self.words[HEAD].store(head + 1, Ordering::Release);
    }

    /// The reader's side: the oldest sample that has not been read.
    pub fn pop(&self) -> Option<Sample> {
        let tail = self.words[TAIL].load(Ordering::Relaxed);
        if tail == self.words[HEAD].load(Ordering::Acquire) {
            return None;
        }
        let slot = self.slot(tail);
        let get = |field: usize| self.words[slot + field].load(Ordering::Relaxed);
        let sample = Sample {
            intended: get(0),
            moments: get(1),
            start: get(2),
            end: get(3),
            first: get(4),
        };
        self.words[TAIL].store(tail + 1, Ordering::Release);
        Some(sample)
    }

    /// Processes forked from here on do not get it.
    pub fn keep_from_forks(&self) {
        self.words.keep_from_forks();
    }

    /// Moments whose answers did not fit.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.words[LOST].load(Ordering::Relaxed)
    }

    fn slot(&self, index: u64) -> usize {
        SAMPLES + (index % self.capacity as u64) as usize * FIELDS
    }
}

#[cfg(test)]
mod tests {
    use super::{Ring, Sample};

    fn sample(n: u64) -> Sample {
        Sample {
            intended: n,
            moments: 2,
            ..Sample::default()
        }
    }

    #[test]
    fn samples_come_out_in_order_and_a_full_ring_counts_what_it_loses() {
        let ring = Ring::new(3).unwrap();
        for round in 0..4 {
            for n in 0..5 {
                ring.push(sample(round * 10 + n));
            }
            assert_eq!(ring.lost(), (round + 1) * 4);
            for n in 0..3 {
                assert_eq!(ring.pop(), Some(sample(round * 10 + n)));
            }
            assert_eq!(ring.pop(), None);
        }
    }
}
