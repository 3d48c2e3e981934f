//! A destination that is the old file or the whole new one: the new one is written without a name, or with one beside
//! where the file system has no unnamed files, and gets its name when it is complete.
//!
//! What differs from overwriting: other hard links of the old file keep its content, and so do those who have it open;
//! the directory must be writable; the birth time and the flags of chattr(1) are those of a new file. Owner, mode, ACL
//! and extended attributes are kept, or it is an error. A link to a file stays, and what it leads to is replaced.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::linkat;

use super::in_place::{OpenExistingError, open_existing};
use super::inherit::inherit;
use super::resolve_link::ResolvedPath;
use super::{
    CommitDecision, CommitError, CommitOutcome, CommitRules, DestOptions, Destination,
    cannot_create, check_close_error, close, not_through_dangling, temp_name,
};
use crate::cp::at_path::{self, AtPath};
use crate::cp::backup::{self, BackupReplaceOutcome};
use crate::cp::by_inode::{self, ExchangeOutcome};
use crate::cp::error::{AtomicObstacle, Error, Operation, Replaced};
use crate::cp::file_status::{FileId, file_id, is_directory, is_link, is_regular};
use crate::cp::options::Backup;
use crate::transfer::errno_class::{ErrnoClass, classify, retry};

/// Where a complete file goes, and what it goes over.
#[derive(Debug)]
pub(super) struct TempFile<'a> {
    entry: ResolvedPath<'a>,
    /// The name it has meanwhile.
    temp_name: Option<OsString>,
    /// The inode of the new file.
    file_id: FileId,
    old_file: OldFile,
    /// What was decided when it was opened, for another look at what has the name in the end.
    how: DestOptions,
    /// Whether the name beside is one that no sweep looks at.
    left_slot: bool,
}

/// How often what has the name may change between a look at it and the rename: each time it does, another process has
/// replaced the file within some microseconds.
const MAX_ROUNDS: u32 = 100;

/// What one attempt to give the new file its name came to.
enum AttemptOutcome {
    /// It came to this.
    Over(CommitOutcome),
    /// The name has changed hands meanwhile, so it is looked at again.
    Again,
    /// Another file is to be replaced than the one whose attributes the new one has.
    Changed,
}

/// What has the name now.
#[derive(Debug)]
enum OldFile {
    /// Nothing, and it must be so at the end.
    Absent,
    /// A file that nothing is kept of.
    Discard(FileStat),
    /// A file that the new one shall look like.
    Inherit {
        old: File,
        there: FileStat,
        keep_mode: bool,
    },
}

pub(super) fn open<'a>(
    place: &AtPath<'a>,
    there: Option<&FileStat>,
    how: &DestOptions,
) -> Result<Destination<'a>, Error> {
    let (entry, over) = match there {
        Some(there) if how.replace_as_new => {
            let entry =
                ResolvedPath::resolve_nofollow(place).map_err(|e| cannot_create(place, e))?;
            (entry, OldFile::Discard(*there))
        }
        Some(there) => existing(place, there, how)?,
        None => (new(place, how)?, OldFile::Absent),
    };
    let mode = match &over {
        // It gets the mode of the old one in the end; until then nobody needs it.
        OldFile::Inherit { .. } => 0o600,
        OldFile::Discard(_) | OldFile::Absent => how.mode,
    };
    if !matches!(over, OldFile::Absent) {
        temp_name::remove_leftovers(&entry);
    }
    let (file, beside) = temporary(&entry, mode).map_err(|e| cannot_create(place, e))?;
    let mine = fstat(&file).map_err(|e| cannot_create(place, e))?;
    Ok(Destination {
        place: *place,
        created: !matches!(over, OldFile::Inherit { .. }),
        temporary: Some(TempFile {
            entry,
            temp_name: beside,
            file_id: file_id(&mine),
            old_file: over,
            how: *how,
            left_slot: false,
        }),
        file,
    })
}

