//! Frees the memory of a source from its start on, in calls that hold no CPU for long.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek64};

use crate::sys::file::StatxInfo;
use crate::sys::file_lease::is_open_elsewhere;
use crate::sys::residency;
use crate::transfer::cpu_budget::{AdaptiveCallSize, PeriodicSleep};
use crate::transfer::errno_class::{Endpoint, retry};
use crate::transfer::error::Error;

/// Size in bytes of a huge page of x86-64 and arm64, and of the first call: on pages of 4 KiB it takes 0.2 to 0.4 ms of CPU
/// time, on a huge page a few microseconds (6.18).
const HUGE_PAGE: u64 = 2 << 20;

/// Bytes of the smallest call where pages are small.
const LEAST_PUNCH: u64 = 256 << 10;

/// Bytes of the largest call where pages are small. A larger one would meet dense memory behind sparse memory unprepared.
const MOST_PUNCH: u64 = 4 << 20;

/// Memory in bytes of a source in which SEEK_DATA looks for data: it walks pages that were reserved and never written at 10 ms
/// a GiB (6.18), so that no call takes 1 ms.
const MOST_SEEK: u64 = 64 << 20;

/// Bytes of a range whose pages are counted at once where there is more memory: 0.13 ms on pages of 4 KiB that are all there.
const WINDOW: u64 = 8 << 20;

/// A source whose memory is given back from its start on.
///
/// Before each call it looks whether the source is still what it was left as, and whether anybody else has it open: what
/// others read or write is not taken away from them.
#[derive(Debug)]
pub struct SourceDrain {
    /// A duplicate of the descriptor, which is not another open file for a lease.
    source: File,
    size: u64,
    /// Size in bytes of a page of the source; a smaller range of it cannot be freed.
    page: u64,
    /// The modification time that the source had when this program looked last.
    modified: (i64, i64),
    /// Offset up to which everything is freed.
    freed_to: u64,
    /// Whether another process had the source open when it was last to be freed.
    is_held: bool,
    call: AdaptiveCallSize,
}

impl SourceDrain {
    /// Makes the drain of a source that is open for reading and writing.
    ///
    /// # Errors
    /// The error of fstat(2) or dup(2).
    pub fn new(source: &File) -> io::Result<Self> {
        let now = StatxInfo::query(source)?;
        Self::of_status(source, &now)
    }

    /// Makes the drain of a source whose status is known.
    pub(in crate::transfer) fn of_status(source: &File, now: &StatxInfo) -> io::Result<Self> {
        let page = now.block_size.max(1).next_power_of_two();
        let (least, most) = (LEAST_PUNCH.max(page), MOST_PUNCH.max(page));
        Ok(Self {
            source: source.try_clone()?,
            size: now.size,
            page,
            modified: now.mtime,
            freed_to: 0,
            is_held: false,
            call: AdaptiveCallSize::new(HUGE_PAGE, least, most),
        })
    }

    /// Returns the modification time in seconds and nanoseconds that the source has if nobody else has written to it:
    /// freeing memory of tmpfs sets it.
    #[must_use]
    pub fn modified(&self) -> (i64, i64) {
        self.modified
    }

