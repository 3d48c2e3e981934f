//! The sensors of a throttled copy: a prober or a PSI file for each signal of the table that the user has limited.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dest_directory::{find_dest_directory, memory_file_system};
use super::messages;
use crate::cp::operands::OperandJobs;
use crate::cp::options::CopyOptions;
use crate::observe::memory::StallCounter;
use crate::observe::probe::{self, ProbeSetup, ProbeSpec};
use crate::observe::probe::{ProberEvent, SupervisedProber};
use crate::report::OrderedOutput;
use crate::sys::clock::MonotonicNs;
use crate::sys::strerror::strerror;
use crate::transfer::rate_limit::{
    Cause, Feed, LatencySample, SIGNALS, Sample, SignalSpec, StallSample,
};

/// How often PSI is read: ten times in the second over which it is taken. The kernel brings its sums up to
/// date every two seconds, and whenever they are read (Documentation/accounting/psi.rst).
const PRESSURE_INTERVAL: Duration = Duration::from_millis(100);

/// Something that the governor should know.
pub(super) enum SensorEvent {
    /// A measurement of the signal that has this cause.
    Sample(Cause, Sample),
    /// The sensor gives no samples for a while. The text is for the user.
    SensorLost(Cause, String),
    /// A text for the user.
    Message(String),
}

/// All sensors of a run.
#[derive(Debug)]
pub(super) struct SensorSet {
    probers: Vec<(&'static SignalSpec, SupervisedProber)>,
    stalls: Vec<(&'static SignalSpec, StallCounter)>,
    /// When PSI is to be read next.
    next_stall_read: MonotonicNs,
}

impl SensorSet {
    /// Opens PSI and starts the probers, as the limits need them. Called while this process has one thread. A signal that asks
    /// to stop ends the wait for a disk that does not answer; then not all probers are ready.
    ///
    /// # Errors
    /// Which signal cannot be sampled, by its option, and why.
    pub(super) fn start(
        options: &CopyOptions,
        jobs: &OperandJobs,
        voice: &mut OrderedOutput,
    ) -> Result<Self, String> {
        let limits = &options.throttle;
        let limited = || SIGNALS.iter().filter(|signal| signal.is_limited(limits));
        let (mut stalls, mut probers) = (Vec::new(), Vec::new());
        // Files are opened before a process is made: what cannot be had is known sooner.
        for signal in limited() {
            if let Feed::Stall(resource) = signal.feed {
                let counter = StallCounter::open(Path::new("/"), resource);
                stalls.push((signal, counter.map_err(|why| blame(signal, &why))?));
            }
        }
        let find_dir = || find_dest_directory(jobs, options);
        for signal in limited() {
            if let Some(row) = probe_of(signal) {
                let prober = start_prober(signal, row, find_dir, voice);
                probers.push((signal, prober.map_err(|why| blame(signal, &why))?));
            }
        }
        let stop = voice.interrupt_check();
        for (signal, prober) in &mut probers {
            prober.wait_ready(&stop).map_err(|e| blame(signal, &e))?;
        }
        if let Some(error) = probers.iter().find_map(|(_, prober)| prober.mlock_error()) {
            voice.diagnose(&messages::unlocked(&error));
        }
        Ok(Self {
            probers,
            stalls,
            next_stall_read: MonotonicNs::ZERO,
        })
    }

    /// Tells what has come since the last call.
    pub(super) fn poll_sensors(&mut self, now: MonotonicNs, mut tell: impl FnMut(SensorEvent)) {
        for (signal, prober) in &mut self.probers {
            while let Some(sample) = prober.pop() {
                let sample = Sample::Latency(LatencySample {
                    intended: MonotonicNs::from_nanos(sample.first_intended_ns),
                    moments: sample.intended_count,
                    end: MonotonicNs::from_nanos(sample.end_ns),
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
    probe_of(cause.spec()).map_or(Duration::ZERO, |row| row.period)
}

/// Returns the probe that samples a signal, if one does.
fn probe_of(signal: &SignalSpec) -> Option<&'static ProbeSpec> {
    match signal.feed {
        Feed::Probe(name) => {
            let row = probe::find_spec(name);
            Some(row.unwrap_or_else(|| unreachable!("a row of the table")))
        }
        Feed::Stall(_) | Feed::None => None,
    }
}

/// Starts the prober of a signal. One that needs a directory gets that of the destination.
fn start_prober(
    signal: &SignalSpec,
    row: &'static ProbeSpec,
    find_dir: impl FnOnce() -> Result<PathBuf, String>,
    voice: &mut OrderedOutput,
) -> Result<SupervisedProber, String> {
    let mut setup = ProbeSetup::default();
    if row.needs_directory {
        let dir = find_dir()?;
        if let Some(file_system) = memory_file_system(&dir) {
            let warning = messages::in_memory_warning(signal.option, &dir, &file_system);
            voice.diagnose(&warning);
        }
        setup.directory = Some(dir);
        setup.keep_log_small = true;
    }
    SupervisedProber::start(row, &setup)
        .map_err(|e| format!("cannot start a prober: {}", strerror(&e)))
}

/// Says which option it is that cannot be kept.
fn blame(signal: &SignalSpec, why: &dyn Display) -> String {
    format!("{}: {why}", signal.option)
}

fn to_sensor_event(signal: &SignalSpec, event: ProberEvent) -> SensorEvent {
    let (cause, option) = (signal.cause, signal.option);
    match event {
        ProberEvent::Died { why } => SensorEvent::SensorLost(
            cause,
            format!("warning: {option}: the prober died ({why}); braking until another answers"),
        ),
        ProberEvent::Restarted => SensorEvent::Message(format!("{option}: another prober answers")),
        ProberEvent::SupervisorDied { why } => SensorEvent::SensorLost(
            cause,
            format!(
                "warning: {option}: no prober can be started any more ({why}); going on at the slowest rate"
            ),
        ),
    }
}
