//! What a limit holds, and what it gives away: a rate, the latency of others' writes and forks, and the cost of watching.
//!
//! ```text
//! cargo bench --bench throttle -- rate                    # 1 GiB at 100 MiB/s by each engine, seen from outside
//! cargo bench --bench throttle -- write                   # --max-write-latency on a disk that is held to a rate, as root
//! cargo bench --bench throttle -- fork                    # --max-fork-latency on a host that is nearly full, as root
//! cargo bench --bench throttle -- overhead --size 8G      # an idle host, targets that are never missed
//! cargo bench --bench throttle -- fork --target 5ms --runs 1 --steps 3 --size 1G --try-size 500M
//! ```
//!
//! The hosts of `write` and `fork` are made and restored by `forklat compare`, whose probers live behind the same limits.

#[path = "stall/forklat_child.rs"]
mod forklat_child;
#[path = "throttle/latency_targets.rs"]
mod latency_targets;
#[path = "throttle/overhead.rs"]
mod overhead;
#[path = "throttle/rate.rs"]
mod rate;
#[path = "throttle/watched_copy.rs"]
mod watched_copy;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use mmapcp::report::signal_handlers::Signals;
use mmapcp::report::units::{parse_bytes, parse_time};

/// What a limit holds, and what it gives away.
#[derive(Debug, Parser)]
pub(crate) struct ThrottleArgs {
    /// What to measure, in this order [default: all]
    #[arg(value_name = "WHAT")]
    what: Vec<Experiment>,

    /// The directory whose disk is copied to and asked
    #[arg(long, value_name = "DIR", default_value_os_t = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("throttle"))]
    pub(crate) on: PathBuf,

    /// Bytes of a copy [default: rate 1G, write 1600M, fork 4G, overhead 8G]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) size: Option<u64>,

    /// Copies with each target, or with each setting
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,

    /// Instead of 50ms for write, and of 2, 5 and 20 ms for fork
    #[arg(long, value_name = "TIME,...", value_delimiter = ',', value_parser = parse_time)]
    pub(crate) target: Vec<Duration>,

    /// Copies by which the best fixed rate is found
    #[arg(long, value_name = "N", default_value = "6")]
    pub(crate) steps: u32,

    /// Bytes of each of these [default: 600M]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "600M")]
    pub(crate) try_size: u64,

    /// What is left available on a squeezed host
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "400M")]
    pub(crate) squeeze: u64,

    /// What a slow disk takes in a second
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, default_value = "100MB")]
    pub(crate) disk_limit: u64,

    /// cargo bench says so
    #[arg(long, hide = true)]
    bench: bool,
}

/// The tables.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Experiment {
    /// --limit-rate by each engine.
    Rate,
    /// --max-write-latency on a slow disk.
    Write,
    /// --max-fork-latency on a squeezed host.
    Fork,
    /// What watching costs where nothing has to be held.
    Overhead,
}

fn main() -> Result<()> {
    let words = ThrottleArgs::parse();
    fs::create_dir_all(&words.on).with_context(|| format!("cannot make {}", words.on.display()))?;
    let signals = Signals::install()?;
    let all = [
        Experiment::Rate,
        Experiment::Write,
        Experiment::Fork,
        Experiment::Overhead,
    ];
    let what = if words.what.is_empty() {
        &all[..]
    } else {
        &words.what
    };
    // What it has made is gone by the time a signal is raised again.
    let measured = what.iter().try_for_each(|what| {
        println!("\nload average before: {}", load());
        match what {
            Experiment::Rate => rate::table(&words, &signals),
            Experiment::Write => latency_targets::write(&words, &signals),
            Experiment::Fork => latency_targets::fork(&words, &signals),
            Experiment::Overhead => overhead::table(&words, &signals),
        }
    });
    signals.raise_again();
    measured
}

/// Who else was busy: figures of a busy machine are read with care.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// The one in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
