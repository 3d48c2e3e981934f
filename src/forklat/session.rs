//! A measurement in progress: the observers from start to stop, and their samples in between.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::export::hlog::HistogramLog;
use super::interval_log::IntervalLog;
use super::late_answers::{self, LateAnswers};
use super::model::{IsolatedProbe, ObserverCost};
use super::observer_effect;
use super::phases::{Phases, RunPart};
use super::probe_plan::ProbePlan;
use crate::forklat::error::{ForklatError, failed};
use crate::observe::latency_histograms::intended_times;
use crate::observe::memory::{Metric, Reading};
use crate::observe::observer_process::ObserverProcess;
use crate::observe::probe::Prober;
use crate::observe::ring::Sample;
use crate::observe::sampler::Sampler;
use crate::sys::clock::MonotonicNs;
use crate::sys::proc_status;
use crate::sys::process::ProcessUsage;
use crate::sys::strerror::strerror;

/// Interval between two checks of the ring buffers (50 ms). They hold 40 s.
pub const COLLECT_INTERVAL: Duration = Duration::from_millis(50);

/// Delay after which a sample is assigned to a span (500 ms). By then the end of the span is known,
/// although the end of a command is reported a little later than it happened (20 ms for its size, a tick, and the delay
/// of a busy machine).
const ATTRIBUTION_DELAY: Duration = Duration::from_millis(500);

/// Delay after which a message says that a late sample is waited for (5 s).
const SLOW_ANSWER_NOTICE_DELAY: Duration = Duration::from_secs(5);

/// The observers and the samples that they have taken.
#[derive(Debug)]
pub struct Session {
    /// The probers, in the order of [`Phases`].
    pub probers: Vec<Prober>,
    /// Samples that are not assigned to a span yet, with the index of their prober.
    unattributed_samples: VecDeque<(usize, Sample)>,
    /// The number of samples that each prober had lost before the measurement, while others were starting.
    lost_before: Vec<u64>,
    /// The sampler, which reads the state of the machine.
    pub sampler: Sampler,
    /// The samples of the probers, by span.
    pub spans: Phases,
    /// The same samples by seconds, if an interval log is requested.
    pub seconds: Option<IntervalLog>,
    /// Notes on what a reader of the figures would not expect.
    pub notes: Vec<String>,
    /// The first kind of prober, measured without the others.
    isolated_probe: Option<IsolatedProbe>,
    /// The answers that came late, if they are to be explained.
    late_answers: Option<LateAnswers>,
    /// The time since 1970 at which CLOCK_MONOTONIC was zero.
    pub epoch: Duration,
    began: Instant,
}

/// The probe of a prober, its CPU, and its period.
#[derive(Debug, Clone, Copy)]
pub struct ProberId {
    /// The name of its kind.
    pub name: &'static str,
    /// The CPU, if the prober is one of several.
    pub cpu: Option<u32>,
    /// The time between two intended times.
    pub period: Duration,
}

/// The data that a session leaves.
#[derive(Debug)]
pub struct SessionResult {
    /// The samples of the probers, by span.
    pub spans: Phases,
    /// The probers, in the order of [`Phases`].
    pub probers: Vec<ProberId>,
    /// The sampler with its readings of the machine.
    pub sampler: Sampler,
    /// The notes of the session; see [`Session::notes`].
    pub notes: Vec<String>,
    /// The epoch of the session; see [`Session::epoch`].
    pub epoch: Duration,
    /// The CPU time and memory of each observer.
    pub observers: Vec<ObserverCost>,
    /// The first kind of prober, measured without the others.
    pub isolated_probe: Option<IsolatedProbe>,
    /// The interval log, if one was requested.
    pub log: Option<HistogramLog>,
    /// The answers that came late, if they were to be explained.
    pub late_answers: Option<LateAnswers>,
}

impl Session {
    /// Starts all observers and waits until they are ready. The first kind is started before the others by the time
    /// `alone`, if that is given. This process must have one thread.
    ///
    /// # Errors
    /// The observer that could not start, and the reason.
    pub fn start(
        observing: &ProbePlan,
        log: bool,
        alone: Option<Duration>,
    ) -> Result<Self, ForklatError> {
        let (mut probers, alone) = start_probers(observing, alone)?;
        let mut sampler =
            Sampler::start(Path::new("/")).map_err(|e| failed("start the sampler", e))?;
        for prober in &mut probers {
            prober.process.wait_ready()?;
        }
        sampler.wait_ready()?;
        let (late_answers, late_notes) = match observing.why {
            Some(threshold) => {
                let pids: Vec<_> = probers.iter().map(|prober| prober.process.pid()).collect();
                let directory = observing.setup.directory.as_deref();
                let (late, notes) = late_answers::start(threshold, &pids, directory)?;
                (Some(late), notes)
            }
            None => (None, Vec::new()),
        };
        for prober in &probers {
            while prober.pop().is_some() {}
        }
        let epoch =
            wall_clock().saturating_sub(Duration::from_nanos(MonotonicNs::now().as_nanos()));
        let mut notes = observing.notes.clone();
        let workers = probers.iter().map(|prober| &prober.process);
        notes.extend(unlocked(workers.chain([sampler.process()])));
        notes.extend(late_notes);
        Ok(Self {
            spans: Phases::new(probers.len()),
            seconds: log.then(|| IntervalLog::new(MonotonicNs::now(), epoch)),
            unattributed_samples: VecDeque::new(),
            lost_before: probers.iter().map(Prober::lost).collect(),
            probers,
            sampler,
            notes,
            isolated_probe: alone,
            late_answers,
            epoch,
            began: Instant::now(),
        })
    }

