//! A crash storm: many collectors start at once and copy to one slow disk, each for itself or by one queue.
//!
//! ```text
//! cargo bench --bench storm                          # 30 files of 20 to 200 MiB, a disk of 100 MB/s, as root
//! cargo bench --bench storm -- --rounds 5 --files 30 --least 100M --most 1G
//! ```
//!
//! The disk is made and removed by `forklat compare`, which also measures what others feel meanwhile.

#[path = "stall/forklat_child.rs"]
mod forklat_child;
#[path = "../tests/seeded_rng.rs"]
#[allow(dead_code)]
mod seeded_rng;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use mmapcp::forklat::export::json_report::parse;
use mmapcp::forklat::model::Report;
use mmapcp::report::signal_handlers::Signals;
use mmapcp::report::units::parse_bytes;
use seeded_rng::SeededRng;

/// The script that starts the collectors.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/storm/collectors.sh");

/// Bytes that are written to a source at a time.
const BLOCK_BYTES: usize = 1 << 20;

/// Many collectors that start at once.
#[derive(Debug, Parser)]
struct StormArgs {
    /// Rounds, each with every tool in random order
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Collectors of a storm
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u64).range(2..))]
    files: u64,

    /// Bytes of the smallest file
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "20M")]
    least: u64,

    /// Bytes of the largest file
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "200M")]
    most: u64,

    /// What the disk takes in a second
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, default_value = "100MB")]
    disk_limit: u64,

    /// The directory in which the disk is made
    #[arg(long, value_name = "DIR", default_value_os_t = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("storm"))]
    on: PathBuf,

    /// cargo bench says so
    #[arg(long, hide = true)]
    bench: bool,
}

/// The commands of the collectors, by the names of their rows. `cp` is followed by `sync`.
fn tools() -> [(&'static str, String); 4] {
    let mmapcp = env!("CARGO_BIN_EXE_mmapcp");
    [
        ("cp", "cp".into()),
        ("mmapcp", format!("{mmapcp} --fsync")),
        ("queue", format!("{mmapcp} --fsync --queue")),
        (
            "queue-governed",
            format!("{mmapcp} --fsync --queue --max-write-latency=50ms"),
        ),
    ]
}

/// What a storm left, of all rounds of a tool.
#[derive(Debug, Default)]
struct StormLog {
    /// Milliseconds until each file was durable, round by round.
    durable: Vec<Vec<u64>>,
    /// Seconds of CPU time of all collectors, round by round.
    cpu: Vec<f64>,
}

fn main() -> Result<()> {
    let words = StormArgs::parse();
    fs::create_dir_all(&words.on).with_context(|| format!("cannot make {}", words.on.display()))?;
    let signals = Signals::install()?;
    let sources = tempfile::Builder::new()
        .prefix("mmapcp-storm.")
        .tempdir_in("/dev/shm")?;
    let total = words.make_sources(sources.path())?;
    let place = tempfile::tempdir()?;
    let (log, json) = (place.path().join("log"), place.path().join("json"));
    let small = place.path().join("small");
    fs::write(&small, "small")?;
    let command = words.command((sources.path(), &small), (&log, &json), total);
    let ended = forklat_child::run(&command, &signals)?;
    let last = ended.said.last().map_or("nothing", String::as_str);
    ensure!(ended.status.success(), "forklat: {}: {last}", ended.status);
    let report = parse(&fs::read(&json)?)?;
    let logs = read_log(&fs::read_to_string(&log)?, words.files)?;
    println!(
        "\n## A storm of {} collectors, {} MiB in all, disk of {:.0} MB/s below its scheduler, {} rounds\n",
        words.files,
        total >> 20,
        words.disk_limit as f64 / 1e6,
        words.rounds
    );
    print_table(&logs, &report);
    Ok(())
}

impl StormArgs {
    /// Makes the files, whose sizes are spread evenly and named in random order; returns their bytes.
    fn make_sources(&self, dir: &Path) -> Result<u64> {
        ensure!(self.most >= self.least, "--most is less than --least");
        let mut rng = SeededRng(20_261_201);
        let mut block = vec![0_u8; BLOCK_BYTES];
        let step = (self.most - self.least) / (self.files - 1);
        let mut total = 0;
        for n in 0..self.files {
            // 7 and any number of files that it does not divide: every size once, in no order.
            let place = n * 7 % self.files;
            let size = self.least + step * n;
            let mut file = File::create(dir.join(format!("dump.{place:03}.{n:03}")))?;
            let mut left = size;
            while left > 0 {
                block[..8].copy_from_slice(&rng.bits().to_ne_bytes());
                let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
                file.write_all(&block[..bytes])?;
                left -= bytes as u64;
            }
            total += size;
        }
        Ok(total)
    }

    /// Returns the words of `forklat compare`.
    fn command(
        &self,
        (sources, small): (&Path, &Path),
        (log, json): (&Path, &Path),
        total: u64,
    ) -> Vec<String> {
        let mut words: Vec<String> = ["forklat", "compare", "--no-repeat", "--warm-up=0"]
            .map(Into::into)
            .into();
        words.push(format!("--runs={}", self.rounds));
        words.push(format!("--on={}", self.on.display()));
        words.push(format!("--disk-limit={}", self.disk_limit));
        words.push(format!(
            "--disk-limit-size={}",
            total + total / 4 + (1 << 30)
        ));
        words.push(format!("--source={}", small.display()));
        words.push("--probe=fork,write,fsync".into());
        words.push(format!("--export-json={}", json.display()));
        for (name, tool) in tools() {
            let (sources, log) = (sources.display(), log.display());
            words.push("--tool".into());
            words.push(format!(
                "{name}=sh {SCRIPT} '{tool}' {sources} {{dest}} {log} {{source}}"
            ));
        }
        words
    }
}

/// Reads what the script has written. A file that was not copied, or differs, is an error.
fn read_log(text: &str, files: u64) -> Result<BTreeMap<&'static str, StormLog>> {
    let mut logs: BTreeMap<&'static str, StormLog> = BTreeMap::new();
    for (name, tool) in tools() {
        let log = logs.entry(name).or_default();
        let mut round = Vec::new();
        let prefix = format!("{tool} ");
        let own = |line: &&str| {
            // One tool's words may begin another's.
            let rest = line.strip_prefix(&prefix)?;
            (rest.starts_with("dump.") || rest.starts_with("times ")).then(|| rest.to_owned())
        };
        for line in text.lines().filter_map(|line| own(&line)) {
            let fields: Vec<&str> = line.split(' ').collect();
            match fields.as_slice() {
                ["times", cpu, ..] => {
                    ensure!(
                        round.len() as u64 == files,
                        "{name}: {} copies",
                        round.len()
                    );
                    log.cpu
                        .push(cpu.split('+').map(seconds).sum::<Result<f64>>()?);
                    log.durable.push(std::mem::take(&mut round));
                }
                [_, "0", milliseconds] => round.push(milliseconds.parse()?),
                _ => bail!("{name}: {line}"),
            }
        }
    }
    Ok(logs)
}

