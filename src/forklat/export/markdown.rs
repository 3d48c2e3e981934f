//! A report in Markdown, as GitHub renders it.

use super::format::Format;
use super::report_document::document;
use super::rows::Detail;
use crate::forklat::model::Report;

/// The row of `--export-markdown` in the table of formats.
pub const FORMAT: Format = Format {
    name: "markdown",
    help: "Write the table as Markdown",
    scale_help: Some("Write the tables as Markdown"),
    render: |report, _| Ok(render(report)),
};

/// Returns the whole report in Markdown.
#[must_use]
pub fn render(report: &Report) -> String {
    document(report, Detail::Short).markdown()
}
