//! The temporary name that a new file has in the directory of the file that it will replace.
//!
//! `.NAME.mmapcp-N` says that it is temporary and for which file. Its inode is locked (flock) for as long as its writer
//! lives, so a run that needs the name and finds it unlocked has found the leftover of a killed run, and removes it.
//!
//! N is 1 to 8, the first that is free; where all are in use, it is 16 random hexadecimal digits, so that nobody can
//! prevent a copy by taking the names before. The next `--atomic` copy over NAME examines the eight names only, and
//! stops at two free ones: to find a random name it would have to read the directory, which may hold a million names,
//! for each file. The leftover of a run that was killed while eight other runs, or files of another user, had the eight
//! names is therefore not removed.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::linkat;

use crate::cp::at_path::AtPath;
use crate::cp::by_inode;
use crate::cp::file_status::{FileId, file_id, is_regular};
use crate::sys::file::try_lock;
use crate::transfer::errno_class::retry;

/// The maximum length of one path component, in bytes: NAME_MAX of the kernel.
const NAME_MAX: usize = 255;

/// The lowest length that is tried. Where a file system accepts less than NAME_MAX (eCryptfs 143, minix 30), the length
/// is halved, down to this.
const MIN_NAME_LIMIT: usize = 28;

/// Number of numbered names: more than one destination has writers at once, and few enough to examine for each file.
const NUMBERED_SLOTS: u32 = 8;

/// Number of random names that are tried before the directory is treated as broken. Of 2^64 names, a second one is
/// never needed.
const MAX_RANDOM_NAMES: u32 = 16;

/// Number of consecutive free names after which a search for leftovers ends: a run that was killed while another held
/// the first name has left the second.
const FREE_SLOTS_TO_STOP: u32 = 2;

/// Returns the temporary name for `of` that ends with `n`, of `limit` bytes at most.
fn name(of: &OsStr, n: impl Display, limit: usize) -> OsString {
    hidden_name(of, &format!(".mmapcp-{n}"), limit)
}

/// Returns the name of another file that belongs to `of` and is beside it: hidden, and with this end. A name that has to
/// be shortened for that gets a part of its digest, so that no two have the same.
#[must_use]
pub(in crate::cp) fn name_beside(of: &OsStr, end: &str) -> OsString {
    if of.len() + end.len() < NAME_MAX {
        return hidden_name(of, end, NAME_MAX);
    }
    let digest = blake3::hash(of.as_bytes()).to_hex();
    hidden_name(of, &format!("-{}{end}", &digest[..16]), NAME_MAX)
}

/// Returns a dot, as much of `of` as fits, and `end`, in `limit` bytes at most.
fn hidden_name(of: &OsStr, end: &str, limit: usize) -> OsString {
    let of = of.as_bytes();
    let mut keep = of.len().min(limit.saturating_sub(1 + end.len()));
    // A multi-byte character is not split, since some file systems accept only whole ones.
    while keep < of.len() && keep > 0 && of[keep] & 0xc0 == 0x80 {
        keep -= 1;
    }
    let mut bytes = Vec::with_capacity(limit);
    bytes.push(b'.');
    bytes.extend_from_slice(&of[..keep]);
    bytes.extend_from_slice(end.as_bytes());
    OsString::from_vec(bytes)
}

/// Creates a temporary file and locks it. Returns its name, too.
pub(super) fn create(entry: &AtPath, mode: u32) -> io::Result<(OsString, File)> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(mode);
    claim(entry, |name| {
        let file = File::from(retry(|| openat(entry.dir(), name, flags, mode))?);
        let locked = try_lock(&file);
        let taken = locked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        // Another run may have removed the file as a leftover before it was locked.
        if taken || !by_inode::is_name_of_inode(entry.dir(), name, file_id(&fstat(&file)?)) {
            return Err(Errno::EEXIST.into());
        }
        Ok(file)
    })
}

