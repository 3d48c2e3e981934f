//! Sorts samples into the spans of a measurement, by their intended time, not by when they ended.

use std::time::Duration;

use crate::observe::latency_histograms::{LatencyHistograms, intended_times};
use crate::observe::ring::Sample;
use crate::sys::clock::MonotonicNs;

/// The latencies that one prober measured in all spans of a subject.
#[derive(Debug, Clone, Default)]
pub struct ProberLatencies {
    /// The latency from the intended time to the end of the operation, with the service time from its actual start.
    pub answer: LatencyHistograms,
    /// For `fork`: the latency from the intended time to the child's first instruction, with the service time from the
    /// actual start.
    pub child: LatencyHistograms,
}

/// A subject, whose spans are counted together.
#[derive(Debug)]
struct PhaseGroup {
    name: String,
    prober_latencies: Vec<ProberLatencies>,
}

/// One span. It is open as long as `end` is [`MonotonicNs::MAX`].
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    /// The first nanosecond of the span.
    pub start: MonotonicNs,
    /// The first nanosecond after the span.
    pub end: MonotonicNs,
    subject: usize,
}

/// All spans of a measurement, in order of time.
#[derive(Debug)]
pub struct Phases {
    subjects: Vec<PhaseGroup>,
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
        self.end(at);
        let known = self.subjects.iter().position(|s| s.name == name);
        let subject = known.unwrap_or_else(|| {
            self.subjects.push(PhaseGroup {
                name: name.to_owned(),
                prober_latencies: vec![ProberLatencies::default(); self.probers],
            });
            self.subjects.len() - 1
        });
        self.spans.push(Phase {
            start: at,
            end: MonotonicNs::MAX,
            subject,
        });
    }

    /// Ends the open span, if there is one.
    pub fn end(&mut self, at: MonotonicNs) {
        if let Some(last) = self.spans.last_mut() {
            last.end = last.end.min(at);
        }
    }

    /// Counts a sample, which may arrive long after its span. Each of its intended times is counted in the span to
    /// which it belongs, or not at all.
    pub fn record(&mut self, prober: usize, period: Duration, sample: &Sample) {
        if let Some(heard) = self.latencies_at(prober, sample.first_intended) {
            let service = sample.end.nanos_since(sample.start);
            heard.answer.record_service(service);
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

    fn latencies_at(&mut self, prober: usize, moment: MonotonicNs) -> Option<&mut ProberLatencies> {
        let span = self.span_at(moment)?;
        Some(&mut self.subjects[span.subject].prober_latencies[prober])
    }

    fn span_at(&self, moment: MonotonicNs) -> Option<Phase> {
        let span = self.spans.iter().rev().find(|span| span.start <= moment)?;
        (moment < span.end).then_some(*span)
    }

    /// Returns the subject to which a time belongs.
    #[must_use]
    pub fn subject_at(&self, moment: MonotonicNs) -> Option<&str> {
        let span = self.span_at(moment)?;
        Some(&self.subjects[span.subject].name)
    }

    /// Returns the names of the subjects, in the order in which they began.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.subjects.iter().map(|subject| subject.name.as_str())
    }

    /// Returns the latencies that each prober measured in a subject, in the order of the probers.
    #[must_use]
    pub fn prober_latencies(&self, name: &str) -> &[ProberLatencies] {
        let subject = self.subjects.iter().find(|subject| subject.name == name);
        subject.map_or(&[], |subject| &subject.prober_latencies)
    }

    /// Returns the largest latency, in nanoseconds, that a prober has measured in the current subject.
    #[must_use]
    pub fn worst(&self, prober: usize) -> Option<u64> {
        let span = self.spans.last()?;
        let heard = &self.subjects[span.subject].prober_latencies[prober];
        heard.answer.worst().first().map(|moment| moment.latency_ns)
    }

    /// Returns the spans of a subject.
    pub fn of(&self, name: &str) -> impl Iterator<Item = Phase> {
        self.spans
            .iter()
            .filter(move |span| self.subjects[span.subject].name == name)
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, MonotonicNs, Phases};
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
}
