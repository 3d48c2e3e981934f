//! Where a source has data: asked of the kernel while the copy goes on, never by touching a hole.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};

use crate::sys::residency;

/// How far an answer is believed without asking whether data still begins here. One window of the mmap engine.
const WINDOW: u64 = 8 << 20;

/// How the data of a source can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finder {
    /// lseek(2) with SEEK_DATA and SEEK_HOLE.
    Seek,
    /// mincore(2): ramfs says that everything is data, but what is not in its page cache is a hole.
    Residency,
    /// Everything counts as data.
    Everything,
}

/// The data extents of one source, in order, nothing remembered but the last.
///
/// A process may punch holes while we copy, so an answer grows stale. Each window asks again whether data still begins at
/// the cursor (SEEK_DATA, 5 µs) and whether the file is allocated as it was (fstat, under 1 µs). SEEK_HOLE itself walks all
/// pages up to the hole on tmpfs, 8.6 ms a GiB of 4 KiB pages measured on 6.18: asked for each window of a 60 GiB dump that
/// would be half an hour. It is asked again when the allocation has changed, and then not before an eighth of what it last
/// promised is copied: eight walks of the file at the very most, one as a rule.
#[derive(Debug)]
pub struct Extents<'a> {
    source: &'a File,
    size: u64,
    finder: Finder,
    known: Range<u64>,
    known_blocks: u64,
    ask_hole_at: u64,
    found: u64,
    found_until: u64,
}

impl<'a> Extents<'a> {
    /// The extents of the first `size` bytes of `source`.
    #[must_use]
    pub fn new(source: &'a File, size: u64, finder: Finder) -> Self {
        Self {
            source,
            size,
            finder,
            known: 0..0,
            known_blocks: 0,
            ask_hole_at: 0,
            found: 0,
            found_until: 0,
        }
    }

    /// The next stretch of data at or after `pos`, at most a window long where it may change; `None` when only holes
    /// are left.
    ///
    /// # Errors
    /// lseek's or mincore's own. A file system without SEEK_DATA is no error: all of it is data then.
    pub fn next(&mut self, pos: u64) -> io::Result<Option<Range<u64>>> {
        if pos >= self.size {
            return Ok(None);
        }
        let found = match self.finder {
            Finder::Everything => Some(pos..self.size),
            Finder::Residency => self.next_resident(pos)?,
            Finder::Seek => match self.next_by_seek(pos) {
                Err(Errno::EINVAL | Errno::ESPIPE | Errno::EOPNOTSUPP) => {
                    self.finder = Finder::Everything;
                    Some(pos..self.size)
                }
                other => other?,
            },
        };
        // A source that has grown has data behind what is ours to copy.
        Ok(found.filter(|r| r.start < self.size).map(|r| {
            self.found += u64::from(self.found == 0 || r.start > self.found_until);
            self.found_until = self.found_until.max(r.end);
            r.start..r.end.min(self.size)
        }))
    }

    /// How many extents were found so far.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }

    /// How data was found so far: a file system that cannot tell makes everything count as data.
    #[must_use]
    pub fn finder(&self) -> Finder {
        self.finder
    }

    /// Begins anew, with the last answer still believed.
    pub fn rewind(&mut self) {
        (self.found, self.found_until) = (0, 0);
    }

    /// The next stretch of data at or after `pos` as far as it goes now, for what is done before the copy.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_whole(&mut self, pos: u64) -> io::Result<Option<Range<u64>>> {
        Ok(self.next(pos)?.map(|r| match self.finder {
            Finder::Seek => r.start..self.known.end.min(self.size),
            Finder::Residency | Finder::Everything => r,
        }))
    }

    fn next_by_seek(&mut self, pos: u64) -> nix::Result<Option<Range<u64>>> {
        let start = match lseek64(self.source, pos.cast_signed(), Whence::SeekData) {
            Ok(start) => start.cast_unsigned(),
            Err(Errno::ENXIO) => return Ok(None),
            Err(e) => return Err(e),
        };
        let blocks = self.source.metadata().map_or(0, |meta| meta.blocks());
        let stale = blocks != self.known_blocks && start >= self.ask_hole_at;
        if !self.known.contains(&start) || stale {
            let end = match lseek64(self.source, start.cast_signed(), Whence::SeekHole) {
                // A file system that answers with the place asked about would hold us there for ever.
                Ok(end) if end.cast_unsigned() <= start => window_end(start),
                Ok(end) => end.cast_unsigned(),
                // The file ended between the two questions.
                Err(Errno::ENXIO) => return Ok(None),
                Err(e) => return Err(e),
            };
            self.ask_hole_at = start + ((end - start) / 8).max(WINDOW);
            self.known = start..end;
            self.known_blocks = blocks;
        }
        Ok(Some(start..self.known.end.min(window_end(start))))
    }

    fn next_resident(&mut self, pos: u64) -> io::Result<Option<Range<u64>>> {
        let mut at = pos;
        while at < self.size {
            let end = window_end(at).min(self.size);
            let mut first: Option<Range<u64>> = None;
            residency::walk(self.source, at, end - at, |offset, len, resident| {
                if resident && first.is_none() {
                    first = Some(offset.max(pos)..offset + len);
                }
            })?;
            if let Some(run) = first {
                return Ok(Some(run.start..run.end.min(end)));
            }
            at = end;
        }
        Ok(None)
    }
}

/// The end of the window that `at` lies in.
fn window_end(at: u64) -> u64 {
    (at / WINDOW + 1) * WINDOW
}

/// The runs of `data` that are not all zero, in whole blocks, for `--sparse=always`.
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

    fn all(extents: &mut Extents<'_>) -> io::Result<Vec<Range<u64>>> {
        let (mut pos, mut out) = (0, Vec::new());
        while let Some(r) = extents.next(pos)? {
            pos = r.end;
            out.push(r);
        }
        Ok(out)
    }

    #[test]
    fn holes_are_skipped_without_touching_them() -> io::Result<()> {
        let file = sparse_file()?;
        for finder in [Finder::Seek, Finder::Residency] {
            let mut extents = Extents::new(&file, 64 << 20, finder);
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
        let mut extents = Extents::new(&file, 20 << 20, Finder::Seek);
        let got = all(&mut extents)?;
        assert_eq!(got, [0..8 << 20, 8 << 20..16 << 20, 16 << 20..20 << 20]);
        assert_eq!(extents.found(), 1);
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
