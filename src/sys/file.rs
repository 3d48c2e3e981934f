//! Calls on one open file that nix does not wrap: statx, pwritev2, sync_file_range, FICLONE; and flock without nix's
//! guard, whose destructor may panic.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::SFlag;

/// The unit of `st_blocks` in bytes, whatever the block size of the file system is: S_BLKSIZE of stat(3type).
pub const STAT_BLOCK_BYTES: u64 = 512;

/// Returns how many bytes are allocated for a file.
#[must_use]
pub fn allocated_bytes(meta: &Metadata) -> u64 {
    meta.blocks() * STAT_BLOCK_BYTES
}

/// What statx(2) reports about direct I/O on a file (`STATX_DIOALIGN`, Linux 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DioAlign {
    /// The kernel or the file system does not report it.
    Unknown,
    /// It reports zero: open(2) may accept O_DIRECT, but direct I/O is not done on this file.
    Unsupported,
    /// It reports the alignments, in bytes, of memory and of file offset and length.
    Bytes {
        /// The alignment of memory, `stx_dio_mem_align`.
        mem: u32,
        /// The alignment of offset and length, `stx_dio_offset_align`.
        offset: u32,
    },
}

/// What one call of statx(2) reports about an open file.
#[derive(Debug, Clone, Copy)]
pub struct StatxInfo {
    /// The number of its device, as in `st_dev`.
    pub device: u64,
    /// The number of its inode on that device.
    pub inode: u64,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Size of the file in bytes.
    pub size: u64,
    /// Bytes that are allocated for the file.
    pub allocated: u64,
    /// Preferred block size in bytes, `st_blksize`.
    pub block_size: u64,
    /// Modification time in seconds and nanoseconds since the epoch.
    pub mtime: (i64, i64),
    /// Identifier of the mount through which the file was opened (`STATX_MNT_ID`, Linux 5.8).
    pub mount_id: Option<u64>,
    /// What is known about direct I/O.
    pub dio_align: DioAlign,
}

impl StatxInfo {
    /// Calls statx(2), or fstat(2) if statx is refused. Fields that fstat does not have are then unknown.
    ///
    /// # Errors
    /// The error of fstat(2).
    pub fn query(file: &File) -> io::Result<Self> {
        match statx(file) {
            Ok(stx) => Ok(Self::from_statx(&stx)),
            Err(_) => file.metadata().map(|meta| Self::from_stat(&meta)),
        }
    }

    /// Returns whether the file is of type `kind`.
    #[must_use]
    pub fn is_type(&self, kind: SFlag) -> bool {
        self.mode & SFlag::S_IFMT.bits() == kind.bits()
    }

    fn from_statx(stx: &libc::statx) -> Self {
        Self {
            device: libc::makedev(stx.stx_dev_major, stx.stx_dev_minor),
            inode: stx.stx_ino,
            mode: stx.stx_mode.into(),
            size: stx.stx_size,
            allocated: stx.stx_blocks * STAT_BLOCK_BYTES,
            block_size: stx.stx_blksize.into(),
            mtime: (stx.stx_mtime.tv_sec, stx.stx_mtime.tv_nsec.into()),
            mount_id: (stx.stx_mask & libc::STATX_MNT_ID != 0).then_some(stx.stx_mnt_id),
            dio_align: dio_align(stx),
        }
    }

    fn from_stat(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            mode: meta.mode(),
            size: meta.len(),
            allocated: allocated_bytes(meta),
            block_size: meta.blksize(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            mount_id: None,
            dio_align: DioAlign::Unknown,
        }
    }
}

