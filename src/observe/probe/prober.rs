//! One prober: the process, its loop, and the ring that its answers come through.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::unistd::Pid;

use super::schedule::Schedule;
use super::{Probe, Row, Setup};
use crate::observe::ring::{Ring, Sample};
use crate::observe::worker::{Control, Worker};
use crate::sys::clock::{now, sleep_until};
use crate::sys::shared::{KeptWords, SharedWords, Words};
use crate::sys::words::reason;

/// Answers that may wait for the reader: 40 s of the shortest default period. After a stall one answer serves many moments,
/// so a machine in trouble makes fewer, not more.
const ANSWERS: usize = 4096;

/// Questions asked before the first that counts: code and page tables are warm then.
const REHEARSALS: u32 = 3;

/// How soon a prober with a long period notices that it shall stop.
const ATTENTION: u64 = 100_000_000;

/// A running prober.
#[derive(Debug)]
pub struct Prober {
    /// What it asks.
    pub row: &'static Row,
    /// Nanoseconds between two moments.
    pub period: u64,
    /// The CPU it is bound to.
    pub cpu: Option<u32>,
    /// Its process.
    pub worker: Worker,
    answers: Answers<KeptWords>,
}

/// Where a prober leaves what it has heard: memory that it shares with who reads it.
#[derive(Debug)]
pub(super) struct Answers<W = SharedWords> {
    /// One answer after the other.
    pub(super) ring: Ring<W>,
    /// One word: moments that were passed over.
    passed: W,
}

impl Answers {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(ANSWERS)?,
            passed: SharedWords::new(1)?,
        })
    }

    /// To be called by each side when it has forked all who shall write or read here.
    pub(super) fn keep_from_forks(self) -> Answers<KeptWords> {
        Answers {
            ring: self.ring.keep_from_forks(),
            passed: self.passed.keep_from_forks(),
        }
    }
}

impl Prober {
    /// Starts it. It prepares itself, then asks every `period`, the first time `offset` after it is ready.
    ///
    /// # Errors
    /// Out of processes or memory. What goes wrong in its preparation comes from [`Worker::wait_ready`].
    pub fn start(
        row: &'static Row,
        period: Duration,
        offset: Duration,
        cpu: Option<u32>,
        setup: &Setup,
    ) -> io::Result<Self> {
        let answers = Answers::new()?;
        let period = period.as_nanos() as u64;
        let offset = offset.as_nanos() as u64;
        let name = match cpu {
            Some(cpu) => format!("{} on CPU {cpu}", row.name),
            None => row.name.to_owned(),
        };
        let (answers, worker) = Worker::start(&name, answers, |answers, control| {
            bind(cpu)?;
            live(row, setup, answers, control, || {
                control.ready();
                Schedule::new(now() + offset, period)
            })
        });
        Ok(Self {
            row,
            period,
            cpu,
            worker: worker?,
            answers: answers.keep_from_forks(),
        })
    }

    /// The next answer that nobody has counted.
    pub fn pop(&self) -> Option<Sample> {
        self.answers.ring.pop()
    }

    /// Moments whose answers were lost, because they were not read in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.answers.ring.lost()
    }

    /// Moments at which nothing was asked, because the prober itself was busy between two questions.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.answers.passed.load(0, Ordering::Relaxed)
    }
}

/// The life of a prober, in its own process: it prepares itself, says so with `ready`, and asks at the moments that come back
/// from that.
pub(super) fn live(
    row: &Row,
    setup: &Setup,
    answers: Answers,
    control: &Control,
    ready: impl FnOnce() -> Schedule,
) -> Result<(), String> {
    // The default slack of 50 us would be seen as latency of an idle machine.
    let _ = prctl::set_timerslack(1);
    let mut probe = (row.make)(setup)?;
    for _ in 0..REHEARSALS {
        probe.prepare()?;
        probe.ask()?;
    }
    control.lock_memory();
    let answers = answers.keep_from_forks();
    ask_all(probe.as_mut(), ready(), &answers, control)
}

/// Asks at each moment until it shall stop; what had come by then is answered, and nothing after that: one that is always
/// late would never end. Nothing in here allocates.
fn ask_all(
    probe: &mut dyn Probe,
    mut schedule: Schedule,
    answers: &Answers<KeptWords>,
    control: &Control,
) -> Result<(), String> {
    loop {
        let before = now();
        if probe.prepare()? {
            let passed = schedule.pass_over(before, now());
            answers.passed.fetch_add(0, passed, Ordering::Relaxed);
        }
        // Looked at before the clock: a moment that came before the order to stop is not left out.
        let stopping = loop {
            let stopping = control.stopping();
            if schedule.is_due(now()) {
                break stopping;
            }
            if stopping {
                return Ok(());
            }
            sleep_until(schedule.next().min(now() + ATTENTION));
        };
        let start = now();
        let due = schedule.take(start);
        let first = probe.ask()?;
        let end = now();
        answers.ring.push(Sample {
            intended: due.first,
            moments: due.count,
            start,
            end,
            first,
        });
        if stopping {
            return Ok(());
        }
    }
}

fn bind(cpu: Option<u32>) -> Result<(), String> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu as usize)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|e| format!("cannot bind to the CPU: {}", reason(&e.into())))
}
