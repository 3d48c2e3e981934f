//! The names in the lines of digests: those of the destinations, seen from the directory of the manifest.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::sys::stat::{FileStat, stat};

use super::super::error::{Error, Refusal};
use super::super::file_status::{FileId, file_id};
use crate::sys::lock::lock;

/// Makes the names of a run. Threads share it.
#[derive(Debug)]
pub(in crate::cp) struct LineNames {
    /// The directory of the manifest, without links; `None` without a manifest: then names are as messages show them.
    directory: Option<PathBuf>,
    /// The file that has the name of the manifest until the end of the run.
    old_manifest: Option<FileId>,
    /// The directory of the last destination, as it was named and without links.
    last: Mutex<(PathBuf, PathBuf)>,
}

impl LineNames {
    /// Makes the names for a run with this manifest, if there is one.
    pub(in crate::cp) fn new(manifest: Option<&Path>) -> Self {
        Self {
            directory: manifest.map(|path| without_links(parent(path))),
            old_manifest: manifest.and_then(|path| Some(file_id(&stat(path).ok()?))),
            last: Mutex::default(),
        }
    }

    /// Returns the name of a destination: relative to the directory of the manifest if it is below it, and absolute if it
    /// is elsewhere.
    pub(in crate::cp) fn of(&self, dest: &Path) -> Vec<u8> {
        let Some(directory) = &self.directory else {
            return dest.as_os_str().as_bytes().to_vec();
        };
        let name = dest.file_name().map_or_else(OsString::new, Into::into);
        let path = self.resolve_directory(parent(dest)).join(name);
        let below = path.strip_prefix(directory).unwrap_or(&path);
        below.as_os_str().as_bytes().to_vec()
    }

    /// Fails if a file that is to be copied, or to be overwritten, is the old file of the manifest, which the new one
    /// will replace.
    pub(in crate::cp) fn check_distinct(
        &self,
        (source, from): (&Path, &FileStat),
        (dest, there): (&Path, Option<&FileStat>),
    ) -> Result<(), Error> {
        let is_manifest = |stat: &FileStat| Some(file_id(stat)) == self.old_manifest;
        if is_manifest(from) {
            return Err(Error::refused(Refusal::ManifestIsSource, source, dest));
        }
        if there.is_some_and(is_manifest) {
            return Err(Error::refused(Refusal::ManifestIsDest, source, dest));
        }
        Ok(())
    }

    /// Returns a directory without links in its path, which is asked only when it is not that of the last file.
    fn resolve_directory(&self, directory: &Path) -> PathBuf {
        let mut last = lock(&self.last);
        if last.0 != directory || last.1.as_os_str().is_empty() {
            *last = (directory.into(), without_links(directory));
        }
        last.1.clone()
    }
}

/// Returns the directory that a path names its file in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the absolute path of a directory without links. One that cannot be resolved, for example since its path is
/// longer than the kernel takes, stays as it was named, but absolute.
fn without_links(directory: &Path) -> PathBuf {
    fs::canonicalize(directory)
        .or_else(|_| std::path::absolute(directory))
        .unwrap_or_else(|_| directory.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_below_the_manifest_are_relative_and_others_absolute() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().canonicalize()?;
        let (inner, other) = (root.join("crash/inner"), root.join("other"));
        fs::create_dir_all(&inner)?;
        fs::create_dir(&other)?;
        symlink("crash", root.join("link"))?;
        let names = LineNames::new(Some(&root.join("crash/manifest")));
        let of = |path: PathBuf| String::from_utf8(names.of(&path)).unwrap();
        assert_eq!(of(root.join("crash/a")), "a");
        assert_eq!(of(root.join("link/inner/b")), "inner/b");
        assert_eq!(of(root.join("crash/inner/../c")), "c");
        let elsewhere = other.join("d");
        assert_eq!(of(elsewhere.clone()), elsewhere.display().to_string());
        assert_eq!(LineNames::new(None).of(Path::new("x/y")), b"x/y");
        Ok(())
    }
}
