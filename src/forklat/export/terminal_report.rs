//! A report for a terminal, as text with aligned columns.

use super::report_document::document;
use super::rows::Detail;
use crate::forklat::model::Report;

/// Returns the whole report as text.
#[must_use]
pub fn render(report: &Report, detail: Detail) -> String {
    document(report, detail).text()
}
