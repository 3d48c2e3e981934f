//! Resolves the command line into decisions: options are read in their order, where the last of contradicting options
//! counts, and then [`validate`] decides.

pub(super) mod parsed_options;
#[cfg(test)]
mod tests;
mod validate;

use std::ffi::OsString;

use super::cli;
use super::cli::getopt::OptionReader;
use super::cli::option_spec::Question;
use super::cli_answer::CliAnswer;
use super::environment::Environment;
use super::options::CopyOptions;
use super::usage_error::{UsageError, UsageWarning};
use parsed_options::ParsedOptions;

/// The result of reading the command line.
#[derive(Debug)]
pub struct Resolved {
    /// The warnings, which are printed first in any case.
    pub warnings: Vec<UsageWarning>,
    /// The decisions, or the answer that is given instead.
    pub options: Result<CopyOptions, CliAnswer>,
}

/// Reads the arguments after the program's name and resolves them.
#[must_use]
pub fn resolve(words: impl IntoIterator<Item = OsString>, environment: &Environment) -> Resolved {
    let mut parsed = ParsedOptions::new(environment);
    let operands = read_options(&mut parsed, words);
    let warnings = std::mem::take(&mut parsed.warnings);
    Resolved {
        options: operands.and_then(|operands| match parsed.queue_status.take() {
            Some(name) => Err(CliAnswer::QueueStatus(validate::validate_status(
                parsed, name, operands,
            )?)),
            None => Ok(validate::validate(parsed, operands)?),
        }),
        warnings,
    }
}

/// Reads all options into `parsed` and returns the operands.
fn read_options(
    parsed: &mut ParsedOptions,
    words: impl IntoIterator<Item = OsString>,
) -> Result<Vec<OsString>, CliAnswer> {
    let mut reader = OptionReader::new(words, parsed.environment.posixly_correct);
    while let Some(given) = reader.next_option().map_err(UsageError::from)? {
        match given.apply(parsed)? {
            None => {}
            Some(Question::Help) => return Err(CliAnswer::Text(cli::help_text())),
            Some(Question::Version) => return Err(CliAnswer::Text(cli::version_text())),
        }
    }
    Ok(reader.operands())
}