/// Opens the part of an interrupted copy, and locks it. `None` if the name does not lead to that inode, or another run
/// writes to it.
pub(super) fn open_part(entry: &AtPath, name: &OsStr, part: FileId) -> Option<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(retry(|| openat(entry.dir(), name, flags, Mode::empty())).ok()?);
    let stat = fstat(&file).ok()?;
    (file_id(&stat) == part && is_regular(&stat) && try_lock(&file).is_ok()).then_some(file)
}

/// Gives an unnamed file a temporary name. Returns the name.
pub(super) fn link(entry: &AtPath, file: &File) -> io::Result<OsString> {
    // Where a file system has no locks, no other run can find the file unlocked either.
    let _ = try_lock(file);
    claim(entry, |name| Ok(name_open_file(file, entry.dir(), name)?)).map(|(name, ())| name)
}

/// Gives a file a random name in place of its temporary name, if it has one. No search for leftovers examines a random
/// name, which leads to the old file for a moment when the two are exchanged. Returns the name.
pub(super) fn take_random_name(
    entry: &AtPath,
    file: &File,
    named: Option<&OsStr>,
) -> io::Result<OsString> {
    let _ = try_lock(file);
    let rename = |name: &OsStr| {
        let renamed = match named {
            Some(now) => by_inode::rename_noreplace(entry.dir(), now, name),
            None => name_open_file(file, entry.dir(), name),
        };
        Ok(renamed?)
    };
    claim_from(NUMBERED_SLOTS + 1, entry, rename).map(|(name, ())| name)
}

/// Links an open file, which may have no name, to a name that must not exist.
pub(super) fn name_open_file(file: &File, dir: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    // AT_EMPTY_PATH, which would need no /proc, requires CAP_DAC_READ_SEARCH.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(
        AT_FDCWD,
        path.as_str(),
        dir,
        name,
        AtFlags::AT_SYMLINK_FOLLOW,
    )
}

/// Calls `make` with the first name that is free or can be freed.
fn claim<T>(
    entry: &AtPath,
    make: impl FnMut(&OsStr) -> io::Result<T>,
) -> io::Result<(OsString, T)> {
    claim_from(1, entry, make)
}

/// Does the same as [`claim`], beginning at a number. Each number above [`NUMBERED_SLOTS`] stands for a random name.
fn claim_from<T>(
    mut n: u32,
    entry: &AtPath,
    mut make: impl FnMut(&OsStr) -> io::Result<T>,
) -> io::Result<(OsString, T)> {
    let mut limit = NAME_MAX;
    for _ in 0..MAX_ATTEMPTS {
        let name = match n {
            1..=NUMBERED_SLOTS => name(entry.path(), n, limit),
            _ => name(entry.path(), by_inode::random_digits(), limit),
        };
        let error = match make(&name) {
            Ok(made) => return Ok((name, made)),
            Err(e) => e,
        };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EEXIST)
                if n <= NUMBERED_SLOTS
                    && clear_if_leftover(entry.dir(), &name) != SlotState::Used => {}
            Some(Errno::EEXIST) if n < NUMBERED_SLOTS + MAX_RANDOM_NAMES => n += 1,
            Some(Errno::ENAMETOOLONG) if limit / 2 >= MIN_NAME_LIMIT => limit /= 2,
            _ => return Err(error),
        }
    }
    Err(Errno::EEXIST.into())
}

/// Number of attempts to take a name, including those on names that were free or were cleared and turned out to be
/// taken. A file system that returns EEXIST for every name would otherwise be asked without end.
const MAX_ATTEMPTS: u32 = 1000;

/// Removes the leftovers of killed runs for an entry.
pub(super) fn remove_leftovers(entry: &AtPath) {
    let mut free = 0;
    for n in 1..=NUMBERED_SLOTS {
        match clear_if_leftover(entry.dir(), &name(entry.path(), n, NAME_MAX)) {
            SlotState::Used => free = 0,
            SlotState::Cleared => {}
            SlotState::Nothing => free += 1,
        }
        if free == FREE_SLOTS_TO_STOP {
            break;
        }
    }
}

