//! The words of forklat's command line, as clap reads them. No system call, and no decision.

pub mod compare;
pub mod long_help;
pub mod probes;
pub mod run_args;
pub mod scale;

use std::path::PathBuf;

use super::export::Exports;
use clap::{Args, CommandFactory, Parser, Subcommand};

/// Measure what a machine feels while something runs.
///
/// Small processes ask the machine for one thing each, over and over, at moments fixed beforehand: a fork, an exec, fresh
/// memory, a small write, an fsync, a read. How long each answer took, counted from its moment, is what anyone else on this
/// machine would have waited.
#[derive(Debug, Parser)]
#[command(
    name = "forklat",
    version,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub struct ForklatArgs {
    /// What to do
    #[command(subcommand)]
    pub subcommand: ForklatCommand,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum ForklatCommand {
    /// Measure an idle machine, then the same while COMMAND runs, then until writeback has settled
    Run(run_args::RunArgs),
    /// Compare tools that copy: cp, dd and mmapcp, or those given
    Compare(compare::CompareArgs),
    /// How the cost of one more process grows
    Scale(scale::ScaleArgs),
    /// Add up the histograms of several exports
    Merge(MergeArgs),
}

/// Where results go besides the table.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Export")]
pub struct ExportArgs {
    /// Everything: facts of the machine, histograms, timeline
    #[arg(long, value_name = "FILE")]
    pub export_json: Option<PathBuf>,

    /// A line for each figure
    #[arg(long, value_name = "FILE")]
    pub export_csv: Option<PathBuf>,

    /// The table in Markdown
    #[arg(long, value_name = "FILE")]
    pub export_markdown: Option<PathBuf>,

    /// HdrHistogram V2 interval log of the latencies in nanoseconds, a line a second for each probe
    #[arg(long, value_name = "FILE")]
    pub export_hlog: Option<PathBuf>,
}

impl ExportArgs {
    /// The files.
    #[must_use]
    pub fn files(&self) -> Exports {
        Exports {
            json: self.export_json.clone(),
            csv: self.export_csv.clone(),
            markdown: self.export_markdown.clone(),
            hlog: self.export_hlog.clone(),
        }
    }
}

/// `forklat merge`
#[derive(Debug, Args)]
#[command(
    override_usage = "forklat merge [OPTION]... FILE...",
    after_long_help = long_help::merge()
)]
pub struct MergeArgs {
    /// Exports of run, compare or merge: JSON or HdrHistogram logs
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Each CPU and the service times, too
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub export: ExportArgs,
}

/// The command line of `forklat`: what help, man pages and completions are made from.
#[must_use]
pub fn command() -> clap::Command {
    ForklatArgs::command()
}
