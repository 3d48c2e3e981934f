//! A destination that is either the old file or the whole new one: the new file is written without a name, or with a
//! temporary name in the same directory where the file system has no unnamed files, and gets its name when it is
//! complete.
//!
//! Differences from overwriting: other hard links of the old file keep its content, and so do processes that have it
//! open; the directory must be writable; the birth time and the flags of chattr(1) are those of a new file. Owner,
//! mode, ACL and extended attributes are kept, or the copy fails. A symbolic link to a file stays, and the file that it
//! leads to is replaced.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::linkat;

use super::in_place::{OpenExistingError, open_existing};
use super::inherit::inherit;
use super::resolve_link::{resolve_follow, resolve_nofollow};
use super::{
    CommitDecision, CommitError, CommitOutcome, CommitRules, DestOptions, Destination, Part,
    cannot_create, check_close_error, close, not_through_dangling, temp_name,
};
use crate::cp::at_path::{self, AtPath};
use crate::cp::backup::{self, BackupReplaceOutcome};
use crate::cp::by_inode::{self, ExchangeOutcome};
use crate::cp::error::{AtomicObstacle, Error, Operation, Replaced};
use crate::cp::file_status::{FileId, file_id, is_directory, is_link, is_regular};
use crate::cp::options::Backup;
use crate::transfer::errno_class::{ErrnoClass, classify, retry};

/// A new file without its final name, and the entry that it will get.
#[derive(Debug)]
pub(super) struct TempFile {
    entry: AtPath,
    /// The temporary name that the file has until then.
    temp_name: Option<OsString>,
    /// The inode of the new file.
    file_id: FileId,
    old_file: OldFile,
    /// The options with which the file was opened, for another check of the file that has the name in the end.
    how: DestOptions,
    /// Whether the temporary name is a random one, which no search for leftovers examines.
    left_slot: bool,
}

/// Number of times that the file at the name may change between its check and the rename. Each time, another process
/// has replaced the file within some microseconds.
const MAX_ROUNDS: u32 = 100;

/// The result of one attempt to give the new file its name.
enum AttemptOutcome {
    /// The commit is over, with this outcome.
    Over(CommitOutcome),
    /// Another file has taken the name meanwhile, so the name is checked again.
    Again,
    /// The file to be replaced is not the one whose attributes the new file has.
    Changed,
}

/// The file that has the name now.
#[derive(Debug)]
enum OldFile {
    /// There is no file, and there must be none at the end.
    Absent,
    /// A file from which nothing is inherited.
    Discard(FileStat),
    /// A file whose attributes the new file inherits.
    Inherit {
        old: File,
        there: FileStat,
        keep_mode: bool,
    },
}

pub(super) fn open(
    dest: &AtPath,
    there: Option<&FileStat>,
    how: &DestOptions,
    part: Part<'_>,
) -> Result<Destination, Error> {
    let (entry, old_file) = match there {
        Some(there) if how.replace_as_new => {
            let entry = resolve_nofollow(dest).map_err(|e| cannot_create(dest, e))?;
            (entry, OldFile::Discard(*there))
        }
        Some(there) => existing(dest, there, how)?,
        None => (new(dest, how)?, OldFile::Absent),
    };
    let mode = match &old_file {
        // The file gets the mode of the old one in the end, and nobody else needs access until then.
        OldFile::Inherit { .. } => 0o600,
        OldFile::Discard(_) | OldFile::Absent => how.mode,
    };
    let (file, temp_name) = match open_part(&entry, part) {
        Some(found) => found,
        None => {
            if part != Part::None || !matches!(old_file, OldFile::Absent) {
                temp_name::remove_leftovers(&entry);
            }
            let made = match part {
                Part::None => temporary(&entry, mode),
                Part::Named | Part::Found(..) => {
                    temp_name::create(&entry, mode).map(|(name, file)| (file, Some(name)))
                }
            };
            made.map_err(|e| cannot_create(dest, e))?
        }
    };
    let mine = fstat(&file).map_err(|e| cannot_create(dest, e))?;
    Ok(Destination {
        dest: dest.clone(),
        created: !matches!(old_file, OldFile::Inherit { .. }),
        temporary: Some(TempFile {
            entry,
            temp_name,
            file_id: file_id(&mine),
            old_file,
            how: *how,
            left_slot: false,
        }),
        file,
    })
}

