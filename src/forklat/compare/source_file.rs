//! The dump that is copied. It is made in shared memory, with holes where dumps have them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::background_work::ShouldStop;

use crate::forklat::error::{ForklatError, cannot};

/// Largest default size of a dump (256 MiB): ten rounds of cp twice, dd and mmapcp shall take two minutes.
const MAX_DEFAULT_SIZE: u64 = 256 << 20;

/// Smallest default size of a dump (16 MiB): a smaller copy ends before a prober has taken enough samples.
const MIN_DEFAULT_SIZE: u64 = 16 << 20;

/// Bytes by which the default size is short of a whole number of blocks, since the unaligned tail is part of what is
/// compared.
const UNALIGNED_TAIL_BYTES: u64 = 777;

/// Alignment of the holes' ends (2 MiB): a huge page, the finest granularity of holes on a tmpfs with huge pages.
const HOLE_ALIGNMENT: u64 = 2 << 20;

/// Each of the three holes (first, middle and last) is one part in this many of the dump.
const HOLE_SIZE_DIVISOR: u64 = 32;

/// Bytes written by one call (1 MiB).
const CHUNK: u64 = 1 << 20;

/// Returns a size that this machine can spare: at most an eighth of the available memory, and at most half of the free
/// space on both sides.
pub(super) fn default_size(
    available: u64,
    memory: &Path,
    disk: &Path,
) -> Result<u64, ForklatError> {
    let room = free(memory)?.min(free(disk)?) / 2;
    let size = MAX_DEFAULT_SIZE.min(available / 8).min(room);
    if size < MIN_DEFAULT_SIZE {
        return Err(format!(
            "there is room for a dump of {size} bytes, but at least {MIN_DEFAULT_SIZE} are needed: use --size or --source"
        ).into());
    }
    Ok(size - size % HOLE_ALIGNMENT - UNALIGNED_TAIL_BYTES)
}

/// Returns the free bytes of a file system for this user.
pub(super) fn free(dir: &Path) -> Result<u64, ForklatError> {
    statvfs(dir)
        .map(|stat| stat.blocks_available() * stat.fragment_size())
        .map_err(|e| cannot("statvfs", dir, e))
}

/// Makes the dump of `size` bytes at `path`.
///
/// # Errors
/// The error of the file system, such as no room; interrupted, if `stop` says so.
pub(super) fn make(path: &Path, size: u64, stop: ShouldStop<'_>) -> Result<(), ForklatError> {
    write(path, size, stop).map_err(|e| cannot("make the dump", path, e))
}

fn write(path: &Path, size: u64, stop: ShouldStop<'_>) -> io::Result<()> {
    let file = File::create_new(path)?;
    file.set_len(size)?;
    let mut chunk = vec![0; CHUNK as usize];
    let mut state = 1;
    for (from, to) in data(size) {
        let mut at = from;
        while at < to {
            if stop() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let len = CHUNK.min(to - at) as usize;
            fill(&mut chunk[..len], &mut state);
            file.write_all_at(&chunk[..len], at)?;
            at += len as u64;
        }
    }
    Ok(())
}

/// Returns the extents of data between the three holes.
fn data(size: u64) -> [(u64, u64); 2] {
    let hole = size / HOLE_SIZE_DIVISOR / HOLE_ALIGNMENT * HOLE_ALIGNMENT;
    let middle = size / 2 / HOLE_ALIGNMENT * HOLE_ALIGNMENT;
    let last = if hole == 0 {
        size
    } else {
        (size - hole) / HOLE_ALIGNMENT * HOLE_ALIGNMENT
    };
    [(hole, middle), (middle + hole, last)]
}

/// Fills a buffer with pseudorandom bytes (splitmix64). No two blocks are alike, so a misplaced chunk is found, and no
/// block can be compressed.
fn fill(bytes: &mut [u8], state: &mut u64) {
    for eight in bytes.chunks_mut(8) {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (z ^ (z >> 31)).to_ne_bytes();
        eight.copy_from_slice(&word[..eight.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::{HOLE_ALIGNMENT, data};

    #[test]
    fn a_dump_begins_and_ends_with_a_hole_and_has_one_in_the_middle() {
        let size = 1 << 30;
        let hole = size / 32;
        assert_eq!(
            data(size),
            [(hole, size / 2), (size / 2 + hole, size - hole)]
        );
        for size in [0, 1, HOLE_ALIGNMENT, 100 * HOLE_ALIGNMENT - 777] {
            let [(a, b), (c, d)] = data(size);
            assert!(a <= b && b <= c && c <= d && d <= size, "{size}");
        }
    }
}
