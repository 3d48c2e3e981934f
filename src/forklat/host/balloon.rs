//! `--squeeze SIZE`: a balloon, that is, a process that holds memory until only SIZE is available, as on a full host.
//!
//! The balloon releases its memory by itself when MemAvailable falls below half of SIZE. It ends with its parent,
//! however the parent ends, and it is the first process that the OOM killer takes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use super::cgroup;
use super::control_files::write;
use crate::forklat::error::{ForklatError, cannot, failed};
use crate::observe::kernel_file::{path_below, read_trimmed};
use crate::observe::observer_process::{ObserverProcess, ProcessControl};
use crate::report::units::format_bytes;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::clock::MonotonicNs;
use crate::sys::key_value::{self, find_value, parse_kilobytes};
use crate::sys::shared_memory::SharedWords;
use crate::sys::strerror::strerror;
use crate::sys::{clock, proc_status, residency};

/// Most bytes that are taken in one step (64 MiB).
const MAX_STEP_BYTES: u64 = 64 << 20;

/// Tolerance around SIZE: one part in this many on either side, 2 %.
const TOLERANCE_DIVISOR: u64 = 50;

/// Interval between two readings of MemAvailable.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Bytes that must remain available in addition to the watermarks (64 MiB).
const MIN_RESERVE_BYTES: u64 = 64 << 20;

/// A balloon that neither grows nor shrinks for this time will not reach its target (60 s).
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of the bit of CAP_IPC_LOCK in `CapEff`.
const CAP_IPC_LOCK: u32 = 14;

/// Indices of the words that both processes share. The parent writes the order, with its number last; the balloon
/// process writes the others.
const SLOT_TARGET: usize = 0;
const SLOT_LOCK: usize = 1;
const SLOT_ORDER: usize = 2;
const SLOT_DONE: usize = 3;
const SLOT_OUTCOME: usize = 4;
const SLOT_HELD: usize = 5;
const SLOT_AVAILABLE: usize = 6;
const SLOT_RELEASED_AT: usize = 7;
const SLOT_COUNT: usize = 8;

/// Outcomes of an order: one of these values, or the errno of mmap(2) or mlock(2).
const OUTCOME_REACHED: u64 = 0;
const OUTCOME_NOTHING_HELD: u64 = 1 << 32;
const OUTCOME_RELEASED: u64 = 2 << 32;

/// The parent's side of the balloon. Dropping it releases the memory.
#[derive(Debug)]
pub struct Balloon {
    root: PathBuf,
    worker: ObserverProcess,
    words: SharedWords,
}

impl Balloon {
    /// Forks the balloon process, which holds no memory yet. This process must have one thread.
    ///
    /// # Errors
    /// No MemAvailable in /proc/meminfo (before Linux 3.14), no more processes allowed, or the balloon cannot be made
    /// the first choice of the OOM killer.
    pub fn start(root: &Path) -> Result<Self, ForklatError> {
        let path = path_below(root, "/proc/meminfo");
        let meminfo = File::open(&path).map_err(|e| cannot("open", &path, e))?;
        HostMemory::read(root)?;
        let cannot_start = |e: std::io::Error| failed("start the balloon", e);
        let words = SharedWords::new(SLOT_COUNT).map_err(cannot_start)?;
        let serve = |(), control: &ProcessControl| run_balloon_process(control, &words, &meminfo);
        let ((), worker) = ObserverProcess::start("balloon", (), serve);
        let mut worker = worker.map_err(cannot_start)?;
        worker.wait_ready()?;
        Ok(Self {
            root: root.to_owned(),
            worker,
            words,
        })
    }

