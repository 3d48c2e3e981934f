//! One run of one tool on one tree, and what it cost.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mmapcp::sys::process::reap;
use mmapcp::sys::residency::resident_bytes;
use nix::unistd::{Pid, syncfs};

/// Between two runs, after everything is on the disk.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// The cost of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TreeCost {
    /// Seconds until it ended.
    pub(crate) wall: f64,
    /// Seconds until syncfs returned after that: cp leaves its data in the page cache.
    pub(crate) durable: f64,
    /// CPU seconds of the tool. What the kernel's own threads write for it afterwards is not in there.
    pub(crate) cpu: f64,
    /// Peak resident size in bytes.
    pub(crate) max_rss: u64,
}

/// Runs `command` with source and destination behind it, from a state that is the same each time.
pub(crate) fn run(command: &[String], source: &Path, dest: &Path) -> Result<TreeCost> {
    let disk = File::open(dest.parent().context("a destination in a directory")?)?;
    syncfs(&disk)?;
    std::thread::sleep(SETTLE_TIME);
    let (program, arguments) = command.split_first().context("no command")?;
    // To rsync a directory with a slash behind is what is in it.
    let slash = program.ends_with("rsync").then(|| source.join(""));
    let source = slash.as_deref().unwrap_or(source);
    let started = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .args([source, dest])
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| program.clone())?;
    let (status, cost) = reap(Pid::from_raw(child.id().cast_signed()))?;
    let wall = started.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{}: {status}", command.join(" "));
    }
    syncfs(&disk)?;
    Ok(TreeCost {
        wall,
        durable: started.elapsed().as_secs_f64(),
        cpu: cost.user + cost.system,
        max_rss: cost.max_rss,
    })
}

/// Bytes of a tree that are in the page cache.
pub(crate) fn cached(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sum += cached(&entry.path())?;
        } else {
            let file = File::open(entry.path())?;
            let size = file.metadata()?.len();
            sum += resident_bytes(&file, 0, size)?;
        }
    }
    Ok(sum)
}

/// Whether both trees hold the same.
pub(crate) fn compare(source: &Path, dest: &Path) -> Result<()> {
    let status = Command::new("diff")
        .arg("-r")
        .args([source, dest])
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{} differs from its source", dest.display());
    }
    Ok(())
}

/// The one in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
