//! Answers to the command line itself: help, version, and usage errors in cp's words.

use crate::report::program_name;
use crate::sys::strerror::strerror;

/// The exit status if everything was copied, or the question was answered.
pub const EXIT_SUCCESS: u8 = 0;

/// The exit status after any error.
pub const EXIT_FAILURE: u8 = 1;

/// The text that is printed instead of copying.
#[derive(Debug, PartialEq, Eq)]
pub enum CliAnswer {
    /// An answer that was asked for: standard output, exit status 0.
    Text(String),
    /// An error: standard error, exit status 1, with the hint to --help where cp gives it. The text is bytes, since
    /// arguments may contain any.
    Mistake(Vec<u8>),
}

/// Returns the second line of cp's usage errors.
#[must_use]
pub fn hint() -> String {
    format!("Try '{} --help' for more information.", program_name())
}

impl CliAnswer {
    /// Makes an error that is not a usage error.
    #[must_use]
    pub fn error(text: &str) -> Self {
        Self::Mistake(format!("{}: {text}\n", program_name()).into_bytes())
    }

    /// Makes a usage error, with cp's second line.
    #[must_use]
    pub fn usage_error(text: &str) -> Self {
        Self::usage_of_bytes(text.as_bytes())
    }

    /// Makes a usage error from bytes, so that arguments are shown as they were given.
    #[must_use]
    pub fn usage_of_bytes(text: &[u8]) -> Self {
        let hint = hint();
        let (before, behind) = (program_name().as_bytes(), hint.as_bytes());
        Self::Mistake([before, b": ", text, b"\n", behind, b"\n"].concat())
    }

    /// Prints the answer and returns its exit status.
    #[must_use]
    pub fn print(self) -> u8 {
        use std::io::Write;
        let (result, code) = match &self {
            Self::Text(text) => (crate::report::write_stdout(text.as_bytes()), EXIT_SUCCESS),
            Self::Mistake(text) => (std::io::stderr().write_all(text), EXIT_FAILURE),
        };
        match (result, &self) {
            (Ok(()), _) => code,
            (Err(e), Self::Text(_)) => {
                Self::error(&format!("write error: {}", strerror(&e))).print()
            }
            (Err(_), Self::Mistake(_)) => EXIT_FAILURE,
        }
    }
}
