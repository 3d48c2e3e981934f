//! What is kept of a file that is cut (--cut): its durable beginning as `DEST.part`, and beside it a map of what that has.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::stat::fstat;
use nix::unistd::fsync;

use super::at_path::{AtPath, DirHandle, sibling_path};
use super::dest::{self, CommitDecision, CommitError, CommitRules, DestOptions, Destination, Part};
use super::error::{CutReason, Error, Operation, Refusal};
use super::file_status::{FileId, file_id, is_link};
use super::fsync_set::FsyncSet;
use crate::sys::lock::lock;
use crate::transfer::CopyFailure;
use crate::transfer::errno_class::{errno_of, is_no_space, retry};

/// What follows the name of the destination in that of its beginning.
const PART_SUFFIX: &str = ".part";

/// What follows that in the name of the map.
const MAP_SUFFIX: &str = ".map";

/// Bytes that are reserved for the map, which is written when the disk may be full. It has five lines.
const MAP_BYTES: i64 = 4096;

/// The beginnings that a run has kept, and their maps. Nothing else of the run replaces them.
#[derive(Debug, Default)]
pub(super) struct KeptParts(Mutex<HashSet<FileId>>);

impl KeptParts {
    /// Returns whether a file is one of them.
    pub(super) fn has(&self, file: FileId) -> bool {
        lock(&self.0).contains(&file)
    }
}

/// The names that a file gets if it is cut, and the map, which has none yet.
#[derive(Debug)]
pub(super) struct CutFiles {
    part: AtPath,
    map: AtPath,
    map_file: Destination,
}

/// Where a file is cut, and why.
#[derive(Debug)]
pub(super) struct CutPoint {
    /// Bytes from the start that are good.
    pub(super) at: u64,
    /// Bytes of the whole source; `None` for a stream.
    pub(super) size: Option<u64>,
    /// The reason why no more of it is copied.
    pub(super) why: CutReason,
}

/// A file that was cut, as the user is told.
#[derive(Debug)]
pub(super) struct CutNotice<'a> {
    /// The path of the source, as messages show it.
    pub(super) source: &'a Path,
    /// The path of its beginning.
    pub(super) part: &'a Path,
    /// Where it is cut, and why.
    pub(super) point: &'a CutPoint,
}

impl CutPoint {
    /// Returns where a file whose copy has failed is to be cut. There is no such place if nothing of it is good, or if the
    /// reason is another than missing room.
    pub(super) fn of(failure: &CopyFailure) -> Option<Self> {
        let why = CutReason::of(&failure.error)?;
        (failure.copied > 0).then_some(Self {
            at: failure.copied,
            size: (failure.size > 0).then_some(failure.size),
            why,
        })
    }

    /// Returns the map in the format of GNU ddrescue: the beginning is finished, and the rest was not tried. The rest of a
    /// stream is as long as a file can be.
    fn map_text(&self) -> String {
        let end = self.size.unwrap_or(i64::MAX.cast_unsigned()).max(self.at);
        let (at, rest) = (self.at, end - self.at);
        let mut text = format!(
            "# Mapfile. Created by mmapcp {}\n\
             # current_pos  current_status  current_pass\n\
             0x{at:08X}     ?               1\n\
             #      pos        size  status\n\
             0x00000000  0x{at:08X}  +\n",
            env!("CARGO_PKG_VERSION")
        );
        if rest > 0 {
            text.push_str(&format!("0x{at:08X}  0x{rest:08X}  ?\n"));
        }
        text
    }
}

impl CutFiles {
    /// Makes sure that the beginning of `dest` could be kept: that its names are free, and that there is room for the map.
    /// `open` is the temporary file, and `how` that with which it was opened.
    ///
    /// # Errors
    /// [`Refusal::PartExists`], and errors of the names and of making the map.
    pub(super) fn prepare(
        (source, dest): (&AtPath, &AtPath),
        open: &Destination,
        how: &DestOptions,
    ) -> Result<Self, Error> {
        let entry = open.entry();
        let part = with_suffix(dest, entry, PART_SUFFIX);
        let map = with_suffix(&part, &part, MAP_SUFFIX);
        for name in [&part, &map] {
            match name.stat(false) {
                Err(Errno::ENOENT) => {}
                Ok(_) => {
                    let (source, name) = (source.shown(), name.shown());
                    return Err(Error::refused(Refusal::PartExists, source, name));
                }
                Err(e) => return Err(name.error(Operation::OpenDest, e)),
            }
        }
        let how = DestOptions {
            atomic: true,
            replace_as_new: false,
            ..*how
        };
        let map_file = dest::open(&map, None, &how, Part::None, || {})?;
        let flags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match retry(|| fallocate(&map_file.file, flags, 0, MAP_BYTES)) {
            Err(e) if is_no_space(errno_of(&e)) => Err(map.error(Operation::OpenDest, e)),
            // Where nothing can be reserved, the map may not fit when it is written, which is said then.
            _ => Ok(Self {
                part,
                map,
                map_file,
            }),
        }
    }

