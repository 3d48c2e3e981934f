//! Why answers were late, as plain data: the time of each cause, and the late answers with their causes.

use serde::{Deserialize, Serialize};

/// Largest number of late answers that are kept for one subject. Their sums have all.
pub const MAX_KEPT_ANSWERS: usize = 200;

/// Why answers of one subject were late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WhyResult {
    /// The latency in seconds from which on an answer is late.
    pub threshold: f64,
    /// The number of late answers until the exit of a tool, or in the span. Those that one stall delayed count once.
    pub answers: u64,
    /// The causes of these answers, the one with most time first.
    pub causes: Vec<CauseSum>,
    /// The late answers of all spans, the latest first, at most [`MAX_KEPT_ANSWERS`].
    pub late: Vec<ExplainedAnswer>,
}

/// How much of the lateness one cause explains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CauseSum {
    /// The name of the cause.
    pub cause: String,
    /// Seconds of all late answers together.
    pub seconds: f64,
    /// The number of late answers in which the cause had a part.
    pub answers: u64,
}

/// One late answer with its causes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainedAnswer {
    /// The name of the probe.
    pub probe: String,
    /// The CPU of the prober, if there is one on each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// The part of a run in which the answer was wanted: `until exit`, `until durable` or `after`.
    pub part: String,
    /// The latency in microseconds, counted from the intended time.
    pub latency: f64,
    /// The wall-clock time of the intended time, in seconds since the epoch.
    pub time: f64,
    /// The causes in words for a reader.
    pub sentence: String,
    /// The names of the causes with their seconds, the largest first.
    pub causes: Vec<(String, f64)>,
}

impl WhyResult {
    /// Adds a late answer. Its causes are added to the sums if `is_counted`.
    pub fn add(&mut self, answer: ExplainedAnswer, is_counted: bool) {
        if is_counted {
            self.answers += 1;
            for (cause, seconds) in &answer.causes {
                self.add_cause(cause, *seconds, 1);
            }
        }
        let place = self
            .late
            .partition_point(|other| other.latency >= answer.latency);
        self.late.insert(place, answer);
        self.late.truncate(MAX_KEPT_ANSWERS);
        self.sort();
    }

    /// Adds all late answers of another measurement of the same subject.
    pub fn merge(&mut self, other: Self) {
        self.threshold = self.threshold.max(other.threshold);
        self.answers += other.answers;
        for sum in &other.causes {
            self.add_cause(&sum.cause, sum.seconds, sum.answers);
        }
        for answer in other.late {
            self.add(answer, false);
        }
        self.sort();
    }

    fn add_cause(&mut self, cause: &str, seconds: f64, answers: u64) {
        match self.causes.iter_mut().find(|sum| sum.cause == cause) {
            Some(sum) => {
                sum.seconds += seconds;
                sum.answers += answers;
            }
            None => self.causes.push(CauseSum {
                cause: cause.to_owned(),
                seconds,
                answers,
            }),
        }
    }

    fn sort(&mut self) {
        self.causes.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(latency: f64, cause: &str) -> ExplainedAnswer {
        ExplainedAnswer {
            probe: "fork".into(),
            cpu: Some(0),
            part: "until exit".into(),
            latency,
            time: 0.0,
            sentence: String::new(),
            causes: vec![(cause.to_owned(), latency / 1e6)],
        }
    }

    #[test]
    fn sums_have_all_answers_and_the_list_the_latest() {
        let mut why = WhyResult::default();
        for latency in 0..300 {
            why.add(answer(f64::from(latency), "lock"), true);
        }
        why.add(answer(9e6, "disk"), true);
        why.add(answer(1e6, "journal"), false);
        assert_eq!((why.answers, why.late.len()), (301, MAX_KEPT_ANSWERS));
        assert!(why.late.is_sorted_by(|a, b| a.latency >= b.latency));
        let names: Vec<&str> = why.causes.iter().map(|sum| &*sum.cause).collect();
        assert_eq!(names, ["disk", "lock"]);
        assert_eq!(why.causes[1].answers, 300);
        let mut twice = why.clone();
        twice.merge(why);
        assert_eq!((twice.answers, twice.causes[1].answers), (602, 600));
        assert_eq!(
            (twice.causes[0].seconds, twice.late.len()),
            (18.0, MAX_KEPT_ANSWERS)
        );
    }
}
