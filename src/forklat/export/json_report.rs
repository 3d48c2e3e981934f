//! The whole report as JSON: everything that was measured, histograms included.

use serde::Deserialize;

use super::format::Format;
use crate::forklat::error::{ForklatError, damaged};
use crate::forklat::model::{REPORT_VERSION, Report};

/// The row of `--export-json` in the table of formats.
pub const FORMAT: Format = Format {
    name: "json",
    help: "Everything: facts of the machine, histograms, timeline",
    scale_help: Some("Write the figures, and the facts of the machine, as JSON"),
    render: |report, _| render(report).map_err(|e| ForklatError::Refused(e.to_string())),
};

/// Returns the whole report as JSON.
///
/// # Errors
/// serde's: no value of a report is one that JSON lacks.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

/// What of every version can be read.
#[derive(Deserialize)]
struct Head {
    v: u32,
    kind: String,
    /// Tells a report of ours from another program's.
    #[serde(rename = "forklat")]
    _forklat: String,
}

/// The kinds whose `subjects` are what this program knows.
const KINDS: [&str; 3] = ["run", "compare", "merge"];

/// Reads what [`render`] wrote.
///
/// # Errors
/// Not a report, one of another kind, of a newer version, or damaged: in words to which the file's name is put.
pub fn parse(text: &[u8]) -> Result<Report, ForklatError> {
    let head: Head = serde_json::from_slice(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => damaged("is JSON, but no report of forklat"),
        _ => unreadable(&e),
    })?;
    if head.v > REPORT_VERSION {
        return Err(damaged(format!(
            "was written by a newer forklat: its format is {}, this program knows {REPORT_VERSION}",
            head.v
        )));
    }
    if !KINDS.contains(&head.kind.as_str()) {
        return Err(damaged(format!("is a report of forklat {}", head.kind)));
    }
    let report: Report = serde_json::from_slice(text).map_err(|e| unreadable(&e))?;
    for probe in report.subjects.iter().flat_map(|s| &s.probes) {
        for distribution in [&probe.latency, &probe.service] {
            distribution
                .read()
                .map_err(|why| why.context(format!("is damaged: {}", probe.name)))?;
        }
    }
    Ok(report)
}

fn unreadable(error: &serde_json::Error) -> ForklatError {
    damaged(format!("is truncated or damaged: {error}"))
}
