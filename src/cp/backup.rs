//! --backup: the name under which an old destination is kept, and how it gets there without anything being overwritten
//! but an older simple backup.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, renameat, renameat2};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::dest::lead::Entry;
use super::options::{Backup, BackupNames};
use super::place::Place;

/// What a name with a suffix has at most: one less than NAME_MAX of the kernel, for cp shortens a name of 255, too
/// (measured with 9.1).
const LONGEST: usize = 254;

/// Names that are tried before "exists" is taken for the answer of a file system that says so of every name. Each of them was
/// taken by somebody else between the choice of the name and its use.
const MAX_NAME_ATTEMPTS: u32 = 1000;

/// Gives what is at `place` its backup's name, and returns that; `None` where nothing is there. With `keep` it has both
/// names then, until a new file takes the first.
///
/// # Errors
/// What renameat, linkat or the directory said.
pub fn make(place: &Place<'_>, backup: &Backup, keep: bool) -> Result<Option<OsString>, Errno> {
    let entry = entry(place)?;
    let mut taken = None;
    for _ in 0..MAX_NAME_ATTEMPTS {
        let next = next_name(&entry, backup, taken);
        let moved = match (next.number.is_some(), keep) {
            (true, true) => link(&entry, &next.name),
            (true, false) => rename_new(&entry, &next.name),
            (false, true) => link_over(&entry, &next.name),
            (false, false) => {
                let (dir, from) = (entry.dir(), entry.name.as_os_str());
                renameat(dir, from, dir, next.name.as_os_str())
            }
        };
        match moved {
            Ok(()) => return Ok(Some(next.name)),
            Err(Errno::ENOENT) => return Ok(None),
            // Somebody made a backup of that number meanwhile. A name that was cut has no other number.
            Err(Errno::EEXIST) if next.number.is_some() && !next.cut => taken = next.number,
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EEXIST)
}

/// The name that the next backup of `place` would get.
///
/// # Errors
/// What the directory said.
pub fn name(place: &Place<'_>, backup: &Backup) -> Result<OsString, Errno> {
    Ok(next_name(&entry(place)?, backup, None).name)
}

/// Gives a backup its old name back, over what has that name now.
///
/// # Errors
/// renameat's.
pub fn undo(place: &Place<'_>, name: &OsStr) -> Result<(), Errno> {
    let entry = entry(place)?;
    let dir = entry.dir();
    renameat(dir, name, dir, entry.name.as_os_str())?;
    // Two names of one file are left as they are by rename(2): then it had kept the old one.
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(e) => Err(e),
    }
}

fn entry<'a>(place: &Place<'a>) -> Result<Entry<'a>, Errno> {
    Entry::of(place).map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// The name of a backup.
#[derive(Debug, PartialEq, Eq)]
struct Next {
    name: OsString,
    /// Unless it is a simple one.
    number: Option<String>,
    /// It was too long for its suffix.
    cut: bool,
}

/// The name that the next backup gets; `taken` is a number that it does not get, whatever the directory says.
fn next_name(entry: &Entry<'_>, backup: &Backup, taken: Option<String>) -> Next {
    let simple = || with_suffix(&entry.name, &backup.suffix);
    if backup.names == BackupNames::Simple {
        // Too long a name is an error here, as it is in cp.
        return Next {
            name: simple(),
            number: None,
            cut: false,
        };
    }
    let highest = higher(taken, highest(entry.dir(), &entry.name));
    let number = match &highest {
        Some(highest) => Some(successor(highest)),
        None => (backup.names == BackupNames::Numbered).then(|| "1".into()),
    };
    let name = match &number {
        Some(number) => with_suffix(&entry.name, format!(".~{number}~").as_ref()),
        None => simple(),
    };
    // A name as long as one that there is will do.
    let proven = number.as_ref().map(String::len) == highest.as_ref().map(String::len);
    let cut = name.len() > LONGEST && !(proven && number.is_some());
    Next {
        name: if cut { shortened(&entry.name) } else { name },
        number,
        cut,
    }
}

fn with_suffix(name: &OsStr, suffix: &OsStr) -> OsString {
    let mut long = name.to_owned();
    long.push(suffix);
    long
}

/// A name whose backup's would be too long has a `~` behind it instead, or in place of its end.
fn shortened(name: &OsStr) -> OsString {
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(LONGEST - 1);
    bytes.push(b'~');
    OsString::from_vec(bytes)
}

/// The highest number that a backup of `name` has, as digits: there is no end to them. In a directory that cannot be
/// read no backups are known of.
fn highest(dir: BorrowedFd<'_>, name: &OsStr) -> Option<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(dir, ".", flags, Mode::empty()).ok()?;
    let numbers = listing.iter().map_while(Result::ok).filter_map(|found| {
        number(found.file_name().to_bytes(), name.as_bytes()).map(str::to_owned)
    });
    numbers.fold(None, |highest, number| higher(highest, Some(number)))
}

