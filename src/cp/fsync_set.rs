//! --fsync: everything that a run has made is on the disk before it ends. A few files are synced one by one, many by
//! one syncfs(2) of their file system.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::sys::statfs::{self, fstatfs};
use nix::unistd::{fsync, syncfs};

use super::at_path::AtPath;
use super::dest::resolve_link::{resolve_follow, resolve_nofollow};
use super::error::{Error, Operation};
use super::file_status::{FileId, file_id, file_type, is_directory, is_link};
use crate::sys::lock::lock;
use crate::transfer::errno_class::retry;

/// Number of files and directories of one file system that are synced one by one; above it, the file system is synced.
/// Measured on ext4 with files of 16 KiB: 8 take 8 ms one by one and 1.7 ms by syncfs, 32 take 56 and 6 ms, 128 take
/// 355 and 17 ms. But syncfs also waits for the data of all other processes (200 MB: 170 ms instead of 31 ms for 8
/// files), which a few big dumps shall not do.
const MAX_SINGLE_FSYNCS: usize = 32;

/// The first version in which syncfs(2) reports failed writes: Linux 5.8 (commit 735e4ae5ba28, "vfs: track per-sb
/// writeback errors and report them to syncfs"). In older versions it only waits.
const SYNCFS_REPORTS_ERRORS_SINCE: (u32, u32) = (5, 8);

/// A file system that is known to have fsync(2).
struct SyncableFs {
    magic: statfs::FsType,
    /// Whether syncfs(2) was tested to bring all data to the medium. On FUSE the call ends in the kernel and does not
    /// reach the daemon (measured on 6.18); nothing is known about others, so each of their files is synced by itself.
    is_syncfs_trusted: bool,
}

/// The known file systems. Of all others neither is known.
const SYNCABLE_FS: [SyncableFs; 5] = [
    SyncableFs::new(statfs::EXT4_SUPER_MAGIC, true),
    SyncableFs::new(statfs::XFS_SUPER_MAGIC, true),
    SyncableFs::new(statfs::BTRFS_SUPER_MAGIC, true),
    SyncableFs::new(statfs::F2FS_SUPER_MAGIC, false),
    SyncableFs::new(statfs::TMPFS_MAGIC, false),
];

impl SyncableFs {
    const fn new(magic: statfs::FsType, is_syncfs_trusted: bool) -> Self {
        Self {
            magic,
            is_syncfs_trusted,
        }
    }

    /// Returns the row of the file system that a file is on, if it is a known one.
    fn of(file: BorrowedFd<'_>) -> Option<&'static Self> {
        let magic = fstatfs(file).ok()?.filesystem_type();
        SYNCABLE_FS.iter().find(|fs| fs.magic == magic)
    }
}

/// The files that must be on the disk in the end. Threads share the set.
#[derive(Debug)]
pub struct FsyncSet {
    /// Whether --fsync was given; if not, all methods do nothing.
    wanted: bool,
    /// Whether syncfs(2) reports failed writes.
    syncfs_tells: bool,
    state: Mutex<FsyncState>,
}

#[derive(Debug, Default)]
struct FsyncState {
    /// The file systems by device number.
    systems: HashMap<u64, FileSystemSync>,
    failed: Vec<Error>,
    /// Whether sync(2) is needed for a directory without a descriptor that can be synced: one that may be written to,
    /// but not read.
    needs_sync_all: bool,
}

/// The files to sync on one file system.
#[derive(Debug)]
struct FileSystemSync {
    /// The first file that was opened on it: syncfs reports errors since then.
    handle: File,
    path: PathBuf,
    /// The files to sync one by one, in this order: a directory comes after its entries.
    each: Vec<(File, PathBuf)>,
    directories: HashSet<FileId>,
    /// Whether there were too many files to sync them one by one.
    use_syncfs: bool,
    /// Whether syncfs(2) of this file system is known to reach the medium.
    reached: bool,
}

impl FsyncSet {
    /// Makes the set for a run on this kernel.
    #[must_use]
    pub fn new(wanted: bool) -> Self {
        let tells = || kernel().is_some_and(|now| now >= SYNCFS_REPORTS_ERRORS_SINCE);
        Self::relying_on_syncfs(wanted, wanted && tells())
    }

    fn relying_on_syncfs(wanted: bool, syncfs_tells: bool) -> Self {
        Self {
            wanted,
            syncfs_tells,
            state: Mutex::default(),
        }
    }

    /// Returns whether --fsync was given.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Notes the file system of an open file. Must be called before the first byte is written to the file, so that no
    /// failed write goes unnoticed. With `holds_old`, for a file whose content is about to be replaced, it also tests
    /// fsync(2) on a file system that may not have it.
    ///
    /// # Errors
    /// Returns the error of fsync(2): nothing that is written there can be made durable.
    pub fn register_file_system(
        &self,
        file: &File,
        place: &AtPath,
        holds_old: bool,
    ) -> io::Result<()> {
        if !self.wanted {
            return Ok(());
        }
        let mut state = self.state();
        let noted = state
            .system(file.as_fd(), place.shown())
            .map(|(_, stat)| stat);
        match noted {
            Ok(stat) if holds_old && is_syncable(&stat) && !has_fsync(file) => {
                drop(state);
                retry(|| fsync(file))
            }
            Ok(_) => Ok(()),
            Err(e) => {
                state.failed.push(not_synced(place.shown(), e));
                Ok(())
            }
        }
    }

