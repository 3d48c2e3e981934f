//! Ring buffers in shared memory, with one writer and one reader, for the results of an observer.

use std::io;
use std::sync::atomic::Ordering;

use crate::sys::clock::MonotonicNs;
use crate::sys::shared_memory::{AtomicWords, DontForkWords, SharedWords};

/// Index of the number of rows written. The number of rows read and the weight of the lost rows follow, and then the
/// rows.
const HEAD_INDEX: usize = 0;
const TAIL_INDEX: usize = 1;
const LOST_INDEX: usize = 2;
const ROWS_START: usize = 3;

/// A ring buffer of rows of words. Processes forked later have it, unless its words are [`DontForkWords`].
#[derive(Debug)]
pub struct WordRing<W = SharedWords> {
    words: W,
    width: usize,
    capacity: usize,
}

impl WordRing {
    /// Allocates `capacity` rows of `width` words.
    ///
    /// # Errors
    /// The memory is exhausted.
    pub fn new(width: usize, capacity: usize) -> io::Result<Self> {
        Ok(Self {
            words: SharedWords::new(ROWS_START + capacity * width)?,
            width,
            capacity,
        })
    }

    /// Excludes the ring buffer from processes forked later.
    #[must_use]
    pub fn set_dontfork(self) -> WordRing<DontForkWords> {
        WordRing {
            words: self.words.set_dontfork(),
            width: self.width,
            capacity: self.capacity,
        }
    }
}

impl<W: AtomicWords> WordRing<W> {
    /// Adds a row; the writer calls it. If the ring buffer is full, the row is lost, and [`lost`](Self::lost) grows by
    /// `weight`.
    pub fn push(&self, row: &[u64], weight: u64) {
        debug_assert_eq!(row.len(), self.width);
        let head = self.words.load(HEAD_INDEX, Ordering::Relaxed);
        if head - self.words.load(TAIL_INDEX, Ordering::Acquire) >= self.capacity as u64 {
            self.words.fetch_add(LOST_INDEX, weight, Ordering::Relaxed);
            return;
        }
        for (index, value) in (self.slot(head)..).zip(row) {
            self.words.store(index, *value, Ordering::Relaxed);
        }
        self.words.store(HEAD_INDEX, head + 1, Ordering::Release);
    }

    /// Copies the oldest unread row into `row`; the reader calls it. Returns false if there is none.
    pub fn pop(&self, row: &mut [u64]) -> bool {
        debug_assert_eq!(row.len(), self.width);
        let tail = self.words.load(TAIL_INDEX, Ordering::Relaxed);
        if tail == self.words.load(HEAD_INDEX, Ordering::Acquire) {
            return false;
        }
        for (value, index) in row.iter_mut().zip(self.slot(tail)..) {
            *value = self.words.load(index, Ordering::Relaxed);
        }
        self.words.store(TAIL_INDEX, tail + 1, Ordering::Release);
        true
    }

    /// Returns the weight of all rows that did not fit.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.words.load(LOST_INDEX, Ordering::Relaxed)
    }

    fn slot(&self, index: u64) -> usize {
        ROWS_START + (index % self.capacity as u64) as usize * self.width
    }
}

/// The result of one operation, for one or more intended times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// The first intended time that it serves.
    pub first_intended: MonotonicNs,
    /// How many intended times, a period apart, it serves: more than one after a stall.
    pub intended_count: u64,
    /// When the operation was really started.
    pub start: MonotonicNs,
    /// When the operation was complete.
    pub end: MonotonicNs,
    /// When the child ran its first instruction, for `fork` alone.
    pub child_start: Option<MonotonicNs>,
}

const SAMPLE_WORDS: usize = 5;

/// A ring buffer of samples.
#[derive(Debug)]
pub struct SampleRing<W = SharedWords>(WordRing<W>);

impl SampleRing {
    /// Allocates room for `capacity` samples.
    ///
    /// # Errors
    /// The memory is exhausted.
    pub fn new(capacity: usize) -> io::Result<Self> {
        WordRing::new(SAMPLE_WORDS, capacity).map(Self)
    }

    /// Excludes the ring buffer from processes forked later.
    #[must_use]
    pub fn set_dontfork(self) -> SampleRing<DontForkWords> {
        SampleRing(self.0.set_dontfork())
    }
}

impl<W: AtomicWords> SampleRing<W> {
    /// Adds a sample; the writer calls it. If the ring buffer is full, the sample is lost, and [`lost`](Self::lost)
    /// counts its intended times.
    pub fn push(&self, sample: Sample) {
        let moments = sample.intended_count;
        // No child starts at the moment 0, before anything has booted.
        let child = sample.child_start.unwrap_or(MonotonicNs::ZERO);
        let times = [sample.first_intended, sample.start, sample.end, child];
        let [intended, start, end, child] = times.map(MonotonicNs::as_nanos);
        self.0
            .push(&[intended, moments, start, end, child], moments);
    }

    /// Removes and returns the oldest sample; the reader calls it.
    pub fn pop(&self) -> Option<Sample> {
        let mut row = [0; SAMPLE_WORDS];
        self.0.pop(&mut row).then(|| {
            let [intended, moments, start, end, child] = row;
            Sample {
                first_intended: MonotonicNs::from_nanos(intended),
                intended_count: moments,
                start: MonotonicNs::from_nanos(start),
                end: MonotonicNs::from_nanos(end),
                child_start: (child != 0).then_some(MonotonicNs::from_nanos(child)),
            }
        })
    }

    /// Returns the number of intended times whose samples did not fit.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::{MonotonicNs, Sample, SampleRing, WordRing};

    fn sample(n: u64) -> Sample {
        Sample {
            first_intended: MonotonicNs::from_nanos(n),
            intended_count: 2,
            ..Sample::default()
        }
    }

    #[test]
    fn samples_come_out_in_order_and_a_full_ring_counts_what_it_loses() {
        let ring = SampleRing::new(3).unwrap();
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

    proptest! {
        #[test]
        fn rows_are_a_bounded_queue(
            width in 1_usize..6,
            capacity in 1_usize..6,
            steps in prop::collection::vec(prop::option::weighted(0.6, any::<u64>()), 0..200),
        ) {
            let rows = WordRing::new(width, capacity).unwrap();
            let (mut model, mut lost) = (VecDeque::new(), 0);
            for step in steps {
                if let Some(value) = step {
                    let row: Vec<u64> = (0..width as u64).map(|n| value.wrapping_add(n)).collect();
                    rows.push(&row, 3);
                    if model.len() < capacity { model.push_back(row) } else { lost += 3 }
                } else {
                    let mut row = vec![0; width];
                    let popped = rows.pop(&mut row).then_some(row);
                    prop_assert_eq!(popped, model.pop_front());
                }
                prop_assert_eq!(rows.lost(), lost);
            }
        }
    }
}
