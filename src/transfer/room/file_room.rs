//! The room of one file: whether it fits before its first byte, and how much of it may be written at each moment.

use std::fs::File;

use super::super::errno_class::Endpoint;
use super::super::error::Error;
use super::super::free_space::{FREE_SPACE_CHECK_INTERVAL, FREE_SPACE_CHECKS};
use super::super::stop_check::StopCheck;
use super::super::stop_reason::StopReason;
use super::available_space::FreeSpace;
use super::ledger::{Account, RoomLedger, SharedAccount};
use super::limits::RoomLimits;
use crate::sys::file::StatxInfo;
use crate::sys::lock::lock;
use crate::sys::quota::FileOwner;

/// Share of the spare room that one piece may take: one part in so many. Others may write at the same time, so pieces get
/// smaller while room gets short.
const SPARE_SHARE: u64 = 4;

/// Bytes that a piece may have however little room is left, if they fit.
const MIN_PIECE_BYTES: u64 = 64 << 10;

/// A file that is to be written.
#[derive(Debug, Clone, Copy)]
pub(in crate::transfer) struct NewFile<'a> {
    /// The destination, which is empty, or whose old content does not count.
    pub(in crate::transfer) dest: &'a File,
    /// Whether it is a regular file, which takes room.
    pub(in crate::transfer) is_regular: bool,
    /// Bytes of data that the whole file has; `None` if that is seen when they are written.
    pub(in crate::transfer) data: Option<u64>,
    /// Bytes of it that the destination has already.
    pub(in crate::transfer) present: u64,
}

/// The room of one file until its copy ends.
#[derive(Debug)]
pub(in crate::transfer) struct FileRoom<'a> {
    limits: RoomLimits,
    new_file: NewFile<'a>,
    share: Option<Share>,
    /// Whether all of the file fits, as far as is known before its first byte.
    fits: bool,
    /// Whether the space is allocated before it is written.
    is_reserved: bool,
    /// Bytes that were written so far.
    written: u64,
}

/// What one file is to get of its file system, if a part of that is to stay free.
#[derive(Debug)]
struct Share {
    account: SharedAccount,
    /// The owner of the file, if a quota limits it.
    owner: Option<FileOwner>,
    /// Bytes that are to stay free.
    kept: u64,
    /// Bytes that are promised to this file and not allocated yet.
    promised: u64,
    /// Whether all that the file needs was promised, so that it may take that in spite of what is promised to others.
    is_promised: bool,
    /// Bytes of the piece that is being written.
    granted: u64,
    /// Bytes that were allocated for the destination when they were promised.
    allocated_before: u64,
}

impl<'a> FileRoom<'a> {
    /// Looks whether the file fits, and promises it its room then.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it does not, unless its beginning is wanted in any case; [`Error::Impossible`] if it cannot be
    /// known; errors of asking, and of `check_stop`.
    pub(in crate::transfer) fn admit(
        new_file: NewFile<'a>,
        ledger: &RoomLedger,
        limits: RoomLimits,
        check_stop: &mut StopCheck<'_>,
    ) -> Result<Self, Error> {
        let mut room = Self {
            limits,
            new_file,
            share: None,
            fits: true,
            is_reserved: false,
            written: 0,
        };
        if let (Some(data), Some(max)) = (new_file.data, limits.max_size)
            && data > max
        {
            room.refuse(StopReason::MaxSize {
                size: Some(data),
                max,
            })?;
        }
        if let Some(keep) = limits.keep_free.filter(|_| new_file.is_regular) {
            let failed = |e| Error::Io(Endpoint::Dest, e);
            let status = StatxInfo::query(new_file.dest).map_err(failed)?;
            let owner = FileOwner::with_quota(new_file.dest);
            let account = ledger.account_of(status.device);
            let space = lock(&account).query_space(new_file.dest, owner);
            let Some(space) = space.map_err(failed)? else {
                let why = "its file system does not tell how much is free, which --keep-free needs";
                return Err(Error::Impossible(why.into()));
            };
            room.share = Some(Share {
                account,
                owner,
                kept: keep.bytes_of(space.total),
                promised: 0,
                is_promised: false,
                granted: 0,
                allocated_before: status.allocated,
            });
            room.promise(check_stop)?;
        }
        Ok(room)
    }

    /// Fails with `reason`, unless the beginning of the file is wanted in any case.
    fn refuse(&mut self, reason: StopReason) -> Result<(), Error> {
        self.fits = false;
        match self.limits.cut {
            true => Ok(()),
            false => Err(Error::Stopped(reason)),
        }
    }

