//! The words of the command line, as clap reads them. No system call, and no decision.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory, Parser};

use super::usage::Answer;
use crate::transfer::engine::TABLE;

/// When to do a thing: cp's WHEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In no case.
    Never,
    /// Where it serves.
    Auto,
    /// In any case.
    Always,
}

/// The words for it, in the order in which cp lists them.
const WHEN: [(&str, When); 3] = [
    ("never", When::Never),
    ("auto", When::Auto),
    ("always", When::Always),
];

/// Reads a WHEN as GNU tools do: any unambiguous beginning of a word will do.
#[derive(Debug, Clone)]
struct WhenParser;

impl TypedValueParser for WhenParser {
    type Value = When;

    fn parse_ref(
        &self,
        cmd: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<When, clap::Error> {
        let text = value.to_string_lossy();
        let found: Vec<When> = WHEN
            .iter()
            .filter(|(name, _)| name.starts_with(&*text))
            .map(|(_, when)| *when)
            .collect();
        let kind = match found.as_slice() {
            [one] => return Ok(*one),
            [] => ErrorKind::InvalidValue,
            _ => ErrorKind::ValueValidation,
        };
        let mut error = clap::Error::new(kind).with_cmd(cmd);
        let words = self
            .possible_values()
            .into_iter()
            .flatten()
            .map(|v| v.get_name().to_owned());
        let option = arg.map(ToString::to_string).unwrap_or_default();
        error.insert(ContextKind::InvalidArg, ContextValue::String(option));
        error.insert(
            ContextKind::InvalidValue,
            ContextValue::String(text.into_owned()),
        );
        error.insert(
            ContextKind::ValidValue,
            ContextValue::Strings(words.collect()),
        );
        Err(error)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(
            WHEN.iter().map(|(name, _)| PossibleValue::new(*name)),
        ))
    }
}

/// A path of any bytes, the empty one too: what is wrong with it is for the kernel to say, in cp's words.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Copy SOURCE to DEST, or several SOURCEs to DIRECTORY, past the page cache.
///
/// Made for dumps in /dev/shm: the source is written from where it is in memory, with O_DIRECT, so that neither the page
/// cache nor the memory of the machine grows. Where a file system refuses that, the gentlest way that works is taken,
/// and said.
#[derive(Debug, Parser)]
#[command(
    name = "mmapcp",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = true,
    override_usage = "mmapcp [OPTION]... [-T] SOURCE DEST\n       mmapcp [OPTION]... SOURCE... DIRECTORY\n       mmapcp [OPTION]... -t DIRECTORY SOURCE..."
)]
pub struct Words {
    /// What to copy, and last where to, unless -t names that
    #[arg(value_name = "SOURCE", hide = true, value_parser = any_path())]
    pub operands: Vec<PathBuf>,

    /// Copy all SOURCEs into DIRECTORY
    #[arg(
        short = 't',
        long,
        value_name = "DIRECTORY",
        action = ArgAction::Append,
        allow_hyphen_values = true,
        value_parser = any_path()
    )]
    pub target_directory: Vec<PathBuf>,

    /// Treat DEST as a file, never as a directory to copy into
    #[arg(short = 'T', long)]
    pub no_target_directory: bool,

    /// Copy directories with all that is in them (-r is the same); symbolic links stay links
    #[arg(short = 'R', visible_short_alias = 'r', long)]
    pub recursive: bool,

    /// Remove an existing destination file that cannot be opened, and try again
    #[arg(short, long)]
    pub force: bool,

    /// Leave existing files alone
    #[arg(short, long)]
    pub no_clobber: bool,

    /// Preserve mode, ownership and times
    #[arg(short = 'p')]
    pub preserve: bool,

    /// Say what is copied
    #[arg(short, long)]
    pub verbose: bool,

    /// Holes: keep them (auto), make more of zeros (always), fill them (never)
    #[arg(long, value_name = "WHEN", value_parser = WhenParser)]
    pub sparse: Option<When>,

    /// Use this engine only, and fail where it cannot do it
    #[arg(long, value_name = "NAME", value_parser = engine_names())]
    pub engine: Option<String>,

    /// O_DIRECT: where it is real (auto), or fail (always), or not at all (never)
    #[arg(long, value_name = "WHEN", value_parser = WhenParser)]
    pub direct: Option<When>,

    /// A bar on a terminal for copies that last (auto), lines elsewhere too (always), nothing (never)
    #[arg(long, value_name = "WHEN", value_parser = WhenParser)]
    pub progress: Option<When>,

    /// One JSON object a line on standard output for each event; -v and --debug then write to standard error
    #[arg(long)]
    pub json: bool,

    /// Say which engine is taken and why no other, alignment, extents and cost; implies -v
    #[arg(long)]
    pub debug: bool,

    // cp has neither -h nor -V.
    /// Print this help
    #[arg(long, action = ArgAction::HelpLong)]
    help: Option<bool>,

    /// Print the version
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
}

fn engine_names() -> Vec<&'static str> {
    TABLE.iter().map(|row| row.name).collect()
}

/// The engines as a table, for --help and the man page.
#[must_use]
pub fn engine_help() -> String {
    let mut text = String::from("Engines, in order of preference:\n");
    for row in TABLE {
        text.push_str(&format!(
            "  {:<16} {}\n  {:<16} when: {}\n",
            row.name, row.how, "", row.when
        ));
    }
    text.push_str(
        "\nFrom memory, mmap and splice are measured against each other on the first 32 MiB of a file of 256 MiB or more.\n\
         SIGUSR1 prints a line of status. Exit status is 0 when all was copied, else 1.",
    );
    text
}

/// The command line of `mmapcp`: what help, man page and completions are made from.
#[must_use]
pub fn command() -> clap::Command {
    Words::command().after_help(engine_help())
}

/// Reads the words, program name first.
///
/// # Errors
/// Help, version, or what is wrong, ready to be printed.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Words, Answer> {
    let words: Vec<OsString> = words.into_iter().collect();
    let matches = command().try_get_matches_from(&words);
    matches
        .and_then(|m| <Words as clap::FromArgMatches>::from_arg_matches(&m))
        .map_err(|e| Answer::from_clap(&e, &words))
}
