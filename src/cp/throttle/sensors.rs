//! What the governor sees: the answers of probers, and PSI.

use std::path::Path;

use super::dest_directory::{find_dest_directory, memory_file_system};
use crate::cp::error::{Error, LimitError, LimitWarning};
use crate::cp::operands::OperandJobs;
use crate::cp::options::CopyOptions;
use crate::observe::memory::StallCounters;
use crate::observe::probe::{self, ProbeSetup};
use crate::observe::probe::{ProberEvent, SupervisedProber};
use crate::report::OrderedOutput;
use crate::transfer::rate_limit::{Cause, LatencySample};

/// How often PSI is read, in nanoseconds: ten times in the second over which it is taken. The kernel brings its sums up to
/// date every two seconds, and whenever they are read (Documentation/accounting/psi.rst).
const PRESSURE_INTERVAL_NS: u64 = 100_000_000;

/// Something that the governor should know.
pub(super) enum SensorEvent {
    /// A prober's.
    Latency(Cause, LatencySample),
    /// The sum of a kind of pressure, in microseconds, and when it was read.
    Pressure(Cause, u64, u64),
    /// Nobody answers for a while.
    SensorLost(Cause, LimitWarning),
    /// Something that only the user should know.
    Message(LimitWarning),
}

/// What watches.
#[derive(Debug)]
pub(super) struct SensorSet {
    probers: Vec<(Cause, SupervisedProber)>,
    stalls: Option<StallCounters>,
    next: u64,
}

impl SensorSet {
    /// Starts the probers, and opens PSI. Called while this process has one thread. A signal that asks to stop ends the wait
    /// for a disk that does not answer; not all who watch are ready then.
    ///
    /// # Errors
    /// What cannot be watched and why.
    pub(super) fn start(
        options: &CopyOptions,
        jobs: &OperandJobs,
        voice: &mut OrderedOutput,
    ) -> Result<Self, Error> {
        let limits = &options.throttle;
        let stalls = match limits.pressure {
            None => None,
            Some(_) => {
                let opened = StallCounters::open(Path::new("/"));
                let error = |why| limit_error(Cause::MemoryPressure, LimitError::Unavailable(why));
                Some(opened.map_err(error)?)
            }
        };
        let mut probers = Vec::new();
        if limits.fork_latency.is_some() {
            let kept = start_prober("fork", &ProbeSetup::default())
                .map_err(|why| limit_error(Cause::ForkLatency, why))?;
            probers.push((Cause::ForkLatency, kept));
        }
        if limits.write_latency.is_some() {
            let wrong = |why| limit_error(Cause::WriteLatency, why);
            let dir = find_dest_directory(jobs, options).map_err(wrong)?;
            if let Some(file_system) = memory_file_system(&dir) {
                voice.diagnose(LimitWarning::DestInMemory {
                    directory: dir.clone(),
                    file_system,
                });
            }
            let setup = ProbeSetup {
                directory: Some(dir),
                keep_log_small: true,
                ..ProbeSetup::default()
            };
            probers.push((
                Cause::WriteLatency,
                start_prober("fsync", &setup).map_err(wrong)?,
            ));
        }
        let stop = voice.interrupt_check();
        for (cause, kept) in &mut probers {
            kept.wait_ready(&stop)
                .map_err(|why| limit_error(*cause, LimitError::Unavailable(why)))?;
        }
        if let Some(error) = probers.iter().find_map(|(_, kept)| kept.mlock_error()) {
            voice.diagnose(LimitWarning::ProbersNotLocked(error));
        }
        Ok(Self {
            probers,
            stalls,
            next: 0,
        })
    }

    /// Nanoseconds between two questions about fork, and about writes.
    pub(super) fn periods(&self) -> (u64, u64) {
        let of = |name| probe::find_spec(name).map_or(0, |row| row.period.as_nanos() as u64);
        (of("fork"), of("fsync"))
    }

    /// Tells what has come since the last look.
    pub(super) fn poll_sensors(&mut self, now: u64, mut tell: impl FnMut(SensorEvent)) {
        for (cause, kept) in &mut self.probers {
            while let Some(sample) = kept.pop() {
                tell(SensorEvent::Latency(
                    *cause,
                    LatencySample {
                        intended: sample.first_intended_ns,
                        moments: sample.intended_count,
                        end: sample.end_ns,
                    },
                ));
            }
            while let Some(news) = kept.next_event() {
                tell(to_sensor_event(*cause, news));
            }
        }
        if let Some(stalls) = self.stalls.as_mut().filter(|_| now >= self.next) {
            let (memory, io) = stalls.read();
            for (cause, total) in [(Cause::MemoryPressure, memory), (Cause::IoPressure, io)] {
                if let Some(total) = total {
                    tell(SensorEvent::Pressure(cause, now, total));
                }
            }
            self.next = now + PRESSURE_INTERVAL_NS;
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

fn limit_error(cause: Cause, why: LimitError) -> Error {
    Error::Limit {
        option: option(cause),
        why,
    }
}

fn start_prober(name: &str, setup: &ProbeSetup) -> Result<SupervisedProber, LimitError> {
    let row = probe::find_spec(name).unwrap_or_else(|| unreachable!("a row of the table"));
    SupervisedProber::start(row, setup).map_err(LimitError::StartProber)
}

fn to_sensor_event(cause: Cause, news: ProberEvent) -> SensorEvent {
    let option = option(cause);
    match news {
        ProberEvent::Died { why } => {
            SensorEvent::SensorLost(cause, LimitWarning::ProberDied { option, why })
        }
        ProberEvent::Restarted => SensorEvent::Message(LimitWarning::ProberRestarted(option)),
        ProberEvent::SupervisorDied { why } => {
            SensorEvent::SensorLost(cause, LimitWarning::SupervisorDied { option, why })
        }
    }
}
