//! What other programs feel on a free host while one large file is copied at full speed: `mmapcp`, its engines, and its peers.
//!
//! ```text
//! cargo bench --bench felt                                     # 8 GiB, ten rounds, about twelve minutes a dump
//! cargo bench --bench felt -- --size 1G --rounds 3 --pages 4k  # a look at whether it works
//! cargo bench --bench felt -- --tool mmapcp --tool 'dd-1m'
//! ```
//!
//! Each round has an idle span and each tool once, in an order drawn anew; the seed is printed. Each run is one `forklat run`,
//! which asks for a fork every 2 ms and a wake-up every 1 ms on each CPU, and writes, syncs and reads on the disk of the
//! copies (`--probe`). A table shows the figure of each round, the median,
//! and how often a tool was at or below the first one in the same round.

#[path = "felt/rounds.rs"]
mod rounds;
#[path = "felt/table.rs"]
mod table;
#[path = "engines/tmpfs_dump.rs"]
mod tmpfs_dump;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use mmapcp::report::units::parse_bytes;

use rounds::{AskedProbe, Series, Tool};
use tmpfs_dump::TmpfsDump;

/// What others feel while one file is copied: figures of each round
#[derive(Debug, Parser)]
struct FeltArgs {
    /// Size of the dump
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "8G")]
    size: u64,

    /// How often each tool copies it
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// What the dump lies in: pages of 4 KiB, the same with 1 % holes, or huge pages, which need root
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["4k", "holes", "huge"])]
    pages: Vec<Pages>,

    /// Only these probes [default: fork,wakeup,write,fsync,read]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = AskedProbe::find)]
    probe: Vec<AskedProbe>,

    /// Only these tools; the first is the one that others are compared with
    #[arg(long, value_name = "NAME", value_parser = Tool::find)]
    tool: Vec<Tool>,

    /// Where the copies go
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/felt"))]
    on: PathBuf,

    /// Seed of the order of the tools [default: drawn, and printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Set by cargo bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// The pages of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pages {
    #[value(name = "4k")]
    Small,
    Holes,
    Huge,
}

fn main() -> Result<()> {
    let args = FeltArgs::parse();
    std::fs::create_dir_all(&args.on)
        .with_context(|| format!("cannot make {}", args.on.display()))?;
    let tools = match &args.tool[..] {
        [] => rounds::TOOLS.to_vec(),
        chosen => chosen.to_vec(),
    };
    let probes = match &args.probe[..] {
        [] => rounds::PROBES[..5].to_vec(),
        chosen => chosen.to_vec(),
    };
    let series = Series {
        tools: &tools,
        probes: &probes,
        directory: &args.on,
        rounds: args.rounds,
        seed: args.seed.unwrap_or_else(rounds::draw_seed),
    };
    println!("seed {}", series.seed);
    for pages in &args.pages {
        let (dump, name) = match pages {
            Pages::Small => (TmpfsDump::small_pages(args.size)?, "pages of 4 KiB"),
            Pages::Holes => (
                TmpfsDump::with_holes(args.size)?,
                "pages of 4 KiB, each hundredth a hole",
            ),
            Pages::Huge => (TmpfsDump::huge_pages(args.size)?, "huge pages"),
        };
        let figures = rounds::measure(&series, &dump.path())?;
        println!("\n## A dump in {name}\n");
        print!("{}", table::render(&series, &figures));
    }
    Ok(())
}
