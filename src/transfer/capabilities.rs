//! Properties of a source and a destination, which the kernel reports once before the first byte is copied.

use std::fs::File;
use std::io;

use nix::sys::stat::SFlag;
use nix::sys::statfs::{self, FsType};
use nix::sys::uio::pread;
use nix::unistd::{Whence, lseek64};

use super::align::Align;
use super::dirty_window::FlushMethod;
use super::errno_class::retry;
use super::extent_scanner::{self, ScanMethod};
use super::mount_cache::MountCache;
use super::page_scanner::PageQuery;
use crate::sys::file::{DioAlign, StatxInfo};
use crate::sys::residency;

/// The magic number of ramfs, which is in <linux/magic.h> only.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Sources on a disk of at least this size in bytes are checked for being cached. For smaller ones a direct read saves
/// less than the check costs.
const BIG: u64 = 64 << 20;

/// File systems whose files are generated when they are read: their sizes are wrong (/proc reports 0, sysfs 4096).
const MADE_UP: [FsType; 15] = [
    statfs::PROC_SUPER_MAGIC,
    statfs::SYSFS_MAGIC,
    statfs::DEBUGFS_MAGIC,
    statfs::TRACEFS_MAGIC,
    statfs::CGROUP_SUPER_MAGIC,
    statfs::CGROUP2_SUPER_MAGIC,
    statfs::SECURITYFS_MAGIC,
    statfs::SELINUX_MAGIC,
    statfs::RDTGROUP_SUPER_MAGIC,
    statfs::BPF_FS_MAGIC,
    // mqueue, binfmt_misc, configfs, efivarfs, pstore: <linux/magic.h> and their sources.
    FsType(0x1980_0202),
    FsType(0x4249_4e4d),
    FsType(0x6265_6570),
    FsType(0xde5e_81e4),
    FsType(0x6165_676c),
];

/// The kind of storage that holds a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A file of tmpfs, a memfd, or SysV shared memory.
    Tmpfs,
    /// Huge pages from the reserved pool.
    Hugetlbfs,
    /// A file of ramfs: memory without a size limit or swap.
    Ramfs,
    /// A regular file on any other file system.
    Disk,
    /// A block device, such as a partition.
    BlockDevice,
    /// A source that is read to its end, whatever size it reports: pipes, character devices, /proc and sysfs.
    Stream,
}

impl SourceKind {
    /// Returns whether the bytes are in memory and can be written from where they are.
    #[must_use]
    pub fn is_memory(self) -> bool {
        matches!(self, Self::Tmpfs | Self::Hugetlbfs | Self::Ramfs)
    }
}

/// The properties of a source.
#[derive(Debug, Clone)]
pub struct SourceInfo {
    /// The kind of storage that holds it.
    pub kind: SourceKind,
    /// Whether it is a pipe or a FIFO, so that pages can be moved out of it.
    pub is_pipe: bool,
    /// Size in bytes; 0 for a stream.
    pub size: u64,
    /// Bytes that are allocated, at most `size`. It estimates the amount of data.
    pub data: u64,
    /// The `st_blksize` of the source: 2 MiB and more if its memory is in huge pages.
    pub block: u64,
    /// Type of its file system.
    pub fs: FsType,
    /// Modification time in seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// How its holes are found.
    pub finder: ScanMethod,
    /// Alignment for reading it with O_DIRECT, if that avoids filling the page cache.
    pub read_direct: Option<Align>,
}

impl SourceInfo {
    /// Queries the properties of a source.
    ///
    /// # Errors
    /// The errors of fstat(2), fstatfs(2) and lseek(2).
    pub fn of(file: &File) -> io::Result<Self> {
        Self::on(&mut MountCache::default(), file, &StatxInfo::query(file)?)
    }

    /// Queries the properties of a source, using its status and what is known of its mount.
    pub(super) fn on(mounts: &mut MountCache, file: &File, status: &StatxInfo) -> io::Result<Self> {
        let fs = mounts.fs(file, status)?;
        let kind = match source_kind(status, fs) {
            // An empty file in memory is known to be empty; it is read nevertheless, so that its access time changes.
            kind if kind != SourceKind::Stream
                && status.size == 0
                && status.is_type(SFlag::S_IFREG) =>
            {
                match (has_bytes(file), kind) {
                    (true, SourceKind::Disk) => SourceKind::Stream,
                    _ => kind,
                }
            }
            kind => kind,
        };
        let size = match kind {
            SourceKind::Stream => 0,
            // A block device has st_size 0.
            SourceKind::BlockDevice => lseek64(file, 0, Whence::SeekEnd)?.cast_unsigned(),
            _ => status.size,
        };
        let allocated = match kind {
            SourceKind::BlockDevice => size,
            _ => status.allocated,
        };
        Ok(Self {
            kind,
            is_pipe: status.is_type(SFlag::S_IFIFO),
            size,
            data: allocated.min(size),
            block: status.block_size,
            fs,
            mtime: status.mtime,
            finder: finder(file, kind, size),
            read_direct: read_direct(file, kind, size, status.dio_align),
        })
    }

