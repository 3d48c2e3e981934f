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

/// A probe of a run, as `forklat run` knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedProbe {
    pub(crate) name: &'static str,
    /// How often it asks, in milliseconds. A run lasts for 5 s or more, and a p99 needs 200 answers.
    period_ms: u32,
    /// Whether there are enough answers for a p99.9.
    pub(crate) has_p999: bool,
}

/// All probes; the first five are asked unless others are named. exec and touch hold a CPU for 1 ms an answer, which the
/// wake-ups of the same run then feel.
pub(crate) const PROBES: [AskedProbe; 7] = [
    AskedProbe::new("fork", 2, true),
    AskedProbe::new("wakeup", 1, true),
    AskedProbe::new("write", 10, false),
    AskedProbe::new("fsync", 25, false),
    AskedProbe::new("read", 10, false),
    AskedProbe::new("exec", 25, false),
    AskedProbe::new("touch", 25, false),
];

impl AskedProbe {
    const fn new(name: &'static str, period_ms: u32, has_p999: bool) -> Self {
        Self {
            name,
            period_ms,
            has_p999,
        }
    }

    /// Returns the probe of this name.
    ///
    /// # Errors
    /// There is none; the message names all.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let named = PROBES.into_iter().find(|probe| probe.name == name);
        named.ok_or_else(|| format!("the probes are {}", PROBES.map(|p| p.name).join(", ")))
    }
}

/// What is measured, the same in each run.
#[derive(Debug)]
pub(crate) struct Series<'a> {
    pub(crate) tools: &'a [Tool],
    pub(crate) probes: &'a [AskedProbe],
    /// Where the copies go, and where write, fsync and read ask.
    pub(crate) directory: &'a Path,
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
}

/// What one run came to.
#[derive(Debug, Clone)]
pub(crate) struct RunFigures {
    /// Seconds until the tool exited.
    pub(crate) wall: f64,
    /// For each probe of the series.
    pub(crate) latencies: Vec<Percentiles>,
}

/// The upper percentiles of one probe over all CPUs, in milliseconds.
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

/// Runs all rounds. The result has a vector of rounds for each tool, in the order of the series.
///
/// # Errors
/// forklat or a tool fails, or a copy differs from its source in size.
pub(crate) fn measure(series: &Series, source: &Path) -> Result<Vec<Vec<RunFigures>>> {
    let mut random = series.seed | 1;
    let mut figures = vec![Vec::new(); series.tools.len()];
    for round in 1..=series.rounds {
        for index in shuffled(series.tools.len(), &mut random) {
            let tool = series.tools[index];
            let run = run_once(tool, series, source)
                .with_context(|| format!("round {round}, {}", tool.name))?;
            print!("{round} {:14} {:6.2} s", tool.name, run.wall);
            for (probe, ms) in series.probes.iter().zip(&run.latencies) {
                print!(
                    "  {} {:.2} {:.2} {:.2}",
                    probe.name, ms.p99, ms.p999, ms.max
                );
            }
            println!(" ms");
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

fn run_once(tool: Tool, series: &Series, source: &Path) -> Result<RunFigures> {
    let (dest, export) = (
        series.directory.join("copy"),
        series.directory.join("run.json"),
    );
    let _ = fs::remove_file(&dest);
    ensure!(Command::new("sync").status()?.success(), "sync failed");
    let names: Vec<&str> = series.probes.iter().map(|probe| probe.name).collect();
    let periods = series
        .probes
        .iter()
        .map(|probe| format!("--period={}={}ms", probe.name, probe.period_ms));
    let output = Command::new(env!("CARGO_BIN_EXE_forklat"))
        .arg("run")
        .arg(format!("--probe={}", names.join(",")))
        .args(periods)
        .arg("--on")
        .arg(series.directory)
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
    read_report(&report, series.probes)
}

fn read_report(report: &Value, probes: &[AskedProbe]) -> Result<RunFigures> {
    let subjects = report["subjects"].as_array().context("no subjects")?;
    let during = subjects.iter().find(|subject| subject["name"] == "during");
    let during = during.context("no span `during`")?;
    Ok(RunFigures {
        wall: during["seconds"].as_f64().context("no `seconds`")?,
        latencies: probes
            .iter()
            .map(|probe| percentiles(during, probe.name))
            .collect::<Result<_>>()?,
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
