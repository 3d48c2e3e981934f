//! A prober that is started again when it dies.
//!
//! A process that copies has threads, and must not fork any more. A supervisor is therefore forked before there are
//! threads: a process that forks the prober, waits for its death, reports how it died and forks the next. If the
//! supervisor is killed, its prober ends with it.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::prober::{ProberOutput, run_prober};
use super::schedule::Schedule;
use super::{ProbeSetup, ProbeSpec};
use crate::observe::error::{ObserveError, failed};
use crate::observe::observer_process::{
    MESSAGE_WORDS, ObserverProcess, ProcessControl, READY_TIMEOUT, pack_message, unpack_message,
};
use crate::observe::ring::{Sample, WordRing};
use crate::sys::clock::MonotonicNs;
use crate::sys::shared_memory::{AtomicWords, DontForkWords, SharedWords};
use crate::sys::signal_waiter::SignalWaiter;
use crate::sys::strerror::strerror;

/// Delay between a death and the next start. It is at first two of the shortest default periods, and doubles each time,
/// so that a host on which nothing can be started gets at most one attempt per second.
const MIN_RESTART_DELAY: Duration = Duration::from_millis(50);
const MAX_RESTART_DELAY: Duration = Duration::from_secs(1);

/// A prober that ran this long did not fail to start.
const MIN_STABLE_LIFE: Duration = Duration::from_secs(1);

/// Longest time to wait for the end of a supervisor. Its prober cannot be killed while a disk does not answer.
const SUPERVISOR_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of deaths that may wait to be read: there are at most twenty a second, and then fewer and fewer.
const DEATH_RING_CAPACITY: usize = 16;

/// Index of the word with the number of the prober that is ready, counted from 1. The errno of its mlockall follows.
const READY_PROBER_INDEX: usize = 0;
const PROBER_MLOCK_ERRNO_INDEX: usize = 1;

/// What has happened to a supervised prober.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProberEvent {
    /// It has died, and another is being started.
    Died {
        /// Its own message, or how it was killed.
        why: String,
    },
    /// The next prober is ready and measures.
    Restarted,
    /// The supervisor has died, so no other prober will be started.
    SupervisorDied {
        /// How the supervisor died, in words.
        why: String,
    },
}

/// A prober with its supervisor. Dropping it ends both.
#[derive(Debug)]
pub struct SupervisedProber {
    spec: &'static ProbeSpec,
    supervisor: ObserverProcess,
    output: ProberOutput<DontForkWords>,
    life_log: LifeLog<DontForkWords>,
    reported: ReportedState,
}

/// What was reported of the prober so far.
#[derive(Debug)]
struct ReportedState {
    deaths: u64,
    is_running: bool,
    /// Why the last prober died.
    last_death_reason: String,
    /// How the supervisor died, until that is reported.
    supervisor_death: Option<String>,
    is_lost: bool,
}

impl SupervisedProber {
    /// Starts a supervisor with a prober that runs every `row.period`. This process must have one thread, and both end
    /// when that thread does.
    ///
    /// # Errors
    /// Processes or memory are exhausted. Errors of the preparation come from [`wait_ready`](Self::wait_ready).
    pub fn start(row: &'static ProbeSpec, setup: &ProbeSetup) -> io::Result<Self> {
        let shared = (ProberOutput::new()?, LifeLog::new()?);
        let name = format!("{} keeper", row.name);
        let ((answers, lives), keeper) =
            ObserverProcess::start(&name, shared, |shared, control| {
                supervise(row, setup, shared, control)
            });
        Ok(Self {
            spec: row,
            supervisor: keeper?,
            output: answers.set_dontfork(),
            life_log: lives.set_dontfork(),
            reported: ReportedState {
                deaths: 0,
                is_running: true,
                last_death_reason: String::new(),
                supervisor_death: None,
                is_lost: false,
            },
        })
    }