/// Returns the entry of an existing file, and the file.
fn existing(
    dest: &AtPath,
    there: &FileStat,
    how: &DestOptions,
) -> Result<(AtPath, OldFile), Error> {
    if is_directory(there) {
        return Err(cannot_create(dest, Errno::EISDIR));
    }
    if !is_regular(there) {
        return Err(Error::atomic(dest.shown(), AtomicObstacle::NotRegular));
    }
    // A user who may not write to the file may not replace it either, as in cp. The file of a running program is not
    // written to here, so it is opened for reading.
    let old = match open_existing(dest, there, OFlag::O_WRONLY, how.is_below_operand) {
        Err(OpenExistingError::Open(e)) if e.raw_os_error() == Some(libc::ETXTBSY) => {
            open_existing(dest, there, OFlag::O_RDONLY, how.is_below_operand)
        }
        other => other,
    };
    let old_file = match old {
        Ok(old) => OldFile::Inherit {
            old,
            there: *there,
            keep_mode: how.keep_mode,
        },
        Err(OpenExistingError::Open(_)) if how.force => OldFile::Discard(*there),
        Err(other) => return Err(other.into_error(dest)),
    };
    let entry = resolve_follow(dest).map_err(|e| cannot_create(dest, e))?;
    match entry.stat(false) {
        Ok(now) if file_id(&now) == file_id(there) => Ok((entry, old_file)),
        Ok(_) | Err(Errno::ENOENT) => Err(Error::dest_replaced(dest.shown())),
        Err(e) => Err(cannot_create(dest, e)),
    }
}

/// Returns the entry of a file that does not exist yet.
fn new(dest: &AtPath, how: &DestOptions) -> Result<AtPath, Error> {
    let entry = resolve_nofollow(dest).map_err(|e| cannot_create(dest, e))?;
    match entry.stat(false) {
        Ok(stat) if is_link(&stat) => {
            if how.through_dangling && !how.is_below_operand {
                resolve_follow(dest).map_err(|e| cannot_create(dest, e))
            } else {
                Err(not_through_dangling(dest))
            }
        }
        // The rename at the end verifies that no file has the name.
        _ => Ok(entry),
    }
}

/// Opens the part of an interrupted copy, if there is one.
fn open_part(entry: &AtPath, part: Part<'_>) -> Option<(File, Option<OsString>)> {
    let Part::Found(name, id) = part else {
        return None;
    };
    let file = temp_name::open_part(entry, name, id)?;
    Some((file, Some(name.to_owned())))
}

/// Makes a file without a name, or with a temporary name.
fn temporary(entry: &AtPath, mode: u32) -> io::Result<(File, Option<OsString>)> {
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let bits = Mode::from_bits_truncate(mode);
    match retry(|| openat(entry.dir(), ".", flags, bits)).map(File::from) {
        Ok(file) if can_be_named(entry, &file) => return Ok((file, None)),
        Ok(_) => {}
        // Kernels before 3.11, which do not know the flag, return EISDIR or ENOENT.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::ENOENT)) => {}
        Err(e) if classify(&e) == ErrnoClass::Unsupported => {}
        Err(e) => return Err(e),
    }
    temp_name::create(entry, mode).map(|(name, file)| (file, Some(name)))
}

/// Returns whether an unnamed file can be given a name later, which fails without /proc, or where linkat(2) is
/// forbidden. EEXIST for the name `.` shows that nothing else prevents it.
fn can_be_named(entry: &AtPath, file: &File) -> bool {
    temp_name::name_open_file(file, entry.dir(), ".".as_ref()) == Err(Errno::EEXIST)
}

impl TempFile {
    pub(super) fn inherit(&self, file: &File) -> Result<(), Error> {
        match &self.old_file {
            OldFile::Inherit {
                old,
                there,
                keep_mode,
            } => inherit(old, there, file, *keep_mode)
                .map_err(|obstacle| Error::atomic(self.entry.shown(), obstacle)),
            OldFile::Discard(_) | OldFile::Absent => Ok(()),
        }
    }

