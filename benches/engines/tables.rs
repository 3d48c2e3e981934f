//! The tables: who runs against whom, medians, and ratios.

use anyhow::Result;
use mmapcp::transfer::engine::ENGINES;

use super::Settings;
use super::engine_run::{EngineCost, EngineTool, cpu_of, run};
use super::tmpfs_dump::TmpfsDump;

fn tool(name: &str, command: &[&str]) -> EngineTool {
    EngineTool {
        name: name.into(),
        command: command.iter().map(ToString::to_string).collect(),
        copies: true,
    }
}

fn mmapcp(name: &str, options: &[&str]) -> EngineTool {
    let mut command = vec![env!("CARGO_BIN_EXE_mmapcp")];
    command.extend(options);
    command.extend(["{source}", "{dest}"]);
    tool(name, &command)
}

/// The library's copy with a chunk of so many KiB.
fn chunked(engine: &str, kib: usize) -> Result<EngineTool> {
    let exe = std::env::current_exe()?;
    let exe = exe.to_string_lossy();
    let mut tool = tool(
        &format!("{engine}, {kib} KiB"),
        &[
            &exe,
            "--copy",
            engine,
            &kib.to_string(),
            "{source}",
            "{dest}",
        ],
    );
    tool.copies = engine != "null";
    Ok(tool)
}

/// cp first: the ratios are to it.
fn peers() -> Vec<EngineTool> {
    vec![
        tool("cp", &["cp", "{source}", "{dest}"]),
        tool(
            "dd bs=8M oflag=direct",
            &[
                "dd",
                "if={source}",
                "of={dest}",
                "bs=8M",
                "oflag=direct",
                "status=none",
            ],
        ),
    ]
}

/// Returns cp, dd, and every engine as users run it.
pub(super) fn users_tools() -> Vec<EngineTool> {
    let mut tools = peers();
    tools.push(mmapcp("mmapcp", &[]));
    for row in ENGINES {
        // From tmpfs to a disk they are always EXDEV.
        if !["copy-file-range", "reflink"].contains(&row.name) {
            tools.push(mmapcp(
                &format!("mmapcp --engine={}", row.name),
                &[&format!("--engine={}", row.name)],
            ));
        }
    }
    tools
}

/// Every engine as users run it, beside cp and dd, on small and on huge pages.
pub(crate) fn tools(settings: &Settings) -> Result<()> {
    let mut tools = users_tools();
    tools.push(chunked("null", 1024)?);
    each_source(settings, &tools)
}

/// What digests and reading back cost, beside a copy without them and beside cp with sha256sum.
pub(crate) fn assurance(settings: &Settings) -> Result<()> {
    let mut tools = vec![
        tool("cp", &["cp", "{source}", "{dest}"]),
        tool(
            "cp, then sha256sum of both",
            &[
                "sh",
                "-c",
                "cp \"$0\" \"$1\" && sync \"$1\" && sha256sum \"$0\" \"$1\"",
                "{source}",
                "{dest}",
            ],
        ),
        mmapcp("mmapcp", &[]),
    ];
    for options in [
        &["--checksum"][..],
        &["--checksum=blake3"],
        &["--verify"],
        &["--verify", "--checksum"],
    ] {
        tools.push(mmapcp(&format!("mmapcp {}", options.join(" ")), options));
    }
    each_source(settings, &tools)
}

/// Engines over chunk lengths.
pub(crate) fn chunks(settings: &Settings) -> Result<()> {
    let mut tools = peers();
    for engine in [
        "mmap",
        "splice",
        "direct",
        "dontcache",
        "buffered",
        "sendfile",
    ] {
        for kib in [64, 256, 1024, 2048, 8192] {
            // A pipe holds no more than 1 MiB.
            if engine != "splice" || kib <= 1024 {
                tools.push(chunked(engine, kib)?);
            }
        }
    }
    each_source(settings, &tools)
}

fn each_source(settings: &Settings, tools: &[EngineTool]) -> Result<()> {
    let dump = TmpfsDump::small_pages(settings.size)?;
    table("pages of 4 KiB", &dump, tools, settings)?;
    drop(dump);
    match TmpfsDump::huge_pages(settings.size) {
        Ok(dump) => table("huge pages", &dump, tools, settings),
        Err(e) => {
            println!("\nhuge pages: not run: {e}");
            Ok(())
        }
    }
}

fn table(title: &str, dump: &TmpfsDump, tools: &[EngineTool], settings: &Settings) -> Result<()> {
    let mut costs = vec![Vec::new(); tools.len()];
    for round in 0..settings.rounds {
        let mut order: Vec<usize> = (0..tools.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for i in order {
            costs[i].push(run(&tools[i], &dump.path(), &settings.on)?);
        }
    }
    let gb = settings.size as f64 / 1e9;
    println!(
        "\n{title}, {} MiB, medians of {} rounds\n",
        settings.size >> 20,
        settings.rounds
    );
    println!(
        "| tool | system CPU s/GB | to cp | all CPU s/GB | durable s/GB | to cp | cache left MB | peak RSS MB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let (cp_system, cp_durable) = (
        median(&costs[0], |c| c.system),
        median(&costs[0], |c| c.durable),
    );
    for (tool, costs) in tools.iter().zip(&costs) {
        let (system, durable) = (median(costs, |c| c.system), median(costs, |c| c.durable));
        println!(
            "| {} | {:.3} | {:.2} | {:.3} | {:.3} | {:.2} | {:.1} | {:.1} |",
            tool.name,
            system / gb,
            system / cp_system,
            median(costs, |c| c.system + c.user) / gb,
            durable / gb,
            durable / cp_durable,
            median(costs, |c| c.cached as f64) / 1e6,
            median(costs, |c| c.max_rss as f64) / 1e6,
        );
    }
    Ok(())
}

/// How often a trial of so many bytes finds the engine that is cheaper over the whole file.
pub(crate) fn trial_length(settings: &Settings) -> Result<()> {
    println!(
        "| pages | stretch MiB | trials | chose the cheaper | mmap CPU s/GB | splice CPU s/GB |"
    );
    println!("|---|---|---|---|---|---|");
    for huge in [false, true] {
        for mib in [1u64, 2, 4, 8, 16, 32, 64] {
            let make = if huge {
                TmpfsDump::huge_pages
            } else {
                TmpfsDump::small_pages
            };
            let dump = match make(mib << 20) {
                Ok(dump) => dump,
                Err(e) => {
                    println!("huge pages: not run: {e}");
                    return Ok(());
                }
            };
            let (mut right, mut costs) = (0, [Vec::new(), Vec::new()]);
            for _ in 0..settings.rounds {
                let [mmap, splice] =
                    ["mmap", "splice"].map(|e| cpu_of(e, &dump.path(), &settings.on));
                let (mmap, splice) = (mmap?.as_secs_f64(), splice?.as_secs_f64());
                right += usize::from((mmap < splice) == huge);
                costs[0].push(mmap);
                costs[1].push(splice);
            }
            let gb = (mib << 20) as f64 / 1e9;
            let [mmap, splice] = costs.map(|all| median_of(all) / gb);
            println!(
                "| {} | {mib} | {} | {right} | {mmap:.3} | {splice:.3} |",
                if huge { "2 MiB" } else { "4 KiB" },
                settings.rounds,
            );
        }
    }
    Ok(())
}

fn median(costs: &[EngineCost], of: impl Fn(&EngineCost) -> f64) -> f64 {
    median_of(costs.iter().map(of).collect())
}

fn median_of(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
