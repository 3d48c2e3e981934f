//! A destination that is the old file or the whole new one: the new one is written without a name, or with one beside
//! where the file system has no unnamed files, and gets its name when it is complete.
//!
//! What differs from overwriting: other hard links of the old file keep its content, and so do those who have it open;
//! the directory must be writable; the birth time and the flags of chattr(1) are those of a new file. Owner, mode, ACL
//! and extended attributes are kept, or it is an error. A link to a file stays, and what it leads to is replaced.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::linkat;

use super::in_place::{Failure, open_existing};
use super::inherit::inherit;
use super::lead::Entry;
use super::{
    Committed, Destination, How, Refused, Terms, Verdict, beside, cannot_create, close, flush,
    is_regular, not_through_dangling, was_replaced,
};
use crate::cp::backup::{self, Replaced};
use crate::cp::by_inode::{self, Exchanged};
use crate::cp::durable;
use crate::cp::options::Backup;
use crate::cp::place::{self, Identity, Place, identity};
use crate::report::quote::quote;
use crate::sys::words::reason;
use crate::transfer::fault::{Class, classify, retry};

/// Where a complete file goes, and what it goes over.
#[derive(Debug)]
pub(super) struct Temporary<'a> {
    entry: Entry<'a>,
    /// The name it has meanwhile.
    beside: Option<OsString>,
    /// The inode of the new file.
    mine: Identity,
    over: Over,
    /// What was decided when it was opened, for another look at what has the name in the end.
    how: How,
    /// Whether the name beside is one that no sweep looks at.
    left_slot: bool,
}

/// How often what has the name may change between a look at it and the rename: each time it does, another process has
/// replaced the file within some microseconds.
const MAX_ROUNDS: u32 = 100;

/// What one attempt to give the new file its name came to.
enum Round {
    /// It came to this.
    Over(Committed),
    /// The name has changed hands meanwhile, so it is looked at again.
    Again,
    /// Another file is to be replaced than the one whose attributes the new one has.
    Changed,
}

/// What has the name now.
#[derive(Debug)]
enum Over {
    /// Nothing, and it must be so at the end.
    Nothing,
    /// A file that nothing is kept of.
    Unwanted(FileStat),
    /// A file that the new one shall look like.
    Kept {
        old: File,
        there: FileStat,
        keep_mode: bool,
    },
}

pub(super) fn open<'a>(
    place: &Place<'a>,
    there: Option<&FileStat>,
    how: &How,
) -> Result<Destination<'a>, String> {
    let (entry, over) = match there {
        Some(there) if how.as_new => {
            let entry = Entry::of(place).map_err(|e| cannot_create(place, &e))?;
            (entry, Over::Unwanted(*there))
        }
        Some(there) => existing(place, there, how)?,
        None => (new(place, how)?, Over::Nothing),
    };
    let mode = match &over {
        // It gets the mode of the old one in the end; until then nobody needs it.
        Over::Kept { .. } => 0o600,
        Over::Unwanted(_) | Over::Nothing => how.mode,
    };
    if !matches!(over, Over::Nothing) {
        beside::sweep(&entry);
    }
    let (file, beside) = temporary(&entry, mode).map_err(|e| cannot_create(place, &e))?;
    let mine = fstat(&file).map_err(|e| cannot_create(place, &e.into()))?;
    Ok(Destination {
        created: !matches!(over, Over::Kept { .. }),
        temporary: Some(Temporary {
            entry,
            beside,
            mine: identity(&mine),
            over,
            how: *how,
            left_slot: false,
        }),
        file,
    })
}

/// The entry of a file that is there, and the file.
fn existing<'a>(
    place: &Place<'a>,
    there: &FileStat,
    how: &How,
) -> Result<(Entry<'a>, Over), String> {
    if there.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
        return Err(cannot_create(place, &Errno::EISDIR.into()));
    }
    if !is_regular(there) {
        return Err(cannot_replace(place.shown, "not a regular file"));
    }
    // Who could not write to it may not replace it either, as in cp. A program that is running is not written to here.
    let old = match open_existing(place, there, OFlag::O_WRONLY, how.below) {
        Err(Failure::Open(e)) if e.raw_os_error() == Some(libc::ETXTBSY) => {
            open_existing(place, there, OFlag::O_RDONLY, how.below)
        }
        other => other,
    };
    let over = match old {
        Ok(old) => Over::Kept {
            old,
            there: *there,
            keep_mode: how.keep_mode,
        },
        Err(Failure::Open(_)) if how.force => Over::Unwanted(*there),
        Err(Failure::Open(e)) => return Err(cannot_create(place, &e)),
        Err(Failure::Replaced) => return Err(was_replaced(place.shown)),
    };
    let entry = Entry::through(place).map_err(|e| cannot_create(place, &e))?;
    match entry.stat() {
        Ok(now) if same(&now, there) => Ok((entry, over)),
        Ok(_) | Err(Errno::ENOENT) => Err(was_replaced(place.shown)),
        Err(e) => Err(cannot_create(place, &e.into())),
    }
}

