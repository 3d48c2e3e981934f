//! A regular file's destination, from open to commit. Commit is a function that can fail, never a Drop.

use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::place::Place;
use crate::report::quote::quote;
use crate::sys::words::reason;

/// An open destination.
#[derive(Debug)]
pub struct Destination {
    /// Open for writing.
    pub file: File,
    /// Whether this run made it, and may remove it.
    pub created: bool,
}

/// Whether a stat is of a regular file.
#[must_use]
pub fn is_regular(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()
}

/// Opens the destination of a regular file. An existing one is as it was; with `force` one that refuses is replaced.
///
/// `removed` is called when a file was removed for that. `mode` is what a new file may have at most for now.
///
/// # Errors
/// A message in cp's words; nothing was changed then, save what `removed` was told of.
pub fn open(
    place: &Place<'_>,
    there: Option<&FileStat>,
    mode: u32,
    force: bool,
    mut removed: impl FnMut(),
) -> Result<Destination, String> {
    if let Some(there) = there {
        // Without O_TRUNC, which would destroy before we know that there is room; and what was swapped in since we looked
        // is left alone.
        match place.open(OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, 0) {
            Ok(file) => return same_as(file, there, place),
            Err(_) if force => {
                place.unlink()?;
                removed();
            }
            Err(e) => return Err(cannot_create(place, &e)),
        }
    }
    create(place, mode)
}

fn same_as(file: File, there: &FileStat, place: &Place<'_>) -> Result<Destination, String> {
    let now = fstat(&file).map_err(|e| cannot_create(place, &e.into()))?;
    if (now.st_dev, now.st_ino) != (there.st_dev, there.st_ino) {
        return Err(format!(
            "not writing to {}, as it was replaced while being copied to",
            quote(place.shown)
        ));
    }
    blocking(file, place)
}

/// An open file that waits again where it must, now that it is known to be the right one.
fn blocking(file: File, place: &Place<'_>) -> Result<Destination, String> {
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_WRONLY))
        .map_err(|e| cannot_create(place, &e.into()))?;
    Ok(Destination {
        file,
        created: false,
    })
}

/// How long to wait for a reader of a FIFO before asking again whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Opens a FIFO for writing when it has a reader, or gives up when `interrupted` says so: open(2) itself would not return
/// for a signal.
///
/// # Errors
/// A message in cp's words.
pub fn open_fifo(place: &Place<'_>, interrupted: impl Fn() -> bool) -> Result<Destination, String> {
    loop {
        match place.open(OFlag::O_WRONLY | OFlag::O_NONBLOCK, 0) {
            Ok(file) => return blocking(file, place),
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) && !interrupted() => {
                std::thread::sleep(PATIENCE);
            }
            Err(e) => return Err(cannot_create(place, &e)),
        }
    }
}

/// Whether a stat is of a FIFO.
#[must_use]
pub fn is_fifo(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits()
}

fn create(place: &Place<'_>, mode: u32) -> Result<Destination, String> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    match place.open(flags, mode) {
        Ok(file) => Ok(Destination {
            file,
            created: true,
        }),
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) && dangling(place) => Err(format!(
            "not writing through dangling symlink {}",
            quote(place.shown)
        )),
        Err(e) => Err(cannot_create(place, &e)),
    }
}

fn dangling(place: &Place<'_>) -> bool {
    place
        .stat(false)
        .is_ok_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits())
}

fn cannot_create(place: &Place<'_>, e: &io::Error) -> String {
    // cp's words for a name with a slash behind that is no directory.
    let slash = place.base.as_encoded_bytes().ends_with(b"/");
    let text = match e.raw_os_error() {
        Some(libc::EISDIR) if slash => reason(&io::Error::from_raw_os_error(libc::ENOTDIR)),
        _ => reason(e),
    };
    format!("cannot create regular file {}: {text}", quote(place.shown))
}

/// Closes, and tells of an error that only close(2) reports (NFS, FUSE).
///
/// # Errors
/// A message in cp's words.
pub fn close(file: File, shown: &Path) -> Result<(), String> {
    match nix::unistd::close(file.into_raw_fd()) {
        // On Linux the descriptor is gone even then.
        Ok(()) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(format!(
            "failed to close {}: {}",
            quote(shown),
            reason(&e.into())
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::AT_FDCWD;
    use std::fs;

    #[test]
    fn what_was_swapped_in_since_we_looked_is_left_alone() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (path, victim) = (dir.path().join("dest"), dir.path().join("victim"));
        fs::write(&path, "old")?;
        fs::write(&victim, "precious")?;
        let place = Place {
            dir: AT_FDCWD,
            base: path.as_os_str(),
            shown: &path,
        };
        let there = place.stat(true)?;
        fs::remove_file(&path)?;
        std::os::unix::fs::symlink(&victim, &path)?;
        let opened = open(&place, Some(&there), 0o600, false, || {});
        assert!(opened.is_err_and(|why| why.contains("was replaced")));
        assert_eq!(fs::read(&victim)?, b"precious");
        Ok(())
    }
}
