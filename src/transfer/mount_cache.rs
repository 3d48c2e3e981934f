//! Remembers for each thread what all files of a mount have in common: the type of the file system, and the calls that
//! it refused.

use std::fs::File;
use std::io;

use nix::sys::statfs::{FsType, fstatfs};

use super::errno_class::retry;
use crate::sys::file::StatxInfo;

/// Largest number of mounts that are remembered; when it is exceeded, all are forgotten and queried again.
const MAX_CACHED_MOUNTS: usize = 64;

#[derive(Debug)]
struct Mount {
    id: u64,
    fs: FsType,
    dontcache: bool,
}

/// The mounts met so far.
///
/// Mounts are identified by their own number and not by that of the device: a file of an overlay can have the device of
/// the layer that holds it.
#[derive(Debug, Default)]
pub(super) struct MountCache(Vec<Mount>);

impl MountCache {
    /// Returns the type of the file system that holds `file`.
    ///
    /// # Errors
    /// The error of fstatfs(2).
    pub(super) fn fs(&mut self, file: &File, status: &StatxInfo) -> io::Result<FsType> {
        if let Some(mount) = self.get(status.mount_id) {
            return Ok(mount.fs);
        }
        let fs = retry(|| fstatfs(file))?.filesystem_type();
        if let Some(id) = status.mount_id {
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

    /// Returns whether RWF_DONTCACHE has not been refused on this mount.
    pub(super) fn dontcache(&mut self, mount: Option<u64>) -> bool {
        self.get(mount).is_none_or(|mount| mount.dontcache)
    }

    /// Records that RWF_DONTCACHE was refused on this mount.
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
