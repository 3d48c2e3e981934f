//! The kinds of changes to a host, and how each is undone.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cgroup;
use super::control_files::try_write;
use super::loop_release;
use super::sysctl_change::SysctlChange;
use crate::forklat::error::{ForklatError, cannot};
use crate::report::quote::quote;

/// A change, with all data that is needed to undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum UndoEntry {
    /// A sysctl was given another value.
    Sysctl(SysctlChange),
    /// A device was limited to a rate by a file of the v1 block controller.
    Throttle {
        /// The file of the block controller.
        file: PathBuf,
        /// The device, as `major:minor` numbers.
        device: String,
        /// The rate before, in bytes a second, or 0 for no limit.
        old: u64,
    },
    /// A v2 control group was made, and processes were moved into it.
    Cgroup {
        /// The path of the group.
        path: PathBuf,
        /// The path of the group that its processes came from.
        home: PathBuf,
        /// The path of the top group of the hierarchy.
        top: PathBuf,
        /// The controllers that were enabled at the top for this group.
        enabled: Vec<String>,
        /// The device and inode number, or `None` until the group is made. Without them, no process is moved out of the
        /// group, and it is removed only if it is empty.
        #[serde(default)]
        id: Option<(u64, u64)>,
    },
    /// A loop device was made, and a file attached to it.
    LoopDevice {
        /// The number of the device, 9 for `loop9`.
        number: i32,
        /// The device and inode number of the file. A device that has another file is left alone.
        backing: (u64, u64),
    },
    /// A file system was mounted.
    Mount {
        /// The absolute path of the mount point. It is not a `PathBuf`, which serde can write only if it is UTF-8.
        path: OsString,
        /// The device of the file system, as `major:minor` numbers. Another file system on this path is left alone.
        device: String,
    },
    /// A scratch directory was made.
    Directory {
        /// Its path. It is not a `PathBuf`, which serde can write only if it is UTF-8.
        path: OsString,
        /// The device and inode number, or `None` until the directory is made. Without them, it is removed only if it
        /// is empty.
        id: Option<(u64, u64)>,
    },
}

impl UndoEntry {
    /// Returns whether the change is to the running kernel. Such a change ends with a reboot and affects all processes,
    /// so two forklats at once would undo each other's changes.
    #[must_use]
    pub fn is_kernel_state(&self) -> bool {
        !matches!(self, Self::Directory { .. })
    }

    /// Undoes the change. Something that is already gone is no error.
    ///
    /// # Errors
    /// The action that failed, and the file that it failed on.
    pub fn undo(&self) -> Result<(), ForklatError> {
        match self {
            Self::Sysctl(change) => change.undo(),
            Self::Throttle { file, device, old } => unthrottle(file, device, *old),
            Self::Cgroup {
                path,
                home,
                top,
                enabled,
                id,
            } => cgroup::remove_group(path, *id, home, top, enabled),
            Self::LoopDevice { number, backing } => loop_release::remove_device(*number, *backing),
            Self::Mount { path, device } => loop_release::unmount(Path::new(path), device),
            Self::Directory { path, id } => remove(Path::new(path), *id),
        }
    }

    /// Removes the limit from a disk and leaves everything else unchanged. Returns whether there was one.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(super) fn lift(&self) -> Result<bool, ForklatError> {
        match self {
            Self::Throttle { file, device, old } => unthrottle(file, device, *old).map(|()| true),
            Self::Cgroup { path, id, .. } => cgroup::clear_io_limits(path, *id),
            Self::Sysctl(_)
            | Self::LoopDevice { .. }
            | Self::Mount { .. }
            | Self::Directory { .. } => Ok(false),
        }
    }

    /// Describes in the past tense what [`undo`](Self::undo) has done, for a message.
    #[must_use]
    pub fn describe_undone(&self) -> String {
        match self {
            Self::Sysctl(change) => change.describe_undone(),
            Self::Throttle { device, old: 0, .. } => format!("took the limit off device {device}"),
            Self::Throttle { device, old, .. } => {
                format!("set the limit of device {device} back to {old} bytes/s")
            }
            Self::Cgroup { path, .. } => format!("removed the control group {}", quote(path)),
            Self::LoopDevice { number, .. } => format!("removed the loop device {number}"),
            Self::Mount { path, .. } => format!("unmounted {}", quote(path)),
            Self::Directory { path, .. } => format!("removed the directory {}", quote(path)),
        }
    }
}

