//! The whole report as JSON: all measurements, histograms included.

use serde::Deserialize;

use super::format::Format;
use crate::forklat::error::{ForklatError, damaged};
use crate::forklat::model::{REPORT_VERSION, Report};

/// The row of `--export-json` in the table of formats.
pub const FORMAT: Format = Format {
    name: "json",
    help: "Write everything as JSON: facts about the machine, histograms, timeline",
    scale_help: Some("Write the figures and the facts about the machine as JSON"),
    render: |report, _| render(report).map_err(|e| ForklatError::Refused(e.to_string())),
};

/// Returns the whole report as JSON.
///
/// # Errors
/// The error of serde. No report causes one, since JSON can represent every value in it.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

/// The fields that can be read in every version of the format.
#[derive(Deserialize)]
struct Head {
    v: u32,
    kind: String,
    /// This field distinguishes a report of forklat from JSON of another program.
    #[serde(rename = "forklat")]
    _forklat: String,
}

/// The kinds of reports whose `subjects` this program can read.
const KINDS: [&str; 3] = ["run", "compare", "merge"];

/// Reads a report that [`render`] wrote.
///
/// # Errors
/// The text is not a report, is of another kind or of a newer version, or is damaged. The name of the file is put
/// before the words.
pub fn parse(text: &[u8]) -> Result<Report, ForklatError> {
    let head: Head = serde_json::from_slice(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => damaged("is JSON, but not a report of forklat"),
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
    let spans = report.subjects.iter().flat_map(|s| &s.runs);
    for probe in spans.flat_map(|run| &run.spans).flat_map(|s| &s.probes) {
        probe
            .latency
            .read()
            .map_err(|why| why.context(format!("is damaged: {}", probe.name)))?;
    }
    Ok(report)
}

fn unreadable(error: &serde_json::Error) -> ForklatError {
    damaged(format!("is truncated or damaged: {error}"))
}
