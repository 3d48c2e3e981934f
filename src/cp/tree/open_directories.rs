//! Bounds the number of directories that the walk holds open, whatever the depth of the tree: those at the end of its
//! path. A closed one is opened again when the walk returns to it, and is identified by its inode.

use std::io;
use std::sync::{Arc, Weak};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use super::Walk;
use super::active_directory::ActiveDirectory;
use crate::cp::at_path::DirHandle;
use crate::cp::error::{Error, Operation};

/// The part of the process's descriptors that directories may take, including those of files in flight: the rest is for
/// the files themselves.
const DIRECTORY_DESCRIPTOR_DIVISOR: u64 = 4;

/// The maximum and the minimum number of descriptors for directories. With fewer than the minimum, the walk would wait
/// for files at each directory.
const MAX_DIRECTORY_DESCRIPTORS: u64 = 1024;
const MIN_DIRECTORY_DESCRIPTORS: u64 = 8;

/// Each directory of the path takes two descriptors, and files in flight keep others open: the path has a quarter of
/// them.
const PATH_DESCRIPTOR_DIVISOR: usize = 8;

/// The directories from an operand down to the current position of the walk.
pub(super) struct OpenDirectories {
    path: Vec<Arc<ActiveDirectory>>,
    /// Number of directories at the end of the path that stay open; the first one stays open, too.
    kept: usize,
    /// The maximum number of open descriptors of directories.
    most: usize,
    /// The descriptors that may still be open.
    folders: Vec<Weak<DirHandle>>,
}

impl OpenDirectories {
    /// Makes an empty path, with bounds that fit the descriptor limit of the process.
    pub(super) fn new() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        Self::within(
            (limit / DIRECTORY_DESCRIPTOR_DIVISOR)
                .clamp(MIN_DIRECTORY_DESCRIPTORS, MAX_DIRECTORY_DESCRIPTORS) as usize,
        )
    }

    fn within(most: usize) -> Self {
        Self {
            path: Vec::new(),
            kept: (most / PATH_DESCRIPTOR_DIVISOR).max(2),
            most,
            folders: Vec::new(),
        }
    }

    /// Returns whether files in flight keep so many directories open that the walk must wait for them.
    pub(super) fn are_too_many(&mut self) -> bool {
        if self.folders.len() >= self.most {
            self.folders.retain(|folder| folder.strong_count() > 0);
        }
        self.folders.len() >= self.most
    }

    /// Notes the directory that the walk enters, and closes one far above.
    pub(super) fn enter(&mut self, level: &Arc<ActiveDirectory>) {
        self.note(level);
        self.path.push(Arc::clone(level));
        // All other directories can be found again from the first.
        if let Some(above) = self.path.len().checked_sub(self.kept + 1)
            && above > 0
        {
            self.path[above].close_folders();
        }
    }

    /// Notes that the walk returns to the parent directory.
    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// Opens a closed directory of the path while the walk is in its child.
    fn reopen(&mut self, level: &Arc<ActiveDirectory>, below: &ActiveDirectory) -> io::Result<()> {
        match level.reopen_from_below(below) {
            Ok(()) => self.note(level),
            // A link led to the directory below, or the mode of that one forbids the search.
            Err(_) => {
                for opened in reopen_from_top(level, self.kept)? {
                    self.note(opened);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, level: &ActiveDirectory) {
        let open = level.folders();
        let open = [open.listing, open.dest];
        self.folders
            .extend(open.iter().flatten().map(Arc::downgrade));
    }
}

impl Walk<'_, '_, '_> {
    /// Opens the parent of a directory that the walk leaves, if it was closed meanwhile.
    pub(super) fn reopen_parent(&mut self, level: &Arc<ActiveDirectory>) {
        let Some(above) = level.above().filter(|above| !above.is_open()) else {
            return;
        };
        if self.open.are_too_many() {
            self.wait_in_flight();
        }
        if let Err(e) = self.open.reopen(above, level) {
            let (source, dest) = above.shown();
            let error = Error::io(Operation::Access, source, e);
            self.report_failure(source, dest, error.into());
        }
    }
}

/// Opens a directory by its path from the lowest open directory above it. The last `kept` directories of that path stay
/// open.
fn reopen_from_top(
    level: &Arc<ActiveDirectory>,
    kept: usize,
) -> io::Result<Vec<&Arc<ActiveDirectory>>> {
    let mut closed = Vec::new();
    let mut next = Some(level);
    while let Some(level) = next.filter(|level| !level.is_open()) {
        closed.push(level);
        next = level.above();
    }
    if next.is_none() {
        return Err(Errno::EBADF.into());
    }
    for (n, level) in closed.iter().enumerate().rev() {
        level.reopen_by_name()?;
        if let Some(above) = closed.get(n + kept) {
            above.close_folders();
        }
    }
    closed.truncate(kept);
    Ok(closed)
}