/// The entry of a file that is there, and the file.
fn existing<'a>(
    place: &AtPath<'a>,
    there: &FileStat,
    how: &DestOptions,
) -> Result<(ResolvedPath<'a>, OldFile), Error> {
    if is_directory(there) {
        return Err(cannot_create(place, Errno::EISDIR));
    }
    if !is_regular(there) {
        return Err(Error::atomic(place.shown, AtomicObstacle::NotRegular));
    }
    // Who could not write to it may not replace it either, as in cp. A program that is running is not written to here.
    let old = match open_existing(place, there, OFlag::O_WRONLY, how.is_below_operand) {
        Err(OpenExistingError::Open(e)) if e.raw_os_error() == Some(libc::ETXTBSY) => {
            open_existing(place, there, OFlag::O_RDONLY, how.is_below_operand)
        }
        other => other,
    };
    let over = match old {
        Ok(old) => OldFile::Inherit {
            old,
            there: *there,
            keep_mode: how.keep_mode,
        },
        Err(OpenExistingError::Open(_)) if how.force => OldFile::Discard(*there),
        Err(OpenExistingError::Open(e)) => return Err(cannot_create(place, e)),
        Err(OpenExistingError::Replaced) => return Err(Error::dest_replaced(place.shown)),
    };
    let entry = ResolvedPath::resolve_follow(place).map_err(|e| cannot_create(place, e))?;
    match entry.stat() {
        Ok(now) if file_id(&now) == file_id(there) => Ok((entry, over)),
        Ok(_) | Err(Errno::ENOENT) => Err(Error::dest_replaced(place.shown)),
        Err(e) => Err(cannot_create(place, e)),
    }
}

/// The entry of a file that is not there.
fn new<'a>(place: &AtPath<'a>, how: &DestOptions) -> Result<ResolvedPath<'a>, Error> {
    let entry = ResolvedPath::resolve_nofollow(place).map_err(|e| cannot_create(place, e))?;
    match entry.stat() {
        Ok(stat) if is_link(&stat) => {
            if how.through_dangling && !how.is_below_operand {
                ResolvedPath::resolve_follow(place).map_err(|e| cannot_create(place, e))
            } else {
                Err(not_through_dangling(place))
            }
        }
        // That nothing is there is asserted when it gets its name.
        _ => Ok(entry),
    }
}

/// A file without a name, or with one beside.
fn temporary(entry: &ResolvedPath<'_>, mode: u32) -> io::Result<(File, Option<OsString>)> {
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let bits = Mode::from_bits_truncate(mode);
    match retry(|| openat(entry.dir(), ".", flags, bits)).map(File::from) {
        Ok(file) if can_be_named(entry, &file) => return Ok((file, None)),
        Ok(_) => {}
        // EISDIR and ENOENT: what kernels before 3.11 make of the flag.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::ENOENT)) => {}
        Err(e) if classify(&e) == ErrnoClass::Unsupported => {}
        Err(e) => return Err(e),
    }
    temp_name::create(entry, mode).map(|(name, file)| (file, Some(name)))
}

/// Whether an unnamed file will get a name when the time comes: without /proc, or where linkat(2) is forbidden, it would
/// not. The name `.` is refused because it exists, when nothing else is in the way.
fn can_be_named(entry: &ResolvedPath<'_>, file: &File) -> bool {
    temp_name::name_open_file(file, entry.dir(), ".".as_ref()) == Err(Errno::EEXIST)
}

impl<'a> TempFile<'a> {
    pub(super) fn inherit(&self, file: &File, place: &AtPath<'_>) -> Result<(), Error> {
        match &self.old_file {
            OldFile::Inherit {
                old,
                there,
                keep_mode,
            } => inherit(old, there, file, *keep_mode)
                .map_err(|obstacle| Error::atomic(place.shown, obstacle)),
            OldFile::Discard(_) | OldFile::Absent => Ok(()),
        }
    }

