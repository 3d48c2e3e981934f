//! The matrix in Markdown: a table a host, a row a tool.

use mmapcp::forklat::export::grid::{Grid, GridRow, Value, digits};
use mmapcp::forklat::export::rows::{Detail, grid};
use mmapcp::forklat::model::{CopyResult, Report, Subject};

use super::{HostOutcome, Missing};

/// A column: one or two rows of forklat's table, turned.
struct Column {
    head: &'static str,
    /// Title of the group in forklat's table.
    group: &'static str,
    rows: &'static [&'static str],
    /// Size of the column's unit in the unit of the rows.
    unit: f64,
    /// Whether the ratio to cp is shown. It is where mmapcp promises something; the others would be noise.
    compared: bool,
}

/// The group of what the copies cost.
const COPY: &str = "copy";

const fn copy(
    head: &'static str,
    rows: &'static [&'static str],
    unit: f64,
    compared: bool,
) -> Column {
    Column {
        head,
        group: COPY,
        rows,
        unit,
        compared,
    }
}

/// The longest wait of a run, of which there are too few for a percentile. Microseconds shown in milliseconds.
const fn probe(head: &'static str, group: &'static str, compared: bool) -> Column {
    Column {
        head,
        group,
        rows: &["max"],
        unit: 1e3,
        compared,
    }
}

const MIB: f64 = 1_048_576.0;

const COLUMNS: [Column; 11] = [
    copy("wall s", &["wall"], 1.0, false),
    copy("durable s", &["durable"], 1.0, true),
    copy("system CPU s", &["system CPU"], 1.0, true),
    copy("cache growth MiB", &["cache growth"], MIB, false),
    copy("peak Dirty MiB", &["peak Dirty"], MIB, false),
    probe("fork max ms", "fork", true),
    probe("exec max ms", "exec", false),
    probe("touch max ms", "touch", false),
    probe("write max ms", "write", true),
    probe("fsync max ms", "fsync", true),
    probe("read max ms", "read", false),
];

/// All hosts, under the facts of the machine.
pub(crate) fn document(outcomes: &[HostOutcome]) -> String {
    let mut text = String::from("# What a bystander feels\n\n");
    if let Some(report) = outcomes.iter().find_map(|o| o.report.as_ref()) {
        text.push_str(&format!("- mmapcp {}, {}\n", report.forklat, report.date));
        for line in report.facts.summary_lines() {
            text.push_str(&format!("- {}\n", line.replace('_', "\\_")));
        }
        text.push('\n');
    }
    text.push_str("In parentheses: ratio to cp, or ~ where no difference is shown. Medians of the runs; latencies in ms, until the tool exited.\n");
    for outcome in outcomes {
        text.push('\n');
        text.push_str(&section(outcome));
    }
    text
}

/// One host.
pub(crate) fn section(outcome: &HostOutcome) -> String {
    let mut text = format!("## {}\n\n", outcome.host.title());
    match &outcome.missing {
        Some(Missing::NeedsRoot) => text.push_str("Skipped: not root, and forklat refused.\n"),
        Some(Missing::Failed(status)) => {
            text.push_str(&format!("Not measured: forklat ended with {status}.\n"));
        }
        None => text.extend(outcome.report.iter().map(measured)),
    }
    if !outcome.said.is_empty() {
        text.push_str(&format!("\n```text\n{}\n```\n", outcome.said.join("\n")));
    }
    text.push_str(&format!("\n```sh\n{}\n```\n", command(&outcome.command)));
    text
}

fn measured(report: &Report) -> String {
    let grid = grid(report, Detail::Short);
    let heads: Vec<&str> = COLUMNS.iter().map(|column| column.head).collect();
    let mut text = format!("| | {} |\n", heads.join(" | "));
    text.push_str(&format!("|---|{}\n", "---:|".repeat(COLUMNS.len())));
    for (index, subject) in report.subjects.iter().enumerate() {
        let cell = |column| match has_figures(subject) {
            true => cell(&grid, column, index),
            false => "-".into(),
        };
        let cells: Vec<String> = COLUMNS.iter().map(cell).collect();
        text.push_str(&format!("| {} | {} |\n", subject.name, cells.join(" | ")));
    }
    let lines = below(report);
    if !lines.is_empty() {
        text.push('\n');
    }
    for line in lines {
        text.push_str(&format!("- {line}\n"));
    }
    text
}

/// What was felt while a tool failed says nothing of copying.
fn has_figures(subject: &Subject) -> bool {
    subject.aside || subject.copies.iter().all(CopyResult::is_correct)
}

fn cell(grid: &Grid, column: &Column, index: usize) -> String {
    let found: Vec<&GridRow> = grid
        .groups
        .iter()
        .filter(|group| group.title == column.group)
        .flat_map(|group| &group.rows)
        .filter(|row| column.rows.contains(&row.label.as_str()))
        .collect();
    let values: Vec<String> = found
        .iter()
        .filter_map(|row| match row.values[index] {
            Value::Number(number) => Some(digits(number / column.unit)),
            _ => None,
        })
        .collect();
    if values.is_empty() {
        return "-".into();
    }
    let ratios = found
        .iter()
        .map(|row| grid.cells(row).1[index].ratio.clone());
    let ratios: Vec<String> = ratios.filter(|ratio| !ratio.is_empty()).collect();
    if column.compared && !ratios.is_empty() {
        format!("{} ({})", values.join(" / "), ratios.join(" / "))
    } else {
        values.join(" / ")
    }
}

/// What a reader must know to read the table.
fn below(report: &Report) -> Vec<String> {
    let tools = || report.subjects.iter().filter(|subject| !subject.aside);
    let mut lines: Vec<String> = tools().filter_map(failure).collect();
    let runs = tools().map(|subject| subject.copies.len()).max();
    let good = tools().filter(|subject| has_figures(subject)).count();
    lines.push(format!(
        "runs of each tool: {}; every copy byte for byte its source: {good} of {} tools",
        runs.unwrap_or(0),
        tools().count()
    ));
    let probes = COLUMNS.iter().filter(|column| column.group != COPY);
    let fewest: Vec<String> = probes
        .map(|column| format!("{} {}", column.group, fewest(report, column.group)))
        .collect();
    lines.push(format!(
        "answers while a tool copied, where there were fewest: {}",
        fewest.join(", ")
    ));
    lines.extend(report.notes.iter().cloned());
    lines
}

/// What became of a tool that has no figures; what it said stands below.
fn failure(subject: &Subject) -> Option<String> {
    let bad = subject.copies.iter().find(|copy| !copy.is_correct())?;
    let why = match (bad.status, &bad.wrong) {
        (0, Some(wrong)) => format!("WRONG: {wrong}"),
        (status, _) => format!("failed, exit status {status}"),
    };
    Some(format!("{}: {why}", subject.name))
}

/// The least number of answers that one kind of prober got while a tool copied.
fn fewest(report: &Report, probe: &str) -> u64 {
    let tools = report
        .subjects
        .iter()
        .filter(|s| !s.aside && has_figures(s));
    let answers = |subject: &Subject| {
        let mut probes = subject.probes.iter();
        let found = probes.find(|p| p.name == probe && p.cpu.is_none());
        found.map_or(0, |probe| probe.latency.count)
    };
    tools.map(answers).min().unwrap_or(0)
}

/// To be pasted, a tool a line.
fn command(words: &[String]) -> String {
    let mut text = String::new();
    for word in words {
        if word == "--tool" || word == "--export-json" {
            text.push_str("\\\n  ");
        }
        text.push_str(&shell_words::quote(word));
        text.push(' ');
    }
    text.trim_end().to_owned()
}
