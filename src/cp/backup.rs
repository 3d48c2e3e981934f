//! --backup: chooses the name under which an old destination is kept, and renames the file without overwriting anything
//! but an older simple backup.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::sys::stat::{FileStat, Mode};
use nix::unistd::{AccessFlags, faccessat, linkat};

use super::at_path::AtPath;
use super::by_inode::{self, ExchangeOutcome};
use super::dest::resolve_link::resolve_nofollow;
use super::error::RestoreError;
use super::file_status::{FileId, file_id, is_directory};
use super::options::{Backup, BackupNames};
use crate::sys::file::try_lock;
use crate::transfer::errno_class::errno_of;

/// The longest backup name, in bytes. It is one less than NAME_MAX of the kernel, since cp shortens a name of 255
/// bytes, too (measured with 9.1).
const MAX_BACKUP_NAME_BYTES: usize = 254;

/// Number of names that are tried before EEXIST is treated as the answer of a file system that returns it for every
/// name. Each of these names was taken by another process between its choice and its use.
const MAX_NAME_ATTEMPTS: u32 = 1000;

/// The result of renaming a file to its backup name.
#[derive(Debug, PartialEq, Eq)]
pub enum BackupOutcome {
    /// The file has this backup name and this inode.
    Renamed(OsString, FileId),
    /// There was no file to rename.
    Nothing,
    /// The file was not the one that was examined. It still has its name, or has it again.
    Other,
}

