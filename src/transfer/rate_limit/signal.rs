//! The table of throttle signals: everything that can hold a copy back, in one row each.
//!
//! A row names the option that sets the target, the feed of samples, the control law that turns samples into an allowed
//! rate, and the words for people and programs. A new signal is a variant of [`Cause`], a field of [`Limits`] and a row
//! of [`SIGNALS`] in this file, and the row of its option in `cp/cli`.

use std::time::Duration;

use crate::sys::clock::MonotonicNs;

/// What can hold a copy back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The rate that the user has set.
    LimitRate,
    /// The time that fork takes.
    ForkLatency,
    /// The time from the end of a sleep until a program runs again.
    WakeupLatency,
    /// The time that another program's write and fdatasync take.
    WriteLatency,
    /// The share of time in which some task waits for memory.
    MemoryPressure,
    /// The share of time in which some task waits for a disk.
    IoPressure,
    /// The time by which the copy shall be complete, to which the other limits yield.
    Deadline,
}

impl Cause {
    /// Returns the row of this cause.
    ///
    /// # Panics
    /// Never: a test compares the order of the table with that of the variants.
    #[must_use]
    pub fn spec(self) -> &'static SignalSpec {
        &SIGNALS[self as usize]
    }

    /// Returns its name in events and for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }
}

/// The limits that the user sets.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Highest rate in bytes per second.
    pub rate: Option<u64>,
    /// Limit of the 99th percentile of fork.
    pub fork_latency: Option<Duration>,
    /// Limit of the 99th percentile of the time from the end of a sleep until a program runs again.
    pub wakeup_latency: Option<Duration>,
    /// Limit of the 99th percentile of a write of 4 KiB with fdatasync, on the file system of the destination.
    pub write_latency: Option<Duration>,
    /// Limit of PSI `some` of memory and of io, each in percent.
    pub pressure: Option<f64>,
    /// How long a target may be missed at the lowest rate before the copy is given up.
    pub give_up_after: Option<Duration>,
    /// The time within which the copy shall be complete.
    pub finish_within: Option<Duration>,
    /// When the program was started, from which this time counts.
    pub began: MonotonicNs,
}

impl Limits {
    /// Returns whether anything is limited.
    #[must_use]
    pub fn any(&self) -> bool {
        SIGNALS.iter().any(|signal| signal.is_limited(self))
    }

    /// Returns whether anything holds the copy back: a deadline alone does not.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.rate.is_some() || self.governed()
    }

    /// Returns whether the rate depends on samples of the machine.
    #[must_use]
    pub fn governed(&self) -> bool {
        let sampled = SIGNALS.iter().filter(|signal| signal.feed != Feed::None);
        sampled.into_iter().any(|signal| signal.is_limited(self))
    }
}

/// The source of a signal's samples. A layer above starts it by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// No samples, since the target is the rate itself.
    None,
    /// A prober process that repeats the probe of this name, once in each period on average.
    Probe {
        /// The name of the probe.
        name: &'static str,
        /// The mean time between two samples.
        period: Duration,
    },
    /// The `some` line of the file of this name in /proc/pressure.
    Stall(&'static str),
}

/// The unit of a signal's figure and of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureUnit {
    /// A rate in bytes per second.
    BytesPerSec,
    /// A latency, which is given in seconds.
    Seconds,
    /// A share of the time in percent.
    Percent,
}

/// The description of a signal, a row of the table.
#[derive(Debug)]
pub struct SignalSpec {
    /// The cause that this row describes.
    pub cause: Cause,
    /// The name in events and for people.
    pub name: &'static str,
    /// The option that sets the target.
    pub option: &'static str,
    /// The clause about what is measured, with [`FIGURE_PLACEHOLDER`] in place of the figure.
    pub phrase: &'static str,
    /// The unit of figure and target.
    pub unit: FigureUnit,
    /// The source of the samples.
    pub feed: Feed,
    /// How samples become an allowed rate.
    pub(super) control: Control,
}

/// The text in [`SignalSpec::phrase`] that the figure replaces.
pub const FIGURE_PLACEHOLDER: &str = "{figure}";

impl SignalSpec {
    /// Returns whether `limits` has a target for this signal.
    #[must_use]
    pub fn is_limited(&self, limits: &Limits) -> bool {
        match self.control {
            Control::FixedRate => limits.rate.is_some(),
            Control::Deadline => limits.finish_within.is_some(),
            Control::Latency { target, .. } => target(limits).is_some(),
            Control::Pressure { target } => target(limits).is_some(),
        }
    }
}

/// The control law of a signal, with its target.
#[derive(Debug)]
pub(super) enum Control {
    /// The rate that the user has set is used unchanged.
    FixedRate,
    /// The others yield where the time that is left asks for more.
    Deadline,
    /// The 99th percentile of a latency is kept below the target.
    Latency {
        target: fn(&Limits) -> Option<Duration>,
        tuning: LatencyTuning,
    },
    /// A share of time, in percent, is kept below the target.
    Pressure { target: fn(&Limits) -> Option<f64> },
}

