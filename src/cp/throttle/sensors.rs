//! The sensors of a throttled copy: a prober or a PSI file for each signal of the table that the user has limited.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dest_directory::{find_dest_directory, memory_file_system};
use crate::cp::error::{Error, LimitError, LimitWarning};
use crate::cp::operands::OperandJobs;
use crate::cp::options::CopyOptions;
use crate::observe::memory::StallCounter;
use crate::observe::probe::{self, ProbeSetup, ProbeSpec};
use crate::observe::probe::{ProberEvent, SupervisedProber};
use crate::report::OrderedOutput;
use crate::sys::clock::MonotonicNs;
use crate::transfer::rate_limit::{
    Cause, Feed, LatencySample, Limits, SIGNALS, Sample, SignalSpec, StallSample,
};

/// The interval at which PSI is read: ten times in the second over which the pressure is computed. The kernel updates
/// its sums every two seconds, and whenever they are read (Documentation/accounting/psi.rst).
const PRESSURE_INTERVAL: Duration = Duration::from_millis(100);

/// An event that the governor must handle.
pub(super) enum SensorEvent {
    /// A measurement of the signal that has this cause.
    Sample(Cause, Sample),
    /// The sensor gives no samples for a while. The text is a warning for the user.
    SensorLost(Cause, LimitWarning),
    /// A text for the user, without a sample.
    Message(LimitWarning),
}

/// All sensors of a run.
#[derive(Debug)]
pub(super) struct SensorSet {
    probers: Vec<(&'static SignalSpec, SupervisedProber)>,
    stalls: Vec<(&'static SignalSpec, StallCounter)>,
    /// The time of the next read of PSI.
    next_stall_read: MonotonicNs,
}

impl SensorSet {
    /// Opens PSI and starts the probers that the limits need. Must be called while this process has one thread. A
    /// signal that asks to stop ends the wait for a disk that does not answer; then not all probers are ready.
    ///
    /// # Errors
    /// Returns the option whose signal cannot be sampled, and why.
    pub(super) fn start(
        options: &CopyOptions,
        limits: &Limits,
        jobs: &OperandJobs,
        voice: &mut OrderedOutput,
    ) -> Result<Self, Error> {
        let limited = || SIGNALS.iter().filter(|signal| signal.is_limited(limits));
        let (mut stalls, mut probers) = (Vec::new(), Vec::new());
        // Files are opened before a process is started, so that a missing file is reported sooner.
        for signal in limited() {
            if let Feed::Stall(resource) = signal.feed {
                let counter = StallCounter::open(Path::new("/"), resource);
                let counter = counter.map_err(LimitError::Unavailable);
                stalls.push((signal, counter.map_err(|why| blame(signal, why))?));
            }
        }
        let find_dir = || find_dest_directory(jobs, options);
        for signal in limited() {
            if let Some(row) = probe_of(signal) {
                let prober = start_prober(signal, row, find_dir, voice);
                probers.push((signal, prober.map_err(|why| blame(signal, why))?));
            }
        }
        let stop = voice.interrupt_check();
        for (signal, prober) in &mut probers {
            let ready = prober.wait_ready(&stop).map_err(LimitError::Unavailable);
            ready.map_err(|why| blame(signal, why))?;
        }
        if let Some(error) = probers.iter().find_map(|(_, prober)| prober.mlock_error()) {
            voice.diagnose(LimitWarning::ProbersNotLocked(error));
        }
        Ok(Self {
            probers,
            stalls,
            next_stall_read: MonotonicNs::ZERO,
        })
    }

    /// Passes all samples and events since the last call to `tell`.
    pub(super) fn poll_sensors(&mut self, now: MonotonicNs, mut tell: impl FnMut(SensorEvent)) {
        for (signal, prober) in &mut self.probers {
            while let Some(sample) = prober.pop() {
                let sample = Sample::Latency(LatencySample {
                    intended: sample.first_intended,
                    moments: sample.intended_count,
                    end: sample.end,
                });
                tell(SensorEvent::Sample(signal.cause, sample));
            }
            while let Some(event) = prober.next_event() {
                tell(to_sensor_event(signal, event));
            }
        }
        if now < self.next_stall_read {
            return;
        }
        for (signal, counter) in &mut self.stalls {
            if let Some(total_us) = counter.read() {
                let sample = Sample::Stall(StallSample { at: now, total_us });
                tell(SensorEvent::Sample(signal.cause, sample));
            }
        }
        self.next_stall_read = now.after(PRESSURE_INTERVAL);
    }
}

/// Returns the time between two samples of a signal whose feed is a probe, else zero.
pub(super) fn sample_period(cause: Cause) -> Duration {
    match cause.spec().feed {
        Feed::Probe { period, .. } => period,
        Feed::Stall(_) | Feed::None => Duration::ZERO,
    }
}

/// Returns the probe that samples a signal, if one does.
fn probe_of(signal: &SignalSpec) -> Option<&'static ProbeSpec> {
    match signal.feed {
        Feed::Probe { name, .. } => {
            let row = probe::find_spec(name);
            Some(row.unwrap_or_else(|| unreachable!("a row of the table")))
        }
        Feed::Stall(_) | Feed::None => None,
    }
}

/// Starts the prober of a signal. A prober that needs a directory gets that of the destination.
fn start_prober(
    signal: &SignalSpec,
    row: &'static ProbeSpec,
    find_dir: impl FnOnce() -> Result<PathBuf, LimitError>,
    voice: &mut OrderedOutput,
) -> Result<SupervisedProber, LimitError> {
    let mut setup = ProbeSetup {
        period: Some(sample_period(signal.cause)),
        ..ProbeSetup::default()
    };
    if row.needs_directory {
        let dir = find_dir()?;
        if let Some(file_system) = memory_file_system(&dir) {
            voice.diagnose(LimitWarning::DestInMemory {
                option: signal.option,
                directory: dir.clone(),
                file_system,
            });
        }
        setup.directory = Some(dir);
        setup.keep_log_small = true;
    }
    SupervisedProber::start(row, &setup).map_err(LimitError::StartProber)
}

/// Makes the error for the option whose limit cannot be kept.
fn blame(signal: &SignalSpec, why: LimitError) -> Error {
    Error::Limit {
        option: signal.option,
        why,
    }
}

fn to_sensor_event(signal: &SignalSpec, event: ProberEvent) -> SensorEvent {
    let (cause, option) = (signal.cause, signal.option);
    match event {
        ProberEvent::Died { why } => {
            SensorEvent::SensorLost(cause, LimitWarning::ProberDied { option, why })
        }
        ProberEvent::Restarted => SensorEvent::Message(LimitWarning::ProberRestarted(option)),
        ProberEvent::SupervisorDied { why } => {
            SensorEvent::SensorLost(cause, LimitWarning::SupervisorDied { option, why })
        }
    }
}
