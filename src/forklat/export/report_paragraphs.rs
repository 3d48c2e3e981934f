//! The lists around the table: the machine, wrong copies, the worst moments, the cost of the observers, and notes.

use super::document::Paragraph;
use super::grid::Unit;
use super::machine_group;
use super::rows::{Detail, is_comparison};
use super::run_paragraphs::{differences, rules, runs};
use super::verdict::verdict;
use super::why_rows;
use crate::forklat::model::{CopyResult, ObserverCost, ProbeResult, Report, Subject, WorstMoment};
use crate::forklat::run_comparison::has_runs;
use crate::observe::host_info::HostInfo;
use crate::sys::local_time;

/// Number of worst moments shown for each probe. JSON has all that were kept.
const SHOWN: usize = 3;

/// Returns the lists above the table: the verdict, and the machine.
#[must_use]
pub fn paragraphs_above_table(report: &Report) -> Vec<Paragraph> {
    // A merge of interval logs has no facts about the machine.
    let lines = if report.facts == HostInfo::default() {
        Vec::new()
    } else {
        report.facts.summary_lines()
    };
    present([
        paragraph("verdict", verdict(&report.subjects)),
        paragraph("machine", lines),
    ])
}

/// Returns the lists below the table.
#[must_use]
pub fn paragraphs_below_table(report: &Report, detail: Detail) -> Vec<Paragraph> {
    let mut all = vec![
        paragraph("differences", differences(&report.subjects, detail)),
        paragraph("copies", copies(&report.subjects)),
        paragraph("runs", runs(&report.subjects)),
    ];
    all.extend(worst(&report.subjects));
    all.push(paragraph(
        "late answers",
        why_rows::sentences(&report.subjects),
    ));
    if detail == Detail::Full || !is_comparison(&report.subjects) {
        all.push(paragraph(
            "slab caches",
            machine_group::slabs(&report.subjects),
        ));
    }
    if detail == Detail::Full {
        let lines = report.observers.iter().map(observer);
        let lines = lines.chain(effect(report)).collect();
        all.push(paragraph("observers", lines));
    }
    let notes = match has_runs(&report.subjects) {
        true => rules(report),
        false => small_sample_notes(&report.subjects),
    };
    let notes = notes.into_iter().chain(report.notes.clone()).collect();
    all.push(paragraph("notes", notes));
    present(all)
}

/// Returns notes on the percentiles that are only the maximum, since there were too few samples.
fn small_sample_notes(subjects: &[Subject]) -> Vec<String> {
    let names = |least: u64| {
        let mut names: Vec<&str> = Vec::new();
        let compared = subjects.iter().filter(|subject| !subject.aside);
        for probe in compared.flat_map(|subject| &subject.probes) {
            let few = probe.cpu.is_none() && probe.latency.count < least;
            if few && !names.contains(&&*probe.name) {
                names.push(&probe.name);
            }
        }
        (!names.is_empty()).then(|| names.join(", "))
    };
    let mut lines = Vec::new();
    if let Some(names) = names(1000) {
        lines.push(
            "a maximum grows with the number of samples: compare only maxima of similar counts"
                .into(),
        );
        lines.push(format!(
            "p99.9 of fewer than 1000 samples is their maximum: {names}"
        ));
    }
    if let Some(names) = names(100) {
        lines.push(format!(
            "p99 of fewer than 100 samples is their maximum: {names}"
        ));
    }
    lines
}

fn present(paragraphs: impl IntoIterator<Item = Paragraph>) -> Vec<Paragraph> {
    let lines = |paragraph: &Paragraph| !paragraph.lines.is_empty();
    paragraphs.into_iter().filter(lines).collect()
}

fn paragraph(title: &str, lines: Vec<String>) -> Paragraph {
    Paragraph {
        title: title.into(),
        lines,
    }
}

