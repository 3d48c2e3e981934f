//! Where a report goes besides the terminal: files that are tried before anything is measured, and written when it is.

pub mod csv;
pub mod document;
mod export_file;
pub mod format;
pub mod grid;
pub mod hlog;
pub mod json_report;
mod machine_group;
pub mod markdown;
pub mod report_document;
pub mod report_paragraphs;
pub mod rows;
pub mod scale_tables;
pub mod table;
pub mod terminal_report;

use std::path::PathBuf;

use export_file::ExportFile;
use format::Format;
use hlog::HistogramLog;

use super::model::Report;

use crate::forklat::error::ForklatError;

/// Every export format; the options stand in this order.
pub static FORMATS: [Format; 4] = [
    json_report::FORMAT,
    csv::FORMAT,
    markdown::FORMAT,
    hlog::FORMAT,
];

/// The files that were asked for, each with its format. `-` is standard output.
#[derive(Debug, Clone, Default)]
pub struct Exports(pub Vec<(&'static Format, PathBuf)>);

/// The files, open, and as they were; those that were not there are not there yet.
#[derive(Debug)]
pub struct OpenExports {
    targets: Vec<(&'static Format, ExportFile)>,
}

impl Exports {
    /// Returns whether the interval log is among them, which must be kept during the measurement then.
    #[must_use]
    pub fn has_interval_log(&self) -> bool {
        self.0.iter().any(|(f, _)| f.name == hlog::FORMAT.name)
    }

    /// Opens each file and changes none; those that are missing are created, and removed again.
    ///
    /// # Errors
    /// One that cannot be written, or is asked for twice. Those that were created are removed again.
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
    /// Removes what was created, until it is written: a run that fails, or is killed, shall leave nothing.
    fn set_aside(&self) {
        for (_, target) in &self.targets {
            target.set_aside();
        }
    }

    /// Refuses a file that another export has. What is no file holds nothing that a second could overwrite.
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

    /// Whether standard output is taken, so that a table belongs elsewhere.
    #[must_use]
    pub fn has_standard_output(&self) -> bool {
        self.targets.iter().any(|(_, t)| t.is_standard_output())
    }

    /// Writes all of them; one that fails keeps none of the others from being written.
    ///
    /// # Errors
    /// Those that could not be written, a line each. An old file is kept whole where it could be.
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
