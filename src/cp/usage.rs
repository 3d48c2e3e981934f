//! Answers to the command line itself: help, version, and mistakes in cp's words.

use std::ffi::OsStr;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::report::quote::quote;

/// The name that diagnostics begin with.
pub const PROGRAM: &str = "mmapcp";

/// What to print instead of copying.
#[derive(Debug)]
pub enum Answer {
    /// Asked for: standard output, exit 0.
    Text(String),
    /// A mistake: standard error, exit 1, with the hint to --help where cp gives it.
    Mistake(String),
}

impl Answer {
    /// A failure that is nobody's usage.
    #[must_use]
    pub fn error(text: &str) -> Self {
        Self::Mistake(format!("{PROGRAM}: {text}\n"))
    }

    /// A usage error, with cp's second line.
    #[must_use]
    pub fn usage(text: &str) -> Self {
        Self::Mistake(format!(
            "{PROGRAM}: {text}\nTry '{PROGRAM} --help' for more information.\n"
        ))
    }

    /// clap's answer, in cp's words where cp has words for it.
    pub(super) fn from_clap(error: clap::Error) -> Self {
        let get = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            Some(ContextValue::Strings(all)) => all.join(", "),
            _ => String::new(),
        };
        let option = get(ContextKind::InvalidArg);
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Self::Text(error.render().to_string())
            }
            ErrorKind::UnknownArgument => Self::usage(&match option.strip_prefix("--") {
                Some(_) => format!("unrecognized option '{option}'"),
                None => format!("invalid option -- '{}'", option.trim_start_matches('-')),
            }),
            ErrorKind::InvalidValue if get(ContextKind::InvalidValue).is_empty() => {
                Self::usage(&missing(&option))
            }
            ErrorKind::InvalidValue => invalid(
                &option,
                &get(ContextKind::InvalidValue),
                error.get(ContextKind::ValidValue),
            ),
            ErrorKind::TooManyValues => {
                let name = option.split([' ', '=']).next().unwrap_or_default();
                Self::usage(&format!("option '{name}' doesn't allow an argument"))
            }
            _ => {
                let text = error.render().to_string();
                let first = text.lines().next().unwrap_or_default();
                Self::usage(first.trim_start_matches("error: "))
            }
        }
    }

    /// Prints it and gives the exit status that goes with it.
    #[must_use]
    pub fn print(self) -> ExitCode {
        use std::io::Write;
        let (result, code) = match &self {
            Self::Text(text) => (
                std::io::stdout().write_all(text.as_bytes()),
                ExitCode::SUCCESS,
            ),
            Self::Mistake(text) => (
                std::io::stderr().write_all(text.as_bytes()),
                ExitCode::FAILURE,
            ),
        };
        if result.is_ok() {
            code
        } else {
            ExitCode::FAILURE
        }
    }
}

/// An option whose argument is not there. clap names it `--sparse <WHEN>` or `--target-directory <DIRECTORY>`.
fn missing(option: &str) -> String {
    let name = option.split([' ', '=']).next().unwrap_or_default();
    format!("option '{name}' requires an argument")
}

fn invalid(option: &str, value: &str, valid: Option<&ContextValue>) -> Answer {
    let name = option.split([' ', '=']).next().unwrap_or_default();
    let mut text = format!(
        "invalid argument {} for '{name}'\nValid arguments are:",
        quote(OsStr::new(value))
    );
    if let Some(ContextValue::Strings(all)) = valid {
        for one in all {
            text.push_str(&format!("\n  - '{one}'"));
        }
    }
    Answer::usage(&text)
}