/// Reads a time as the shell's `times` prints it: `0m1.250s`.
fn seconds(text: &str) -> Result<f64> {
    let (minutes, rest) = text
        .split_once('m')
        .with_context(|| format!("time {text}"))?;
    let rest = rest.trim_end_matches('s');
    Ok(minutes.parse::<f64>()? * 60.0 + rest.parse::<f64>()?)
}

fn print_table(logs: &BTreeMap<&'static str, StormLog>, report: &Report) {
    println!(
        "Each round's figure. Until the first, the median and the last copy is durable, in s; p99 of others, in ms.\n"
    );
    println!("| | first | median | last | CPU, s | fork | write | fsync |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (name, _) in tools() {
        let log = &logs[name];
        let nth = |place: fn(usize) -> usize| {
            let round = |times: &Vec<u64>| {
                let mut times = times.clone();
                times.sort_unstable();
                format!("{:.1}", times[place(times.len())] as f64 / 1000.0)
            };
            log.durable.iter().map(round).collect::<Vec<_>>().join(" ")
        };
        let cpu: Vec<_> = log.cpu.iter().map(|cpu| format!("{cpu:.2}")).collect();
        let p99 = |probe| p99_by_round(report, name, probe);
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            nth(|_| 0),
            nth(|count| count / 2),
            nth(|count| count - 1),
            cpu.join(" "),
            p99("fork"),
            p99("write"),
            p99("fsync")
        );
    }
}

/// Returns the 99th percentile of a probe in each round until the last collector exited, in milliseconds.
fn p99_by_round(report: &Report, name: &str, probe: &str) -> String {
    let subjects = report
        .subjects
        .iter()
        .filter(|subject| subject.name == name);
    let runs = subjects.flat_map(|subject| &subject.runs);
    let figures = runs.filter_map(|run| run.probe("until exit", probe)?.latency.figures);
    let figures = figures.map(|f| format!("{:.1}", f.p99 / 1e3));
    figures.collect::<Vec<_>>().join(" ")
}
