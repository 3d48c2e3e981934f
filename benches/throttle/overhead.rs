//! `overhead`: what it costs to watch a machine that nobody else uses, with targets that are never missed.

use std::fs;

use anyhow::{Result, bail};
use mmapcp::report::signal_handlers::Signals;
use mmapcp::sys::key_value::mem_available;

use crate::watched_copy::{WatchedRun, make, run};
use crate::{ThrottleArgs, median};

/// Bytes of a copy where nothing is said: seconds, even past the page cache.
const DEFAULT_COPY_BYTES: u64 = 8 << 30;

/// Memory that is left to others.
const MEMORY_RESERVE_BYTES: u64 = 6 << 30;

/// What is compared; the first without a limit.
const SETTINGS: [&[&str]; 5] = [
    &[],
    &["--max-fork-latency=1s"],
    &["--max-write-latency=10s"],
    &["--max-pressure=100"],
    &[
        "--max-fork-latency=1s",
        "--max-write-latency=10s",
        "--max-pressure=100",
    ],
];

/// Prints the table.
pub(crate) fn table(words: &ThrottleArgs, signals: &Signals) -> Result<()> {
    let size = words.size.unwrap_or(DEFAULT_COPY_BYTES);
    let available = mem_available(&fs::read_to_string("/proc/meminfo")?);
    if available.is_some_and(|available| available < size + MEMORY_RESERVE_BYTES) {
        bail!(
            "a source of {size} bytes would leave less than 6 GiB of memory to others: give --size"
        );
    }
    let (_dir, source) = make("/dev/shm".as_ref(), size)?;
    let place = tempfile::tempdir_in(&words.on)?;
    let dest = place.path().join("copy");
    let mut runs: Vec<Vec<WatchedRun>> = SETTINGS.iter().map(|_| Vec::new()).collect();
    for round in 0..words.runs as usize {
        for n in 0..SETTINGS.len() {
            // Each round begins with another, so that none has the same before it always.
            let n = (n + round) % SETTINGS.len();
            let options: Vec<String> = SETTINGS[n].iter().map(|o| (*o).into()).collect();
            runs[n].push(run(&options, &source, &dest, signals)?);
        }
    }
    println!(
        "\n## Watching, {} MiB from memory to disk, {} runs each, medians\n",
        size >> 20,
        words.runs
    );
    println!(
        "| | wall s (least to most) | ratio | first byte after s | half after s | second half s | ratio | CPU s | watchers' CPU | governor's CPU |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (setting, own) in SETTINGS.iter().zip(&runs) {
        println!("{}", line(setting, own, &runs[0]));
    }
    println!(
        "\nCPU of the keepers and probers, and of the governor's thread, in percent of one CPU over the copy."
    );
    Ok(())
}

fn line(setting: &[&str], own: &[WatchedRun], plain: &[WatchedRun]) -> String {
    let of = |runs: &[WatchedRun], what: fn(&WatchedRun) -> f64| median(runs.iter().map(what));
    let own_of = |what| of(own, what);
    let wall: fn(&WatchedRun) -> f64 = |run| run.wall;
    let second: fn(&WatchedRun) -> f64 = |run| run.wall - run.reached(0.5);
    let walls = || own.iter().map(|run| run.wall);
    let governed = |text: String| if setting.is_empty() { "-".into() } else { text };
    format!(
        "| `{}` | {:.2} ({:.2} to {:.2}) | {:.3} | {:.3} | {:.2} | {:.2} | {:.3} | {:.2} | {} | {} |",
        if setting.is_empty() {
            "mmapcp".into()
        } else {
            setting.join(" ")
        },
        own_of(wall),
        walls().fold(f64::INFINITY, f64::min),
        walls().fold(0.0, f64::max),
        own_of(wall) / of(plain, wall),
        own_of(|run| run.reached(0.0)),
        own_of(|run| run.reached(0.5)),
        own_of(second),
        own_of(second) / of(plain, second),
        own_of(|run| run.cost.user + run.cost.system),
        governed(format!(
            "{:.1} %",
            own_of(|run| run.watchers / run.wall * 100.0)
        )),
        governed(format!(
            "{:.1} %",
            own_of(|run| run.beside / run.wall * 100.0)
        )),
    )
}
