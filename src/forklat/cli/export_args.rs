//! The options `--export-NAME FILE`, one for each row of the table of export formats.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::forklat::export::format::Format;
use crate::forklat::export::{Exports, FORMATS};

/// The files that reports are exported to, besides the table on the terminal. `SCALE` leaves out the formats in which a
/// report of `scale` has nothing to export.
#[derive(Debug, Clone, Default)]
pub struct ExportArgs<const SCALE: bool = false>(pub Exports);

impl<const SCALE: bool> ExportArgs<SCALE> {
    fn options() -> impl Iterator<Item = (&'static Format, String, &'static str)> {
        FORMATS.iter().filter_map(|format| {
            let help = if SCALE {
                format.scale_help?
            } else {
                format.help
            };
            Some((format, format!("export-{}", format.name), help))
        })
    }
}

impl<const SCALE: bool> Args for ExportArgs<SCALE> {
    fn augment_args(command: Command) -> Command {
        command.args(Self::options().map(|(_, name, help)| {
            Arg::new(name.clone())
                .long(name)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(help)
                .help_heading("Export")
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const SCALE: bool> FromArgMatches for ExportArgs<SCALE> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Self::options().filter_map(|(format, name, _)| {
            let path = matches.get_one::<PathBuf>(&name)?;
            Some((format, path.clone()))
        });
        Ok(Self(Exports(given.collect())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
