//! The command-line options of `forklat run`, as clap reads them.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::disk_limit_args::DiskLimitArgs;
use super::export_args::ExportArgs;
use super::long_help;
use super::probes::ProbeArgs;
use super::why_args::WhyArgs;
use crate::report::units::parse_time;

/// The options of the `forklat run` subcommand.
#[derive(Debug, Args)]
#[command(
    override_usage = "forklat run [OPTION]... [--] COMMAND [ARGUMENT]...\n       forklat run [OPTION]... --attach PID\n       forklat run [OPTION]... --for TIME",
    after_long_help = long_help::run()
)]
pub struct RunArgs {
    /// The command to run and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// Measure until the process PID has ended, instead of running a command
    #[arg(long, value_name = "PID", conflicts_with = "command", value_parser = clap::value_parser!(i32).range(1..))]
    pub attach: Option<i32>,

    /// Measure for TIME, instead of running a command; with --attach, for at most TIME
    #[arg(long = "for", value_name = "TIME", conflicts_with = "command", value_parser = parse_time)]
    pub time: Option<Duration>,

    /// Measure the machine for TIME before the command
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "3s")]
    pub baseline: Duration,

    /// Measure the machine after the command until writeback has settled, for at most TIME
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "60s")]
    pub settle: Duration,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub disk: DiskLimitArgs,

    /// Show also each CPU, the service times, and what the observers cost
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub probes: ProbeArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub why: WhyArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub export: ExportArgs,
}