/// Renames the file at `place` to its backup name, if it is the inode that was examined.
///
/// # Errors
/// Returns the error of renameat(2), linkat(2) or of reading the directory.
pub fn make(place: &AtPath, backup: &Backup, examined: FileId) -> Result<BackupOutcome, Errno> {
    let entry = entry(place)?;
    let (dir, from) = (entry.dir(), entry.path());
    let mut taken = None;
    for _ in 0..MAX_NAME_ATTEMPTS {
        match by_inode::lstat_at(dir, from) {
            Ok(now) if file_id(&now) == examined => {}
            Ok(_) => return Ok(BackupOutcome::Other),
            Err(Errno::ENOENT) => return Ok(BackupOutcome::Nothing),
            Err(e) => return Err(e),
        }
        let next = next_name(&entry, backup, taken);
        let moved = match next.number {
            Some(_) => by_inode::rename_noreplace(dir, from, &next.name),
            None => renameat(dir, from, dir, next.name.as_os_str()),
        };
        match moved {
            Ok(()) => return verify_made(&entry, next.name, examined),
            Err(Errno::ENOENT) => return Ok(BackupOutcome::Nothing),
            // Another process made a backup of that number meanwhile. A shortened name contains no number, so no other
            // is tried.
            Err(Errno::EEXIST) if next.number.is_some() && !next.cut => taken = next.number,
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EEXIST)
}

/// Renames a file back if it replaced the examined file between the check and the rename.
fn verify_made(entry: &AtPath, name: OsString, examined: FileId) -> Result<BackupOutcome, Errno> {
    let renamed = file_id(&by_inode::lstat_at(entry.dir(), &name)?);
    if renamed == examined {
        return Ok(BackupOutcome::Renamed(name, renamed));
    }
    match by_inode::rename_noreplace(entry.dir(), &name, entry.path()) {
        // A newer file has the name already, so this one stays as a backup.
        Ok(()) | Err(Errno::EEXIST) => Ok(BackupOutcome::Other),
        Err(e) => Err(e),
    }
}

/// Returns the name that [`exchange_with_backup`] will give to the file at `place`, unless another process takes that
/// name before.
///
/// # Errors
/// Returns the failures that are known in advance: a directory has the name, or the parent directory may not be
/// changed.
pub fn plan(place: &AtPath, backup: &Backup) -> Result<OsString, Errno> {
    let entry = entry(place)?;
    let next = next_name(&entry, backup, None);
    refuse_directory(&entry, &next)?;
    let access = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(entry.dir(), ".", access, AtFlags::AT_EACCESS)?;
    Ok(next.name)
}

/// Fails with EISDIR if a directory has the simple backup name, since a backup never replaces a directory, as with
/// rename(2).
fn refuse_directory(entry: &AtPath, next: &BackupName) -> Result<(), Errno> {
    if next.number.is_none()
        && by_inode::lstat_at(entry.dir(), &next.name).is_ok_and(|stat| is_directory(&stat))
    {
        return Err(Errno::EISDIR);
    }
    Ok(())
}

/// The result of replacing an old file by a new one with a backup.
#[derive(Debug)]
pub enum BackupReplaceOutcome {
    /// The new file has the name, and the old file has this backup name.
    Done(OsString),
    /// The file at the name is not acceptable, or there is none. The new file still has its temporary name.
    Refused,
    /// Another process replaced the new file immediately. The file that had the name before is kept under this name.
    Displaced(OsString),
}

/// The reason why a new file did not replace an old one.
#[derive(Debug)]
pub enum BackupError {
    /// The old file cannot be given its backup name.
    Backup(Errno),
    /// The file system can neither exchange two names nor give a file a second one, so the old file could not be kept
    /// without a moment in which its name is missing.
    NeitherWay(Errno),
    /// The new file cannot be given the name of the destination.
    Name(Errno),
}

/// Gives the entry's name to a new file, which has the temporary name `new` in the same directory and the inode `mine`.
/// The file that had the entry's name until that moment gets the backup name, if it is acceptable. Both names change in
/// one step: the new file takes the backup name first, and then the two are exchanged. A process that is killed in
/// between leaves a backup that holds the new content.
///
/// # Errors
/// Returns a [`BackupError`]; the new file still has its temporary name.
pub fn exchange_with_backup(
    entry: &AtPath,
    (new, mine): (&OsStr, FileId),
    backup: &Backup,
    acceptable: impl Fn(&FileStat) -> bool,
) -> Result<BackupReplaceOutcome, BackupError> {
    let (dir, name) = (entry.dir(), entry.path());
    let mut taken = None;
    for _ in 0..MAX_NAME_ATTEMPTS {
        let next = next_name(entry, backup, taken.clone());
        refuse_directory(entry, &next).map_err(BackupError::Backup)?;
        let older = match take(dir, new, &next) {
            Ok(older) => older,
            Err(Errno::EEXIST) if next.number.is_some() && !next.cut => {
                taken = next.number;
                continue;
            }
            Err(e) if next.number.is_none() && by_inode::is_unsupported(e) => {
                return replace_by_link(entry, new, backup, acceptable);
            }
            Err(e) => return Err(BackupError::Backup(e)),
        };
        let pair = (next.name.as_os_str(), mine);
        let exchanged = by_inode::exchange_checked(dir, pair, name, &acceptable);
        if let Ok(ExchangeOutcome::Done) = exchanged {
            if let Some(older) = older {
                by_inode::remove_checked(dir, new, older).map_err(BackupError::Backup)?;
            }
            return Ok(BackupReplaceOutcome::Done(next.name));
        }
        if let Ok(ExchangeOutcome::Displaced) = exchanged {
            return Ok(BackupReplaceOutcome::Displaced(next.name));
        }
        give_back(dir, new, &next.name, older.is_some()).map_err(BackupError::Backup)?;
        return match exchanged {
            Err(e) if by_inode::is_unsupported(e) => {
                replace_by_link(entry, new, backup, acceptable)
            }
            Err(e) => Err(BackupError::Name(e)),
            Ok(_) => Ok(BackupReplaceOutcome::Refused),
        };
    }
    Err(BackupError::Backup(Errno::EEXIST))
}

/// Gives the new file the backup name. An older simple backup gets the temporary name, and its inode is returned.
fn take(dir: BorrowedFd<'_>, new: &OsStr, next: &BackupName) -> Result<Option<FileId>, Errno> {
    for _ in 0..MAX_NAME_ATTEMPTS {
        match by_inode::rename_noreplace(dir, new, &next.name) {
            Err(Errno::EEXIST) if next.number.is_none() => {}
            other => return other.map(|()| None),
        }
        match by_inode::exchange(dir, new, &next.name) {
            Ok(()) => return by_inode::lstat_at(dir, new).map(|older| Some(file_id(&older))),
            // The older backup has been removed meanwhile.
            Err(Errno::ENOENT) if by_inode::lstat_at(dir, new).is_ok() => {}
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EEXIST)
}

/// Undoes [`take`], and restores an older backup.
fn give_back(
    dir: BorrowedFd<'_>,
    new: &OsStr,
    backup: &OsStr,
    exchanged: bool,
) -> Result<(), Errno> {
    if exchanged {
        by_inode::exchange(dir, new, backup)
    } else {
        by_inode::rename_noreplace(dir, backup, new)
    }
}

/// Does the same as [`exchange_with_backup`], where names cannot be exchanged: links the old file to its backup name,
/// and renames the new one over it if it is still the same file. Runs of this program take turns by a lock on the
/// directory. If another program puts a file at the name in the microsecond between the check and the rename, that file
/// is lost.
fn replace_by_link(
    entry: &AtPath,
    new: &OsStr,
    backup: &Backup,
    acceptable: impl Fn(&FileStat) -> bool,
) -> Result<BackupReplaceOutcome, BackupError> {
    let (dir, name) = (entry.dir(), entry.path());
    let _turn = lock_directory(entry);
    let mut taken = None;
    for _ in 0..MAX_NAME_ATTEMPTS {
        if !by_inode::lstat_at(dir, name).is_ok_and(|now| acceptable(&now)) {
            return Ok(BackupReplaceOutcome::Refused);
        }
        let next = next_name(entry, backup, taken.clone());
        let linked = match next.number {
            Some(_) => link(entry, &next.name).map(|()| false),
            None => link_over(entry, &next.name),
        };
        let older_is_gone = match linked {
            Ok(older_is_gone) => older_is_gone,
            Err(Errno::ENOENT) => return Ok(BackupReplaceOutcome::Refused),
            Err(Errno::EEXIST) if next.number.is_some() && !next.cut => {
                taken = next.number;
                continue;
            }
            Err(e) if by_inode::is_unsupported(e) => return Err(BackupError::NeitherWay(e)),
            Err(e) => return Err(BackupError::Backup(e)),
        };
        let kept = by_inode::lstat_at(dir, &next.name).map_err(BackupError::Backup)?;
        let replaced = if acceptable(&kept) && by_inode::is_name_of_inode(dir, name, file_id(&kept))
        {
            match renameat(dir, new, dir, name) {
                Ok(()) => return Ok(BackupReplaceOutcome::Done(next.name)),
                Err(e) => Err(BackupError::Name(e)),
            }
        } else {
            Ok(BackupReplaceOutcome::Refused)
        };
        if !older_is_gone {
            let _ = by_inode::remove_checked(dir, &next.name, file_id(&kept));
        }
        return replaced;
    }
    Err(BackupError::Backup(Errno::EEXIST))
}

/// Returns the directory, locked until it is dropped. A lock that another user holds delays this by 80 attempts at
/// most, and where the file system has no locks, none is taken.
fn lock_directory(entry: &AtPath) -> Option<File> {
    let directory = entry.open_parent().ok()?;
    for _ in 0..LOCK_ATTEMPTS {
        match try_lock(&directory) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOCK_PAUSE),
            locked => return locked.ok().map(|()| directory),
        }
    }
    None
}

