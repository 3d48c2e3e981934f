//! The governor: what others feel goes in, how fast and in what pieces to copy comes out.

use super::{Answer, Cause, Done, Limits, Orders};

/// Pure arithmetic: what it knows of time and of the machine comes in as values.
#[derive(Debug)]
pub struct Governor {
    limits: Limits,
}

impl Governor {
    /// For a copy by `threads` threads; the probers ask every `fork_period` and `write_period` nanoseconds.
    #[must_use]
    pub fn new(
        limits: &Limits,
        (_fork_period, _write_period): (u64, u64),
        _threads: usize,
        _now: u64,
    ) -> Self {
        Self { limits: *limits }
    }

    /// A prober's answer.
    pub fn answer(&mut self, _cause: Cause, _answer: Answer) {}

    /// What PSI says: microseconds in which some task waited, since boot.
    pub fn stalled(&mut self, _cause: Cause, _at: u64, _total: u64) {}

    /// A prober has died: nobody knows what others feel until its successor answers.
    pub fn blind(&mut self, _cause: Cause, _now: u64) {}

    /// What to do from now on. To be asked at least every tenth of a second.
    pub fn decide(&mut self, _now: u64, _done: Done) -> Orders {
        Orders {
            rate: self.limits.rate.unwrap_or(u64::MAX),
            chunk: usize::MAX,
            holding: None,
            word: None,
        }
    }
}
