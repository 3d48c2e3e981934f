//! What the governor sees: the answers of probers, and PSI.

use std::path::Path;

use super::place::{directory, in_memory};
use super::words;
use crate::cp::operands::Jobs;
use crate::cp::options::Options;
use crate::observe::memory::Stalls;
use crate::observe::probe::{self, Setup};
use crate::observe::probe::{Kept, News};
use crate::report::Voice;
use crate::sys::words::reason;
use crate::transfer::pace::{Answer, Cause};

/// How often PSI is read, in nanoseconds: ten times in the second over which it is taken. The kernel brings its sums up to
/// date every two seconds, and whenever they are read (Documentation/accounting/psi.rst).
const STALLS_EVERY: u64 = 100_000_000;

/// Something that the governor should know.
pub(super) enum Look {
    /// A prober's.
    Answer(Cause, Answer),
    /// The sum of a kind of pressure, in microseconds, and when it was read.
    Stalled(Cause, u64, u64),
    /// Nobody answers for a while. In words.
    Blind(Cause, String),
    /// In words.
    News(String),
}

/// What watches.
#[derive(Debug)]
pub(super) struct Watch {
    probers: Vec<(Cause, Kept)>,
    stalls: Option<Stalls>,
    next: u64,
}

impl Watch {
    /// Starts the probers, and opens PSI. Called while this process has one thread. A signal that asks to stop ends the wait
    /// for a disk that does not answer; not all who watch are ready then.
    ///
    /// # Errors
    /// What cannot be watched and why.
    pub(super) fn start(options: &Options, jobs: &Jobs, voice: &mut Voice) -> Result<Self, String> {
        let limits = &options.throttle;
        let stalls = match limits.pressure {
            None => None,
            Some(_) => {
                Some(Stalls::open(Path::new("/")).map_err(|why| format!("--max-pressure: {why}"))?)
            }
        };
        let mut probers = Vec::new();
        if limits.fork_latency.is_some() {
            let kept =
                keep("fork", &Setup::default()).map_err(|e| format!("--max-fork-latency: {e}"))?;
            probers.push((Cause::ForkLatency, kept));
        }
        if limits.write_latency.is_some() {
            let wrong = |e: String| format!("--max-write-latency: {e}");
            let dir = directory(jobs, options).map_err(wrong)?;
            if let Some(file_system) = in_memory(&dir) {
                voice.diagnose(&words::in_memory(&dir, &file_system));
            }
            let setup = Setup {
                on: Some(dir),
                little_room: true,
                ..Setup::default()
            };
            probers.push((Cause::WriteLatency, keep("fsync", &setup).map_err(wrong)?));
        }
        let stop = voice.stopper();
        for (cause, kept) in &mut probers {
            kept.wait_ready(&stop)
                .map_err(|e| format!("{}: {e}", option(*cause)))?;
        }
        if let Some(error) = probers.iter().find_map(|(_, kept)| kept.unlocked()) {
            voice.diagnose(&words::unlocked(&error));
        }
        Ok(Self {
            probers,
            stalls,
            next: 0,
        })
    }

    /// Nanoseconds between two questions about fork, and about writes.
    pub(super) fn periods(&self) -> (u64, u64) {
        let of = |name| probe::find(name).map_or(0, |row| row.period.as_nanos() as u64);
        (of("fork"), of("fsync"))
    }

    /// Tells what has come since the last look.
    pub(super) fn look(&mut self, now: u64, mut tell: impl FnMut(Look)) {
        for (cause, kept) in &mut self.probers {
            while let Some(sample) = kept.pop() {
                tell(Look::Answer(
                    *cause,
                    Answer {
                        intended: sample.intended,
                        moments: sample.moments,
                        end: sample.end,
                    },
                ));
            }
            while let Some(news) = kept.news() {
                tell(said(*cause, news));
            }
        }
        if let Some(stalls) = self.stalls.as_mut().filter(|_| now >= self.next) {
            let (memory, io) = stalls.read();
            for (cause, total) in [(Cause::MemoryPressure, memory), (Cause::IoPressure, io)] {
                if let Some(total) = total {
                    tell(Look::Stalled(cause, now, total));
                }
            }
            self.next = now + STALLS_EVERY;
        }
    }
}

fn option(cause: Cause) -> &'static str {
    match cause {
        Cause::ForkLatency => "--max-fork-latency",
        Cause::WriteLatency => "--max-write-latency",
        Cause::MemoryPressure | Cause::IoPressure => "--max-pressure",
        Cause::LimitRate => "--limit-rate",
    }
}

fn keep(name: &str, setup: &Setup) -> Result<Kept, String> {
    let row = probe::find(name).unwrap_or_else(|| unreachable!("a row of the table"));
    Kept::start(row, setup).map_err(|e| format!("cannot start a prober: {}", reason(&e)))
}

fn said(cause: Cause, news: News) -> Look {
    let option = option(cause);
    match news {
        News::Died { why } => Look::Blind(
            cause,
            format!("warning: {option}: the prober died ({why}); braking until another answers"),
        ),
        News::Again => Look::News(format!("{option}: another prober answers")),
        News::Lost { why } => Look::Blind(
            cause,
            format!(
                "warning: {option}: no prober can be started any more ({why}); going on at the slowest rate"
            ),
        ),
    }
}
