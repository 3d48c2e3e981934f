//! The findings of a comparison in plain sentences: what others felt under each tool, where no difference is shown, and
//! what forklat did itself.

use super::grid::Unit;
use crate::forklat::model::Subject;
use crate::forklat::phases::RunPart;
use crate::forklat::run_comparison::{
    RowComparison, RunFigure, compare_runs, has_runs, probe_figures, probe_names,
};
use crate::forklat::statistics::{ERROR_RATE, median};

/// The label of the longest wait in a run.
const LONGEST: &str = "max";

/// Returns the sentences of the verdict. There are none for a report without runs.
pub(super) fn verdict(subjects: &[Subject]) -> Vec<String> {
    if !has_runs(subjects) {
        return Vec::new();
    }
    let rows = compare_runs(subjects);
    let mut sentences = Vec::new();
    for tool in subjects.iter().filter(|subject| !subject.aside) {
        let of_tool = rows.iter().filter(|row| row.tool == tool.name);
        let latencies: Vec<&RowComparison> = of_tool.filter(|row| row.probe.is_some()).collect();
        if latencies.is_empty() {
            continue;
        }
        match &tool.repeats {
            Some(name) => sentences.push(repeat_sentence(name, &latencies)),
            None => sentences.extend(tool_sentences(subjects, &latencies)),
        }
    }
    sentences.extend(subjects.iter().filter_map(tail_sentence));
    sentences
}

/// Returns a sentence for each probe for which a difference is shown, and one for all others.
fn tool_sentences(subjects: &[Subject], rows: &[&RowComparison]) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut alike: Vec<&str> = Vec::new();
    for rows in rows.chunk_by(|a, b| a.probe == b.probe) {
        let longest_first = rows.iter().rev();
        match longest_first.clone().find(|row| row.is_shown()) {
            Some(row) => sentences.extend(difference(subjects, row)),
            None => alike.extend(rows[0].probe.as_deref()),
        }
    }
    if !alike.is_empty() {
        let row = rows[0];
        let short = rows.iter().all(|row| row.smallest_p > ERROR_RATE);
        let why = if short {
            too_few(row.rounds)
        } else {
            String::new()
        };
        sentences.push(format!(
            "{} and {}: no difference shown for {}{why}.",
            row.reference,
            row.tool,
            alike.join(", ")
        ));
    }
    sentences
}

fn too_few(rounds: usize) -> String {
    format!(" ({rounds} rounds are too few to show any)")
}

/// Describes a difference by the waits themselves: the longest of all rounds, or the median of a percentile.
fn difference(subjects: &[Subject], row: &RowComparison) -> Option<String> {
    let probe = row.probe.as_deref()?;
    let (word, count) = if row.smaller >= row.larger {
        ("shorter", row.smaller)
    } else {
        ("longer", row.larger)
    };
    let rounds = format!("{word} in {count} of {} rounds", row.rounds);
    let [reference, tool] = [&row.reference, &row.tool].map(|name| {
        let subject = subjects.iter().find(|subject| subject.name == *name)?;
        let figures = probe_figures(subjects, probe);
        let figure = figures
            .into_iter()
            .find(|found| found.label() == row.figure)?;
        let unit = match figure {
            RunFigure::Throughput(_) => Unit::BytesPerSecond,
            _ => Unit::Microseconds,
        };
        Some(unit.show(wait(subject, &figure)?))
    });
    let (reference, tool) = (reference?, tool?);
    let (name, other) = (&row.reference, &row.tool);
    if row.figure == RunFigure::Throughput(probe).label() {
        let word = if word == "shorter" {
            "slower"
        } else {
            "faster"
        };
        return Some(format!(
            "Under {name}, the competing writer wrote at {reference} while in write(2); under {other} at {tool} ({word} in {count} of {} rounds).",
            row.rounds
        ));
    }
    Some(if row.figure == LONGEST {
        format!(
            "Under {name}, others waited up to {reference} for {probe}; under {other} up to {tool} ({rounds})."
        )
    } else {
        format!(
            "Under {name}, {} of {probe} took {reference}; under {other} {tool} ({rounds}).",
            row.figure
        )
    })
}

/// Returns the longest wait of all runs of a subject, or the median of a percentile over them.
fn wait(subject: &Subject, figure: &RunFigure) -> Option<f64> {
    match figure {
        RunFigure::Longest(..) => {
            let longest = figure.values(subject).into_iter().map(|(_, value)| value);
            longest.reduce(f64::max)
        }
        _ => figure.median(subject),
    }
}

/// Returns the sentence of the tool that ran twice in each round.
fn repeat_sentence(name: &str, rows: &[&RowComparison]) -> String {
    let shown = rows.iter().filter(|row| row.is_shown());
    let false_ones: Vec<String> = shown
        .filter_map(|row| Some(format!("{} {}", row.probe.as_deref()?, row.figure)))
        .collect();
    let rate = 100.0 * ERROR_RATE;
    if false_ones.is_empty() {
        let rows = rows.len();
        format!(
            "{name} and {name} again: no difference shown in {rows} rows, as it should be (a false one is shown in at most {rate} % of comparisons)."
        )
    } else {
        format!(
            "{name} and {name} again: a FALSE difference is shown for {} (stated for at most {rate} % of comparisons): do not rely on these rows.",
            false_ones.join(", ")
        )
    }
}

/// Describes what happened between the exit of a tool and the moment at which its data were durable, if it left any.
fn tail_sentence(subject: &Subject) -> Option<String> {
    let left: Vec<f64> = subject
        .runs
        .iter()
        .filter_map(|run| run.dirty_at_exit)
        .map(|bytes| bytes as f64)
        .collect();
    let left = median(left).filter(|bytes| *bytes > 0.0)?;
    let tails = subject.runs.iter().flat_map(|run| &run.spans);
    let tails = tails.filter(|span| span.part == RunPart::UntilDurable.name());
    let seconds = median(tails.map(|span| span.seconds).collect())?;
    let longest = |probe| RunFigure::Longest(probe, RunPart::UntilDurable).values(subject);
    let names = probe_names(std::slice::from_ref(subject));
    let waits = names.into_iter().flat_map(|probe| {
        let waits = longest(probe).into_iter();
        waits.map(move |(_, wait)| (wait, probe))
    });
    let felt = waits
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(wait, probe)| {
            format!(
                ", while others waited up to {} for {probe}",
                Unit::Microseconds.show(wait)
            )
        });
    Some(format!(
        "{} exited with {} unwritten; forklat's own fsync of the copy then took {}{} (not charged to the tool).",
        subject.name,
        Unit::Bytes.show(left),
        Unit::Seconds.show(seconds),
        felt.unwrap_or_default()
    ))
}
