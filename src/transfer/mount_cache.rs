//! What is the same for all files of a mount, asked once by each thread: the type of file system, and what it has refused.

use std::fs::File;
use std::io;

use nix::sys::statfs::{FsType, fstatfs};

use super::errno_class::retry;
use crate::sys::file::StatxInfo;

/// So many are remembered; trees over more mounts than that are asked again.
const MAX_CACHED_MOUNTS: usize = 64;

#[derive(Debug)]
struct Mount {
    id: u64,
    fs: FsType,
    dontcache: bool,
}

/// The mounts met so far.
///
/// By the number of the mount and not of the device: a file of an overlay can have the device of the layer that it lies on.
#[derive(Debug, Default)]
pub(super) struct MountCache(Vec<Mount>);

impl MountCache {
    /// The type of the file system that `file` lies on.
    ///
    /// # Errors
    /// fstatfs's.
    pub(super) fn fs(&mut self, file: &File, look: &StatxInfo) -> io::Result<FsType> {
        if let Some(mount) = self.get(look.mount_id) {
            return Ok(mount.fs);
        }
        let fs = retry(|| fstatfs(file))?.filesystem_type();
        if let Some(id) = look.mount_id {
            if self.0.len() == MAX_CACHED_MOUNTS {
                self.0.clear();
            }
            self.0.push(Mount {
                id,
                fs,
                dontcache: true,
            });
        }
        Ok(fs)
    }

    /// Whether RWF_DONTCACHE has not been refused there.
    pub(super) fn dontcache(&mut self, mount: Option<u64>) -> bool {
        self.get(mount).is_none_or(|mount| mount.dontcache)
    }

    /// It has been refused.
    pub(super) fn refuse_dontcache(&mut self, mount: Option<u64>) {
        if let Some(mount) = self.get(mount) {
            mount.dontcache = false;
        }
    }

    fn get(&mut self, id: Option<u64>) -> Option<&mut Mount> {
        let id = id?;
        self.0.iter_mut().find(|mount| mount.id == id)
    }
}