/// The state of a temporary name.
#[derive(Debug, PartialEq, Eq)]
enum SlotState {
    Nothing,
    /// A leftover, which has been removed, or a file that was renamed just then.
    Cleared,
    /// A file whose writer is alive, or that belongs to another user.
    Used,
}

fn clear_if_leftover(dir: BorrowedFd<'_>, name: &OsStr) -> SlotState {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match retry(|| openat(dir, name, flags, Mode::empty())) {
        Ok(file) => File::from(file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return SlotState::Nothing,
        Err(_) => return SlotState::Used,
    };
    let Ok(stat) = fstat(&file) else {
        return SlotState::Used;
    };
    let user = nix::unistd::geteuid();
    let ours = is_regular(&stat) && (user.is_root() || user.as_raw() == stat.st_uid);
    if !ours || try_lock(&file).is_err() {
        return SlotState::Used;
    }
    // If the name leads to another file by now, its writer has just given it its final name.
    match by_inode::remove_checked(dir, name, file_id(&stat)) {
        Ok(_) => SlotState::Cleared,
        Err(_) => SlotState::Used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cp::dest::resolve_link::resolve_nofollow;
    use std::fs;

    #[test]
    fn a_name_says_of_what_it_is_and_fits() {
        assert_eq!(name(OsStr::new("core"), 1, NAME_MAX), ".core.mmapcp-1");
        let long = "x".repeat(NAME_MAX);
        let made = name(OsStr::new(&long), 12, NAME_MAX);
        assert_eq!(made.len(), NAME_MAX);
        assert!(made.to_string_lossy().ends_with("x.mmapcp-12"));
        // A character of two bytes is kept or dropped as a whole.
        let wide = "ä".repeat(127);
        let made = name(OsStr::new(&wide), 1, NAME_MAX);
        assert!(made.to_str().is_some(), "{made:?}");
    }

    #[test]
    fn what_is_locked_is_left_and_what_is_not_is_cleared() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("dest");
        let place = AtPath::from_current(&path);
        let entry = resolve_nofollow(&place)?;
        let (first, held) = create(&entry, 0o600)?;
        let (second, _also) = create(&entry, 0o600)?;
        assert_eq!(first, ".dest.mmapcp-1");
        assert_eq!(second, ".dest.mmapcp-2");
        remove_leftovers(&entry);
        assert_eq!(fs::read_dir(dir.path())?.count(), 2);
        drop(held);
        remove_leftovers(&entry);
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        let (again, _held) = create(&entry, 0o600)?;
        assert_eq!(again, first);
        Ok(())
    }

    /// Another process may take all the numbers without blocking a copy.
    #[test]
    fn numbers_that_are_taken_block_nothing() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("dest");
        let strangers: Vec<File> = (1..=1001)
            .map(|n| {
                let file = File::create(dir.path().join(name(OsStr::new("dest"), n, NAME_MAX)))?;
                try_lock(&file)?;
                Ok(file)
            })
            .collect::<io::Result<_>>()?;
        let place = AtPath::from_current(&path);
        let entry = resolve_nofollow(&place)?;
        let (named, _file) = create(&entry, 0o600)?;
        assert_eq!(named.len(), ".dest.mmapcp-".len() + 16);
        remove_leftovers(&entry);
        assert_eq!(fs::read_dir(dir.path())?.count(), 1002);
        drop(strangers);
        Ok(())
    }

    #[test]
    fn what_is_no_file_of_ours_is_left() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("dest");
        std::os::unix::fs::symlink("elsewhere", dir.path().join(".dest.mmapcp-1"))?;
        fs::create_dir(dir.path().join(".dest.mmapcp-2"))?;
        let place = AtPath::from_current(&path);
        let entry = resolve_nofollow(&place)?;
        remove_leftovers(&entry);
        let (name, _file) = create(&entry, 0o600)?;
        assert_eq!(name, ".dest.mmapcp-3");
        assert_eq!(fs::read_dir(dir.path())?.count(), 3);
        Ok(())
    }
}