/// The parameters in which one latency differs from another.
#[derive(Debug)]
pub(super) struct LatencyTuning {
    /// Number of samples that make a baseline.
    pub(super) baseline_samples: usize,
    /// The share of them over the target at which the target counts as missed without a copy.
    pub(super) baseline_missed_share: f64,
    /// How a chunk of the copy delays the measured operation.
    pub(super) delayed_by: ChunkDelay,
}

/// The way in which a chunk in flight delays the measured operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkDelay {
    /// The kernel processes the chunk and uses the CPU meanwhile.
    Cpu,
    /// The disk writes the chunk before the measured operation.
    Disk,
}

/// Mean time between two samples of a synced write: 250 in the ten seconds of which one in a hundred may be late. Each takes
/// 0.6 ms of CPU (6.18), 1.5 % of one. With the 100 ms of the probe `fsync`, moments at a fixed distance fell on the same
/// part of each slice of 100 ms in which blk-throttle gives out bytes, and saw nothing of a disk that was full.
const WRITE_PERIOD: Duration = Duration::from_millis(40);

/// Mean time between two samples of a wake-up: 1,000 in the ten seconds of which one in a hundred may be late. Each takes 0.02
/// ms of CPU (6.18), 0.2 % of one.
const WAKEUP_PERIOD: Duration = Duration::from_millis(10);

/// All signals, in the order of [`Cause`].
pub static SIGNALS: [SignalSpec; 7] = [
    SignalSpec {
        cause: Cause::LimitRate,
        name: "limit-rate",
        option: "--limit-rate",
        phrase: "the copy runs at {figure}",
        unit: FigureUnit::BytesPerSec,
        feed: Feed::None,
        control: Control::FixedRate,
    },
    SignalSpec {
        cause: Cause::ForkLatency,
        name: "fork-latency",
        option: "--max-fork-latency",
        phrase: "fork takes {figure}",
        unit: FigureUnit::Seconds,
        feed: Feed::Probe {
            name: "fork",
            period: Duration::from_millis(25),
        },
        control: Control::Latency {
            target: |limits| limits.fork_latency,
            tuning: LatencyTuning {
                baseline_samples: 4,
                baseline_missed_share: 0.5,
                delayed_by: ChunkDelay::Cpu,
            },
        },
    },
    SignalSpec {
        cause: Cause::WakeupLatency,
        name: "wakeup-latency",
        option: "--max-wakeup-latency",
        phrase: "a sleeping program wakes up {figure} late",
        unit: FigureUnit::Seconds,
        feed: Feed::Probe {
            name: "wakeup",
            period: WAKEUP_PERIOD,
        },
        control: Control::Latency {
            target: |limits| limits.wakeup_latency,
            tuning: LatencyTuning {
                baseline_samples: 8,
                baseline_missed_share: 0.25,
                delayed_by: ChunkDelay::Cpu,
            },
        },
    },
    SignalSpec {
        cause: Cause::WriteLatency,
        name: "write-latency",
        option: "--max-write-latency",
        phrase: "a write with fdatasync takes {figure}",
        unit: FigureUnit::Seconds,
        feed: Feed::Probe {
            name: "fsync",
            period: WRITE_PERIOD,
        },
        control: Control::Latency {
            target: |limits| limits.write_latency,
            tuning: LatencyTuning {
                baseline_samples: 3,
                baseline_missed_share: 0.5,
                delayed_by: ChunkDelay::Disk,
            },
        },
    },
    SignalSpec {
        cause: Cause::MemoryPressure,
        name: "memory-pressure",
        option: "--max-pressure",
        phrase: "tasks wait for memory {figure} of the time",
        unit: FigureUnit::Percent,
        feed: Feed::Stall("memory"),
        control: Control::Pressure {
            target: |limits| limits.pressure,
        },
    },
    SignalSpec {
        cause: Cause::IoPressure,
        name: "io-pressure",
        option: "--max-pressure",
        phrase: "tasks wait for disks {figure} of the time",
        unit: FigureUnit::Percent,
        feed: Feed::Stall("io"),
        control: Control::Pressure {
            target: |limits| limits.pressure,
        },
    },
    SignalSpec {
        cause: Cause::Deadline,
        name: "deadline",
        option: "--finish-within",
        phrase: "the copy runs at {figure}",
        unit: FigureUnit::BytesPerSec,
        feed: Feed::None,
        control: Control::Deadline,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_finds_its_own_row() {
        for (index, signal) in SIGNALS.iter().enumerate() {
            assert_eq!(signal.cause as usize, index);
            assert_eq!(signal.cause.spec().name, signal.name);
            assert!(signal.phrase.contains(FIGURE_PLACEHOLDER), "{signal:?}");
        }
    }

    #[test]
    fn only_a_signal_with_samples_governs() {
        assert!(!Limits::default().any());
        let rate = Limits {
            rate: Some(1),
            ..Limits::default()
        };
        assert!(rate.any() && !rate.governed());
        let pressure = Limits {
            pressure: Some(1.0),
            ..Limits::default()
        };
        assert!(pressure.any() && pressure.governed());
        let deadline = Limits {
            finish_within: Some(Duration::from_secs(1)),
            ..Limits::default()
        };
        assert!(deadline.any() && !deadline.holds_back() && !deadline.governed());
    }
}
