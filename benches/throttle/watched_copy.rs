//! One copy, watched from outside: what its destination gains, and what those cost that it has started.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mmapcp::report::signal_handlers::Signals;
use mmapcp::sys::process::{MainThread, ProcessUsage, die_with_parent, reap, try_reap};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, syncfs};
use tempfile::TempDir;

/// Between two runs, after everything is on the disk.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// Between two looks at the destination.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(2);

/// Looks between two at the processes that were started.
const SAMPLES_PER_PROCESS_SCAN: usize = 50;

/// Of a second, in /proc/PID/stat: USER_HZ of all architectures that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The size of the destination at a moment, in seconds since the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SizeSample {
    pub(crate) at: f64,
    pub(crate) bytes: u64,
}

/// What one copy came to.
#[derive(Debug)]
pub(crate) struct WatchedRun {
    /// Seconds from start to exit.
    pub(crate) wall: f64,
    /// The copier with those whom it has waited for.
    pub(crate) cost: ProcessUsage,
    pub(crate) seen: Vec<SizeSample>,
    /// CPU seconds of the processes that it has started.
    pub(crate) watchers: f64,
    /// CPU seconds of its first thread beside the main one, which governs where anything is governed.
    pub(crate) beside: f64,
}

impl WatchedRun {
    /// When the destination had this part of its size.
    pub(crate) fn reached(&self, part: f64) -> f64 {
        let size = self.seen.last().map_or(0, |seen| seen.bytes);
        let wanted = ((size as f64 * part) as u64).max(1);
        let found = self.seen.iter().find(|seen| seen.bytes >= wanted);
        found.map_or(self.wall, |seen| seen.at)
    }

    /// The most bytes by which it grew within a second.
    pub(crate) fn most_in_a_second(&self) -> u64 {
        let (mut first, mut most) = (0, 0);
        for last in &self.seen {
            while last.at - self.seen[first].at > 1.0 {
                first += 1;
            }
            most = most.max(last.bytes - self.seen[first].bytes);
        }
        most
    }

    /// How often it was seen to have grown: it was written to at least so often.
    pub(crate) fn growths(&self) -> usize {
        let pairs = self.seen.windows(2);
        pairs.filter(|pair| pair[1].bytes > pair[0].bytes).count()
    }
}

/// A file of `size` bytes without holes, in a directory that goes with it.
pub(crate) fn make(parent: &Path, size: u64) -> Result<(TempDir, PathBuf)> {
    let dir = tempfile::tempdir_in(parent)?;
    let path = dir.path().join("dump");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    // No file system here finds zeros, or twice the same; a number a line is as good as noise.
    let mut line = [b'x'; 4096];
    for page in 0..size / 4096 {
        line[..8].copy_from_slice(&page.to_ne_bytes());
        file.write_all(&line)?;
    }
    file.flush()?;
    Ok((dir, path))
}

/// Copies with `options`, from a state that is the same each time. The copy is removed.
pub(crate) fn run(
    options: &[String],
    source: &Path,
    dest: &Path,
    signals: &Signals,
) -> Result<WatchedRun> {
    syncfs(File::open(
        dest.parent().context("a destination in a directory")?,
    )?)?;
    std::thread::sleep(SETTLE_TIME);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mmapcp"));
    command.arg("--progress=never").args(options);
    command.args([source, dest]).stdin(Stdio::null());
    die_with_parent(&mut command, MainThread::current()?);
    let started = Instant::now();
    let pid = Pid::from_raw(command.spawn()?.id().cast_signed());
    let run = watch(pid, dest, started, signals);
    let size = fs::metadata(dest).map_or(0, |meta| meta.len());
    fs::remove_file(dest)?;
    let run = run?;
    if size != fs::metadata(source)?.len() {
        bail!("{}: {size} bytes were copied", options.join(" "));
    }
    Ok(run)
}

fn watch(pid: Pid, dest: &Path, started: Instant, signals: &Signals) -> Result<WatchedRun> {
    let (mut seen, mut watchers, mut beside) = (Vec::new(), HashMap::new(), 0.0);
    loop {
        let before = started.elapsed().as_secs_f64();
        let bytes = fs::metadata(dest).map_or(0, |meta| meta.len());
        let after = started.elapsed().as_secs_f64();
        seen.push(SizeSample {
            at: before.midpoint(after),
            bytes,
        });
        if let Some((status, cost)) = try_reap(pid)? {
            if !status.success() {
                bail!("the copy ended with {status}");
            }
            return Ok(WatchedRun {
                wall: after,
                cost,
                seen,
                watchers: watchers.values().sum(),
                beside,
            });
        }
        if signals.pending_signal().is_some() {
            kill(pid, Signal::SIGTERM)?;
            reap(pid)?;
            bail!("interrupted");
        }
        if seen.len() % SAMPLES_PER_PROCESS_SCAN == 0 {
            look_at_watchers(pid, &mut watchers);
            beside = thread_beside(pid).unwrap_or(beside);
        }
        std::thread::sleep(SAMPLE_INTERVAL);
    }
}

/// Those that it has started, and those that these have: a keeper and its prober. What a prober forks is in its own account
/// as soon as it is reaped.
fn look_at_watchers(pid: Pid, cpu: &mut HashMap<i32, f64>) {
    for keeper in children(pid.as_raw()) {
        for process in children(keeper).into_iter().chain([keeper]) {
            if let Some(seconds) = used(process) {
                cpu.insert(process, seconds);
            }
        }
    }
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    let words = text.split_ascii_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// CPU seconds of a process, and of those it has reaped.
fn used(pid: i32) -> Option<f64> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = line.rsplit_once(") ")?;
    // utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5), of which two are cut off.
    let ticks = fields.split(' ').skip(11).take(4);
    Some(ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND)
}

/// CPU seconds of the first thread that was started.
fn thread_beside(pid: Pid) -> Option<f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let names = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    let first = names.filter(|task: &i32| *task != pid.as_raw()).min()?;
    let text = fs::read_to_string(format!("/proc/{pid}/task/{first}/schedstat")).ok()?;
    let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
