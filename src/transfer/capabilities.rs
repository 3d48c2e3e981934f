//! What the kernel says of a source and a destination, asked once before a byte moves.

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

/// ramfs(5) has its magic in <linux/magic.h> only.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Sources of this size and more on a disk are looked at for being cached already; below, a direct read saves less
/// than the look costs.
const BIG: u64 = 64 << 20;

/// File systems whose files are made up on reading: their sizes lie (/proc says 0, sysfs 4096).
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

/// What a source is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// tmpfs, memfd and SysV shared memory among them.
    Tmpfs,
    /// Huge pages from the reserved pool.
    Hugetlbfs,
    /// Memory without a size limit or swap.
    Ramfs,
    /// A regular file on anything else.
    Disk,
    /// A block device.
    BlockDevice,
    /// Read to its end, whatever size it claims: pipes, character devices, /proc and sysfs.
    Stream,
}

impl SourceKind {
    /// Whether the bytes are in memory already and can be written from where they are.
    #[must_use]
    pub fn is_memory(self) -> bool {
        matches!(self, Self::Tmpfs | Self::Hugetlbfs | Self::Ramfs)
    }
}

/// The facts of a source.
#[derive(Debug, Clone)]
pub struct SourceInfo {
    /// What it is made of.
    pub kind: SourceKind,
    /// Bytes; 0 for a stream.
    pub size: u64,
    /// Bytes that are allocated, at most `size`: an estimate of the data.
    pub data: u64,
    /// `st_blksize`: 2 MiB and more where the memory is in huge pages.
    pub block: u64,
    /// File system type.
    pub fs: FsType,
    /// Modification time, seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// How its holes are found.
    pub finder: ScanMethod,
    /// Alignment to read it with O_DIRECT, where that spares its page cache.
    pub read_direct: Option<Align>,
}

impl SourceInfo {
    /// Asks.
    ///
    /// # Errors
    /// fstat's, fstatfs's and lseek's.
    pub fn of(file: &File) -> io::Result<Self> {
        Self::on(&mut MountCache::default(), file)
    }

    /// The same, with what is known of the mount already.
    pub(super) fn on(mounts: &mut MountCache, file: &File) -> io::Result<Self> {
        let look = StatxInfo::query(file)?;
        let fs = mounts.fs(file, &look)?;
        let kind = match source_kind(&look, fs) {
            // Of an empty file in memory this is known; to have read it all the same is what its access time tells of.
            kind if kind != SourceKind::Stream
                && look.size == 0
                && look.is_type(SFlag::S_IFREG) =>
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
            _ => look.size,
        };
        let allocated = match kind {
            SourceKind::BlockDevice => size,
            _ => look.allocated,
        };
        Ok(Self {
            kind,
            size,
            data: allocated.min(size),
            block: look.block_size,
            fs,
            mtime: look.mtime,
            finder: finder(file, kind, size),
            read_direct: read_direct(file, kind, size, look.dio_align),
        })
    }

    /// Whether every byte is allocated, as far as the file system counts.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.data >= self.size
    }
}

/// How the holes of a source are found. In a small file of tmpfs lseek walks no further than a window.
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

/// Whether a file that says it is empty is not: one that is made up on reading, on a file system that no list has.
fn has_bytes(file: &File) -> bool {
    matches!(retry(|| pread(file, &mut [0], 0)), Ok(1))
}

