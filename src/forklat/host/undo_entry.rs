//! What can have been changed on a host, and how each of it is undone.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cgroup;
use super::control_files::try_write;
use super::sysctl_change::SysctlChange;
use crate::forklat::error::{ForklatError, cannot};
use crate::report::quote::quote;

/// One change, with all that is needed to undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum UndoEntry {
    /// A sysctl was given another value.
    Sysctl(SysctlChange),
    /// A device was held to a rate by a file of the v1 block controller.
    Throttle {
        /// The file.
        file: PathBuf,
        /// `major:minor`
        device: String,
        /// Bytes a second before; 0 for no limit.
        old: u64,
    },
    /// A v2 control group was made, and processes moved into it.
    Cgroup {
        /// The group.
        path: PathBuf,
        /// Where its processes came from.
        home: PathBuf,
        /// The top of the hierarchy.
        top: PathBuf,
        /// Controllers that were enabled at the top for it.
        enabled: Vec<String>,
        /// Device and inode number; `None` until it is made: no process is moved out of it then, and it goes only if it is
        /// empty.
        #[serde(default)]
        id: Option<(u64, u64)>,
    },
    /// A scratch directory was made.
    Directory {
        /// Its path; not a `PathBuf`, which serde writes only where it is UTF-8.
        path: OsString,
        /// Device and inode number; `None` until it is made: then only an empty one is removed.
        id: Option<(u64, u64)>,
    },
}

impl UndoEntry {
    /// Whether the change is of the running kernel, gone after a reboot, and of all its processes: two forklats at once
    /// would undo each other's.
    #[must_use]
    pub fn is_kernel_state(&self) -> bool {
        !matches!(self, Self::Directory { .. })
    }

    /// Undoes it. What is gone already is no error.
    ///
    /// # Errors
    /// What could not be done, to which file.
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
            Self::Directory { path, id } => remove(Path::new(path), *id),
        }
    }

    /// Takes the limit off a disk and leaves all else as it is; returns whether there was one.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(super) fn lift(&self) -> Result<bool, ForklatError> {
        match self {
            Self::Throttle { file, device, old } => unthrottle(file, device, *old).map(|()| true),
            Self::Cgroup { path, id, .. } => cgroup::clear_io_limits(path, *id),
            Self::Sysctl(_) | Self::Directory { .. } => Ok(false),
        }
    }

    /// What [`undo`](Self::undo) does, in plain words of the past.
    #[must_use]
    pub fn describe_undone(&self) -> String {
        match self {
            Self::Sysctl(change) => change.describe_undone(),
            Self::Throttle { device, old: 0, .. } => format!("took the limit off device {device}"),
            Self::Throttle { device, old, .. } => {
                format!("set the limit of device {device} back to {old} bytes/s")
            }
            Self::Cgroup { path, .. } => format!("removed the control group {}", quote(path)),
            Self::Directory { path, .. } => format!("removed the directory {}", quote(path)),
        }
    }
}

fn unthrottle(file: &Path, device: &str, old: u64) -> Result<(), ForklatError> {
    match try_write(file, &format!("{device} {old}")) {
        Ok(()) => Ok(()),
        // The group has gone, or the device.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
        Err(e) => Err(cannot(format!("write '{device} {old}' to"), file, e)),
    }
}

/// Removes the scratch directory with all in it, if it still is the one that was made, and ours.
fn remove(path: &Path, id: Option<(u64, u64)>) -> Result<(), ForklatError> {
    let dir = match open_ours(path, id) {
        Ok(Some(dir)) => dir,
        Ok(None) => return Ok(()),
        Err(e) => return Err(cannot("remove", path, e)),
    };
    if id.is_some() {
        // Through the descriptor: whatever takes the name of the directory meanwhile is not touched.
        let inside = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        clear(&inside).map_err(|e| cannot("remove what is in", path, e))?;
    }
    // rmdir(2) takes empty directories only; what took the name while this one was cleared is looked at once more.
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

/// `None` where there is nothing of that name.
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

/// Neither call follows a symbolic link; std's `remove_dir_all` goes by descriptors.
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
