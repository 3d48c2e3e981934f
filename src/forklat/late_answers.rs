//! `--why`: finds the answers that came late, and has them explained by the flight recorder, or by a process that looks at
//! the probers where the kernel does not let its trace points be recorded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;

use super::distribution::microseconds;
use super::model::ObserverCost;
use super::phases::{Phases, RunPart};
use super::why_result::{ExplainedAnswer, WhyResult};
use crate::forklat::error::ForklatError;
use crate::observe::disk::Disk;
use crate::observe::flight_recorder::explanation::{Explainer, Explanation, LateAnswer};
use crate::observe::flight_recorder::recorder::FlightRecorder;
use crate::observe::prober_states::ProberStates;
use crate::observe::ring::Sample;
use crate::report::units::{format_bytes, format_percent, format_seconds};
use crate::sys::clock::MonotonicNs;
use crate::sys::cpu::thread_cpu_time;

/// Least time between two readings of the recorder. The ring buffers hold several times as much.
const READ_INTERVAL: Duration = Duration::from_millis(200);

/// How much earlier than the first late answer the events are read, since they tell in which state a task was then.
const MARGIN: Duration = Duration::from_millis(200);

/// Number of late answers that are explained at most in one reading, the latest of them. A machine in trouble has other
/// work.
const MAX_EXPLAINED_AT_ONCE: usize = 20;

/// Number of explained late answers that are kept for the result at most, and up to twice as many meanwhile. Each takes
/// about 500 bytes.
const MAX_EXPLAINED: usize = 20_000;

/// How long the looks at the probers are kept, unless a late answer that waits for its explanation needs older ones.
const LOOK_MEMORY: Duration = Duration::from_secs(30);

/// The late answers of a session.
#[derive(Debug)]
pub struct LateAnswers {
    threshold: Duration,
    source: Source,
    /// The moment up to which the time of each prober is explained.
    covered: Vec<MonotonicNs>,
    /// The moment at which the last operation of each prober was complete.
    idle_since: Vec<MonotonicNs>,
    /// Late answers that are not explained yet.
    pending: Vec<Late>,
    explained: Vec<(Late, Explanation)>,
    last_read: MonotonicNs,
    /// Late answers that were too many to be explained.
    skipped: u64,
    /// Explained late answers that were too many to be kept.
    dropped: u64,
    /// CPU time of this process for reading and explaining.
    cpu_time: Duration,
}

/// Where the causes of late answers are found.
#[derive(Debug)]
enum Source {
    Recorder(Box<FlightRecorder>),
    States(ProberStates),
}

/// An answer that came late.
#[derive(Debug, Clone, Copy)]
struct Late {
    prober: usize,
    /// The moment at which it was wanted, whatever of the time since then is explained elsewhere.
    intended: MonotonicNs,
    answer: LateAnswer,
}

/// A prober, for the names in the result.
#[derive(Debug, Clone, Copy)]
pub struct ProberName {
    /// The name of the probe.
    pub probe: &'static str,
    /// The CPU of the prober, if there is one on each.
    pub cpu: Option<u32>,
}

/// Starts what explains late answers. Returns it with notes for the reader of the figures. This process must have one
/// thread.
///
/// # Errors
/// Neither the recorder nor the process that looks at the probers can be started.
pub fn start(
    threshold: Duration,
    probers: &[Pid],
    directory: Option<&Path>,
) -> Result<(LateAnswers, Vec<String>), ForklatError> {
    let root = Path::new("/");
    let (source, notes) = match FlightRecorder::start(root) {
        Ok(recorder) => {
            let missing = recorder.missing().join(", ");
            let note = format!("--why: this kernel does not tell {missing}");
            let note = Some(note).filter(|_| !missing.is_empty());
            (
                Source::Recorder(Box::new(recorder)),
                note.into_iter().collect(),
            )
        }
        Err(why) => {
            let states = ProberStates::start(root, probers, in_flight_file(root, directory))?;
            let note = format!(
                "--why: the kernel's trace points are not recorded ({why}): causes are what a look at /proc each 10 ms shows, and shorter ones are missing"
            );
            (Source::States(states), vec![note])
        }
    };
    let late = LateAnswers {
        threshold,
        source,
        covered: vec![MonotonicNs::ZERO; probers.len()],
        idle_since: vec![MonotonicNs::ZERO; probers.len()],
        dropped: 0,
        pending: Vec::new(),
        explained: Vec::new(),
        last_read: MonotonicNs::ZERO,
        skipped: 0,
        cpu_time: Duration::ZERO,
    };
    Ok((late, notes))
}

/// Returns the file with the requests in flight of the disk below a directory.
fn in_flight_file(root: &Path, directory: Option<&Path>) -> Option<PathBuf> {
    let disk = Disk::of_path(root, directory?).ok()?;
    Some(root.join("sys/block").join(disk.name).join("inflight"))
}

impl LateAnswers {
    /// Takes a sample of a prober whose process id is `pid`, and keeps it if it is late. Answers that the same stall
    /// delayed are one.
    pub fn offer(&mut self, prober: usize, pid: Pid, sample: &Sample) {
        let idle_since = std::mem::replace(&mut self.idle_since[prober], sample.end);
        let wanted = sample.first_intended.max(self.covered[prober]);
        if sample.end.since(wanted) < self.threshold {
            return;
        }
        self.covered[prober] = sample.end;
        self.pending.push(Late {
            prober,
            intended: sample.first_intended,
            answer: LateAnswer {
                tid: pid.as_raw().cast_unsigned(),
                wanted,
                idle_since,
                start: sample.start.max(wanted),
                end: sample.end,
            },
        });
    }

