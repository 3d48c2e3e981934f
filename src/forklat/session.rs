//! A measurement under way: the observers from start to stop, and what they hear in between.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::export::hlog::HistogramLog;
use super::interval_log::IntervalLog;
use super::model::{IsolatedProbe, ObserverCost};
use super::observer_effect;
use super::phases::Phases;
use super::probe_plan::ProbePlan;
use crate::forklat::error::{ForklatError, failed};
use crate::observe::latency_histograms::intended_times;
use crate::observe::memory::{Metric, Reading};
use crate::observe::observer_process::ObserverProcess;
use crate::observe::probe::Prober;
use crate::observe::ring::Sample;
use crate::observe::sampler::Sampler;
use crate::sys::clock::monotonic_ns;
use crate::sys::proc_status;
use crate::sys::process::ProcessUsage;
use crate::sys::strerror::strerror;

/// Between two looks at the rings: they hold 40 s.
pub const COLLECT_INTERVAL: Duration = Duration::from_millis(50);

/// Answers are sorted so long after the question: by then it is known when the span ended, though a command is reaped and
/// its end told a little later than it happened (20 ms for its size, a tick, and what a busy machine adds).
const ATTRIBUTION_DELAY_NS: u64 = 500_000_000;

/// An answer that is so late is said to be waited for.
const SLOW_ANSWER_NOTICE_DELAY: Duration = Duration::from_secs(5);

/// The observers and what they have heard.
#[derive(Debug)]
pub struct Session {
    /// In the order of [`Phases`].
    pub probers: Vec<Prober>,
    /// Answers that are not sorted yet, with the index of their prober.
    unattributed_samples: VecDeque<(usize, Sample)>,
    /// What each had lost before anything was measured, while others got ready.
    lost_before: Vec<u64>,
    /// What the machine says of itself.
    pub sampler: Sampler,
    /// What the probers heard.
    pub spans: Phases,
    /// The same by seconds, when an interval log is wanted.
    pub seconds: Option<IntervalLog>,
    /// What is not as the reader of the figures would expect.
    pub notes: Vec<String>,
    /// The first kind of prober without the others.
    isolated_probe: Option<IsolatedProbe>,
    /// The time of day at which CLOCK_MONOTONIC was zero, since 1970.
    pub epoch: Duration,
    began: Instant,
}

/// What a prober measured, on which CPU, and how often.
#[derive(Debug, Clone, Copy)]
pub struct ProberId {
    /// The name of its kind.
    pub name: &'static str,
    /// The CPU, for one prober of several.
    pub cpu: Option<u32>,
    /// The time between two intended moments.
    pub period: Duration,
}

/// What a session leaves.
#[derive(Debug)]
pub struct SessionResult {
    /// What the probers heard.
    pub spans: Phases,
    /// The probers, in the order of [`Phases`].
    pub probers: Vec<ProberId>,
    /// What the machine said of itself.
    pub sampler: Sampler,
    /// See [`Session::notes`].
    pub notes: Vec<String>,
    /// See [`Session::epoch`].
    pub epoch: Duration,
    /// What each observer cost.
    pub observers: Vec<ObserverCost>,
    /// The first kind of prober without the others.
    pub isolated_probe: Option<IsolatedProbe>,
    /// The interval log, if one is wanted.
    pub log: Option<HistogramLog>,
}

