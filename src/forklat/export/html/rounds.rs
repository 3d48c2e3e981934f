//! The rounds of a report, for the timelines: which runs were made in each, with the readings of the machine and the late
//! answers of each run.

use crate::forklat::model::{LateAnswer, MIN_LATE, RunResult, Subject};
use crate::observe::memory::Timeline;

/// The runs that are drawn side by side, in the order of time.
pub(super) struct Round<'a> {
    /// The number of the round, from 1.
    pub number: u32,
    pub segments: Vec<Segment<'a>>,
}

/// One run of a tool, or one phase of `forklat run`.
pub(super) struct Segment<'a> {
    pub subject: &'a Subject,
    pub timeline: &'a Timeline,
    /// The run, if the report has runs.
    pub run: Option<&'a RunResult>,
    /// The length of the run in seconds.
    pub seconds: f64,
    /// The answers that were wanted in it and came late.
    pub late: Vec<LateAnswer>,
}

/// Returns all rounds that have readings of the machine, in the order of their numbers.
pub(super) fn rounds(subjects: &[Subject]) -> Vec<Round<'_>> {
    let mut rounds: Vec<Round> = Vec::new();
    for subject in subjects {
        for (place, timeline) in subject.timelines.iter().enumerate() {
            let run = subject.runs.get(place);
            let number = run.map_or(place as u32 + 1, |run| run.round);
            let segment = Segment::of(subject, timeline, run);
            if segment.seconds <= 0.0 {
                continue;
            }
            match rounds.iter_mut().find(|round| round.number == number) {
                Some(round) => round.segments.push(segment),
                None => rounds.push(Round {
                    number,
                    segments: vec![segment],
                }),
            }
        }
    }
    for round in &mut rounds {
        let start = |segment: &Segment| segment.timeline.start;
        round.segments.sort_by(|a, b| start(a).total_cmp(&start(b)));
    }
    rounds.sort_by_key(|round| round.number);
    rounds
}

impl<'a> Segment<'a> {
    fn of(subject: &'a Subject, timeline: &'a Timeline, run: Option<&'a RunResult>) -> Self {
        let spans = run.map_or(0.0, |run| run.spans.iter().map(|span| span.seconds).sum());
        let read = timeline.seconds.last().copied().unwrap_or(0.0);
        let seconds = if spans > 0.0 { spans } else { read };
        let within = |time: f64| (timeline.start..timeline.start + seconds).contains(&time);
        let late = late_answers(subject).filter(|answer| within(answer.time));
        Self {
            subject,
            timeline,
            run,
            seconds,
            late: late.collect(),
        }
    }
}

/// Returns the late answers of a subject. Reports of older versions only have the worst moments of each probe.
fn late_answers(subject: &Subject) -> impl Iterator<Item = LateAnswer> + '_ {
    let probes = subject.probes.iter().filter(|probe| probe.cpu.is_none());
    let moments = probes.flat_map(|probe| {
        probe.worst.iter().map(|moment| LateAnswer {
            probe: probe.name.clone(),
            latency: moment.latency,
            time: moment.time,
        })
    });
    let is_late = |answer: &LateAnswer| answer.latency >= MIN_LATE.as_secs_f64() * 1e6;
    let moments = moments.filter(move |answer| subject.late.is_empty() && is_late(answer));
    subject.late.iter().cloned().chain(moments)
}
