//! Measures for a file how many pieces the device takes best at once.
//!
//! One synchronous writer leaves the device idle between two calls. How much that costs depends on the device, and more
//! pieces on their way make the requests of others wait longer, so a deeper queue has to earn its place.

use std::time::Duration;

/// Bytes of one measurement: 25 ms at 1.3 GB/s, in which the rate of one depth varied by 3 to 10 %.
pub(super) const WINDOW_BYTES: u64 = 32 << 20;

/// Number of measurements of each of the two depths that are compared. They alternate, so that a change of the device
/// touches both.
const WINDOWS: u32 = 3;

/// Bytes that must be left to copy for a trial to pay: twice what the first comparison takes.
pub(super) const MIN_BYTES: u64 = 4 * WINDOWS as u64 * WINDOW_BYTES;

/// A deeper queue is kept if it is faster by this factor; a smaller gain is not worth what others wait.
const MIN_GAIN: f64 = 1.05;

/// Largest depth that is tried. On the disks that were measured four requests of 1 MiB reached what sixteen did.
const MAX_DEPTH: usize = 4;

/// The rate that a depth reached in the trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthRate {
    /// Number of pieces on their way at once.
    pub depth: usize,
    /// Wall time in seconds for 10^9 bytes.
    pub wall_per_gb: f64,
}

/// A comparison of a depth with twice that depth, and so on while that gains.
#[derive(Debug)]
pub(super) struct DepthTrial {
    best: usize,
    /// Bytes and time by depth, in the order of their first measurement.
    measured: Vec<(usize, u64, Duration)>,
    /// Number of measurements in the current comparison.
    windows: u32,
}

impl DepthTrial {
    /// Begins with one piece against two.
    pub(super) fn new() -> Self {
        Self {
            best: 1,
            measured: Vec::new(),
            windows: 0,
        }
    }

    /// Returns the depth to be measured next, or to be used if the trial is over.
    pub(super) fn depth(&self) -> usize {
        if self.windows.is_multiple_of(2) {
            self.best
        } else {
            self.best * 2
        }
    }

    /// Accounts a measurement of [`Self::depth`]. Returns true once the trial is over.
    pub(super) fn record(&mut self, bytes: u64, time: Duration) -> bool {
        let depth = self.depth();
        match self.measured.iter_mut().find(|(known, ..)| *known == depth) {
            Some((_, sum, total)) => {
                *sum += bytes;
                *total += time;
            }
            None => self.measured.push((depth, bytes, time)),
        }
        self.windows += 1;
        if self.windows < 2 * WINDOWS {
            return false;
        }
        self.windows = 0;
        let gained =
            self.seconds_per_byte(self.best) >= self.seconds_per_byte(self.best * 2) * MIN_GAIN;
        if gained {
            self.best *= 2;
        }
        !gained || self.best == MAX_DEPTH
    }

    fn seconds_per_byte(&self, depth: usize) -> f64 {
        let of_depth = self.measured.iter().find(|(known, ..)| *known == depth);
        of_depth.map_or(f64::INFINITY, |(_, bytes, time)| {
            time.as_secs_f64() / (*bytes).max(1) as f64
        })
    }

    /// Returns what was measured, the smallest depth first.
    pub(super) fn tried(&self) -> Vec<DepthRate> {
        let rates = self.measured.iter().map(|(depth, ..)| DepthRate {
            depth: *depth,
            wall_per_gb: self.seconds_per_byte(*depth) * 1e9,
        });
        rates.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a trial on a device that takes `ms(depth)` for a window. Returns the depth and the number of windows.
    fn decide(ms: impl Fn(usize) -> u64) -> (usize, usize) {
        let mut trial = DepthTrial::new();
        for windows in 1.. {
            let time = Duration::from_millis(ms(trial.depth()));
            if trial.record(WINDOW_BYTES, time) {
                return (trial.depth(), windows);
            }
        }
        unreachable!()
    }

    #[test]
    fn a_deeper_queue_is_kept_where_it_gains() {
        assert_eq!(decide(|_| 100), (1, 6), "a device that is busy with one");
        assert_eq!(decide(|depth| 100 - depth as u64), (1, 6), "a gain of 1 %");
        assert_eq!(decide(|depth| if depth == 1 { 100 } else { 80 }), (2, 12));
        assert_eq!(
            decide(|depth| 100 / depth as u64),
            (4, 12),
            "and no further"
        );
        assert_eq!(
            decide(|depth| 100 * depth as u64),
            (1, 6),
            "a disk that seeks"
        );
    }

    #[test]
    fn what_was_measured_is_told_by_depth() {
        let mut trial = DepthTrial::new();
        while !trial.record(
            1_000_000,
            Duration::from_millis(2 / trial.depth() as u64 + 1),
        ) {}
        let depths: Vec<usize> = trial.tried().iter().map(|rate| rate.depth).collect();
        assert_eq!(depths, [1, 2, 4]);
        assert!((trial.tried()[0].wall_per_gb - 3.0).abs() < 1e-9);
    }
}
