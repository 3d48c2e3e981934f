//! What a bystander feels on an idle machine, under cp, dd and each engine: on a free host, a full one, and a slow disk.
//!
//! ```text
//! cargo bench --bench stall                                   # four hosts, some nine minutes, as root
//! cargo bench --bench stall -- --quick                        # a look at whether it works
//! cargo bench --bench stall -- --hosts slow --size 1500M --on /mnt/disk
//! ```
//!
//! Each host is one `forklat compare`, which prepares it and restores it. All of them go into `stall.md` and `stall.json`.

#[path = "stall/forklat_child.rs"]
mod forklat_child;
#[path = "stall/host_setup.rs"]
mod host_setup;
#[path = "stall/table.rs"]
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use mmapcp::forklat::model::Report;
use mmapcp::report::signal_handlers::Signals;
use mmapcp::report::units::{format_clock, parse_bytes};
use serde::Serialize;

use forklat_child::ChildEnd;
use host_setup::Host;

/// The stall matrix: idle, cp, dd and each mmapcp engine on hosts that are free, squeezed or slow.
#[derive(Debug, Parser)]
struct StallArgs {
    /// A small copy, once, on a free host and a slow disk unless --hosts says otherwise: the figures mean nothing
    #[arg(long)]
    quick: bool,

    /// The hosts, in their order
    #[arg(long, value_name = "HOST,...", value_delimiter = ',')]
    hosts: Vec<Host>,

    /// The directory whose disk is copied to and asked
    #[arg(long, value_name = "DIR", default_value_os_t = relative_to_cwd(Path::new(env!("CARGO_TARGET_TMPDIR")).join("stall")))]
    on: PathBuf,

    /// Where stall.md and stall.json go
    #[arg(long, value_name = "DIR", default_value_os_t = relative_to_cwd(Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("stall")))]
    out: PathBuf,

    /// Size of the dump that is copied [default: 512M, quick 64M]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    size: Option<u64>,

    /// Copies by each tool on a slow disk; twice as many elsewhere, where they are sooner over [default: 2, quick 1 everywhere]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,

    /// What is left available on a squeezed host
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "400M")]
    squeeze: u64,

    /// What a slow disk takes in a second
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, default_value = "100M")]
    disk_limit: u64,

    /// cargo bench says so
    #[arg(long, hide = true)]
    bench: bool,
}

/// Why there is no report of a host.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Missing {
    /// We are not root, and forklat refused what may need it.
    NeedsRoot,
    /// How forklat ended.
    Failed(String),
}

/// What one host came to.
#[derive(Debug, Serialize)]
struct HostOutcome {
    host: Host,
    /// The command line of forklat.
    command: Vec<String>,
    missing: Option<Missing>,
    /// What forklat said meanwhile.
    said: Vec<String>,
    report: Option<Report>,
}

fn main() -> Result<()> {
    let words = StallArgs::parse();
    for dir in [&words.on, &words.out] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let signals = Signals::install()?;
    let hosts = words.hosts();
    let whole: Duration = hosts.iter().map(|host| host.estimate(&words)).sum();
    let (speed, whole) = (host_setup::ESTIMATED_RATE >> 20, format_clock(whole));
    println!("about {whole} in all, if the disk takes {speed} MiB/s where it is not held");
    let mut outcomes: Vec<HostOutcome> = Vec::new();
    for (n, host) in (1..).zip(&hosts) {
        let (name, estimate) = (host.name(), format_clock(host.estimate(&words)));
        println!("\n{n} of {}: {name}, about {estimate}", hosts.len());
        outcomes.push(measure(*host, &words, &signals)?);
        // After each: who interrupts it later keeps what there is.
        write(&outcomes, &words)?;
        print!(
            "\n{}",
            outcomes.last().map(table::section).unwrap_or_default()
        );
    }
    let out = words.out.display();
    println!("\nwritten: {out}/stall.md, {out}/stall.json");
    verdict(&outcomes)
}

impl Missing {
    fn of(host: Host, status: &ExitStatus) -> Self {
        if host.may_need_root() && !nix::unistd::geteuid().is_root() {
            Self::NeedsRoot
        } else {
            Self::Failed(status.to_string())
        }
    }
}

impl StallArgs {
    fn hosts(&self) -> Vec<Host> {
        match (self.hosts.is_empty(), self.quick) {
            (false, _) => self.hosts.clone(),
            (true, true) => vec![Host::Free, Host::Slow],
            (true, false) => Host::ALL.to_vec(),
        }
    }
}

fn measure(host: Host, words: &StallArgs, signals: &Signals) -> Result<HostOutcome> {
    let json = words.out.join(format!("{}.json", host.name()));
    let command = host.command(words, &json);
    // What an interrupted bench left is not what forklat is about to measure.
    if let Err(e) = fs::remove_file(&json)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(e).with_context(|| format!("cannot remove {}", json.display()));
    }
    let ChildEnd { status, said } = forklat_child::run(&command, signals)?;
    let report = fs::read(&json).ok().map(|text| {
        mmapcp::forklat::export::json_report::parse(&text)
            .map_err(|e| anyhow::anyhow!("{} {e}", json.display()))
    });
    let report = report.transpose()?;
    if report.is_some() {
        fs::remove_file(&json)?;
    }
    Ok(HostOutcome {
        host,
        missing: report.is_none().then(|| Missing::of(host, &status)),
        command,
        said,
        report,
    })
}

fn write(outcomes: &[HostOutcome], words: &StallArgs) -> Result<()> {
    let json = serde_json::to_string_pretty(outcomes)? + "\n";
    for (name, text) in [
        ("stall.json", json),
        ("stall.md", table::document(outcomes)),
    ] {
        let path = words.out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A host that needs root is no failure without it, nor is an engine that this disk refuses; a wrong copy is one.
fn verdict(outcomes: &[HostOutcome]) -> Result<()> {
    for outcome in outcomes {
        let name = outcome.host.name();
        if let Some(Missing::Failed(status)) = &outcome.missing {
            bail!("{name}: forklat ended with {status}");
        }
        let subjects = outcome.report.iter().flat_map(|report| &report.subjects);
        let mut copies = subjects.flat_map(|subject| &subject.copies);
        if copies.any(|copy| copy.status == 0 && copy.wrong.is_some()) {
            bail!("{name}: a copy differs from its source");
        }
    }
    Ok(())
}

/// As seen from here, where it lies below: names of this machine need not be in what is published.
fn relative_to_cwd(path: PathBuf) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).map(Path::to_owned).unwrap_or(path)
}