fn statx(file: &File) -> io::Result<libc::statx> {
    const EMPTY: &CStr = c"";
    let mut stx = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is a valid C string, and `stx` is writable and of the size the kernel fills.
    let rc = unsafe {
        libc::statx(
            file.as_raw_fd(),
            EMPTY.as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_BASIC_STATS | libc::STATX_MNT_ID | libc::STATX_DIOALIGN,
            stx.as_mut_ptr(),
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `libc::statx` is made of integers, for which all-zero bytes are valid, and the kernel filled the rest.
    Ok(unsafe { stx.assume_init() })
}

fn dio_align(stx: &libc::statx) -> DioAlign {
    if stx.stx_mask & libc::STATX_DIOALIGN == 0 {
        DioAlign::Unknown
    } else if stx.stx_dio_offset_align == 0 || stx.stx_dio_mem_align == 0 {
        DioAlign::Unsupported
    } else {
        DioAlign::Bytes {
            mem: stx.stx_dio_mem_align,
            offset: stx.stx_dio_offset_align,
        }
    }
}

/// Sets or clears O_DIRECT on an open file. This is done after open(2), because ramfs refuses O_DIRECT there only after
/// it has created an empty file.
///
/// # Errors
/// The error of fcntl(2); EINVAL if the file system has no direct I/O.
pub fn set_direct(file: impl AsFd, on: bool) -> io::Result<()> {
    let fd = file.as_fd();
    let now = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let mut want = now;
    want.set(OFlag::O_DIRECT, on);
    if want != now {
        fcntl(fd, FcntlArg::F_SETFL(want))?;
    }
    Ok(())
}

/// Calls pwritev2(2) for one buffer with `RWF_DONTCACHE` (Linux 6.14).
///
/// # Errors
/// EOPNOTSUPP if the kernel or the file system lacks it (glibc returns it also when the call itself is ENOSYS).
pub fn pwrite_dontcache(file: impl AsFd, data: &[u8], offset: u64) -> io::Result<usize> {
    let iov = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: one iovec over a live slice; pwritev2 only reads it.
    let n = unsafe {
        libc::pwritev2(
            file.as_fd().as_raw_fd(),
            &raw const iov,
            1,
            offset as libc::off_t,
            libc::RWF_DONTCACHE,
        )
    };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Makes `dest` share all blocks of `source`: ioctl_ficlone(2).
///
/// # Errors
/// EXDEV between file systems; EOPNOTSUPP or EINVAL if it cannot be done.
pub fn clone_file(source: impl AsFd, dest: impl AsFd) -> io::Result<()> {
    // SAFETY: the third argument of FICLONE is a descriptor, passed by value.
    let rc = unsafe {
        libc::ioctl(
            dest.as_fd().as_raw_fd(),
            libc::FICLONE,
            source.as_fd().as_raw_fd(),
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How much of the writeback [`sync_range`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncRange {
    /// Starts the writeback of dirty pages and does not wait.
    StartWriteback,
    /// Waits for running writeback, writes the rest, and waits for it.
    WriteAndWait,
}

/// Writes the pages of a range back with sync_file_range(2). Neither metadata nor the cache of the disk is flushed.
///
/// # Errors
/// EIO or ENOSPC from writeback; ESPIPE if the descriptor is no regular file or block device.
pub fn sync_range(file: impl AsFd, offset: u64, len: u64, how: SyncRange) -> io::Result<()> {
    let flags = match how {
        SyncRange::StartWriteback => libc::SYNC_FILE_RANGE_WRITE,
        SyncRange::WriteAndWait => {
            libc::SYNC_FILE_RANGE_WAIT_BEFORE
                | libc::SYNC_FILE_RANGE_WRITE
                | libc::SYNC_FILE_RANGE_WAIT_AFTER
        }
    };
    // SAFETY: no pointer is passed.
    let rc = unsafe {
        libc::sync_file_range(
            file.as_fd().as_raw_fd(),
            offset as libc::off64_t,
            len as libc::off64_t,
            flags,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes an exclusive lock with flock(2), LOCK_EX and LOCK_NB. The kernel releases it when the last descriptor of this
/// open file description is closed.
///
/// # Errors
/// EWOULDBLOCK if another open file description holds it; ENOLCK and others if the file system has no locks.
pub fn try_lock(file: impl AsFd) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let rc = unsafe { libc::flock(file.as_fd().as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns the flags that chattr(1) shows: FS_IOC_GETFLAGS.
///
/// # Errors
/// ENOTTY if the file system has no such flags; EBADF for an O_PATH descriptor.
pub fn inode_flags(file: impl AsFd) -> io::Result<u32> {
    // The kernel writes an int, although the ioctl number says long. A long has room for both.
    let mut flags: libc::c_long = 0;
    // SAFETY: the third argument of FS_IOC_GETFLAGS is a pointer to an int that the kernel writes; `flags` is no smaller
    // and outlives the call.
    let rc = unsafe {
        libc::ioctl(
            file.as_fd().as_raw_fd(),
            libc::FS_IOC_GETFLAGS,
            &raw mut flags,
        )
    };
    if rc == 0 {
        let bytes = flags.to_ne_bytes();
        let int = bytes.first_chunk().copied().unwrap_or_default();
        Ok(u32::from_ne_bytes(int))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// XFS_IOC_FSGEOMETRY_V1 of libxfs/xfs_fs.h: `_IOR('X', 100, struct xfs_fsop_geom_v1)`, whose size is 112 bytes.
const XFS_GEOMETRY: libc::Ioctl = 0x8070_5864_u32 as libc::Ioctl;

/// Number of 4-byte words in `struct xfs_fsop_geom_v1`.
const XFS_GEOMETRY_WORDS: usize = 112 / 4;
/// Index of the word in `struct xfs_fsop_geom_v1` that holds the flags.
const XFS_GEOMETRY_FLAGS: usize = 92 / 4;

/// The flag XFS_FSOP_GEOM_FLAGS_DIRV2CI: the file system was made with `mkfs.xfs -n version=ci`.
const XFS_ASCII_CASELESS: u32 = 1 << 13;

/// Returns whether a file is on an XFS that ignores the case of ASCII letters in names. Returns true if the ioctl
/// fails.
pub fn is_xfs_case_insensitive(file: impl AsFd) -> bool {
    let mut geometry = [0_u64; XFS_GEOMETRY_WORDS.div_ceil(2)];
    // SAFETY: the kernel writes the 112 bytes of struct xfs_fsop_geom_v1, which holds u64; `geometry` has as many, is
    // aligned for u64 and outlives the call.
    let rc = unsafe {
        libc::ioctl(
            file.as_fd().as_raw_fd(),
            XFS_GEOMETRY,
            geometry.as_mut_ptr(),
        )
    };
    let words = geometry[XFS_GEOMETRY_FLAGS / 2].to_ne_bytes();
    let flags = words.last_chunk().copied().map_or(0, u32::from_ne_bytes);
    rc != 0 || flags & XFS_ASCII_CASELESS != 0
}
