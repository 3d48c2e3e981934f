//! The prepared host of `forklat compare`: the source file, the directory of the copies, and the limits on memory and
//! disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::cli::compare::CompareArgs;
use super::super::host::balloon::Balloon;
use super::super::host::cgroup;
use super::super::host::limited_dir::LimitedDir;
use super::super::host::sysctl::Setting;
use super::super::host::undo_journal::UndoJournal;
use super::background_work::ShouldStop;
use super::free_memory::MemoryState;
use super::source_file;
use crate::forklat::error::{ForklatError, cannot};
use crate::report::quote::quote;
use crate::report::units::format_bytes;
use crate::sys::key_value;
use crate::sys::strerror::strerror;
use crate::transfer::capabilities::SourceInfo;

/// The directory in which dumps are made (tmpfs).
const MEMORY: &str = "/dev/shm";

/// Longest wait before a run for other processes' data to be written out (30 s). The run begins after it in any case,
/// and a note in the report says so.
pub(super) const WRITEBACK_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval between two calls of syncfs(2) during that wait (1 s).
pub(super) const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The processes that have to be forked while this process has one thread.
#[derive(Debug)]
pub(super) struct StartedBalloon {
    balloon: Option<Balloon>,
}

impl StartedBalloon {
    pub(super) fn fork_balloon(words: &CompareArgs) -> Result<Self, ForklatError> {
        let balloon = words
            .squeeze
            .map(|_| Balloon::start(Path::new("/")))
            .transpose()?;
        Ok(Self { balloon })
    }
}

/// The prepared host on which each tool runs.
#[derive(Debug)]
pub(super) struct Fixture {
    balloon: Option<Balloon>,
    limit: Option<LimitedDir>,
    squeeze: u64,
    source: PathBuf,
    /// Size in bytes of the dump that has to be made, or `None` if the user gave a source file.
    make: Option<u64>,
    /// Whether the source file was given by the user and is on a disk. It is then read before each run, so that each
    /// tool finds it equally cached.
    prefetch_source: bool,
    copies: PathBuf,
}

impl Fixture {
    /// Checks the options and makes the changes that last for all runs, each in the undo journal `record`. The balloon
    /// and the disk limit are applied and lifted for each run.
    pub(super) fn set_up(
        words: &CompareArgs,
        on: &Path,
        host: StartedBalloon,
        limit: Option<LimitedDir>,
        record: &mut UndoJournal,
    ) -> Result<Self, ForklatError> {
        let (source, make, warm) = match &words.source {
            Some(path) => (path.clone(), None, check_source(path)?),
            None => {
                let size = match words.size {
                    Some(size) => size,
                    None => source_file::default_size(available()?, Path::new(MEMORY), on)?,
                };
                let dir = record.scratch(Path::new(MEMORY))?;
                (dir.join("dump"), Some(size), false)
            }
        };
        let copies = record.scratch(on)?;
        for text in &words.sysctl {
            Setting::parse(text)?.apply(Path::new("/"), record)?;
        }
        Ok(Self {
            balloon: host.balloon,
            limit,
            squeeze: words.squeeze.unwrap_or(0),
            source,
            make,
            prefetch_source: warm,
            copies,
        })
    }

    /// Makes the dump, if one has to be made. Checks before whether there is room for the dump and for a copy, since a
    /// dump takes real memory.
    pub(super) fn make_source(&mut self, stop: ShouldStop<'_>) -> Result<(), ForklatError> {
        let size = match self.make {
            Some(size) => size,
            None => fs::metadata(&self.source).map_or(0, |meta| meta.len()),
        };
        has_room(
            "a copy",
            size,
            &self.copies,
            source_file::free(&self.copies)?,
        )?;
        if let Some(size) = self.make {
            let memory = Path::new(MEMORY);
            has_room(
                "a dump",
                size,
                memory,
                source_file::free(memory)?.min(available()?),
            )?;
            source_file::make(&self.source, size, stop)?;
        }
        Ok(())
    }

    pub(super) fn source(&self) -> &Path {
        &self.source
    }

    /// Returns the path that the tools copy to.
    pub(super) fn dest(&self) -> PathBuf {
        self.copies.join("copy")
    }