/// The higher of two numbers without leading zeros.
fn higher(one: Option<String>, other: Option<String>) -> Option<String> {
    let order = |digits: &String| (digits.len(), digits.clone());
    if one.as_ref().map(order) >= other.as_ref().map(order) {
        one
    } else {
        other
    }
}

/// The number in `NAME.~N~`.
fn number<'a>(found: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let digits = found
        .strip_prefix(name)?
        .strip_prefix(b".~")?
        .strip_suffix(b"~")?;
    let number = !digits.is_empty() && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| number)
}

/// The number that follows.
fn successor(number: &str) -> String {
    let kept = number.trim_end_matches('9');
    let nines = number.len() - kept.len();
    let mut digits = kept.as_bytes().to_vec();
    match digits.last_mut() {
        Some(last) => *last += 1,
        None => digits.push(b'1'),
    }
    digits.resize(digits.len() + nines, b'0');
    digits.into_iter().map(char::from).collect()
}

/// Renames to what is not there.
fn rename_new(entry: &Entry<'_>, to: &OsStr) -> Result<(), Errno> {
    let (dir, from) = (entry.dir(), entry.name.as_os_str());
    match renameat2(dir, from, dir, to, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {
            link(entry, to)?;
            unlinkat(dir, from, UnlinkatFlags::NoRemoveDir)
        }
        other => other,
    }
}

fn link(entry: &Entry<'_>, to: &OsStr) -> Result<(), Errno> {
    let dir = entry.dir();
    linkat(dir, entry.name.as_os_str(), dir, to, AtFlags::empty())
}

