//! The command-line options of `forklat compare`, as clap reads them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::export_args::ExportArgs;
use super::long_help;
use super::probes::ProbeArgs;
use crate::report::units::{parse_bytes, parse_time};

/// The options of the `forklat compare` subcommand.
#[derive(Debug, Args)]
#[command(
    override_usage = "forklat compare [OPTION]...",
    after_long_help = long_help::compare()
)]
pub struct CompareArgs {
    /// How often each tool copies; their order turns round each time
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,

    /// Size of the dump that is made in /dev/shm and copied, holes included; unless given, from the memory and disk at hand, at most 1G
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, conflicts_with = "source")]
    pub size: Option<u64>,

    /// Copy this file instead of a dump made for it
    #[arg(long, value_name = "FILE")]
    pub source: Option<PathBuf>,

    /// A tool to compare, the first being what ratios refer to; {source} and {dest} in CMD are replaced, no shell is involved. Unless given: cp, dd oflag=direct, mmapcp
    #[arg(long, value_name = "NAME=CMD")]
    pub tool: Vec<String>,

    /// How long the machine is measured before
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "3s")]
    pub baseline: Duration,

    /// Fill memory until only SIZE is available, as on a full host; let go when the machine needs it
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "The host")]
    pub squeeze: Option<u64>,

    /// Hold the device under --on to RATE bytes a second, reading and writing
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, help_heading = "The host")]
    pub disk_limit: Option<u64>,

    /// Set a sysctl for the run; may be given again
    #[arg(long, value_name = "NAME=VALUE", help_heading = "The host")]
    pub sysctl: Vec<String>,

    /// Each CPU, the service times, and what the observers cost, too
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub probes: ProbeArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub export: ExportArgs,
}
