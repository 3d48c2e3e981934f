//! Reads small files of the kernel below a root that tests can choose, with errors in words.

use std::path::{Path, PathBuf};

use crate::observe::error::{ObserveError, cannot};

/// Returns where the absolute `path` lies below `root`.
pub(crate) fn path_below(root: &Path, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Reads a whole file, without the blanks around its text.
pub(crate) fn read_trimmed(path: &Path) -> Result<String, ObserveError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) => Err(cannot("read", path, e)),
    }
}

/// Calls [`read_trimmed`] below `root`; returns `None` if the file cannot be read or is empty.
pub(crate) fn read_optional(root: &Path, path: impl AsRef<Path>) -> Option<String> {
    let text = read_trimmed(&path_below(root, path)).ok()?;
    (!text.is_empty()).then_some(text)
}

/// Returns the choice in brackets of a file that lists all of them: `always [madvise] never`.
pub(crate) fn bracketed_choice(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(choice, _)| choice.to_owned())
}

/// Makes a root with these files, for a test.
#[cfg(test)]
pub(crate) fn root_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}
