//! The files that a report is exported to, besides the terminal. They are opened before the measurement and written
//! after it.

pub mod chart;
pub mod csv;
pub mod document;
mod export_file;
pub mod format;
pub mod grid;
pub mod hlog;
pub mod html;
pub mod json_report;
mod machine_group;
pub mod markdown;
mod metric_family;
pub mod openmetrics;
pub mod report_document;
pub mod report_paragraphs;
pub mod rows;
mod run_paragraphs;
mod run_rows;
pub mod scale_tables;
pub mod svg;
pub mod table;
pub mod terminal_report;
mod verdict;
mod why_rows;

use std::path::PathBuf;

use export_file::ExportFile;
use format::Format;
use hlog::HistogramLog;

use super::model::Report;

use crate::forklat::error::ForklatError;

/// All export formats. The options of the command line have this order.
pub static FORMATS: [Format; 7] = [
    json_report::FORMAT,
    csv::FORMAT,
    markdown::FORMAT,
    hlog::FORMAT,
    svg::FORMAT,
    html::FORMAT,
    openmetrics::FORMAT,
];

/// The export files that were requested, each with its format. `-` is standard output.
#[derive(Debug, Clone, Default)]
pub struct Exports(pub Vec<(&'static Format, PathBuf)>);

/// The open export files, with their content unchanged. Those that did not exist are absent until they are written.
#[derive(Debug)]
pub struct OpenExports {
    targets: Vec<(&'static Format, ExportFile)>,
}

impl Exports {
    /// Returns whether the interval log is among the exports. It must then be kept during the measurement.
    #[must_use]
    pub fn has_interval_log(&self) -> bool {
        self.0.iter().any(|(f, _)| f.name == hlog::FORMAT.name)
    }

    /// Opens each file without changing it. Missing files are created, and removed again.
    ///
    /// # Errors
    /// A file that cannot be written or that is requested twice. The files that were created are removed again.
    pub fn open(&self) -> Result<OpenExports, ForklatError> {
        let mut opened = OpenExports {
            targets: Vec::new(),
        };
        for (format, path) in &self.0 {
            let target =
                ExportFile::open(path).and_then(|target| opened.check_not_duplicate(target));
            match target {
                Ok(target) => opened.targets.push((format, target)),
                Err(message) => {
                    opened.set_aside();
                    return Err(message);
                }
            }
        }
        opened.set_aside();
        Ok(opened)
    }
}

impl OpenExports {
    /// Removes the files that were created until they are written: a run that fails or is killed shall leave nothing.
    fn set_aside(&self) {
        for (_, target) in &self.targets {
            target.set_aside();
        }
    }

    /// Refuses a file that another export uses. A device is accepted, since it holds no data that a second export could
    /// overwrite.
    fn check_not_duplicate(&self, target: ExportFile) -> Result<ExportFile, ForklatError> {
        let same = |(_, other): &&(&'static Format, ExportFile)| {
            other.same(&target) && (target.is_standard_output() || !target.is_device())
        };
        match self.targets.iter().find(same) {
            Some((_, other)) => {
                let message = format!("two exports to {} and {}", other.name(), target.name());
                target.set_aside();
                Err(message.into())
            }
            _ => Ok(target),
        }
    }

    /// Returns whether an export goes to standard output, so that the table must go elsewhere.
    #[must_use]
    pub fn has_standard_output(&self) -> bool {
        self.targets.iter().any(|(_, t)| t.is_standard_output())
    }

    /// Writes all of the exports. If one fails, the others are still written.
    ///
    /// # Errors
    /// The exports that could not be written, one line each. An old file is kept whole if that was possible.
    pub fn write(self, report: &Report, log: Option<&HistogramLog>) -> Result<(), ForklatError> {
        let log = log.map(HistogramLog::text);
        let mut failures = Vec::new();
        for (format, target) in self.targets {
            let written = match (format.render)(report, log) {
                Ok(content) => target.write(content.as_bytes()),
                Err(why) => Err(why.context(format!("cannot write {}", target.name()))),
            };
            failures.extend(written.err());
        }
        ForklatError::check_none(failures, "\n")
    }
}
