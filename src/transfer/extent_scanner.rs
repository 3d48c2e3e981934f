//! Finds the data of a source by asking the kernel while the copy runs, without ever touching a hole.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};

use super::errno_class::{errno_of, retry};
use super::page_scanner::{PageQuery, PageScanner};
use super::segment::window_end;
pub use super::segment::{QUERY_WINDOW_BYTES, Segment};
use crate::sys::fiemap;
use crate::sys::file::allocated_bytes;

/// Number of holes that are remembered until the end of the file, in case that the file system took data for a hole.
/// Beyond this number the last one is extended: reading data twice does no harm.
const MAX_HOLES: usize = 1 << 16;

/// Sum of the holes in bytes up to which each allocated block beyond the data found is a reason to read the holes: 1
/// GiB is read in half a second.
const READ_FOR_ANY_BLOCK: u64 = 1 << 30;

/// How the data of a source can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanMethod {
    /// By lseek(2) with SEEK_DATA and SEEK_HOLE.
    Seek,
    /// By counting the pages of tmpfs, in windows.
    Tmpfs(PageQuery),
    /// By counting the pages of ramfs, where lseek reports everything as data.
    Ramfs(PageQuery),
    /// Not at all: everything counts as data.
    Everything,
}

impl ScanMethod {
    /// Returns whether data found may be read through a mapping, which allocates memory if a hole is touched.
    #[must_use]
    pub fn is_exact(self) -> bool {
        !matches!(
            self,
            Self::Tmpfs(PageQuery::Samples) | Self::Ramfs(PageQuery::Samples)
        )
    }
}

/// Values that change when a file is written to or punched: allocated blocks, and the time of its last change.
type Stamp = (u64, i64, i64);

/// The data extents of one source, in order. Only the last one is remembered and, if lseek is trusted, the holes.
///
/// Another process may punch holes during the copy, so an answer becomes outdated: it is trusted for a window, and
/// beyond only as long as the file's blocks and change time (fstat, under 1 µs a window) are unchanged. No query costs
/// more than about 0.5 ms of CPU, whatever the size. In memory that needs windows of its own (`page_scanner`). On a
/// disk lseek walks extents, not pages; a file there whose blocks cover its size is not searched for holes at all.
#[derive(Debug)]
pub struct ExtentScanner<'a> {
    source: &'a File,
    size: u64,
    finder: ScanMethod,
    pages: Option<PageScanner<'a>>,
    known: Range<u64>,
    stamp: Stamp,
    ask_hole_at: u64,
    found: u64,
    found_until: u64,
    found_bytes: u64,
    holes: Vec<Range<u64>>,
    contradicted: bool,
}

impl<'a> ExtentScanner<'a> {
    /// Makes the scanner for the first `size` bytes of `source`.
    #[must_use]
    pub fn new(source: &'a File, size: u64, finder: ScanMethod) -> Self {
        let pages = match finder {
            ScanMethod::Tmpfs(witness) => Some(PageScanner::new(source, size, witness, true)),
            ScanMethod::Ramfs(witness) => Some(PageScanner::new(source, size, witness, false)),
            ScanMethod::Seek | ScanMethod::Everything => None,
        };
        Self {
            source,
            size,
            finder,
            pages,
            known: 0..0,
            stamp: Stamp::default(),
            ask_hole_at: 0,
            found: 0,
            found_until: 0,
            found_bytes: 0,
            holes: Vec::new(),
            contradicted: false,
        }
    }

    /// Returns the next segment at or after `pos`, at most a window of data; `None` at the end. A hole may be returned
    /// in several parts, so that the caller can check for signals.
    ///
    /// # Errors
    /// Errors of lseek(2), mmap(2) and mincore(2). A file system without SEEK_DATA is no error: then all of it is data.
    pub fn next(&mut self, pos: u64) -> io::Result<Option<Segment>> {
        if pos >= self.size {
            return Ok(None);
        }
        let segment = if self.finder == ScanMethod::Everything {
            Segment::Data(pos..window_end(pos))
        } else if let Some(segment) = self.next_page_or_give_up(pos) {
            segment
        } else {
            match self.next_by_seek(pos) {
                Err(Errno::EINVAL | Errno::ESPIPE | Errno::EOPNOTSUPP) => {
                    self.finder = ScanMethod::Everything;
                    // Holes that it reported before are not trusted any more, either.
                    self.contradicted = !self.holes.is_empty();
                    Segment::Data(pos..window_end(pos))
                }
                other => other?,
            }
        };
        Ok(Some(self.note(pos, segment)))
    }

