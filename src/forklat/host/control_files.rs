//! Writes the kernel's control files under /proc and /sys, and reports errors with the file and the value.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::forklat::error::{ForklatError, cannot};
use crate::observe::kernel_file::read_trimmed;
use crate::report::quote::quote;

/// Writes `text` by one write(2), as these files require. A file that does not exist is not created.
pub(super) fn write(path: &Path, text: &str) -> Result<(), ForklatError> {
    try_write(path, text).map_err(|e| cannot(format!("write '{text}' to"), path, e))
}

/// Writes like [`write()`], and returns the error of the system unchanged.
pub(super) fn try_write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Checks whether a file may be written, without writing to it.
pub(super) fn check_writable(path: &Path) -> Result<(), ForklatError> {
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(cannot("open", path, e)),
    }
}

/// Checks that the file has the value that was written, since the kernel clamps or rounds some values.
pub(super) fn verify(file: &Path, value: &str) -> Result<(), ForklatError> {
    let now = read_trimmed(file)?;
    if now.split_whitespace().eq(value.split_whitespace()) {
        Ok(())
    } else {
        Err(format!(
            "wrote '{value}' to {}, but it now contains '{now}'",
            quote(file)
        )
        .into())
    }
}
