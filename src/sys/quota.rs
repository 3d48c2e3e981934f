//! Asks for the disk quota of the owner of a file, by quotactl_fd(2) of Linux 5.14.
#![allow(unsafe_code)]

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// Size in bytes of the blocks in which quotactl(2) counts limits: QIF_DQBLKSIZE.
const QUOTA_BLOCK_BYTES: u64 = 1024;

/// The user and the group whose quotas a file is counted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileOwner {
    user: u32,
    group: u32,
}

impl FileOwner {
    /// Returns the owner of an open file if a quota limits one of the two there now; otherwise nobody needs to ask again.
    #[must_use]
    pub fn with_quota(file: &File) -> Option<Self> {
        let meta = file.metadata().ok()?;
        let owner = Self {
            user: meta.uid(),
            group: meta.gid(),
        };
        quota_left(file, owner).map(|_| owner)
    }
}

/// Returns how many bytes the quotas of `owner` still allow on the file system of `file`, or `None` if there is no hard
/// limit, or the kernel or the file system does not answer.
#[must_use]
pub fn quota_left(file: &File, owner: FileOwner) -> Option<u64> {
    let user = left_of(file, libc::USRQUOTA, owner.user);
    let group = left_of(file, libc::GRPQUOTA, owner.group);
    user.into_iter().chain(group).min()
}

fn left_of(file: &File, kind: libc::c_int, id: u32) -> Option<u64> {
    let mut quota = MaybeUninit::<libc::dqblk>::zeroed();
    let command = libc::QCMD(libc::Q_GETQUOTA, kind);
    // SAFETY: the descriptor is open, and `quota` is writable and of the type that Q_GETQUOTA fills.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_raw_fd(),
            command,
            id,
            quota.as_mut_ptr(),
        )
    };
    if rc != 0 {
        return None;
    }
    // SAFETY: `libc::dqblk` is made of integers, for which all-zero bytes are valid, and the kernel filled the rest.
    let quota = unsafe { quota.assume_init() };
    let limit = quota.dqb_bhardlimit.saturating_mul(QUOTA_BLOCK_BYTES);
    (limit > 0).then(|| limit.saturating_sub(quota.dqb_curspace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_quota_nothing_is_limited() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        assert_eq!(FileOwner::with_quota(&file), None);
    }
}
