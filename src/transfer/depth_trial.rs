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

/// Bytes that must be left to copy for a trial to pay: twice what the comparison takes.
pub(super) const MIN_BYTES: u64 = 4 * WINDOWS as u64 * WINDOW_BYTES;

/// A deeper queue is kept if it is faster by this factor; a smaller gain is not worth what others wait.
const MIN_GAIN: f64 = 1.05;

/// Depth that is compared with one piece. On the disks that were measured four requests of 1 MiB reached what sixteen did
/// (medians of three rounds of 8 GiB, MB/s: 1 MiB 1426, 2 MiB 1450, 4 MiB 1575, 8 MiB 1520). Depths between the two are
/// not tried: the comparison cost 2 % of such a copy more, and within its noise it took two where four was faster.
const MAX_DEPTH: usize = 4;

/// The rate that a depth reached in the trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthRate {
    /// Number of pieces on their way at once.
    pub depth: usize,
    /// Wall time in seconds for 10^9 bytes.
    pub wall_per_gb: f64,
}

/// What was measured with one depth.
#[derive(Debug, Default, Clone, Copy)]
struct DepthSum {
    bytes: u64,
    time: Duration,
}

impl DepthSum {
    fn add(&mut self, bytes: u64, time: Duration) {
        self.bytes += bytes;
        self.time += time;
    }

    fn seconds_per_byte(&self) -> f64 {
        self.time.as_secs_f64() / self.bytes.max(1) as f64
    }

    fn rate(&self, depth: usize) -> DepthRate {
        DepthRate {
            depth,
            wall_per_gb: self.seconds_per_byte() * 1e9,
        }
    }
}

/// A comparison of one piece with [`MAX_DEPTH`] pieces at once, in windows that alternate.
#[derive(Debug, Default)]
pub(super) struct DepthTrial {
    shallow: DepthSum,
    deep: DepthSum,
    /// Number of measurements so far.
    windows: u32,
}

impl DepthTrial {
    /// Returns the depth to be measured next, or to be used if the trial is over.
    pub(super) fn depth(&self) -> usize {
        let deep = if self.is_over() {
            self.shallow.seconds_per_byte() >= self.deep.seconds_per_byte() * MIN_GAIN
        } else {
            !self.windows.is_multiple_of(2)
        };
        if deep { MAX_DEPTH } else { 1 }
    }

    fn is_over(&self) -> bool {
        self.windows >= 2 * WINDOWS
    }

    /// Accounts a measurement of [`Self::depth`]. Returns true once the trial is over.
    pub(super) fn record(&mut self, bytes: u64, time: Duration) -> bool {
        let measured = if self.windows.is_multiple_of(2) {
            &mut self.shallow
        } else {
            &mut self.deep
        };
        measured.add(bytes, time);
        self.windows += 1;
        self.is_over()
    }

    /// Returns what was measured, the smallest depth first.
    pub(super) fn tried(&self) -> Vec<DepthRate> {
        vec![self.shallow.rate(1), self.deep.rate(MAX_DEPTH)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a trial on a device that takes `ms(depth)` for a window. Returns the depth and the number of windows.
    fn decide(ms: impl Fn(usize) -> u64) -> (usize, usize) {
        let mut trial = DepthTrial::default();
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
        assert_eq!(decide(|depth| 101 - depth as u64), (1, 6), "a gain of 3 %");
        assert_eq!(decide(|depth| if depth == 1 { 100 } else { 80 }), (4, 6));
        assert_eq!(
            decide(|depth| 100 * depth as u64),
            (1, 6),
            "a disk that seeks"
        );
    }

    #[test]
    fn what_was_measured_is_told_by_depth() {
        let mut trial = DepthTrial::default();
        while !trial.record(
            1_000_000,
            Duration::from_millis(2 / trial.depth() as u64 + 1),
        ) {}
        let depths: Vec<usize> = trial.tried().iter().map(|rate| rate.depth).collect();
        assert_eq!(depths, [1, 4]);
        assert!((trial.tried()[0].wall_per_gb - 3.0).abs() < 1e-9);
    }
}
