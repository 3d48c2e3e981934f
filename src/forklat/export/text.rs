//! A report for a terminal: columns that line up.

use super::grid::{Cell, Grid, Group, Ratios};
use super::rows::{Detail, grid};
use super::sentences::{Paragraph, above, below};
use crate::forklat::model::Report;

/// Columns before the subjects: group, label and unit, which stand to the left.
const LEFT: usize = 3;

/// The whole report.
#[must_use]
pub fn render(report: &Report, detail: Detail) -> String {
    let mut text = paragraphs(&above(report));
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&table(&grid(report, detail)));
    let below = below(report, detail);
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

/// The table alone.
#[must_use]
pub fn table(grid: &Grid) -> String {
    let mut lines = vec![head(grid)];
    for group in &grid.groups {
        lines.extend(body(grid, group));
    }
    align(&lines)
}

fn head(grid: &Grid) -> Vec<String> {
    let mut line = vec![String::new(); LEFT];
    for (index, column) in grid.columns.iter().enumerate() {
        line.push(column.name.clone());
        if grid.has_ratio(index) {
            line.push(match grid.ratios {
                Ratios::Column => "ratio".into(),
                Ratios::Behind => String::new(),
            });
        }
    }
    line
}

fn body(grid: &Grid, group: &Group) -> Vec<Vec<String>> {
    let titles = std::iter::once(group.title.as_str()).chain(std::iter::repeat(""));
    let row = |(row, title): (_, &str)| {
        let (unit, cells) = grid.cells(row);
        let mut line = vec![title.to_owned(), row.label.clone(), unit.to_owned()];
        for (index, Cell { value, ratio }) in cells.into_iter().enumerate() {
            line.push(value);
            if grid.has_ratio(index) {
                line.push(match grid.ratios {
                    Ratios::Behind if !ratio.is_empty() => format!("({ratio})"),
                    _ => ratio,
                });
            }
        }
        line
    };
    group.rows.iter().zip(titles).map(row).collect()
}

fn align(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cell = |(column, (cell, width)): (usize, (&String, &usize))| match column {
            c if c < LEFT => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        };
        let cells: Vec<String> = line.iter().zip(&widths).enumerate().map(cell).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
