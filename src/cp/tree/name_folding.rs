//! File systems on which two different names may be one file, since they fold case, normalise or shorten names.
//!
//! An existing file shows its inode. A file that an earlier one of the walk is about to create does not: only the file
//! system knows whether `a` and `A` are one file. So this module says, for each directory, how far names can be
//! distinguished before the files exist.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{self, FsType, fstatfs};

use crate::cp::at_path::DirHandle;
use crate::sys::file::{inode_flags, is_xfs_case_insensitive};

/// The rule by which names in a directory identify files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameRule {
    /// Names with different bytes are different files.
    Exact,
    /// ASCII names are different files if they differ in more than the case of letters and the characters at their end.
    MayFold,
    /// Any two names may be one file: FAT shortens names, and nothing is known of file systems that are not listed
    /// here.
    Unknown,
}

/// The key that identifies a name while its file is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameKey {
    /// No key is needed, since the bytes identify the file.
    Exact,
    /// Names with different keys are different files.
    Folded(u64),
    /// The name may be any file of the directory, so it is copied while no other file is in flight.
    Ambiguous,
}

/// The flag of FS_IOC_GETFLAGS for a directory that folds case: FS_CASEFOLD_FL of linux/fs.h.
const CASEFOLD: u32 = 0x4000_0000;

/// The f_type of file systems for which nix has no name, from linux/magic.h and from the sources of the file systems.
const BCACHEFS: i64 = 0xca45_1a4e;
const RAMFS: i64 = 0x8584_58f6;
const CEPH: i64 = 0x00c3_6400;
const CIFS: i64 = 0xff53_4d42;
const SMB2: i64 = 0xfe53_4d42;
const V9FS: i64 = 0x0102_1997;
const ZFS: i64 = 0x2fc1_2fc1;

impl NameRule {
    /// Returns the rule of the file system of an open directory.
    pub(super) fn of(directory: impl AsFd) -> Self {
        let Ok(stat) = fstatfs(&directory) else {
            return Self::Unknown;
        };
        let fs = stat.filesystem_type();
        if fs == statfs::XFS_SUPER_MAGIC {
            return Self::folded_if(is_xfs_case_insensitive(&directory));
        }
        if is_exact_without_flag(fs) {
            return Self::folded_if(has_casefold_flag(&directory));
        }
        if is_unlikely_to_shorten(fs) {
            return Self::MayFold;
        }
        Self::Unknown
    }

    /// Returns the rule for the directory that an operand goes into, which may be open with O_PATH only.
    pub(super) fn of_folder(folder: &DirHandle) -> Self {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match openat(folder.as_fd(), ".", flags, Mode::empty()) {
            Ok(directory) => Self::of(directory),
            // The directory may be searched but not listed.
            Err(_) => Self::MayFold,
        }
    }

    fn folded_if(folds: bool) -> Self {
        if folds { Self::MayFold } else { Self::Exact }
    }

    /// Returns the key of a destination, given its path.
    pub(super) fn key(self, path: &Path) -> NameKey {
        match self {
            Self::Exact => NameKey::Exact,
            Self::Unknown => NameKey::Ambiguous,
            Self::MayFold => fold(path.as_os_str().as_bytes()),
        }
    }
}

/// Returns whether this is a local file system whose names are bytes, unless a directory has the casefold flag.
fn is_exact_without_flag(fs: FsType) -> bool {
    [
        statfs::EXT4_SUPER_MAGIC,
        statfs::BTRFS_SUPER_MAGIC,
        statfs::TMPFS_MAGIC,
        statfs::F2FS_SUPER_MAGIC,
        statfs::OVERLAYFS_SUPER_MAGIC,
        statfs::HUGETLBFS_MAGIC,
    ]
    .contains(&fs)
        || [BCACHEFS, RAMFS].contains(&fs.0)
}

/// Returns whether the file system belongs to a server or a daemon, which may fold and normalise names but is unlikely
/// to shorten them.
fn is_unlikely_to_shorten(fs: FsType) -> bool {
    [statfs::FUSE_SUPER_MAGIC, statfs::NFS_SUPER_MAGIC].contains(&fs)
        || [CEPH, CIFS, SMB2, V9FS, ZFS].contains(&fs.0)
}

fn has_casefold_flag(directory: impl AsFd) -> bool {
    match inode_flags(directory) {
        Ok(flags) => flags & CASEFOLD != 0,
        // Without this call there are no such directories. A descriptor that may only be searched cannot be queried.
        Err(e) => !matches!(
            e.raw_os_error(),
            Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
        ),
    }
}

/// Returns one key for all names that a file system may treat as one: in upper or lower case, and with or without dots
/// and spaces at the end (Windows drops them). `~` may mark a short name (`LONGNA~1`), and letters beyond ASCII have
/// further forms, some of them in ASCII (the Kelvin sign is a `k`), so these names are ambiguous.
fn fold(path: &[u8]) -> NameKey {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    if !name.is_ascii() || name.contains(&b'~') {
        return NameKey::Ambiguous;
    }
    let mut hasher = DefaultHasher::new();
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        let end = part.iter().rposition(|b| !matches!(b, b'.' | b' '));
        let part = &part[..end.map_or(part.len(), |at| at + 1)];
        part.to_ascii_lowercase().hash(&mut hasher);
    }
    NameKey::Folded(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_may_be_one_file_have_one_key() {
        let key = |name: &str| NameRule::MayFold.key(Path::new(name));
        for (one, other) in [
            ("d/a", "d/A"),
            ("D/a", "d/A"),
            ("d/a", "d/a."),
            ("d/a", "d//A. "),
        ] {
            assert!(matches!(key(one), NameKey::Folded(_)), "{one}");
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in [
            ("d/a", "d/b"),
            ("d/a", "e/a"),
            ("d/ab", "d/a/b"),
            ("d/.", "d/.."),
        ] {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
        for name in ["d/ä", "d/\u{212a}", "d/LONGNA~1"] {
            assert_eq!(key(name), NameKey::Ambiguous, "{name}");
        }
        assert_eq!(NameRule::Exact.key(Path::new("d/ä")), NameKey::Exact);
        assert_eq!(NameRule::Unknown.key(Path::new("d/a")), NameKey::Ambiguous);
    }

    #[test]
    fn the_file_systems_of_everyday_are_exact() {
        // Tests run on one of ext4, xfs, btrfs, tmpfs and overlay.
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            NameRule::of(std::fs::File::open(dir.path()).unwrap()),
            NameRule::Exact
        );
    }
}
