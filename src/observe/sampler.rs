//! The process that reads the kernel's figures of memory and stalls ten times a second.
//!
//! All files are open and all memory is locked before it is ready. From then on it only reads, and neither allocates,
//! forks nor opens files, so that it works on a host on which a shell could not be started any more. Its readings go
//! through shared memory to the process that started it, which keeps them: 336 bytes a reading, 12 MiB an hour, and at
//! most 4 KiB of slab caches every 10 s. It costs 0.2 % of a CPU and 4 MB of memory (measured on 6.18).

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::prctl;

use super::memory::slab::{CACHE_NAME_BYTES, CacheName, CacheTable, MAX_CACHES};
use super::memory::{
    History, METRIC_COUNT, ProcReader, Reading, SlabHistory, SlabReader, SlabReading,
};
use super::observer_process::{ObserverProcess, ProcessControl};
use super::ring::WordRing;
use crate::observe::error::{ObserveError, failed};
use crate::sys::clock::{self, MonotonicNs, saturating_nanos};
use crate::sys::process::ProcessUsage;
use crate::sys::shared_memory::SharedWords;

/// Time between two readings in nanoseconds.
pub const SAMPLE_PERIOD_NS: u64 = 100_000_000;

/// /proc/slabinfo is read with every hundredth reading, and when requested. Once a second, its 3 ms of CPU were the
/// worst forks of every second on a machine with 0.5 GiB of slabs, and with them p99.9 (6.18, two CPUs, a fork each 2 ms).
const SLAB_INTERVAL_TICKS: u64 = 100;

/// Longest time to wait for a requested reading of the slab caches, which takes a period and a few milliseconds.
const SLAB_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of readings that may wait for the reader: 102 s.
const READING_RING_CAPACITY: usize = 1024;

/// Number of slab readings that may wait for the reader, which are taken at the borders of spans and every 10 s.
const SLAB_RING_CAPACITY: usize = 128;

/// Longest time to wait for its end. It checks every tenth of a second, on a machine that may not let it run.
const SAMPLER_STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The word for a value that the kernel does not report. No counter reaches it.
const UNKNOWN_VALUE: u64 = u64::MAX;

/// Number of words in a row: the time, the delay, the values.
const READING_WORDS: usize = 2 + METRIC_COUNT;

/// The parent's side of the sampler. Dropping it kills the process.
#[derive(Debug)]
pub struct Sampler {
    process: ObserverProcess,
    reading_ring: WordRing,
    slab_ring: Option<SlabRing>,
    history: History,
}

impl Sampler {
    /// Opens the files under `root`, and forks. It must be called while this process has no threads.
    ///
    /// # Errors
    /// Which file cannot be read, and why; or memory or processes are exhausted.
    pub fn start(root: &Path) -> io::Result<Self> {
        let reader = ProcReader::open(root).map_err(io::Error::other)?;
        let slab_reader = SlabReader::open(root);
        let history = History {
            readings: Vec::new(),
            pressure: reader.check_psi(),
            slabs: slab_reader
                .as_ref()
                .map(|_| SlabHistory::default())
                .map_err(Clone::clone),
        };
        let rows = WordRing::new(READING_WORDS, READING_RING_CAPACITY)?;
        let slabs = match &slab_reader {
            Ok(_) => Some(SlabRing::new()?),
            Err(_) => None,
        };
        let ((), worker) = ObserverProcess::start("sampler", (), |(), control| {
            let mut reader = reader;
            let slabs = slabs.as_ref().zip(slab_reader.ok());
            let mut slabs = slabs.map(|(ring, reader)| SlabWriter::new(ring, reader));
            control.lock_memory();
            // A timer may be late by the slack, 50 µs by default.
            prctl::set_timerslack(1).map_err(|e| failed("set the timer slack", e))?;
            run_sampler(control, &mut reader, &rows, slabs.as_mut());
            Ok::<(), ObserveError>(())
        });
        Ok(Self {
            process: worker?,
            reading_ring: rows,
            slab_ring: slabs,
            history,
        })
    }

    /// Waits until the sampler is ready.
    ///
    /// # Errors
    /// Its own message, how it died, or that it did not become ready in time.
    pub fn wait_ready(&mut self) -> Result<(), ObserveError> {
        self.process.wait_ready()
    }

    /// Checks that the sampler is still running.
    ///
    /// # Errors
    /// Its own message, or how it died.
    pub fn check_alive(&mut self) -> Result<(), ObserveError> {
        self.process.check_alive()
    }

    /// Fetches the readings since the last call. It must be called at least once a minute.
    pub fn drain(&mut self) {
        let mut row = [0; READING_WORDS];
        while self.reading_ring.pop(&mut row) {
            self.history.readings.push(decode(&row));
        }
        if let (Some(rows), Ok(slabs)) = (&self.slab_ring, &mut self.history.slabs) {
            rows.drain(slabs);
        }
    }