    /// Cuts a segment at the size, and counts it. A source that has grown has data beyond the part to copy.
    fn note(&mut self, pos: u64, segment: Segment) -> Segment {
        match segment {
            Segment::Data(data) if data.start < self.size => {
                let data = data.start..data.end.min(self.size);
                self.note_hole(pos..data.start);
                self.found += u64::from(self.found == 0 || data.start > self.found_until);
                self.found_bytes += data.end - data.start.max(self.found_until).min(data.end);
                self.found_until = self.found_until.max(data.end);
                Segment::Data(data)
            }
            Segment::Data(_) => self.note(pos, Segment::Hole(self.size)),
            Segment::Hole(end) => {
                self.note_hole(pos..end.min(self.size));
                Segment::Hole(end.min(self.size))
            }
        }
    }

    fn note_hole(&mut self, hole: Range<u64>) {
        if hole.is_empty() || self.finder != ScanMethod::Seek {
            return;
        }
        let full = self.holes.len() >= MAX_HOLES;
        match self.holes.last_mut() {
            Some(last) if last.end >= hole.start || full => last.end = last.end.max(hole.end),
            _ => self.holes.push(hole),
        }
    }

    /// Returns how many extents were found so far.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Returns how data was found so far: a file system that cannot tell makes everything count as data.
    #[must_use]
    pub fn finder(&self) -> ScanMethod {
        self.finder
    }

    /// Starts again at the beginning, with the last answer still trusted.
    pub fn rewind(&mut self) {
        (self.found, self.found_until, self.found_bytes) = (0, 0, 0);
        self.holes.clear();
        if let Some(pages) = &mut self.pages {
            pages.rewind();
        }
    }

    /// Does the same as [`Self::next_page`]. If the pages cannot be queried (mmap(2) or mincore(2) is refused, or
    /// memory is exhausted), it uses lseek from here on, which walks the data; ramfs has no holes then.
    fn next_page_or_give_up(&mut self, pos: u64) -> Option<Segment> {
        match self.next_page(pos) {
            Ok(segment) => segment,
            Err(_) => {
                self.pages = None;
                self.finder = match self.finder {
                    ScanMethod::Ramfs(_) => ScanMethod::Everything,
                    _ => ScanMethod::Seek,
                };
                (self.finder == ScanMethod::Everything).then(|| Segment::Data(pos..window_end(pos)))
            }
        }
    }

    /// Finds data in memory: the data that is known to be still there, or what a query of the pages returns.
    fn next_page(&mut self, pos: u64) -> io::Result<Option<Segment>> {
        let Some(pages) = &mut self.pages else {
            return Ok(None);
        };
        let stamp = stamp(self.source)?;
        if stamp == self.stamp && self.known.contains(&pos) {
            let data = pos..self.known.end.min(window_end(pos));
            pages.note(&data);
            return Ok(Some(Segment::Data(data)));
        }
        let segment = pages.next(pos)?;
        if let Some(Segment::Data(data)) = &segment {
            if stamp == self.stamp && self.known.end == data.start {
                self.known.end = data.end;
            } else {
                (self.known, self.stamp) = (data.clone(), stamp);
            }
        }
        // The finder and this reader have one size, so that it returned something.
        Ok(Some(segment.unwrap_or(Segment::Hole(self.size))))
    }

