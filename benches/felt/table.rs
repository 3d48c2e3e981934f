//! The table of a page size: for each tool the median and the range of its rounds, and each round's figure.

use std::fmt::Write;

use super::rounds::{RunFigures, Series};

/// One figure of a run, and what the table calls it.
struct Column {
    title: String,
    value: Box<dyn Fn(&RunFigures) -> f64>,
}

impl Column {
    fn new(title: impl Into<String>, value: impl Fn(&RunFigures) -> f64 + 'static) -> Self {
        Self {
            title: title.into(),
            value: Box::new(value),
        }
    }
}

/// The wall time, then each probe's p99, its p99.9 where it has one, and its maximum.
fn columns(series: &Series) -> Vec<Column> {
    let mut all = vec![Column::new("wall, s", |run| run.wall)];
    for (index, probe) in series.probes.iter().enumerate() {
        let name = probe.name;
        all.push(Column::new(format!("{name} p99"), move |run| {
            run.latencies[index].p99
        }));
        if probe.has_p999 {
            all.push(Column::new(format!("{name} p99.9"), move |run| {
                run.latencies[index].p999
            }));
        }
        all.push(Column::new(format!("{name} max"), move |run| {
            run.latencies[index].max
        }));
    }
    all
}

/// Renders Markdown: medians with ranges, then in how many rounds each tool was not above the first, then all rounds.
pub(crate) fn render(series: &Series, figures: &[Vec<RunFigures>]) -> String {
    let columns = columns(series);
    let mut text = String::from("Median (minimum to maximum) of all rounds, latencies in ms:\n\n");
    head(&mut text, &columns);
    for (tool, rounds) in series.tools.iter().zip(figures) {
        let cell = |column: &Column| summary(rounds, &column.value);
        row(&mut text, tool.name, columns.iter().map(cell));
    }
    let _ = writeln!(
        text,
        "\nRounds of {} in which a tool was not above {}:\n",
        figures[0].len(),
        series.tools[0].name
    );
    head(&mut text, &columns);
    for (tool, rounds) in series.tools.iter().zip(figures).skip(1) {
        let cell = |Column { value, .. }: &Column| {
            let pairs = rounds.iter().zip(&figures[0]);
            let count = pairs
                .filter(|(own, first)| value(own) <= value(first))
                .count();
            count.to_string()
        };
        row(&mut text, tool.name, columns.iter().map(cell));
    }
    let _ = writeln!(text, "\nEach round, ms:\n");
    for (tool, rounds) in series.tools.iter().zip(figures) {
        for Column { title, value } in columns.iter().skip(1) {
            if title.ends_with("max") {
                continue;
            }
            let all: Vec<String> = rounds
                .iter()
                .map(|run| format!("{:.2}", value(run)))
                .collect();
            let _ = writeln!(text, "- {}, {title}: {}", tool.name, all.join(" "));
        }
    }
    text
}

fn head(text: &mut String, columns: &[Column]) {
    row(text, "", columns.iter().map(|column| column.title.clone()));
    row(text, "---", columns.iter().map(|_| "---:".to_owned()));
}

fn row(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
}

fn summary(rounds: &[RunFigures], value: impl Fn(&RunFigures) -> f64) -> String {
    let mut all: Vec<f64> = rounds.iter().map(value).collect();
    all.sort_by(f64::total_cmp);
    let median = (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0;
    format!("{median:.2} ({:.2} to {:.2})", all[0], all[all.len() - 1])
}