    /// Returns the path of the beginning, as messages show it.
    pub(super) fn part_path(&self) -> PathBuf {
        self.part.shown().into()
    }

    /// Returns the path of the map, as messages show it.
    pub(super) fn map_path(&self) -> PathBuf {
        self.map.shown().into()
    }

    /// Gives the beginning and its map their names when both are on the disk. No file is replaced by that. Both are in
    /// `kept` before they have names.
    ///
    /// # Errors
    /// One of them could not be written, made durable or named: then neither of the names is taken. Or the directory could
    /// not be synced: then both have their names, which may be lost in a crash.
    pub(super) fn keep(
        self,
        open: Destination,
        point: &CutPoint,
        fsync_set: &FsyncSet,
        kept: &KeptParts,
    ) -> Result<(), Error> {
        let Self {
            part,
            map,
            map_file,
        } = self;
        retry(|| fsync(&open.file)).map_err(|e| part.error(Operation::Sync, e))?;
        let written = (&map_file.file).write_all(point.map_text().as_bytes());
        written.map_err(|e| map.error(Operation::Write, e))?;
        let id_of = |file, name: &AtPath| {
            let stat = fstat(file).map_err(|e| name.error(Operation::Fstat, e))?;
            Ok::<_, Error>(file_id(&stat))
        };
        let made = [id_of(&open.file, &part)?, id_of(&map_file.file, &map)?];
        lock(&kept.0).extend(made);
        let named = commit_new(map_file, &map, fsync_set).and_then(|()| {
            let named = commit_new(open.into_part(part.clone()), &part, fsync_set);
            if named.is_err() {
                // The first error is the one to report.
                let _ = map.remove_made(made[1]);
            }
            named
        });
        if named.is_err() {
            lock(&kept.0).retain(|file| !made.contains(file));
        }
        named?;
        // Where the directory may not be read, the file system is synced at the end.
        if let Ok(directory) = part.open_parent() {
            retry(|| fsync(&directory)).map_err(|e| part.error(Operation::Sync, e))?;
        }
        Ok(())
    }
}

/// Gives a file its name, which must not exist.
fn commit_new(open: Destination, name: &AtPath, fsync_set: &FsyncSet) -> Result<(), Error> {
    let committed = open.commit(&mut CommitRules {
        fsync_set,
        backup: None,
        may_leave: false,
        decide: &mut |_, _| CommitDecision::Replace,
    });
    match committed {
        Ok(_) => Ok(()),
        Err(CommitError::Failed(error)) => Err(error),
        Err(CommitError::Exists | CommitError::Changed(_)) => {
            Err(name.error(Operation::OpenDest, Errno::EEXIST))
        }
    }
}

/// Returns the name of `entry` with `suffix`, beside it. Messages show it beside `dest`, or beside the target of `dest` if
/// that is a symbolic link.
fn with_suffix(dest: &AtPath, entry: &AtPath, suffix: &str) -> AtPath {
    let mut name = entry.path().to_owned();
    name.push(suffix);
    let is_followed = dest.stat(false).is_ok_and(|stat| is_link(&stat));
    let shown = match directory_of(entry).filter(|_| is_followed) {
        Some(directory) => directory.join(&name).into_os_string(),
        None => sibling_path(entry.shown().as_os_str(), &name),
    };
    AtPath::new(Arc::clone(entry.folder()), name, shown)
}

/// Returns the path of the directory of an entry, where the kernel tells it.
fn directory_of(entry: &AtPath) -> Option<PathBuf> {
    match &**entry.folder() {
        DirHandle::Current => Some(PathBuf::new()),
        DirHandle::Open(file) => fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_says_what_is_there_and_what_is_not() {
        let point = |at, size| CutPoint {
            at,
            size,
            why: CutReason::NoSpace(Errno::ENOSPC),
        };
        let blocks = |point: CutPoint| {
            let text = point.map_text();
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
            lines.join("\n")
        };
        assert_eq!(
            blocks(point(1 << 20, Some(3 << 20))),
            "0x00100000     ?               1\n\
             0x00000000  0x00100000  +\n\
             0x00100000  0x00200000  ?"
        );
        assert!(blocks(point(4096, None)).ends_with("0x00001000  0x7FFFFFFFFFFFEFFF  ?"));
        assert!(blocks(point(4096, Some(4096))).ends_with("+"));
    }
}
