//! A file that a report is exported to. It is opened early without being changed, and replaced as a whole where that is
//! possible.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::forklat::error::{ForklatError, failed};
use crate::report::quote::quote;
use crate::sys::std_streams;

/// An export file that was requested, open for writing.
#[derive(Debug)]
pub(super) struct ExportFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Whether this process created the file.
    created: bool,
    standard_output: bool,
}

impl ExportFile {
    /// Opens `path` for writing, or creates it. `-` means standard output.
    pub(super) fn open(path: &Path) -> Result<Self, ForklatError> {
        let standard_output = path == Path::new("-");
        let opened = if standard_output {
            let file = std_streams::stdout().and_then(|out| out.as_fd().try_clone_to_owned());
            file.map(|fd| (File::from(fd), false))
        } else {
            open_or_create(path)
        };
        let with_metadata = opened.and_then(|(file, created)| {
            let metadata = file.metadata()?;
            Ok(Self {
                path: path.to_owned(),
                file,
                metadata,
                created,
                standard_output,
            })
        });
        with_metadata.map_err(|e| cannot_write(path, e))
    }

    /// Returns the name of the file for messages.
    pub(super) fn name(&self) -> String {
        name(&self.path)
    }

    pub(super) fn is_standard_output(&self) -> bool {
        self.standard_output
    }

    /// Returns whether the file is a character device, such as a terminal or /dev/null. It holds no data that a second
    /// export could overwrite.
    pub(super) fn is_device(&self) -> bool {
        self.metadata.file_type().is_char_device()
    }

    /// Returns whether both are the same inode, by whatever names.
    pub(super) fn same(&self, other: &Self) -> bool {
        inode(&self.metadata) == inode(&other.metadata)
    }

    /// Removes the file if this process created it.
    pub(super) fn set_aside(&self) {
        if self.created {
            remove(&self.path, inode(&self.metadata));
        }
    }

    /// Replaces the whole content of the file by `content`. A file that was removed by `set_aside` is created again. If
    /// another process has put a file in its place meanwhile, the report is written to that one, as if it had been
    /// there before.
    pub(super) fn write(self, content: &[u8]) -> Result<(), ForklatError> {
        if self.created && put_new(&self.path, content).map_err(|e| cannot_write(&self.path, e))? {
            return Ok(());
        }
        let target = if self.created || self.has_moved() {
            Self::open(&self.path)?
        } else {
            self
        };
        let path = target.path.clone();
        let created = target.created.then(|| inode(&target.metadata));
        target.store(content).map_err(|e| {
            if let Some(created) = created {
                // A part of a report is worse than no report.
                remove(&path, created);
            }
            cannot_write(&path, e)
        })
    }

    /// Returns whether the name now leads to a different file than when it was opened, or to none.
    fn has_moved(&self) -> bool {
        self.metadata.is_file()
            && !self.standard_output
            && !is_path_of(&self.path, inode(&self.metadata))
    }

    fn store(self, content: &[u8]) -> io::Result<()> {
        if self.created {
            return finish(self.file, content);
        }
        if self.replaceable() && self.replace(content)? {
            return Ok(());
        }
        if self.metadata.is_file() && !self.standard_output {
            self.file.set_len(0)?;
        }
        finish(self.file, content)
    }

    /// Puts a new file in the place of the old one. Returns false if that is impossible and the old one has to be
    /// overwritten.
    fn replace(&self, content: &[u8]) -> io::Result<bool> {
        // If the path is a symbolic link, its target is replaced, not the link.
        let path = self.path.canonicalize()?;
        let Some((beside, file)) = self.create_temp_file(&path) else {
            return Ok(false);
        };
        let made = inode(&file.metadata()?);
        let replaced = finish(file, content).and_then(|()| fs::rename(&beside, &path));
        if replaced.is_err() {
            remove(&beside, made);
        }
        match replaced {
            // The file is a mount point, such as a bind mount in a container.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EXDEV)) => Ok(false),
            replaced => replaced.map(|()| true),
        }
    }

    /// Returns whether a new file under the same name is as good as the old one with new content. The old one must be a
    /// regular file that this user owns and that has no other name.
    fn replaceable(&self) -> bool {
        self.metadata.is_file()
            && !self.standard_output
            && self.metadata.nlink() == 1
            && self.metadata.uid() == nix::unistd::geteuid().as_raw()
            && self.metadata.gid() == nix::unistd::getegid().as_raw()
    }

    /// Creates a new file with the same mode in the same directory. Returns `None` if that is impossible and the old
    /// file has to be overwritten.
    fn create_temp_file(&self, path: &Path) -> Option<(PathBuf, File)> {
        let beside = temp_path(path)?;
        let mode = self.metadata.permissions().mode() & 0o7777;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)
            .ok()?;
        // The umask may have cleared bits that the old file has.
        let made = inode(&file.metadata().ok()?);
        if file.set_permissions(self.metadata.permissions()).is_err() {
            remove(&beside, made);
            return None;
        }
        Some((beside, file))
    }
}

/// Writes a file under a temporary name and gives it the name that nothing has, so that no reader sees a part of it. Returns
/// false if something has the name, also a symbolic link, or if the directory allows no other name.
fn put_new(path: &Path, content: &[u8]) -> io::Result<bool> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let Some(beside) = temp_path(path) else {
        return Ok(false);
    };
    let mut options = OpenOptions::new();
    let Ok(file) = options.write(true).create_new(true).open(&beside) else {
        return Ok(false);
    };
    let made = inode(&file.metadata()?);
    let put = finish(file, content).and_then(|()| fs::rename(&beside, path));
    if put.is_err() {
        remove(&beside, made);
    }
    put.map(|()| true)
}

/// Returns a name in the same directory that no other program uses and that a node exporter does not read.
fn temp_path(path: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name()?);
    name.push(format!(".forklat-{}", std::process::id()));
    Some(path.with_file_name(name))
}

/// Opens a file without changing it. Returns whether it was created.
fn open_or_create(path: &Path) -> io::Result<(File, bool)> {
    // `create_new` would tell whether it was created, but it refuses a link to a file that does not exist yet.
    let existed = path.try_exists()?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    Ok((file, !existed))
}

/// Returns the device and inode number.
fn inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn is_path_of(path: &Path, file: (u64, u64)) -> bool {
    fs::metadata(path).is_ok_and(|now| inode(&now) == file)
}

/// Removes a file that was created, if the path still leads to it. A symbolic link to it was there before and stays.
fn remove(path: &Path, created: (u64, u64)) {
    if is_path_of(path, created) {
        // The error is ignored: another process may have removed the file first.
        let _ = path.canonicalize().and_then(fs::remove_file);
    }
}

/// Writes all of the content and closes the file, since some file systems report errors only at close(2).
fn finish(mut file: File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    nix::unistd::close(file).map_err(io::Error::from)
}

fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard output".into()
    } else {
        quote(path)
    }
}

fn cannot_write(path: &Path, error: io::Error) -> ForklatError {
    failed(format!("write {}", name(path)), error)
}
