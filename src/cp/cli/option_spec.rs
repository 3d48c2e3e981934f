//! The type of a row in the table of options: the names of an option, its argument, its text in --help, and its effect.

use std::ffi::{OsStr, OsString};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ValueHint};

use super::super::resolve::parsed_options::ParsedOptions;
use super::super::usage_error::UsageError;
use super::option_value::OptionValue;

/// The values that a shell may complete for an argument.
#[derive(Debug, Clone, Copy)]
pub enum ArgumentValues {
    /// A keyword of the list that this function returns.
    Words(fn() -> Vec<&'static str>),
    /// The name of a directory that exists.
    Directory,
    /// The name of a file, which need not exist.
    File,
    /// Any text, or a list of keywords.
    Free,
}

impl ArgumentValues {
    /// Tells clap which values `arg` takes, for the completions.
    pub(super) fn describe(self, arg: Arg) -> Arg {
        match self {
            // These are for the shells; --help names the values in the text that explains them.
            Self::Words(words) => arg
                .value_parser(PossibleValuesParser::new(words()))
                .hide_possible_values(true),
            Self::Directory => arg.value_hint(ValueHint::DirPath),
            Self::File => arg.value_hint(ValueHint::FilePath),
            Self::Free => arg.value_hint(ValueHint::Other),
        }
    }
}

/// The name of an argument in --help, and the values that it takes.
pub type ArgumentSpec = (&'static str, ArgumentValues);

/// An option whose answer is printed instead of copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The option --help, answered with the list of options.
    Help,
    /// The option --version, answered with name and version.
    Version,
}

/// Records an option without an argument in the parsed options.
pub type ApplySwitch = fn(&mut ParsedOptions);

/// Records the argument of an option in the parsed options, or returns the usage error that it causes.
pub type ApplyRequired = fn(&mut ParsedOptions, OptionValue<'_>) -> Result<(), UsageError>;

/// Records an optional argument in the parsed options, or returns the usage error that it causes.
pub type ApplyOptional = fn(&mut ParsedOptions, Option<OptionValue<'_>>) -> Result<(), UsageError>;

/// The argument that an option takes, and the effect of the option on the parsed options.
#[derive(Debug, Clone, Copy)]
pub enum OptionAction {
    /// The option takes no argument and is answered instead of copying.
    Answer(Question),
    /// The option takes no argument.
    Switch(ApplySwitch),
    /// The argument follows `=`, is attached to the letter, or is the next word.
    Required(ArgumentSpec, ApplyRequired),
    /// The argument follows `=` or is left out; a letter takes no argument.
    Optional(ArgumentSpec, ApplyOptional),
}

/// The programs that have an option. An abbreviation is looked up in cp's options first and in mmapcp's own only if it
/// matches none of cp's, so that an option that is added here breaks no script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// GNU cp has it, in version 9.7 or before.
    Cp,
    /// mmapcp alone has the option.
    Own,
}

/// One option. This is the only place that defines its names, its argument, its text in --help, and its effect.
#[derive(Debug)]
pub struct OptionSpec {
    /// The letters, each of which is the short option.
    pub letters: &'static str,
    /// The long name, without its dashes.
    pub long: Option<&'static str>,
    /// A long name that cp still accepts but does not show.
    pub hidden: Option<&'static str>,
    /// What --help says about the option.
    pub help: &'static str,
    /// The argument, and the effect of the option.
    pub action: OptionAction,
    /// The programs that have the option.
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

/// Makes a letter without a long name. It is short for another option, or for several.
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

    /// Adds a long name that is accepted but not shown.
    pub(super) const fn with_hidden_name(self, hidden: &'static str) -> Self {
        Self {
            hidden: Some(hidden),
            ..self
        }
    }
}

/// One option, as the command line gave it.
#[derive(Debug)]
pub struct GivenOption {
    /// The row of the option in the table.
    pub spec: &'static OptionSpec,
    /// The argument, where the option takes one and has one.
    pub value: Option<OsString>,
}

impl GivenOption {
    /// Records the option in `parsed`. Returns the question if the option asks for an answer instead.
    ///
    /// # Errors
    /// Returns the usage error where the option does not accept the argument.
    pub fn apply(&self, parsed: &mut ParsedOptions) -> Result<Option<Question>, UsageError> {
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