    /// Requests the slab caches with the next reading.
    pub fn request_slab_reading(&self) {
        if let Some(slabs) = &self.slab_ring {
            slabs.request_flag().store(1, Ordering::Relaxed);
        }
    }

    /// Requests the slab caches and waits until they are read, at most a second: what others feel of the reading is felt
    /// before the caller goes on.
    pub fn read_slabs_now(&self) {
        self.request_slab_reading();
        let requested = Instant::now();
        let pending = || {
            let slabs = self.slab_ring.as_ref();
            slabs.is_some_and(|slabs| slabs.request_flag().load(Ordering::Relaxed) != 0)
        };
        while pending() && requested.elapsed() < SLAB_REQUEST_TIMEOUT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns everything that was fetched.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Returns all readings that were fetched.
    #[must_use]
    pub fn readings(&self) -> &[Reading] {
        &self.history.readings
    }

    /// Returns the last reading that was fetched.
    #[must_use]
    pub fn latest(&self) -> Option<&Reading> {
        self.history.readings.last()
    }

    /// Returns the number of readings that were lost, because they were not fetched in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.reading_ring.lost() + self.slab_ring.as_ref().map_or(0, |slabs| slabs.ring.lost())
    }

    /// Returns the process of the sampler.
    #[must_use]
    pub fn process(&self) -> &ObserverProcess {
        &self.process
    }

    /// Ends the sampler, fetches the remaining readings, and returns what it has cost.
    ///
    /// # Errors
    /// Its own message, how it died, or that it does not end.
    pub fn stop(&mut self) -> Result<ProcessUsage, ObserveError> {
        self.process.ask_to_stop();
        let asked = Instant::now();
        let cost = loop {
            if let Some(cost) = self.process.try_finish()? {
                break cost;
            }
            if asked.elapsed() > SAMPLER_STOP_TIMEOUT {
                let message = format!("{}: does not end", self.process.name());
                return Err(ObserveError::Process(message));
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        self.drain();
        Ok(cost)
    }
}

/// Runs the sampler in its own process.
fn run_sampler(
    control: &ProcessControl,
    reader: &mut ProcReader,
    rows: &WordRing,
    mut slabs: Option<&mut SlabWriter<'_>>,
) {
    let start = MonotonicNs::now();
    let mut tick = 0;
    control.set_ready();
    while !control.is_stopping() {
        let intended = start.after(Duration::from_nanos(tick * SAMPLE_PERIOD_NS));
        clock::sleep_until(intended);
        let at = MonotonicNs::now();
        let reading = Reading {
            at,
            delay: at.since(intended),
            values: reader.read(),
        };
        rows.push(&encode(&reading), 1);
        if let Some(slabs) = &mut slabs
            && (tick.is_multiple_of(SLAB_INTERVAL_TICKS) || slabs.is_requested())
        {
            slabs.read();
        }
        // Intended times that have passed meanwhile are skipped, since their values cannot be read any more.
        tick = (MonotonicNs::now().nanos_since(start) / SAMPLE_PERIOD_NS).max(tick) + 1;
    }
}

fn encode(reading: &Reading) -> [u64; READING_WORDS] {
    let mut row = [0; READING_WORDS];
    row[0] = reading.at.as_nanos();
    row[1] = saturating_nanos(reading.delay);
    for (word, value) in row[2..].iter_mut().zip(reading.values) {
        *word = value.unwrap_or(UNKNOWN_VALUE);
    }
    row
}

fn decode(row: &[u64; READING_WORDS]) -> Reading {
    let mut values = [None; METRIC_COUNT];
    for (value, word) in values.iter_mut().zip(&row[2..]) {
        *value = (*word != UNKNOWN_VALUE).then_some(*word);
    }
    Reading {
        at: MonotonicNs::from_nanos(row[0]),
        delay: Duration::from_nanos(row[1]),
        values,
    }
}

/// Index of the request word. The number of untracked caches, the number of published names, and the names follow.
const REQUEST_INDEX: usize = 0;
const UNTRACKED_INDEX: usize = 1;
const NAME_COUNT_INDEX: usize = 2;
const NAMES_START: usize = 3;

/// Number of words of a name.
const NAME_WORDS: usize = CACHE_NAME_BYTES / 8;

/// Readings of the slab caches, with the names of the caches, each of which is sent once.
///
/// The caches are read at the borders of spans and every 10 s, not with every reading: on Linux 6.18 with 236 caches it takes 0.36 ms (at
/// most 0.46 of 100) while all other files together take 0.09. It holds slab_mutex, which every creation or removal of
/// a cache waits for, and walks the list of partly used slabs of each cache with interrupts off: all of it before Linux
/// 6.10 (commit 046f4c69090c), up to 10 000 slabs since. A machine with fragmented slabs pays for that at each reading.
#[derive(Debug)]
struct SlabRing {
    ring: WordRing,
    words: SharedWords,
}

impl SlabRing {
    fn new() -> io::Result<Self> {
        Ok(Self {
            ring: WordRing::new(1 + MAX_CACHES, SLAB_RING_CAPACITY)?,
            words: SharedWords::new(NAMES_START + MAX_CACHES * NAME_WORDS)?,
        })
    }

    fn request_flag(&self) -> &AtomicU64 {
        &self.words[REQUEST_INDEX]
    }

    /// Publishes the names of new caches; the sampler calls it.
    fn publish_names(&self, caches: &CacheTable) {
        let told = self.words[NAME_COUNT_INDEX].load(Ordering::Relaxed) as usize;
        for (place, name) in caches.names().iter().enumerate().skip(told) {
            let words = &self.words[NAMES_START + place * NAME_WORDS..];
            for (word, chunk) in words.iter().zip(name.as_chunks::<8>().0) {
                word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
            }
        }
        self.words[NAME_COUNT_INDEX].store(caches.names().len() as u64, Ordering::Release);
        self.words[UNTRACKED_INDEX].store(caches.untracked(), Ordering::Relaxed);
    }

    /// Fetches all waiting readings and the new names; the parent calls it.
    fn drain(&self, slabs: &mut SlabHistory) {
        let mut row = [0; 1 + MAX_CACHES];
        while self.ring.pop(&mut row) {
            // The names were published before the row was pushed.
            let told = self.words[NAME_COUNT_INDEX].load(Ordering::Acquire) as usize;
            for place in slabs.names.len()..told {
                slabs.names.push(self.name(place));
            }
            slabs.readings.push(SlabReading {
                at: MonotonicNs::from_nanos(row[0]),
                bytes: row[1..=told].to_vec(),
            });
        }
        slabs.untracked = slabs
            .untracked
            .max(self.words[UNTRACKED_INDEX].load(Ordering::Relaxed));
    }

    fn name(&self, place: usize) -> String {
        let mut name: CacheName = [0; CACHE_NAME_BYTES];
        let words = &self.words[NAMES_START + place * NAME_WORDS..];
        for (chunk, word) in name.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        let text = String::from_utf8_lossy(&name);
        text.trim_end_matches('\0').to_owned()
    }
}

/// Writes the readings of the slab caches, in the sampler's process.
#[derive(Debug)]
struct SlabWriter<'a> {
    ring: &'a SlabRing,
    reader: SlabReader,
    row: Box<[u64; 1 + MAX_CACHES]>,
}

impl<'a> SlabWriter<'a> {
    fn new(ring: &'a SlabRing, reader: SlabReader) -> Self {
        Self {
            ring,
            reader,
            row: Box::new([0; 1 + MAX_CACHES]),
        }
    }