    /// Gives the file its name. `Changed` hands it back, for the attributes of the file that is to be replaced now.
    pub(super) fn commit(
        mut self,
        file: File,
        place: AtPath<'a>,
        terms: &mut CommitRules<'_>,
    ) -> Result<CommitOutcome, CommitError<'a>> {
        let done = match self.make_final(&file, &place, terms) {
            Ok(Some(committed)) => Ok(committed),
            Ok(None) => {
                return Err(CommitError::Changed(Box::new(Destination {
                    place,
                    created: !matches!(self.old_file, OldFile::Inherit { .. }),
                    temporary: Some(self),
                    file,
                })));
            }
            Err(refused) => Err(refused),
        };
        let left = self.discard(&place);
        // The first error is the one to tell.
        let committed = done?;
        left?;
        if matches!(committed, CommitOutcome::Done { .. }) {
            terms.fsync_set.note_parent(&self.entry, place.shown);
        }
        close(file, &place)?;
        Ok(committed)
    }

    /// `None` where the attributes of another file are to be kept first.
    fn make_final(
        &mut self,
        file: &File,
        place: &AtPath<'_>,
        terms: &mut CommitRules<'_>,
    ) -> Result<Option<CommitOutcome>, CommitError<'a>> {
        if terms.fsync_set.is_wanted() {
            retry(|| nix::unistd::fsync(file)).map_err(|e| place.error(Operation::Sync, e))?;
        }
        check_close_error(file, place)?;
        for _ in 0..MAX_ROUNDS {
            match self.attempt(file, place, terms)? {
                AttemptOutcome::Over(committed) => return Ok(Some(committed)),
                AttemptOutcome::Changed => return Ok(None),
                AttemptOutcome::Again => {}
            }
        }
        Err(Error::dest_replaced(place.shown).into())
    }

    /// Looks at what has the name, decides about it as the walk did, and replaces that file and no other.
    fn attempt(
        &mut self,
        file: &File,
        place: &AtPath<'_>,
        terms: &mut CommitRules<'_>,
    ) -> Result<AttemptOutcome, CommitError<'a>> {
        if matches!(self.old_file, OldFile::Absent) {
            match self.name_new(file) {
                Err(Errno::EEXIST) if terms.decides() => {}
                Err(Errno::EEXIST) => return Err(CommitError::Exists),
                named => return named_first(named, place),
            }
        }
        let now = match self.entry.stat() {
            Ok(now) => now,
            Err(Errno::ENOENT) => {
                return match self.name_new(file) {
                    Err(Errno::EEXIST) => Ok(AttemptOutcome::Again),
                    named => named_first(named, place),
                };
            }
            Err(e) => return Err(cannot_create(place, e).into()),
        };
        let examined = self.old_file.is_same_file(&now);
        let may_be_any = examined && matches!(self.old_file, OldFile::Discard(_));
        if is_directory(&now) || !(is_regular(&now) || may_be_any || terms.backup.is_some()) {
            return Err(Error::dest_replaced(place.shown).into());
        }
        match (terms.decide)(&now, examined) {
            CommitDecision::Replace => {}
            CommitDecision::Leave => {
                return Ok(AttemptOutcome::Over(CommitOutcome::Left(file_id(&now))));
            }
        }
        if !examined && self.look_anew(&now, place, terms.backup.is_some())? {
            return Ok(AttemptOutcome::Changed);
        }
        match terms.backup {
            Some(backup) => {
                // Whatever has the name is kept; where the decision may be against it, it is the one that was decided about.
                let seen = terms.may_leave.then_some(&now);
                self.back_up(file, place, seen, backup)
            }
            None if terms.decides() => self.exchange(file, place, &now),
            None => self.name_over(file, place),
        }
    }

    /// Takes another file for the one to be replaced. Returns whether it shall leave its attributes to the new one.
    fn look_anew(
        &mut self,
        now: &FileStat,
        place: &AtPath<'_>,
        backup: bool,
    ) -> Result<bool, Error> {
        if backup || matches!(self.old_file, OldFile::Discard(_)) {
            self.old_file = OldFile::Discard(*now);
            return Ok(false);
        }
        let here = AtPath {
            dir: self.entry.dir(),
            path: &self.entry.name,
            shown: place.shown,
        };
        let (_, over) = existing(&here, now, &self.how)?;
        let kept = matches!(over, OldFile::Inherit { .. });
        self.old_file = over;
        Ok(kept)
    }

    /// Replaces a file in one step, and takes it back where that was another than the one that was decided about.
    fn exchange(
        &mut self,
        file: &File,
        place: &AtPath<'_>,
        now: &FileStat,
    ) -> Result<AttemptOutcome, CommitError<'a>> {
        let beside = self.take_random_name(file, place)?;
        let (dir, name) = (self.entry.dir(), self.entry.name.as_os_str());
        let unchanged = |old: &FileStat| is_unchanged(old, now);
        match by_inode::exchange_checked(dir, (&beside, self.file_id), name, unchanged) {
            Ok(ExchangeOutcome::Done) => {
                self.temp_name = None;
                match by_inode::remove_checked(dir, &beside, file_id(now)) {
                    Ok(_) => Ok(AttemptOutcome::Over(CommitOutcome::Done { backup: None })),
                    Err(e) => Err(cannot_remove(place, &beside, e).into()),
                }
            }
            Ok(ExchangeOutcome::Refused | ExchangeOutcome::Gone) => Ok(AttemptOutcome::Again),
            Ok(ExchangeOutcome::Displaced) => {
                self.temp_name = None;
                let kept = backup::keep_as_numbered(&self.entry, &beside).ok();
                Err(displaced(place, kept).into())
            }
            Err(e) if by_inode::is_unsupported(e) => {
                // What takes the name in the microsecond between this look and the rename is lost.
                match self.entry.stat() {
                    Ok(again) if is_unchanged(&again, now) => self.name_over(file, place),
                    _ => Ok(AttemptOutcome::Again),
                }
            }
            Err(e) => Err(cannot_rename(place, e).into()),
        }
    }

    /// Replaces a file, which gets its backup's name in the same step.
    fn back_up(
        &mut self,
        file: &File,
        place: &AtPath<'_>,
        seen: Option<&FileStat>,
        how: &Backup,
    ) -> Result<AttemptOutcome, CommitError<'a>> {
        let beside = self.take_random_name(file, place)?;
        let acceptable = |old: &FileStat| match seen {
            Some(seen) => is_unchanged(old, seen),
            None => !is_directory(old),
        };
        match backup::exchange_with_backup(&self.entry, (&beside, self.file_id), how, acceptable) {
            Ok(BackupReplaceOutcome::Done(name)) => {
                self.temp_name = None;
                Ok(AttemptOutcome::Over(CommitOutcome::Done {
                    backup: Some(name),
                }))
            }
            Ok(BackupReplaceOutcome::Refused) => Ok(AttemptOutcome::Again),
            Ok(BackupReplaceOutcome::Displaced(name)) => {
                self.temp_name = None;
                Err(displaced(place, Some(name)).into())
            }
            Err(backup::BackupError::Backup(e)) => Err(place.error(Operation::BackUp, e).into()),
            Err(backup::BackupError::NeitherWay(e)) => {
                Err(place.error(Operation::BackUpAtomically, e).into())
            }
            Err(backup::BackupError::Name(e)) => Err(cannot_rename(place, e).into()),
        }
    }

    /// Gives the file a name that no sweep looks at, and returns that.
    fn take_random_name(&mut self, file: &File, place: &AtPath<'_>) -> Result<OsString, Error> {
        let name = match self.temp_name.take() {
            Some(name) if self.left_slot => name,
            named => {
                let left = temp_name::take_random_name(&self.entry, file, named.as_deref());
                if left.is_err() {
                    self.temp_name = named;
                }
                left.map_err(|e| cannot_rename(place, e))?
            }
        };
        self.left_slot = true;
        self.temp_name = Some(name.clone());
        Ok(name)
    }

    /// The first file of its name.
    fn name_new(&mut self, file: &File) -> nix::Result<()> {
        let (dir, name) = (self.entry.dir(), self.entry.name.as_os_str());
        let Some(beside) = &self.temp_name else {
            return temp_name::name_open_file(file, dir, name);
        };
        match renameat2(
            dir,
            beside.as_os_str(),
            dir,
            name,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            // The file system cannot promise that, or the kernel is older than 3.15. The other name goes later.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {
                linkat(dir, beside.as_os_str(), dir, name, AtFlags::empty())
            }
            renamed => {
                if renamed.is_ok() {
                    self.temp_name = None;
                }
                renamed
            }
        }
    }

    /// In place of the old one, whichever that is by now.
    fn name_over(
        &mut self,
        file: &File,
        place: &AtPath<'_>,
    ) -> Result<AttemptOutcome, CommitError<'a>> {
        let beside = match self.temp_name.take() {
            Some(beside) => beside,
            None => temp_name::link(&self.entry, file).map_err(|e| cannot_rename(place, e))?,
        };
        let (dir, name) = (self.entry.dir(), self.entry.name.as_os_str());
        let renamed = renameat(dir, beside.as_os_str(), dir, name);
        if renamed.is_err() {
            self.temp_name = Some(beside);
        }
        renamed.map_err(|e| cannot_rename(place, e))?;
        Ok(AttemptOutcome::Over(CommitOutcome::Done { backup: None }))
    }

    pub(super) fn abandon(mut self, place: &AtPath<'_>) -> Result<(), Error> {
        self.discard(place)
    }

    /// Removes the name beside, if it still is the file's.
    fn discard(&mut self, place: &AtPath<'_>) -> Result<(), Error> {
        self.remove_temp_name()
            .map_err(|(beside, e)| cannot_remove(place, &beside, e))
    }

    /// Removes the name beside. Fails with that name and the error.
    fn remove_temp_name(&mut self) -> Result<(), (OsString, Errno)> {
        let Some(beside) = self.temp_name.take() else {
            return Ok(());
        };
        match by_inode::remove_checked(self.entry.dir(), &beside, self.file_id) {
            Ok(_) => Ok(()),
            Err(e) => Err((beside, e)),
        }
    }
}

