//! Sorts samples into the spans of a measurement, by their intended time, not by when they ended.

use std::time::Duration;

use super::model::MIN_LATE;
use crate::observe::latency_histograms::{
    LatencyHistograms, TimedLatency, WorstLatencies, intended_times,
};
use crate::observe::ring::Sample;
use crate::observe::sparse_latencies::SparseLatencies;
use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// The latencies that one prober measured in all spans of a subject.
#[derive(Debug, Clone, Default)]
pub struct ProberLatencies {
    /// The latency from the intended time to the end of the operation, with the service time from its actual start.
    pub answer: LatencyHistograms,
    /// For `fork`: the latency from the intended time to the child's first instruction, with the service time from the
    /// actual start.
    pub child: LatencyHistograms,
}

/// The latencies that one prober measured in one span.
#[derive(Debug, Clone, Default)]
struct SpanLatencies {
    answer: SparseLatencies,
    child: SparseLatencies,
    /// The latest answers, one for each operation.
    late: WorstLatencies,
}

/// The part of a run of a tool that a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunPart {
    /// From the start to the exit of the tool. A span that is no run of a tool is of this part, too.
    UntilExit,
    /// From the exit of the tool until its data were durable.
    UntilDurable,
    /// A fixed time after the data were durable.
    After,
}

impl RunPart {
    /// All parts, in the order of time.
    pub const ALL: [Self; 3] = [Self::UntilExit, Self::UntilDurable, Self::After];

    /// Returns the name of the part in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UntilExit => "until exit",
            Self::UntilDurable => "until durable",
            Self::After => "after",
        }
    }
}

/// One span. It is open as long as `end` is [`MonotonicNs::MAX`].
#[derive(Debug, Clone)]
pub struct Phase {
    /// The first nanosecond of the span.
    pub start: MonotonicNs,
    /// The first nanosecond after the span.
    pub end: MonotonicNs,
    /// The part of a run that it is.
    pub part: RunPart,
    /// Whether its latencies are left out of the sums of its subject.
    is_left_out: bool,
    subject: usize,
    latencies: Vec<SpanLatencies>,
}

impl Phase {
    /// Returns the latest answers of one prober, each counted from the first moment that it served. Those that came within
    /// [`MIN_LATE`] are left out.
    #[must_use]
    pub fn late_answers(&self, prober: usize) -> &[TimedLatency] {
        self.latencies[prober].late.as_slice()
    }

    /// Adds the latencies of one prober to `sum`.
    pub fn add_prober_to(&self, prober: usize, sum: &mut ProberLatencies) {
        self.latencies[prober].answer.add_to(&mut sum.answer);
        self.latencies[prober].child.add_to(&mut sum.child);
    }
}

/// All spans of a measurement, in order of time.
#[derive(Debug)]
pub struct Phases {
    subjects: Vec<String>,
    spans: Vec<Phase>,
    probers: usize,
}

impl Phases {
    /// Makes an empty list of spans for this number of probers.
    #[must_use]
    pub fn new(probers: usize) -> Self {
        Self {
            subjects: Vec::new(),
            spans: Vec::new(),
            probers,
        }
    }

    /// Begins a span of the subject `name` at `at`, and ends the one before.
    pub fn begin(&mut self, name: &str, at: MonotonicNs) {
        let known = self.subjects.iter().position(|subject| subject == name);
        let subject = known.unwrap_or_else(|| {
            self.subjects.push(name.to_owned());
            self.subjects.len() - 1
        });
        self.push(subject, RunPart::UntilExit, at);
    }

    /// Ends the open part of a run at `at`, and begins the next part there. Without a span it does nothing.
    pub fn begin_part(&mut self, part: RunPart, at: MonotonicNs) {
        if let Some(subject) = self.spans.last().map(|last| last.subject) {
            self.push(subject, part, at);
        }
    }