    /// Gives the file its name. `Changed` returns the file to the caller, which sets the attributes of the file that is
    /// to be replaced now.
    pub(super) fn commit(
        mut self,
        file: File,
        rules: &mut CommitRules<'_>,
    ) -> Result<CommitOutcome, CommitError> {
        let done = match self.make_final(&file, rules) {
            Ok(Some(committed)) => Ok(committed),
            Ok(None) => {
                return Err(CommitError::Changed(Box::new(Destination {
                    dest: self.entry.clone(),
                    created: !matches!(self.old_file, OldFile::Inherit { .. }),
                    temporary: Some(self),
                    file,
                })));
            }
            Err(refused) => Err(refused),
        };
        let left = self.discard();
        // The first error is the one to report.
        let committed = done?;
        left?;
        if matches!(committed, CommitOutcome::Done { .. }) {
            rules.fsync_set.note_parent(&self.entry);
        }
        close(file, &self.entry)?;
        Ok(committed)
    }

    /// Makes the file durable and named. Returns `None` where the attributes of another file are to be inherited first.
    fn make_final(
        &mut self,
        file: &File,
        rules: &mut CommitRules<'_>,
    ) -> Result<Option<CommitOutcome>, CommitError> {
        if rules.fsync_set.is_wanted() {
            retry(|| nix::unistd::fsync(file)).map_err(|e| self.entry.error(Operation::Sync, e))?;
        }
        check_close_error(file, &self.entry)?;
        for _ in 0..MAX_ROUNDS {
            match self.attempt(file, rules)? {
                AttemptOutcome::Over(committed) => return Ok(Some(committed)),
                AttemptOutcome::Changed => return Ok(None),
                AttemptOutcome::Again => {}
            }
        }
        Err(Error::dest_replaced(self.entry.shown()).into())
    }

    /// Examines the file at the name, decides about it as the walk did, and replaces that file and no other.
    fn attempt(
        &mut self,
        file: &File,
        rules: &mut CommitRules<'_>,
    ) -> Result<AttemptOutcome, CommitError> {
        if matches!(self.old_file, OldFile::Absent) {
            match self.name_new(file) {
                Err(Errno::EEXIST) if rules.decides() => {}
                Err(Errno::EEXIST) => return Err(CommitError::Exists),
                named => return named_first(named, &self.entry),
            }
        }
        let now = match self.entry.stat(false) {
            Ok(now) => now,
            Err(Errno::ENOENT) => {
                return match self.name_new(file) {
                    Err(Errno::EEXIST) => Ok(AttemptOutcome::Again),
                    named => named_first(named, &self.entry),
                };
            }
            Err(e) => return Err(cannot_create(&self.entry, e).into()),
        };
        let examined = self.old_file.is_same_file(&now);
        let may_be_any = examined && matches!(self.old_file, OldFile::Discard(_));
        if is_directory(&now) || !(is_regular(&now) || may_be_any || rules.backup.is_some()) {
            return Err(Error::dest_replaced(self.entry.shown()).into());
        }
        match (rules.decide)(&now, examined) {
            CommitDecision::Replace => {}
            CommitDecision::Leave => {
                return Ok(AttemptOutcome::Over(CommitOutcome::Left(file_id(&now))));
            }
        }
        if !examined && self.look_anew(&now, rules.backup.is_some())? {
            return Ok(AttemptOutcome::Changed);
        }
        match rules.backup {
            Some(backup) => {
                // Any file at the name is kept as the backup. Where the decision may be to leave it, it must be the
                // file that was decided about.
                let seen = rules.may_leave.then_some(&now);
                self.back_up(file, seen, backup)
            }
            None if rules.decides() => self.exchange(file, &now),
            None => self.name_over(file),
        }
    }

    /// Makes another file the one to be replaced. Returns whether the new file shall inherit its attributes.
    fn look_anew(&mut self, now: &FileStat, backup: bool) -> Result<bool, Error> {
        if backup || matches!(self.old_file, OldFile::Discard(_)) {
            self.old_file = OldFile::Discard(*now);
            return Ok(false);
        }
        let (_, old_file) = existing(&self.entry, now, &self.how)?;
        let kept = matches!(old_file, OldFile::Inherit { .. });
        self.old_file = old_file;
        Ok(kept)
    }