    /// Takes or releases memory until `size` bytes are available, within 2 %, and then holds what it has.
    ///
    /// # Errors
    /// A size that cannot be reached or would endanger the host, before anything is touched; memory that cannot be
    /// taken or locked; interrupted. No memory is held then.
    pub fn inflate(
        &mut self,
        size: u64,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ForklatError> {
        self.worker.check_alive()?;
        let lock = HostMemory::read(&self.root)?.accepts(size, self.held())?;
        self.words[SLOT_RELEASED_AT].store(0, Ordering::Relaxed);
        self.order(size, lock);
        let outcome = match self.wait(interrupted) {
            Ok(outcome) => outcome,
            Err(e) => return self.deflate().and(Err(e)),
        };
        let available = format_bytes(self.words[SLOT_AVAILABLE].load(Ordering::Relaxed));
        let Some(why) = failure(outcome, &available) else {
            return Ok(());
        };
        Err(format!("cannot squeeze this host to {}: {why}", format_bytes(size)).into())
    }

    /// Releases all memory, and waits until that is done.
    ///
    /// # Errors
    /// The way in which the balloon process died, if it did. Its memory is free then as well.
    pub fn deflate(&mut self) -> Result<(), ForklatError> {
        self.order(0, false);
        self.wait(&|| false).map(drop)
    }

    /// Returns when the balloon released its memory by itself since it was last inflated.
    #[must_use]
    pub fn released_at(&self) -> Option<MonotonicNs> {
        let at = self.words[SLOT_RELEASED_AT].load(Ordering::Acquire);
        (at != 0).then_some(MonotonicNs::from_nanos(at))
    }

    /// Returns the bytes of memory that the balloon holds.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.words[SLOT_HELD].load(Ordering::Relaxed)
    }

    /// Checks whether the balloon process is alive.
    ///
    /// # Errors
    /// The way in which it died: by signal 9 if the OOM killer took it.
    pub fn check(&mut self) -> Result<(), ForklatError> {
        Ok(self.worker.check_alive()?)
    }

    /// Returns why the pages of the balloon's own program could not be locked, if they could not. Its reading of
    /// MemAvailable may then be delayed.
    #[must_use]
    pub fn unlocked(&self) -> Option<std::io::Error> {
        self.worker.mlock_error()
    }

    fn order(&self, target: u64, lock: bool) {
        self.words[SLOT_TARGET].store(target, Ordering::Relaxed);
        self.words[SLOT_LOCK].store(u64::from(lock), Ordering::Relaxed);
        self.words[SLOT_ORDER].fetch_add(1, Ordering::Release);
    }

