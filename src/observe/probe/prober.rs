//! One prober: the process, its loop, and the ring that its answers come through.

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
use crate::sys::clock::{monotonic_ns, sleep_until};
use crate::sys::shared_memory::{AtomicWords, DontForkWords, SharedWords};

/// Answers that may wait for the reader: 40 s of the shortest default period. After a stall one answer serves many moments,
/// so a machine in trouble makes fewer, not more.
const SAMPLE_RING_CAPACITY: usize = 4096;

/// Questions asked before the first that counts: code and page tables are warm then.
const WARM_UP_ROUNDS: u32 = 3;

/// How soon a prober with a long period notices that it shall stop.
const STOP_CHECK_INTERVAL_NS: u64 = 100_000_000;

/// A running prober.
#[derive(Debug)]
pub struct Prober {
    /// What it asks.
    pub spec: &'static ProbeSpec,
    /// Nanoseconds between two moments.
    pub period_ns: u64,
    /// The CPU it is bound to.
    pub cpu: Option<u32>,
    /// Its process.
    pub process: ObserverProcess,
    output: ProberOutput<DontForkWords>,
}

/// Where a prober leaves what it has heard: memory that it shares with who reads it.
#[derive(Debug)]
pub(super) struct ProberOutput<W = SharedWords> {
    /// One answer after the other.
    pub(super) ring: SampleRing<W>,
    /// One word: moments that were passed over.
    skipped: W,
}

impl ProberOutput {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            ring: SampleRing::new(SAMPLE_RING_CAPACITY)?,
            skipped: SharedWords::new(1)?,
        })
    }

    /// To be called by each side when it has forked all who shall write or read here.
    pub(super) fn set_dontfork(self) -> ProberOutput<DontForkWords> {
        ProberOutput {
            ring: self.ring.set_dontfork(),
            skipped: self.skipped.set_dontfork(),
        }
    }
}

impl Prober {
    /// Starts it. It prepares itself, then asks every `period`, the first time `offset` after it is ready.
    ///
    /// # Errors
    /// Out of processes or memory. What goes wrong in its preparation comes from [`ObserverProcess::wait_ready`].
    pub fn start(
        row: &'static ProbeSpec,
        period: Duration,
        offset: Duration,
        cpu: Option<u32>,
        setup: &ProbeSetup,
    ) -> io::Result<Self> {
        let answers = ProberOutput::new()?;
        let period = period.as_nanos() as u64;
        let offset = offset.as_nanos() as u64;
        let name = match cpu {
            Some(cpu) => format!("{} on CPU {cpu}", row.name),
            None => row.name.to_owned(),
        };
        let (answers, worker) = ObserverProcess::start(&name, answers, |answers, control| {
            bind_to_cpu(cpu)?;
            run_prober(row, setup, answers, control, || {
                control.set_ready();
                Schedule::new(monotonic_ns() + offset, period)
            })
        });
        Ok(Self {
            spec: row,
            period_ns: period,
            cpu,
            process: worker?,
            output: answers.set_dontfork(),
        })
    }

    /// The next answer that nobody has counted.
    pub fn pop(&self) -> Option<Sample> {
        self.output.ring.pop()
    }

    /// Moments whose answers were lost, because they were not read in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.output.ring.lost()
    }

    /// Moments at which nothing was asked, because the prober itself was busy between two questions.
    #[must_use]
    pub fn skipped_moments(&self) -> u64 {
        self.output.skipped.load(0, Ordering::Relaxed)
    }
}

/// The life of a prober, in its own process: it prepares itself, says so with `ready`, and asks at the moments that come back
/// from that.
pub(super) fn run_prober(
    row: &ProbeSpec,
    setup: &ProbeSetup,
    answers: ProberOutput,
    control: &ProcessControl,
    ready: impl FnOnce() -> Schedule,
) -> Result<(), ObserveError> {
    // The default slack of 50 us would be seen as latency of an idle machine.
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

/// Asks at each moment until it shall stop; what had come by then is answered, and nothing after that: one that is always
/// late would never end. Nothing in here allocates.
fn run_probe_loop(
    probe: &mut dyn Probe,
    mut schedule: Schedule,
    answers: &ProberOutput<DontForkWords>,
    control: &ProcessControl,
) -> Result<(), ObserveError> {
    loop {
        let before = monotonic_ns();
        if probe.prepare()? {
            let passed = schedule.skip_between(before, monotonic_ns());
            answers.skipped.fetch_add(0, passed, Ordering::Relaxed);
        }
        // Looked at before the clock: a moment that came before the order to stop is not left out.
        let stopping = loop {
            let stopping = control.is_stopping();
            if schedule.is_due(monotonic_ns()) {
                break stopping;
            }
            if stopping {
                return Ok(());
            }
            sleep_until(
                schedule
                    .next_due()
                    .min(monotonic_ns() + STOP_CHECK_INTERVAL_NS),
            );
        };
        let start = monotonic_ns();
        let due = schedule.take_due(start);
        let first = probe.run_once()?;
        let end = monotonic_ns();
        answers.ring.push(Sample {
            first_intended_ns: due.first,
            intended_count: due.count,
            start_ns: start,
            end_ns: end,
            child_start_ns: first,
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