    /// Replaces a file in one step, and undoes that where the replaced file was not the one that was decided about.
    fn exchange(&mut self, file: &File, now: &FileStat) -> Result<AttemptOutcome, CommitError> {
        let temp_name = self.take_random_name(file)?;
        let (dir, name) = (self.entry.dir(), self.entry.path());
        let unchanged = |old: &FileStat| is_unchanged(old, now);
        match by_inode::exchange_checked(dir, (&temp_name, self.file_id), name, unchanged) {
            Ok(ExchangeOutcome::Done) => {
                self.temp_name = None;
                match by_inode::remove_checked(dir, &temp_name, file_id(now)) {
                    Ok(_) => Ok(AttemptOutcome::Over(CommitOutcome::Done { backup: None })),
                    Err(e) => Err(cannot_remove(&self.entry, &temp_name, e).into()),
                }
            }
            Ok(ExchangeOutcome::Refused | ExchangeOutcome::Gone) => Ok(AttemptOutcome::Again),
            Ok(ExchangeOutcome::Displaced) => {
                self.temp_name = None;
                let kept = backup::keep_as_numbered(&self.entry, &temp_name).ok();
                Err(displaced(&self.entry, kept).into())
            }
            Err(e) if by_inode::is_unsupported(e) => {
                // A file that gets the name in the microsecond between this check and the rename is lost.
                match self.entry.stat(false) {
                    Ok(again) if is_unchanged(&again, now) => self.name_over(file),
                    _ => Ok(AttemptOutcome::Again),
                }
            }
            Err(e) => Err(cannot_rename(&self.entry, e).into()),
        }
    }

    /// Replaces a file, which gets its backup name in the same step.
    fn back_up(
        &mut self,
        file: &File,
        seen: Option<&FileStat>,
        backup: &Backup,
    ) -> Result<AttemptOutcome, CommitError> {
        let temp_name = self.take_random_name(file)?;
        let acceptable = |old: &FileStat| match seen {
            Some(seen) => is_unchanged(old, seen),
            None => !is_directory(old),
        };
        match backup::exchange_with_backup(
            &self.entry,
            (&temp_name, self.file_id),
            backup,
            acceptable,
        ) {
            Ok(BackupReplaceOutcome::Done(name)) => {
                self.temp_name = None;
                Ok(AttemptOutcome::Over(CommitOutcome::Done {
                    backup: Some(name),
                }))
            }
            Ok(BackupReplaceOutcome::Refused) => Ok(AttemptOutcome::Again),
            Ok(BackupReplaceOutcome::Displaced(name)) => {
                self.temp_name = None;
                Err(displaced(&self.entry, Some(name)).into())
            }
            Err(backup::BackupError::Backup(e)) => {
                Err(self.entry.error(Operation::BackUp, e).into())
            }
            Err(backup::BackupError::NeitherWay(e)) => {
                Err(self.entry.error(Operation::BackUpAtomically, e).into())
            }
            Err(backup::BackupError::Name(e)) => Err(cannot_rename(&self.entry, e).into()),
        }
    }

    /// Gives the file a random name, which no search for leftovers examines, and returns the name.
    fn take_random_name(&mut self, file: &File) -> Result<OsString, Error> {
        let name = match self.temp_name.take() {
            Some(name) if self.left_slot => name,
            named => {
                let left = temp_name::take_random_name(&self.entry, file, named.as_deref());
                if left.is_err() {
                    self.temp_name = named;
                }
                left.map_err(|e| cannot_rename(&self.entry, e))?
            }
        };
        self.left_slot = true;
        self.temp_name = Some(name.clone());
        Ok(name)
    }

