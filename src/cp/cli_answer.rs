//! Answers to the command line itself: help, version, usage errors, and the status of queues.

use super::messages::{self, usage};
use super::queue::status::{StatusRequest, status_text};
use super::usage_error::UsageError;
use crate::report::{diagnose, write_stdout};

/// The exit status if everything was copied, or the question was answered.
pub const EXIT_SUCCESS: u8 = 0;

/// The exit status after any error.
pub const EXIT_FAILURE: u8 = 1;

/// The exit status if files were cut, and everything else was copied.
pub const EXIT_CUT: u8 = 3;

/// What is printed instead of copying.
#[derive(Debug, PartialEq, Eq)]
pub enum CliAnswer {
    /// An answer that was asked for: standard output, exit status 0.
    Text(String),
    /// The question who copies and who waits: standard output, exit status 0 if that can be told.
    QueueStatus(StatusRequest),
    /// An error: standard error, exit status 1.
    Mistake(UsageError),
}

impl From<UsageError> for CliAnswer {
    fn from(error: UsageError) -> Self {
        Self::Mistake(error)
    }
}

impl CliAnswer {
    /// Prints the answer and returns its exit status.
    #[must_use]
    pub fn print(self) -> u8 {
        use std::io::Write;
        match self {
            Self::Text(text) => print_text(&text),
            Self::QueueStatus(request) => match status_text(&request) {
                Ok(text) => print_text(&text),
                Err(error) => {
                    diagnose(&error.to_string());
                    EXIT_FAILURE
                }
            },
            Self::Mistake(error) => {
                // Where standard error cannot be written to, the exit status is all that is left to tell.
                let _ = std::io::stderr().write_all(&usage::usage_error(&error));
                EXIT_FAILURE
            }
        }
    }
}

fn print_text(text: &str) -> u8 {
    match write_stdout(text.as_bytes()) {
        Ok(()) => EXIT_SUCCESS,
        Err(e) => {
            diagnose(&messages::write_error(&e));
            EXIT_FAILURE
        }
    }
}