    /// Returns the size in bytes, or `None` for a stream, whose size is known at its end.
    #[must_use]
    pub fn known_size(&self) -> Option<u64> {
        (self.kind != SourceKind::Stream).then_some(self.size)
    }

    /// Returns whether every byte is allocated, by the file system's count.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.data >= self.size
    }
}

/// Returns how the holes of a source are found. In a small file of tmpfs lseek walks no further than a window.
fn finder(file: &File, kind: SourceKind, size: u64) -> ScanMethod {
    match kind {
        SourceKind::Ramfs => ScanMethod::Ramfs(PageQuery::of(file)),
        SourceKind::Tmpfs if size > extent_scanner::QUERY_WINDOW_BYTES => {
            ScanMethod::Tmpfs(PageQuery::of(file))
        }
        SourceKind::BlockDevice | SourceKind::Hugetlbfs => ScanMethod::Everything,
        SourceKind::Tmpfs | SourceKind::Disk | SourceKind::Stream => ScanMethod::Seek,
    }
}

/// Returns whether a file whose size is 0 has bytes nevertheless, because it is generated when it is read and its file
/// system is in no list.
fn has_bytes(file: &File) -> bool {
    matches!(retry(|| pread(file, &mut [0], 0)), Ok(1))
}

fn source_kind(status: &StatxInfo, fs: FsType) -> SourceKind {
    if status.is_type(SFlag::S_IFBLK) {
        SourceKind::BlockDevice
    } else if !status.is_type(SFlag::S_IFREG) || MADE_UP.contains(&fs) {
        SourceKind::Stream
    } else if fs == statfs::TMPFS_MAGIC {
        SourceKind::Tmpfs
    } else if fs == statfs::HUGETLBFS_MAGIC {
        SourceKind::Hugetlbfs
    } else if is_ramfs(fs) {
        SourceKind::Ramfs
    } else {
        SourceKind::Disk
    }
}

/// Returns the alignment for direct reads of a large source on a disk that is mostly not cached, so that this program
/// leaves no pages in the cache. A cached source is read from the cache, since its bytes are in memory already.
fn read_direct(file: &File, kind: SourceKind, size: u64, dio: DioAlign) -> Option<Align> {
    if !matches!(kind, SourceKind::Disk | SourceKind::BlockDevice) || size < BIG {
        return None;
    }
    let is_cached = is_mostly_cached(file, size).ok()?;
    (dio != DioAlign::Unsupported && !is_cached).then(|| Align::from_statx(dio))
}

/// Number of places at which a source is checked for being cached: 64 calls of mincore, 0.5 ms in all. Over the whole
/// of 1 TiB it took 9.7 s.
const CACHE_SAMPLES: u64 = 64;
const SAMPLE: u64 = 128 << 10;

/// Estimates whether at least half of a file is in the page cache, from samples at even distances.
fn is_mostly_cached(file: &File, size: u64) -> io::Result<bool> {
    let page = residency::page_size();
    let distance = size / CACHE_SAMPLES / page * page;
    let mut cached = 0;
    for sample in 0..CACHE_SAMPLES {
        cached += residency::resident_bytes(file, sample * distance, SAMPLE.min(distance))?;
    }
    Ok(cached >= CACHE_SAMPLES * SAMPLE.min(distance) / 2)
}

/// Whether O_DIRECT on a destination keeps its bytes out of the page cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direct {
    /// statx(2) confirms it and reports alignments.
    Genuine,
    /// Nothing contradicts it, and the first write will show.
    Unproven,
    /// It does not, for this reason.
    No(String),
}

/// The properties of a destination.
#[derive(Debug, Clone)]
pub struct DestCaps {
    /// Whether it is a regular file, which can be sparse and be truncated.
    pub regular: bool,
    /// Whether it can only be written from front to back: a pipe, a terminal, /dev/null.
    pub stream: bool,
    /// Type of its file system.
    pub fs: FsType,
    /// The mount through which it was opened, if that is known.
    pub mount: Option<u64>,
    /// Size in bytes before the copy.
    pub size: u64,
    /// Bytes that are allocated for it before the copy.
    pub allocated: u64,
    /// Whether O_DIRECT bypasses the page cache.
    pub direct: Direct,
    /// Whether RWF_DONTCACHE works here, or the reason why it does not.
    pub dontcache: Result<(), String>,
    /// The alignment of direct writes.
    pub align: Align,
    /// How its dirty pages can be written to the device.
    pub flush: FlushMethod,
    /// Whether space can be reserved without harm, or the reason why not.
    pub reserve: Result<(), &'static str>,
}

