//! The dump that is copied: made in shared memory, with holes where dumps have them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::background_work::ShouldStop;

use crate::forklat::error::{ForklatError, cannot};

/// Beyond this the default does not go: three tools three times shall take a minute.
const MAX_DEFAULT_SIZE: u64 = 1 << 30;

/// Below this a copy is over before a prober has asked often enough.
const MIN_DEFAULT_SIZE: u64 = 16 << 20;

/// The default size is no whole number of blocks: the tail is part of what is compared.
const UNALIGNED_TAIL_BYTES: u64 = 777;

/// Holes begin and end on this: a huge page, which is as fine as such a tmpfs can have them.
const HOLE_ALIGNMENT: u64 = 2 << 20;

/// Of a dump, each of three holes is this part: first, middle and last.
const HOLE_SIZE_DIVISOR: u64 = 32;

/// The unit in which it is written.
const CHUNK: u64 = 1 << 20;

/// A size that this machine can spare: an eighth of the memory that is available, half of the room on both sides.
pub(super) fn default_size(
    available: u64,
    memory: &Path,
    disk: &Path,
) -> Result<u64, ForklatError> {
    let room = free(memory)?.min(free(disk)?) / 2;
    let size = MAX_DEFAULT_SIZE.min(available / 8).min(room);
    if size < MIN_DEFAULT_SIZE {
        return Err(format!(
            "a dump of {MIN_DEFAULT_SIZE} bytes is the least that can be measured, and there is room for {size}: give --size or --source"
        ).into());
    }
    Ok(size - size % HOLE_ALIGNMENT - UNALIGNED_TAIL_BYTES)
}

/// Bytes that a file system has for us.
pub(super) fn free(dir: &Path) -> Result<u64, ForklatError> {
    statvfs(dir)
        .map(|stat| stat.blocks_available() * stat.fragment_size())
        .map_err(|e| cannot("statvfs", dir, e))
}

/// Makes it.
///
/// # Errors
/// What the file system says: no room; told to stop.
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

/// The extents of data between the three holes.
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

/// splitmix64: no block is like another, so a chunk in a wrong place is found, and none can be compressed.
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