    /// Notes a file that is complete. Devices and FIFOs have nothing to sync.
    pub fn note_file(&self, file: &File, place: &AtPath) {
        self.note(file, place.shown());
    }

    /// Notes a directory in which a name was made.
    pub fn note_directory(&self, directory: &File, path: &Path) {
        self.note(directory, path);
    }

    /// Notes a directory in which a name was made, and which is closed meanwhile: sync(2) syncs it.
    pub fn note_closed_directory(&self) {
        if self.wanted {
            self.state().needs_sync_all = true;
        }
    }

    /// Notes the directory that a resolved entry is in.
    pub fn note_parent(&self, entry: &AtPath) {
        if !self.wanted || lab_skips_parents() {
            return;
        }
        match entry.open_parent() {
            Ok(directory) => self.note(&directory, &parent(entry.shown())),
            // A directory that may not be read cannot be synced alone, and there is no descriptor for its file system.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                self.note_unreadable(entry.dir(), &parent(entry.shown()));
            }
            Err(e) => self.fail(parent(entry.shown()), e),
        }
    }

    /// Notes the directory of a file that was made. If that is a symbolic link, it is not resolved: it leads to nothing
    /// yet, and reading it would change its access time.
    pub fn note_made(&self, place: &AtPath) {
        if !self.wanted || self.uses_syncfs(place.dir()) {
            return;
        }
        // A directory may be made by a name with trailing slashes.
        let bytes = place.path().as_bytes();
        let end = bytes.iter().rposition(|b| *b != b'/');
        let base = OsStr::from_bytes(&bytes[..end.map_or(0, |at| at + 1)]);
        match resolve_nofollow(&place.with_path(base)) {
            Ok(entry) => self.note_parent(&entry),
            Err(e) => self.fail(parent(place.shown()), e),
        }
    }

    /// Notes the directory of a path that was written to, and the directory of the link's target if it is a link.
    pub fn note_entry(&self, place: &AtPath) {
        if !self.wanted || self.uses_syncfs(place.dir()) {
            return;
        }
        let entry = resolve_nofollow(place);
        let link = entry
            .as_ref()
            .is_ok_and(|entry| entry.stat(false).is_ok_and(|stat| is_link(&stat)));
        let through = link.then(|| resolve_follow(place));
        for entry in [Some(entry), through].into_iter().flatten() {
            match entry {
                Ok(entry) => self.note_parent(&entry),
                Err(e) => self.fail(parent(place.shown()), e),
            }
        }
    }

    /// Returns whether the file system of a directory is synced as a whole, so that its names need not be noted.
    fn uses_syncfs(&self, directory: BorrowedFd<'_>) -> bool {
        // For the current directory, which has no descriptor, this is not known.
        fstat(directory).is_ok_and(|stat| {
            let known = self.state().systems.get(&stat.st_dev).map(|s| s.use_syncfs);
            known == Some(true)
        })
    }

    fn note(&self, file: &File, path: &Path) {
        if !self.wanted {
            return;
        }
        if is_o_path(file) {
            return self.note_unreadable(file.as_fd(), path);
        }
        let mut state = self.state();
        if let Err(e) = state.note(file, path, self.syncfs_tells) {
            state.failed.push(not_synced(path, e));
        }
    }

    /// Notes a directory that may be written to but not read, which cannot be synced by itself. sync(2) syncs it, where
    /// that is known to reach the medium.
    fn note_unreadable(&self, directory: BorrowedFd<'_>, path: &Path) {
        let mut state = self.state();
        if is_syncfs_trusted(directory) {
            state.needs_sync_all = true;
        } else {
            state.failed.push(not_synced(path, Errno::EACCES));
        }
    }

    /// Waits until all is on the disk. Returns an error for each file that is not.
    pub fn finish(&self) -> Vec<Error> {
        let mut state = std::mem::take(&mut *self.state());
        for system in state.systems.values_mut() {
            if system.use_syncfs {
                if let Err(e) = retry(|| syncfs(&system.handle)) {
                    state.failed.push(not_synced(&system.path, e));
                }
            } else {
                sync_each(&mut system.each, &mut state.failed);
            }
        }
        if state.needs_sync_all {
            // sync(2) reports no error, but Linux returns from it only when all data is on the disk.
            nix::unistd::sync();
        }
        state.failed
    }

    fn fail(&self, path: impl Into<PathBuf>, error: impl Into<io::Error>) {
        self.state().failed.push(not_synced(path, error));
    }

    fn state(&self) -> MutexGuard<'_, FsyncState> {
        // Each change of the state is complete in itself.
        lock(&self.state)
    }
}