/// The entry of a file that is not there.
fn new<'a>(place: &Place<'a>, how: &How) -> Result<Entry<'a>, String> {
    let entry = Entry::of(place).map_err(|e| cannot_create(place, &e))?;
    match entry.stat() {
        Ok(stat) if kind(&stat) == SFlag::S_IFLNK => {
            if how.through_dangling && !how.below {
                Entry::through(place).map_err(|e| cannot_create(place, &e))
            } else {
                Err(not_through_dangling(place.shown))
            }
        }
        // That nothing is there is asserted when it gets its name.
        _ => Ok(entry),
    }
}

/// A file without a name, or with one beside.
fn temporary(entry: &Entry<'_>, mode: u32) -> io::Result<(File, Option<OsString>)> {
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let bits = Mode::from_bits_truncate(mode);
    match retry(|| openat(entry.dir(), ".", flags, bits)).map(File::from) {
        Ok(file) if can_be_named(entry, &file) => return Ok((file, None)),
        Ok(_) => {}
        // EISDIR and ENOENT: what kernels before 3.11 make of the flag.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::ENOENT)) => {}
        Err(e) if classify(&e) == Class::Unsupported => {}
        Err(e) => return Err(e),
    }
    beside::create(entry, mode).map(|(name, file)| (file, Some(name)))
}

/// Whether an unnamed file will get a name when the time comes: without /proc, or where linkat(2) is forbidden, it would
/// not. The name `.` is refused because it exists, when nothing else is in the way.
fn can_be_named(entry: &Entry<'_>, file: &File) -> bool {
    beside::name_open_file(file, entry.dir(), ".".as_ref()) == Err(Errno::EEXIST)
}

impl<'a> Temporary<'a> {
    pub(super) fn inherit(&self, file: &File, shown: &Path) -> Result<(), String> {
        match &self.over {
            Over::Kept {
                old,
                there,
                keep_mode,
            } => inherit(old, there, file, *keep_mode).map_err(|why| cannot_replace(shown, &why)),
            Over::Unwanted(_) | Over::Nothing => Ok(()),
        }
    }

