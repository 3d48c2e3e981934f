//! Writing to the kernel's small files under /proc and /sys, with errors in words.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::forklat::error::{ForklatError, cannot};
use crate::observe::kernel_file::read_trimmed;
use crate::report::quote::quote;

/// One write(2), as these files want it; a file that does not exist is not made.
pub(super) fn write(path: &Path, text: &str) -> Result<(), ForklatError> {
    try_write(path, text).map_err(|e| cannot(format!("write '{text}' to"), path, e))
}

/// [`write()`], with the error as it came.
pub(super) fn try_write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Whether a file may be written, without writing.
pub(super) fn check_writable(path: &Path) -> Result<(), ForklatError> {
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(cannot("open", path, e)),
    }
}

/// Makes sure that a value that was written is what is read: the kernel clamps or rounds some.
pub(super) fn verify(file: &Path, value: &str) -> Result<(), ForklatError> {
    let now = read_trimmed(file)?;
    if now.split_whitespace().eq(value.split_whitespace()) {
        Ok(())
    } else {
        Err(format!("wrote '{value}' to {}, but it says '{now}'", quote(file)).into())
    }
}
