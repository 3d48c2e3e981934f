//! Pairs sources with destinations: decides whether the last operand is a directory, and how much of a source's path is
//! made below it.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, stat};

use super::error::{Error, Operation, Refusal};
use super::file_status;
use super::options::{CopyOptions, DestOperand};

/// The facts about a destination that are known before the walk examines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestKnowledge {
    /// Nothing is known of the destination.
    Unknown,
    /// Following the name leads to no file: there is no entry, or a dangling link.
    MissingOrDangling,
    /// There is no entry, since this run made the directory.
    Missing,
}

/// One operand and the name that it is copied to.
#[derive(Debug, PartialEq, Eq)]
pub struct OperandJob {
    /// The path as the user wrote it, without the trailing slashes that --strip-trailing-slashes drops.
    pub source: PathBuf,
    /// The path to create, as messages show it: below [`OperandJobs::directory`] where there is one.
    pub dest: PathBuf,
    /// The offset in `dest` of the name relative to [`OperandJobs::directory`]; 0 without a directory. If it is the end
    /// of `dest`, that name is empty: `cp -r / DIR`, which fails as such a name does.
    pub below: usize,
    /// With --parents, the offset in `dest` of the whole path of the source, which includes its leading slashes but no
    /// trailing ones. The components between this offset and the last component are the directories to make, each with
    /// the attributes of the source directory whose path is `dest` from this offset to that component.
    pub parents_at: Option<usize>,
    /// The facts that are known about `dest`.
    pub known: DestKnowledge,
    /// Whether a regular file is copied onto its own name, as in `cp --force --backup foo foo`. The destination is the
    /// name that a backup of `dest` would get, and nothing is backed up.
    pub to_own_backup: bool,
}

/// The sources to copy and their destinations.
#[derive(Debug)]
pub struct OperandJobs {
    /// The jobs, in the order in which they are begun.
    pub list: Vec<OperandJob>,
    /// Number of jobs at the beginning of the list that are complete before the others begin (--first).
    pub first: usize,
    /// The directory that all sources are copied into, open (O_PATH), and its name as the user wrote it.
    pub directory: Option<(OwnedFd, PathBuf)>,
}

/// Pairs each source with its destination, in the order in which they are given.
///
/// # Errors
/// Returns an error where an operand that must be a directory is none.
pub fn pair_operands(options: &CopyOptions) -> Result<OperandJobs, Error> {
    match &options.target {
        DestOperand::Directory(dir) => match directory(dir) {
            Ok(open) => Ok(jobs_into_directory(dir, open, options)),
            Err(e) => Err(Error::io(Operation::OpenTargetDirectory, dir, e)),
        },
        DestOperand::Exact(dest) => job_to_exact_name(dest, DestKnowledge::Unknown, options),
        DestOperand::Either(dest) => match directory(dest) {
            Ok(open) => Ok(jobs_into_directory(dest, open, options)),
            Err(e) if options.sources.len() > 1 => Err(Error::io(Operation::OpenTarget, dest, e)),
            Err(Errno::ENOENT) => {
                job_to_exact_name(dest, DestKnowledge::MissingOrDangling, options)
            }
            Err(_) => job_to_exact_name(dest, DestKnowledge::Unknown, options),
        },
    }
}

fn directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(AT_FDCWD, path, flags, Mode::empty())
}

/// Makes the jobs that copy all sources into `directory`.
fn jobs_into_directory(directory: &Path, open: OwnedFd, options: &CopyOptions) -> OperandJobs {
    let job = |source: &PathBuf| {
        let source = if options.strip_trailing_slashes {
            without_trailing_slashes(source)
        } else {
            source.as_path()
        };
        let (dest, at) = if options.parents {
            concatenated(directory, without_trailing_slashes(source))
        } else {
            concatenated(directory, &name_inside(source))
        };
        let bytes = dest.as_os_str().as_bytes();
        let slashes = bytes[at..].iter().take_while(|b| **b == b'/').count();
        OperandJob {
            source: source.into(),
            below: at + slashes,
            parents_at: options.parents.then_some(at),
            dest,
            known: DestKnowledge::Unknown,
            to_own_backup: false,
        }
    };
    OperandJobs {
        list: options.sources.iter().map(job).collect(),
        first: 0,
        directory: Some((open, directory.into())),
    }
}

