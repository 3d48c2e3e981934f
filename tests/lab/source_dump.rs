//! Sources: dumps with data and holes on every kind of memory and on a disk.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, lseek};

use super::tool_command::search_path;
use crate::seeded_rng::scramble;

/// The size of a huge page here; holes and data start and end on it, or a huge page would fill the hole.
const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// Where a dump lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Disk,
    Hugetlbfs,
    Memfd,
    Ramfs,
    /// On the destination's own file system.
    Sibling,
    Tmpfs,
    TmpfsHuge,
}

/// Where the holes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DumpLayout {
    /// Hole, data, hole, data that ends off every boundary: there is a tail to write.
    DataLast,
    /// The same, and a hole behind: the size alone says where the file ends.
    HoleLast,
    /// No hole; on hugetlbfs every page allocated.
    Whole,
}

impl DumpLayout {
    pub(super) const ALL: [Self; 3] = [Self::DataLast, Self::HoleLast, Self::Whole];

    fn size(self) -> u64 {
        match self {
            Self::DataLast => 5 * HUGE_PAGE_BYTES + HUGE_PAGE_BYTES / 2 + 3333,
            Self::HoleLast => 7 * HUGE_PAGE_BYTES + 12345,
            Self::Whole => 5 * HUGE_PAGE_BYTES + 1,
        }
    }

    fn data(self) -> Vec<Range<u64>> {
        match self {
            Self::DataLast => vec![
                HUGE_PAGE_BYTES..2 * HUGE_PAGE_BYTES + 4096,
                4 * HUGE_PAGE_BYTES..self.size(),
            ],
            Self::HoleLast => vec![
                HUGE_PAGE_BYTES..2 * HUGE_PAGE_BYTES,
                4 * HUGE_PAGE_BYTES..5 * HUGE_PAGE_BYTES + 5000,
            ],
            Self::Whole => Vec::from([Range {
                start: 0,
                end: self.size(),
            }]),
        }
    }
}

/// A source file and what it holds.
#[derive(Debug)]
pub(super) struct SourceDump {
    pub(super) bytes: Vec<u8>,
    pub(super) origin: Origin,
    pub(super) path: PathBuf,
    pub(super) shape: DumpLayout,
    /// A memfd lives as long as somebody holds it.
    _held: Option<File>,
}

impl SourceDump {
    /// A dump as an ordinary file in `dir`.
    pub(super) fn in_dir(dir: &Path, origin: Origin, shape: DumpLayout) -> io::Result<Self> {
        let path = dir.join(format!("{shape:?}.dump"));
        let file = File::create_new(&path)?;
        let bytes = write_sparse(&file, shape)?;
        Ok(Self {
            bytes,
            origin,
            path,
            shape,
            _held: None,
        })
    }

    /// A dump in a memfd, named by this process's descriptor, as a collector would name one.
    pub(super) fn in_memfd(shape: DumpLayout) -> io::Result<Self> {
        let file = File::from(memfd_create("lab", MFdFlags::MFD_CLOEXEC)?);
        let bytes = write_sparse(&file, shape)?;
        let path = PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            file.as_raw_fd()
        ));
        Ok(Self {
            bytes,
            origin: Origin::Memfd,
            path,
            shape,
            _held: Some(file),
        })
    }

    /// A dump on hugetlbfs, which knows no write(2): xfs_io fills it through a mapping. `HoleLast` leaves pages unallocated.
    pub(super) fn in_hugetlbfs(dir: &Path, shape: DumpLayout) -> io::Result<Self> {
        let path = dir.join(format!("{shape:?}.dump"));
        let size = shape.size().next_multiple_of(HUGE_PAGE_BYTES);
        let mut bytes = vec![0; usize::try_from(size).expect("a small dump")];
        let mut script = format!("truncate {size}\nmmap -rw 0 {size}\n");
        for range in shape.data() {
            for page in (range.start..range.end.next_multiple_of(HUGE_PAGE_BYTES)).step_by(4096) {
                let seed = (page / 4096 * 7 + page / HUGE_PAGE_BYTES) as u8;
                script += &format!("mwrite -S {seed} {page} 4096\n");
                bytes[page as usize..][..4096].fill(seed);
            }
        }
        xfs_io(&path, &script)?;
        Ok(Self {
            bytes,
            origin: Origin::Hugetlbfs,
            path,
            shape,
            _held: None,
        })
    }

    /// What it takes of memory or disk, in bytes.
    pub(super) fn allocated_bytes(&self) -> u64 {
        allocated_bytes(&self.path)
    }

    /// Whether the file system tells its holes; ramfs, hugetlbfs and some FUSE daemons call everything data.
    pub(super) fn reports_holes(&self) -> bool {
        let file = File::open(&self.path).expect("open a dump");
        self.shape != DumpLayout::Whole && lseek(&file, 0, Whence::SeekData).is_ok_and(|at| at > 0)
    }
}

/// What a file takes of memory or disk, in bytes.
pub(super) fn allocated_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).expect("stat").blocks() * 512
}

/// Bytes that differ from page to page and from run to run of eight, half of each page compressible.
fn fill(bytes: &mut [u8], at: u64) {
    for (index, word) in bytes.chunks_mut(8).enumerate() {
        let place = at / 8 + index as u64;
        let value = if place % 512 < 256 {
            scramble(place)
        } else {
            place
        };
        word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
    }
}

/// The content of a big dump without holes, a MiB at a time: one pattern, with each page's place stamped into it.
pub(super) fn dense(range: Range<u64>) -> impl Iterator<Item = Vec<u8>> {
    const STEP: u64 = 1 << 20;
    let mut pattern = vec![0; STEP as usize];
    fill(&mut pattern, 0);
    let starts = (range.start - range.start % STEP..range.end).step_by(STEP as usize);
    starts.map(move |start| {
        let mut piece = pattern.clone();
        for (index, page) in piece.chunks_mut(4096).enumerate() {
            page[..8].copy_from_slice(&(start + index as u64).to_le_bytes());
        }
        piece.truncate(range.end.saturating_sub(start).min(STEP) as usize);
        piece.drain(..range.start.saturating_sub(start) as usize);
        piece
    })
}

/// Writes that range of the big dump's content, at its place.
pub(super) fn write_dense(file: &File, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    for piece in dense(range) {
        file.write_all_at(&piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

fn write_sparse(file: &File, shape: DumpLayout) -> io::Result<Vec<u8>> {
    file.set_len(shape.size())?;
    let mut bytes = vec![0; usize::try_from(shape.size()).expect("a small dump")];
    for range in shape.data() {
        let part = &mut bytes[range.start as usize..range.end as usize];
        fill(part, range.start);
        file.write_all_at(part, range.start)?;
    }
    // On a disk the blocks are only counted once they are allocated.
    file.sync_all()?;
    Ok(bytes)
}

fn xfs_io(path: &Path, script: &str) -> io::Result<()> {
    let mut child = Command::new("xfs_io")
        .arg("-f")
        .arg(path)
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child
        .stdin
        .take()
        .expect("a piped standard input")
        .write_all(script.as_bytes())?;
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("xfs_io: {status}")))
    }
}
