//! Files without a name, so that nothing is left behind however a prober ends.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::report::quote::cannot;

/// A new file in `dir` with no name: O_TMPFILE, or where the file system lacks that (FUSE), a file that is unlinked at once.
///
/// # Errors
/// In words.
pub(super) fn create(dir: &Path) -> Result<File, String> {
    let nameless = OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o700)
        .custom_flags(libc::O_TMPFILE)
        .open(dir);
    nameless
        .or_else(|e| match e.raw_os_error() {
            // EISDIR is the answer of kernels and file systems that do not know the flag: open(2).
            Some(libc::EOPNOTSUPP | libc::EISDIR) => unlinked(dir),
            _ => Err(e),
        })
        .map_err(|e| cannot("create a file in", dir, &e))
}

fn unlinked(dir: &Path) -> io::Result<File> {
    let name = format!(".forklat-{}", std::process::id());
    let path = dir.join(OsStr::from_bytes(name.as_bytes()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
