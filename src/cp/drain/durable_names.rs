//! Brings the names of destinations to the disk, with all directories above them, before their sources are freed.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{fsync, syncfs};

use super::super::at_path::AtPath;
use super::super::dest::resolve_link::resolve_follow;
use super::super::error::{Error, Operation};
use super::super::file_status::{FileId, file_id};
use crate::sys::lock::lock;
use crate::transfer::errno_class::retry;

/// Number of directories above another that are looked at: a path of PATH_MAX has at most 2048.
const MAX_DEPTH: usize = 4096;

/// The directories whose own names are known to be on the disk. Threads share it.
#[derive(Debug, Default)]
pub(in crate::cp) struct DurableNames {
    known: Mutex<HashSet<FileId>>,
}

impl DurableNames {
    /// Brings the name of a destination to the disk, that of the file behind it if it is a link, and those of the
    /// directories above both.
    ///
    /// # Errors
    /// A directory could not be opened or synced.
    pub(in crate::cp) fn sync(&self, entry: &AtPath) -> Result<(), Error> {
        let fail = |e| entry.error(Operation::Sync, e);
        let behind = resolve_follow(entry).map_err(fail)?;
        self.sync_entry(entry).map_err(fail)?;
        match behind.is_same_entry(entry) {
            true => Ok(()),
            false => self.sync_entry(&behind).map_err(fail),
        }
    }

    fn sync_entry(&self, entry: &AtPath) -> io::Result<()> {
        let dir = entry.open_parent()?;
        retry(|| fsync(&dir))?;
        let first = file_id(&fstat(&dir)?);
        if lock(&self.known).contains(&first) {
            return Ok(());
        }
        sync_above(dir)?;
        lock(&self.known).insert(first);
        Ok(())
    }
}

/// Syncs the directories above one, as far as its file system goes.
fn sync_above(first: File) -> io::Result<()> {
    let mut dir = first;
    for _ in 0..MAX_DEPTH {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let above = match retry(|| openat(dir.as_fd(), "..", flags, Mode::empty())) {
            Ok(above) => File::from(above),
            // It may be searched and not read. The whole file system can be synced instead.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return retry(|| syncfs(&dir));
            }
            Err(e) => return Err(e),
        };
        let (here, next) = (fstat(&dir)?, fstat(&above)?);
        if file_id(&here) == file_id(&next) || here.st_dev != next.st_dev {
            return Ok(());
        }
        retry(|| fsync(&above))?;
        dir = above;
    }
    Ok(())
}
