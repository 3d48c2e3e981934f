//! `rate`: a fixed rate by each engine: is it reached, and is it exceeded in any second?

use anyhow::Result;
use mmapcp::report::signal_handlers::Signals;

use crate::ThrottleArgs;
use crate::watched_copy::{WatchedRun, make, run};

/// Of the rate, and of a copy's size where none is given: 10.24 s.
const TEST_RATE: u64 = 100 << 20;
const DEFAULT_COPY_BYTES: u64 = 1 << 30;

/// A rate at which a copy shall still be a smooth one.
const SLOW_RATE: u64 = 10_000_000;

/// How long a slow copy is watched, in seconds.
const SLOW_SECONDS: u64 = 3;

const ENGINES: [&str; 7] = [
    "mmap",
    "splice",
    "direct",
    "dontcache",
    "sendfile",
    "buffered",
    "copy-file-range",
];

/// Prints the table.
pub(crate) fn table(words: &ThrottleArgs, signals: &Signals) -> Result<()> {
    let size = words.size.unwrap_or(DEFAULT_COPY_BYTES);
    let ideal = size as f64 / TEST_RATE as f64;
    println!(
        "\n## --limit-rate=100M, {} MiB from memory to disk\n",
        size >> 20
    );
    println!(
        "| engine | wall s | beside {ideal:.2} s | CPU s | most in a second beyond 100 MiB | as ms of the rate | writes a second at 10 MB/s, at least |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for engine in ENGINES {
        let (fast, slow) = both(engine, size, words, signals)?;
        let beyond = fast.most_in_a_second() as f64 - TEST_RATE as f64;
        println!(
            "| `{engine}` | {:.3} | {:+.2} % | {:.2} | {:+.2} MiB | {:+.1} | {:.0} |",
            fast.wall,
            (fast.wall / ideal - 1.0) * 100.0,
            fast.cost.user + fast.cost.system,
            beyond / 1_048_576.0,
            beyond / TEST_RATE as f64 * 1e3,
            slow.growths() as f64 / (slow.wall - slow.reached(0.0))
        );
    }
    println!(
        "\nSeen by stat(2) of the destination every 2 ms; writes are the growths that were seen. `copy-file-range` copies from the disk."
    );
    Ok(())
}

/// A copy at the rate, and a slow one.
fn both(
    engine: &str,
    size: u64,
    words: &ThrottleArgs,
    signals: &Signals,
) -> Result<(WatchedRun, WatchedRun)> {
    let from = match engine {
        "copy-file-range" => words.on.clone(),
        _ => "/dev/shm".into(),
    };
    let place = tempfile::tempdir_in(&words.on)?;
    let dest = place.path().join("copy");
    let copy = |size, rate| {
        let (_dir, source) = make(&from, size)?;
        let options = [format!("--engine={engine}"), format!("--limit-rate={rate}")];
        run(&options, &source, &dest, signals)
    };
    Ok((
        copy(size, TEST_RATE)?,
        copy(SLOW_RATE * SLOW_SECONDS / 4096 * 4096, SLOW_RATE)?,
    ))
}
