//! `write` and `fork`: the latency that a target leaves to others, and the best fixed rate that leaves them the same.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mmapcp::forklat::export::json_report::parse;
use mmapcp::forklat::model::{Report, Subject, SummaryStats};
use mmapcp::report::signal_handlers::Signals;

use crate::forklat_child::{ChildEnd, run};
use crate::{ThrottleArgs, median};

/// Of a dump of forklat, three parts of so many are holes (forklat's own words say that it has holes).
const DUMP_DATA_FRACTION: (f64, f64) = (29.0, 32.0);

/// How far a target may be missed and still count as held.
const TARGET_TOLERANCE: f64 = 1.2;

const MIB: f64 = 1_048_576.0;

/// One table.
struct LatencyExperiment<'a> {
    title: String,
    option: &'static str,
    targets: Vec<Duration>,
    probe: &'static str,
    /// For forklat.
    host: [String; 2],
    size: u64,
    words: &'a ThrottleArgs,
    signals: &'a Signals,
}

/// What others felt of one copy, and how fast that was.
#[derive(Debug, Clone)]
struct RunLatency {
    name: String,
    /// Milliseconds.
    p99: f64,
    max: f64,
    answers: u64,
    /// Bytes of data a second, from start to exit.
    rate: f64,
}

/// A fixed rate that leaves others what a governed copy left them is sought between two.
#[derive(Debug)]
struct FixedRateSearch {
    /// What the governed copies left, in milliseconds.
    wanted: f64,
    good: f64,
    bad: f64,
    best: Option<RunLatency>,
}

/// A slow disk.
pub(crate) fn write(words: &ThrottleArgs, signals: &Signals) -> Result<()> {
    let case = LatencyExperiment {
        title: format!(
            "--max-write-latency, disk held to {:.0} MB/s",
            words.disk_limit as f64 / 1e6
        ),
        option: "--max-write-latency",
        targets: given_or_default(&words.target, &[50]),
        probe: "fsync",
        host: ["--disk-limit-above".into(), words.disk_limit.to_string()],
        size: words.size.unwrap_or(1600 << 20),
        words,
        signals,
    };
    case.table()
}

/// A host that is nearly full.
pub(crate) fn fork(words: &ThrottleArgs, signals: &Signals) -> Result<()> {
    let case = LatencyExperiment {
        title: format!(
            "--max-fork-latency, {} MiB left available",
            words.squeeze >> 20
        ),
        option: "--max-fork-latency",
        targets: given_or_default(&words.target, &[2, 5, 20]),
        probe: "fork",
        host: ["--squeeze".into(), words.squeeze.to_string()],
        size: words.size.unwrap_or(4 << 30),
        words,
        signals,
    };
    case.table()
}

fn given_or_default(given: &[Duration], milliseconds: &[u64]) -> Vec<Duration> {
    if given.is_empty() {
        milliseconds
            .iter()
            .map(|ms| Duration::from_millis(*ms))
            .collect()
    } else {
        given.to_vec()
    }
}

