//! What one file costs, by its size and the way it is written: single calls first, then the rows of the engine table.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};
use mmapcp::sys::cpu::thread_cpu_time;
use mmapcp::transfer::{Copier, TransferOptions, engine};
use nix::unistd::syncfs;

use crate::Settings;
use crate::sample_tree::{noise, write};
use crate::tree_run::median;

/// Sizes in bytes, on both sides of where the program changes its way.
const SIZES: [u64; 8] = [
    0,
    1 << 10,
    4 << 10,
    16 << 10,
    40 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
];

/// How a file is made.
#[derive(Debug, Clone, Copy)]
enum WriteMethod {
    /// Created and closed: the least that any copier pays.
    Create,
    /// Both ends opened, read, written, closed: cp without its questions. It leaves the bytes in the cache.
    Plain,
    /// As the program does it.
    Auto,
    /// By one row.
    Row(&'static str),
}

const WRITE_METHODS: [WriteMethod; 8] = [
    WriteMethod::Create,
    WriteMethod::Plain,
    WriteMethod::Auto,
    WriteMethod::Row("dontcache"),
    WriteMethod::Row("buffered"),
    WriteMethod::Row("direct"),
    WriteMethod::Row("splice"),
    WriteMethod::Row("mmap"),
];

impl WriteMethod {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create, close",
            Self::Plain => "read, write",
            Self::Auto => "mmapcp",
            Self::Row(name) => name,
        }
    }
}

/// Microseconds a file.
#[derive(Debug, Clone, Copy, Default)]
struct MethodCost {
    wall: f64,
    cpu: f64,
    durable: f64,
}

/// Prints a table for one thread, and one for two in directories of their own.
pub(crate) fn table(settings: &Settings) -> Result<()> {
    // Few enough that a round is over in a minute or two.
    let files = settings.files.min(1000);
    let scratch = tempfile::tempdir_in(&settings.on)?;
    for threads in [1, 2] {
        println!("\nmicroseconds a file, {threads} thread(s): wall / CPU / until durable\n");
        println!(
            "| size |{}",
            WRITE_METHODS.map(|w| format!(" {} |", w.name())).concat()
        );
        println!("|---|{}", "---|".repeat(WRITE_METHODS.len()));
        for size in SIZES {
            let source = tempfile::tempdir_in("/dev/shm")?;
            let data = noise();
            for n in 0..files {
                write(&source.path().join(n.to_string()), size, &data)?;
            }
            let mut costs: Vec<Vec<MethodCost>> = vec![Vec::new(); WRITE_METHODS.len()];
            for _ in 0..settings.rounds {
                for (way, costs) in WRITE_METHODS.into_iter().zip(&mut costs) {
                    costs.push(round(way, threads, files, source.path(), scratch.path())?);
                }
            }
            let cells = costs.iter().map(|costs| {
                let of = |of: fn(&MethodCost) -> f64| median(costs.iter().map(of));
                let (wall, cpu, durable) = (of(|c| c.wall), of(|c| c.cpu), of(|c| c.durable));
                format!(" {wall:.0} / {cpu:.0} / {durable:.0} |")
            });
            println!("| {size} |{}", cells.collect::<String>());
        }
    }
    Ok(())
}

/// All files once, split among threads. The directories stay: removing them would make the next round dearer.
fn round(
    way: WriteMethod,
    threads: usize,
    files: usize,
    source: &Path,
    scratch: &Path,
) -> Result<MethodCost> {
    let dir = tempfile::Builder::new()
        .disable_cleanup(true)
        .tempdir_in(scratch)?;
    let disk = File::open(&dir)?;
    syncfs(&disk)?;
    let started = Instant::now();
    let cpu = thread::scope(|scope| {
        let share = |part| {
            let dir = dir.path().join(format!("part{part}"));
            scope.spawn(move || -> Result<f64> {
                std::fs::create_dir(&dir)?;
                let before = thread_cpu_time();
                copy_all(way, (part..files).step_by(threads), source, &dir)?;
                Ok(thread_cpu_time().saturating_sub(before).as_secs_f64())
            })
        };
        let running: Vec<_> = (0..threads).map(share).collect();
        let ended = running
            .into_iter()
            .map(|t| t.join().map_err(|_| anyhow!("a panic"))?);
        ended.sum::<Result<f64>>()
    })?;
    let wall = started.elapsed().as_secs_f64();
    syncfs(&disk)?;
    let each = |seconds: f64| seconds * 1e6 / files as f64;
    Ok(MethodCost {
        wall: each(wall),
        cpu: each(cpu),
        durable: each(started.elapsed().as_secs_f64()),
    })
}

fn copy_all(
    way: WriteMethod,
    files: impl Iterator<Item = usize>,
    source: &Path,
    dir: &Path,
) -> Result<()> {
    let mut worker = Copier::default();
    let mut buffer = vec![0; 1 << 20];
    for n in files {
        let name = n.to_string();
        let mut dest = File::create_new(dir.join(&name))?;
        if matches!(way, WriteMethod::Create) {
            continue;
        }
        let mut source = File::open(source.join(&name))?;
        let options = match way {
            WriteMethod::Create | WriteMethod::Plain => {
                let n = source.read(&mut buffer)?;
                dest.write_all(&buffer[..n])?;
                continue;
            }
            WriteMethod::Auto => TransferOptions::default(),
            WriteMethod::Row(name) => TransferOptions {
                engine: engine::find(name),
                ..TransferOptions::default()
            },
        };
        let source_info = worker.source_info(&source)?;
        worker
            .copy(&source, source_info, &dest, options, &mut (), ())
            .map_err(|failure| anyhow!("{}", failure.error))?;
    }
    match worker.finish_writeback().pop() {
        Some(late) => Err(late.error.into()),
        None => Ok(()),
    }
}