impl DestCaps {
    /// Queries the properties of a destination, using its status and what is known of its mount.
    ///
    /// # Errors
    /// The error of fstatfs(2).
    pub(super) fn on(mounts: &mut MountCache, file: &File, status: &StatxInfo) -> io::Result<Self> {
        let fs = mounts.fs(file, status)?;
        let regular = status.is_type(SFlag::S_IFREG);
        let stream = !regular && !status.is_type(SFlag::S_IFBLK);
        Ok(Self {
            regular,
            stream,
            fs,
            mount: status.mount_id,
            size: status.size,
            allocated: status.allocated,
            direct: direct_of(stream, regular, fs, status.dio_align),
            dontcache: dontcache_of(stream, fs, status.dio_align),
            align: Align::from_statx(status.dio_align),
            flush: if stream || is_memory(fs) && regular {
                FlushMethod::Nothing
            } else if fs == statfs::OVERLAYFS_SUPER_MAGIC || fs == statfs::FUSE_SUPER_MAGIC {
                FlushMethod::Datasync
            } else {
                FlushMethod::Range
            },
            reserve: if regular {
                reserve_of(fs)
            } else {
                Err("not a regular file")
            },
        })
    }
}

fn direct_of(stream: bool, regular: bool, fs: FsType, dio: DioAlign) -> Direct {
    if stream {
        return Direct::No("destination is neither a file nor a block device".into());
    }
    if regular && is_memory(fs) {
        return Direct::No(format!("{} keeps its files in the page cache", fs_name(fs)));
    }
    if fs == statfs::FUSE_SUPER_MAGIC {
        return Direct::No("FUSE: the daemon may cache what is written".into());
    }
    match dio {
        DioAlign::Unsupported => Direct::No(format!(
            "{}: statx reports no direct I/O for this file (as with data=journal), though open accepts O_DIRECT",
            fs_name(fs)
        )),
        DioAlign::Bytes { mem, .. } if u64::from(mem) > residency::page_size() => Direct::No(
            format!("direct I/O needs memory aligned to {mem} bytes here"),
        ),
        DioAlign::Bytes { .. } => Direct::Genuine,
        DioAlign::Unknown => Direct::Unproven,
    }
}

fn dontcache_of(stream: bool, fs: FsType, dio: DioAlign) -> Result<(), String> {
    if stream {
        Err("destination is neither a file nor a block device".into())
    } else if fs == statfs::EXT4_SUPER_MAGIC && dio == DioAlign::Unsupported {
        // Measured on 6.18.
        Err("ext4 with data=journal accepts RWF_DONTCACHE and caches everything".into())
    } else {
        Ok(())
    }
}

/// Returns whether space can be reserved, which is done only if fallocate(2) costs little and has no other effect.
fn reserve_of(fs: FsType) -> Result<(), &'static str> {
    match fs {
        statfs::EXT4_SUPER_MAGIC | statfs::XFS_SUPER_MAGIC | statfs::F2FS_SUPER_MAGIC => Ok(()),
        statfs::BTRFS_SUPER_MAGIC => Err("on btrfs fallocate switches compression off"),
        fs if is_memory(fs) => Err("on tmpfs fallocate costs as much as writing"),
        _ => Err("it is unknown what fallocate does on this file system"),
    }
}

fn is_ramfs(fs: FsType) -> bool {
    fs.0 == RAMFS_MAGIC
}

/// Returns whether files of this file system are memory.
#[must_use]
pub fn is_memory(fs: FsType) -> bool {
    fs == statfs::TMPFS_MAGIC || fs == statfs::HUGETLBFS_MAGIC || is_ramfs(fs)
}

/// Returns the name of a file system type, for reasons and `--debug`.
#[must_use]
pub fn fs_name(fs: FsType) -> String {
    match fs {
        statfs::TMPFS_MAGIC => "tmpfs".into(),
        statfs::HUGETLBFS_MAGIC => "hugetlbfs".into(),
        statfs::EXT4_SUPER_MAGIC => "ext4".into(),
        statfs::XFS_SUPER_MAGIC => "xfs".into(),
        statfs::BTRFS_SUPER_MAGIC => "btrfs".into(),
        statfs::F2FS_SUPER_MAGIC => "f2fs".into(),
        statfs::NFS_SUPER_MAGIC => "nfs".into(),
        statfs::OVERLAYFS_SUPER_MAGIC => "overlay".into(),
        statfs::FUSE_SUPER_MAGIC => "fuse".into(),
        statfs::PROC_SUPER_MAGIC => "proc".into(),
        statfs::SYSFS_MAGIC => "sysfs".into(),
        fs if is_ramfs(fs) => "ramfs".into(),
        fs => format!("file system type {:#x}", fs.0),
    }
}
