//! Why answers were late: the time of each cause as rows of the table, and the latest answers in sentences.

use super::grid::{GridRow, Group, RowRatios, Unit, Value};
use crate::forklat::model::{Subject, WhyResult};
use crate::forklat::why_result::ExplainedAnswer;
use crate::sys::local_time;

/// Number of causes that have a row of their own: those with most time.
const SHOWN_CAUSES: usize = 12;

/// Number of late answers of a subject that are told in sentences. JSON has more.
const SHOWN_ANSWERS: usize = 5;

/// Returns the rows with the time of each cause, or `None` if nobody asked for causes.
pub(super) fn group(subjects: &[Subject]) -> Option<Group> {
    let all: Vec<Option<&WhyResult>> = subjects.iter().map(|s| s.why.as_ref()).collect();
    let threshold = all
        .iter()
        .flatten()
        .map(|why| why.threshold)
        .reduce(f64::max)?;
    let row = |label: String, unit, get: &dyn Fn(&WhyResult) -> f64| GridRow {
        label,
        unit,
        ratios: RowRatios::None,
        values: all
            .iter()
            .map(|why| why.map_or(Value::Missing, |why| Value::Number(get(why))))
            .collect(),
    };
    let mut rows = vec![row("late answers".into(), Unit::Count, &|why| {
        why.answers as f64
    })];
    for cause in causes(&all) {
        rows.push(row(format!("late: {cause}"), Unit::Seconds, &|why| {
            seconds_of(why, &cause)
        }));
    }
    Some(Group {
        title: format!("why (from {})", Unit::Seconds.show(threshold)),
        probe: None,
        cpu: None,
        rows,
    })
}

/// Returns the names of the causes with most time in all subjects together.
fn causes(all: &[Option<&WhyResult>]) -> Vec<String> {
    let mut names: Vec<(String, f64)> = Vec::new();
    for sum in all.iter().flatten().flat_map(|why| &why.causes) {
        match names.iter_mut().find(|(name, _)| *name == sum.cause) {
            Some((_, seconds)) => *seconds += sum.seconds,
            None => names.push((sum.cause.clone(), sum.seconds)),
        }
    }
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    names.truncate(SHOWN_CAUSES);
    names.into_iter().map(|(name, _)| name).collect()
}

fn seconds_of(why: &WhyResult, cause: &str) -> f64 {
    let sum = why.causes.iter().find(|sum| sum.cause == cause);
    sum.map_or(0.0, |sum| sum.seconds)
}

/// Returns the latest answers of each subject with their causes, one line each.
pub(super) fn sentences(subjects: &[Subject]) -> Vec<String> {
    let lines = |subject: &Subject| {
        let late = subject.why.iter().flat_map(|why| &why.late);
        let name = subject.name.clone();
        let lines = late
            .take(SHOWN_ANSWERS)
            .map(|answer| sentence(&name, answer));
        lines.collect::<Vec<_>>()
    };
    subjects.iter().flat_map(lines).collect()
}

fn sentence(subject: &str, answer: &ExplainedAnswer) -> String {
    let cpu = answer
        .cpu
        .map_or_else(String::new, |cpu| format!(", CPU {cpu}"));
    // The part of a run matters where there are several.
    let part = match answer.part.as_str() {
        "until exit" => String::new(),
        part => format!(" {part}"),
    };
    format!(
        "{subject}{part}: {}{cpu}, {} at {}: {}",
        answer.probe,
        Unit::Microseconds.show(answer.latency),
        local_time::time_of_day(answer.time),
        answer.sentence
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str, cause: &str, latency: f64) -> Subject {
        let mut why = WhyResult {
            threshold: 0.01,
            ..WhyResult::default()
        };
        let answer = ExplainedAnswer {
            probe: "fork".into(),
            cpu: Some(1),
            part: "until durable".into(),
            latency,
            time: 0.0,
            sentence: "mmapcp was on the CPU in lseek for 44 ms".into(),
            causes: vec![(cause.into(), latency / 1e6)],
        };
        why.add(answer, true);
        Subject {
            name: name.into(),
            why: Some(why),
            ..Subject::default()
        }
    }

    #[test]
    fn each_cause_is_a_row_and_the_latest_answers_are_sentences() {
        let subjects = [subject("cp", "disk", 2e6), subject("dd", "lock", 48e3)];
        let group = group(&subjects).unwrap();
        assert_eq!(group.title, "why (from 10.0 ms)");
        let rows: Vec<_> = group
            .rows
            .iter()
            .map(|row| (&*row.label, &row.values[..]))
            .collect();
        let n = Value::Number;
        assert_eq!(
            rows,
            [
                ("late answers", &[n(1.0), n(1.0)][..]),
                ("late: disk", &[n(2.0), n(0.0)]),
                ("late: lock", &[n(0.0), n(0.048)]),
            ]
        );
        let said = &sentences(&subjects)[1];
        assert!(
            said.starts_with("dd until durable: fork, CPU 1, 48.0 ms at "),
            "{said}"
        );
        assert!(
            said.ends_with(": mmapcp was on the CPU in lseek for 44 ms"),
            "{said}"
        );
        assert!(super::group(&[Subject::default()]).is_none());
    }
}