    /// Gives the new file the name of the destination, if no file has it.
    fn name_new(&mut self, file: &File) -> nix::Result<()> {
        let (dir, name) = (self.entry.dir(), self.entry.path());
        let Some(temp_name) = &self.temp_name else {
            return temp_name::name_open_file(file, dir, name);
        };
        match renameat2(
            dir,
            temp_name.as_os_str(),
            dir,
            name,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            // The file system cannot guarantee that, or the kernel is older than 3.15. The temporary name is removed
            // later.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {
                linkat(dir, temp_name.as_os_str(), dir, name, AtFlags::empty())
            }
            renamed => {
                if renamed.is_ok() {
                    self.temp_name = None;
                }
                renamed
            }
        }
    }

    /// Replaces the file that has the name by then, whichever file that is.
    fn name_over(&mut self, file: &File) -> Result<AttemptOutcome, CommitError> {
        let temp_name = match self.temp_name.take() {
            Some(temp_name) => temp_name,
            None => {
                temp_name::link(&self.entry, file).map_err(|e| cannot_rename(&self.entry, e))?
            }
        };
        let (dir, name) = (self.entry.dir(), self.entry.path());
        let renamed = renameat(dir, temp_name.as_os_str(), dir, name);
        if renamed.is_err() {
            self.temp_name = Some(temp_name);
        }
        renamed.map_err(|e| cannot_rename(&self.entry, e))?;
        Ok(AttemptOutcome::Over(CommitOutcome::Done { backup: None }))
    }

    pub(super) fn abandon(mut self) -> Result<(), Error> {
        self.discard()
    }

    /// Leaves the file under its temporary name, where another run completes it.
    pub(super) fn keep(mut self) {
        self.temp_name = None;
    }

    /// Returns the entry that the file gets in the end.
    pub(super) fn entry(&self) -> &AtPath {
        &self.entry
    }

    /// Makes the file get another entry of the same directory, which must be free.
    pub(super) fn with_entry(mut self, entry: AtPath) -> Self {
        self.entry = entry;
        self.old_file = OldFile::Absent;
        self
    }

    /// Returns the temporary name, where the file has one.
    pub(super) fn name(&self) -> Option<&OsStr> {
        self.temp_name.as_deref()
    }

    /// Removes the temporary name, if it still leads to the file.
    fn discard(&mut self) -> Result<(), Error> {
        self.remove_temp_name()
            .map_err(|(temp_name, e)| cannot_remove(&self.entry, &temp_name, e))
    }

    /// Removes the temporary name. Fails with that name and the error.
    fn remove_temp_name(&mut self) -> Result<(), (OsString, Errno)> {
        let Some(temp_name) = self.temp_name.take() else {
            return Ok(());
        };
        match by_inode::remove_checked(self.entry.dir(), &temp_name, self.file_id) {
            Ok(_) => Ok(()),
            Err(e) => Err((temp_name, e)),
        }
    }
}

/// Cleans up after a panic; all other ways lead through [`TempFile::commit`] and [`TempFile::abandon`].
impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = self.remove_temp_name();
    }
}

impl OldFile {
    /// Returns whether this file is the one that was examined.
    fn is_same_file(&self, now: &FileStat) -> bool {
        match self {
            Self::Absent => false,
            Self::Discard(there) | Self::Inherit { there, .. } => file_id(now) == file_id(there),
        }
    }
}

fn named_first(named: nix::Result<()>, entry: &AtPath) -> Result<AttemptOutcome, CommitError> {
    match named {
        Ok(()) => Ok(AttemptOutcome::Over(CommitOutcome::Done { backup: None })),
        Err(e) => Err(cannot_create(entry, e).into()),
    }
}

/// Returns whether a file is the one that was examined, and was not written to since.
fn is_unchanged(old: &FileStat, looked_at: &FileStat) -> bool {
    file_id(old) == file_id(looked_at)
        && (old.st_mtime, old.st_mtime_nsec) == (looked_at.st_mtime, looked_at.st_mtime_nsec)
}

/// Returns the error for a destination that another process replaced at the moment of the exchange.
fn displaced(entry: &AtPath, kept: Option<OsString>) -> Error {
    let kept = kept.map(|name| at_path::sibling_path(entry.shown().as_os_str(), &name).into());
    Error::Replaced(Replaced::Dest {
        path: entry.shown().into(),
        kept,
    })
}

fn cannot_remove(entry: &AtPath, temp_name: &OsStr, e: Errno) -> Error {
    let path = at_path::sibling_path(entry.shown().as_os_str(), temp_name);
    Error::io(Operation::Remove, path, e)
}

fn cannot_rename(entry: &AtPath, error: impl Into<io::Error>) -> Error {
    Error::atomic(entry.shown(), AtomicObstacle::Rename(error.into()))
}
