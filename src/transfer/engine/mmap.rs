//! The engine `mmap`: it maps windows of the source, and writes with O_DIRECT straight from the mapping.

use std::io;

use nix::sys::statfs::BTRFS_SUPER_MAGIC;

use super::{Endpoints, Engine, EngineSpec, needs_file, needs_memory};
use crate::sys::residency;
use crate::sys::source_window::SourceWindow;
use crate::transfer::capabilities::{DestCaps, SourceInfo, SourceKind};
use crate::transfer::dest_writer::WriteMode;
use crate::transfer::engine_trial;
use crate::transfer::errno_class::{Endpoint, EngineError, retry};

/// Bytes that are mapped at once. In windows of 8 MiB the peak resident size was 9.4 MB, while a mapping of 64 MiB
/// counted 67 MB, by which the OOM killer chooses its victim; smaller windows cost more unmapping.
const MAP_WINDOW_BYTES: u64 = 8 << 20;

/// Bytes of one write to btrfs, which falls back to the page cache for a direct write whose source page faults: its
/// chunks are populated first, and from 1 MiB upward some of them were cached all the same (measured on 6.18,
/// nodatacow).
const BTRFS_CHUNK: usize = 1 << 20;

/// Bytes of one write from pages of 4 KiB, each of which is pinned for it: 8 MiB took 1.3 to 1.6 ms of CPU in one call
/// (6.18), 4 MiB half of that. Huge pages are few to pin.
const PINNED_CHUNK: usize = 4 << 20;

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "mmap",
    description: "maps the source window by window, and writes each with O_DIRECT",
    applies_to: "source in memory: tmpfs, ramfs, hugetlbfs",
    write_mode: WriteMode::Direct,
    chunk: MAP_WINDOW_BYTES as usize,
    fits,
    make: |chunk, source, dest| {
        let populate = dest.fs == BTRFS_SUPER_MAGIC;
        let most = if populate {
            BTRFS_CHUNK
        } else if source.block < engine_trial::HUGE {
            PINNED_CHUNK
        } else {
            chunk
        };
        Ok(Box::new(Mmap {
            chunk: chunk.min(most),
            populate,
            window_bytes: (chunk as u64).next_power_of_two().min(MAP_WINDOW_BYTES),
            window: None,
        }))
    },
};

fn fits(source: &SourceInfo, dest: &DestCaps) -> Result<(), String> {
    needs_memory(source)?;
    needs_file(source, dest)?;
    if dest.align.unit() > residency::page_size() && !source.is_dense() {
        // Extents are widened to whole units of the destination, into the adjacent holes.
        return Err("destination needs writes larger than a page, and the source has holes".into());
    }
    if !source.finder.is_exact() {
        // The kernel reports nothing about a file of another user: a hole may be taken for data.
        return Err("source belongs to another user, so its holes cannot be found reliably".into());
    }
    if source.kind == SourceKind::Hugetlbfs && !source.is_dense() {
        // The file system reports everything as data, so the holes cannot be skipped.
        return Err(
            "hugetlbfs source has unallocated pages, and a mapping would allocate them".into(),
        );
    }
    Ok(())
}

struct Mmap {
    chunk: usize,
    populate: bool,
    /// Bytes that are mapped at once; fewer where several threads have a window of their own.
    window_bytes: u64,
    window: Option<SourceWindow>,
}

impl Engine for Mmap {
    fn transfer(
        &mut self,
        at: u64,
        len: usize,
        endpoints: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        let len = len.min(self.chunk);
        if !self.window.as_ref().is_some_and(|w| w.covers(at, len)) {
            // The old window is unmapped before the new one is mapped, since two would double the resident size.
            self.window = None;
            self.window = Some(map(at, len, self.window_bytes, endpoints)?);
        }
        let Some(window) = &self.window else {
            return Err(EngineError::Unsupported(
                Endpoint::Source,
                io::ErrorKind::Unsupported.into(),
            ));
        };
        if self.populate {
            // Linux before 5.14 has no populate; the write then faults the pages in itself.
            let _ = window.populate(at, len);
        }
        retry(|| window.pwrite(at, len, endpoints.dest.file))
            .map_err(|e| write_fault(e, at + len as u64, endpoints))
    }
}

/// Maps the window that contains `at`. Any refusal is a reason to continue without mapping.
fn map(
    at: u64,
    len: usize,
    window_bytes: u64,
    endpoints: &Endpoints<'_>,
) -> Result<SourceWindow, EngineError> {
    // With huge pages of 1 GiB a window has that size: the kernel maps nothing smaller, with one table entry.
    let grain = endpoints.source_info.block.max(window_bytes);
    let start = at - at % grain;
    let end = (at + len as u64).next_multiple_of(grain);
    let end = end.min(
        endpoints
            .source_info
            .size
            .next_multiple_of(endpoints.source_info.block.max(1)),
    );
    SourceWindow::new(endpoints.source, start, (end - start) as usize)
        .map_err(|e| EngineError::Unsupported(Endpoint::Source, e))
}

/// Interprets an error of a write: EFAULT means that a page of the source is no longer there.
fn write_fault(error: io::Error, end: u64, endpoints: &Endpoints<'_>) -> EngineError {
    if error.raw_os_error() != Some(libc::EFAULT) {
        return EngineError::new(Endpoint::Dest, error);
    }
    match endpoints.source.metadata() {
        Ok(now) if now.len() < end => EngineError::SourceEnd,
        // A full tmpfs has no page for a hole that was just punched; read(2) needs none.
        _ => EngineError::Unsupported(Endpoint::Source, error),
    }
}