    /// Promises the file what it needs, if that is known.
    fn promise(&mut self, check_stop: &mut StopCheck<'_>) -> Result<(), Error> {
        let Some(data) = self.new_file.data else {
            return Ok(());
        };
        let needed = data.saturating_sub(self.new_file.present);
        let mut checks = if self.limits.cut {
            1
        } else {
            FREE_SPACE_CHECKS
        };
        loop {
            let Some(reason) = self.try_promise(needed)? else {
                return Ok(());
            };
            checks -= 1;
            if checks == 0 {
                return self.refuse(reason);
            }
            check_stop()?;
            std::thread::sleep(FREE_SPACE_CHECK_INTERVAL);
        }
    }

    /// Makes one attempt to promise `needed` bytes. Returns why that is not possible.
    fn try_promise(&mut self, needed: u64) -> Result<Option<StopReason>, Error> {
        let Some(share) = &mut self.share else {
            return Ok(None);
        };
        let mut account = lock(&share.account);
        let space = account.query_space(self.new_file.dest, share.owner);
        let Some(space) = space.map_err(|e| Error::Io(Endpoint::Dest, e))? else {
            return Ok(None);
        };
        let needed = needed.next_multiple_of(space.block);
        let others = account.promised.saturating_add(account.granted);
        let free = space.free.saturating_sub(others);
        if needed > 0
            && free
                .checked_sub(share.kept)
                .is_none_or(|spare| spare < needed)
        {
            return Ok(Some(StopReason::KeepFree {
                needed: Some(needed),
                free,
                kept: share.kept,
            }));
        }
        account.promised += needed;
        share.promised = needed;
        share.is_promised = true;
        Ok(None)
    }

    /// Returns why no space is to be reserved before it is written, if it is not to be.
    pub(in crate::transfer) fn why_unreserved(&self) -> Option<&'static str> {
        (!self.fits).then_some("the file does not fit, and is cut where it does not")
    }

    /// Takes what is allocated for the file by now out of its promise, and asks whether there still is room for the rest:
    /// others may have filled the disk since.
    ///
    /// # Errors
    /// [`Error::Stopped`] if there is not, and errors of asking.
    pub(in crate::transfer) fn check_promise(&mut self) -> Result<(), Error> {
        let Some(share) = &mut self.share else {
            return Ok(());
        };
        let failed = |e| Error::Io(Endpoint::Dest, e);
        let status = StatxInfo::query(self.new_file.dest).map_err(failed)?;
        let allocated = status.allocated.saturating_sub(share.allocated_before);
        share.allocated_before = share.allocated_before.max(status.allocated);
        share.reduce_promise(allocated);
        let account = &mut *lock(&share.account);
        let space = account.query_space(self.new_file.dest, share.owner);
        let space = space.map_err(failed)?;
        if spare(account, space, share.kept).is_some_and(|spare| spare >= share.promised) {
            return Ok(());
        }
        Err(Error::Stopped(StopReason::KeepFree {
            needed: Some(share.promised),
            free: space.map_or(0, |space| space.free.saturating_sub(account.granted)),
            kept: share.kept,
        }))
    }

    /// Promises the file its room anew, after what was allocated for it has been given back.
    ///
    /// # Errors
    /// As [`FileRoom::admit`].
    pub(in crate::transfer) fn promise_again(
        &mut self,
        check_stop: &mut StopCheck<'_>,
    ) -> Result<(), Error> {
        let Some(share) = &mut self.share else {
            return Ok(());
        };
        let status = StatxInfo::query(self.new_file.dest);
        share.allocated_before = status.map_err(|e| Error::Io(Endpoint::Dest, e))?.allocated;
        share.reduce_promise(u64::MAX);
        share.is_promised = false;
        self.promise(check_stop)
    }

    /// Returns whether the file takes space of which a part is to stay free.
    pub(in crate::transfer) fn is_counted(&self) -> bool {
        self.share.is_some()
    }

    /// Records that the space of the whole file is allocated.
    pub(in crate::transfer) fn note_reserved(&mut self) {
        self.is_reserved = true;
        if let Some(share) = &mut self.share {
            share.reduce_promise(u64::MAX);
        }
    }

    /// Returns whether space that is allocated and not written is given back before the file is cut.
    pub(in crate::transfer) fn gives_back(&self) -> bool {
        self.limits.cut
    }

    /// Records that the space that was allocated and not written is given back. Returns whether all of it was reserved.
    pub(in crate::transfer) fn note_given_back(&mut self) -> bool {
        std::mem::replace(&mut self.is_reserved, false)
    }

    /// Returns how many of `bytes` may be written now: all, or some whole `unit`s. A piece of 0 bytes asks whether the file
    /// may go on.
    ///
    /// # Errors
    /// [`Error::Stopped`] if none may, and errors of asking.
    pub(in crate::transfer) fn grant(&mut self, bytes: u64, unit: u64) -> Result<u64, Error> {
        let bytes = self.limit_to_max(bytes, unit)?;
        let is_reserved = self.is_reserved;
        let needed = self.rest();
        let Some(share) = &mut self.share else {
            return Ok(bytes);
        };
        let failed = |e| Error::Io(Endpoint::Dest, e);
        let mut account = lock(&share.account);
        let cost = if is_reserved { 0 } else { bytes };
        let least = cost.min(unit);
        let dest = self.new_file.dest;
        let mut space = account.recent_space(dest, share.owner).map_err(failed)?;
        let kept = share.kept_from(&account);
        if spare(&account, space, kept).is_none_or(|spare| spare < cost) {
            space = account.query_space(dest, share.owner).map_err(failed)?;
        }
        match spare(&account, space, kept) {
            Some(spare) if spare >= least => {
                if is_reserved {
                    return Ok(bytes);
                }
                let granted = limit_piece(bytes, spare, unit);
                account.granted += granted;
                share.granted += granted;
                Ok(granted)
            }
            _ => Err(Error::Stopped(StopReason::KeepFree {
                needed,
                free: space.map_or(0, |space| space.free.saturating_sub(account.granted)),
                kept: share.kept,
            })),
        }
    }

    /// Returns how many of `bytes` the largest size of a file allows.
    fn limit_to_max(&self, bytes: u64, unit: u64) -> Result<u64, Error> {
        let Some(max) = self.limits.max_size else {
            return Ok(bytes);
        };
        let left = max.saturating_sub(self.new_file.present + self.written);
        if bytes <= left {
            return Ok(bytes);
        }
        let whole = left / unit * unit;
        // Without a cut nothing of the file is to stay, so nothing more is written.
        if whole == 0 || !self.limits.cut {
            let size = self.new_file.data;
            return Err(Error::Stopped(StopReason::MaxSize { size, max }));
        }
        Ok(whole)
    }

    /// Returns how many bytes are still to be written, if that is known.
    fn rest(&self) -> Option<u64> {
        let data = self.new_file.data?;
        Some(data.saturating_sub(self.new_file.present + self.written))
    }

    /// Counts bytes that were written of the piece that was granted last.
    pub(in crate::transfer) fn settle(&mut self, moved: u64) {
        self.written += moved;
        let Some(share) = &mut self.share else { return };
        if self.is_reserved {
            return;
        }
        share.reduce_promise(moved);
        let mut account = lock(&share.account);
        account.granted -= share.granted;
        share.granted = 0;
        account.note_written(moved);
    }
}

