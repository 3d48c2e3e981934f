//! A directory that is being copied. The last task that works in it completes it. It is open on both sides while files
//! are copied in it; while the walk is far below, it is closed ([`super::open_directories`]).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, fstat};

use super::CopyRun;
use super::name_folding::NameRule;
use crate::cp::at_path::{AtPath, DirHandle};
use crate::cp::error::ReplacedWhileCopied;
use crate::cp::file_status::{FileId, file_id};
use crate::cp::fsync_set::FsyncSet;
use crate::cp::operands::join;
use crate::report::OrderedOutput;
use crate::sys::lock::lock;

/// A directory that is being copied.
pub(super) struct ActiveDirectory {
    source: DirectorySide,
    dest: DirectorySide,
    /// The path of the source, if it could not be opened for listing. The directory then has no children.
    unlisted: Option<AtPath>,
    open: Mutex<DirectoryHandles>,
    names: NameRule,
    from: FileStat,
    /// The mode that mkdir(2) gave the directory, if this run made it.
    made: Option<u32>,
    above: Option<Arc<ActiveDirectory>>,
    /// Number of users that still work in it: the walk, files in flight, and directories in it.
    busy: AtomicUsize,
    /// The output for messages about its completion.
    voice: Mutex<Option<OrderedOutput>>,
}

/// One side of a directory, source or destination, with the facts by which it is found again in its parent.
struct DirectorySide {
    name: OsString,
    shown: PathBuf,
    identity: FileId,
    /// Whether the name is followed if it is a symbolic link.
    follow: bool,
}

/// The descriptors of a directory, where they are open.
#[derive(Debug, Clone, Default)]
pub(super) struct DirectoryHandles {
    pub(super) listing: Option<Arc<DirHandle>>,
    pub(super) dest: Option<Arc<DirHandle>>,
}

/// The facts about a directory that the walk enters.
pub(super) struct Entered<'a> {
    pub(super) source: &'a AtPath,
    pub(super) dest: &'a AtPath,
    /// Whether the name of the source, and that of the destination, are followed if they are symbolic links.
    pub(super) follow: (bool, bool),
    /// The source, open; `None` where it could not be opened.
    pub(super) listing: Option<File>,
    pub(super) target: File,
    /// The inode of the destination.
    pub(super) identity: FileId,
    pub(super) names: NameRule,
    pub(super) from: FileStat,
    pub(super) made: Option<u32>,
    pub(super) above: Option<Arc<ActiveDirectory>>,
}

impl ActiveDirectory {
    /// Begins a directory. The caller is its first user until it calls [`Self::remove_user`].
    pub(super) fn new(entered: Entered<'_>) -> Arc<Self> {
        if let Some(above) = &entered.above {
            above.add_user();
        }
        let side = |anchor: &AtPath, identity, follow| DirectorySide {
            name: anchor.path().to_owned(),
            shown: anchor.shown().to_owned(),
            identity,
            follow,
        };
        let (source, dest) = entered.follow;
        let unlisted = entered.listing.is_none();
        Arc::new(Self {
            source: side(entered.source, file_id(&entered.from), source),
            dest: side(entered.dest, entered.identity, dest),
            unlisted: unlisted.then(|| entered.source.clone()),
            open: Mutex::new(DirectoryHandles {
                listing: entered.listing.map(|file| Arc::new(DirHandle::Open(file))),
                dest: Some(Arc::new(DirHandle::Open(entered.target))),
            }),
            names: entered.names,
            from: entered.from,
            made: entered.made,
            above: entered.above,
            busy: AtomicUsize::new(1),
            voice: Mutex::new(None),
        })
    }

    /// Returns the descriptors that are open now. They stay open as long as the caller keeps them.
    pub(super) fn folders(&self) -> DirectoryHandles {
        self.open().clone()
    }

    /// Returns whether the destination is open, and the source where it can be listed.
    pub(super) fn is_open(&self) -> bool {
        self.open().dest.is_some()
    }

    /// Closes both sides as soon as the last task that works in them is done.
    pub(super) fn close_folders(&self) {
        *self.open() = DirectoryHandles::default();
    }

    /// Opens both sides again by the entry `..` of a directory below.
    ///
    /// # Errors
    /// Returns the error of openat(2), or an error if this is another directory than the one that was left, as when a
    /// link was followed to the one below.
    pub(super) fn reopen_from_below(&self, below: &Self) -> io::Result<()> {
        let below = below.folders();
        let up = |folder: &Option<Arc<DirHandle>>, side: &DirectorySide, place_only| {
            let folder = folder.as_ref().ok_or(Errno::EBADF)?;
            open_same(folder, OsStr::new(".."), side, false, place_only)
        };
        let listing = up(&below.listing, &self.source, false)?;
        let dest = up(&below.dest, &self.dest, true)?;
        self.set_folders(listing, dest);
        Ok(())
    }

    /// Opens both sides again by their names in the parent directory, which must be open.
    ///
    /// # Errors
    /// Returns the error of openat(2), or an error if another directory has the name now.
    pub(super) fn reopen_by_name(&self) -> io::Result<()> {
        let above = self.above.as_ref().ok_or(Errno::EBADF)?.folders();
        let down = |folder: &Option<Arc<DirHandle>>, side: &DirectorySide, place_only| {
            let folder = folder.as_ref().ok_or(Errno::EBADF)?;
            open_same(folder, &side.name, side, side.follow, place_only)
        };
        let listing = down(&above.listing, &self.source, false)?;
        let dest = down(&above.dest, &self.dest, true)?;
        self.set_folders(listing, dest);
        Ok(())
    }

