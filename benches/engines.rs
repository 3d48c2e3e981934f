//! Each engine beside cp and dd: CPU, wall time to durable, page cache left, peak resident size.
//!
//! ```text
//! cargo bench --bench engines                      # 1 GiB, five rounds, 4 KiB pages and huge pages
//! cargo bench --bench engines -- --size 256 --rounds 3 --on /mnt/disk
//! cargo bench --bench engines -- memory            # only what a container is charged
//! cargo bench --bench engines -- chunks            # the engines over chunk lengths
//! cargo bench --bench engines -- assurance         # what --checksum and --verify cost
//! cargo bench --bench engines -- stretch           # how long a trial of mmap against splice must be
//! ```
//!
//! Tools run alternately (A B C, C B A, ...), each into a fresh directory, with a rest between; figures are medians. Every
//! copy is compared with its source, and a wrong one ends the bench.

#[path = "engines/engine_run.rs"]
mod engine_run;
#[path = "engines/memory_charged.rs"]
mod memory_charged;
#[path = "../tests/lab/memory_group.rs"]
mod memory_group;
#[path = "engines/tables.rs"]
mod tables;
#[path = "engines/tmpfs_dump.rs"]
mod tmpfs_dump;

use std::path::PathBuf;

use anyhow::{Result, bail};

/// What the command line asks for.
struct Settings {
    what: String,
    size: u64,
    rounds: usize,
    on: PathBuf,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| w != "--bench")
        .collect();
    // This program runs itself: as the observer of one command, and as one in-process copy.
    match words.first().map(String::as_str) {
        Some("--observe") => return engine_run::observe(&words[1..]),
        Some("--copy") => return engine_run::copy_in_process(&words[1..]),
        _ => {}
    }
    let settings = settings(&words)?;
    std::fs::create_dir_all(&settings.on)?;
    match settings.what.as_str() {
        "tools" => {
            tables::tools(&settings)?;
            memory_charged::table(&settings)
        }
        "memory" => memory_charged::table(&settings),
        "chunks" => tables::chunks(&settings),
        "assurance" => tables::assurance(&settings),
        "stretch" => tables::trial_length(&settings),
        other => bail!("unknown table {other:?}: tools, memory, chunks, assurance or stretch"),
    }
}

fn settings(words: &[String]) -> Result<Settings> {
    let mut settings = Settings {
        what: "tools".into(),
        size: 1 << 30,
        rounds: 5,
        on: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench"),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| anyhow::anyhow!("{word} wants a value"))
        };
        match word.as_str() {
            "--size" => settings.size = value()?.parse::<u64>()? << 20,
            "--rounds" => settings.rounds = value()?.parse()?,
            "--on" => settings.on = value()?.into(),
            what => settings.what = what.into(),
        }
    }
    if settings.rounds == 0 || settings.size == 0 {
        bail!("a size in MiB and a number of rounds, both above 0");
    }
    Ok(settings)
}
