//! Where a file of a memory file system has data: asked window by window, so that no question grows with the file.
//!
//! `lseek(SEEK_HOLE)` on tmpfs walks every page of the data before the hole, 9 to 11 ms a GiB on 6.18 during which nothing else
//! runs on that CPU, and `SEEK_DATA` walks allocated pages that were never written in the same way. Neither call takes a
//! limit. So the pages of one window are counted instead (0.07 ms for 8 MiB), and lseek is used only to cross long holes.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::iter;
use std::ops::Range;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};

use super::errno_class::{ErrnoClass, classify, retry};
use super::segment::{QUERY_WINDOW_BYTES, Segment, window_end};
use crate::sys::file::allocated_bytes;
use crate::sys::residency::{self, PageCounts, page_size};

/// Bytes that one question covers in a long hole. Where they turn out to be dense, counting them took 0.55 ms.
const PROBE: u64 = 32 << 20;

/// Questions in one call of [`PageScanner::next`], so that the caller can look for signals: 0.13 ms in holes.
const PROBES_A_CALL: u32 = 64;

/// Bytes of one hole that are crossed by probes before lseek is asked how far it goes: 64 GiB are 2,048 probes, 4 ms. lseek is
/// asked at once where no more than [`PROBE`] bytes can be left to walk over.
const PROBED_HOLE: u64 = 64 << 30;

/// Pages of a window that are looked at where nothing but lseek can be asked. If one page in 17 is a hole, all of them miss
/// it in 38 % of windows: 2.2 % of zeros copied as data, the worst that is expected.
const SAMPLES_PER_WINDOW: u64 = 16;

/// What can be asked about the pages of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageQuery {
    /// cachestat(2), Linux 6.5.
    Cachestat,
    /// mincore(2), which does not know pages in swap.
    Mincore,
    /// lseek(2) at sample offsets: the caller neither owns the file nor may write it. Holes inside of a window may be taken
    /// for data, so that the file must not be read through a mapping.
    Samples,
}

impl PageQuery {
    /// Asks the kernel which of them it offers for `file`.
    #[must_use]
    pub fn of(file: &File) -> Self {
        if !residency::is_reliable(file) {
            Self::Samples
        } else if residency::count_pages(file, 0, 1).is_ok() {
            Self::Cachestat
        } else {
            Self::Mincore
        }
    }
}

/// Finds the data of one file of tmpfs or ramfs.
#[derive(Debug)]
pub(super) struct PageScanner<'a> {
    source: &'a File,
    size: u64,
    witness: PageQuery,
    /// tmpfs answers SEEK_DATA and SEEK_HOLE; ramfs says that everything is data.
    seeks: bool,
    page: u64,
    /// The window asked about last, and its data that was not handed out yet.
    window: Range<u64>,
    runs: VecDeque<Range<u64>>,
    /// Bytes allocated before `seen_until`, for an estimate of what is still to come.
    seen: u64,
    seen_until: u64,
    /// Bytes of the present hole that were probed.
    probed: u64,
    /// State of the generator of sample offsets.
    random: u64,
}