    /// Ends the current span, reads the slab caches, which others may feel, and then begins a span of the subject `name`.
    pub fn begin(&mut self, name: &str) {
        self.spans.end(MonotonicNs::now());
        self.sampler.read_slabs_now();
        self.spans.begin(name, MonotonicNs::now());
    }

    /// Ends the current part of a run at `at`, a moment ago, and begins the next part there.
    pub fn begin_part(&mut self, part: RunPart, at: MonotonicNs) {
        self.spans.begin_part(part, at);
    }

    /// Ends the current span at the present time.
    pub fn end(&mut self) {
        self.end_at(MonotonicNs::now());
    }

    /// Ends the current span at `at`, a moment ago.
    pub fn end_at(&mut self, at: MonotonicNs) {
        self.sampler.request_slab_reading();
        self.spans.end(at);
    }

    /// Returns the probers without their processes, in the order of [`Phases`].
    #[must_use]
    pub fn prober_ids(&self) -> Vec<ProberId> {
        let id = |prober: &Prober| ProberId {
            name: prober.spec.name,
            cpu: prober.cpu,
            period: prober.period,
        };
        self.probers.iter().map(id).collect()
    }

    /// Takes the new samples from the ring buffers of the observers.
    ///
    /// # Errors
    /// An observer that died, and how; samples that were lost.
    pub fn collect(&mut self) -> Result<(), ForklatError> {
        for index in 0..self.probers.len() {
            self.take_in(index);
            self.probers[index].process.check_alive()?;
            self.check_no_loss(index)?;
        }
        self.attribute_samples(MonotonicNs::now().before(ATTRIBUTION_DELAY));
        if let Some(late) = &mut self.late_answers {
            late.explain_if_due()?;
        }
        if let Some(seconds) = &mut self.seconds {
            seconds.end_interval_if_due(MonotonicNs::now());
        }
        self.sampler.drain();
        Ok(self.sampler.check_alive()?)
    }

    /// Fails if samples of a prober were lost. Figures without them would be wrong, since mostly the late samples would
    /// be missing.
    fn check_no_loss(&self, index: usize) -> Result<(), ForklatError> {
        let prober = &self.probers[index];
        match prober.lost() - self.lost_before[index] {
            0 => Ok(()),
            lost => Err(format!(
                "{}: {lost} samples were lost, because forklat did not read them in time: it was stopped, or the period is too short",
                prober.process.name()
            ).into()),
        }
    }

    fn take_in(&mut self, index: usize) {
        while let Some(sample) = self.probers[index].pop() {
            if let Some(late) = &mut self.late_answers {
                late.offer(index, self.probers[index].process.pid(), &sample);
            }
            self.unattributed_samples.push_back((index, sample));
        }
    }

    /// Assigns the samples that started before `until` to spans. A prober whose sample is late does not hold up the
    /// others.
    fn attribute_samples(&mut self, until: MonotonicNs) {
        for _ in 0..self.unattributed_samples.len() {
            let Some((index, sample)) = self.unattributed_samples.pop_front() else {
                return;
            };
            if sample.start < until {
                self.record(index, &sample);
            } else {
                self.unattributed_samples.push_back((index, sample));
            }
        }
    }

    fn record(&mut self, index: usize, sample: &Sample) {
        let Prober {
            spec: row, period, ..
        } = &self.probers[index];
        self.spans.record(index, *period, sample);
        let Some(seconds) = &mut self.seconds else {
            return;
        };
        for moment in intended_times(sample, *period) {
            let tag = match self.spans.subject_at(moment) {
                Some((subject, RunPart::UntilExit)) => subject.to_owned(),
                Some((subject, part)) => format!("{subject} {}", part.name()),
                None => continue,
            };
            seconds.record(&tag, row.name, sample.end.nanos_since(moment));
        }
    }