    fn push(&mut self, subject: usize, part: RunPart, at: MonotonicNs) {
        self.end(at);
        self.spans.push(Phase {
            start: at,
            end: MonotonicNs::MAX,
            part,
            is_left_out: false,
            subject,
            latencies: vec![SpanLatencies::default(); self.probers],
        });
    }

    /// Ends the open span, if there is one.
    pub fn end(&mut self, at: MonotonicNs) {
        if let Some(last) = self.spans.last_mut() {
            last.end = last.end.min(at);
        }
    }

    /// Leaves the spans from the one that began at `start` on out of the sums of their subjects.
    pub fn leave_out_since(&mut self, start: MonotonicNs) {
        for span in self.spans.iter_mut().filter(|span| span.start >= start) {
            span.is_left_out = true;
        }
    }

    /// Forgets all spans, such as those of a warm-up. Samples that arrive later for their times are not counted.
    pub fn clear(&mut self) {
        self.subjects.clear();
        self.spans.clear();
    }

    /// Counts a sample, which may arrive long after its span. Each of its intended times is counted in the span to
    /// which it belongs, or not at all.
    pub fn record(&mut self, prober: usize, period: Duration, sample: &Sample) {
        if let Some(heard) = self.latencies_at(prober, sample.first_intended) {
            let service = sample.end.nanos_since(sample.start);
            heard.answer.record_service(service);
            let latency_ns = sample.end.nanos_since(sample.first_intended);
            if latency_ns >= saturating_nanos(MIN_LATE) {
                heard.late.insert(TimedLatency {
                    latency_ns,
                    intended: sample.first_intended,
                });
            }
            if let Some(child) = sample.child_start {
                heard.child.record_service(child.nanos_since(sample.start));
            }
        }
        for moment in intended_times(sample, period) {
            if let Some(heard) = self.latencies_at(prober, moment) {
                let latency_ns = sample.end.nanos_since(moment);
                heard.answer.record(moment, latency_ns);
                if let Some(child) = sample.child_start {
                    heard.child.record(moment, child.nanos_since(moment));
                }
            }
        }
    }

    fn latencies_at(&mut self, prober: usize, moment: MonotonicNs) -> Option<&mut SpanLatencies> {
        let index = self.span_at(moment)?;
        Some(&mut self.spans[index].latencies[prober])
    }

    fn span_at(&self, moment: MonotonicNs) -> Option<usize> {
        let next = self.spans.partition_point(|span| span.start <= moment);
        let index = next.checked_sub(1)?;
        (moment < self.spans[index].end).then_some(index)
    }

    /// Returns the subject to which a time belongs, and the part of its run.
    #[must_use]
    pub fn subject_at(&self, moment: MonotonicNs) -> Option<(&str, RunPart)> {
        let span = &self.spans[self.span_at(moment)?];
        Some((&self.subjects[span.subject], span.part))
    }

    /// Returns whether a time belongs to a span that is left out of the sums of its subject.
    #[must_use]
    pub fn is_left_out_at(&self, moment: MonotonicNs) -> bool {
        self.span_at(moment)
            .is_some_and(|index| self.spans[index].is_left_out)
    }