    /// Waits until the first prober is ready, or `stop` returns true. If the first cannot be started, no other is.
    /// Returns whether it is ready.
    ///
    /// # Errors
    /// Its own message, how it died, or that it did not become ready in time.
    pub fn wait_ready(&mut self, stop: impl Fn() -> bool) -> Result<bool, ObserveError> {
        let began = Instant::now();
        while self.life_log.ready_prober() == 0 {
            // The death is checked first, so that its message is complete.
            let gone = self.supervisor.check_alive();
            if let Some(death) = self.life_log.next_death() {
                return Err(ObserveError::Process(death.why));
            }
            gone?;
            if stop() {
                return Ok(false);
            }
            if began.elapsed() > READY_TIMEOUT {
                let message = format!("{}: is not ready after a minute", self.spec.name);
                return Err(ObserveError::Process(message));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(true)
    }

    /// Removes and returns the oldest sample. Samples from before a death remain readable.
    #[must_use]
    pub fn pop(&self) -> Option<Sample> {
        self.output.ring.pop()
    }

    /// Returns the number of intended times whose samples were lost, because they were not read in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.output.ring.lost()
    }

    /// Returns why the memory of the current prober could not be locked, if it could not.
    #[must_use]
    pub fn mlock_error(&self) -> Option<io::Error> {
        self.life_log.mlock_error()
    }

    /// Returns the oldest event that was not returned yet; `None` if there is none. It neither waits nor forks. A start
    /// that fails again for the same reason is not reported again.
    pub fn next_event(&mut self) -> Option<ProberEvent> {
        if self.reported.is_lost {
            return None;
        }
        if self.reported.supervisor_death.is_none() {
            self.reported.supervisor_death =
                self.supervisor.check_alive().err().map(|e| e.to_string());
        }
        while let Some(Death { why, was_ready }) = self.life_log.next_death() {
            self.reported.deaths += 1;
            let again =
                !self.reported.is_running && !was_ready && why == self.reported.last_death_reason;
            self.reported.is_running = false;
            if !again {
                self.reported.last_death_reason.clone_from(&why);
                return Some(ProberEvent::Died { why });
            }
        }
        if let Some(why) = self.reported.supervisor_death.take() {
            self.reported.is_lost = true;
            return Some(ProberEvent::SupervisorDied { why });
        }
        let died = self.reported.deaths + self.life_log.lost_deaths();
        (!self.reported.is_running && self.life_log.ready_prober() > died).then(|| {
            self.reported.is_running = true;
            ProberEvent::Restarted
        })
    }
}

impl Drop for SupervisedProber {
    fn drop(&mut self) {
        // If it were killed at once, its prober would be left to init, which may reap it late.
        self.supervisor.stop_within(SUPERVISOR_STOP_TIMEOUT);
    }
}

/// The records that a supervisor and its probers leave for the process that started the supervisor.
#[derive(Debug)]
struct LifeLog<W = SharedWords> {
    deaths: WordRing<W>,
    status_words: W,
}

struct Death {
    why: String,
    was_ready: bool,
}

impl LifeLog {
    fn new() -> io::Result<Self> {
        Ok(Self {
            deaths: WordRing::new(1 + MESSAGE_WORDS, DEATH_RING_CAPACITY)?,
            status_words: SharedWords::new(2)?,
        })
    }

    fn set_dontfork(self) -> LifeLog<DontForkWords> {
        LifeLog {
            deaths: self.deaths.set_dontfork(),
            status_words: self.status_words.set_dontfork(),
        }
    }
}

impl<W: AtomicWords> LifeLog<W> {
    /// Records that the prober with this number is ready. The prober calls it.
    fn record_ready(&self, number: u64, control: &ProcessControl) {
        let errno = control.mlock_error().and_then(|error| error.raw_os_error());
        let errno = errno.map_or(0, i32::cast_unsigned);
        self.status_words
            .store(PROBER_MLOCK_ERRNO_INDEX, errno.into(), Ordering::Relaxed);
        self.status_words
            .store(READY_PROBER_INDEX, number, Ordering::Release);
    }

