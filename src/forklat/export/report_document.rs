//! A report as text for people: the machine, the table of figures, and the lists around it; or the tables of `scale`.

use super::document::{Document, Part};
use super::report_paragraphs::{paragraphs_above_table, paragraphs_below_table};
use super::rows::{Detail, grid};
use super::scale_tables;
use crate::forklat::model::Report;

/// Returns the document of a report. A report of `scale` is the same for both values of `detail`.
#[must_use]
pub fn document(report: &Report, detail: Detail) -> Document {
    if let Some(scale) = &report.scale {
        return scale_tables::document(scale, &report.notes);
    }
    Document(vec![
        Part::Lists(paragraphs_above_table(report)),
        Part::Table {
            title: None,
            table: grid(report, detail).table(),
            lines: Vec::new(),
        },
        Part::Lists(paragraphs_below_table(report, detail)),
    ])
}