fn copies(subjects: &[Subject]) -> Vec<String> {
    let mut lines = Vec::new();
    for subject in subjects.iter().filter(|s| !s.copies.is_empty()) {
        let said = describe_copies(&subject.copies);
        lines.extend(said.iter().map(|text| format!("{}: {text}", subject.name)));
    }
    lines
}

/// Describes how the copies of one tool compare with the source, and how the tool ended if it did not succeed.
#[must_use]
pub fn describe_copies(copies: &[CopyResult]) -> Vec<String> {
    let mut said = Vec::new();
    for (run, copy) in (1..).zip(copies) {
        match (&copy.wrong, copy.status) {
            (None, 0) => {}
            (Some(wrong), 0) => said.push(format!("WRONG: {wrong} (run {run})")),
            (None, status) => said.push(format!("exit status {status} (run {run})")),
            (Some(wrong), status) => {
                said.push(format!("exit status {status} (run {run}): {wrong}"));
            }
        }
    }
    let identical = copies.iter().filter(|copy| copy.wrong.is_none()).count();
    said.push(format!("identical in {identical} of {}", copies.len()));
    said
}

/// Returns the worst moments of the subjects that are compared with an idle machine. Tools that are compared with each
/// other have a list of their copies instead.
fn worst(subjects: &[Subject]) -> Vec<Paragraph> {
    subjects
        .iter()
        .filter(|subject| !subject.aside && subject.copies.is_empty())
        .skip(1)
        .map(|subject| {
            let lines = subject.probes.iter().filter_map(worst_of).collect();
            paragraph(&format!("worst moments {}", subject.name), lines)
        })
        .collect()
}

fn worst_of(probe: &ProbeResult) -> Option<String> {
    let stalls = stalls(&probe.worst);
    if probe.cpu.is_some() || stalls.is_empty() {
        return None;
    }
    let moment = |moment: &&WorstMoment| {
        format!(
            "{} at {} ({:.3} s in)",
            Unit::Microseconds.show(moment.latency),
            local_time::time_of_day(moment.time),
            moment.offset
        )
    };
    let moments: Vec<String> = stalls.iter().take(SHOWN).map(moment).collect();
    Some(format!("{}: {}", probe.name, moments.join(", ")))
}

/// Returns the worst moments without those that overlap a worse one: a single stall delays every sample that is due
/// while it lasts.
fn stalls(worst: &[WorstMoment]) -> Vec<&WorstMoment> {
    let end = |moment: &WorstMoment| moment.time + moment.latency / 1e6;
    let mut stalls: Vec<&WorstMoment> = Vec::new();
    for moment in worst {
        let same = |other: &&WorstMoment| moment.time <= end(other) && other.time <= end(moment);
        if !stalls.iter().any(same) {
            stalls.push(moment);
        }
    }
    stalls
}

/// Returns the effect of the other observers on the first kind of prober: its latency alone, and in the first column.
fn effect(report: &Report) -> Option<String> {
    let alone = report.alone.as_ref()?;
    let mut probes = report.subjects.first()?.probes.iter();
    let beside = probes.find(|probe| probe.name == alone.probe && probe.cpu.is_none())?;
    let (before, after) = (alone.latency.figures?, beside.latency.figures?);
    let pair = |name: &str, before: f64, after: f64| {
        let show = |value| Unit::Microseconds.show(value);
        let ratio = after / before;
        format!(
            "{name} {} alone, {} beside the others ({ratio:.2})",
            show(before),
            show(after)
        )
    };
    Some(format!(
        "effect on {}: {}, {}",
        alone.probe,
        pair("p50", before.p50, after.p50),
        pair("p99", before.p99, after.p99)
    ))
}

fn observer(observer: &ObserverCost) -> String {
    let share = if observer.seconds > 0.0 {
        format!("{:.2} % of a CPU", 100.0 * observer.cpu / observer.seconds)
    } else {
        "-".into()
    };
    format!(
        "{}: {share}, {} resident",
        observer.name,
        Unit::Bytes.show(observer.max_rss as f64)
    )
}
