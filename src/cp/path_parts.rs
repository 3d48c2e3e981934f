//! Splits a path as it was written into its parent and its last component.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns the part before the last component, including its slash, and that component without its trailing slashes.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let start = path[..end]
        .iter()
        .rposition(|b| *b == b'/')
        .map_or(0, |i| i + 1);
    if end == 0 {
        // The root is an entry of itself.
        return (path, b"/");
    }
    (&path[..start], &path[start..end])
}

/// Returns the last component of a path, without its trailing slashes.
#[must_use]
pub fn last_component(path: &Path) -> &OsStr {
    OsStr::from_bytes(split(path.as_os_str().as_bytes()).1)
}

/// Returns the path of another name in the same directory.
#[must_use]
pub fn sibling_path(path: &OsStr, name: &OsStr) -> OsString {
    let mut other = OsStr::from_bytes(split(path.as_bytes()).0).to_owned();
    other.push(name);
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_before_its_last_component() {
        for (path, above, name) in [
            ("a", "", "a"),
            ("a/b", "a/", "b"),
            ("a/b//", "a/", "b"),
            ("/a", "/", "a"),
            ("//", "//", "/"),
            ("x/..", "x/", ".."),
        ] {
            let want = (above.as_bytes(), name.as_bytes());
            assert_eq!(split(path.as_bytes()), want, "{path}");
        }
    }
}
