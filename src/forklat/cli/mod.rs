//! The command line of forklat, as clap reads it. This module makes no system call and takes no decision.

pub mod compare;
pub mod disk_limit_args;
pub mod export_args;
pub mod long_help;
pub mod probes;
pub mod run_args;
pub mod scale;
pub mod usage_error;
pub mod watch;
pub mod why_args;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use export_args::ExportArgs;

/// Measure what a machine feels while something runs.
///
/// Small processes request one thing each from the machine, over and over, at moments that are fixed beforehand: a fork, an
/// exec, fresh memory, a small write, an fsync, a read. The time from such a moment until the request is done is the time that
/// any other program on this machine would have waited.
#[derive(Debug, Parser)]
#[command(
    name = "forklat",
    version,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub struct ForklatArgs {
    /// The subcommand and its own options.
    #[command(subcommand)]
    pub subcommand: ForklatCommand,
}

/// The subcommands of `forklat`, each with its options.
#[derive(Debug, Subcommand)]
pub enum ForklatCommand {
    /// Measure an idle machine, then the same while COMMAND runs, then until writeback has settled
    Run(run_args::RunArgs),
    /// Compare tools that copy: cp, dd and mmapcp, or those given
    Compare(compare::CompareArgs),
    /// Measure how the cost of one more process grows with their number
    Scale(scale::ScaleArgs),
    /// Show where the memory of the machine is, again and again, also on a host in trouble
    Watch(watch::WatchArgs),
    /// Add up the histograms of several exports
    Merge(MergeArgs),
}

/// The options of the `forklat merge` subcommand.
#[derive(Debug, Args)]
#[command(
    override_usage = "forklat merge [OPTION]... FILE...",
    after_long_help = long_help::merge()
)]
pub struct MergeArgs {
    /// Exports of run, compare or merge: JSON or HdrHistogram logs
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Show also each CPU and the service times
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub export: ExportArgs,
}

/// Returns the command line of `forklat`. Help, man pages and completions are made from it.
#[must_use]
pub fn command() -> clap::Command {
    ForklatArgs::command()
}
