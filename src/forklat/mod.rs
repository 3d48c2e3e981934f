//! What the machine feels while something runs.

pub mod host;
pub mod model;

use std::process::ExitCode;

/// Runs `forklat` with the words of the command line, program name first.
#[must_use]
pub fn main(_words: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    ExitCode::FAILURE
}
