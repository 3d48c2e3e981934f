//! One prober: the process, its loop, and the ring buffer of its samples.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::unistd::Pid;

use super::schedule::Schedule;
use super::{Probe, ProbeSetup, ProbeSpec};
use crate::observe::error::{ObserveError, failed};
use crate::observe::observer_process::{ObserverProcess, ProcessControl};
use crate::observe::ring::{Sample, SampleRing};
use crate::sys::clock::{MonotonicNs, sleep_until};
use crate::sys::shared_memory::{AtomicWords, DontForkWords, SharedWords};

/// Number of samples that may wait for the reader: 40 s of the shortest default period. After a stall one sample serves
/// many intended times, so a machine in trouble makes fewer, not more.
const SAMPLE_RING_CAPACITY: usize = 4096;

/// Number of operations before the first that counts, so that code and page tables are warm.
const WARM_UP_ROUNDS: u32 = 3;

/// Longest time until a prober with a long period notices that it shall stop.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A running prober, as seen by its parent.
#[derive(Debug)]
pub struct Prober {
    /// The kind of the prober.
    pub spec: &'static ProbeSpec,
    /// The mean time between two intended times.
    pub period: Duration,
    /// The CPU that it is bound to.
    pub cpu: Option<u32>,
    /// The process of the prober.
    pub process: ObserverProcess,
    output: ProberOutput<DontForkWords>,
}

/// The samples of a prober, in memory that it shares with their reader.
#[derive(Debug)]
pub(super) struct ProberOutput<W = SharedWords> {
    /// The samples in the order of time.
    pub(super) ring: SampleRing<W>,
    /// One word: the number of skipped intended times.
    skipped: W,
}

impl ProberOutput {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            ring: SampleRing::new(SAMPLE_RING_CAPACITY)?,
            skipped: SharedWords::new(1)?,
        })
    }

    /// Excludes the memory from later forks. Each side calls it once it has forked all processes that write or read
    /// here.
    pub(super) fn set_dontfork(self) -> ProberOutput<DontForkWords> {
        ProberOutput {
            ring: self.ring.set_dontfork(),
            skipped: self.skipped.set_dontfork(),
        }
    }
}

impl Prober {
    /// Starts the prober. It prepares itself, then runs every `period`, the first time `offset` after it is ready.
    ///
    /// # Errors
    /// Processes or memory are exhausted. Errors of its preparation come from [`ObserverProcess::wait_ready`].
    pub fn start(
        row: &'static ProbeSpec,
        period: Duration,
        offset: Duration,
        cpu: Option<u32>,
        setup: &ProbeSetup,
    ) -> io::Result<Self> {
        let answers = ProberOutput::new()?;
        let name = match cpu {
            Some(cpu) => format!("{} on CPU {cpu}", row.name),
            None => row.name.to_owned(),
        };
        let (answers, worker) = ObserverProcess::start(&name, answers, |answers, control| {
            bind_to_cpu(cpu)?;
            run_prober(row, setup, answers, control, || {
                control.set_ready();
                let first = MonotonicNs::now().after(offset);
                Schedule::new(first, period, first.as_nanos())
            })
        });
        Ok(Self {
            spec: row,
            period,
            cpu,
            process: worker?,
            output: answers.set_dontfork(),
        })
    }

    /// Removes and returns the oldest sample.
    #[must_use]
    pub fn pop(&self) -> Option<Sample> {
        self.output.ring.pop()
    }

    /// Returns the number of intended times whose samples were lost, because they were not read in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.output.ring.lost()
    }

    /// Returns the number of intended times that were skipped, because the prober itself was busy between two
    /// operations.
    #[must_use]
    pub fn skipped_moments(&self) -> u64 {
        self.output.skipped.load(0, Ordering::Relaxed)
    }
}

/// Runs a prober in its own process: it prepares itself, calls `ready`, and runs at the times that `ready` returns.
pub(super) fn run_prober(
    row: &ProbeSpec,
    setup: &ProbeSetup,
    answers: ProberOutput,
    control: &ProcessControl,
    ready: impl FnOnce() -> Schedule,
) -> Result<(), ObserveError> {
    // The default timer slack of 50 µs would appear as latency of an idle machine.
    let _ = prctl::set_timerslack(1);
    let mut probe = (row.make)(setup)?;
    for _ in 0..WARM_UP_ROUNDS {
        probe.prepare()?;
        probe.run_once()?;
    }
    control.lock_memory();
    let answers = answers.set_dontfork();
    run_probe_loop(probe.as_mut(), ready(), &answers, control)
}

/// Runs the operation at each intended time until it shall stop. Times that had come by then are served, and no later
/// ones, since a prober that is always late would never end. It does not allocate.
fn run_probe_loop(
    probe: &mut dyn Probe,
    mut schedule: Schedule,
    answers: &ProberOutput<DontForkWords>,
    control: &ProcessControl,
) -> Result<(), ObserveError> {
    loop {
        let before = MonotonicNs::now();
        if probe.prepare()? {
            let passed = schedule.skip_between(before, MonotonicNs::now());
            answers.skipped.fetch_add(0, passed, Ordering::Relaxed);
        }
        // The stop flag is read before the clock, so that an intended time before the request to stop is not left out.
        let stopping = loop {
            let stopping = control.is_stopping();
            if schedule.is_due(MonotonicNs::now()) {
                break stopping;
            }
            if stopping {
                return Ok(());
            }
            sleep_until(
                schedule
                    .next_due()
                    .min(MonotonicNs::now().after(STOP_CHECK_INTERVAL)),
            );
        };
        let start = MonotonicNs::now();
        let due = schedule.take_due(start);
        let child_start = probe.run_once()?;
        let end = MonotonicNs::now();
        answers.ring.push(Sample {
            first_intended: due.first,
            intended_count: due.count,
            start,
            end,
            child_start,
        });
        if stopping {
            return Ok(());
        }
    }
}

fn bind_to_cpu(cpu: Option<u32>) -> Result<(), ObserveError> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu as usize)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|e| failed("bind to the CPU", e))
}
