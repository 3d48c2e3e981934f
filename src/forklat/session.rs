//! A measurement under way: the observers from start to stop, and what they hear in between.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::alone;
use super::export::hlog::Log;
use super::model::{Alone, Observer};
use super::observing::Observing;
use super::seconds::Seconds;
use super::spans::Spans;
use crate::observe::latency::moments;
use crate::observe::memory::{Field, Reading};
use crate::observe::probe::Prober;
use crate::observe::ring::Sample;
use crate::observe::sampler::Sampler;
use crate::observe::worker::Worker;
use crate::sys::clock::now;
use crate::sys::process::Cost;
use crate::sys::status;
use crate::sys::words::reason;

/// Between two looks at the rings: they hold 40 s.
pub const TICK: Duration = Duration::from_millis(50);

/// Answers are sorted so long after the question: by then it is known when the span ended, though a command is reaped and
/// its end told a little later than it happened (20 ms for its size, a tick, and what a busy machine adds).
const SORTED_AFTER: u64 = 500_000_000;

/// An answer that is so late is said to be waited for.
const LATE: Duration = Duration::from_secs(5);

/// The observers and what they have heard.
#[derive(Debug)]
pub struct Session {
    /// In the order of [`Spans`].
    pub probers: Vec<Prober>,
    /// Answers that are not sorted yet, with the index of their prober.
    fresh: VecDeque<(usize, Sample)>,
    /// What each had lost before anything was measured, while others got ready.
    lost_before: Vec<u64>,
    /// What the machine says of itself.
    pub sampler: Sampler,
    /// What the probers heard.
    pub spans: Spans,
    /// The same by seconds, when an interval log is wanted.
    pub seconds: Option<Seconds>,
    /// What is not as the reader of the figures would expect.
    pub notes: Vec<String>,
    /// The first kind of prober without the others.
    alone: Option<Alone>,
    /// The time of day at which CLOCK_MONOTONIC was zero, since 1970.
    pub epoch: Duration,
    began: Instant,
}

/// What a session leaves.
#[derive(Debug)]
pub struct Record {
    /// What the probers heard.
    pub spans: Spans,
    /// Name, CPU and period of each prober.
    pub probers: Vec<(&'static str, Option<u32>, u64)>,
    /// What the machine said of itself.
    pub sampler: Sampler,
    /// See [`Session::notes`].
    pub notes: Vec<String>,
    /// See [`Session::epoch`].
    pub epoch: Duration,
    /// What each observer cost.
    pub observers: Vec<Observer>,
    /// The first kind of prober without the others.
    pub alone: Option<Alone>,
    /// The interval log, if one is wanted.
    pub log: Option<Log>,
}

impl Session {
    /// Starts all observers and waits until they are ready, the first kind so long before the others as `alone` says. This
    /// process must have one thread.
    ///
    /// # Errors
    /// Which observer could not start, and why.
    pub fn start(
        observing: &Observing,
        log: bool,
        alone: Option<Duration>,
    ) -> Result<Self, String> {
        let (mut probers, alone) = start_probers(observing, alone)?;
        let mut sampler = Sampler::start(Path::new("/"))
            .map_err(|e| format!("cannot start the sampler: {}", reason(&e)))?;
        for prober in &mut probers {
            prober.worker.wait_ready()?;
        }
        sampler.wait_ready()?;
        for prober in &probers {
            while prober.pop().is_some() {}
        }
        let epoch = wall_clock().saturating_sub(Duration::from_nanos(now()));
        let mut notes = observing.notes.clone();
        let workers = probers.iter().map(|prober| &prober.worker);
        notes.extend(unlocked(workers.chain([sampler.worker()])));
        Ok(Self {
            spans: Spans::new(probers.len()),
            seconds: log.then(|| Seconds::new(now(), epoch)),
            fresh: VecDeque::new(),
            lost_before: probers.iter().map(Prober::lost).collect(),
            probers,
            sampler,
            notes,
            alone,
            epoch,
            began: Instant::now(),
        })
    }

    /// Begins a span of the subject `name`, now.
    pub fn begin(&mut self, name: &str) {
        self.sampler.ask_slabs();
        self.spans.begin(name, now());
    }

    /// Ends the span under way, now.
    pub fn end(&mut self) {
        self.end_at(now());
    }

    /// Ends it a moment ago, at `at`.
    pub fn end_at(&mut self, at: u64) {
        self.sampler.ask_slabs();
        self.spans.end(at);
    }

    /// Takes in what the observers have heard.
    ///
    /// # Errors
    /// An observer that died, and how; answers that were lost.
    pub fn collect(&mut self) -> Result<(), String> {
        for index in 0..self.probers.len() {
            self.take_in(index);
            self.probers[index].worker.check()?;
            self.all_counted(index)?;
        }
        self.sort(now().saturating_sub(SORTED_AFTER));
        if let Some(seconds) = &mut self.seconds {
            seconds.turn(now());
        }
        self.sampler.drain();
        self.sampler.check()
    }

    /// Figures that lack answers would be wrong, and mostly those that lack the late ones.
    fn all_counted(&self, index: usize) -> Result<(), String> {
        let prober = &self.probers[index];
        match prober.lost() - self.lost_before[index] {
            0 => Ok(()),
            lost => Err(format!(
                "{}: {lost} answers were lost, because forklat did not come to count them: it was stopped, or the period is too short",
                prober.worker.name()
            )),
        }
    }

    fn take_in(&mut self, index: usize) {
        while let Some(sample) = self.probers[index].pop() {
            self.fresh.push_back((index, sample));
        }
    }