    /// Removes the last copy and writes dirty data to the disk. Reads the source into the page cache if it has to be
    /// cached.
    pub(super) fn clear(&mut self) -> Result<(), ForklatError> {
        let dest = self.dest();
        match fs::remove_file(&dest) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("remove", &dest, e));
            }
            _ => {}
        }
        self.sync()?;
        if self.prefetch_source {
            read_all(&self.source).map_err(|e| cannot("read", &self.source, e))?;
        }
        Ok(())
    }

    /// Calls syncfs(2) on the file system of the copies, which writes out the dirty data of all processes. The kernel
    /// would keep it for 30 s (vm.dirty_expire_centisecs).
    pub(super) fn sync(&self) -> Result<(), ForklatError> {
        let dir = File::open(&self.copies).map_err(|e| cannot("open", &self.copies, e))?;
        nix::unistd::syncfs(&dir).map_err(|e| cannot("sync", &self.copies, e))
    }

    /// Inflates the balloon and enables the disk limit.
    pub(super) fn apply_pressure(&mut self, stop: ShouldStop<'_>) -> Result<(), ForklatError> {
        if let Some(balloon) = &mut self.balloon {
            balloon.inflate(self.squeeze, stop)?;
        }
        if let Some(limit) = &self.limit {
            limit.enable()?;
        }
        Ok(())
    }

    /// Brings free memory into a state. The source file tells how much a run needs.
    pub(super) fn prepare_memory(
        &self,
        state: MemoryState,
        stop: ShouldStop<'_>,
    ) -> Result<(), ForklatError> {
        let size = fs::metadata(&self.source).map_or(0, |meta| meta.len());
        state.prepare(size, unused()?, stop)
    }

    /// Disables the disk limit for this program's own work between two runs.
    pub(super) fn lift_disk_limit(&self) -> Result<(), ForklatError> {
        if let Some(limit) = &self.limit {
            limit.disable()?;
        }
        Ok(())
    }

    /// Checks whether the balloon process is alive. A balloon that has died is dropped, and the error says how it died.
    pub(super) fn check(&mut self) -> Result<(), ForklatError> {
        let checked = self.balloon.as_mut().map_or(Ok(()), Balloon::check);
        if checked.is_err() {
            self.balloon = None;
        }
        checked
    }

    /// Starts another balloon process if the last one has died. This process must have one thread.
    pub(super) fn renew(&mut self) -> Result<(), ForklatError> {
        if self.squeeze > 0 && self.balloon.is_none() {
            self.balloon = Some(Balloon::start(Path::new("/"))?);
        }
        Ok(())
    }

    /// Returns whether the balloon has released its memory since the run began.
    pub(super) fn has_released_memory(&self) -> bool {
        self.balloon
            .as_ref()
            .is_some_and(|balloon| balloon.released_at().is_some())
    }

    /// Returns notes on the host that a reader of the figures must know.
    pub(super) fn notes(&self) -> Vec<String> {
        let unlocked = self.balloon.as_ref().and_then(Balloon::unlocked);
        let unlocked = unlocked.map(|e| {
            format!(
                "cannot lock the code of the balloon in memory: {}",
                strerror(&e)
            )
        });
        let limit = self.limit.iter().flat_map(LimitedDir::notes).cloned();
        unlocked.into_iter().chain(limit).collect()
    }

    /// Releases the memory of the balloon and disables the disk limit, so that nothing that is stopped waits for them.
    pub(super) fn release(mut self) -> Result<(), ForklatError> {
        if let Some(balloon) = &mut self.balloon {
            balloon.deflate()?;
        }
        self.lift_disk_limit()
    }
}

fn has_room(what: &str, size: u64, dir: &Path, room: u64) -> Result<(), ForklatError> {
    if size <= room {
        return Ok(());
    }
    let (size, room) = (format_bytes(size), format_bytes(room));
    Err(format!(
        "no room for {what} of {size} in {}: only {room} are free",
        quote(dir)
    )
    .into())
}

/// Returns the bytes of memory that are available now.
fn available() -> Result<u64, ForklatError> {
    let meminfo = crate::observe::kernel_file::read_trimmed(Path::new("/proc/meminfo"))?;
    key_value::mem_available(&meminfo)
        .ok_or_else(|| "the kernel does not report MemAvailable".into())
}

/// Returns the bytes of memory that can be taken without taking a page from anybody, in the whole machine and in the groups
/// of this process.
fn unused() -> Result<u64, ForklatError> {
    let root = Path::new("/");
    let meminfo = crate::observe::kernel_file::read_trimmed(&root.join("proc/meminfo"))?;
    let free = key_value::find_value(&meminfo, "MemFree").and_then(key_value::parse_kilobytes);
    let free = free.ok_or("the kernel does not report MemFree")?;
    let room = cgroup::unused_memory(root)?;
    Ok(room.map_or(free, |room| room.min(free)))
}

/// Checks that a source is a regular file that is not empty. Returns whether it has to be read into the page cache.
fn check_source(path: &Path) -> Result<bool, ForklatError> {
    let facts = File::open(path)
        .and_then(|file| Ok((file.metadata()?.is_file(), SourceInfo::of(&file)?)))
        .map_err(|e| cannot("open", path, e))?;
    match facts {
        (false, _) => Err(format!("{} is not a regular file", quote(path)).into()),
        (true, facts) if facts.size == 0 => Err(format!("{} is empty", quote(path)).into()),
        (true, facts) => Ok(!facts.kind.is_memory()),
    }
}

fn read_all(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; 1 << 20];
    while file.read(&mut chunk)? > 0 {}
    Ok(())
}
