//! The lists below the table of a comparison whose runs are known one by one: the ratios with their intervals, the runs
//! that are left out or were disturbed, and the rules of the table.

use std::collections::BTreeMap;

use super::grid::show_ratio;
use super::rows::Detail;
use crate::forklat::model::{Report, RunResult, Subject};
use crate::forklat::run_comparison::{RowComparison, compare_runs, has_runs};

/// Returns the ratios with their intervals: those with a difference, or in full all of them.
pub(super) fn differences(subjects: &[Subject], detail: Detail) -> Vec<String> {
    let rows = compare_runs(subjects);
    let shown = rows
        .iter()
        .filter(|row| detail == Detail::Full || row.is_shown());
    shown.map(difference).collect()
}

fn difference(row: &RowComparison) -> String {
    let probe = row.probe.as_deref().unwrap_or("copy");
    let ratio = row.ratio.map_or_else(|| "-".into(), show_ratio);
    let interval = row.interval.map_or_else(String::new, |(low, high)| {
        format!(" (95 %: {} to {})", show_ratio(low), show_ratio(high))
    });
    format!(
        "{} / {}, {probe} {}: {ratio}{interval}, smaller in {} and larger in {} of {} rounds, p {}{}",
        row.tool,
        row.reference,
        row.figure,
        row.smaller,
        row.larger,
        row.rounds,
        probability(row.p),
        if row.is_shown() { "" } else { " ~" }
    )
}

/// Formats a probability with three decimals, which 0.000 would not have.
fn probability(p: f64) -> String {
    match p < 0.001 {
        true => "< 0.001".into(),
        false => format!("{p:.3}"),
    }
}

/// Returns the runs that are left out or were disturbed, and what engines mmapcp took.
pub(super) fn runs(subjects: &[Subject]) -> Vec<String> {
    let mut lines = Vec::new();
    for subject in subjects {
        for run in &subject.runs {
            let head = format!("{}, round {}", subject.name, run.round);
            if let Some(why) = &run.left_out {
                lines.push(format!("{head}: left out of all figures, since {why}"));
            }
            if !run.disturbed_by.is_empty() {
                let why = run.disturbed_by.join("; ");
                lines.push(format!("{head}: disturbed, {why}"));
            }
        }
        lines.extend(engines(subject));
    }
    lines
}

/// Returns how many runs took which engines, if the tool says so.
fn engines(subject: &Subject) -> Option<String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let names = |run: &RunResult| run.engines.keys().cloned().collect::<Vec<_>>().join("+");
    for run in subject.runs.iter().filter(|run| !run.engines.is_empty()) {
        *counts.entry(names(run)).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(names, count)| format!("{names} in {count} runs"))
        .collect();
    (!counts.is_empty()).then(|| format!("{}: engines {}", subject.name, counts.join(", ")))
}

/// Returns the rules that a reader of the table must know.
pub(super) fn rules(report: &Report) -> Vec<String> {
    if !has_runs(&report.subjects) {
        return Vec::new();
    }
    let mut lines = vec![
        "figures are medians of the runs; ratios are medians of the ratios of each round, and ~ where no difference is shown (5 %, corrected for the number of rows)".to_owned(),
        "latencies are those until the tool exited; \"until durable\" is the time after that, in which forklat calls fsync for the copy".to_owned(),
        "a percentile is given if each run has enough answers for its 95 % interval: 6 for p50, 36 for p90, 368 for p99, 3688 for p99.9".to_owned(),
    ];
    lines.extend(
        report
            .seed
            .map(|seed| format!("the order of the tools is that of --seed {seed}")),
    );
    lines
}
