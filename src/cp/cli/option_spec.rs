//! The type of a row in the table of options: what an option is called, what it takes, what --help says, and what it does.

use std::ffi::{OsStr, OsString};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ValueHint};

use super::super::cli_answer::CliAnswer;
use super::super::resolve::parsed_options::ParsedOptions;
use super::option_value::OptionValue;

/// What a shell may offer as an argument.
#[derive(Debug, Clone, Copy)]
pub enum ArgumentValues {
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
    /// A directory.
    Directory,
    /// Any text, or a list of words.
    Free,
}

impl ArgumentValues {
    /// Tells clap which values `arg` takes, for the completions.
    pub(super) fn describe(self, arg: Arg) -> Arg {
        match self {
            // For the shells; --help names them where it says what they mean.
            Self::Words(words) => arg
                .value_parser(PossibleValuesParser::new(words()))
                .hide_possible_values(true),
            Self::Directory => arg.value_hint(ValueHint::DirPath),
            Self::Free => arg.value_hint(ValueHint::Other),
        }
    }
}

/// The name of an argument in --help, and the values that it takes.
pub type ArgumentSpec = (&'static str, ArgumentValues);

/// An option whose answer is printed instead of copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// --help
    Help,
    /// --version
    Version,
}

/// Records an option without an argument in the parsed options.
pub type ApplySwitch = fn(&mut ParsedOptions);

/// Records the argument of an option in the parsed options, or returns the usage error that it causes.
pub type ApplyRequired = fn(&mut ParsedOptions, OptionValue<'_>) -> Result<(), CliAnswer>;

/// Does the same for an argument that may be left out.
pub type ApplyOptional = fn(&mut ParsedOptions, Option<OptionValue<'_>>) -> Result<(), CliAnswer>;

/// Which argument an option takes, and what the option does to the parsed options.
#[derive(Debug, Clone, Copy)]
pub enum OptionAction {
    /// The option takes no argument and is answered instead of copying.
    Answer(Question),
    /// The option takes no argument.
    Switch(ApplySwitch),
    /// The argument stands behind `=`, is attached to the letter, or is the next word.
    Required(ArgumentSpec, ApplyRequired),
    /// The argument stands behind `=` or is left out; a letter takes none.
    Optional(ArgumentSpec, ApplyOptional),
}

/// The programs that have an option. Abbreviations are read by the first of them in which they mean anything, so that an
/// option that is added here breaks no script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// GNU cp has it, in version 9.7 or before.
    Cp,
    /// Only mmapcp has it.
    Own,
}

/// One option: the only place that says what it is called, what it takes, what --help says of it, and what it does.
#[derive(Debug)]
pub struct OptionSpec {
    /// The letters, any of which is the option.
    pub letters: &'static str,
    /// The long name, without its dashes.
    pub long: Option<&'static str>,
    /// A long name that cp still takes and no longer shows.
    pub hidden: Option<&'static str>,
    /// What --help says.
    pub help: &'static str,
    /// The argument, and what the option does.
    pub action: OptionAction,
    /// The programs that have it.
    pub origin: Origin,
}

/// Makes an option that takes no argument.
pub(super) const fn switch(
    letters: &'static str,
    long: &'static str,
    help: &'static str,
    apply: ApplySwitch,
) -> OptionSpec {
    OptionSpec {
        letters,
        long: Some(long),
        hidden: None,
        help,
        action: OptionAction::Switch(apply),
        origin: Origin::Cp,
    }
}

/// Makes a letter without a long name: short for another option, or for several.
pub(super) const fn letter(
    letters: &'static str,
    help: &'static str,
    apply: ApplySwitch,
) -> OptionSpec {
    OptionSpec {
        long: None,
        ..switch(letters, "", help, apply)
    }
}

/// Makes an option that is answered instead of copying.
pub(super) const fn question(
    long: &'static str,
    help: &'static str,
    question: Question,
) -> OptionSpec {
    OptionSpec {
        action: OptionAction::Answer(question),
        ..switch("", long, help, |_| ())
    }
}

/// Makes an option that takes an argument.
pub(super) const fn required(
    letters: &'static str,
    long: &'static str,
    argument: ArgumentSpec,
    help: &'static str,
    apply: ApplyRequired,
) -> OptionSpec {
    OptionSpec {
        action: OptionAction::Required(argument, apply),
        ..switch(letters, long, help, |_| ())
    }
}

/// Makes an option whose argument may be left out.
pub(super) const fn optional(
    letters: &'static str,
    long: &'static str,
    argument: ArgumentSpec,
    help: &'static str,
    apply: ApplyOptional,
) -> OptionSpec {
    OptionSpec {
        action: OptionAction::Optional(argument, apply),
        ..switch(letters, long, help, |_| ())
    }
}

impl OptionSpec {
    /// Marks the option as one that only mmapcp has.
    pub(super) const fn own(self) -> Self {
        Self {
            origin: Origin::Own,
            ..self
        }
    }

    /// Adds a long name that is taken and not shown.
    pub(super) const fn with_hidden_name(self, hidden: &'static str) -> Self {
        Self {
            hidden: Some(hidden),
            ..self
        }
    }
}

/// One option of the command line, as it was given.
#[derive(Debug)]
pub struct GivenOption {
    /// The row of the table.
    pub spec: &'static OptionSpec,
    /// The argument, where the option takes one and has one.
    pub value: Option<OsString>,
}

impl GivenOption {
    /// Records the option in `parsed`. Returns the question if the option asks for an answer instead.
    ///
    /// # Errors
    /// The usage error where the argument is none that the option takes.
    pub fn apply(&self, parsed: &mut ParsedOptions) -> Result<Option<Question>, CliAnswer> {
        let option = self.spec.long.unwrap_or(self.spec.letters);
        let value = |value| OptionValue { option, value };
        match self.spec.action {
            OptionAction::Answer(question) => return Ok(Some(question)),
            OptionAction::Switch(apply) => apply(parsed),
            OptionAction::Required(_, apply) => {
                apply(
                    parsed,
                    value(self.value.as_deref().unwrap_or(OsStr::new(""))),
                )?;
            }
            OptionAction::Optional(_, apply) => apply(parsed, self.value.as_deref().map(value))?,
        }
        Ok(None)
    }
}
