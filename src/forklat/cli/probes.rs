//! Options that choose the probes: which ones run, how often, and in which directory.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::forklat::error::ForklatError;
use crate::observe::probe::PROBE_SPECS;
use crate::report::units::{parse_bytes, parse_time};

/// The options that `run` and `compare` have in common.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Probes")]
pub struct ProbeArgs {
    /// Run only the probes with these names, or all that there are
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = choices())]
    pub probe: Vec<String>,

    /// Set how often a probe runs, for example fork=2ms; for several probes, separate them by commas or repeat the option
    #[arg(long, value_name = "NAME=TIME", value_delimiter = ',', value_parser = parse_period)]
    pub period: Vec<(String, Duration)>,

    /// Give each process that forks (one per CPU) a heap of SIZE; fork copies its page tables, which are small if the machine uses huge pages for all programs
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "0")]
    pub rss: u64,

    /// Drop the pages of the program from the page cache before each exec
    #[arg(long)]
    pub exec_cold: bool,

    /// Run the probes write, fsync and read in DIR, and exec with a program that lies there; compare copies to it, too [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub on: Option<PathBuf>,
}

/// The word that selects all probes, also those that run only if they are selected.
pub const ALL_PROBES: &str = "all";

fn choices() -> Vec<&'static str> {
    names().into_iter().chain([ALL_PROBES]).collect()
}

fn names() -> Vec<&'static str> {
    PROBE_SPECS.iter().map(|row| row.name).collect()
}

fn parse_period(text: &str) -> Result<(String, Duration), ForklatError> {
    let (name, time) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' is not NAME=TIME"))?;
    if !PROBE_SPECS.iter().any(|row| row.name == name) {
        return Err(format!("no probe is called '{name}': {}", names().join(", ")).into());
    }
    Ok((name.to_owned(), parse_time(time)?))
}
