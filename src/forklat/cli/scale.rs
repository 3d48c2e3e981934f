//! The command-line options of `forklat scale`, as clap reads them. This module makes no system call and takes no
//! decision.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::export_args::ExportArgs;
use super::long_help;
use crate::report::units::parse_bytes;

/// One of the tables that `forklat scale` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScaleTable {
    /// Fork all processes from one parent
    #[value(alias = "1a")]
    Fork,
    /// Fork and exec of one program
    #[value(alias = "1b")]
    Exec,
    /// Write to memory that a fork shares with its parent, in pages of 4 KiB and in huge pages
    CopyOnWrite,
    /// End all processes at once
    Storm,
    /// Map a file that others have mapped, and unmap it
    #[value(alias = "2a")]
    JoinMapping,
    /// Modify a file that others have mapped
    #[value(alias = "2b")]
    WriteMapping,
}

/// The options of the `forklat scale` subcommand.
#[derive(Debug, Clone, Args)]
#[command(
    override_usage = "forklat scale [OPTION]...",
    after_long_help = long_help::scale()
)]
pub struct ScaleArgs {
    /// Start up to N idle processes, in powers of ten
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max: u32,

    /// Let each process write to SIZE of its memory before it becomes idle (fork, exec, storm)
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = parse_bytes)]
    pub touch: u64,

    /// Set the size of the mapped file (join-mapping, write-mapping)
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_bytes)]
    pub file_size: u64,

    /// Put the mapped file, which has no name, into DIR for the time of the run; for several directories side by side, repeat the option
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub on: Vec<PathBuf>,

    /// Make N measurements for each line of a table, and a twentieth of that of storms. With fewer than 100, the 99th percentile is the maximum
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub repeat: u32,

    /// Make only the tables of these names
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    pub only: Vec<ScaleTable>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub export: ExportArgs<true>,
}