fn source_kind(look: &StatxInfo, fs: FsType) -> SourceKind {
    if look.is_type(SFlag::S_IFBLK) {
        SourceKind::BlockDevice
    } else if !look.is_type(SFlag::S_IFREG) || MADE_UP.contains(&fs) {
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

/// A big source on a disk that is mostly not cached is read past the cache, to leave no pages of ours there. One that is
/// cached is read from there: those bytes are in memory already.
fn read_direct(file: &File, kind: SourceKind, size: u64, dio: DioAlign) -> Option<Align> {
    if !matches!(kind, SourceKind::Disk | SourceKind::BlockDevice) || size < BIG {
        return None;
    }
    let is_cached = is_mostly_cached(file, size).ok()?;
    (dio != DioAlign::Unsupported && !is_cached).then(|| Align::from_statx(dio))
}

/// Places at which a source is looked at for being cached, and bytes at each: 64 calls of mincore, 0.5 ms in all. Over the
/// whole of 1 TiB it took 9.7 s.
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
    /// statx says so, with alignments.
    Genuine,
    /// Nothing says no; the first write will show.
    Unproven,
    /// It does not, and this is why.
    No(String),
}

/// The facts of a destination.
#[derive(Debug, Clone)]
pub struct DestCaps {
    /// A regular file: it can be sparse and be cut to size.
    pub regular: bool,
    /// Written front to back only: a pipe, a terminal, /dev/null.
    pub stream: bool,
    /// File system type.
    pub fs: FsType,
    /// The mount it was opened through, where that can be known.
    pub mount: Option<u64>,
    /// Bytes that it has before the copy.
    pub size: u64,
    /// And those that are allocated for it.
    pub allocated: u64,
    /// Whether O_DIRECT is real.
    pub direct: Direct,
    /// Why RWF_DONTCACHE is known not to keep its word here, if it is.
    pub dontcache: Result<(), String>,
    /// Alignment of direct writes.
    pub align: Align,
    /// How its dirty pages can be brought to the device.
    pub flush: FlushMethod,
    /// Whether space can be reserved at no harm, or why not.
    pub reserve: Result<(), &'static str>,
}

impl DestCaps {
    /// Asks.
    ///
    /// # Errors
    /// fstat's and fstatfs's.
    pub(super) fn on(mounts: &mut MountCache, file: &File) -> io::Result<Self> {
        let look = StatxInfo::query(file)?;
        let fs = mounts.fs(file, &look)?;
        let regular = look.is_type(SFlag::S_IFREG);
        let stream = !regular && !look.is_type(SFlag::S_IFBLK);
        Ok(Self {
            regular,
            stream,
            fs,
            mount: look.mount_id,
            size: look.size,
            allocated: look.allocated,
            direct: direct_of(stream, regular, fs, look.dio_align),
            dontcache: dontcache_of(stream, fs, look.dio_align),
            align: Align::from_statx(look.dio_align),
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
        return Direct::No(format!(
            "{} is memory: its files are page cache",
            fs_name(fs)
        ));
    }
    if fs == statfs::FUSE_SUPER_MAGIC {
        return Direct::No("FUSE: the daemon behind caches what it is given".into());
    }
    match dio {
        DioAlign::Unsupported => Direct::No(format!(
            "{}: statx reports no direct I/O for this file (as with data=journal), though open accepts O_DIRECT",
            fs_name(fs)
        )),
        DioAlign::Bytes { mem, .. } if u64::from(mem) > residency::page_size() => Direct::No(
            format!("direct I/O here wants memory aligned to {mem} bytes"),
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

/// Reserving is harmless where fallocate(2) costs little and changes nothing else.
fn reserve_of(fs: FsType) -> Result<(), &'static str> {
    match fs {
        statfs::EXT4_SUPER_MAGIC | statfs::XFS_SUPER_MAGIC | statfs::F2FS_SUPER_MAGIC => Ok(()),
        statfs::BTRFS_SUPER_MAGIC => Err("on btrfs any fallocate switches compression off"),
        fs if is_memory(fs) => Err("on tmpfs fallocate costs as much as writing"),
        _ => Err("unknown what fallocate does on this file system"),
    }
}

fn is_ramfs(fs: FsType) -> bool {
    fs.0 == RAMFS_MAGIC
}

fn is_memory(fs: FsType) -> bool {
    fs == statfs::TMPFS_MAGIC || fs == statfs::HUGETLBFS_MAGIC || is_ramfs(fs)
}

/// The name of a file system type, for reasons and `--debug`.
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
