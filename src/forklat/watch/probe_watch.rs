//! The probers beside `forklat watch`: what they answered last, how long they have been silent, and which have died. A
//! prober that dies does not end the watch.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::forklat::error::{ForklatError, failed};
use crate::forklat::probe_plan::ProbePlan;
use crate::observe::observer_process::ObserverProcess;
use crate::observe::probe::{ProbeSpec, Prober};
use crate::sys::clock::MonotonicNs;

/// Longest time that the probers are waited for at the end. One that waits for a disk cannot be killed before it answers.
const STOP_TIMEOUT: Duration = Duration::from_millis(100);

/// Time beyond two periods after which an answer is overdue (100 ms): a busy machine delays any.
const OVERDUE_SLACK: Duration = Duration::from_millis(100);

/// The answers of one kind of probe in one interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct ProbeAnswers {
    /// The name of the probe.
    pub name: String,
    /// The last latency in microseconds, of whatever interval; `None` before the first answer.
    pub last: Option<f64>,
    /// The largest latency of the interval in microseconds; `None` without an answer.
    pub max: Option<f64>,
    /// The number of answers in the interval.
    pub answers: u64,
    /// Seconds for which no answer has come, if one is overdue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue: Option<f64>,
    /// Why the probe does not run any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// A prober, or why it does not run any more.
#[derive(Debug)]
struct Member {
    prober: Result<Prober, String>,
    last: Option<f64>,
    max: Option<f64>,
    answers: u64,
    /// When its last answer came, or when it was started.
    heard: MonotonicNs,
}

/// All probers of one kind, one for each CPU or one in all.
#[derive(Debug)]
struct Kind {
    spec: &'static ProbeSpec,
    period: Duration,
    members: Vec<Member>,
}

/// All probers of a watch.
#[derive(Debug, Default)]
pub(super) struct ProbeWatch(Vec<Kind>);

impl ProbeWatch {
    /// Starts the probers of a plan and waits until they are ready. This process must have one thread.
    ///
    /// # Errors
    /// A prober that could not start, and the reason.
    pub(super) fn start(plan: &ProbePlan) -> Result<Self, ForklatError> {
        let mut kinds = Vec::new();
        for (spec, period) in &plan.probes {
            let cpus: Vec<Option<u32>> = match spec.per_cpu {
                true => plan.cpus.iter().copied().map(Some).collect(),
                false => vec![None],
            };
            let start = |cpu| {
                Prober::start(spec, *period, Duration::ZERO, cpu, &plan.setup)
                    .map_err(|e| failed(format!("start the prober {}", spec.name), e))
            };
            let probers: Result<Vec<Prober>, ForklatError> = cpus.into_iter().map(start).collect();
            kinds.push(Kind {
                spec,
                period: *period,
                members: probers?.into_iter().map(Member::new).collect(),
            });
        }
        let mut all = Self(kinds);
        for prober in all.probers() {
            prober.process.wait_ready()?;
        }
        Ok(all)
    }

    fn probers(&mut self) -> impl Iterator<Item = &mut Prober> {
        let members = self.0.iter_mut().flat_map(|kind| &mut kind.members);
        members.filter_map(|member| member.prober.as_mut().ok())
    }

    /// Takes in the answers that have come, and notes which probers have died. It must be called at least every ten seconds.
    pub(super) fn collect(&mut self) {
        for member in self.0.iter_mut().flat_map(|kind| &mut kind.members) {
            member.collect();
        }
    }

    /// Returns the answers since the last call, one line for each kind.
    pub(super) fn take_answers(&mut self) -> Vec<ProbeAnswers> {
        self.0.iter_mut().map(Kind::take_answers).collect()
    }

    /// Returns why memory of the probers could not be locked, if it could not.
    pub(super) fn lock_error(&mut self) -> Option<std::io::Error> {
        self.probers()
            .find_map(|prober| prober.process.mlock_error())
    }

    /// Ends the probers. Returns the names of those that wait in the kernel and end when that answers.
    pub(super) fn stop(self) -> Vec<String> {
        let members = self.0.into_iter().flat_map(|kind| kind.members);
        let mut processes: Vec<ObserverProcess> = members
            .filter_map(|member| Some(member.prober.ok()?.process))
            .collect();
        for process in &processes {
            process.ask_to_stop();
        }
        let asked = Instant::now();
        while !processes.is_empty() && asked.elapsed() < STOP_TIMEOUT {
            processes.retain_mut(|process| matches!(process.try_finish(), Ok(None)));
            std::thread::sleep(Duration::from_millis(1));
        }
        let left = processes.iter().map(|process| process.name().to_owned());
        let left = left.collect();
        // To drop them would be to wait for them. The kernel kills them when this process ends.
        processes.into_iter().for_each(std::mem::forget);
        left
    }
}

impl Kind {
    fn take_answers(&mut self) -> ProbeAnswers {
        let now = MonotonicNs::now();
        let living = || self.members.iter().filter(|member| member.prober.is_ok());
        let silent = living().map(|member| now.since(member.heard)).max();
        // One answer may be missing at any moment, since moments are drawn at random within their periods.
        let overdue = silent.filter(|silent| *silent > 2 * self.period + OVERDUE_SLACK);
        let newest = self.members.iter().max_by_key(|member| member.heard);
        let longest = self.members.iter().filter_map(|member| member.max);
        let ended = self
            .members
            .iter()
            .find_map(|member| member.prober.as_ref().err());
        let answers = ProbeAnswers {
            name: self.spec.name.to_owned(),
            last: newest.and_then(|member| member.last),
            max: longest.max_by(f64::total_cmp),
            answers: self.members.iter().map(|member| member.answers).sum(),
            overdue: overdue.map(|silent| silent.as_secs_f64()),
            ended: ended.cloned(),
        };
        for member in &mut self.members {
            (member.max, member.answers) = (None, 0);
        }
        answers
    }
}

impl Member {
    fn new(prober: Prober) -> Self {
        Self {
            prober: Ok(prober),
            last: None,
            max: None,
            answers: 0,
            heard: MonotonicNs::now(),
        }
    }

    fn collect(&mut self) {
        let Ok(prober) = &mut self.prober else { return };
        while let Some(sample) = prober.pop() {
            let latency = sample.end.since(sample.first_intended).as_secs_f64() * 1e6;
            self.last = Some(latency);
            self.max = Some(self.max.map_or(latency, |max| max.max(latency)));
            self.answers += 1;
            self.heard = sample.end;
        }
        if let Err(why) = prober.process.check_alive() {
            self.prober = Err(why.to_string());
        }
    }
}
