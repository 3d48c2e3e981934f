//! Where a report goes besides the terminal: files that are tried before anything is measured, and written when it is.

pub mod csv;
mod export_file;
pub mod grid;
pub mod hlog;
pub mod json_report;
mod machine_group;
pub mod markdown;
pub mod report_paragraphs;
pub mod rows;
pub mod table;
pub mod terminal_report;

use std::path::PathBuf;
use std::time::SystemTime;

use export_file::ExportFile;
use hlog::HistogramLog;

use super::model::Report;

/// The files that were asked for. `-` is standard output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exports {
    /// `--export-json`
    pub json: Option<PathBuf>,
    /// `--export-csv`
    pub csv: Option<PathBuf>,
    /// `--export-markdown`
    pub markdown: Option<PathBuf>,
    /// `--export-hlog`
    pub hlog: Option<PathBuf>,
}

/// What an export is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Everything, for programs.
    Json,
    /// A line a figure.
    Csv,
    /// Tables.
    Markdown,
    /// HdrHistogram interval log.
    Hlog,
}

/// The files, open, and as they were; those that were not there are not there yet.
#[derive(Debug)]
pub struct OpenExports {
    targets: Vec<(Format, ExportFile)>,
}

impl Exports {
    /// Opens each file and changes none; those that are missing are created, and removed again.
    ///
    /// # Errors
    /// One that cannot be written, or is asked for twice. Those that were created are removed again.
    pub fn open(&self) -> Result<OpenExports, String> {
        let mut opened = OpenExports {
            targets: Vec::new(),
        };
        let wanted = [
            (Format::Json, &self.json),
            (Format::Csv, &self.csv),
            (Format::Markdown, &self.markdown),
            (Format::Hlog, &self.hlog),
        ];
        for (format, path) in wanted {
            let Some(path) = path else { continue };
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
    fn check_not_duplicate(&self, target: ExportFile) -> Result<ExportFile, String> {
        let same = |(_, other): &&(Format, ExportFile)| {
            other.same(&target) && (target.is_standard_output() || !target.is_device())
        };
        match self.targets.iter().find(same) {
            Some((_, other)) => {
                let message = format!("two exports to {} and {}", other.name(), target.name());
                target.set_aside();
                Err(message)
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
    pub fn write(self, render: impl Fn(Format) -> Result<String, String>) -> Result<(), String> {
        let mut failures = Vec::new();
        for (format, target) in self.targets {
            let written = match render(format) {
                Ok(content) => target.write(content.as_bytes()),
                Err(why) => Err(format!("cannot write {}: {why}", target.name())),
            };
            failures.extend(written.err());
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.join("\n"))
        }
    }
}

/// A report in one format. Without a log, each probe is one interval of it.
///
/// # Errors
/// A histogram that is damaged.
pub fn render(
    format: Format,
    report: &Report,
    log: Option<&HistogramLog>,
) -> Result<String, String> {
    match (format, log) {
        (Format::Json, _) => json_report::render(report).map_err(|e| e.to_string()),
        (Format::Csv, _) => Ok(csv::render(report)),
        (Format::Markdown, _) => Ok(markdown::render(report)),
        (Format::Hlog, Some(log)) => Ok(log.text().to_owned()),
        (Format::Hlog, None) => {
            HistogramLog::of(report, SystemTime::now()).map(|log| log.text().to_owned())
        }
    }
}