    fn set_folders(&self, listing: File, dest: File) {
        *self.open() = DirectoryHandles {
            listing: Some(Arc::new(DirHandle::Open(listing))),
            dest: Some(Arc::new(DirHandle::Open(dest))),
        };
    }

    fn open(&self) -> MutexGuard<'_, DirectoryHandles> {
        lock(&self.open)
    }

    /// Returns the parent directory, if this directory is no operand.
    pub(super) fn above(&self) -> Option<&Arc<Self>> {
        self.above.as_ref()
    }

    /// Returns the paths of source and destination, for messages.
    pub(super) fn shown(&self) -> (&Path, &Path) {
        (&self.source.shown, &self.dest.shown)
    }

    /// Returns the rule by which names in the destination identify files.
    pub(super) fn names(&self) -> NameRule {
        self.names
    }

    /// Returns the device that the source is on.
    pub(super) fn device(&self) -> u64 {
        self.from.st_dev
    }

    /// Returns whether this run made the directory.
    pub(super) fn is_new(&self) -> bool {
        self.made.is_some()
    }

    /// Returns whether this run made the directory, or one above it.
    pub(super) fn is_within_new(&self) -> bool {
        let mut level = Some(self);
        while let Some(this) = level {
            if this.is_new() {
                return true;
            }
            level = this.above.as_deref();
        }
        false
    }

    /// Returns the paths of an entry in the directory, on both sides.
    pub(super) fn child(&self, name: &OsStr) -> Option<(AtPath, AtPath)> {
        let side = |folder: &Arc<DirHandle>, shown: &Path| {
            AtPath::new(Arc::clone(folder), name, join(shown, name))
        };
        let open = self.open();
        let source = side(open.listing.as_ref()?, &self.source.shown);
        let dest = side(open.dest.as_ref()?, &self.dest.shown);
        Some((source, dest))
    }

    /// Notes the names of this directory and of those above it that this run made, for files in it that must be durable
    /// before the directory is complete.
    pub(super) fn note_names_above(&self, fsync_set: &FsyncSet) {
        let mut level = Some(self);
        while let Some(this) = level {
            match this.folders().dest.as_deref().and_then(file) {
                Some(dest) => fsync_set.note_directory(dest, &this.dest.shown),
                None => fsync_set.note_closed_directory(),
            }
            level = this.above.as_deref().filter(|_| this.is_new());
        }
    }

    /// Counts one more user of the directory.
    pub(super) fn add_user(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the walk's use of the directory. The last messages about it are printed with `voice`.
    pub(super) fn close(level: Arc<Self>, voice: OrderedOutput, run: &CopyRun<'_>) {
        *lock(&level.voice) = Some(voice);
        Self::remove_user(level, run);
    }

    /// Counts one user fewer. The last user completes the directory, which then no longer uses its parent.
    pub(super) fn remove_user(level: Arc<Self>, run: &CopyRun<'_>) {
        let mut level = level;
        while level.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            level.complete(run);
            let Some(above) = level.above.clone() else {
                return;
            };
            level = above;
        }
    }

    fn complete(&self, run: &CopyRun<'_>) {
        let mut voice = lock(&self.voice).take();
        let open = self.folders();
        // If it is `None`, it could not be opened again, and that has been reported.
        let Some(dest) = open.dest.as_deref().and_then(file) else {
            return;
        };
        let listing = open.listing.as_deref().and_then(file);
        let place = match (&self.unlisted, open.listing.as_ref().or(open.dest.as_ref())) {
            (None, Some(folder)) => AtPath::new(Arc::clone(folder), ".", &*self.source.shown),
            (Some(anchor), _) => anchor.clone(),
            (None, None) => return,
        };
        let source = (&place, listing);
        let target = (dest, &*self.dest.shown);
        let attributes = run.attributes();
        let finished = attributes.finish_directory(source, &self.from, target, self.made);
        if let Some(voice) = &mut voice {
            for error in &finished.errors {
                voice.diagnose(error);
            }
        }
        if finished.is_incomplete {
            run.fail();
        }
        run.cx.fsync_set.note_directory(dest, &self.dest.shown);
    }
}

/// Opens a directory that was open before, and no other.
fn open_same(
    dir: &Arc<DirHandle>,
    base: &OsStr,
    side: &DirectorySide,
    follow: bool,
    place_only: bool,
) -> io::Result<File> {
    let place = AtPath::new(Arc::clone(dir), base, &*side.shown);
    let mut flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    flags.set(OFlag::O_NOFOLLOW, !follow);
    let file = match place.open(flags, 0) {
        // A directory that may be searched but not listed is enough for making files in it.
        Err(e) if place_only && e.raw_os_error() == Some(libc::EACCES) => {
            place.open(flags | OFlag::O_PATH, 0)
        }
        other => other,
    }?;
    if file_id(&fstat(&file)?) == side.identity {
        Ok(file)
    } else {
        Err(ReplacedWhileCopied.into())
    }
}

fn file(folder: &DirHandle) -> Option<&File> {
    match folder {
        DirHandle::Open(file) => Some(file),
        DirHandle::Current => None,
    }
}
