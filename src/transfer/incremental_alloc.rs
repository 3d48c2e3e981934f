//! Makes calls whose cost grows with their range in steps, so that no step holds a CPU for long and signals are noticed
//! between two.

use std::fs::File;
use std::io;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::ftruncate;

use super::cpu_budget::{AdaptiveCallSize, PeriodicSleep};
use super::errno_class::retry;
use super::error::Error;
use super::stop_check::StopCheck;

/// The smallest step of a truncation in bytes: one huge page, which a smaller step would split.
const LEAST_CUT: u64 = 2 << 20;

/// The first step of a truncation in bytes. On tmpfs freeing 4 MiB takes 0.3 to 0.6 ms, on ext4 dropping as much cache
/// 0.25 ms (6.18).
const FIRST_CUT: u64 = 4 << 20;

/// The largest step of a truncation in bytes, for files without holes. A larger one would meet data behind a hole
/// unprepared.
const MOST_CUT: u64 = 32 << 20;

/// Bytes that one call reserves: 0.18 ms at most on ext4, where 1 GiB took 2 ms and 16 GiB 19 ms (6.18).
pub(super) const RESERVE: u64 = 64 << 20;

/// An existing destination that is to be truncated to a smaller size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// The present size of the file in bytes.
    pub(super) size: u64,
    /// Bytes that are allocated for the file.
    pub(super) allocated: u64,
    /// The size in bytes that it shall have.
    pub(super) to: u64,
}

/// Why a call in steps was not finished.
#[derive(Debug)]
pub(super) enum StepError {
    /// A system call of a step failed.
    Failed(io::Error),
    /// The caller was asked to stop between two steps, and returned this error.
    Interrupted(Error),
}

impl From<io::Error> for StepError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Truncates a file in steps from its end. `check_stop` is called before each step but the first.
///
/// # Errors
/// The error of ftruncate(2), or of `check_stop`: then the file has some size between the two.
pub(super) fn truncate_in_steps(
    file: &File,
    cut: Cut,
    check_stop: &mut StopCheck<'_>,
) -> Result<(), StepError> {
    let hole = cut.size.saturating_sub(cut.allocated);
    // A file of EiB in holes is crossed in 65,536 steps at most.
    let most = MOST_CUT.max(hole >> 16);
    let mut piece = AdaptiveCallSize::new(FIRST_CUT, LEAST_CUT, most);
    let mut rest = PeriodicSleep::begin();
    let mut at = cut.size;
    loop {
        let step = if cut.allocated <= FIRST_CUT {
            u64::MAX
        } else {
            piece.bytes()
        };
        let next = at.saturating_sub(step);
        let next = (next - next % LEAST_CUT).max(cut.to);
        piece.measure(step, || retry(|| ftruncate(file, next.cast_signed())))?;
        if next == cut.to {
            return Ok(());
        }
        at = next;
        rest.sleep_if_due();
        check_stop().map_err(StepError::Interrupted)?;
    }
}

/// Reserves blocks for `start..end` beyond the size of the file (`FALLOC_FL_KEEP_SIZE`: the size of the destination
/// then shows how far the copy is, and a failure leaves no file of full length).
///
/// # Errors
/// The error of fallocate(2), or of `check_stop`.
pub(super) fn fallocate_in_steps(
    file: &File,
    start: u64,
    end: u64,
    check_stop: &mut StopCheck<'_>,
) -> Result<(), StepError> {
    let mut at = start;
    while at < end {
        check_stop().map_err(StepError::Interrupted)?;
        let len = (end - at).min(RESERVE);
        let (offset, bytes) = (at.cast_signed(), len.cast_signed());
        retry(|| fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, bytes))?;
        at += len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    fn all_of(file: &File, to: u64) -> io::Result<Cut> {
        let meta = file.metadata()?;
        Ok(Cut {
            size: meta.len(),
            allocated: meta.blocks() * 512,
            to,
        })
    }

    #[test]
    fn a_cut_comes_down_in_steps() -> io::Result<()> {
        let mut file = tempfile::tempfile_in("/dev/shm")?;
        file.write_all(&vec![1; 80 << 20])?;
        let mut sizes = Vec::new();
        let mut heard = || {
            sizes.push(file.metadata().map(|m| m.len()).unwrap_or_default());
            Ok(())
        };
        let done = truncate_in_steps(&file, all_of(&file, 12345)?, &mut heard);
        assert!(done.is_ok());
        assert_eq!(file.metadata()?.len(), 12345);
        sizes.insert(0, 80 << 20);
        assert!(sizes.len() > 3, "{sizes:?}");
        let widest = sizes.windows(2).map(|pair| pair[0] - pair[1]).max();
        assert!(widest <= Some(MOST_CUT + LEAST_CUT), "{sizes:?}");
        Ok(())
    }

    #[test]
    fn a_cut_through_holes_takes_few_steps() -> io::Result<()> {
        let mut file = tempfile::tempfile_in("/dev/shm")?;
        file.write_all(&vec![1; 8 << 20])?;
        file.set_len(1 << 60)?;
        let mut steps = 0;
        let mut heard = || {
            steps += 1;
            Ok(())
        };
        assert!(truncate_in_steps(&file, all_of(&file, 0)?, &mut heard).is_ok());
        assert_eq!(file.metadata()?.len(), 0);
        assert!(steps < 70_000, "{steps}");
        Ok(())
    }

    #[test]
    fn a_request_to_stop_is_heard_between_two_steps() -> io::Result<()> {
        let mut file = tempfile::tempfile_in("/dev/shm")?;
        file.write_all(&vec![1; 80 << 20])?;
        let stopped = truncate_in_steps(&file, all_of(&file, 0)?, &mut || Err(Error::Interrupted));
        assert!(matches!(
            stopped,
            Err(StepError::Interrupted(Error::Interrupted))
        ));
        assert!(file.metadata()?.len() > 0);
        Ok(())
    }
}
