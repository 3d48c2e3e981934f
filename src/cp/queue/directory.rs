//! The directories of the queues: `mmapcp/VERSION/QUEUE` below `/run` or `$XDG_RUNTIME_DIR`, each of them open only to
//! one user.
//!
//! Whoever can open a file can lock it, so others must not even be able to search these directories: then they can neither
//! block a queue nor see what is in it. Every step goes through a descriptor of the directory above, and follows no link.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::error::{DirectoryFlaw, QueueError, QueueStep};

/// The directory of this program.
const PROGRAM_DIRECTORY: &str = "mmapcp";

/// The version of what is below: names of tickets, and the protocol of their locks. Another version has another directory.
const VERSION: &str = "v1";

/// Where root keeps the state of running programs.
const ROOT_BASE: &str = "/run";

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// An open directory that belongs to this user alone.
#[derive(Debug)]
pub(super) struct Directory {
    file: File,
    path: PathBuf,
}

/// Whether a directory that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made with mode 0700.
    Make,
    /// It is not made, and stays missing.
    Leave,
}

/// All queues of this user: the directory of this version, and what other versions have beside it.
#[derive(Debug)]
pub(super) struct QueueDirectories {
    program: Directory,
    version: Directory,
}

impl QueueDirectories {
    /// Opens the directories. Returns `None` if there are none, and none are made.
    pub(super) fn open(missing: Missing) -> Result<Option<Self>, QueueError> {
        let base = Directory::open_base(base_path()?)?;
        let Some(program) = base.child(PROGRAM_DIRECTORY, missing)? else {
            return Ok(None);
        };
        let version = program.child(VERSION, missing)?;
        Ok(version.map(|version| Self { program, version }))
    }

    /// Opens the directory of a queue, made if need be. Returns `None` if the last of its copies has left and removed it
    /// meanwhile.
    pub(super) fn make_queue(&self, name: &str) -> Result<Option<Directory>, QueueError> {
        self.version.child(name, Missing::Make)
    }

    /// Opens the directory of a queue, if it is there.
    pub(super) fn find_queue(&self, name: &str) -> Result<Option<Directory>, QueueError> {
        self.version.child(name, Missing::Leave)
    }

    /// Returns the names of all queues, in their order.
    pub(super) fn queue_names(&self) -> Result<Vec<String>, QueueError> {
        let names = self.version.names()?;
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes the directory of a queue if nobody is in it.
    pub(super) fn remove_if_empty(&self, queue: &str) {
        // Whoever joins at this moment makes the directory anew.
        let _ = unlinkat(&self.version.file, queue, UnlinkatFlags::RemoveDir);
    }

    /// Returns where another version of the program has a queue of this name, or any for `None`.
    pub(super) fn other_version(&self, queue: Option<&str>) -> Result<Option<PathBuf>, QueueError> {
        let names = self.program.names()?;
        let others = names.into_iter().filter(|name| *name != *VERSION);
        let mut paths = others.map(|name| {
            let path = self.program.path.join(name);
            queue.map_or(path.clone(), |queue| path.join(queue))
        });
        Ok(paths.find(|path| path.symlink_metadata().is_ok()))
    }
}

impl Directory {
    fn open_base(path: PathBuf) -> Result<Self, QueueError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match openat(AT_FDCWD, &path, flags, Mode::empty()) {
            Ok(dir) => Ok(Self {
                file: dir.into(),
                path,
            }),
            Err(e) => Err(QueueError::io(QueueStep::Open, path, e)),
        }
    }

    /// Opens a directory below this one.
    fn child(&self, name: &str, missing: Missing) -> Result<Option<Self>, QueueError> {
        let path = self.path.join(name);
        if missing == Missing::Make {
            match mkdirat(&self.file, name, Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => return Err(QueueError::io(QueueStep::Make, path, e)),
            }
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(&self.file, name, flags, Mode::empty()) {
            Ok(dir) => File::from(dir),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let flaw = DirectoryFlaw::NotDirectory;
                return Err(QueueError::Unsafe { path, flaw });
            }
            Err(e) => return Err(QueueError::io(QueueStep::Open, path, e)),
        };
        let stat = fstat(&file).map_err(|e| QueueError::io(QueueStep::Open, &path, e))?;
        match flaw_of(stat.st_uid, stat.st_mode) {
            Some(flaw) => Err(QueueError::Unsafe { path, flaw }),
            None => Ok(Some(Self { file, path })),
        }
    }

    /// Returns the open directory itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the path for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names in the directory, except `.` and `..`.
    pub(super) fn names(&self) -> Result<Vec<OsString>, QueueError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let failed = |e| QueueError::io(QueueStep::List, &self.path, e);
        let mut dir = Dir::openat(&self.file, ".", flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        Ok(names)
    }
}

/// Returns the directory below which this user has its queues.
fn base_path() -> Result<PathBuf, QueueError> {
    if geteuid().is_root() {
        return Ok(ROOT_BASE.into());
    }
    let named =
        std::env::var_os("XDG_RUNTIME_DIR").filter(|path| path.as_bytes().starts_with(b"/"));
    named.map_or(Err(QueueError::NoRuntimeDirectory), |path| Ok(path.into()))
}

/// Returns what is wrong with a directory of this owner and mode.
fn flaw_of(owner: u32, mode: u32) -> Option<DirectoryFlaw> {
    if owner != geteuid().as_raw() {
        Some(DirectoryFlaw::Owner(owner))
    } else if mode & OTHERS != 0 {
        Some(DirectoryFlaw::Mode(mode & 0o7777))
    } else {
        None
    }
}