/// Number of attempts to lock a directory, 1 ms apart: a turn is three system calls, and a signal shall be noticed
/// within 0.1 s.
const LOCK_ATTEMPTS: u32 = 80;

/// The pause between two attempts to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Renames the file with the temporary name `new` to a numbered backup name, so that the user finds it, and returns
/// that name.
///
/// # Errors
/// Returns the error of renameat2(2) or linkat(2).
pub fn keep_as_numbered(entry: &AtPath, new: &OsStr) -> Result<OsString, Errno> {
    let backup = Backup {
        names: BackupNames::Numbered,
        suffix: OsString::new(),
    };
    let mut taken = None;
    for _ in 0..MAX_NAME_ATTEMPTS {
        let next = next_name(entry, &backup, taken);
        match by_inode::rename_noreplace(entry.dir(), new, &next.name) {
            Ok(()) => return Ok(next.name),
            Err(Errno::EEXIST) if !next.cut => taken = next.number,
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EEXIST)
}

/// Returns the name that the next backup of `place` would get.
///
/// # Errors
/// Returns the error of opening the directory.
pub fn name(place: &AtPath, backup: &Backup) -> Result<OsString, Errno> {
    Ok(next_name(&entry(place)?, backup, None).name)
}

/// Renames the old file from its backup name to its own name, if nothing has that name or if it leads to the file
/// `made` that this run made. That file is removed then.
///
/// # Errors
/// Returns a [`RestoreError`]; both names are left as they are.
pub fn restore_original(
    place: &AtPath,
    (backup, old): (&OsStr, FileId),
    made: Option<FileId>,
) -> Result<(), RestoreError> {
    let entry = entry(place)?;
    let (dir, name) = (entry.dir(), entry.path());
    if !by_inode::is_name_of_inode(dir, backup, old) {
        return Err(RestoreError::Moved);
    }
    match by_inode::rename_noreplace(dir, backup, name) {
        Err(Errno::EEXIST) => {}
        Err(e)
            if by_inode::is_unsupported(e)
                && by_inode::lstat_at(dir, name) == Err(Errno::ENOENT) =>
        {
            return Ok(renameat(dir, backup, dir, name)?);
        }
        other => return Ok(other?),
    }
    let is_ours = |now: &FileStat| Some(file_id(now)) == made;
    if !by_inode::lstat_at(dir, name).is_ok_and(|now| is_ours(&now)) {
        return Err(RestoreError::Taken);
    }
    match by_inode::exchange_checked(dir, (backup, old), name, is_ours) {
        Ok(ExchangeOutcome::Done) => {}
        Ok(_) => return Err(RestoreError::Taken),
        Err(e) if by_inode::is_unsupported(e) => return Ok(renameat(dir, backup, dir, name)?),
        Err(e) => return Err(e.into()),
    }
    if let Some(made) = made {
        by_inode::remove_checked(dir, backup, made)?;
    }
    Ok(())
}

fn entry(place: &AtPath) -> Result<AtPath, Errno> {
    resolve_nofollow(place).map_err(|e| errno_of(&e))
}

/// The name that a backup gets.
#[derive(Debug, PartialEq, Eq)]
struct BackupName {
    name: OsString,
    /// The number of the backup, or `None` for a simple backup.
    number: Option<String>,
    /// Whether the name was shortened because it was too long.
    cut: bool,
}

/// Returns the name that the next backup gets. `taken` is a number that is not used, even if the directory does not
/// contain it.
fn next_name(entry: &AtPath, backup: &Backup, taken: Option<String>) -> BackupName {
    let simple = || with_suffix(entry.path(), &backup.suffix);
    if backup.names == BackupNames::Simple {
        // As in cp, a name that is too long is an error here.
        return BackupName {
            name: simple(),
            number: None,
            cut: false,
        };
    }
    let highest = higher(taken, highest(entry.dir(), entry.path()));
    let number = match &highest {
        Some(highest) => Some(successor(highest)),
        None => (backup.names == BackupNames::Numbered).then(|| "1".into()),
    };
    let name = match &number {
        Some(number) => with_suffix(entry.path(), format!(".~{number}~").as_ref()),
        None => simple(),
    };
    // A name as long as an existing one is known to be accepted.
    let proven = number.as_ref().map(String::len) == highest.as_ref().map(String::len);
    let cut = name.len() > MAX_BACKUP_NAME_BYTES && !(proven && number.is_some());
    BackupName {
        name: if cut { shortened(entry.path()) } else { name },
        number,
        cut,
    }
}

fn with_suffix(name: &OsStr, suffix: &OsStr) -> OsString {
    let mut long = name.to_owned();
    long.push(suffix);
    long
}

/// Returns the name that is used where the backup name would be too long: the old name, shortened if necessary, with
/// `~` appended.
fn shortened(name: &OsStr) -> OsString {
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(MAX_BACKUP_NAME_BYTES - 1);
    bytes.push(b'~');
    OsString::from_vec(bytes)
}

/// Returns the highest number of a backup of `name`, as decimal digits of any length. Returns `None` where the
/// directory cannot be read.
fn highest(dir: BorrowedFd<'_>, name: &OsStr) -> Option<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(dir, ".", flags, Mode::empty()).ok()?;
    let numbers = listing.iter().map_while(Result::ok).filter_map(|found| {
        number(found.file_name().to_bytes(), name.as_bytes()).map(str::to_owned)
    });
    numbers.fold(None, |highest, number| higher(highest, Some(number)))
}

/// Returns the higher of two numbers without leading zeros.
fn higher(one: Option<String>, other: Option<String>) -> Option<String> {
    let order = |digits: &String| (digits.len(), digits.clone());
    if one.as_ref().map(order) >= other.as_ref().map(order) {
        one
    } else {
        other
    }
}

/// Returns the number in a name of the form `NAME.~N~`.
fn number<'a>(found: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let digits = found
        .strip_prefix(name)?
        .strip_prefix(b".~")?
        .strip_suffix(b"~")?;
    let number = !digits.is_empty() && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| number)
}

