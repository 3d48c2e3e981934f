//! The source directories of a drained tree, which are removed at the end if nothing is left in them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::unistd::UnlinkatFlags;

use super::super::at_path::AtPath;
use super::super::by_inode::lstat_at;
use super::super::error::{Error, Operation};
use super::super::file_status::{FileId, file_id};
use crate::sys::lock::lock;

/// The directories in the order in which the walk has entered them. A directory comes before those in it.
#[derive(Debug, Default)]
pub(in crate::cp) struct DrainedDirectories {
    entered: Mutex<Vec<(PathBuf, FileId)>>,
}

impl DrainedDirectories {
    /// Notes a directory by the path that messages show.
    pub(in crate::cp) fn note(&self, path: &Path, id: FileId) {
        lock(&self.entered).push((path.into(), id));
    }

    /// Removes the directories that are empty, the deepest first. One in which a file was left stays without a word, since
    /// the file was named. Returns the errors.
    pub(in crate::cp) fn remove(&self, has_left_files: bool) -> Vec<Error> {
        let entered = std::mem::take(&mut *lock(&self.entered));
        let removed = entered.iter().rev().map(|(path, id)| {
            let place = AtPath::with_open_parent(path);
            match remove_directory(&place, *id) {
                Err(Errno::ENOTEMPTY | Errno::EEXIST) if has_left_files => Ok(()),
                other => other.map_err(|e| place.error(Operation::RemoveDirectory, e)),
            }
        });
        removed.filter_map(Result::err).collect()
    }
}

/// Removes an empty directory if it is the one that was entered.
fn remove_directory(place: &AtPath, id: FileId) -> nix::Result<()> {
    match lstat_at(place.dir(), place.path()) {
        Ok(now) if file_id(&now) == id => {}
        Ok(_) | Err(Errno::ENOENT) => return Ok(()),
        Err(e) => return Err(e),
    }
    match nix::unistd::unlinkat(place.dir(), place.path(), UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}