    /// Gives the file its name. `Changed` hands it back, for the attributes of the file that is to be replaced now.
    pub(super) fn commit(
        mut self,
        file: File,
        place: &Place<'a>,
        terms: &mut Terms<'_>,
    ) -> Result<Committed, Refused<'a>> {
        let done = match self.make_final(&file, place, terms) {
            Ok(Some(committed)) => Ok(committed),
            Ok(None) => {
                return Err(Refused::Changed(Box::new(Destination {
                    created: !matches!(self.over, Over::Kept { .. }),
                    temporary: Some(self),
                    file,
                })));
            }
            Err(refused) => Err(refused),
        };
        let left = self.discard(place.shown);
        // The first error is the one to tell.
        let committed = done?;
        left?;
        if matches!(committed, Committed::Done { .. }) {
            terms.durable.note_parent(&self.entry, place.shown);
        }
        close(file, place.shown)?;
        Ok(committed)
    }

    /// `None` where the attributes of another file are to be kept first.
    fn make_final(
        &mut self,
        file: &File,
        place: &Place<'_>,
        terms: &mut Terms<'_>,
    ) -> Result<Option<Committed>, Refused<'a>> {
        let shown = place.shown;
        if terms.durable.is_wanted() {
            retry(|| nix::unistd::fsync(file)).map_err(|e| durable::message(shown, &e))?;
        }
        flush(file, shown)?;
        for _ in 0..MAX_ROUNDS {
            match self.attempt(file, place, terms)? {
                Round::Over(committed) => return Ok(Some(committed)),
                Round::Changed => return Ok(None),
                Round::Again => {}
            }
        }
        Err(was_replaced(shown).into())
    }

    /// Looks at what has the name, decides about it as the walk did, and replaces that file and no other.
    fn attempt(
        &mut self,
        file: &File,
        place: &Place<'_>,
        terms: &mut Terms<'_>,
    ) -> Result<Round, Refused<'a>> {
        if matches!(self.over, Over::Nothing) {
            match self.name_new(file) {
                Err(Errno::EEXIST) if terms.decides() => {}
                Err(Errno::EEXIST) => return Err(Refused::Exists),
                named => return named_first(named, place),
            }
        }
        let now = match self.entry.stat() {
            Ok(now) => now,
            Err(Errno::ENOENT) => {
                return match self.name_new(file) {
                    Err(Errno::EEXIST) => Ok(Round::Again),
                    named => named_first(named, place),
                };
            }
            Err(e) => return Err(cannot_create(place, &e.into()).into()),
        };
        let examined = self.over.is(&now);
        let may_be_any = examined && matches!(self.over, Over::Unwanted(_));
        if kind(&now) == SFlag::S_IFDIR
            || !(is_regular(&now) || may_be_any || terms.backup.is_some())
        {
            return Err(was_replaced(place.shown).into());
        }
        match (terms.decide)(&now, examined) {
            Verdict::Replace => {}
            Verdict::Leave => return Ok(Round::Over(Committed::Left(identity(&now)))),
        }
        if !examined && self.look_anew(&now, place, terms.backup.is_some())? {
            return Ok(Round::Changed);
        }
        match terms.backup {
            Some(backup) => {
                // Whatever has the name is kept; where the decision may be against it, it is the one that was decided about.
                let seen = terms.may_leave.then_some(&now);
                self.back_up(file, place, seen, backup)
            }
            None if terms.decides() => self.exchange(file, place.shown, &now),
            None => self.name_over(file, place.shown),
        }
    }

    /// Takes another file for the one to be replaced. Returns whether it shall leave its attributes to the new one.
    fn look_anew(
        &mut self,
        now: &FileStat,
        place: &Place<'_>,
        backup: bool,
    ) -> Result<bool, String> {
        if backup || matches!(self.over, Over::Unwanted(_)) {
            self.over = Over::Unwanted(*now);
            return Ok(false);
        }
        let here = Place {
            dir: self.entry.dir(),
            base: &self.entry.name,
            shown: place.shown,
        };
        let (_, over) = existing(&here, now, &self.how)?;
        let kept = matches!(over, Over::Kept { .. });
        self.over = over;
        Ok(kept)
    }

    /// Replaces a file in one step, and takes it back where that was another than the one that was decided about.
    fn exchange(
        &mut self,
        file: &File,
        shown: &Path,
        now: &FileStat,
    ) -> Result<Round, Refused<'a>> {
        let failed = |e: Errno| Refused::from(cannot_replace(shown, &reason(&e.into())));
        let beside = self.leave_slot(file, shown)?;
        let (dir, name) = (self.entry.dir(), self.entry.name.as_os_str());
        let unchanged = |old: &FileStat| is_unchanged(old, now);
        match by_inode::exchange_checked(dir, (&beside, self.mine), name, unchanged) {
            Ok(Exchanged::Done) => {
                self.beside = None;
                match by_inode::remove_checked(dir, &beside, identity(now)) {
                    Ok(_) => Ok(Round::Over(Committed::Done { backup: None })),
                    Err(e) => Err(cannot_remove(shown, &beside, e).into()),
                }
            }
            Ok(Exchanged::Refused | Exchanged::Gone) => Ok(Round::Again),
            Ok(Exchanged::Displaced) => {
                self.beside = None;
                let kept = backup::keep(&self.entry, &beside).ok();
                Err(displaced(shown, kept).into())
            }
            Err(e) if by_inode::is_unsupported(e) => {
                // What takes the name in the microsecond between this look and the rename is lost.
                match self.entry.stat() {
                    Ok(again) if is_unchanged(&again, now) => self.name_over(file, shown),
                    _ => Ok(Round::Again),
                }
            }
            Err(e) => Err(failed(e)),
        }
    }

    /// Replaces a file, which gets its backup's name in the same step.
    fn back_up(
        &mut self,
        file: &File,
        place: &Place<'_>,
        seen: Option<&FileStat>,
        how: &Backup,
    ) -> Result<Round, Refused<'a>> {
        let shown = place.shown;
        let beside = self.leave_slot(file, shown)?;
        let acceptable = |old: &FileStat| match seen {
            Some(seen) => is_unchanged(old, seen),
            None => kind(old) != SFlag::S_IFDIR,
        };
        let failed = |why: String| Refused::from(format!("cannot backup {}{why}", quote(shown)));
        match backup::replace(&self.entry, (&beside, self.mine), how, acceptable) {
            Ok(Replaced::Done(name)) => {
                self.beside = None;
                Ok(Round::Over(Committed::Done { backup: Some(name) }))
            }
            Ok(Replaced::Refused) => Ok(Round::Again),
            Ok(Replaced::Displaced(name)) => {
                self.beside = None;
                Err(displaced(shown, Some(name)).into())
            }
            Err(backup::Failure::Backup(e)) => Err(failed(format!(": {}", reason(&e.into())))),
            Err(backup::Failure::NeitherWay(e)) => Err(failed(format!(
                " atomically, as names can neither be exchanged nor linked there: {}",
                reason(&e.into())
            ))),
            Err(backup::Failure::Name(e)) => Err(cannot_replace(shown, &reason(&e.into())).into()),
        }
    }

    /// Gives the file a name that no sweep looks at, and returns that.
    fn leave_slot(&mut self, file: &File, shown: &Path) -> Result<OsString, String> {
        let name = match self.beside.take() {
            Some(name) if self.left_slot => name,
            named => {
                let left = beside::leave_slot(&self.entry, file, named.as_deref());
                if left.is_err() {
                    self.beside = named;
                }
                left.map_err(|e| cannot_replace(shown, &reason(&e)))?
            }
        };
        self.left_slot = true;
        self.beside = Some(name.clone());
        Ok(name)
    }

    /// The first file of its name.
    fn name_new(&mut self, file: &File) -> nix::Result<()> {
        let (dir, name) = (self.entry.dir(), self.entry.name.as_os_str());
        let Some(beside) = &self.beside else {
            return beside::name_open_file(file, dir, name);
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
                    self.beside = None;
                }
                renamed
            }
        }
    }

    /// In place of the old one, whichever that is by now.
    fn name_over(&mut self, file: &File, shown: &Path) -> Result<Round, Refused<'a>> {
        let failed = |e: io::Error| cannot_replace(shown, &reason(&e));
        let beside = match self.beside.take() {
            Some(beside) => beside,
            None => beside::link(&self.entry, file).map_err(failed)?,
        };
        let (dir, name) = (self.entry.dir(), self.entry.name.as_os_str());
        let renamed = renameat(dir, beside.as_os_str(), dir, name);
        if renamed.is_err() {
            self.beside = Some(beside);
        }
        renamed.map_err(|e| failed(e.into()))?;
        Ok(Round::Over(Committed::Done { backup: None }))
    }

    pub(super) fn abandon(mut self, shown: &Path) -> Result<(), String> {
        self.discard(shown)
    }

    /// Removes the name beside, if it still is the file's.
    fn discard(&mut self, shown: &Path) -> Result<(), String> {
        let Some(beside) = self.beside.take() else {
            return Ok(());
        };
        match by_inode::remove_checked(self.entry.dir(), &beside, self.mine) {
            Ok(_) => Ok(()),
            Err(e) => Err(cannot_remove(shown, &beside, e)),
        }
    }
}

