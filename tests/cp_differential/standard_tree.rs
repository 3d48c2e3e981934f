//! The tree that every case of a table begins with. Made by direct calls: a shell would take longer than the copy.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, lstat, mknod, utimensat};
use nix::sys::time::TimeSpec;

use super::tree_snapshot::names;

const FILES: [(&str, &str); 5] = [
    ("a", "alpha"),
    ("b", "bravo"),
    ("empty", ""),
    ("dir/x", "x-ray"),
    ("dir/sub/y", "yankee"),
];

const DIRECTORIES: [&str; 4] = ["dir", "dir/sub", "dir/void", "other"];

const SYMLINKS: [(&str, &str); 6] = [
    ("link", "a"),
    ("dangling", "nowhere"),
    ("dlink", "dir"),
    ("dir/rel", "x"),
    ("dir/sub/dangling", "../nowhere"),
    ("dir/sublink", "sub"),
];

/// 2011-11-11 11:11:11 UTC, and some.
const OLD_MTIME: TimeSpec = TimeSpec::new(1_321_009_871, 123_456_789);

/// What changed after 2021 was changed by a case.
const YEAR_2021: i64 = 1_609_459_200;

pub(super) fn make(root: &Path) {
    for name in DIRECTORIES {
        fs::create_dir(root.join(name)).unwrap();
        fs::set_permissions(root.join(name), Permissions::from_mode(0o755)).unwrap();
    }
    for (name, body) in FILES {
        fs::write(root.join(name), body).unwrap();
        fs::set_permissions(root.join(name), Permissions::from_mode(0o644)).unwrap();
    }
    fs::hard_link(root.join("a"), root.join("hard")).unwrap();
    for (name, to) in SYMLINKS {
        symlink(to, root.join(name)).unwrap();
    }
    let mode = Mode::from_bits_truncate(0o644);
    mknod(&root.join("sock"), SFlag::S_IFSOCK, mode, 0).unwrap();
}

/// Old times on everything that has none yet, so that a time which was kept differs from one which is new.
pub(super) fn set_old_times(root: &Path) {
    for name in [".".into()].into_iter().chain(names(root)) {
        let path = root.join(name);
        if lstat(&path).unwrap().st_mtime > YEAR_2021 {
            let flags = UtimensatFlags::NoFollowSymlink;
            utimensat(AT_FDCWD, &path, &OLD_MTIME, &OLD_MTIME, flags).unwrap();
        }
    }
}