    /// Explains the late answers that wait for it, unless that was done just before.
    ///
    /// # Errors
    /// The recorder cannot be read, or the process that looks at the probers has died.
    pub fn explain_if_due(&mut self) -> Result<(), ForklatError> {
        if let Source::States(states) = &mut self.source {
            states.drain()?;
        }
        if MonotonicNs::now().since(self.last_read) < READ_INTERVAL {
            return Ok(());
        }
        self.explain_pending()
    }

    /// Ends the measurement: explains what is left.
    ///
    /// # Errors
    /// The recorder cannot be read, or the process that looks at the probers has died.
    pub fn stop(&mut self) -> Result<(), ForklatError> {
        if let Source::States(states) = &mut self.source {
            states.stop()?;
        }
        self.explain_pending()
    }

    fn explain_pending(&mut self) -> Result<(), ForklatError> {
        if let Source::States(states) = &mut self.source {
            let wanted = self.pending.iter().map(|late| late.answer.wanted);
            let oldest = MonotonicNs::now().before(LOOK_MEMORY);
            states.forget_before(wanted.min().unwrap_or(oldest).min(oldest));
        }
        let before = thread_cpu_time();
        self.last_read = MonotonicNs::now();
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|late| std::cmp::Reverse(late.answer.end.since(late.intended)));
        self.skipped += pending.len().saturating_sub(MAX_EXPLAINED_AT_ONCE) as u64;
        pending.truncate(MAX_EXPLAINED_AT_ONCE);
        let Some(first) = pending.iter().map(|late| late.answer.wanted).min() else {
            return Ok(());
        };
        let recording = match &mut self.source {
            Source::Recorder(recorder) => Some(recorder.read_since(first.before(MARGIN))?),
            Source::States(_) => None,
        };
        for late in pending {
            let explanation = match (&self.source, &recording) {
                (Source::Recorder(recorder), Some(recording)) => Explainer {
                    recording,
                    symbols: recorder.symbols(),
                }
                .explain(&late.answer),
                (Source::States(states), _) => states.explain(&late.answer),
                (Source::Recorder(_), None) => Explanation::default(),
            };
            self.explained.push((late, explanation));
        }
        self.drop_shortest();
        self.cpu_time += thread_cpu_time().saturating_sub(before);
        Ok(())
    }

    /// Keeps only the latest of the explained answers when there are twice as many as are kept.
    fn drop_shortest(&mut self) {
        if self.explained.len() < 2 * MAX_EXPLAINED {
            return;
        }
        let lateness = |late: &Late| late.answer.end.since(late.intended);
        self.explained
            .sort_by_key(|(late, _)| std::cmp::Reverse(lateness(late)));
        self.dropped += (self.explained.len() - MAX_EXPLAINED) as u64;
        self.explained.truncate(MAX_EXPLAINED);
    }

    /// Returns the late answers of a subject with their causes.
    #[must_use]
    pub fn result(
        &self,
        subject: &str,
        spans: &Phases,
        probers: &[ProberName],
        epoch: Duration,
    ) -> WhyResult {
        let mut why = WhyResult {
            threshold: self.threshold.as_secs_f64(),
            ..WhyResult::default()
        };
        for (late, explanation) in &self.explained {
            let Some((name, part)) = spans.subject_at(late.intended) else {
                continue;
            };
            if name != subject || spans.is_left_out_at(late.intended) {
                continue;
            }
            let prober = probers[late.prober];
            let causes = explanation.causes.iter();
            let causes = causes.map(|part| (part.cause.label(), part.time.as_secs_f64()));
            let latency = late.answer.end.nanos_since(late.intended);
            let answer = ExplainedAnswer {
                probe: prober.probe.to_owned(),
                cpu: prober.cpu,
                part: part.name().to_owned(),
                latency: microseconds(latency as f64),
                time: (epoch + Duration::from_nanos(late.intended.as_nanos())).as_secs_f64(),
                sentence: explanation.sentence(),
                causes: causes.collect(),
            };
            why.add(answer, part == RunPart::UntilExit);
        }
        why
    }

    /// Returns what it has cost to know the causes, as an observer and in words.
    #[must_use]
    pub fn cost(&self, ran: Duration) -> (ObserverCost, Vec<String>) {
        let mut notes = Vec::new();
        if self.skipped > 0 {
            notes.push(format!(
                "--why: {} late answers were not explained, since there were too many at once",
                self.skipped
            ));
        }
        if self.dropped > 0 {
            notes.push(format!(
                "--why: the {} shortest of the late answers are not counted, since there were too many to be kept",
                self.dropped
            ));
        }
        let cost = match &self.source {
            Source::Recorder(recorder) => {
                let cost = recorder.cost();
                let seconds = cost.length.as_secs_f64();
                notes.push(format!(
                    "--why: {:.0} records a second were written, at the cost of those who caused them, into {} of ring buffers; to read and explain them took {} of CPU time ({} of a CPU)",
                    cost.records as f64 / seconds.max(1e-9),
                    format_bytes(cost.bytes as u64),
                    format_seconds(self.cpu_time.as_secs_f64()),
                    format_percent(100.0 * self.cpu_time.as_secs_f64() / seconds.max(1e-9)),
                ));
                ObserverCost {
                    name: "recorder".into(),
                    seconds,
                    cpu: self.cpu_time.as_secs_f64(),
                    max_rss: cost.bytes as u64,
                }
            }
            Source::States(states) => {
                let cost = states.cost();
                ObserverCost {
                    name: "states".into(),
                    seconds: ran.as_secs_f64(),
                    cpu: cost.map_or(0.0, |cost| cost.user + cost.system),
                    max_rss: cost.map_or(0, |cost| cost.max_rss),
                }
            }
        };
        (cost, notes)
    }
}
