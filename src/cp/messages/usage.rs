//! The sentences of usage errors. They are bytes, since arguments may contain any.

use std::os::unix::ffi::OsStrExt;

use crate::cp::usage_error::{GetoptError, KeywordError, UsageError, UsageWarning, ValueKind};
use crate::report::program_name;
use crate::report::quote::{quote, quote_word};

/// Returns the second line of cp's usage errors.
#[must_use]
pub(in crate::cp) fn hint() -> String {
    format!("Try '{} --help' for more information.", program_name())
}

/// Returns all lines of a usage error.
#[must_use]
pub(in crate::cp) fn usage_error(error: &UsageError) -> Vec<u8> {
    let mut lines = [program_name().as_bytes(), b": ", &sentence(error), b"\n"].concat();
    if error.has_hint() {
        lines.extend(format!("{}\n", hint()).into_bytes());
    }
    lines
}

fn sentence(error: &UsageError) -> Vec<u8> {
    let text = match error {
        UsageError::Getopt(error) => return getopt_sentence(error),
        UsageError::Keyword(error) => keyword_sentence(error),
        UsageError::Value {
            option,
            value,
            takes,
        } => {
            let (value, option) = (quote_word(value), quote_word(format!("--{option}")));
            let takes = describe_values(takes);
            format!("invalid argument {value} for {option}: it takes {takes}")
        }
        UsageError::Exclusive { option, with } => {
            format!("options {option} and {with} are mutually exclusive")
        }
        UsageError::EngineWith { engine, option } => {
            format!("cannot combine --engine={engine} and {option}")
        }
        UsageError::MissingDest(last) => {
            format!("missing destination file operand after {}", quote(last))
        }
        UsageError::ExtraOperand(extra) => format!("extra operand {}", quote(extra)),
        UsageError::SeveralTargetDirectories => "multiple target directories specified".into(),
        UsageError::TargetDirectoryAndNone => {
            "cannot combine --target-directory (-t) and --no-target-directory (-T)".into()
        }
        UsageError::HardAndSymbolicLinks => "cannot make both hard and symbolic links".into(),
        UsageError::BackupOfNothing => {
            "--backup is mutually exclusive with -n or --update=none-fail".into()
        }
        UsageError::ReflinkWithSparse => "--reflink can be used only with --sparse=auto".into(),
        UsageError::GiveUpWithoutLimit => {
            "--give-up-after can be used only with --max-fork-latency, --max-wakeup-latency, --max-write-latency or --max-pressure".into()
        }
        UsageError::PriorityWithoutQueue => {
            "--queue-priority can be used only with --queue".into()
        }
        UsageError::ContextSetAndPreserved => "cannot set target context and preserve it".into(),
        UsageError::ContextWithoutSelinux => {
            "cannot preserve security context without an SELinux-enabled kernel".into()
        }
        UsageError::MissingOperand => "missing file operand".into(),
    };
    text.into_bytes()
}

fn getopt_sentence(error: &GetoptError) -> Vec<u8> {
    match error {
        GetoptError::UnknownLetter(letter) => {
            [b"invalid option -- '", &[*letter][..], b"'"].concat()
        }
        GetoptError::LetterWithoutArgument(letter) => {
            [b"option requires an argument -- '", &[*letter][..], b"'"].concat()
        }
        GetoptError::UnwantedArgument(long) => {
            format!("option '--{long}' doesn't allow an argument").into_bytes()
        }
        GetoptError::MissingArgument(long) => {
            format!("option '--{long}' requires an argument").into_bytes()
        }
        GetoptError::AmbiguousOption { given, possible } => {
            let possible = possible.iter().map(|long| format!(" '--{long}'"));
            let possible: String = possible.collect();
            let end = format!("' is ambiguous; possibilities:{possible}");
            [b"option '--", given.as_bytes(), end.as_bytes()].concat()
        }
        GetoptError::UnknownOption { given, similar } => {
            let program = program_name();
            let question = similar.map(|long| format!("\n{program}: did you mean '--{long}'?"));
            let end = format!("'{}", question.unwrap_or_default());
            [b"unrecognized option '--", given.as_bytes(), end.as_bytes()].concat()
        }
    }
}

/// Returns the sentence of a warning about the command line.
#[must_use]
pub(in crate::cp) fn usage_warning(warning: UsageWarning) -> &'static str {
    match warning {
        UsageWarning::ContextWithoutPolicy => {
            "warning: ignoring --context; this build cannot look up the default type of a file"
        }
        UsageWarning::ContextWithoutSelinux => {
            "warning: ignoring --context; it requires an SELinux-enabled kernel"
        }
    }
}

fn keyword_sentence(error: &KeywordError) -> String {
    let fault = if error.is_ambiguous {
        "ambiguous"
    } else {
        "invalid"
    };
    let (given, context) = (quote_word(&error.given), quote_word(&error.context));
    let lines = error.valid.iter().map(|names| {
        let names: Vec<_> = names.iter().map(quote_word).collect();
        format!("\n  - {}", names.join(", "))
    });
    let lines: String = lines.collect();
    format!("{fault} argument {given} for {context}\nValid arguments are:{lines}")
}

fn describe_values(takes: &ValueKind) -> String {
    let text = match takes {
        ValueKind::JobCount => "a number of at least 1",
        ValueKind::Pattern => "a pattern of file names, such as 'core.*'",
        ValueKind::Rate { meant: None } => "bytes per second from 1K to 100G, such as 50M",
        ValueKind::Rate { meant: Some(unit) } => {
            return format!("bytes per second from 1K to 100G, such as 50M; did you mean {unit}?");
        }
        ValueKind::InFlight => "a size from 64K to 64M, as 4M",
        ValueKind::KeepFree => {
            "a size such as 10G, or a share above 0% and up to 100%, such as 15%"
        }
        ValueKind::MaxSize => "a size of at least 1 byte, such as 100G",
        ValueKind::Latency => "a time with a unit, from 1us to 1h, such as 5ms",
        ValueKind::GiveUpTime => "a time with a unit, from 1us to 1000h, such as 30s",
        ValueKind::Deadline => "a time with a unit, from 1ms to 1000h, such as 10min",
        ValueKind::Pressure => "a percentage from 0.01 to 100",
        ValueKind::QueueName => {
            "a name of 1 to 64 letters, digits, dots, dashes and underscores that does not begin with a dot"
        }
        ValueKind::QueuePriority => "a whole number from -20 (goes first) to 19",
    };
    text.to_owned()
}
