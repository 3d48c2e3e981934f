//! Rounds in which each tool copies the dump once, in an order drawn anew, under `forklat run`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A tool that copies `$1` to `$2`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// A command line for sh(1). `$M` is the mmapcp that was built with this bench.
    command: &'static str,
}

/// All tools, the one that others are compared with first.
pub(crate) const TOOLS: [Tool; 9] = [
    Tool::new(
        "dd-1m",
        "exec dd if=\"$1\" of=\"$2\" bs=1M oflag=direct status=none",
    ),
    Tool::new(
        "dd-8m",
        "exec dd if=\"$1\" of=\"$2\" bs=8M oflag=direct status=none",
    ),
    Tool::new("mmapcp", "exec \"$M\" \"$1\" \"$2\""),
    Tool::new("mmapcp-mmap", "exec \"$M\" --engine=mmap \"$1\" \"$2\""),
    Tool::new("mmapcp-splice", "exec \"$M\" --engine=splice \"$1\" \"$2\""),
    Tool::new("mmapcp-direct", "exec \"$M\" --engine=direct \"$1\" \"$2\""),
    Tool::new("cp", "exec cp \"$1\" \"$2\""),
    Tool::new("cp-and-sync", "cp \"$1\" \"$2\" && exec sync \"$2\""),
    Tool::new("idle", "exec sleep 5"),
];

impl Tool {
    const fn new(name: &'static str, command: &'static str) -> Self {
        Self { name, command }
    }

    /// Returns the tool of this name.
    ///
    /// # Errors
    /// There is none; the message names all.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        TOOLS
            .into_iter()
            .find(|tool| tool.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
                format!("the tools are {}", names.join(", "))
            })
    }
}

/// What one run came to. Latencies are in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunFigures {
    /// Seconds until the tool exited.
    pub(crate) wall: f64,
    pub(crate) fork: Percentiles,
    pub(crate) wakeup: Percentiles,
}

/// The upper percentiles of one probe, over all CPUs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Percentiles {
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Returns a seed that differs from run to run.
pub(crate) fn draw_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64 | 1)
}

/// Runs all rounds. The result has a vector of rounds for each tool, in the order of `tools`.
///
/// # Errors
/// forklat or a tool fails, or a copy differs from its source in size.
pub(crate) fn measure(
    tools: &[Tool],
    source: &Path,
    directory: &Path,
    rounds: u32,
    seed: u64,
) -> Result<Vec<Vec<RunFigures>>> {
    let mut random = seed | 1;
    let mut figures = vec![Vec::new(); tools.len()];
    for round in 1..=rounds {
        for index in shuffled(tools.len(), &mut random) {
            let tool = tools[index];
            let run = run_once(tool, source, directory)
                .with_context(|| format!("round {round}, {}", tool.name))?;
            println!(
                "{round} {:14} {:6.2} s  fork {:.2} {:.2} {:.2}  wakeup {:.2} {:.2} {:.2} ms",
                tool.name,
                run.wall,
                run.fork.p99,
                run.fork.p999,
                run.fork.max,
                run.wakeup.p99,
                run.wakeup.p999,
                run.wakeup.max,
            );
            figures[index].push(run);
        }
    }
    Ok(figures)
}

/// Returns the numbers below `count` in an order drawn by xorshift and Fisher-Yates.
fn shuffled(count: usize, random: &mut u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        order.swap(last, (*random % (last as u64 + 1)) as usize);
    }
    order
}

fn run_once(tool: Tool, source: &Path, directory: &Path) -> Result<RunFigures> {
    let (dest, export) = (directory.join("copy"), directory.join("run.json"));
    let _ = fs::remove_file(&dest);
    ensure!(Command::new("sync").status()?.success(), "sync failed");
    let output = Command::new(env!("CARGO_BIN_EXE_forklat"))
        .args(["run", "--probe=fork,wakeup", "--period=fork=2ms"])
        .args(["--baseline=0", "--settle=0", "--export-json"])
        .arg(&export)
        .args(["--", "sh", "-c", tool.command, "sh"])
        .args([source, &dest])
        .env("M", env!("CARGO_BIN_EXE_mmapcp"))
        .output()?;
    ensure!(
        output.status.success(),
        "forklat: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    if tool.name != "idle" {
        let copied = fs::metadata(&dest)?.len();
        ensure!(
            copied == fs::metadata(source)?.len(),
            "{copied} bytes were copied"
        );
    }
    let report: Value = serde_json::from_slice(&fs::read(&export)?)?;
    fs::remove_file(&export)?;
    let _ = fs::remove_file(&dest);
    read_report(&report)
}

fn read_report(report: &Value) -> Result<RunFigures> {
    let subjects = report["subjects"].as_array().context("no subjects")?;
    let during = subjects.iter().find(|subject| subject["name"] == "during");
    let during = during.context("no span `during`")?;
    Ok(RunFigures {
        wall: during["seconds"].as_f64().context("no `seconds`")?,
        fork: percentiles(during, "fork")?,
        wakeup: percentiles(during, "wakeup")?,
    })
}

/// Reads the figures of a probe over all CPUs. forklat exports microseconds.
fn percentiles(subject: &Value, name: &str) -> Result<Percentiles> {
    let probes = subject["probes"].as_array().context("no probes")?;
    let probe = probes
        .iter()
        .find(|probe| probe["name"] == name && probe["cpu"].is_null());
    let latency = &probe.with_context(|| format!("no probe {name}"))?["latency"];
    let milliseconds = |key: &str| {
        let value = latency[key].as_f64();
        value
            .map(|us| us / 1000.0)
            .with_context(|| format!("no `{key}` of {name}"))
    };
    Ok(Percentiles {
        p99: milliseconds("p99")?,
        p999: milliseconds("p999")?,
        max: milliseconds("max")?,
    })
}
