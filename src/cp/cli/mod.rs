//! The words of the command line: one table, from which they are read and from which clap makes help, man page and
//! completions. No system call, and no decision.
//!
//! clap does not read them. What cp's scripts rely on is getopt_long(3): the first mistake counts, whatever stands behind
//! it; `--f` is `--force`, whatever long options are added here; with POSIXLY_CORRECT operands begin at the first of them.

pub mod argmatch;
pub mod getopt;
mod help;
pub mod keywords;
pub mod option_spec;
pub mod option_value;
pub mod table;

use clap::{Arg, ArgAction, Command};

use crate::report::{PROGRAM_NAME, program_name};
use option_spec::{OptionAction, OptionSpec, Origin};
use table::OPTION_TABLE;

/// The command line of `mmapcp`: what help, man page and completions are made from.
#[must_use]
pub fn command() -> Command {
    named(PROGRAM_NAME)
}

/// What --help prints: a line an option, and the name by which cp was called.
#[must_use]
pub fn help_text() -> String {
    named(program_name())
        .about(help::LONG_ABOUT)
        .render_help()
        .to_string()
}

/// What --version prints, whatever the name it was called by: a script that asks wants to know what it has.
#[must_use]
pub fn version_text() -> String {
    named(PROGRAM_NAME).render_version()
}

fn named(name: &str) -> Command {
    let command = Command::new(PROGRAM_NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about(help::ABOUT)
        .long_about(help::LONG_ABOUT)
        .override_usage(help::usage(name))
        .after_help(help::after())
        .disable_help_flag(true)
        .disable_version_flag(true);
    let operands = Arg::new("operands")
        .value_name("SOURCE")
        .hide(true)
        .action(ArgAction::Append)
        .value_hint(clap::ValueHint::AnyPath);
    OPTION_TABLE
        .iter()
        .enumerate()
        .fold(command.arg(operands), |command, (order, row)| {
            command.arg(argument(row, order))
        })
}

/// One row as clap has it.
fn argument(row: &OptionSpec, order: usize) -> Arg {
    // Rows of one meaning, -b and --backup, want ids of their own.
    let mut arg = Arg::new(order.to_string())
        .help(row.help)
        .help_heading(match row.origin {
            Origin::Cp => "Options, as in cp",
            Origin::Own => "Options of its own",
        });
    if let Some(long) = row.long {
        arg = arg.long(long);
    }
    let mut shorts = row.letters.chars();
    if let Some(first) = shorts.next() {
        arg = arg.short(first).visible_short_aliases(shorts);
    }
    match row.action {
        OptionAction::Answer(_) | OptionAction::Switch(_) => arg.action(ArgAction::SetTrue),
        OptionAction::Required((name, kind), _) => kind.describe(arg.value_name(name)),
        OptionAction::Optional((name, kind), _) => {
            let arg = arg.value_name(name).num_args(0..=1).require_equals(true);
            kind.describe(arg)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_nothing_wrong_with_the_table() {
        command().debug_assert();
    }
}