/// Returns the decimal number that follows `number`.
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

fn link(entry: &AtPath, to: &OsStr) -> Result<(), Errno> {
    let dir = entry.dir();
    linkat(dir, entry.path(), dir, to, AtFlags::empty())
}

/// Links the entry to a name that may already exist, and replaces what has it by way of a third name. Returns whether a
/// file was replaced.
fn link_over(entry: &AtPath, to: &OsStr) -> Result<bool, Errno> {
    match link(entry, to) {
        Err(Errno::EEXIST) => {}
        other => return other.map(|()| false),
    }
    let dir = entry.dir();
    let inode = |name: &OsStr| by_inode::lstat_at(dir, name).map(|stat| file_id(&stat));
    if inode(entry.path())? == inode(to)? {
        return Ok(true);
    }
    let between = link_random_name(entry)?;
    let linked = inode(&between)?;
    let renamed = renameat(dir, between.as_os_str(), dir, to);
    // The rename has removed the third name already, unless it failed.
    let removed = by_inode::remove_checked(dir, &between, linked);
    renamed.and(removed).map(|_| true)
}

/// Links the entry to a new random name in the same directory.
fn link_random_name(entry: &AtPath) -> Result<OsString, Errno> {
    for _ in 0..MAX_NAME_ATTEMPTS {
        let name = OsString::from(format!(".mmapcp-backup-{}", by_inode::random_digits()));
        match link(entry, &name) {
            Err(Errno::EEXIST) => {}
            other => return other.map(|()| name),
        }
    }
    Err(Errno::EEXIST)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    /// The names that exist before, the name that is backed up, and the suffix.
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

    fn place(path: &Path) -> AtPath {
        AtPath::from_current(path)
    }

    /// Returns the files in a directory by name, with their contents. Each file contains its original name.
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

    /// The way in which the old file gets its backup name and the new file its own.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Way {
        Rename,
        Exchange,
        Link,
    }

    fn inode(path: &Path) -> std::io::Result<FileId> {
        use std::os::unix::fs::MetadataExt;
        fs::symlink_metadata(path).map(|meta| FileId {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    /// Puts an empty file in the place of the one at `path`, and returns the name of the backup.
    fn copied_over(path: &Path, backup: &Backup, way: Way) -> Result<OsString, Box<dyn Error>> {
        let place = place(path);
        let old = inode(path)?;
        if way == Way::Rename {
            let made = make(&place, backup, old).map_err(|e| e.to_string())?;
            assert!(!path.exists());
            fs::write(path, "")?;
            return match made {
                BackupOutcome::Renamed(name, inode) if inode == old => Ok(name),
                other => Err(format!("{other:?}").into()),
            };
        }
        let new = path.with_file_name(".new");
        fs::write(&new, "")?;
        let entry = resolve_nofollow(&place)?;
        let pair = (OsStr::new(".new"), inode(&new)?);
        let acceptable = |now: &FileStat| file_id(now) == old;
        let replaced = match way {
            Way::Link => replace_by_link(&entry, pair.0, backup, acceptable),
            _ => exchange_with_backup(&entry, pair, backup, acceptable),
        };
        match replaced {
            Ok(BackupReplaceOutcome::Done(name)) => Ok(name),
            other => {
                fs::remove_file(new)?;
                assert_eq!(inode(path)?, old);
                Err(format!("{other:?}").into())
            }
        }
    }

    /// Checks that the backup has the name that cp gives it. cp makes the backup and a copy; this program makes the
    /// backup, and the same file in place of the copy.
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
            for way in [Way::Rename, Way::Exchange, Way::Link] {
                let ours = filled(names)?;
                let path = ours.path().join(of);
                let made = copied_over(&path, &backup, way);
                let context = format!("{word} {names:?} {way:?}: {made:?}");
                assert_eq!(made.is_ok(), status.success(), "{context}");
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
            for written in [false, true] {
                let dir = filled(&["a", "other"])?;
                let path = dir.path().join("a");
                let old = inode(&path)?;
                let BackupOutcome::Renamed(name, kept) = make(&place(&path), &backup, old)? else {
                    return Err("nothing was made".into());
                };
                assert_eq!(kept, old);
                if written {
                    fs::write(&path, "part of a copy")?;
                }
                let made = inode(&path).ok();
                let undone = restore_original(&place(&path), (&name, old), made);
                assert_eq!(undone, Ok(()));
                assert_eq!(tree(dir.path())?, tree(filled(&["a", "other"])?.path())?);
            }
        }
        Ok(())
    }

    /// Neither a file that another process made under the name, nor one that it put in the backup's place, is touched.
    #[test]
    fn what_is_not_ours_is_not_undone() -> Tested {
        let backup = Backup {
            names: BackupNames::Simple,
            suffix: "~".into(),
        };
        let dir = filled(&["a"])?;
        let path = dir.path().join("a");
        let old = inode(&path)?;
        let made = make(&place(&path), &backup, old)?;
        assert_eq!(made, BackupOutcome::Renamed("a~".into(), old));
        fs::write(&path, "a stranger's")?;
        for made in [None, Some(old)] {
            let undone = restore_original(&place(&path), (OsStr::new("a~"), old), made);
            assert_eq!(undone, Err(RestoreError::Taken));
        }
        let strangers = inode(&path)?;
        let undone = restore_original(&place(&path), (OsStr::new("a~"), strangers), None);
        assert_eq!(undone, Err(RestoreError::Moved));
        assert_eq!(fs::read(&path)?, b"a stranger's");
        assert_eq!(fs::read(dir.path().join("a~"))?, b"a");
        let other = make(&place(&path), &backup, old)?;
        assert_eq!(other, BackupOutcome::Other);
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
            let made = make(
                &place(&dir.path().join("a")),
                &backup,
                FileId {
                    device: 0,
                    inode: 0,
                },
            )?;
            assert_eq!(made, BackupOutcome::Nothing);
        }
        Ok(())
    }

    /// Several runs back up one file at the same time: each gets its own number, and nothing is lost.
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
                        // Each run takes the name only while it is free, so the test itself loses no content.
                        let put =
                            || fs::write(&path, &text).and_then(|()| fs::hard_link(&path, &target));
                        while put().is_err() {
                            let Ok(there) = inode(&target) else {
                                continue;
                            };
                            let _ = make(&place(&target), backup, there);
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