/// For a panic; all other ways lead through [`Temporary::commit`] and [`Temporary::abandon`].
impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let _ = self.discard(Path::new(""));
    }
}

impl Over {
    /// Whether it is this file that was examined.
    fn is(&self, now: &FileStat) -> bool {
        match self {
            Self::Nothing => false,
            Self::Unwanted(there) | Self::Kept { there, .. } => same(now, there),
        }
    }
}

fn named_first<'a>(named: nix::Result<()>, place: &Place<'_>) -> Result<Round, Refused<'a>> {
    match named {
        Ok(()) => Ok(Round::Over(Committed::Done { backup: None })),
        Err(e) => Err(cannot_create(place, &e.into()).into()),
    }
}

/// Whether a file is the one that was looked at, and was not written to since.
fn is_unchanged(old: &FileStat, looked_at: &FileStat) -> bool {
    same(old, looked_at)
        && (old.st_mtime, old.st_mtime_nsec) == (looked_at.st_mtime, looked_at.st_mtime_nsec)
}

fn displaced(shown: &Path, kept: Option<OsString>) -> String {
    let mut text = was_replaced(shown);
    if let Some(name) = kept {
        let kept = quote(place::beside(shown.as_os_str(), &name));
        text.push_str(&format!(
            "; the file that was there before is kept as {kept}"
        ));
    }
    text
}

fn cannot_remove(shown: &Path, beside: &OsStr, e: Errno) -> String {
    let path = place::beside(shown.as_os_str(), beside);
    format!("cannot remove {}: {}", quote(path), reason(&e.into()))
}

fn cannot_replace(shown: &Path, why: &str) -> String {
    format!("cannot replace {} atomically: {why}", quote(shown))
}

fn same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}