impl<'a> PageScanner<'a> {
    pub(super) fn new(source: &'a File, size: u64, witness: PageQuery, seeks: bool) -> Self {
        Self {
            source,
            size,
            witness,
            seeks,
            page: page_size(),
            window: 0..0,
            runs: VecDeque::new(),
            seen: 0,
            seen_until: 0,
            probed: 0,
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// Returns the next stretch at or after `pos`; `None` at the end of the file.
    ///
    /// # Errors
    /// Errors of lseek(2), mmap(2) and mincore(2).
    pub(super) fn next(&mut self, pos: u64) -> io::Result<Option<Segment>> {
        let mut at = pos;
        for _ in 0..PROBES_A_CALL {
            if at >= self.size {
                break;
            }
            if let Some(run) = self.known_run(at) {
                self.probed = 0;
                return Ok(Some(Segment::Data(run)));
            }
            at = if self.window.contains(&at) {
                self.window.end
            } else {
                self.ask(at)?
            };
        }
        Ok((pos < self.size).then_some(Segment::Hole(at.min(self.size))))
    }

    /// Forgets what was seen, for a second pass over the file.
    pub(super) fn rewind(&mut self) {
        (self.seen, self.seen_until, self.probed) = (0, 0, 0);
        (self.window, self.runs) = (0..0, VecDeque::new());
    }

    /// Notes that `data` was found to be there without asking again.
    pub(super) fn note(&mut self, data: &Range<u64>) {
        if data.start >= self.seen_until {
            self.seen += data.end - data.start;
            self.seen_until = data.end;
        }
    }

    /// The first run of data in the window last asked about that ends behind `at`.
    fn known_run(&mut self, at: u64) -> Option<Range<u64>> {
        if !self.window.contains(&at) {
            return None;
        }
        while self.runs.front().is_some_and(|run| run.end <= at) {
            self.runs.pop_front();
        }
        self.runs.front().map(|run| run.start.max(at)..run.end)
    }

    /// Asks about the window at `at`. Returns the offset to look at next: `at` itself where the window was filled.
    fn ask(&mut self, at: u64) -> io::Result<u64> {
        let small = window_end(at).min(self.size);
        let window = at - at % self.page..small;
        match self.witness {
            PageQuery::Cachestat => {
                if self.probed > 0 {
                    return self.probe(at);
                }
                let pages = self.count(&window)?;
                if pages.total() == 0 {
                    self.probed += window.end - window.start;
                    return Ok(window.end);
                }
                let runs = self.counted_runs(&window, pages)?;
                self.fill(window, runs, pages.total() * self.page);
            }
            PageQuery::Mincore => {
                let runs = self.resident_runs(&window, self.seeks)?;
                if runs.is_empty() {
                    return self.hole_without_count(at, window.end);
                }
                let bytes = runs.iter().map(|run| run.end - run.start).sum();
                self.fill(window, runs, bytes);
            }
            PageQuery::Samples => return self.sample(at, window.end),
        }
        Ok(at)
    }

    fn fill(&mut self, window: Range<u64>, runs: Vec<Range<u64>>, bytes: u64) {
        if window.start >= self.seen_until {
            self.seen += bytes;
            self.seen_until = window.end;
        }
        (self.window, self.runs) = (window, runs.into());
    }

    fn fill_with_data(&mut self, window: Range<u64>) {
        let bytes = window.end - window.start;
        self.fill(window.clone(), iter::once(window).collect(), bytes);
    }

    fn count(&self, range: &Range<u64>) -> io::Result<PageCounts> {
        residency::count_pages(self.source, range.start, range.end - range.start)
    }

    fn is_empty(&self, range: &Range<u64>) -> io::Result<bool> {
        Ok(self.count(range)?.total() == 0)
    }

    /// Goes on in a hole: in greater steps, or over all of it where that is certain to be cheap. A step that is not empty is
    /// asked about in windows.
    fn probe(&mut self, at: u64) -> io::Result<u64> {
        if self.probed >= PROBED_HOLE || self.unseen()? <= PROBE {
            self.probed = 0;
            return self.cross_hole(at);
        }
        let step = at..(at - at % QUERY_WINDOW_BYTES + PROBE).min(self.size);
        if self.is_empty(&step)? {
            self.probed += step.end - step.start;
            return Ok(step.end);
        }
        self.probed = 0;
        Ok(at)
    }

    /// Allocated bytes that no window asked about so far has accounted for. An estimate: it decides about the cost of
    /// questions, never about what is data.
    fn unseen(&self) -> io::Result<u64> {
        Ok(allocated_bytes(&self.source.metadata()?).saturating_sub(self.seen))
    }

    /// The offset up to which there is nothing but hole, a multiple of [`QUERY_WINDOW_BYTES`] or further. What lseek says is counted: a
    /// claim that does not hold is replaced by a search.
    fn cross_hole(&self, at: u64) -> io::Result<u64> {
        let claimed = match self.seeks {
            true => self.seek_data(at)?.filter(|data| *data > at),
            false => None,
        };
        let claimed = claimed.unwrap_or(self.size).min(self.size);
        if self.is_empty(&(at..claimed))? {
            return Ok(claimed);
        }
        let (mut low, mut high) = (at, claimed);
        while high - low > QUERY_WINDOW_BYTES {
            let middle = low + (high - low) / 2;
            if self.is_empty(&(low..middle))? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The next data as lseek knows it. Where it is refused (seccomp), everything is data.
    fn seek_data(&self, at: u64) -> io::Result<Option<u64>> {
        match retry(|| lseek64(self.source, at.cast_signed(), Whence::SeekData)) {
            Ok(data) => Ok(Some(data.cast_unsigned())),
            Err(e) if e.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(None),
            Err(e) if classify(&e) == ErrnoClass::Unsupported => Ok(Some(at)),
            Err(e) => Err(e),
        }
    }

    /// The data of a window with `pages` pages in it. Pages that were allocated and never written are holes at the front of a
    /// full window and in a window with holes; behind data in a full window they are copied with it.
    fn counted_runs(&self, window: &Range<u64>, pages: PageCounts) -> io::Result<Vec<Range<u64>>> {
        let all = window.end.div_ceil(self.page) - window.start / self.page;
        if pages.total() >= all && (pages.evicted > 0 || self.is_written(window.start)?) {
            return Ok(vec![window.clone()]);
        }
        if pages.evicted == 0 {
            let runs = self.resident_runs(window, false)?;
            let resident: u64 = runs
                .iter()
                .map(|r| (r.end - r.start).div_ceil(self.page))
                .sum();
            if resident <= pages.cached {
                return Ok(runs);
            }
        }
        let mut runs = Vec::new();
        self.split(window.clone(), pages, &mut runs)?;
        Ok(runs)
    }

    /// Whether the page at `at` is in memory and was written. A mapping of one page: 2 µs.
    fn is_written(&self, at: u64) -> io::Result<bool> {
        Ok(residency::resident_bytes(self.source, at, 1)? > 0)
    }

    /// Halves a range until each part is all pages or all hole: for pages in swap, which mincore does not know.
    fn split(
        &self,
        range: Range<u64>,
        pages: PageCounts,
        runs: &mut Vec<Range<u64>>,
    ) -> io::Result<()> {
        let all = (range.end - range.start).div_ceil(self.page);
        if pages.total() == 0 {
            return Ok(());
        }
        if pages.total() >= all || all == 1 {
            push(runs, range);
            return Ok(());
        }
        let middle = range.start + all / 2 * self.page;
        for half in [range.start..middle, middle..range.end] {
            let pages = self.count(&half)?;
            self.split(half, pages, runs)?;
        }
        Ok(())
    }

    /// The runs of resident pages of a window, and with `swapped` those that SEEK_DATA finds between them.
    fn resident_runs(&self, window: &Range<u64>, swapped: bool) -> io::Result<Vec<Range<u64>>> {
        let (mut runs, mut others) = (Vec::new(), Vec::new());
        let len = window.end - window.start;
        residency::for_each_run(self.source, window.start, len, |offset, len, resident| {
            let run = offset..offset + len;
            if resident {
                runs.push(run);
            } else {
                others.push(run);
            }
        })?;
        if swapped {
            for range in others {
                self.swapped_pages(range, &mut runs)?;
            }
            runs.sort_by_key(|run| run.start);
        }
        Ok(runs)
    }

    /// Pages of `range` that are data though they are not in memory. SEEK_HOLE would walk on through data behind the range.
    fn swapped_pages(&self, range: Range<u64>, runs: &mut Vec<Range<u64>>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            match self.seek_data(at)? {
                Some(data) if data < range.end => {
                    at = (data - data % self.page + self.page).min(range.end);
                    push(runs, data..at);
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// The end of a hole where pages cannot be counted: what lseek says, once it says the same twice; on ramfs, where all is
    /// seen that was allocated, the end of the file.
    fn hole_without_count(&mut self, at: u64, window_end: u64) -> io::Result<u64> {
        if !self.seeks {
            let over = self.unseen()? == 0;
            return Ok(if over { self.size } else { window_end });
        }
        let first = self.seek_data(at)?;
        let again = self.seek_data(at)?;
        let data = first.min(again).or(first).or(again).unwrap_or(self.size);
        Ok(data.max(window_end).min(self.size))
    }

    /// Asks lseek alone: exactly where little is left to walk over or a sample shows a hole, else the window is data.
    fn sample(&mut self, at: u64, end: u64) -> io::Result<u64> {
        if !self.seeks {
            self.fill_with_data(at..end);
            return Ok(at);
        }
        let data = match self.seek_data(at)? {
            Some(data) => Some(data),
            None => self.seek_data(at)?,
        };
        let start = data.unwrap_or(self.size).min(self.size);
        if start > at {
            return Ok(start);
        }
        let run_end = if self.unseen()? <= PROBE || self.has_hole(at, end)? {
            self.seek_hole(at)?.min(end)
        } else {
            end
        };
        self.fill_with_data(at..run_end);
        Ok(at)
    }

    fn has_hole(&mut self, at: u64, end: u64) -> io::Result<bool> {
        for _ in 0..SAMPLES_PER_WINDOW {
            // Marsaglia's xorshift64: no secret, only no pattern that a file could have as well.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let sample = at + self.random % (end - at);
            if self.seek_data(sample)? != Some(sample) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The end of the data at `at`, at least a page on.
    fn seek_hole(&self, at: u64) -> io::Result<u64> {
        let hole = retry(|| lseek64(self.source, at.cast_signed(), Whence::SeekHole))?;
        Ok(hole.cast_unsigned().max(at - at % self.page + self.page))
    }
}

/// Appends a run, joined to the one before where they meet.
fn push(runs: &mut Vec<Range<u64>>, run: Range<u64>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}