    fn wait(&mut self, interrupted: &dyn Fn() -> bool) -> Result<u64, ForklatError> {
        let order = self.words[SLOT_ORDER].load(Ordering::Relaxed);
        let mut last = (self.held(), Instant::now());
        while self.words[SLOT_DONE].load(Ordering::Acquire) != order {
            self.worker.check_alive()?;
            if interrupted() {
                return Err("interrupted while memory was filled".into());
            }
            if self.held() != last.0 {
                last = (self.held(), Instant::now());
            } else if last.1.elapsed() > STALL_TIMEOUT {
                return Err("balloon: it neither grows nor shrinks".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(self.words[SLOT_OUTCOME].load(Ordering::Relaxed))
    }
}

fn failure(outcome: u64, available: &str) -> Option<String> {
    match outcome {
        OUTCOME_REACHED => None,
        OUTCOME_NOTHING_HELD => Some(format!("only {available} are available, with nothing held")),
        OUTCOME_RELEASED => Some(format!(
            "something else took memory: only {available} were available, less than half of the target, so the balloon released its memory"
        )),
        errno => {
            let e = std::io::Error::from_raw_os_error(errno as i32);
            Some(format!("cannot take or lock memory: {}", strerror(&e)))
        }
    }
}

/// The facts that decide whether a size can be reached, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HostMemory {
    available: u64,
    /// The sum of the high watermarks of all zones.
    high: u64,
    swap: bool,
    /// Bytes that may be locked, or `None` if there is no limit.
    may_lock: Option<u64>,
    /// Bytes left below the memory limit of the control group, or `None` if it has no limit.
    group_room: Option<u64>,
}

impl HostMemory {
    fn read(root: &Path) -> Result<Self, ForklatError> {
        let path = path_below(root, "/proc/meminfo");
        let meminfo = read_trimmed(&path)?;
        let field = |name| find_value(&meminfo, name).and_then(parse_kilobytes);
        let available = field("MemAvailable")
            .ok_or("no MemAvailable in /proc/meminfo: Linux 3.14 is needed")?;
        Ok(Self {
            available,
            high: high(&read_trimmed(&path_below(root, "/proc/zoneinfo"))?)
                * residency::page_size(),
            swap: field("SwapTotal").is_some_and(|size| size > 0),
            may_lock: may_lock(),
            group_room: cgroup::memory_room(root)?,
        })
    }

    /// Returns the least that must stay available for this host to work: twice the sum of the high watermarks and
    /// [`MIN_RESERVE_BYTES`]. MemAvailable already excludes the high watermarks, but it counts the page cache above the
    /// low ones, which includes running programs, so it is wrong by about the watermarks. With twice their sum, they
    /// are reached at half of SIZE, where the balloon releases its memory. [`MIN_RESERVE_BYTES`] is for hosts with
    /// small watermarks: between two readings of MemAvailable one CPU touched 18 MB of fresh memory (0.9 GB/s in 4 KiB
    /// pages, measured on 6.18).
    fn min_available(self) -> u64 {
        2 * self.high + MIN_RESERVE_BYTES
    }

    /// Checks whether `size` can be reached while `held` bytes are held. Returns whether memory has to be locked for
    /// it.
    fn accepts(self, size: u64, held: u64) -> Result<bool, ForklatError> {
        let whole = self.available + held;
        let take = whole.saturating_sub(size);
        let refuse = |why: String| {
            Err(format!("cannot squeeze this host to {}: {why}", format_bytes(size)).into())
        };
        if size > whole {
            return refuse(format!("only {} are available now", format_bytes(whole)));
        }
        if size < self.min_available() {
            let (least, high) = (format_bytes(self.min_available()), format_bytes(self.high));
            return refuse(format!(
                "it needs at least {least} to keep working (twice its high watermarks of {high}, and {})",
                format_bytes(MIN_RESERVE_BYTES)
            ));
        }
        if let Some(room) = self
            .group_room
            .filter(|room| take.saturating_sub(held) > *room)
        {
            return refuse(format!(
                "that takes {} more, but the memory limit of our control group leaves only {}",
                format_bytes(take - held),
                format_bytes(room)
            ));
        }
        let lock = self.may_lock.is_none_or(|limit| take <= limit);
        if !lock && self.swap {
            return refuse(format!(
                "it has swap, so {} must be locked, and RLIMIT_MEMLOCK is {}: root, CAP_IPC_LOCK or a higher limit is needed",
                format_bytes(take),
                format_bytes(self.may_lock.unwrap_or(0))
            ));
        }
        // Without swap, anonymous memory cannot be moved out, so it need not be locked.
        Ok(lock)
    }
}

/// Returns the sum of the `high` watermarks of /proc/zoneinfo, in pages. (`high:` with a colon belongs to the per-CPU
/// lists.) The boost after an allocation that fragmented memory is subtracted: it is temporary, and adds up to 1.5
/// times as much again (vm.watermark_boost_factor).
fn high(zoneinfo: &str) -> u64 {
    let sum = |name: &str| {
        let marks = zoneinfo
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(' '));
        marks
            .filter_map(|pages| pages.trim().parse::<u64>().ok())
            .sum::<u64>()
    };
    sum("high").saturating_sub(sum("boost"))
}

fn may_lock() -> Option<u64> {
    let caps =
        proc_status::read_field("CapEff").and_then(|caps| u64::from_str_radix(&caps, 16).ok());
    if caps.is_some_and(|caps| caps & (1 << CAP_IPC_LOCK) != 0) {
        return None;
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((0, 0));
    (soft != nix::libc::RLIM_INFINITY).then_some(soft)
}

/// The memory that the balloon holds. The chunk taken last is released first.
#[derive(Debug, Default)]
struct HeldMemory {
    chunks: Vec<AlignedBuffer>,
    bytes: u64,
}

impl HeldMemory {
    fn take(&mut self, size: u64, lock: bool) -> std::io::Result<()> {
        let page = residency::page_size() as usize;
        let mut chunk = AlignedBuffer::new((size as usize).next_multiple_of(page))?;
        // Huge pages are used if there are any: 5 GiB were taken in 0.7 - 4 s instead of 2.7 - 8 s, and released in 35
        // ms instead of 700 ms (6.18), which matters when memory is short.
        chunk.prefer_huge_pages();
        if lock {
            // mlock(2) also touches the pages.
            chunk.lock()?;
        } else {
            chunk.chunks_mut(page).for_each(|page| page[0] = 1);
        }
        self.bytes += chunk.len() as u64;
        self.chunks.push(chunk);
        Ok(())
    }

    fn give(&mut self, words: &SharedWords, size: u64) {
        let keep = self.bytes.saturating_sub(size);
        while self.bytes > keep {
            let Some(chunk) = self.chunks.pop() else {
                break;
            };
            self.bytes -= chunk.len() as u64;
            drop(chunk);
            words[SLOT_HELD].store(self.bytes, Ordering::Relaxed);
        }
    }
}

/// The next action of the balloon after one reading.
#[derive(Debug, PartialEq, Eq)]
enum BalloonStep {
    Take(u64),
    Give(u64),
    ReleaseAll,
    Stay,
    /// No memory is held, and too little is available.
    Insufficient,
}

fn choose_step(available: u64, target: u64, held: u64, filling: bool) -> BalloonStep {
    let close = target / TOLERANCE_DIVISOR;
    if held > 0 && available < target / 2 {
        BalloonStep::ReleaseAll
    } else if !filling {
        BalloonStep::Stay
    } else if available > target + close / 2 {
        // Half of the distance, so that the reading, which lags behind, never leads to less than the target.
        BalloonStep::Take(MAX_STEP_BYTES.min((available - target) / 2))
    } else if available >= target - close {
        BalloonStep::Stay
    } else if held > 0 {
        BalloonStep::Give(target - available)
    } else {
        BalloonStep::Insufficient
    }
}

fn run_balloon_process(
    control: &ProcessControl,
    words: &SharedWords,
    meminfo: &File,
) -> Result<(), ForklatError> {
    write(Path::new("/proc/self/oom_score_adj"), "1000")?;
    let mut held = HeldMemory::default();
    // Reserves room for the chunks of all available memory, so that the vector does not grow while memory is short.
    held.chunks
        .reserve((available(meminfo)? / MAX_STEP_BYTES) as usize + 1024);
    control.lock_memory();
    control.set_ready();
    let mut deadline = MonotonicNs::now();
    while !control.is_stopping() {
        let order = words[SLOT_ORDER].load(Ordering::Acquire);
        let filling = order != words[SLOT_DONE].load(Ordering::Relaxed);
        let outcome = step(words, meminfo, &mut held, filling)?;
        words[SLOT_HELD].store(held.bytes, Ordering::Relaxed);
        if let (Some(outcome), true) = (outcome, filling) {
            words[SLOT_OUTCOME].store(outcome, Ordering::Relaxed);
            words[SLOT_DONE].store(order, Ordering::Release);
        }
        if outcome.is_some() {
            deadline = MonotonicNs::now().max(deadline.after(POLL_INTERVAL));
            clock::sleep_until(deadline);
        }
    }
    Ok(())
}

/// Takes one reading and acts on it. Returns the outcome of the order once it is reached or has failed.
fn step(
    words: &SharedWords,
    meminfo: &File,
    held: &mut HeldMemory,
    filling: bool,
) -> Result<Option<u64>, ForklatError> {
    let target = words[SLOT_TARGET].load(Ordering::Relaxed);
    if target == 0 {
        held.give(words, u64::MAX);
        return Ok(Some(OUTCOME_REACHED));
    }
    let available = available(meminfo)?;
    words[SLOT_AVAILABLE].store(available, Ordering::Relaxed);
    Ok(match choose_step(available, target, held.bytes, filling) {
        BalloonStep::Stay => Some(OUTCOME_REACHED),
        BalloonStep::Insufficient => Some(OUTCOME_NOTHING_HELD),
        BalloonStep::ReleaseAll => {
            words[SLOT_RELEASED_AT].store(MonotonicNs::now().as_nanos(), Ordering::Release);
            held.give(words, u64::MAX);
            Some(OUTCOME_RELEASED)
        }
        BalloonStep::Give(size) => {
            held.give(words, size);
            None
        }
        BalloonStep::Take(size) => {
            match held.take(size, words[SLOT_LOCK].load(Ordering::Relaxed) != 0) {
                Ok(()) => None,
                Err(e) => {
                    held.give(words, u64::MAX);
                    Some(e.raw_os_error().unwrap_or(libc::ENOMEM) as u64)
                }
            }
        }
    })
}

/// Returns MemAvailable in bytes, read without an allocation.
fn available(meminfo: &File) -> Result<u64, ForklatError> {
    // MemAvailable is the third of about fifty lines, so 512 bytes contain it.
    let mut text = [0; 512];
    let n = meminfo
        .read_at(&mut text, 0)
        .map_err(|e| failed("read /proc/meminfo", e))?;
    let text = std::str::from_utf8(&text[..n]).unwrap_or_default();
    key_value::mem_available(text).ok_or_else(|| "no MemAvailable in /proc/meminfo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    const HOST: HostMemory = HostMemory {
        available: 1000 * MIB,
        high: 100 * MIB,
        swap: true,
        may_lock: None,
        group_room: None,
    };

    #[test]
    fn only_the_watermarks_of_zones_are_counted() {
        let zoneinfo = "Node 0, zone DMA\n  boost    0\n  min  21\n  high     31\n    cpu: 0\n      high:     500\n      high_min: 13\n\
            Node 0, zone Normal\n        boost    200\n        high     1200\n";
        assert_eq!(high(zoneinfo), 1031);
    }

    #[test]
    fn what_cannot_be_had_or_lived_with_is_refused_with_figures() {
        assert_eq!(HOST.accepts(400 * MIB, 0), Ok(true));
        assert_eq!(HOST.accepts(264 * MIB, 0), Ok(true));
        for (host, size, words) in [
            (HOST, 1001 * MIB, "only 1000.00 MiB are available now"),
            (HOST, 263 * MIB, "at least 264.00 MiB to keep working"),
            (
                HostMemory {
                    group_room: Some(500 * MIB),
                    ..HOST
                },
                400 * MIB,
                "takes 600.00 MiB more",
            ),
            (
                HostMemory {
                    may_lock: Some(8 * MIB),
                    ..HOST
                },
                400 * MIB,
                "RLIMIT_MEMLOCK is 8.00 MiB",
            ),
        ] {
            let error = host.accepts(size, 0).unwrap_err().to_string();
            assert!(error.starts_with("cannot squeeze this host to "), "{error}");
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn without_swap_nothing_must_be_locked() {
        let host = HostMemory {
            may_lock: Some(8 * MIB),
            swap: false,
            ..HOST
        };
        assert_eq!(host.accepts(400 * MIB, 0), Ok(false));
    }

    #[test]
    fn what_is_held_counts_as_available() {
        let full = HostMemory {
            available: 400 * MIB,
            group_room: Some(0),
            ..HOST
        };
        assert_eq!(full.accepts(900 * MIB, 600 * MIB), Ok(true));
        assert_eq!(full.accepts(400 * MIB, 600 * MIB), Ok(true));
        assert!(full.accepts(300 * MIB, 600 * MIB).is_err());
    }

    #[test]
    fn it_comes_close_from_above_and_never_goes_below() {
        for target in [200 * MIB, 400 * MIB, 3000 * MIB] {
            let (mut available, mut held, mut steps) = (20_000 * MIB, 0, 0);
            while let BalloonStep::Take(size) = choose_step(available, target, held, true) {
                assert!(size <= MAX_STEP_BYTES && size < available - target);
                available -= size;
                held += size;
                steps += 1;
            }
            assert_eq!(
                choose_step(available, target, held, true),
                BalloonStep::Stay
            );
            assert!(available >= target && available <= target + target / 50);
            assert!(steps < 20_000 / 64 + 20, "{steps}");
        }
    }

    #[test]
    fn it_gives_back_what_is_missing_and_lets_go_under_half() {
        let (target, held) = (400 * MIB, 600 * MIB);
        assert_eq!(
            choose_step(300 * MIB, target, held, true),
            BalloonStep::Give(100 * MIB)
        );
        assert_eq!(
            choose_step(300 * MIB, target, held, false),
            BalloonStep::Stay
        );
        assert_eq!(
            choose_step(900 * MIB, target, held, false),
            BalloonStep::Stay
        );
        assert_eq!(
            choose_step(200 * MIB, target, held, false),
            BalloonStep::Stay
        );
        assert_eq!(
            choose_step(200 * MIB - 1, target, held, false),
            BalloonStep::ReleaseAll
        );
        assert_eq!(
            choose_step(200 * MIB - 1, target, held, true),
            BalloonStep::ReleaseAll
        );
        assert_eq!(
            choose_step(100 * MIB, target, 0, true),
            BalloonStep::Insufficient
        );
        assert_eq!(choose_step(100 * MIB, target, 0, false), BalloonStep::Stay);
    }
}