    fn next_by_seek(&mut self, pos: u64) -> nix::Result<Segment> {
        let start = match lseek(self.source, pos, Whence::SeekData) {
            // An offset before the one asked about is not valid: everything is data then.
            Ok(start) if start < pos => return Err(Errno::EOPNOTSUPP),
            Ok(start) => start,
            Err(Errno::ENXIO) => return self.check_end(pos),
            Err(e) => return Err(e),
        };
        let end = window_end(start);
        let stamp = stamp(self.source).unwrap_or_default();
        // Walking so few pages is cheap, and data in memory must be known for certain.
        if stamp.0 * 512 >= self.size && self.size > QUERY_WINDOW_BYTES {
            return Ok(Segment::Data(start..end));
        }
        let stale = stamp != self.stamp && start >= self.ask_hole_at;
        if !self.known.contains(&start) || stale {
            let hole = match lseek(self.source, start, Whence::SeekHole) {
                // A file system that returns the offset asked about would cause an endless loop.
                Ok(hole) if hole <= start => end,
                Ok(hole) => hole,
                // The file ended between the two queries, or one of the answers is wrong: reading will show it.
                Err(Errno::ENXIO) => end,
                Err(e) => return Err(e),
            };
            self.ask_hole_at = start + ((hole - start) / 8).max(QUERY_WINDOW_BYTES);
            (self.known, self.stamp) = (start..hole, stamp);
        }
        Ok(Segment::Data(start..self.known.end.min(end)))
    }

    /// Checks that no data follows, as SEEK_DATA says, by asking it and SEEK_HOLE again. Both must agree: within a file
    /// there is no offset for which both can return ENXIO.
    fn check_end(&mut self, pos: u64) -> nix::Result<Segment> {
        let again = lseek(self.source, pos, Whence::SeekData);
        let hole = lseek(self.source, pos, Whence::SeekHole);
        let ended = self.source.metadata().is_ok_and(|now| now.len() <= pos);
        match (again, hole) {
            (Ok(start), _) if start >= pos => Ok(Segment::Data(start..window_end(start))),
            (Ok(_), _) => Err(Errno::EOPNOTSUPP),
            (Err(Errno::ENXIO), Ok(hole)) if hole <= pos => Ok(Segment::Hole(self.size)),
            (Err(Errno::ENXIO), _) if ended => Ok(Segment::Hole(self.size)),
            (Err(Errno::ENXIO), _) => Err(Errno::EOPNOTSUPP),
            (Err(e), _) => Err(e),
        }
    }

    /// Returns the holes that must be read, after all data that lseek reports is found: none if the blocks of the file
    /// are accounted for. Blocks beyond the data found can be metadata or preallocation, or data that a wrong SEEK_DATA
    /// or a race has hidden. If FS_IOC_FIEMAP reports written extents, those in holes are returned, and otherwise all
    /// the holes. `check_stop` is called between two queries.
    ///
    /// # Errors
    /// What `check_stop` returns.
    pub fn take_suspect_holes<E>(
        &mut self,
        mut check_stop: impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<Range<u64>>, E> {
        let holes = std::mem::take(&mut self.holes);
        let unseen = self
            .source
            .metadata()
            .map_or(0, |meta| allocated_bytes(&meta));
        let unseen = match self.contradicted {
            true => unseen,
            false => unseen.saturating_sub(self.found_bytes),
        };
        if holes.is_empty() || unseen == 0 {
            return Ok(Vec::new());
        }
        let (mut doubted, mut from) = (Vec::new(), Some(0));
        while let Some(start) = from {
            check_stop()?;
            let Ok(written) = fiemap::written_extents(self.source, start..self.size) else {
                return Ok(self.without_witness(holes, unseen));
            };
            for extent in written.extents {
                let first = holes.partition_point(|hole| hole.end <= extent.start);
                let overlapping = holes[first..].iter().take_while(|h| h.start < extent.end);
                doubted
                    .extend(overlapping.map(|h| h.start.max(extent.start)..h.end.min(extent.end)));
            }
            from = written.next_offset;
        }
        Ok(doubted)
    }

    /// Returns the holes to read if FS_IOC_FIEMAP is not available. With large holes, blocks for the file system's own
    /// use are no reason to read them: one block of 4 KiB holds the places of 340 extents, and attributes take a few.
    fn without_witness(&self, holes: Vec<Range<u64>>, unseen: u64) -> Vec<Range<u64>> {
        let hole: u64 = holes.iter().map(|hole| hole.end - hole.start).sum();
        let metadata = self.found_bytes / 256 + (16 << 10);
        if hole > READ_FOR_ANY_BLOCK && unseen <= metadata {
            return Vec::new();
        }
        holes
    }
}

fn lseek(file: &File, at: u64, whence: Whence) -> nix::Result<u64> {
    retry(|| lseek64(file, at.cast_signed(), whence))
        .map(i64::cast_unsigned)
        .map_err(|e| errno_of(&e))
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let meta = file.metadata()?;
    Ok((meta.blocks(), meta.ctime(), meta.ctime_nsec()))
}

/// Returns the runs of `data` that are not all zero, in whole blocks, for `--sparse=always`.
#[must_use]
pub fn nonzero_runs(data: &[u8], block: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (i, part) in data.chunks(block).enumerate() {
        if part.iter().all(|b| *b == 0) {
            continue;
        }
        let (start, end) = (i * block, i * block + part.len());
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};

    fn sparse_file() -> io::Result<File> {
        let mut file = tempfile::tempfile_in("/dev/shm")?;
        for at in [1 << 20, 20 << 20, 50 << 20] {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&[7; 4096])?;
        }
        file.set_len(64 << 20)?;
        Ok(file)
    }

