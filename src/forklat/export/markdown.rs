//! A report as a table that GitHub renders.

use super::grid::{Cell, Grid, Group, Ratios};
use super::rows::{Detail, grid};
use super::sentences::{Paragraph, above, below};
use crate::forklat::model::Report;

/// The whole report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = paragraphs(&above(report));
    text.push_str(&table(&grid(report, Detail::Short)));
    let below = paragraphs(&below(report, Detail::Short));
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
        text.push_str(&format!("**{}**\n\n", escape(&paragraph.title)));
        for line in &paragraph.lines {
            text.push_str(&format!("- {}\n", escape(line)));
        }
        text.push('\n');
    }
    text
}

/// The table alone.
#[must_use]
pub fn table(grid: &Grid) -> String {
    let mut names = vec![String::new(), String::new(), String::new()];
    let mut rule = vec!["---"; names.len()];
    for (index, column) in grid.columns.iter().enumerate() {
        names.push(column.name.clone());
        rule.push("---:");
        if grid.ratios == Ratios::Column && grid.has_ratio(index) {
            names.push("ratio".into());
            rule.push("---:");
        }
    }
    let mut text = line(&names);
    text.push_str(&format!("|{}|\n", rule.join("|")));
    for group in &grid.groups {
        text.push_str(&rows(grid, group));
    }
    text
}

fn rows(grid: &Grid, group: &Group) -> String {
    let titles = std::iter::once(group.title.as_str()).chain(std::iter::repeat(""));
    let mut text = String::new();
    for (row, title) in group.rows.iter().zip(titles) {
        let (unit, cells) = grid.cells(row);
        let mut words = vec![title.to_owned(), row.label.clone(), unit.to_owned()];
        for (index, Cell { value, ratio }) in cells.into_iter().enumerate() {
            match grid.ratios {
                Ratios::Behind if !ratio.is_empty() => words.push(format!("{value} ({ratio})")),
                Ratios::Column if grid.has_ratio(index) => words.extend([value, ratio]),
                _ => words.push(value),
            }
        }
        text.push_str(&line(&words));
    }
    text
}

fn line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| escape(word)).collect();
    format!("| {} |\n", words.join(" | "))
}

/// What a name may hold that would be markup or end the cell.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '\\' | '*' | '_' | '`' | '<' | '[' | '~' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_name_cannot_end_its_cell() {
        assert_eq!(escape("a|b_c\n<d>"), "a\\|b\\_c \\<d>");
    }
}