/// Makes the job that copies the source to exactly this name.
fn job_to_exact_name(
    dest: &Path,
    known: DestKnowledge,
    options: &CopyOptions,
) -> Result<OperandJobs, Error> {
    if options.parents {
        let source = options
            .sources
            .first()
            .map_or(Path::new(""), PathBuf::as_path);
        return Err(Error::refused(Refusal::TargetNotDirectory, source, dest));
    }
    let job = |source: &PathBuf| OperandJob {
        source: source.clone(),
        dest: dest.into(),
        below: 0,
        parents_at: None,
        known,
        to_own_backup: options.force
            && options.backup.is_some()
            && known == DestKnowledge::Unknown
            && source.as_os_str() == dest.as_os_str()
            && is_regular(dest),
    };
    Ok(OperandJobs {
        list: options.sources.iter().map(job).collect(),
        first: 0,
        directory: None,
    })
}

fn is_regular(path: &Path) -> bool {
    stat(path).is_ok_and(|stat| file_status::is_regular(&stat))
}

/// Returns the name that a source gets in a directory: its last component, but `.` for `..`, so that nothing is made
/// outside the directory. The name is empty for `/`.
fn name_inside(source: &Path) -> PathBuf {
    let bytes = without_trailing_slashes(source).as_os_str().as_bytes();
    match bytes.rsplit(|b| *b == b'/').next().unwrap_or_default() {
        b".." => ".".into(),
        name => OsStr::from_bytes(name).into(),
    }
}

/// Removes the trailing slashes of a path; `/` stays.
fn without_trailing_slashes(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|b| *b != b'/');
    let end = end.map_or(bytes.len().min(1), |at| at + 1);
    Path::new(OsStr::from_bytes(&bytes[..end]))
}

/// Joins `name` to `directory` as gnulib does, and returns the offset of `name`. One slash separates them; the trailing
/// slashes of `directory` are removed unless it is the root. `/./` is used where the slashes of the root and of `name`
/// would meet.
fn concatenated(directory: &Path, name: &Path) -> (PathBuf, usize) {
    let whole = directory.as_os_str().as_bytes();
    let name = name.as_os_str().as_bytes();
    let is_root = whole.iter().all(|b| *b == b'/');
    let mut bytes = if is_root {
        whole.to_vec()
    } else {
        without_trailing_slashes(directory)
            .as_os_str()
            .as_bytes()
            .to_vec()
    };
    match (is_root, name.starts_with(b"/")) {
        (true, true) => bytes.push(b'.'),
        (false, false) => bytes.push(b'/'),
        _ => {}
    }
    let at = bytes.len();
    bytes.extend_from_slice(name);
    (OsString::from_vec(bytes).into(), at)
}