    fn is_requested(&self) -> bool {
        self.ring.request_flag().load(Ordering::Relaxed) != 0
    }

    fn read(&mut self) {
        self.row[0] = clock::monotonic_ns();
        if self.reader.read(&mut self.row[1..]) {
            self.ring.publish_names(self.reader.seen_caches());
            self.ring.ring.push(&*self.row, 1);
        }
        self.ring.request_flag().store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_what_is_unknown() {
        let mut values = [None; METRIC_COUNT];
        values[3] = Some(0);
        values[METRIC_COUNT - 1] = Some(u64::MAX - 1);
        let reading = Reading {
            at: MonotonicNs::from_nanos(5),
            delay: Duration::from_nanos(6),
            values,
        };
        assert_eq!(decode(&encode(&reading)), reading);
    }

    #[test]
    fn slab_readings_bring_the_names_of_new_caches_along() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let path = dir.path().join("proc/slabinfo");
        std::fs::write(&path, "slabinfo\n#\ndentry 1 2 192\n").unwrap();
        let rows = SlabRing::new().unwrap();
        let mut side = SlabWriter::new(&rows, SlabReader::open(dir.path()).unwrap());
        side.read();
        std::fs::write(&path, "slabinfo\n#\nbtrfs_path 1 1 112\ndentry 3 3 192\n").unwrap();
        side.read();
        // There are no readings if nothing can be read.
        std::fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
        side.read();
        let mut slabs = SlabHistory::default();
        rows.drain(&mut slabs);
        assert_eq!(slabs.names, ["dentry", "btrfs_path"]);
        let bytes: Vec<_> = slabs.readings.iter().map(|r| &*r.bytes).collect();
        assert_eq!(bytes, [&[384, 0][..], &[576, 112]]);
        assert!(!side.is_requested());
        rows.request_flag().store(1, Ordering::Relaxed);
        assert!(side.is_requested());
        // A request counts as answered even where nothing can be read.
        side.read();
        assert!(!side.is_requested());
    }
}
