//! The command line: one table, from which the arguments are read and from which clap makes help, man page and
//! completions. This module makes no system call and no decision.
//!
//! clap does not read the arguments. cp's scripts rely on getopt_long(3): the first mistake counts, whatever follows
//! it; `--f` is `--force`, whatever long options are added here; with POSIXLY_CORRECT, option parsing ends at the first
//! operand.

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

/// Returns clap's description of the command line of `mmapcp`, from which help, man page and completions are made.
#[must_use]
pub fn command() -> Command {
    named(PROGRAM_NAME)
}

/// Returns the text of --help: one line for each option, with the name by which the program was called.
#[must_use]
pub fn help_text() -> String {
    named(program_name())
        .about(help::LONG_ABOUT)
        .render_help()
        .to_string()
}

/// Returns the text of --version. It names mmapcp, whatever name the program was called by, so that a script can find
/// out which program it runs.
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

/// Describes one row of the table to clap.
fn argument(row: &OptionSpec, order: usize) -> Arg {
    // Rows with one meaning, such as -b and --backup, need different ids.
    let mut arg = Arg::new(order.to_string())
        .help(row.help)
        .help_heading(match row.origin {
            Origin::Cp => "Options, as in cp",
            Origin::Own => "Options that cp does not have",
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
