//! The command-line options of `forklat compare`, as clap reads them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::disk_limit_args::DiskLimitArgs;
use super::export_args::ExportArgs;
use super::long_help;
use super::probes::ProbeArgs;
use super::why_args::WhyArgs;
use crate::report::units::{parse_bytes, parse_time};

/// The state of the free memory before each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MemoryArg {
    /// Touch as much as a copy needs before each run, so that its pages were in use a moment ago
    Warm,
    /// Leave free memory alone for 3 s before each run, in which a guest gives it back to its hypervisor
    Cold,
    /// Run each tool in both states, as two columns
    Both,
}

/// The options of the `forklat compare` subcommand.
#[derive(Debug, Args)]
#[command(
    override_usage = "forklat compare [OPTION]...",
    after_long_help = long_help::compare()
)]
pub struct CompareArgs {
    /// Run N rounds. A round has each tool once, in random order, and the idle machine
    #[arg(long, visible_alias = "rounds", value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,

    /// Run N rounds before the others and leave them out of all figures
    #[arg(long, value_name = "N", default_value = "1")]
    pub warm_up: u32,

    /// Set the seed of the order of the tools, to repeat that of another run
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// After the rounds of --runs run more, until the intervals of all latency ratios are narrow or TIME has passed since the first round
    #[arg(long, value_name = "TIME", value_parser = parse_time, num_args = 0..=1, require_equals = true, default_missing_value = "10m")]
    pub until_sure: Option<Duration>,

    /// Do not run the first tool twice in each round
    #[arg(long)]
    pub no_repeat: bool,

    /// Set the size of the dump that is made in /dev/shm and copied, holes included; the default depends on free memory and disk space, and is at most 256M
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, conflicts_with = "source")]
    pub size: Option<u64>,

    /// Copy this file instead of a dump made for it
    #[arg(long, value_name = "FILE")]
    pub source: Option<PathBuf>,

    /// Compare this tool; ratios refer to the first one. {source} and {dest} in CMD are replaced, and no shell is used. The default tools are cp, dd oflag=direct and mmapcp
    #[arg(long, value_name = "NAME=CMD")]
    pub tool: Vec<String>,

    /// Measure the idle machine for TIME in each round
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "1s")]
    pub baseline: Duration,

    /// Fill memory until only SIZE is available, as on a full host; release it if the machine needs it
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "The host")]
    pub squeeze: Option<u64>,

    /// Bring free memory into a state before each run, which decides what fresh pages cost on a virtual machine; without it, memory is as the last run left it
    #[arg(long, value_name = "STATE", help_heading = "The host")]
    pub memory: Option<MemoryArg>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub disk: DiskLimitArgs,

    /// Set a sysctl for the run; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "The host")]
    pub sysctl: Vec<String>,

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