impl FsyncState {
    fn system(
        &mut self,
        file: impl AsFd,
        path: &Path,
    ) -> io::Result<(&mut FileSystemSync, FileStat)> {
        let stat = fstat(&file)?;
        let system = match self.systems.entry(stat.st_dev) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(FileSystemSync {
                handle: file.as_fd().try_clone_to_owned()?.into(),
                path: path.into(),
                each: Vec::new(),
                directories: HashSet::new(),
                use_syncfs: false,
                reached: is_syncfs_trusted(file.as_fd()),
            }),
        };
        Ok((system, stat))
    }

    fn note(&mut self, file: &File, path: &Path, syncfs_tells: bool) -> io::Result<()> {
        let (system, stat) = self.system(file, path)?;
        let known = is_directory(&stat) && !system.directories.insert(file_id(&stat));
        if !is_syncable(&stat) || system.use_syncfs || known {
            return Ok(());
        }
        system.each.push((file.try_clone()?, path.into()));
        if system.each.len() <= MAX_SINGLE_FSYNCS {
            return Ok(());
        }
        system.directories = HashSet::new();
        let mut each = std::mem::take(&mut system.each);
        system.use_syncfs = syncfs_tells && system.reached;
        if !system.use_syncfs {
            sync_each(&mut each, &mut self.failed);
        }
        Ok(())
    }
}

/// Returns whether a file is of a type that can be synced.
fn is_syncable(stat: &FileStat) -> bool {
    [SFlag::S_IFREG, SFlag::S_IFDIR, SFlag::S_IFBLK].contains(&file_type(stat))
}

/// Returns whether the file system of a file is known to have fsync(2). Calling fsync(2) would answer that too, but it
/// would first write out the dirty pages of the old file, only for them to be replaced.
fn has_fsync(file: &File) -> bool {
    SyncableFs::of(file.as_fd()).is_some()
}

/// Returns whether the build of the kernel laboratory is told to skip the sync of parent directories. The error is
/// deliberate: the laboratory's power cuts must find it.
fn lab_skips_parents() -> bool {
    cfg!(mmapcp_lab) && std::env::var_os("MMAPCP_LAB_BREAK").is_some_and(|what| what == "parents")
}

fn is_syncfs_trusted(file: BorrowedFd<'_>) -> bool {
    SyncableFs::of(file).is_some_and(|fs| fs.is_syncfs_trusted)
}

/// Returns whether a descriptor is an O_PATH one, which fsync(2) and syncfs(2) refuse.
fn is_o_path(file: &File) -> bool {
    fcntl(file, FcntlArg::F_GETFL)
        .is_ok_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_PATH))
}

fn sync_each(each: &mut Vec<(File, PathBuf)>, failed: &mut Vec<Error>) {
    for (file, path) in each.drain(..) {
        if let Err(e) = retry(|| fsync(&file)) {
            failed.push(not_synced(path, e));
        }
    }
}

fn not_synced(path: impl Into<PathBuf>, error: impl Into<io::Error>) -> Error {
    Error::io(Operation::Sync, path, error)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
        Some(_) => ".".into(),
        None => path.into(),
    }
}

/// Returns the version of the running kernel.
fn kernel() -> Option<(u32, u32)> {
    let name = nix::sys::utsname::uname().ok()?;
    let release = name.release().to_str()?;
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Returns the number of files that are still to be synced one by one, and whether syncfs(2) is to be used, after
    /// noting `files` files in a directory.
    fn noted(files: usize, syncfs_tells: bool) -> io::Result<(usize, bool)> {
        let dir = tempfile::tempdir()?;
        let durable = FsyncSet::relying_on_syncfs(true, syncfs_tells);
        for n in 0..files {
            let path = dir.path().join(n.to_string());
            let file = File::create(&path)?;
            let place = AtPath::from_current(&path);
            durable.register_file_system(&file, &place, false)?;
            durable.note_file(&file, &place);
            durable.note_directory(&File::open(dir.path())?, dir.path());
        }
        let left = {
            let state = durable.state();
            let system = state
                .systems
                .values()
                .next()
                .map(|s| (s.each.len(), s.use_syncfs));
            system.unwrap_or_default()
        };
        assert!(durable.finish().is_empty());
        Ok(left)
    }

    #[test]
    fn few_files_are_synced_each_and_many_by_their_file_system() -> io::Result<()> {
        assert_eq!(noted(3, true)?, (4, false));
        assert_eq!(noted(MAX_SINGLE_FSYNCS + 5, true)?, (0, true));
        // Where syncfs would not report errors, each file is synced at once, so the number of open descriptors is
        // bounded.
        let (left, whole) = noted(MAX_SINGLE_FSYNCS + 5, false)?;
        assert!(left < MAX_SINGLE_FSYNCS && !whole);
        Ok(())
    }

    #[test]
    fn what_has_nothing_to_sync_is_no_failure() -> io::Result<()> {
        let durable = FsyncSet::new(true);
        let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
        durable.note_file(&null, &AtPath::from_current(Path::new("/dev/null")));
        assert!(durable.finish().is_empty());
        Ok(())
    }
}
