//! Which pages of a file are in the page cache: mincore(2) over windows that are never read.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::MmapOptions;

/// Bytes looked at in one mapping: 256 MiB are 64 KiB of answer.
const SPAN: u64 = 256 << 20;

/// The size of a page in bytes.
#[must_use]
pub fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .map_or(4096, i64::unsigned_abs)
}

/// Calls `seen(offset, len, resident)` for each run of pages in `offset..offset + len` that are alike.
///
/// mincore rather than cachestat(2): it is older than Linux 6.5, and on overlayfs it alone tells the truth (measured on
/// 6.18). Both need the right to write the file, or to own it; else every page is said to be resident.
///
/// # Errors
/// What mmap(2) and mincore(2) say; EACCES when `file` is not open for reading.
pub fn walk(
    file: &File,
    offset: u64,
    len: u64,
    mut seen: impl FnMut(u64, u64, bool),
) -> io::Result<()> {
    let page = page_size();
    let (mut at, end) = (offset - offset % page, offset + len);
    let mut vector = Vec::new();
    while at < end {
        let span = SPAN.min(end - at);
        pages(file, at, span, &mut vector)?;
        let mut pos = at;
        for run in vector.chunk_by(|a, b| (a & 1) == (b & 1)) {
            let bytes = (run.len() as u64 * page).min(end - pos);
            seen(pos, bytes, run[0] & 1 == 1);
            pos += bytes;
        }
        at += span;
    }
    Ok(())
}

/// How many bytes of `offset..offset + len` are in the page cache, in whole pages.
///
/// # Errors
/// As [`walk`].
pub fn resident_bytes(file: &File, offset: u64, len: u64) -> io::Result<u64> {
    let page = page_size();
    let mut bytes = 0;
    walk(file, offset, len, |_, run, resident| {
        if resident {
            bytes += run.div_ceil(page) * page;
        }
    })?;
    Ok(bytes)
}

/// One mincore(2) call: a byte a page, lowest bit set where resident.
fn pages(file: &File, start: u64, len: u64, vector: &mut Vec<u8>) -> io::Result<()> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let map = MmapOptions::new()
        .offset(start)
        .len(len)
        .map_raw_read_only(file)?;
    vector.clear();
    vector.resize(len.div_ceil(page_size() as usize), 0);
    // SAFETY: the range is exactly the mapping made above, and `vector` has a byte for each of its pages.
    let rc = unsafe { libc::mincore(map.as_mut_ptr().cast(), len, vector.as_mut_ptr()) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