impl Session {
    /// Starts all observers and waits until they are ready, the first kind so long before the others as `alone` says. This
    /// process must have one thread.
    ///
    /// # Errors
    /// Which observer could not start, and why.
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
        for prober in &probers {
            while prober.pop().is_some() {}
        }
        let epoch = wall_clock().saturating_sub(Duration::from_nanos(monotonic_ns()));
        let mut notes = observing.notes.clone();
        let workers = probers.iter().map(|prober| &prober.process);
        notes.extend(unlocked(workers.chain([sampler.process()])));
        Ok(Self {
            spans: Phases::new(probers.len()),
            seconds: log.then(|| IntervalLog::new(monotonic_ns(), epoch)),
            unattributed_samples: VecDeque::new(),
            lost_before: probers.iter().map(Prober::lost).collect(),
            probers,
            sampler,
            notes,
            isolated_probe: alone,
            epoch,
            began: Instant::now(),
        })
    }

    /// Begins a span of the subject `name`, now.
    pub fn begin(&mut self, name: &str) {
        self.sampler.request_slab_reading();
        self.spans.begin(name, monotonic_ns());
    }

    /// Ends the span under way, now.
    pub fn end(&mut self) {
        self.end_at(monotonic_ns());
    }

    /// Ends it a moment ago, at `at_ns` of CLOCK_MONOTONIC.
    pub fn end_at(&mut self, at_ns: u64) {
        self.sampler.request_slab_reading();
        self.spans.end(at_ns);
    }

    /// Takes in what the observers have heard.
    ///
    /// # Errors
    /// An observer that died, and how; answers that were lost.
    pub fn collect(&mut self) -> Result<(), ForklatError> {
        for index in 0..self.probers.len() {
            self.take_in(index);
            self.probers[index].process.check_alive()?;
            self.check_no_loss(index)?;
        }
        self.attribute_samples(monotonic_ns().saturating_sub(ATTRIBUTION_DELAY_NS));
        if let Some(seconds) = &mut self.seconds {
            seconds.end_interval_if_due(monotonic_ns());
        }
        self.sampler.drain();
        Ok(self.sampler.check_alive()?)
    }

    /// Figures that lack answers would be wrong, and mostly those that lack the late ones.
    fn check_no_loss(&self, index: usize) -> Result<(), ForklatError> {
        let prober = &self.probers[index];
        match prober.lost() - self.lost_before[index] {
            0 => Ok(()),
            lost => Err(format!(
                "{}: {lost} answers were lost, because forklat did not come to count them: it was stopped, or the period is too short",
                prober.process.name()
            ).into()),
        }
    }

    fn take_in(&mut self, index: usize) {
        while let Some(sample) = self.probers[index].pop() {
            self.unattributed_samples.push_back((index, sample));
        }
    }

    /// Sorts what was asked before `until_ns` into spans. What one prober is late with does not hold up the others.
    fn attribute_samples(&mut self, until_ns: u64) {
        for _ in 0..self.unattributed_samples.len() {
            let Some((index, sample)) = self.unattributed_samples.pop_front() else {
                return;
            };
            if sample.start_ns < until_ns {
                self.record(index, &sample);
            } else {
                self.unattributed_samples.push_back((index, sample));
            }
        }
    }

    fn record(&mut self, index: usize, sample: &Sample) {
        let Prober {
            spec: row,
            period_ns: period,
            ..
        } = &self.probers[index];
        self.spans.record(index, *period, sample);
        let Some(seconds) = &mut self.seconds else {
            return;
        };
        for moment in intended_times(sample, *period) {
            if let Some(subject) = self.spans.subject_at(moment) {
                seconds.record(subject, row.name, sample.end_ns - moment);
            }
        }
    }

    /// Dirty and Writeback together as last read.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.sampler.latest().map_or(0, unwritten)
    }

    /// The most that it was in the spans of a subject.
    #[must_use]
    pub fn most_unwritten(&self, subject: &str) -> u64 {
        let within = |reading: &&Reading| self.spans.subject_at(reading.at_ns) == Some(subject);
        let readings = self.sampler.readings().iter().filter(within);
        readings.map(unwritten).max().unwrap_or(0)
    }

    /// Stops all observers: each gives the answer that it still owes.
    ///
    /// # Errors
    /// An observer that died; `interrupted` while an answer does not come.
    pub fn stop(mut self, interrupted: &dyn Fn() -> bool) -> Result<SessionResult, ForklatError> {
        self.spans.end(monotonic_ns());
        for prober in &self.probers {
            prober.process.ask_to_stop();
        }
        let ran = self.began.elapsed();
        let mut observers = Vec::new();
        for index in 0..self.probers.len() {
            observers.push(self.finish(index, ran, interrupted)?);
        }
        self.attribute_samples(u64::MAX);
        let max_rss = resident(self.sampler.process());
        let cost = self.sampler.stop()?;
        observers.push(observer(self.sampler.process(), ran, cost, max_rss));
        if self.sampler.lost() > 0 {
            let lost = self.sampler.lost();
            self.notes.push(format!(
                "{lost} readings of the machine were lost, because forklat did not come to fetch them"
            ));
        }
        Ok(SessionResult {
            probers: self
                .probers
                .iter()
                .map(|prober| ProberId {
                    name: prober.spec.name,
                    cpu: prober.cpu,
                    period: Duration::from_nanos(prober.period_ns),
                })
                .collect(),
            spans: self.spans,
            sampler: self.sampler,
            notes: self.notes,
            epoch: self.epoch,
            observers,
            isolated_probe: self.isolated_probe,
            log: self.seconds.map(|seconds| seconds.into_log(monotonic_ns())),
        })
    }

    fn note_passed_over(&mut self, index: usize) {
        let prober = &self.probers[index];
        let (name, passed) = (prober.process.name(), prober.skipped_moments());
        if passed > 0 {
            self.notes.push(format!(
                "{name}: {passed} moments were passed over, while the prober itself was busy between two questions"
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

/// The probers, the forkers first: what is mapped before they are started is what they have to copy. Before the second kind
/// is started, the first is measured `alone`, where that is asked for.
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
            // Not all at the same moment: they would wait for each other.
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

/// Peak resident size as long as it lives: what wait4(2) says afterwards counts its children, too.
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

/// One note for all observers that may be swapped out or lose their pages.
fn unlocked<'a>(workers: impl Iterator<Item = &'a ObserverProcess>) -> Option<String> {
    let failed: Vec<_> = workers
        .filter_map(|worker| Some((worker.name(), worker.mlock_error()?)))
        .collect();
    let (_, error) = failed.first()?;
    let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
    Some(format!(
        "cannot lock the observers in memory ({}): raise RLIMIT_MEMLOCK; stalls of their own may be counted: {}",
        strerror(error),
        names.join(", ")
    ))
}

fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
