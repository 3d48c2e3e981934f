//! Which source goes to which name: the last operand a directory or not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use super::options::{Options, Target};
use crate::report::quote::quote;
use crate::sys::words::reason;

/// One operand and the name it is copied to.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// As the user wrote it.
    pub source: PathBuf,
    /// The name to make.
    pub dest: PathBuf,
}

/// Pairs each source with its destination.
///
/// # Errors
/// A message in cp's words when what must be a directory is none.
pub fn jobs(options: &Options) -> Result<Vec<Job>, String> {
    let each = |dest: &dyn Fn(&Path) -> PathBuf| {
        let job = |source: &PathBuf| Job {
            source: source.clone(),
            dest: dest(source),
        };
        Ok(options.sources.iter().map(job).collect())
    };
    let into = |directory: &Path| each(&|source| inside(directory, source));
    let exactly = |dest: &Path| each(&|_| dest.to_owned());
    match &options.target {
        Target::Directory(dir) => match directory(dir) {
            Ok(()) => into(dir),
            Err(e) => Err(format!(
                "target directory {}: {}",
                quote(dir),
                reason(&e.into())
            )),
        },
        Target::Exact(dest) => exactly(dest),
        Target::Either(dest) => match directory(dest) {
            Ok(()) => into(dest),
            Err(e) if options.sources.len() > 1 => {
                Err(format!("target {}: {}", quote(dest), reason(&e.into())))
            }
            Err(_) => exactly(dest),
        },
    }
}

fn directory(path: &Path) -> Result<(), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(AT_FDCWD, path, flags, Mode::empty()).map(drop)
}

/// `directory/` and the last component of `source`, joined by cp's rules: one slash between, the trailing ones of
/// the source gone, and nothing added for `..`.
fn inside(directory: &Path, source: &Path) -> PathBuf {
    let bytes = source.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let start = bytes[..end]
        .iter()
        .rposition(|b| *b == b'/')
        .map_or(0, |i| i + 1);
    match &bytes[start..end] {
        b".." => directory.into(),
        name => join(directory, OsStr::from_bytes(name)),
    }
}

/// Two parts of a path with one slash between, and no more said than cp says.
#[must_use]
pub fn join(directory: &Path, name: &OsStr) -> PathBuf {
    let mut bytes = directory.as_os_str().as_bytes().to_vec();
    if !bytes.ends_with(b"/") {
        bytes.push(b'/');
    }
    bytes.extend_from_slice(name.as_bytes());
    PathBuf::from(OsStr::from_bytes(&bytes).to_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_inside_a_directory_are_made_as_cp_makes_them() {
        for (source, want) in [
            ("a", "d/a"),
            ("x/a", "d/a"),
            ("x/a//", "d/a"),
            ("x/.", "d/."),
            ("x/..", "d"),
        ] {
            assert_eq!(inside(Path::new("d"), Path::new(source)), Path::new(want));
        }
        assert_eq!(inside(Path::new("d//"), Path::new("a")).as_os_str(), "d//a");
    }
}