/// Links to a name that may be taken: over it, by way of a third.
fn link_over(entry: &Entry<'_>, to: &OsStr) -> Result<(), Errno> {
    match link(entry, to) {
        Err(Errno::EEXIST) => {}
        other => return other,
    }
    let dir = entry.dir();
    let same = |one: &OsStr| {
        let stat = fstatat(dir, one, AtFlags::AT_SYMLINK_NOFOLLOW);
        stat.map(|stat| (stat.st_dev, stat.st_ino))
    };
    if same(&entry.name)? == same(to)? {
        return Ok(());
    }
    let between = between(entry)?;
    let renamed = renameat(dir, between.as_os_str(), dir, to);
    // Gone already, unless that failed.
    match unlinkat(dir, between.as_os_str(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => renamed,
        Err(e) => renamed.and(Err(e)),
    }
}

/// A third name of what is at the entry.
fn between(entry: &Entry<'_>) -> Result<OsString, Errno> {
    let mut n = std::process::id();
    for _ in 0..MAX_NAME_ATTEMPTS {
        let mut name = OsString::from(".");
        name.push(OsStr::from_bytes(
            &entry.name.as_bytes()[..entry.name.len().min(LONGEST - 30)],
        ));
        name.push(format!(".mmapcp-backup-{n}"));
        match link(entry, &name) {
            Err(Errno::EEXIST) => n = n.wrapping_add(1),
            other => return other.map(|()| name),
        }
    }
    Err(Errno::EEXIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::AT_FDCWD;
    use std::collections::BTreeMap;
    use std::error::Error;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    type Tested = Result<(), Box<dyn Error>>;

    const STYLES: [(&str, BackupNames); 3] = [
        ("simple", BackupNames::Simple),
        ("existing", BackupNames::Existing),
        ("numbered", BackupNames::Numbered),
    ];

    /// Names before, which of them is backed up, and with what suffix.
    const CASES: [(&[&str], &str, &str); 11] = [
        (&["a"], "a", "~"),
        (&["a", "a~"], "a", "~"),
        (&["a", "a.~1~"], "a", "~"),
        (&["a", "a.~9~"], "a", ".bak"),
        (&["a", "a.~9~", "a.~10~", "a.~2~"], "a", "~"),
        (&["a", "a.~99~", "b.~100~"], "a", "~"),
        (&["a", "a.~0~", "a.~01~", "a.~x~", "a.~1", "a.~~"], "a", "~"),
        (&["a", "a.~99999999999999999999999~"], "a", "~"),
        (&["a", "a.~19~"], "a", ".orig"),
        (&["a.~1~"], "a.~1~", "~"),
        (&["a~"], "a~", "~"),
    ];

    fn place(path: &Path) -> Place<'_> {
        Place {
            dir: AT_FDCWD,
            base: path.as_os_str(),
            shown: path,
        }
    }

    /// What lies in a directory, by name. Each file holds what it was called.
    fn tree(dir: &Path) -> std::io::Result<BTreeMap<OsString, Vec<u8>>> {
        fs::read_dir(dir)?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name(), fs::read(entry.path())?))
            })
            .collect()
    }

    fn filled(names: &[&str]) -> std::io::Result<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        for name in names {
            fs::write(dir.path().join(name), name)?;
        }
        Ok(dir)
    }

    /// cp makes the backup and a copy; here the backup, and the same file in place of the copy.
    fn as_cp_names_it(names: &[&str], of: &str, suffix: &str) -> Tested {
        for (word, style) in STYLES {
            let theirs = filled(names)?;
            let source = tempfile::NamedTempFile::new()?;
            let status = Command::new("/bin/cp")
                .arg(format!("--backup={word}"))
                .args(["-S", suffix, "-T"])
                .args([source.path(), &theirs.path().join(of)])
                .stderr(std::process::Stdio::null())
                .status()?;
            let backup = Backup {
                names: style,
                suffix: suffix.into(),
            };
            for keep in [false, true] {
                let ours = filled(names)?;
                let path = ours.path().join(of);
                let made = make(&place(&path), &backup, keep);
                assert_eq!(made.is_ok(), status.success(), "{word} {names:?}: {made:?}");
                assert_eq!(keep || made.is_err(), path.exists(), "{word} {names:?}");
                if made.is_ok() {
                    let _ = fs::remove_file(&path);
                    fs::write(&path, "")?;
                }
                let (ours, theirs) = (tree(ours.path())?, tree(theirs.path())?);
                assert!(
                    ours == theirs,
                    "{word} of {of:?}: {:?}, not {:?}",
                    ours.keys(),
                    theirs.keys()
                );
            }
        }
        Ok(())
    }

    #[test]
    fn names_are_those_of_cp() -> Tested {
        for (names, of, suffix) in CASES {
            as_cp_names_it(names, of, suffix)?;
        }
        Ok(())
    }

    #[test]
    fn names_too_long_for_their_suffix_are_those_of_cp() -> Tested {
        for len in [250, 251, 252, 253, 254, 255] {
            let long = "x".repeat(len);
            as_cp_names_it(&[&long], &long, "~")?;
            as_cp_names_it(&[&long], &long, ".longer")?;
        }
        for (len, number) in [(251, 1), (250, 9), (250, 10)] {
            let long = "x".repeat(len);
            as_cp_names_it(&[&long, &format!("{long}.~{number}~")], &long, "~")?;
        }
        Ok(())
    }

    #[test]
    fn what_is_undone_is_as_before() -> Tested {
        for (_, names) in STYLES {
            let backup = Backup {
                names,
                suffix: "~".into(),
            };
            for keep in [false, true] {
                let dir = filled(&["a", "other"])?;
                let path = dir.path().join("a");
                let made = make(&place(&path), &backup, keep)?.ok_or("nothing was made")?;
                if !keep {
                    fs::write(&path, "part of a copy")?;
                }
                undo(&place(&path), &made)?;
                assert_eq!(tree(dir.path())?, tree(filled(&["a", "other"])?.path())?);
            }
        }
        Ok(())
    }

    #[test]
    fn of_nothing_there_is_no_backup() -> Tested {
        let dir = tempfile::tempdir()?;
        for (_, names) in STYLES {
            let backup = Backup {
                names,
                suffix: "~".into(),
            };
            for keep in [false, true] {
                assert_eq!(make(&place(&dir.path().join("a")), &backup, keep)?, None);
            }
        }
        Ok(())
    }

    /// Runs that back up one file at once: each gets a number of its own, and nothing is lost.
    #[test]
    fn numbers_are_given_once() -> Tested {
        const RUNS: usize = 8;
        let dir = tempfile::tempdir()?;
        let backup = Backup {
            names: BackupNames::Numbered,
            suffix: "~".into(),
        };
        std::thread::scope(|scope| {
            for run in 0..RUNS {
                let (dir, backup) = (dir.path(), &backup);
                scope.spawn(move || {
                    for round in 0..20 {
                        let path = dir.join(format!("new-{run}-{round}"));
                        let text = format!("{run} {round}");
                        let target = dir.join("a");
                        // Each takes the name while it is free, so no content is lost by the test itself.
                        let put =
                            || fs::write(&path, &text).and_then(|()| fs::hard_link(&path, &target));
                        while put().is_err() {
                            let _ = make(&place(&target), backup, false);
                        }
                        let _ = fs::remove_file(path);
                    }
                });
            }
        });
        let kept: std::collections::HashSet<_> = tree(dir.path())?.into_values().collect();
        assert_eq!(kept.len(), RUNS * 20);
        Ok(())
    }
}