    /// Returns the names of the subjects, in the order in which they began.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.subjects.iter().map(String::as_str)
    }

    /// Returns the latencies that each prober measured in a subject until exit, in the order of the probers. They are
    /// empty if there is no such span.
    #[must_use]
    pub fn prober_latencies(&self, name: &str) -> Vec<ProberLatencies> {
        let mut sums = Vec::new();
        for span in self.of(name).filter(|span| span.part == RunPart::UntilExit) {
            sums.resize_with(self.probers, ProberLatencies::default);
            if !span.is_left_out {
                for (prober, sum) in sums.iter_mut().enumerate() {
                    span.add_prober_to(prober, sum);
                }
            }
        }
        sums
    }

    /// Returns the largest latency, in nanoseconds, that a prober has measured in the current subject.
    #[must_use]
    pub fn worst(&self, prober: usize) -> Option<u64> {
        let subject = self.spans.last()?.subject;
        let spans = self.spans.iter().filter(|span| span.subject == subject);
        let worst = |span: &Phase| span.latencies[prober].answer.worst().first().copied();
        spans.filter_map(worst).max().map(|worst| worst.latency_ns)
    }

    /// Returns the spans of a subject.
    pub fn of(&self, name: &str) -> impl Iterator<Item = &Phase> {
        self.spans
            .iter()
            .filter(move |span| self.subjects[span.subject] == name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, MonotonicNs, Phases, RunPart};
    use crate::observe::ring::Sample;

    const PERIOD: Duration = Duration::from_nanos(10);

    fn at(nanoseconds: u64) -> MonotonicNs {
        MonotonicNs::from_nanos(nanoseconds)
    }

    fn answer(intended: u64, moments: u64, end: u64) -> Sample {
        Sample {
            first_intended: at(intended),
            intended_count: moments,
            start: at(intended),
            end: at(end),
            child_start: None,
        }
    }

    #[test]
    fn an_answer_counts_where_it_was_wanted_however_late_it_comes() {
        let mut spans = Phases::new(1);
        spans.record(0, PERIOD, &answer(90, 1, 95));
        spans.begin("idle", at(100));
        spans.begin("cp", at(200));
        spans.record(0, PERIOD, &answer(150, 1, 160));
        // A stall across the border of two spans: three intended times before it, two after it.
        spans.record(0, PERIOD, &answer(170, 5, 400));
        spans.end(at(300));
        spans.record(0, PERIOD, &answer(300, 1, 301));
        spans.begin("idle", at(500));
        spans.record(0, PERIOD, &answer(500, 1, 501));
        assert_eq!(spans.names().collect::<Vec<_>>(), ["idle", "cp"]);
        assert_eq!(spans.prober_latencies("idle")[0].answer.latency.len(), 5);
        assert_eq!(spans.prober_latencies("cp")[0].answer.latency.len(), 2);
        assert_eq!(spans.prober_latencies("cp")[0].answer.latency.max(), 200);
        assert_eq!(spans.prober_latencies("idle")[0].answer.service.len(), 3);
        assert_eq!(
            spans
                .of("idle")
                .map(|s| (s.start, s.end))
                .collect::<Vec<_>>(),
            [(at(100), at(200)), (at(500), MonotonicNs::MAX)]
        );
        assert!(spans.prober_latencies("dd").is_empty());
    }

    #[test]
    fn the_parts_of_a_run_are_told_apart_and_a_run_can_be_left_out() {
        let mut spans = Phases::new(1);
        spans.begin_part(RunPart::After, at(1));
        assert!(spans.names().next().is_none());
        spans.begin("cp", at(100));
        spans.begin_part(RunPart::UntilDurable, at(200));
        // It was wanted twice before the exit and three times after it.
        spans.record(0, PERIOD, &answer(180, 5, 300));
        spans.begin_part(RunPart::After, at(300));
        spans.end(at(400));
        assert_eq!(
            spans.subject_at(at(200)),
            Some(("cp", RunPart::UntilDurable))
        );
        assert_eq!(spans.prober_latencies("cp")[0].answer.latency.len(), 2);
        let counts: Vec<u64> = spans
            .of("cp")
            .map(|span| {
                let mut sum = super::ProberLatencies::default();
                span.add_prober_to(0, &mut sum);
                sum.answer.latency.len()
            })
            .collect();
        assert_eq!(counts, [2, 3, 0]);
        spans.leave_out_since(at(100));
        assert_eq!(spans.prober_latencies("cp")[0].answer.latency.len(), 0);
        assert!(spans.is_left_out_at(at(150)) && !spans.is_left_out_at(at(50)));
        spans.clear();
        assert!(spans.prober_latencies("cp").is_empty());
    }
}
