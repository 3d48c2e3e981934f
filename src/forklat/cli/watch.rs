//! The command-line options of `forklat watch`, as clap reads them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::long_help;
use super::probes::ProbeArgs;
use crate::report::units::parse_time;

/// Shortest interval between two snapshots (100 ms): the figures of the kernel cost about a millisecond to read.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Longest interval between two snapshots (1 h), so that a mistaken unit is noticed.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// The options of the `forklat watch` subcommand.
#[derive(Debug, Args)]
#[command(
    override_usage = "forklat watch [OPTION]...",
    after_long_help = long_help::watch()
)]
pub struct WatchArgs {
    /// Show the machine again after each TIME
    #[arg(long, value_name = "TIME", value_parser = parse_interval, default_value = "1s")]
    pub interval: Duration,

    /// Stop after TIME, and not only when a signal comes
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub time: Option<Duration>,

    /// Start no prober, and show only where memory is
    #[arg(long, conflicts_with_all = ["probe", "period", "rss", "exec_cold", "on"])]
    pub no_probes: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub probes: ProbeArgs,

    /// Append each snapshot to FILE as one line of JSON
    #[arg(long, value_name = "FILE", help_heading = "Export")]
    pub export_jsonl: Option<PathBuf>,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_time(text)?;
    match (MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) {
        true => Ok(interval),
        false => Err("the interval must be from 100ms to 1h".into()),
    }
}