    /// Records a death. The supervisor calls it.
    fn record_death(&self, death: &Death) {
        let mut row = [0; 1 + MESSAGE_WORDS];
        row[0] = death.was_ready.into();
        row[1..].copy_from_slice(&pack_message(&death.why));
        self.deaths.push(&row, 1);
    }

    fn next_death(&self) -> Option<Death> {
        let mut row = [0; 1 + MESSAGE_WORDS];
        self.deaths.pop(&mut row).then(|| {
            let mut words = [0; MESSAGE_WORDS];
            words.copy_from_slice(&row[1..]);
            Death {
                why: unpack_message(&words),
                was_ready: row[0] != 0,
            }
        })
    }

    /// Returns the number of deaths for which there was no room.
    fn lost_deaths(&self) -> u64 {
        self.deaths.lost()
    }

    fn ready_prober(&self) -> u64 {
        self.status_words
            .load(READY_PROBER_INDEX, Ordering::Acquire)
    }

    fn mlock_error(&self) -> Option<io::Error> {
        let errno = i32::try_from(
            self.status_words
                .load(PROBER_MLOCK_ERRNO_INDEX, Ordering::Relaxed),
        )
        .ok()?;
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }
}

/// Runs a supervisor: it starts one prober after the other until it shall stop.
fn supervise(
    row: &ProbeSpec,
    setup: &ProbeSetup,
    mut shared: (ProberOutput, LifeLog),
    control: &ProcessControl,
) -> Result<(), ObserveError> {
    let failed = |e: io::Error| failed("wait for signals", e);
    let signals = SignalWaiter::block(&[Signal::SIGCHLD, Signal::SIGTERM]).map_err(failed)?;
    let mut pause = MIN_RESTART_DELAY;
    for number in 1.. {
        let began = MonotonicNs::now();
        let prober;
        (shared, prober) = ObserverProcess::start(row.name, shared, |(answers, lives), control| {
            signals.restore().map_err(failed)?;
            run_prober(row, setup, answers, control, || {
                let lives = lives.set_dontfork();
                control.set_ready();
                lives.record_ready(number, control);
                drop(lives);
                Schedule::new(MonotonicNs::now(), row.period)
            })
        });
        let lives = &shared.1;
        let why = match prober {
            Ok(prober) => match wait_for_death(prober, &signals).map_err(failed)? {
                Some(why) => why,
                None => break,
            },
            Err(e) => format!("{}: cannot start a process: {}", row.name, strerror(&e)),
        };
        let was_ready = lives.ready_prober() == number;
        lives.record_death(&Death { why, was_ready });
        if number == 1 && !was_ready {
            return Ok(());
        }
        if MonotonicNs::now().since(began) > MIN_STABLE_LIFE {
            pause = MIN_RESTART_DELAY;
        }
        if !sleep_unless_stopped(pause, &signals).map_err(failed)? {
            break;
        }
        pause = (2 * pause).min(MAX_RESTART_DELAY);
    }
    if control.is_stopping() {
        Ok(())
    } else {
        Err(ObserveError::Process("was killed by signal 15".into()))
    }
}

/// Waits until the prober has died, and returns why; `None` if the supervisor shall end before, and the prober with it.
fn wait_for_death(
    mut prober: ObserverProcess,
    signals: &SignalWaiter,
) -> io::Result<Option<String>> {
    loop {
        if let Err(why) = prober.check_alive() {
            return Ok(Some(why.to_string()));
        }
        if signals.wait(None)? == Some(Signal::SIGTERM) {
            return Ok(None);
        }
    }
}

/// Returns false if the supervisor shall end before the pause is over.
fn sleep_unless_stopped(pause: Duration, signals: &SignalWaiter) -> io::Result<bool> {
    let until = Instant::now() + pause;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match signals.wait(Some(left))? {
            Some(Signal::SIGTERM) => return Ok(false),
            None => return Ok(true),
            Some(_) => {}
        }
    }
}