    fn all(extents: &mut ExtentScanner<'_>) -> io::Result<Vec<Range<u64>>> {
        let (mut pos, mut out) = (0, Vec::new());
        while let Some(segment) = extents.next(pos)? {
            match segment {
                Segment::Data(r) => {
                    pos = r.end;
                    out.push(r);
                }
                Segment::Hole(end) => {
                    assert!(end > pos, "no progress at {pos}");
                    pos = end;
                }
            }
        }
        Ok(out)
    }

    fn finders() -> [ScanMethod; 5] {
        [
            ScanMethod::Seek,
            ScanMethod::Tmpfs(PageQuery::Cachestat),
            ScanMethod::Tmpfs(PageQuery::Mincore),
            ScanMethod::Tmpfs(PageQuery::Samples),
            ScanMethod::Ramfs(PageQuery::Cachestat),
        ]
    }

    #[test]
    fn holes_are_skipped_without_touching_them() -> io::Result<()> {
        let file = sparse_file()?;
        for finder in finders()
            .into_iter()
            .chain([ScanMethod::Ramfs(PageQuery::Mincore)])
        {
            let mut extents = ExtentScanner::new(&file, 64 << 20, finder);
            let got = all(&mut extents)?;
            let want: Vec<_> = [1u64 << 20, 20 << 20, 50 << 20]
                .map(|at| at..at + 4096)
                .into();
            assert_eq!(got, want, "{finder:?}");
            assert_eq!(extents.found(), 3, "{finder:?}");
        }
        assert_eq!(file.metadata()?.blocks() * 512, 3 * 4096);
        Ok(())
    }

    #[test]
    fn long_data_comes_in_windows() -> io::Result<()> {
        let mut file = tempfile::tempfile_in("/dev/shm")?;
        file.write_all(&vec![1; 20 << 20])?;
        for finder in finders() {
            let mut extents = ExtentScanner::new(&file, 20 << 20, finder);
            let want = [0..8 << 20, 8 << 20..16 << 20, 16 << 20..20 << 20];
            assert_eq!(all(&mut extents)?, want, "{finder:?}");
            assert_eq!(extents.found(), 1, "{finder:?}");
            extents.rewind();
            assert_eq!(all(&mut extents)?, want, "{finder:?}, again");
            assert_eq!(extents.found(), 1, "{finder:?}, again");
        }
        Ok(())
    }