/// For a panic; all other ways lead through [`TempFile::commit`] and [`TempFile::abandon`].
impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        let _ = self.remove_temp_name();
    }
}

impl OldFile {
    /// Whether it is this file that was examined.
    fn is_same_file(&self, now: &FileStat) -> bool {
        match self {
            Self::Absent => false,
            Self::Discard(there) | Self::Inherit { there, .. } => file_id(now) == file_id(there),
        }
    }
}

fn named_first<'a>(
    named: nix::Result<()>,
    place: &AtPath<'_>,
) -> Result<AttemptOutcome, CommitError<'a>> {
    match named {
        Ok(()) => Ok(AttemptOutcome::Over(CommitOutcome::Done { backup: None })),
        Err(e) => Err(cannot_create(place, e).into()),
    }
}

/// Whether a file is the one that was looked at, and was not written to since.
fn is_unchanged(old: &FileStat, looked_at: &FileStat) -> bool {
    file_id(old) == file_id(looked_at)
        && (old.st_mtime, old.st_mtime_nsec) == (looked_at.st_mtime, looked_at.st_mtime_nsec)
}

/// Returns the error for a destination that another process replaced at the moment of the exchange.
fn displaced(place: &AtPath<'_>, kept: Option<OsString>) -> Error {
    let kept = kept.map(|name| at_path::sibling_path(place.shown.as_os_str(), &name).into());
    Error::Replaced(Replaced::Dest {
        path: place.shown.into(),
        kept,
    })
}

fn cannot_remove(place: &AtPath<'_>, beside: &OsStr, e: Errno) -> Error {
    let path = at_path::sibling_path(place.shown.as_os_str(), beside);
    Error::io(Operation::Remove, path, e)
}

fn cannot_rename(place: &AtPath<'_>, error: impl Into<io::Error>) -> Error {
    Error::atomic(place.shown, AtomicObstacle::Rename(error.into()))
}
