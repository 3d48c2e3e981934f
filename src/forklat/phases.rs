//! Sorts samples into the spans of a measurement, by their intended time, not by when they ended.

use crate::observe::latency_histograms::{LatencyHistograms, intended_times};
use crate::observe::ring::Sample;

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

/// One span, in nanoseconds of CLOCK_MONOTONIC. It is open as long as `end_ns` is `u64::MAX`.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    /// The first nanosecond of the span.
    pub start_ns: u64,
    /// The first nanosecond after the span.
    pub end_ns: u64,
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

    /// Begins a span of the subject `name` at `at_ns`, and ends the one before.
    pub fn begin(&mut self, name: &str, at_ns: u64) {
        self.end(at_ns);
        let known = self.subjects.iter().position(|s| s.name == name);
        let subject = known.unwrap_or_else(|| {
            self.subjects.push(PhaseGroup {
                name: name.to_owned(),
                prober_latencies: vec![ProberLatencies::default(); self.probers],
            });
            self.subjects.len() - 1
        });
        self.spans.push(Phase {
            start_ns: at_ns,
            end_ns: u64::MAX,
            subject,
        });
    }

    /// Ends the open span, if there is one.
    pub fn end(&mut self, at_ns: u64) {
        if let Some(last) = self.spans.last_mut() {
            last.end_ns = last.end_ns.min(at_ns);
        }
    }

    /// Counts a sample, which may arrive long after its span. Each of its intended times is counted in the span to
    /// which it belongs, or not at all.
    pub fn record(&mut self, prober: usize, period_ns: u64, sample: &Sample) {
        if let Some(heard) = self.latencies_at(prober, sample.first_intended_ns) {
            heard.answer.record_service(sample.end_ns - sample.start_ns);
            if sample.child_start_ns != 0 {
                let service = sample.child_start_ns.saturating_sub(sample.start_ns);
                heard.child.record_service(service);
            }
        }
        for moment in intended_times(sample, period_ns) {
            if let Some(heard) = self.latencies_at(prober, moment) {
                heard.answer.record(moment, sample.end_ns - moment);
                if sample.child_start_ns != 0 {
                    heard
                        .child
                        .record(moment, sample.child_start_ns.saturating_sub(moment));
                }
            }
        }
    }

    fn latencies_at(&mut self, prober: usize, moment_ns: u64) -> Option<&mut ProberLatencies> {
        let span = self.span_at(moment_ns)?;
        Some(&mut self.subjects[span.subject].prober_latencies[prober])
    }

    fn span_at(&self, moment_ns: u64) -> Option<Phase> {
        let span = self
            .spans
            .iter()
            .rev()
            .find(|span| span.start_ns <= moment_ns)?;
        (moment_ns < span.end_ns).then_some(*span)
    }

    /// Returns the subject to which a time belongs.
    #[must_use]
    pub fn subject_at(&self, moment_ns: u64) -> Option<&str> {
        let span = self.span_at(moment_ns)?;
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
    use super::Phases;
    use crate::observe::ring::Sample;

    fn answer(intended: u64, moments: u64, end: u64) -> Sample {
        Sample {
            first_intended_ns: intended,
            intended_count: moments,
            start_ns: intended,
            end_ns: end,
            child_start_ns: 0,
        }
    }

    #[test]
    fn an_answer_counts_where_it_was_wanted_however_late_it_comes() {
        let mut spans = Phases::new(1);
        spans.record(0, 10, &answer(90, 1, 95));
        spans.begin("idle", 100);
        spans.begin("cp", 200);
        spans.record(0, 10, &answer(150, 1, 160));
        // A stall across the border of two spans: three intended times before it, two after it.
        spans.record(0, 10, &answer(170, 5, 400));
        spans.end(300);
        spans.record(0, 10, &answer(300, 1, 301));
        spans.begin("idle", 500);
        spans.record(0, 10, &answer(500, 1, 501));
        assert_eq!(spans.names().collect::<Vec<_>>(), ["idle", "cp"]);
        assert_eq!(spans.prober_latencies("idle")[0].answer.latency.len(), 5);
        assert_eq!(spans.prober_latencies("cp")[0].answer.latency.len(), 2);
        assert_eq!(spans.prober_latencies("cp")[0].answer.latency.max(), 200);
        assert_eq!(spans.prober_latencies("idle")[0].answer.service.len(), 3);
        assert_eq!(
            spans
                .of("idle")
                .map(|s| (s.start_ns, s.end_ns))
                .collect::<Vec<_>>(),
            [(100, 200), (500, u64::MAX)]
        );
        assert!(spans.prober_latencies("dd").is_empty());
    }
}