    /// Data at both ends of a large hole, larger than one query may cover: the far data must be found.
    #[test]
    fn data_behind_a_great_hole_is_found() -> io::Result<()> {
        let mut file = tempfile::tempfile_in("/dev/shm")?;
        let size = 200u64 << 30;
        file.write_all(&vec![1; 40 << 20])?;
        let far = size - (40 << 20) - 4096;
        file.seek(SeekFrom::Start(far))?;
        file.write_all(&vec![1; 40 << 20])?;
        file.set_len(size)?;
        for finder in finders() {
            let mut extents = ExtentScanner::new(&file, size, finder);
            let got = all(&mut extents)?;
            let bytes: u64 = got.iter().map(|r| r.end - r.start).sum();
            assert_eq!(bytes, 80 << 20, "{finder:?}");
            assert_eq!(extents.found(), 2, "{finder:?}");
            assert_eq!(
                got.last().map(|r| r.end),
                Some(far + (40 << 20)),
                "{finder:?}"
            );
        }
        Ok(())
    }

    #[test]
    fn single_pages_are_told_apart() -> io::Result<()> {
        let mut file = tempfile::tempfile_in("/dev/shm")?;
        for at in (0..24u64 << 20).step_by(8192) {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&[1; 4096])?;
        }
        for finder in finders() {
            let mut extents = ExtentScanner::new(&file, 24 << 20, finder);
            let got = all(&mut extents)?;
            assert_eq!(got.len(), (24 << 20) / 8192, "{finder:?}");
            assert!(got.iter().all(|r| r.end - r.start == 4096), "{finder:?}");
        }
        Ok(())
    }

    /// A hole that is punched after the first pass is found by the second, in the middle of known data.
    #[test]
    fn a_hole_punched_meanwhile_is_found() -> io::Result<()> {
        use nix::fcntl::{FallocateFlags, fallocate};
        let mut file = tempfile::tempfile_in("/dev/shm")?;
        file.write_all(&vec![1; 32 << 20])?;
        let finder = ScanMethod::Tmpfs(PageQuery::of(&file));
        let mut extents = ExtentScanner::new(&file, 32 << 20, finder);
        assert_eq!(all(&mut extents)?.len(), 4);
        extents.rewind();
        assert_eq!(extents.next(0)?, Some(Segment::Data(0..8 << 20)));
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&file, punch, 12 << 20, 1 << 20)?;
        assert_eq!(
            extents.next(8 << 20)?,
            Some(Segment::Data(8 << 20..12 << 20))
        );
        assert_eq!(
            extents.next(12 << 20)?,
            Some(Segment::Data(13 << 20..16 << 20))
        );
        Ok(())
    }

    #[test]
    fn what_was_allocated_and_never_written_is_no_data() -> io::Result<()> {
        use nix::fcntl::{FallocateFlags, fallocate};
        let file = tempfile::tempfile_in("/dev/shm")?;
        fallocate(&file, FallocateFlags::empty(), 0, 48 << 20)?;
        for finder in finders() {
            let mut extents = ExtentScanner::new(&file, 48 << 20, finder);
            assert_eq!(all(&mut extents)?, [], "{finder:?}");
        }
        Ok(())
    }

    #[test]
    fn blocks_that_nothing_accounts_for_put_holes_in_doubt() -> io::Result<()> {
        let file = sparse_file()?;
        let mut extents = ExtentScanner::new(&file, 64 << 20, ScanMethod::Seek);
        let heard = || Ok::<_, io::Error>(());
        all(&mut extents)?;
        assert_eq!(extents.take_suspect_holes(heard)?, []);
        extents.rewind();
        // This is the state after SEEK_DATA has skipped the data at 20 MiB.
        for at in [0, (1 << 20) + 4096, 50 << 20, (50 << 20) + 4096] {
            let from = if at == (1 << 20) + 4096 { 50 << 20 } else { at };
            let segment = extents.next(from)?;
            if from != at {
                extents.note_hole(at..from);
            }
            assert!(segment.is_some());
        }
        let doubted = extents.take_suspect_holes(heard)?;
        assert!(
            doubted.iter().any(|hole| hole.contains(&(20 << 20))),
            "{doubted:?}"
        );
        Ok(())
    }

    #[test]
    fn zero_blocks_are_left_out_of_the_runs() {
        let mut data = vec![0; 40];
        data[9] = 1;
        data[10] = 1;
        data[39] = 1;
        assert_eq!(nonzero_runs(&data, 10), [0..20, 30..40]);
        assert!(nonzero_runs(&[0; 15], 10).is_empty());
    }
}