impl Share {
    /// Returns the bytes that this file must leave: those that are to stay free and, unless its own were promised, those
    /// that other files are to get.
    fn kept_from(&self, account: &Account) -> u64 {
        let others = match self.is_promised {
            true => 0,
            false => account.promised.saturating_sub(self.promised),
        };
        self.kept.saturating_add(others)
    }

    /// Takes at most `bytes` out of the promise.
    fn reduce_promise(&mut self, bytes: u64) {
        let bytes = bytes.min(self.promised);
        self.promised -= bytes;
        lock(&self.account).promised -= bytes;
    }
}

/// Gives back what was promised and granted.
impl Drop for Share {
    fn drop(&mut self) {
        let mut account = lock(&self.account);
        account.promised -= self.promised;
        account.granted -= self.granted;
    }
}

/// Returns how much can be written besides the pieces that are on their way, until `kept` bytes are free; `None` if fewer
/// are free already.
fn spare(account: &Account, space: Option<FreeSpace>, kept: u64) -> Option<u64> {
    // A file system that has lost its limit has room.
    let Some(space) = space else {
        return Some(u64::MAX);
    };
    space.free.saturating_sub(account.granted).checked_sub(kept)
}

/// Returns how many of `bytes` one piece may have if so many are `spare`, of which at least a unit fits.
fn limit_piece(bytes: u64, spare: u64, unit: u64) -> u64 {
    let most = (spare / SPARE_SHARE)
        .max(MIN_PIECE_BYTES.max(unit))
        .min(spare);
    if bytes <= most {
        bytes
    } else {
        most / unit * unit
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::KeepFree;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn new_file(dest: &File, data: Option<u64>) -> NewFile<'_> {
        NewFile {
            dest,
            is_regular: true,
            data,
            present: 0,
        }
    }

    fn admit<'a>(
        dest: &'a File,
        ledger: &RoomLedger,
        data: Option<u64>,
        limits: RoomLimits,
    ) -> Result<FileRoom<'a>, Error> {
        FileRoom::admit(new_file(dest, data), ledger, limits, &mut || Ok(()))
    }

    /// Bytes that are free in these tests, and those that are kept of them.
    const FREE: u64 = 1 << 40;
    const KEPT: u64 = 1 << 39;

    /// Returns an empty file and the ledger of a file system with `spare` bytes more than are to stay free, whatever others
    /// do with the real one.
    fn file_and_ledger(spare: u64) -> (File, RoomLedger) {
        let dest = tempfile::tempfile_in("/dev/shm").unwrap();
        let ledger = RoomLedger::default();
        let device = StatxInfo::query(&dest).unwrap().device;
        lock(&ledger.account_of(device)).fixed = Some(FreeSpace {
            free: KEPT + spare,
            total: FREE,
            block: 4096,
        });
        (dest, ledger)
    }

    fn keeping() -> RoomLimits {
        RoomLimits {
            keep_free: Some(KeepFree::Bytes(KEPT)),
            ..RoomLimits::default()
        }
    }

    #[test]
    fn a_file_without_a_promise_leaves_what_is_promised_to_others() {
        let (dest, ledger) = file_and_ledger(64 * MIB);
        let mut stream = admit(&dest, &ledger, None, keeping()).unwrap();
        let promised = admit(&dest, &ledger, Some(64 * MIB), keeping()).unwrap();
        assert!(stream.grant(MIB, 4096).is_err());
        drop(promised);
        assert_eq!(stream.grant(MIB, 4096).unwrap(), MIB);
    }

    #[test]
    fn what_is_given_back_is_promised_again() {
        let (dest, ledger) = file_and_ledger(64 * MIB);
        let mut first = admit(&dest, &ledger, Some(40 * MIB), keeping()).unwrap();
        first.note_reserved();
        drop(admit(&dest, &ledger, Some(40 * MIB), keeping()).unwrap());
        first.promise_again(&mut || Ok(())).unwrap();
        assert!(admit(&dest, &ledger, Some(40 * MIB), keeping()).is_err());
    }

    #[test]
    fn what_is_promised_to_one_file_is_not_free_for_another() {
        let (dest, ledger) = file_and_ledger(256 * MIB);
        let limits = keeping();
        let first = admit(&dest, &ledger, Some(150 * MIB), limits).unwrap();
        let second = admit(&dest, &ledger, Some(150 * MIB), limits);
        assert!(
            matches!(
                second,
                Err(Error::Stopped(StopReason::KeepFree { needed: Some(needed), .. }))
                    if needed == 150 * MIB
            ),
            "{second:?}"
        );
        drop(first);
        admit(&dest, &ledger, Some(150 * MIB), limits).unwrap();
    }

    #[test]
    fn a_file_that_is_cut_begins_in_any_case() {
        let (dest, ledger) = file_and_ledger(64 * MIB);
        let limits = RoomLimits {
            cut: true,
            ..keeping()
        };
        let mut room = admit(&dest, &ledger, Some(1 << 50), limits).unwrap();
        assert!(room.why_unreserved().is_some());
        let granted = room.grant(MIB, 4096).unwrap();
        assert_eq!(granted, MIB);
        room.settle(granted);
        let keep_all = RoomLimits {
            keep_free: Some(KeepFree::Percent(100.0)),
            ..limits
        };
        let mut none = admit(&dest, &ledger, None, keep_all).unwrap();
        assert!(matches!(
            none.grant(1, 4096),
            Err(Error::Stopped(StopReason::KeepFree { needed: None, .. }))
        ));
    }

    #[test]
    fn a_stream_may_have_exactly_the_largest_size() {
        let dest = tempfile::tempfile_in("/dev/shm").unwrap();
        let ledger = RoomLedger::default();
        let limits = RoomLimits {
            max_size: Some(10_000),
            ..RoomLimits::default()
        };
        let mut room = admit(&dest, &ledger, None, limits).unwrap();
        assert_eq!(room.grant(8192, 4096).unwrap(), 8192);
        room.settle(8192);
        assert_eq!(room.grant(1808, 4096).unwrap(), 1808);
        assert!(room.grant(1809, 4096).is_err());
        let cut = RoomLimits {
            cut: true,
            ..limits
        };
        let mut room = admit(&dest, &ledger, Some(20_000), cut).unwrap();
        assert_eq!(room.grant(20_000, 4096).unwrap(), 8192, "whole units");
    }

    #[test]
    fn pieces_get_smaller_with_the_room() {
        assert_eq!(limit_piece(MIB, 100 * MIB, 4096), MIB);
        assert_eq!(limit_piece(MIB, 2 * MIB, 4096), MIB / 2);
        assert_eq!(limit_piece(MIB, MIN_PIECE_BYTES, 4096), MIN_PIECE_BYTES);
        assert_eq!(limit_piece(MIB, 5000, 4096), 4096);
        assert_eq!(limit_piece(100, 5000, 4096), 100);
    }
}
