//! Matches file names against the patterns of the shell.
#![allow(unsafe_code)]

use std::ffi::CStr;

/// Returns whether `name` matches `pattern`, by fnmatch(3) without flags: `*`, `?`, `[...]` and the backslash.
#[must_use]
pub fn matches(pattern: &CStr, name: &CStr) -> bool {
    // SAFETY: both are valid C strings, which fnmatch only reads.
    unsafe { libc::fnmatch(pattern.as_ptr(), name.as_ptr(), 0) == 0 }
}

/// Returns whether `path` matches `pattern` as in a shell: like [`matches()`], but only a slash matches a slash
/// (`FNM_PATHNAME`).
#[must_use]
pub fn matches_path(pattern: &CStr, path: &CStr) -> bool {
    // SAFETY: both are valid C strings, which fnmatch only reads.
    unsafe { libc::fnmatch(pattern.as_ptr(), path.as_ptr(), libc::FNM_PATHNAME) == 0 }
}
