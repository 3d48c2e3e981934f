//! One run of one tool, and what it cost.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mmapcp::sys::cpu::thread_cpu_time;
use mmapcp::sys::residency::resident_bytes;
use mmapcp::transfer::capabilities::SourceInfo;
use mmapcp::transfer::{TransferOptions, engine};
use nix::sys::resource::{UsageWho, getrusage};

/// Something that copies a file.
#[derive(Clone)]
pub(crate) struct EngineTool {
    /// For the table.
    pub(crate) name: String,
    /// The command, before source and destination are put in for `{source}` and `{dest}`.
    pub(crate) command: Vec<String>,
    /// Whether its result is a copy (the null engine's is none).
    pub(crate) copies: bool,
}

impl EngineTool {
    /// Returns the command with the source and the destination in it.
    pub(crate) fn words(&self, source: &Path, dest: &Path) -> Vec<String> {
        let [source, dest] = [source, dest].map(|path| path.display().to_string());
        let words = self.command.iter();
        words
            .map(|word| word.replace("{source}", &source).replace("{dest}", &dest))
            .collect()
    }
}

/// The cost of one run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EngineCost {
    /// CPU seconds in user mode.
    pub(crate) user: f64,
    /// CPU seconds in the kernel.
    pub(crate) system: f64,
    /// Seconds until it ended and fsync returned.
    pub(crate) durable: f64,
    /// Bytes of the destination in the page cache when it ended, before the fsync.
    pub(crate) cached: u64,
    /// Peak resident size in bytes. The observer's own, some 5 MB, is the least that can be seen.
    pub(crate) max_rss: u64,
}

/// Runs `tool` once, from a state that is the same each time.
pub(crate) fn run(tool: &EngineTool, source: &Path, dir: &Path) -> Result<EngineCost> {
    let fresh = tempfile::tempdir_in(dir)?;
    let dest = fresh.path().join("copy");
    nix::unistd::sync();
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    let output = Command::new(std::env::current_exe()?)
        .arg("--observe")
        .args(tool.words(source, &dest))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{}: {}", tool.name, String::from_utf8_lossy(&output.stderr));
    }
    let copy = File::open(&dest)?;
    let cached = resident_bytes(&copy, 0, copy.metadata()?.len())?;
    copy.sync_all()?;
    let durable = started.elapsed().as_secs_f64();
    if tool.copies {
        compare(source, &dest).with_context(|| tool.name.clone())?;
    }
    let last = text.lines().last().unwrap_or_default();
    let figures: Vec<f64> = last.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [user, system, max_rss] = figures[..] else {
        bail!("{}: no figures in {last:?}", tool.name)
    };
    Ok(EngineCost {
        user,
        system,
        durable,
        cached,
        max_rss: max_rss as u64,
    })
}

/// Runs a command as the only child of this process, and prints its CPU seconds and peak size.
pub(crate) fn observe(words: &[String]) -> Result<()> {
    let (program, arguments) = words.split_first().context("nothing to observe")?;
    let status = Command::new(program)
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{program}: {status}");
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    println!(
        "{} {} {}",
        seconds(usage.user_time()),
        seconds(usage.system_time()),
        usage.max_rss() * 1024
    );
    Ok(())
}

/// Fails if the copy differs from its source.
pub(crate) fn compare(source: &Path, dest: &Path) -> Result<()> {
    let status = Command::new("cmp")
        .arg("-s")
        .arg(source)
        .arg(dest)
        .status()?;
    if !status.success() {
        bail!("the copy differs from its source");
    }
    Ok(())
}

/// The arguments are engine (or `null`), chunk in KiB, source, destination: the library's own copy, with a chunk length
/// that no command line sets.
pub(crate) fn copy_in_process(words: &[String]) -> Result<()> {
    let [engine, chunk, source, dest] = words else {
        bail!("--copy ENGINE KIB SOURCE DEST")
    };
    let chunk = chunk.parse::<usize>()? << 10;
    copy(engine, Some(chunk), Path::new(source), Path::new(dest))
}

/// CPU time of one copy by the clock that the program itself chooses by: getrusage(2) splits what it gives in ticks of
/// milliseconds.
pub(crate) fn cpu_of(engine: &str, source: &Path, dir: &Path) -> Result<Duration> {
    let fresh = tempfile::tempdir_in(dir)?;
    let before = thread_cpu_time();
    copy(engine, None, source, &fresh.path().join("copy"))?;
    Ok(thread_cpu_time().saturating_sub(before))
}

fn copy(engine: &str, chunk: Option<usize>, source: &Path, dest: &Path) -> Result<()> {
    let row = if engine == "null" {
        Some(engine::NULL)
    } else {
        engine::find(engine)
    };
    let options = TransferOptions {
        engine: Some(row.context("no such engine")?),
        chunk,
        ..TransferOptions::default()
    };
    let (source, dest) = (File::open(source)?, File::create(dest)?);
    let facts = SourceInfo::of(&source)?;
    mmapcp::transfer::copy(&source, facts, &dest, options, &mut ())
        .map_err(|f| anyhow::anyhow!("{}", f.error))
}
