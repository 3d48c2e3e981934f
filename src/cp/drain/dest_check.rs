//! Whether what a destination says is on the disk may be trusted so far that the source is given up.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::sys::stat::fstat;
use nix::sys::statfs::{self, FsType, fstatfs};

use super::super::at_path::AtPath;
use super::super::error::DrainObstacle;
use crate::observe::mount::Mount;
use crate::sys::strerror::strerror;
use crate::transfer::capabilities::{fs_name, is_memory};

/// File systems whose fdatasync(2) is known to reach the medium. An overlay may be mounted so that it does nothing, FUSE
/// and servers answer as they like.
const REACHES_MEDIUM: [FsType; 4] = [
    statfs::EXT4_SUPER_MAGIC,
    statfs::XFS_SUPER_MAGIC,
    statfs::BTRFS_SUPER_MAGIC,
    statfs::F2FS_SUPER_MAGIC,
];

/// Mount options with which the cache of the disk is not flushed.
const NO_FLUSH: [&str; 3] = ["nobarrier", "barrier=0", "fsync_mode=nobarrier"];

/// Checks the directory that the destination of `source` is in.
///
/// # Errors
/// Why the source cannot be drained to it.
pub(in crate::cp) fn check_dest(source: &File, entry: &AtPath) -> Result<(), DrainObstacle> {
    let not_durable = |why: String| Err(DrainObstacle::NotDurable(why));
    let dir = entry.dir();
    let (from, to) = match (fstat(source), fstat(dir)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(e), _) | (_, Err(e)) => return not_durable(e.desc().into()),
    };
    if from.st_dev == to.st_dev {
        return Err(DrainObstacle::SameFileSystem);
    }
    let kind = match fstatfs(dir.as_fd()) {
        Ok(fs) => fs.filesystem_type(),
        Err(e) => return not_durable(e.desc().into()),
    };
    if is_memory(kind) {
        return not_durable(format!("{} is memory and no disk", fs_name(kind)));
    }
    if !REACHES_MEDIUM.contains(&kind) {
        let name = fs_name(kind);
        return not_durable(format!(
            "{name}: it is not known that fdatasync reaches a disk there"
        ));
    }
    match flush_option(entry) {
        Ok(Some(option)) => not_durable(format!(
            "it is mounted with {option}, so fdatasync does not reach the disk"
        )),
        Ok(None) => Ok(()),
        Err(why) => not_durable(format!("it is not known how it is mounted ({why})")),
    }
}

/// Returns the mount option with which a file system does not flush the cache of its disk, if it has one; or why that is not
/// known.
fn flush_option(entry: &AtPath) -> Result<Option<String>, String> {
    let dir = entry.open_parent().map_err(|e| strerror(&e))?;
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    let mount = Mount::of_path(Path::new("/"), Path::new(&path)).map_err(|e| e.to_string())?;
    let mut options = mount.public_options().into_iter();
    Ok(options.find(|option| NO_FLUSH.contains(&option.as_str())))
}