/// Joins two parts of a path with one slash between them, as cp shows it.
#[must_use]
pub fn join(directory: &Path, name: &OsStr) -> PathBuf {
    concatenated(directory, Path::new(name)).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cp::environment::Environment;
    use crate::cp::resolve::resolve;

    fn inside(directory: &str, source: &str) -> String {
        let (dest, _) = concatenated(Path::new(directory), &name_inside(Path::new(source)));
        dest.into_os_string().into_string().unwrap()
    }

    #[test]
    fn names_inside_a_directory_are_made_as_cp_makes_them() {
        for (directory, source, want) in [
            ("d", "a", "d/a"),
            ("d", "x/a", "d/a"),
            ("d", "x/a//", "d/a"),
            ("d", "x/.", "d/."),
            ("d", "x/..", "d/."),
            ("d", "/", "d/"),
            ("d//", "a", "d/a"),
            ("x/d/", "a", "x/d/a"),
            ("/", "a", "/a"),
            ("//", "a", "//a"),
        ] {
            assert_eq!(inside(directory, source), want, "{source} in {directory}");
        }
    }

    /// Returns the jobs for these arguments.
    fn jobs_of(words: &[&OsStr]) -> Result<OperandJobs, Error> {
        let words = words.iter().map(OsString::from);
        pair_operands(&resolve(words, &Environment::default()).options.unwrap())
    }

    #[test]
    fn a_directory_is_opened_and_names_begin_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let into = dir.path().as_os_str();
        let at = into.len();
        for (words, dest, below, parents_at) in [
            (&["x/a/"][..], "/a", at + 1, None),
            (&["--parents", "x/a/"], "/x/a", at + 1, Some(at + 1)),
            (&["--parents", "/x/a"], "/x/a", at + 1, Some(at)),
            (&["-r", "/"], "/", at + 1, None),
        ] {
            let words: Vec<&OsStr> = words.iter().map(OsStr::new).chain([into]).collect();
            let jobs = jobs_of(&words).unwrap();
            let job = &jobs.list[0];
            let shown = job.dest.as_os_str().to_str().unwrap();
            assert_eq!(&shown[at..], dest, "{words:?}");
            assert_eq!(
                (job.below, job.parents_at),
                (below, parents_at),
                "{words:?}"
            );
            assert_eq!(jobs.directory.unwrap().1, dir.path());
        }
    }

    #[test]
    fn what_is_known_of_a_destination_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| dir.path().join(name).into_os_string();
        let (file, new, dangling) = (name("file"), name("new"), name("dangling"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        let flags = OsStr::new("-fb");
        for (words, known, to_own_backup) in [
            (
                &[&*file, &*new][..],
                DestKnowledge::MissingOrDangling,
                false,
            ),
            (
                &[&*file, &*dangling],
                DestKnowledge::MissingOrDangling,
                false,
            ),
            (&[&*file, &*file], DestKnowledge::Unknown, false),
            (&[flags, &*file, &*file], DestKnowledge::Unknown, true),
            (
                &[OsStr::new("-fbT"), &*file, &*file],
                DestKnowledge::Unknown,
                true,
            ),
            (
                &[OsStr::new("-b"), &*file, &*file],
                DestKnowledge::Unknown,
                false,
            ),
            (
                &[flags, &*new, &*new],
                DestKnowledge::MissingOrDangling,
                false,
            ),
            (&[flags, &*dangling, &*file], DestKnowledge::Unknown, false),
            (
                &[OsStr::new("-T"), &*file, &*new],
                DestKnowledge::Unknown,
                false,
            ),
        ] {
            let jobs = jobs_of(words).unwrap();
            let job = &jobs.list[0];
            assert_eq!(
                (job.known, job.to_own_backup),
                (known, to_own_backup),
                "{words:?}"
            );
            assert!(jobs.directory.is_none());
        }
        let refused = jobs_of(&[OsStr::new("--parents"), &file, &new]).unwrap_err();
        assert!(refused.is_usage_error(), "{refused:?}");
    }

    #[test]
    fn whole_paths_are_made_below_a_directory_as_cp_makes_them() {
        for (directory, source, want, at) in [
            ("d", "a/b", "d/a/b", 2),
            ("d/", "a/b//", "d/a/b", 2),
            ("d", "/a/b", "d/a/b", 1),
            ("d", "//a/b", "d//a/b", 1),
            ("d", "/", "d/", 1),
            ("/", "a/b", "/a/b", 1),
            ("/", "/a/b", "/./a/b", 2),
            ("d", "../x/./b", "d/../x/./b", 2),
        ] {
            let name = without_trailing_slashes(Path::new(source));
            let (dest, begin) = concatenated(Path::new(directory), name);
            assert_eq!((dest.as_os_str(), begin), (OsStr::new(want), at));
        }
    }
}
