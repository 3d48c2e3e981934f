//! The kernel's small files under /proc and /sys, below a root that tests can choose, with errors in words.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::report::quote::quote;
use crate::sys::words::reason;

/// "cannot write '/proc/sys/vm/x': Permission denied"
pub(super) fn cannot(verb: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {verb} {}: {}", quote(path), reason(error))
}

/// Where an absolute path lies below `root`.
pub(super) fn below(root: &Path, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// A whole file, without the blanks around it.
pub(super) fn read(path: &Path) -> Result<String, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) => Err(cannot("read", path, &e)),
    }
}

/// One write(2), as these files want it; a file that does not exist is not made.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    try_write(path, text).map_err(|e| cannot(&format!("write '{text}' to"), path, &e))
}

/// [`write`], with the error as it came.
pub(super) fn try_write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Whether a file may be written, without writing.
pub(super) fn writable(path: &Path) -> Result<(), String> {
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(cannot("open", path, &e)),
    }
}

/// The number before "kB" of a field of /proc/meminfo, in bytes.
pub(super) fn kilobytes(meminfo: &[u8], field: &[u8]) -> Option<u64> {
    let line = meminfo
        .split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(b":"))?;
    let text = std::str::from_utf8(line).ok()?.trim();
    let number: u64 = text.strip_suffix("kB")?.trim_end().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::kilobytes;

    #[test]
    fn a_field_of_meminfo_is_read_in_bytes() {
        let text = b"MemTotal:       24684092 kB\nMemFree:  3 kB\nHugePages_Total:       0\n";
        assert_eq!(kilobytes(text, b"MemTotal"), Some(24_684_092 << 10));
        assert_eq!(kilobytes(text, b"MemFree"), Some(3 << 10));
        for missing in [&b"MemAvailable"[..], b"Mem", b"HugePages_Total"] {
            assert_eq!(kilobytes(text, missing), None);
        }
    }
}
