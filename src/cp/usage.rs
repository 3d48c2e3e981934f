//! Answers to the command line itself: help, version, and mistakes in cp's words.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::report::PROGRAM;
use crate::report::quote::quote;
use crate::sys::words::reason;

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

    /// clap's answer to these words, in cp's words where cp has words for it.
    pub(super) fn from_clap(error: &clap::Error, words: &[OsString]) -> Self {
        let get = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            Some(ContextValue::Strings(all)) => all.join(", "),
            _ => String::new(),
        };
        let (option, value) = (get(ContextKind::InvalidArg), get(ContextKind::InvalidValue));
        // clap gives an empty list where any value would do.
        let valid = error
            .get(ContextKind::ValidValue)
            .filter(|v| matches!(v, ContextValue::Strings(all) if !all.is_empty()));
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Self::Text(error.render().to_string())
            }
            ErrorKind::UnknownArgument => Self::usage(&unknown(&option, words)),
            ErrorKind::InvalidValue if valid.is_none() || lacks_value(words) => {
                Self::usage(&missing(&option, words))
            }
            ErrorKind::InvalidValue => listing("invalid", &option, &value, valid),
            ErrorKind::ValueValidation if valid.is_some() => {
                listing("ambiguous", &option, &value, valid)
            }
            ErrorKind::TooManyValues => Self::usage(&format!(
                "option '{}' doesn't allow an argument",
                name_of(&option)
            )),
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
        match (result, &self) {
            (Ok(()), _) => code,
            (Err(e), Self::Text(_)) => Self::error(&format!("write error: {}", reason(&e))).print(),
            (Err(_), Self::Mistake(_)) => ExitCode::FAILURE,
        }
    }
}

/// The name in what clap calls an option: `--sparse <WHEN>`.
fn name_of(option: &str) -> &str {
    option.split([' ', '=']).next().unwrap_or_default()
}

/// Whether the last word is an option that still wants its argument.
fn lacks_value(words: &[OsString]) -> bool {
    let last = words
        .last()
        .map(|w| w.to_string_lossy())
        .unwrap_or_default();
    last.starts_with("--") && !last.contains('=')
}

/// An option that does not exist, or an abbreviation of several.
fn unknown(option: &str, words: &[OsString]) -> String {
    let Some(name) = option.strip_prefix("--") else {
        return format!("invalid option -- '{}'", option.trim_start_matches('-'));
    };
    let command = super::cli::command();
    let longs = command.get_arguments().filter_map(clap::Arg::get_long);
    let possible: Vec<String> = longs
        .filter(|long| long.starts_with(name))
        .map(|long| format!("'--{long}'"))
        .collect();
    if possible.len() > 1 {
        return format!(
            "option '{option}' is ambiguous; possibilities: {}",
            possible.join(" ")
        );
    }
    // cp shows the word as it was given, value and all.
    let given = words
        .iter()
        .map(|w| w.to_string_lossy())
        .find(|w| name_of(w) == option);
    format!(
        "unrecognized option '{}'",
        given.as_deref().unwrap_or(option)
    )
}

/// An option whose argument is not there, named as it was given.
fn missing(option: &str, words: &[OsString]) -> String {
    match words.last().map(|w| w.to_string_lossy()) {
        Some(last) if !last.starts_with("--") && last.len() > 1 => {
            let letter = last.chars().last().unwrap_or_default();
            format!("option requires an argument -- '{letter}'")
        }
        _ => format!("option '{}' requires an argument", name_of(option)),
    }
}

fn listing(what: &str, option: &str, value: &str, valid: Option<&ContextValue>) -> Answer {
    let (value, name) = (quote(OsStr::new(value)), name_of(option));
    let mut text = format!("{what} argument {value} for '{name}'\nValid arguments are:");
    if let Some(ContextValue::Strings(all)) = valid {
        for one in all {
            text.push_str(&format!("\n  - '{one}'"));
        }
    }
    Answer::usage(&text)
}