    /// Returns the sum of Dirty and Writeback, in bytes, as last read.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.sampler.latest().map_or(0, unwritten)
    }

    /// Returns the largest sum of Dirty and Writeback in the spans of a subject.
    #[must_use]
    pub fn most_unwritten(&self, subject: &str) -> u64 {
        let within = |reading: &&Reading| {
            let at = self.spans.subject_at(reading.at);
            at.is_some_and(|(name, _)| name == subject)
        };
        let readings = self.sampler.readings().iter().filter(within);
        readings.map(unwritten).max().unwrap_or(0)
    }

    /// Stops all observers. Each prober still delivers the sample in progress.
    ///
    /// # Errors
    /// An observer that died; `interrupted` returned true while a sample was waited for.
    pub fn stop(mut self, interrupted: &dyn Fn() -> bool) -> Result<SessionResult, ForklatError> {
        self.spans.end(MonotonicNs::now());
        for prober in &self.probers {
            prober.process.ask_to_stop();
        }
        let ran = self.began.elapsed();
        let mut observers = Vec::new();
        for index in 0..self.probers.len() {
            observers.push(self.finish(index, ran, interrupted)?);
        }
        self.attribute_samples(MonotonicNs::MAX);
        let max_rss = resident(self.sampler.process());
        let cost = self.sampler.stop()?;
        observers.push(observer(self.sampler.process(), ran, cost, max_rss));
        if let Some(late) = &mut self.late_answers {
            late.stop()?;
            let (cost, notes) = late.cost(ran);
            observers.push(cost);
            self.notes.extend(notes);
        }
        if self.sampler.lost() > 0 {
            let lost = self.sampler.lost();
            self.notes.push(format!(
                "{lost} readings of the machine were lost, because forklat did not read them in time"
            ));
        }
        Ok(SessionResult {
            probers: self.prober_ids(),
            spans: self.spans,
            sampler: self.sampler,
            notes: self.notes,
            epoch: self.epoch,
            observers,
            isolated_probe: self.isolated_probe,
            late_answers: self.late_answers,
            log: self
                .seconds
                .map(|seconds| seconds.into_log(MonotonicNs::now())),
        })
    }

    fn note_passed_over(&mut self, index: usize) {
        let prober = &self.probers[index];
        let (name, passed) = (prober.process.name(), prober.skipped_moments());
        if passed > 0 {
            self.notes.push(format!(
                "{name}: {passed} measurements were skipped, because the prober itself was busy between two of them"
            ));
        }
    }

    fn finish(
        &mut self,
        index: usize,
        ran: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<ObserverCost, ForklatError> {
        let asked = Instant::now();
        let mut said = false;
        loop {
            self.take_in(index);
            let worker = &mut self.probers[index].process;
            let max_rss = resident(worker);
            if let Some(cost) = worker.try_finish()? {
                let observer = observer(worker, ran, cost, max_rss);
                self.take_in(index);
                self.check_no_loss(index)?;
                self.note_passed_over(index);
                return Ok(observer);
            }
            if interrupted() {
                return Err(ForklatError::Interrupted);
            }
            if asked.elapsed() > SLOW_ANSWER_NOTICE_DELAY && !said {
                super::print_diagnostic(&format!(
                    "waiting for the last answer of {}",
                    worker.name()
                ));
                said = true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts the probers, the forkers first, since they would have to copy everything that is mapped before they are
/// started. If `alone` is given, the first kind is measured before the second kind is started.
fn start_probers(
    observing: &ProbePlan,
    alone: Option<Duration>,
) -> Result<(Vec<Prober>, Option<IsolatedProbe>), ForklatError> {
    let mut probers = Vec::new();
    let mut measured = None;
    for (n, (row, period)) in observing.probes.iter().enumerate() {
        if let (1, Some(length)) = (n, alone) {
            measured = observer_effect::measure(&probers, length);
        }
        let cpus: Vec<Option<u32>> = if row.per_cpu {
            observing.cpus.iter().copied().map(Some).collect()
        } else {
            vec![None]
        };
        for cpu in cpus {
            // The probers do not all start at the same moment, since they would wait for each other.
            let offset = period.mul_f64((probers.len() % 7) as f64 / 7.0);
            let mut prober = Prober::start(row, *period, offset, cpu, &observing.setup)
                .map_err(|e| failed(format!("start the prober {}", row.name), e))?;
            if n == 0 && alone.is_some() {
                prober.process.wait_ready()?;
            }
            probers.push(prober);
        }
    }
    Ok((probers, measured))
}

fn unwritten(reading: &Reading) -> u64 {
    let of = |field| reading.get(field).unwrap_or(0);
    of(Metric::Dirty) + of(Metric::Writeback)
}

/// Returns the peak resident size while the process runs. wait4(2) afterwards includes its children.
fn resident(worker: &ObserverProcess) -> Option<u64> {
    proc_status::read_bytes_of(worker.pid(), "VmHWM")
}

fn observer(
    worker: &ObserverProcess,
    ran: Duration,
    cost: ProcessUsage,
    max_rss: Option<u64>,
) -> ObserverCost {
    ObserverCost {
        name: worker.name().to_owned(),
        seconds: ran.as_secs_f64(),
        cpu: cost.user + cost.system,
        max_rss: max_rss.unwrap_or(cost.max_rss),
    }
}

/// Returns one note for all observers whose pages may be swapped out or dropped.
fn unlocked<'a>(workers: impl Iterator<Item = &'a ObserverProcess>) -> Option<String> {
    let failed: Vec<_> = workers
        .filter_map(|worker| Some((worker.name(), worker.mlock_error()?)))
        .collect();
    let (_, error) = failed.first()?;
    let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
    Some(format!(
        "cannot lock these observers in memory ({}), so their own page faults may count as latency; raise RLIMIT_MEMLOCK: {}",
        strerror(error),
        names.join(", ")
    ))
}

fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