    /// Returns whether the last call of [`Self::free`] stopped because another process has the source open.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Returns whether all of the source is freed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.freed_to >= self.size
    }

    /// Frees whole pages of the source below `until`, and its last page if that is its end. Returns how many bytes of
    /// memory that gave back. Frees nothing more while another process has the source open, and stops early if `is_stopping`.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] if somebody has written to the source; [`Error::Free`].
    pub fn free(&mut self, until: u64, is_stopping: impl Fn() -> bool) -> Result<u64, Error> {
        let end = match until >= self.size {
            true => self.size.next_multiple_of(self.page),
            false => until - until % self.page,
        };
        if end <= self.freed_to {
            return Ok(0);
        }
        let before = self.check_unchanged()?.allocated;
        self.free_data(end, before, &is_stopping)?;
        let mut after = self.check_unchanged()?.allocated;
        if self.is_complete() && !self.is_held && after > 0 {
            // Pages that were reserved and never written are no data, and are freed as a range.
            self.freed_to = 0;
            self.free_range(end, &is_stopping, |_, from| Ok(from))?;
            after = self.check_unchanged()?.allocated;
        }
        Ok(before.saturating_sub(after))
    }

    /// Frees the data below `end`; holes have nothing to free. `allocated` is the memory of the source in bytes.
    fn free_data(
        &mut self,
        end: u64,
        allocated: u64,
        is_stopping: &impl Fn() -> bool,
    ) -> Result<(), Error> {
        let page = self.page;
        self.free_range(end, is_stopping, |source, from| {
            let data = match allocated > MOST_SEEK {
                true => first_pages(source, from, end),
                false => None,
            };
            data.map_or_else(|| seek_data(source, from, end, page), Ok)
        })
    }

    /// Frees everything below `end`, call by call. `skip` returns where the next call begins.
    fn free_range(
        &mut self,
        end: u64,
        is_stopping: &impl Fn() -> bool,
        skip: impl Fn(&File, u64) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        let mut pause = PeriodicSleep::begin();
        loop {
            let from = skip(&self.source, self.freed_to)?;
            if from >= end {
                self.freed_to = end;
                return Ok(());
            }
            self.is_held = retry(|| is_open_elsewhere(&self.source)).map_err(Error::Free)?;
            if self.is_held || is_stopping() {
                return Ok(());
            }
            self.check_unchanged()?;
            let most = self.call.bytes();
            let to = end.min((from / most + 1) * most);
            let source = &self.source;
            let punched = self.call.measure(to - from, || punch(source, from, to));
            punched.map_err(Error::Free)?;
            self.modified = self.query()?.mtime;
            self.freed_to = to;
            pause.sleep_if_due();
        }
    }

    /// Fails if somebody else has changed the source. Returns its status.
    fn check_unchanged(&self) -> Result<StatxInfo, Error> {
        let now = self.query()?;
        // What has got a second name is wanted by somebody.
        let has_more_names = self.source.metadata().is_ok_and(|now| now.nlink() > 1);
        if (now.size, now.mtime) == (self.size, self.modified) && !has_more_names {
            return Ok(now);
        }
        Err(Error::SourceChanged {
            was: self.size,
            now: now.size,
        })
    }

    fn query(&self) -> Result<StatxInfo, Error> {
        StatxInfo::query(&self.source).map_err(|e| Error::Io(Endpoint::Source, e))
    }
}

/// Returns where the first window with pages in it begins, or `end`; nothing where the kernel does not count pages.
fn first_pages(source: &File, from: u64, end: u64) -> Option<u64> {
    let mut at = from;
    while at < end {
        let next = ((at / WINDOW + 1) * WINDOW).min(end);
        match residency::count_pages(source, at, next - at) {
            Ok(pages) if pages.total() == 0 => at = next,
            Ok(_) => return Some(at),
            Err(_) => return None,
        }
    }
    Some(end)
}

/// Returns where the first data is, as SEEK_DATA says, or `end`.
fn seek_data(source: &File, from: u64, end: u64, page: u64) -> Result<u64, Error> {
    match lseek64(source, from.cast_signed(), Whence::SeekData) {
        Ok(data) => Ok((data.cast_unsigned() / page * page).max(from)),
        Err(Errno::ENXIO) => Ok(end),
        // hugetlbfs does not tell.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(from),
        Err(e) => Err(Error::Io(Endpoint::Source, e.into())),
    }
}

