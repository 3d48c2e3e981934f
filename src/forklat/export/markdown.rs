//! A report as a table that GitHub renders.

use super::grid::{Cell, Grid, Ratios};
use super::report_paragraphs::{Paragraph, paragraphs_above_table, paragraphs_below_table};
use super::rows::{Detail, grid};
use super::table::escape_markdown;
use crate::forklat::model::Report;

/// The whole report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = paragraphs(&paragraphs_above_table(report));
    text.push_str(&table(&grid(report, Detail::Short)));
    let below = paragraphs(&paragraphs_below_table(report, Detail::Short));
    if !below.is_empty() {
        text.push('\n');
        text.push_str(below.trim_end());
        text.push('\n');
    }
    text
}

fn paragraphs(paragraphs: &[Paragraph]) -> String {
    let mut text = String::new();
    for paragraph in paragraphs {
        text.push_str(&format!("**{}**\n\n", escape_markdown(&paragraph.title)));
        for line in &paragraph.lines {
            text.push_str(&format!("- {}\n", escape_markdown(line)));
        }
        text.push('\n');
    }
    text
}

/// Returns the table alone, ratios in a column of their own or in the cell of their value.
#[must_use]
pub fn table(grid: &Grid) -> String {
    let own_column = |index: usize| grid.ratios == Ratios::Column && grid.has_ratio(index);
    let header = |index: usize, name: &str| {
        if own_column(index) {
            vec![name.to_owned(), "ratio".into()]
        } else {
            vec![name.to_owned()]
        }
    };
    let cell = |index: usize, Cell { value, ratio }: Cell| match grid.ratios {
        Ratios::Behind if !ratio.is_empty() => vec![format!("{value} ({ratio})")],
        _ if own_column(index) => vec![value, ratio],
        _ => vec![value],
    };
    grid.table(header, cell).markdown()
}