    /// Sorts what was asked before `until` into spans. What one prober is late with does not hold up the others.
    fn sort(&mut self, until: u64) {
        for _ in 0..self.fresh.len() {
            let Some((index, sample)) = self.fresh.pop_front() else {
                return;
            };
            if sample.start < until {
                self.record(index, &sample);
            } else {
                self.fresh.push_back((index, sample));
            }
        }
    }

    fn record(&mut self, index: usize, sample: &Sample) {
        let Prober { row, period, .. } = &self.probers[index];
        self.spans.record(index, *period, sample);
        let Some(seconds) = &mut self.seconds else {
            return;
        };
        for moment in moments(sample, *period) {
            if let Some(subject) = self.spans.subject_at(moment) {
                seconds.record(subject, row.name, sample.end - moment);
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
        let within = |reading: &&Reading| self.spans.subject_at(reading.at) == Some(subject);
        let readings = self.sampler.readings().iter().filter(within);
        readings.map(unwritten).max().unwrap_or(0)
    }

    /// Stops all observers: each gives the answer that it still owes.
    ///
    /// # Errors
    /// An observer that died; `interrupted` while an answer does not come.
    pub fn stop(mut self, interrupted: &dyn Fn() -> bool) -> Result<Record, String> {
        self.spans.end(now());
        for prober in &self.probers {
            prober.worker.ask_to_stop();
        }
        let ran = self.began.elapsed();
        let mut observers = Vec::new();
        for index in 0..self.probers.len() {
            observers.push(self.finish(index, ran, interrupted)?);
        }
        self.sort(u64::MAX);
        let max_rss = resident(self.sampler.worker());
        let cost = self.sampler.stop()?;
        observers.push(observer(self.sampler.worker(), ran, cost, max_rss));
        if self.sampler.lost() > 0 {
            let lost = self.sampler.lost();
            self.notes.push(format!(
                "{lost} readings of the machine were lost, because forklat did not come to fetch them"
            ));
        }
        Ok(Record {
            probers: self
                .probers
                .iter()
                .map(|prober| (prober.row.name, prober.cpu, prober.period))
                .collect(),
            spans: self.spans,
            sampler: self.sampler,
            notes: self.notes,
            epoch: self.epoch,
            observers,
            alone: self.alone,
            log: self.seconds.map(|seconds| seconds.into_log(now())),
        })
    }

    fn note_passed_over(&mut self, index: usize) {
        let prober = &self.probers[index];
        let (name, passed) = (prober.worker.name(), prober.passed_over());
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
    ) -> Result<Observer, String> {
        let asked = Instant::now();
        let mut said = false;
        loop {
            self.take_in(index);
            let worker = &mut self.probers[index].worker;
            let max_rss = resident(worker);
            if let Some(cost) = worker.finished()? {
                let observer = observer(worker, ran, cost, max_rss);
                self.take_in(index);
                self.all_counted(index)?;
                self.note_passed_over(index);
                return Ok(observer);
            }
            if interrupted() {
                return Err("interrupted".into());
            }
            if asked.elapsed() > LATE && !said {
                super::say(&format!("waiting for the last answer of {}", worker.name()));
                said = true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The probers, the forkers first: what is mapped before they are started is what they have to copy. Before the second kind
/// is started, the first is measured `alone`, where that is asked for.
fn start_probers(
    observing: &Observing,
    alone: Option<Duration>,
) -> Result<(Vec<Prober>, Option<Alone>), String> {
    let mut probers = Vec::new();
    let mut measured = None;
    for (n, (row, period)) in observing.rows.iter().enumerate() {
        if let (1, Some(length)) = (n, alone) {
            measured = alone::measure(&probers, length);
        }
        let cpus: Vec<Option<u32>> = if row.each_cpu {
            observing.cpus.iter().copied().map(Some).collect()
        } else {
            vec![None]
        };
        for cpu in cpus {
            // Not all at the same moment: they would wait for each other.
            let offset = period.mul_f64((probers.len() % 7) as f64 / 7.0);
            let mut prober = Prober::start(row, *period, offset, cpu, &observing.setup)
                .map_err(|e| format!("cannot start the prober {}: {}", row.name, reason(&e)))?;
            if n == 0 && alone.is_some() {
                prober.worker.wait_ready()?;
            }
            probers.push(prober);
        }
    }
    Ok((probers, measured))
}

fn unwritten(reading: &Reading) -> u64 {
    let of = |field| reading.get(field).unwrap_or(0);
    of(Field::Dirty) + of(Field::Writeback)
}

/// Peak resident size as long as it lives: what wait4(2) says afterwards counts its children, too.
fn resident(worker: &Worker) -> Option<u64> {
    status::size_of_process(worker.pid(), "VmHWM")
}

fn observer(worker: &Worker, ran: Duration, cost: Cost, max_rss: Option<u64>) -> Observer {
    Observer {
        name: worker.name().to_owned(),
        seconds: ran.as_secs_f64(),
        cpu: cost.user + cost.system,
        max_rss: max_rss.unwrap_or(cost.max_rss),
    }
}

/// One note for all observers that may be swapped out or lose their pages.
fn unlocked<'a>(workers: impl Iterator<Item = &'a Worker>) -> Option<String> {
    let failed: Vec<_> = workers
        .filter_map(|worker| Some((worker.name(), worker.unlocked()?)))
        .collect();
    let (_, error) = failed.first()?;
    let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
    Some(format!(
        "cannot lock the observers in memory ({}): raise RLIMIT_MEMLOCK; stalls of their own may be counted: {}",
        reason(error),
        names.join(", ")
    ))
}

fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
