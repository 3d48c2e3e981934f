//! A mark on a source that is freed in part: an extended attribute with the path of the file that has its first bytes.
//!
//! The state of the copy lies beside the destination, where a copy to another one does not find it. hugetlbfs has no such
//! attributes, and neither has tmpfs before Linux 6.6 for users other than root.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use xattr::FileExt;

use crate::cp::attrs::DRAIN_MARKS;

/// Marks a source as freed in part, where that is possible.
pub(super) fn mark_source(source: &File, dest: &Path) {
    if freed_into(source).is_some() {
        return;
    }
    let path = std::path::absolute(dest);
    let path = path.as_deref().unwrap_or(dest).as_os_str().as_bytes();
    let _ = DRAIN_MARKS
        .iter()
        .any(|name| source.set_xattr(name, path).is_ok());
}

/// Returns the path of the file that has what was freed of a source, if it is marked.
pub(in crate::cp) fn freed_into(source: &File) -> Option<PathBuf> {
    let found = DRAIN_MARKS
        .iter()
        .find_map(|name| source.get_xattr(name).ok().flatten())?;
    Some(OsString::from_vec(found).into())
}