fn punch(file: &File, from: u64, to: u64) -> io::Result<()> {
    let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (offset, len) = (from.cast_signed(), (to - from).cast_signed());
    retry(|| fallocate(file, how, offset, len))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::sys::file::allocated_bytes;

    const MIB: u64 = 1 << 20;

    /// Makes a file in memory with data at some offsets, and opens it for reading and writing.
    fn source(size: u64, data: &[std::ops::Range<u64>]) -> io::Result<(tempfile::TempPath, File)> {
        let named = tempfile::NamedTempFile::new_in("/dev/shm")?;
        let path = named.into_temp_path();
        let file = File::options().read(true).write(true).open(&path)?;
        file.set_len(size)?;
        for range in data {
            file.write_all_at(&vec![7; (range.end - range.start) as usize], range.start)?;
        }
        Ok((path, file))
    }

    #[test]
    fn what_is_below_the_offset_is_freed_and_nothing_else() -> io::Result<()> {
        let (_path, file) = source(9 * MIB + 5, &[0..3 * MIB, 5 * MIB..9 * MIB + 5])?;
        let mut drain = SourceDrain::new(&file)?;
        let free = |drain: &mut SourceDrain, until| drain.free(until, || false).unwrap();
        assert_eq!(free(&mut drain, 2 * MIB + 4097), 2 * MIB + 4096);
        assert_eq!(free(&mut drain, 2 * MIB), 0, "it is freed already");
        let mut byte = [0];
        file.read_exact_at(&mut byte, 2 * MIB + 4096)?;
        assert_eq!(byte, [7]);
        assert_eq!(free(&mut drain, 6 * MIB), 2 * MIB - 4096);
        assert!(!drain.is_complete());
        assert_eq!(free(&mut drain, 9 * MIB + 5), 3 * MIB + 4096);
        assert!(drain.is_complete());
        assert_eq!(allocated_bytes(&file.metadata()?), 0);
        assert_eq!(file.metadata()?.len(), 9 * MIB + 5, "the size stays");
        Ok(())
    }

    #[test]
    fn reserved_pages_are_freed_at_the_end() -> io::Result<()> {
        let (_path, file) = source(4 * MIB, &[])?;
        fallocate(&file, FallocateFlags::empty(), 0, 4 << 20)?;
        let mut drain = SourceDrain::new(&file)?;
        assert_eq!(drain.free(4 * MIB, || false).unwrap(), 4 * MIB);
        assert_eq!(allocated_bytes(&file.metadata()?), 0);
        Ok(())
    }

    /// Where there is more memory than SEEK_DATA may walk, pages are counted, reserved ones too.
    #[test]
    fn much_memory_with_holes_in_it_is_freed() -> io::Result<()> {
        let size = 1 << 30;
        let (_path, file) = source(size, &[0..MOST_SEEK + 3 * MIB, 900 * MIB..901 * MIB])?;
        fallocate(
            &file,
            FallocateFlags::FALLOC_FL_KEEP_SIZE,
            500 << 20,
            2 << 20,
        )?;
        let mut drain = SourceDrain::new(&file)?;
        let freed = drain.free(899 * MIB, || false).unwrap();
        assert_eq!(freed, MOST_SEEK + 5 * MIB);
        assert_eq!(drain.free(size, || false).unwrap(), MIB);
        assert!(drain.is_complete());
        assert_eq!(allocated_bytes(&file.metadata()?), 0);
        Ok(())
    }

    #[test]
    fn nothing_is_freed_while_another_process_has_it_open() -> io::Result<()> {
        let (path, file) = source(MIB, std::slice::from_ref(&(0..MIB)))?;
        let mut drain = SourceDrain::new(&file)?;
        let reader = File::open(&path)?;
        assert_eq!(drain.free(MIB, || false).unwrap(), 0);
        assert!(drain.is_held() && !drain.is_complete());
        drop(reader);
        assert_eq!(drain.free(MIB, || false).unwrap(), MIB);
        Ok(())
    }

    #[test]
    fn a_source_that_was_written_to_is_left_as_it_is() -> io::Result<()> {
        for change in [
            |file: &File| file.set_len(2 * MIB),
            |file: &File| file.write_all_at(b"x", 0),
        ] {
            let (path, file) = source(MIB, std::slice::from_ref(&(0..MIB)))?;
            let mut drain = SourceDrain::new(&file)?;
            // The clock of files ticks every few milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(30));
            change(&File::options().write(true).open(&path)?)?;
            let failed = drain.free(MIB, || false).unwrap_err();
            assert!(matches!(failed, Error::SourceChanged { .. }), "{failed}");
            assert_eq!(allocated_bytes(&file.metadata()?), MIB);
        }
        Ok(())
    }
}
