//! The sentences of usage errors, in the form of mmapcp and the other programs of GNU: `forklat: unrecognized option
//! '--x'`, what was probably meant, and where the help is.

use std::error::Error as _;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::report::quote::{quote, quote_word};

/// Returns the error of clap as lines without the name of the program: the problem, and on lines of their own what was
/// probably meant or which words are possible.
#[must_use]
pub fn sentence(error: &Error) -> String {
    let arg = || argument(error);
    match error.kind() {
        ErrorKind::UnknownArgument => unknown_argument(error),
        ErrorKind::InvalidSubcommand => {
            let given = first(error, ContextKind::InvalidSubcommand);
            let meant = first(error, ContextKind::SuggestedSubcommand);
            format!(
                "unrecognized subcommand {}{}",
                quote(&given),
                suggestion(&given, &meant)
            )
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "missing subcommand: run, compare, scale, watch or merge".to_owned()
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals => invalid_value(error),
        ErrorKind::ValueValidation => {
            let why = error
                .source()
                .map_or_else(String::new, |why| format!(": {why}"));
            format!("{}{why}", invalid_argument(error))
        }
        ErrorKind::TooManyValues => format!("option '{}' doesn't allow an argument", arg()),
        ErrorKind::ArgumentConflict
            if without_placeholder(&first(error, ContextKind::PriorArg)) == arg() =>
        {
            format!("option '{}' is given twice", arg())
        }
        ErrorKind::ArgumentConflict => {
            let other = without_placeholder(&first(error, ContextKind::PriorArg));
            format!("option '{}' cannot be used with {}", arg(), named(&other))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = first(error, ContextKind::InvalidArg);
            if missing.starts_with("--") {
                return format!("option '{}' is missing", without_placeholder(&missing));
            }
            let name = missing.trim_matches(['<', '>', '.', '[', ']']);
            format!("missing {} operand", name.to_lowercase())
        }
        _ => {
            let whole = error.to_string();
            let line = whole.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
}

fn unknown_argument(error: &Error) -> String {
    let given = first(error, ContextKind::InvalidArg);
    if given.starts_with("--") {
        let meant = without_placeholder(&first(error, ContextKind::SuggestedArg));
        format!(
            "unrecognized option '{given}'{}",
            suggestion(&given, &meant)
        )
    } else if let Some(letter) = given.strip_prefix('-').filter(|rest| !rest.is_empty()) {
        format!("invalid option -- '{letter}'")
    } else {
        format!("extra operand {}", quote(&given))
    }
}

/// Names the words that are possible, or says that there must be one.
fn invalid_value(error: &Error) -> String {
    let mut lines = if first(error, ContextKind::InvalidValue).is_empty() {
        format!("option '{}' requires an argument", argument(error))
    } else {
        invalid_argument(error)
    };
    let words = strings(error, ContextKind::ValidValue);
    if !words.is_empty() {
        lines.push_str("\nValid arguments are:");
    }
    for word in words {
        lines.push_str(&format!("\n  - {}", quote_word(word)));
    }
    lines
}

fn invalid_argument(error: &Error) -> String {
    let value = first(error, ContextKind::InvalidValue);
    format!(
        "invalid argument {} for {}",
        quote_word(value),
        quote_word(argument(error))
    )
}

/// Returns the option or the operand that the error is about.
fn argument(error: &Error) -> String {
    without_placeholder(&first(error, ContextKind::InvalidArg))
}

/// Returns `--attach` for `--attach <PID>`.
fn without_placeholder(shown: &str) -> String {
    shown
        .split([' ', '='])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Names an option, or the operands for which clap writes `[COMMAND]...`.
fn named(shown: &str) -> String {
    if shown.starts_with('-') {
        format!("'{shown}'")
    } else {
        shown.trim_matches(['<', '>', '.', '[', ']']).to_owned()
    }
}

/// Jaro-Winkler similarity from which on a name is suggested, as in mmapcp. That of clap, 0.7, takes `measure` for
/// `compare`.
const MIN_SIMILARITY: f64 = 0.9;

/// Returns the line that suggests a name for the one that was given, if they are similar.
fn suggestion(given: &str, meant: &str) -> String {
    if meant.is_empty() || strsim::jaro_winkler(given, meant) < MIN_SIMILARITY {
        return String::new();
    }
    format!("\n{}: did you mean '{meant}'?", super::super::PROGRAM)
}

/// Returns the first text of a kind that the error carries; it is empty if there is none.
fn first(error: &Error, kind: ContextKind) -> String {
    strings(error, kind).into_iter().next().unwrap_or_default()
}

fn strings(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}
