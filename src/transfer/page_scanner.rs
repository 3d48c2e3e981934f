//! Finds the data of a file in a memory file system window by window, so that no query grows with the file.
//!
//! `lseek(SEEK_HOLE)` on tmpfs walks every page of the data before the hole, 9 to 11 ms a GiB on 6.18 during which
//! nothing else runs on that CPU, and `SEEK_DATA` walks allocated pages that were never written in the same way.
//! Neither call takes a limit. So the pages of one window are counted instead (0.07 ms for 8 MiB), and lseek is used
//! only to cross long holes.

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

/// Bytes that one query covers in a long hole. If they turn out to be dense, counting them took 0.55 ms.
const PROBE: u64 = 32 << 20;

/// Number of queries in one call of [`PageScanner::next`], so that the caller can check for signals: 0.13 ms in holes.
const PROBES_A_CALL: u32 = 64;

/// Bytes of one hole that are crossed by probes before lseek is asked where it ends: 64 GiB are 2,048 probes, 4 ms.
/// lseek is asked at once if it can walk over no more than [`PROBE`] bytes.
const PROBED_HOLE: u64 = 64 << 30;

/// Number of pages of a window that are sampled if only lseek is available. If one page in 17 is a hole, all samples
/// miss it in 38 % of windows: 2.2 % of zeros copied as data, the worst that is expected.
const SAMPLES_PER_WINDOW: u64 = 16;

/// The call that can query the pages of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageQuery {
    /// cachestat(2), which exists since Linux 6.5.
    Cachestat,
    /// mincore(2), which does not know pages in swap.
    Mincore,
    /// lseek(2) at sample offsets: the caller neither owns the file nor may write it. Holes inside of a window may be
    /// taken for data, so that the file must not be read through a mapping.
    Samples,
}

impl PageQuery {
    /// Finds out which of these calls the kernel offers for `file`.
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
    /// Whether lseek knows holes: tmpfs answers SEEK_DATA and SEEK_HOLE, ramfs reports everything as data.
    seeks: bool,
    page: u64,
    /// The last window queried, and its data that was not returned yet.
    window: Range<u64>,
    runs: VecDeque<Range<u64>>,
    /// Bytes allocated before `seen_until`, to estimate what is still to come.
    seen: u64,
    seen_until: u64,
    /// Bytes of the current hole that were probed.
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

    /// Returns the next segment at or after `pos`; `None` at the end of the file.
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

    /// Forgets all answers, for a second pass over the file.
    pub(super) fn rewind(&mut self) {
        (self.seen, self.seen_until, self.probed) = (0, 0, 0);
        (self.window, self.runs) = (0..0, VecDeque::new());
    }

    /// Records that `data` was found to be there without a new query.
    pub(super) fn note(&mut self, data: &Range<u64>) {
        if data.start >= self.seen_until {
            self.seen += data.end - data.start;
            self.seen_until = data.end;
        }
    }

    /// Returns the first run of data in the last window queried that ends after `at`.
    fn known_run(&mut self, at: u64) -> Option<Range<u64>> {
        if !self.window.contains(&at) {
            return None;
        }
        while self.runs.front().is_some_and(|run| run.end <= at) {
            self.runs.pop_front();
        }
        self.runs.front().map(|run| run.start.max(at)..run.end)
    }

    /// Queries the window at `at`. Returns the offset to query next: `at` itself if the window has data.
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

    /// Continues in a hole, in larger steps, or over all of it if that is certain to be cheap. A step that is not empty
    /// is queried in windows.
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

    /// Returns the allocated bytes that no window queried so far accounts for. It is an estimate, which decides only
    /// about the cost of queries, never about what is data.
    fn unseen(&self) -> io::Result<u64> {
        Ok(allocated_bytes(&self.source.metadata()?).saturating_sub(self.seen))
    }

    /// Returns the offset up to which there is only a hole, a multiple of [`QUERY_WINDOW_BYTES`] or further. The pages
    /// of what lseek calls a hole are counted; if there are any, they are searched instead.
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

    /// Returns the next data that lseek finds. If lseek is refused (seccomp), everything is data.
    fn seek_data(&self, at: u64) -> io::Result<Option<u64>> {
        match retry(|| lseek64(self.source, at.cast_signed(), Whence::SeekData)) {
            Ok(data) => Ok(Some(data.cast_unsigned())),
            Err(e) if e.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(None),
            Err(e) if classify(&e) == ErrnoClass::Unsupported => Ok(Some(at)),
            Err(e) => Err(e),
        }
    }

    /// Returns the data of a window with `pages` pages in it. Pages that were allocated and never written are holes at
    /// the front of a full window and in a window with holes; after data in a full window they are copied with it.
    fn counted_runs(
        &self,
        window: &Range<u64>,
        mut pages: PageCounts,
    ) -> io::Result<Vec<Range<u64>>> {
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
            // Fewer are resident if some were never written, but also if one was swapped out after they were counted.
            if resident == pages.cached {
                return Ok(runs);
            }
            let was_cached = pages.cached;
            pages = self.count(window)?;
            if resident < was_cached && pages.evicted == 0 {
                return Ok(runs);
            }
        }
        let mut runs = Vec::new();
        self.split(window.clone(), pages, &mut runs)?;
        Ok(runs)
    }

    /// Returns whether the page at `at` is in memory and was written, with a mapping of one page: 2 µs.
    fn is_written(&self, at: u64) -> io::Result<bool> {
        Ok(residency::resident_bytes(self.source, at, 1)? > 0)
    }

    /// Halves a range until each part is all pages or all hole, for pages in swap, which mincore does not know.
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

    /// Returns the runs of resident pages of a window, and with `swapped` those that SEEK_DATA finds between them.
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

    /// Adds the pages of `range` that are data although they are not in memory. It does not use SEEK_HOLE, which would
    /// walk on through data after the range.
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

    /// Returns the end of a hole if pages cannot be counted: what lseek returns, once it returns the same twice; on
    /// ramfs, if all allocated bytes were seen, the end of the file.
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

    /// Queries with lseek alone: exactly if little is left to walk over or a sample shows a hole; otherwise the window
    /// is data.
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
            // Marsaglia's xorshift64: it need not be secret, but must have no pattern that a file could have.
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

    /// Returns the end of the data at `at`, at least a page after it.
    fn seek_hole(&self, at: u64) -> io::Result<u64> {
        let hole = retry(|| lseek64(self.source, at.cast_signed(), Whence::SeekHole))?;
        Ok(hole.cast_unsigned().max(at - at % self.page + self.page))
    }
}

/// Appends a run, and merges it with the previous one if they touch.
fn push(runs: &mut Vec<Range<u64>>, run: Range<u64>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}
