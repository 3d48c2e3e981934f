//! The table of a page size: for each tool the median and the range of its rounds, and each round's figure.

use std::fmt::Write;

use super::rounds::{Percentiles, RunFigures, Tool};

type Column = (&'static str, fn(&RunFigures) -> f64);

const COLUMNS: [Column; 7] = [
    ("wall, s", |run| run.wall),
    ("fork p99", |run| run.fork.p99),
    ("fork p99.9", |run| run.fork.p999),
    ("fork max", |run| run.fork.max),
    ("wake-up p99", |run| run.wakeup.p99),
    ("wake-up p99.9", |run| run.wakeup.p999),
    ("wake-up max", |run| run.wakeup.max),
];

/// Renders Markdown: medians with ranges, then in how many rounds each tool was not above the first, then all rounds.
pub(crate) fn render(tools: &[Tool], figures: &[Vec<RunFigures>]) -> String {
    let mut text = String::from("Median (minimum to maximum) of all rounds, latencies in ms:\n\n");
    head(&mut text);
    for (tool, rounds) in tools.iter().zip(figures) {
        let cell = |(_, value): &Column| summary(rounds, *value);
        row(&mut text, tool.name, COLUMNS.iter().map(cell));
    }
    let _ = writeln!(
        text,
        "\nRounds of {} in which a tool was not above {}:\n",
        figures[0].len(),
        tools[0].name
    );
    head(&mut text);
    for (tool, rounds) in tools.iter().zip(figures).skip(1) {
        let cell = |(_, value): &Column| {
            let pairs = rounds.iter().zip(&figures[0]);
            let count = pairs
                .filter(|(own, first)| value(own) <= value(first))
                .count();
            count.to_string()
        };
        row(&mut text, tool.name, COLUMNS.iter().map(cell));
    }
    let _ = writeln!(text, "\nFork and wake-up p99.9 of each round, ms:\n");
    for (tool, rounds) in tools.iter().zip(figures) {
        let list = |of: fn(&RunFigures) -> Percentiles| {
            let all: Vec<String> = rounds
                .iter()
                .map(|run| format!("{:.2}", of(run).p999))
                .collect();
            all.join(" ")
        };
        let _ = writeln!(
            text,
            "- {}: fork {}; wake-up {}",
            tool.name,
            list(|run| run.fork),
            list(|run| run.wakeup)
        );
    }
    text
}

fn head(text: &mut String) {
    row(text, "", COLUMNS.iter().map(|(name, _)| (*name).to_owned()));
    row(text, "---", COLUMNS.iter().map(|_| "---:".to_owned()));
}

fn row(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
}

fn summary(rounds: &[RunFigures], value: fn(&RunFigures) -> f64) -> String {
    let mut all: Vec<f64> = rounds.iter().map(value).collect();
    all.sort_by(f64::total_cmp);
    let median = (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0;
    format!("{median:.2} ({:.2} to {:.2})", all[0], all[all.len() - 1])
}
