//! A report in long form as CSV, one figure per line, for data frames. Numbers are not scaled; the unit has a column of
//! its own.

use super::format::Format;
use super::grid::{GridRow, Group, Value};
use super::report_paragraphs::describe_copies;
use super::rows::{Detail, grid};
use super::scale_tables;
use super::table::{Heading, TextTable};
use crate::forklat::model::Report;

/// The row of `--export-csv` in the table of formats.
pub const FORMAT: Format = Format {
    name: "csv",
    help: "Write the figures as CSV, one on each line",
    scale_help: Some("Write the figures as CSV"),
    render: |report, _| Ok(render(report)),
};

const HEAD: [&str; 8] = [
    "subject", "probe", "cpu", "metric", "unit", "value", "ratio", "note",
];

/// Returns the whole table, per CPU and with service times. A figure that is missing is an empty field.
#[must_use]
pub fn render(report: &Report) -> String {
    match &report.scale {
        Some(scale) => scale_tables::all_cells(scale).csv(),
        None => all_figures(report).csv(),
    }
}

fn all_figures(report: &Report) -> TextTable {
    let grid = grid(report, Detail::Full);
    let mut rows = Vec::new();
    for (column, subject) in report.subjects.iter().enumerate() {
        for group in &grid.groups {
            for row in &group.rows {
                let note = match row.values[column] {
                    Value::Identical(..) | Value::Failed(..) => {
                        describe_copies(&subject.copies).join("; ")
                    }
                    Value::Unsupported => "not supported".into(),
                    _ if row.shows_no_difference(column) => "no difference shown".into(),
                    _ => String::new(),
                };
                let ratio = grid.ratio(row, column);
                let fields = fields(&subject.name, group, row, column, ratio, note);
                rows.push(fields.to_vec());
            }
        }
    }
    TextTable {
        header: HEAD.map(Heading::words).to_vec(),
        rows,
    }
}

fn fields(
    subject: &str,
    group: &Group,
    row: &GridRow,
    column: usize,
    ratio: Option<f64>,
    note: String,
) -> [String; 8] {
    let value = match row.values[column] {
        Value::Number(number) => number.to_string(),
        Value::Identical(identical, _) => identical.to_string(),
        Value::Failed(failed, made) => (made - failed).to_string(),
        Value::Missing | Value::Unsupported => String::new(),
    };
    [
        subject.to_owned(),
        group.probe.clone().unwrap_or_default(),
        group.cpu.map_or_else(String::new, |cpu| cpu.to_string()),
        row.label.clone(),
        row.unit.name().to_owned(),
        value,
        ratio.map_or_else(String::new, |ratio| ratio.to_string()),
        note,
    ]
}