impl LatencyExperiment<'_> {
    fn table(&self) -> Result<()> {
        let mut tools = vec![
            ("cp".to_owned(), "cp {source} {dest}".to_owned()),
            mmapcp_tool("mmapcp", ""),
        ];
        for target in &self.targets {
            let option = format!("{}={}us", self.option, target.as_micros());
            tools.push(mmapcp_tool(&option, &option));
        }
        let mut all = Vec::new();
        for _ in 0..self.words.runs {
            all.extend(self.compare(&tools, self.size)?);
        }
        let of = |name: &str| -> Vec<RunLatency> {
            all.iter()
                .filter(|felt| felt.name == name)
                .cloned()
                .collect()
        };
        println!("\n## {}: the `{}` probe\n", self.title, self.probe);
        println!("| | p99 ms of each run | median p99 | max ms | answers a run | MB/s |");
        println!("|---|---|---:|---:|---:|---:|");
        for name in ["idle"]
            .into_iter()
            .chain(tools.iter().map(|(name, _)| name.as_str()))
        {
            println!("{}", line(name, &of(name)));
        }
        println!(
            "\n{} MB of data a copy; load average afterwards {}",
            self.size / 1_000_000,
            crate::load()
        );
        let governed: Vec<Vec<RunLatency>> = tools[2..].iter().map(|(name, _)| of(name)).collect();
        let free = median(of("mmapcp").iter().map(|felt| felt.rate));
        let found = self.search(&governed, free)?;
        self.verdicts(&governed, &found);
        Ok(())
    }

    /// One copy by each, and what others felt meanwhile.
    fn compare(&self, tools: &[(String, String)], size: u64) -> Result<Vec<RunLatency>> {
        // Named, not temporary: a signal ends this bench where forklat has ended, before anything could be dropped.
        let json = self.words.on.join("felt.json");
        let mut line: Vec<String> = ["forklat", "compare", "--runs", "1", "--probe", self.probe]
            .map(Into::into)
            .into();
        line.extend([
            "--baseline".into(),
            "5s".into(),
            "--size".into(),
            size.to_string(),
        ]);
        line.extend(["--on".into(), self.words.on.display().to_string()]);
        line.extend(self.host.clone());
        for (name, command) in tools {
            // A name ends at the first `=`, and may begin as an option does.
            let name = name.replace('=', " ");
            line.push(format!("--tool={name}={command}"));
        }
        line.extend(["--export-json".into(), json.display().to_string()]);
        let ChildEnd { status, said } = run(&line, self.signals)?;
        if !status.success() {
            bail!("forklat ended with {status}: {}", said.join("; "));
        }
        let report = read(&json)?;
        fs::remove_file(&json)?;
        for note in &report.notes {
            println!("note: {note}");
        }
        let names = ["idle"]
            .into_iter()
            .chain(tools.iter().map(|(name, _)| name.as_str()));
        let subjects = report.subjects.iter().zip(names);
        subjects
            .map(|(subject, name)| felt(subject, name, self.probe, size))
            .collect()
    }

    /// For each target a fixed rate, by bisection of all at once: a comparison a step.
    fn search(&self, governed: &[Vec<RunLatency>], free: f64) -> Result<Vec<FixedRateSearch>> {
        let mut found: Vec<FixedRateSearch> = governed
            .iter()
            .map(|runs| FixedRateSearch {
                wanted: median(runs.iter().map(|felt| felt.p99)),
                // Slower than a quarter of what the governor reached is not looked for, nor faster than without a limit.
                good: median(runs.iter().map(|felt| felt.rate)) / 4.0,
                bad: free * 1.1,
                best: None,
            })
            .collect();
        for _ in 0..self.words.steps {
            let tried = |search: &FixedRateSearch| (search.good * search.bad).sqrt();
            let tools: Vec<_> = found
                .iter()
                .enumerate()
                .map(|(n, search)| {
                    let option = format!("--limit-rate={:.0}", tried(search));
                    mmapcp_tool(&format!("{n} {option}"), &option)
                })
                .collect();
            let felt = self.compare(&tools, self.words.try_size)?;
            // The first is the idle machine.
            for (search, felt) in found.iter_mut().zip(&felt[1..]) {
                println!(
                    "step: {} p99 {:.2} ms, {:.1} MB/s; wanted {:.2} ms",
                    felt.name,
                    felt.p99,
                    felt.rate / 1e6,
                    search.wanted
                );
                if felt.p99 <= search.wanted {
                    search.good = tried(search);
                    search.best = Some(felt.clone());
                } else {
                    search.bad = tried(search);
                }
            }
        }
        Ok(found)
    }

    fn verdicts(&self, governed: &[Vec<RunLatency>], found: &[FixedRateSearch]) {
        println!(
            "\n| target | runs within 20 % | MB/s governed | best fixed MB/s with that p99 | its p99 ms | governed / fixed |"
        );
        println!("|---|---:|---:|---:|---:|---:|");
        for ((target, runs), search) in self.targets.iter().zip(governed).zip(found) {
            let most = target.as_secs_f64() * 1e3 * TARGET_TOLERANCE;
            let held = runs.iter().filter(|felt| felt.p99 <= most).count();
            let rate = median(runs.iter().map(|felt| felt.rate)) / 1e6;
            let fixed = match &search.best {
                Some(best) => format!(
                    "{:.1} | {:.2} | {:.2}",
                    best.rate / 1e6,
                    best.p99,
                    rate * 1e6 / best.rate
                ),
                None => format!("none above {:.1} | - | -", search.good / 1e6),
            };
            println!(
                "| {target:?} | {held} of {} | {rate:.1} | {fixed} |",
                runs.len()
            );
        }
        println!(
            "\nFixed rates: {} steps, {:.0} MiB each; of less than 100 answers the p99 is the worst.",
            self.words.steps,
            self.words.try_size as f64 / MIB
        );
    }
}

fn mmapcp_tool(name: &str, option: &str) -> (String, String) {
    let program = shell_words::quote(env!("CARGO_BIN_EXE_mmapcp"));
    (
        name.into(),
        format!("{program} --progress=never {option} {{source}} {{dest}}"),
    )
}

fn read(json: &Path) -> Result<Report> {
    let text = fs::read(json).with_context(|| format!("cannot read {}", json.display()))?;
    parse(&text).map_err(|e| anyhow::anyhow!("{} {e}", json.display()))
}

fn felt(subject: &Subject, name: &str, probe: &str, size: u64) -> Result<RunLatency> {
    let asked = subject
        .probes
        .iter()
        .find(|p| p.name == probe && p.cpu.is_none());
    let latency = &asked.context("no answers")?.latency;
    let SummaryStats { p99, max, .. } = latency
        .figures
        .with_context(|| format!("{name}: no answers"))?;
    let data = size as f64 * DUMP_DATA_FRACTION.0 / DUMP_DATA_FRACTION.1;
    let wall = subject.copies.first().map(|copy| copy.wall);
    Ok(RunLatency {
        name: name.to_owned(),
        p99: p99 / 1e3,
        max: max / 1e3,
        answers: latency.count,
        rate: wall.map_or(0.0, |wall| data / wall),
    })
}

fn line(name: &str, runs: &[RunLatency]) -> String {
    let each: Vec<String> = runs.iter().map(|felt| format!("{:.2}", felt.p99)).collect();
    format!(
        "| `{name}` | {} | {:.2} | {:.1} | {} | {:.1} |",
        each.join(", "),
        median(runs.iter().map(|felt| felt.p99)),
        runs.iter().map(|felt| felt.max).fold(0.0, f64::max),
        runs.iter().map(|felt| felt.answers).min().unwrap_or(0),
        median(runs.iter().map(|felt| felt.rate)) / 1e6
    )
}
