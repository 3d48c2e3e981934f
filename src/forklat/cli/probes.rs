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
    /// Ask only for the probes of these names
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = names())]
    pub probe: Vec<String>,

    /// How often: fork=2ms; may be given for several, with commas or again
    #[arg(long, value_name = "NAME=TIME", value_delimiter = ',', value_parser = parse_period)]
    pub period: Vec<(String, Duration)>,

    /// Give each forker (there is one a CPU) a heap of this size: its page tables are what fork copies, and there are few where the machine gives huge pages to everyone
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "0")]
    pub rss: u64,

    /// Drop the pages of the program before each exec
    #[arg(long)]
    pub exec_cold: bool,

    /// The directory whose file system is asked: write, fsync, read, and exec of a program that lies there. compare copies to it. Unless given, the current directory
    #[arg(long, value_name = "DIR")]
    pub on: Option<PathBuf>,
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