fn unthrottle(file: &Path, device: &str, old: u64) -> Result<(), ForklatError> {
    match try_write(file, &format!("{device} {old}")) {
        Ok(()) => Ok(()),
        // The group or the device is gone.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
        Err(e) => Err(cannot(format!("write '{device} {old}' to"), file, e)),
    }
}

/// Removes the scratch directory and its content, if it is still the one that was made and belongs to this user.
fn remove(path: &Path, id: Option<(u64, u64)>) -> Result<(), ForklatError> {
    let dir = match open_ours(path, id) {
        Ok(Some(dir)) => dir,
        Ok(None) => return Ok(()),
        Err(e) => return Err(cannot("remove", path, e)),
    };
    if id.is_some() {
        // The path goes through the descriptor, so a directory that takes the name meanwhile is not touched.
        let inside = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        clear(&inside).map_err(|e| cannot("remove what is in", path, e))?;
    }
    // rmdir(2) removes only empty directories. The name is checked once more, since another file may have taken it
    // meanwhile.
    let opened = dir.metadata().map(|meta| (meta.dev(), meta.ino()));
    match opened.and_then(|opened| open_ours(path, Some(opened))) {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(()),
        Err(e) => return Err(cannot("remove", path, e)),
    }
    match std::fs::remove_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path, e)),
        _ => Ok(()),
    }
}

/// Opens the directory if it is the one that was made and belongs to this user. Returns `None` if there is nothing of
/// that name.
fn open_ours(path: &Path, id: Option<(u64, u64)>) -> io::Result<Option<File>> {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path);
    let dir = match opened {
        Ok(dir) => dir,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let meta = dir.metadata()?;
    let same = id.is_none_or(|id| id == (meta.dev(), meta.ino()));
    if same && meta.uid() == nix::unistd::geteuid().as_raw() {
        Ok(Some(dir))
    } else {
        Err(io::Error::other("it is not the directory that was made"))
    }
}

/// Removes the content of a directory. Neither call follows a symbolic link; `remove_dir_all` of std uses descriptors.
fn clear(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory(path: &Path, made: bool) -> UndoEntry {
        let meta = std::fs::symlink_metadata(path).unwrap();
        UndoEntry::Directory {
            path: path.into(),
            id: made.then(|| (meta.dev(), meta.ino())),
        }
    }

    #[test]
    fn a_scratch_directory_goes_and_what_its_links_point_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, other) = (dir.path().join("scratch"), dir.path().join("other"));
        std::fs::create_dir_all(scratch.join("deep")).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("kept"), "").unwrap();
        std::fs::write(scratch.join("deep/file"), "").unwrap();
        symlink(&other, scratch.join("link")).unwrap();
        symlink(&other, scratch.join("deep/link")).unwrap();
        let entry = directory(&scratch, true);
        assert_eq!(entry.undo(), Ok(()));
        assert!(!scratch.exists() && other.join("kept").exists());
        assert_eq!(entry.undo(), Ok(()));
    }

    #[test]
    fn what_took_the_name_of_a_scratch_directory_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, other) = (dir.path().join("scratch"), dir.path().join("other"));
        std::fs::create_dir(&scratch).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("kept"), "").unwrap();
        let entry = directory(&scratch, true);
        std::fs::rename(&scratch, dir.path().join("away")).unwrap();
        symlink(&other, &scratch).unwrap();
        assert!(entry.undo().is_err());
        std::fs::remove_file(&scratch).unwrap();
        std::fs::rename(&other, &scratch).unwrap();
        assert!(
            entry
                .undo()
                .unwrap_err()
                .to_string()
                .contains("not the directory")
        );
        assert!(scratch.join("kept").exists());
    }

    #[test]
    fn a_directory_of_unknown_number_goes_only_when_empty() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        std::fs::write(scratch.join("file"), "").unwrap();
        let entry = directory(&scratch, false);
        assert!(entry.undo().unwrap_err().to_string().contains("not empty"));
        std::fs::remove_file(scratch.join("file")).unwrap();
        assert_eq!(entry.undo(), Ok(()));
        assert!(!scratch.exists());
    }

    #[test]
    fn a_throttle_whose_group_has_gone_is_undone() {
        let entry = |file: &Path| UndoEntry::Throttle {
            file: file.into(),
            device: "254:0".into(),
            old: 5,
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("limit");
        assert_eq!(entry(&file).undo(), Ok(()));
        std::fs::write(&file, "254:0 100\n").unwrap();
        assert_eq!(entry(&file).undo(), Ok(()));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "254:0 5");
    }
}
