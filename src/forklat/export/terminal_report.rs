//! A report for a terminal: columns that line up.

use super::grid::{Cell, Grid, Ratios};
use super::report_paragraphs::{Paragraph, paragraphs_above_table, paragraphs_below_table};
use super::rows::{Detail, grid};
use crate::forklat::model::Report;

/// The whole report.
#[must_use]
pub fn render(report: &Report, detail: Detail) -> String {
    let mut text = paragraphs(&paragraphs_above_table(report));
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&table(&grid(report, detail)));
    let below = paragraphs_below_table(report, detail);
    if !below.is_empty() {
        text.push('\n');
        text.push_str(&paragraphs(&below));
    }
    text
}

fn paragraphs(paragraphs: &[Paragraph]) -> String {
    let mut text = String::new();
    for paragraph in paragraphs {
        text.push_str(&format!("{}:\n", paragraph.title));
        for line in &paragraph.lines {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

/// Returns the table alone, ratios in a column of their own or in parentheses.
#[must_use]
pub fn table(grid: &Grid) -> String {
    let header = |index: usize, name: &str| match grid.ratios {
        Ratios::Column if grid.has_ratio(index) => vec![name.to_owned(), "ratio".into()],
        Ratios::Behind if grid.has_ratio(index) => vec![name.to_owned(), String::new()],
        _ => vec![name.to_owned()],
    };
    let cell = |index: usize, Cell { value, ratio }: Cell| match grid.ratios {
        Ratios::Behind if !ratio.is_empty() => vec![value, format!("({ratio})")],
        _ if grid.has_ratio(index) => vec![value, ratio],
        _ => vec![value],
    };
    grid.table(header, cell).text()
}
