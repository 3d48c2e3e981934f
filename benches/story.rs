//! The story of 2013 on other kernels: what bystanders wait while `cp` and `mmapcp` copy a dump to a slow disk.
//!
//! ```text
//! cargo bench --bench story                                     # cp and mmapcp on two kernels, three runs each: some ten minutes
//! cargo bench --bench story -- --kernel 5.10,6.1,6.12,6.18,7.2  # every kernel of the catalogue
//! cargo bench --bench story -- --engines                        # each engine, and governed
//! cargo bench --bench story -- --dirty 20/10                    # a control: the kernel begins to write early
//! cargo bench --bench story -- --memory 2G --slack 2G           # a control: memory is plenty
//! ```
//!
//! Each run is a virtual machine of its own. Needs QEMU, busybox, cpio and a way to Debian's archive; no root. The results go
//! to `story.json`, `story.md` and `story.svg`.

#[path = "story/svg_chart.rs"]
mod svg_chart;
#[path = "story/table.rs"]
mod table;

// The tests of the laboratory use what is not needed here.
#[path = "../tests/lab/kernel/mod.rs"]
#[allow(dead_code)]
mod kernel;
#[path = "../tests/seeded_rng.rs"]
#[allow(dead_code)]
mod seeded_rng;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use mmapcp::report::units::parse_bytes;
use serde::Serialize;

use kernel::debian_archive::{self, Kernel};
use kernel::slow_disk_scenario::{BystanderWaits, SlowDiskScenario};
use kernel::{kernel_series, static_programs};

/// Copies a dump to a slow disk in virtual machines whose memory is nearly full.
#[derive(Debug, Parser)]
struct StoryArgs {
    /// Series of Debian's kernels
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "6.1,6.18"
    )]
    kernel: Vec<String>,

    /// Machines for each tool on each kernel
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Beside cp and mmapcp: each engine, and mmapcp --max-write-latency=50ms
    #[arg(long)]
    engines: bool,

    /// Instead of them: NAME=COMMAND with {source} and {dest}; may be given again
    #[arg(long, value_name = "NAME=COMMAND")]
    tool: Vec<String>,

    /// Memory of the machine
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "512M")]
    memory: u64,

    /// What is left available before the observers start, which take 40 MiB; as much as there is where that is less
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "100M")]
    slack: u64,

    /// Bytes of the dump
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "200M")]
    dump: u64,

    /// What the disk reads and writes in a second
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, default_value = "20MB")]
    disk: u64,

    /// vm.dirty_ratio and vm.dirty_background_ratio
    #[arg(long, value_name = "PERCENT/PERCENT", value_parser = ratios, default_value = "90/89")]
    dirty: (u8, u8),

    /// Where the results go
    #[arg(long, value_name = "DIR", default_value_os_t = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("story"))]
    out: PathBuf,

    /// cargo bench says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn ratios(text: &str) -> Result<(u8, u8), String> {
    let wrong = || format!("{text:?} is not like 90/89");
    let (dirty, background) = text.split_once('/').ok_or_else(wrong)?;
    let percent = |text: &str| text.parse().ok().filter(|n| *n <= 100).ok_or_else(wrong);
    Ok((percent(dirty)?, percent(background)?))
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Story {
    /// The kernel that emulates, and the load on it.
    host: String,
    scene: SlowDiskScenario,
    rows: Vec<ToolRuns>,
}

/// One tool on one kernel.
#[derive(Debug, Serialize)]
struct ToolRuns {
    series: &'static str,
    tool: String,
    runs: Vec<BystanderWaits>,
}

fn main() -> Result<()> {
    let words = StoryArgs::parse();
    let out = &words.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let named = words
        .kernel
        .iter()
        .map(|name| kernel_series::find_series(name));
    let kernels = debian_archive::fetch(&named.collect::<Result<Vec<_>>>()?)?;
    let programs = static_programs::build(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let mut story = Story {
        host: host(),
        scene: words.scene(""),
        rows: Vec::new(),
    };
    for kernel in &kernels {
        for (tool, command) in words.tools()? {
            let row = words.row(kernel, &tool, &command, &programs)?;
            println!("{}", table::line(&row));
            story.rows.push(row);
        }
    }
    let markdown = table::markdown(&story);
    println!("\n{markdown}");
    fs::write(out.join("story.json"), serde_json::to_vec_pretty(&story)?)?;
    fs::write(out.join("story.md"), markdown)?;
    fs::write(out.join("story.svg"), svg_chart::svg(&story))?;
    println!("written to {}", out.display());
    Ok(())
}

impl StoryArgs {
    fn scene(&self, tool: &str) -> SlowDiskScenario {
        SlowDiskScenario {
            memory_mib: u32::try_from(self.memory >> 20).unwrap_or(u32::MAX),
            slack_mib: self.slack >> 20,
            dump_mib: self.dump >> 20,
            disk_rate: self.disk,
            dirty_ratio: self.dirty.0,
            background_ratio: self.dirty.1,
            tool: tool.into(),
        }
    }

    /// Names and commands.
    fn tools(&self) -> Result<Vec<(String, String)>> {
        if !self.tool.is_empty() {
            let split = |text: &String| {
                let (name, command) = text
                    .split_once('=')
                    .with_context(|| format!("{text:?} is not NAME=COMMAND"))?;
                Ok((name.to_owned(), command.to_owned()))
            };
            return self.tool.iter().map(split).collect();
        }
        let ours = |option: &str| {
            let name = format!("mmapcp {option}").trim_end().to_owned();
            (name, format!("mmapcp {option} {{source}} {{dest}}"))
        };
        let mut tools = vec![("cp".into(), "cp {source} {dest}".into()), ours("")];
        if self.engines {
            for engine in [
                "mmap",
                "splice",
                "direct",
                "dontcache",
                "sendfile",
                "buffered",
            ] {
                tools.push(ours(&format!("--engine={engine}")));
            }
            tools.push(ours("--max-write-latency=50ms"));
        }
        Ok(tools)
    }

    fn row(&self, kernel: &Kernel, tool: &str, command: &str, programs: &Path) -> Result<ToolRuns> {
        let scene = self.scene(command);
        let mut runs = Vec::new();
        for _ in 0..self.runs {
            let felt = scene.run_guest(kernel, programs, &self.out);
            runs.push(felt.with_context(|| format!("{tool} on {}", kernel.package))?);
        }
        Ok(ToolRuns {
            series: kernel.series.name,
            tool: tool.into(),
            runs,
        })
    }
}

/// The machine that emulates, and who else is busy there.
fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "Linux {}, {cpus} CPUs, load {}",
        kernel.trim(),
        load.split(' ').next().unwrap_or_default()
    )
}
