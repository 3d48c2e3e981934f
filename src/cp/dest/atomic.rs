//! A destination that is the old file or the whole new one: the new one is written without a name, or with one beside
//! where the file system has no unnamed files, and gets its name when it is complete.
//!
//! What differs from overwriting: other hard links of the old file keep its content, and so do those who have it open;
//! the directory must be writable; the birth time and the flags of chattr(1) are those of a new file. Owner, mode, ACL
//! and extended attributes are kept, or it is an error. A link to a file stays, and what it leads to is replaced.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::in_place::{Failure, open_existing};
use super::inherit::inherit;
use super::lead::Entry;
use super::{
    Destination, How, Refused, beside, cannot_create, close, flush, is_regular,
    not_through_dangling, was_replaced,
};
use crate::cp::durable::{self, Durable};
use crate::cp::place::Place;
use crate::report::quote::quote;
use crate::sys::words::reason;
use crate::transfer::fault::{Class, classify, retry};

/// Where a complete file goes, and what it goes over.
#[derive(Debug)]
pub(super) struct Temporary<'a> {
    entry: Entry<'a>,
    /// The name it has meanwhile.
    beside: Option<OsString>,
    over: Over,
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
    Ok(Destination {
        created: !matches!(over, Over::Kept { .. }),
        temporary: Some(Temporary {
            entry,
            beside,
            over,
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

impl Temporary<'_> {
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

    pub(super) fn commit(
        mut self,
        file: File,
        place: &Place<'_>,
        durable: &Durable,
    ) -> Result<(), Refused> {
        let done = self.make_final(&file, place, durable.is_wanted());
        let left = self.discard(place.shown);
        // The first error is the one to tell.
        done?;
        left?;
        durable.note_parent(&self.entry, place.shown);
        Ok(close(file, place.shown)?)
    }

    fn make_final(&mut self, file: &File, place: &Place<'_>, fsync: bool) -> Result<(), Refused> {
        let shown = place.shown;
        if fsync {
            retry(|| nix::unistd::fsync(file)).map_err(|e| durable::message(shown, &e))?;
        }
        flush(file, shown)?;
        match &self.over {
            Over::Nothing => self.name_new(file, place),
            Over::Kept { .. } => match self.entry.stat() {
                Ok(now) if !is_regular(&now) => Err(was_replaced(shown).into()),
                _ => self.name_over(file, shown),
            },
            Over::Unwanted(there) => match self.entry.stat() {
                Ok(now) if !same(&now, there) && !is_regular(&now) => {
                    Err(was_replaced(shown).into())
                }
                _ => self.name_over(file, shown),
            },
        }
    }

    /// The first file of its name.
    fn name_new(&mut self, file: &File, place: &Place<'_>) -> Result<(), Refused> {
        let (dir, name) = (self.entry.dir(), self.entry.name.as_os_str());
        let named = match &self.beside {
            None => beside::name_open_file(file, dir, name),
            Some(beside) => {
                let beside = beside.as_os_str();
                match renameat2(dir, beside, dir, name, RenameFlags::RENAME_NOREPLACE) {
                    // The file system cannot promise that, or the kernel is older than 3.15. The other name goes later.
                    Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {
                        linkat(dir, beside, dir, name, AtFlags::empty())
                    }
                    Ok(()) => {
                        self.beside = None;
                        Ok(())
                    }
                    Err(e) => Err(e),
                }
            }
        };
        named.map_err(|e| match e {
            Errno::EEXIST => Refused::Exists,
            e => Refused::Say(cannot_create(place, &e.into())),
        })
    }

    /// In place of the old one.
    fn name_over(&mut self, file: &File, shown: &Path) -> Result<(), Refused> {
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
        Ok(renamed.map_err(|e| failed(e.into()))?)
    }

    pub(super) fn abandon(mut self, shown: &Path) -> Result<(), String> {
        self.discard(shown)
    }

    /// Removes the name beside. The caller still has the file open, hence locked, so the name is its own.
    fn discard(&mut self, shown: &Path) -> Result<(), String> {
        let Some(beside) = self.beside.take() else {
            return Ok(());
        };
        match unlinkat(
            self.entry.dir(),
            beside.as_os_str(),
            UnlinkatFlags::NoRemoveDir,
        ) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => {
                let path = shown.with_file_name(beside);
                let text = reason(&e.into());
                Err(format!("cannot remove {}: {text}", quote(&path)))
            }
        }
    }
}

/// For a panic; all other ways lead through [`Temporary::commit`] and [`Temporary::abandon`].
impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let _ = self.discard(Path::new(""));
    }
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
