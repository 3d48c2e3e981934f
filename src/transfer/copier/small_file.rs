//! Copies files that are too small for O_DIRECT to pay: they are read at once, written through the cache, and their
//! writeback is not waited for.

use std::fs::File;
use std::io;

use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Whence, ftruncate, lseek64};

use super::Copier;
use crate::sys::file::{SyncRange, pwrite_dontcache, sync_range};
use crate::sys::strerror::strerror;
use crate::transfer::capabilities::{SourceInfo, SourceKind};
use crate::transfer::copy_job::CopyJob;
use crate::transfer::copy_method::{Offload, SparseDetection};
use crate::transfer::deferred_writeback::MAX_DEFERRED_BYTES;
use crate::transfer::dest_writer::file_size_limit;
use crate::transfer::dirty_window::{FlushMethod, flush_and_drop};
use crate::transfer::engine::{BUFFERED, DONTCACHE, EngineSpec};
use crate::transfer::errno_class::{Endpoint, ErrnoClass, classify, retry};
use crate::transfer::error::{CopyFailure, Error};
use crate::transfer::event::{CopyListener, Event, Progress, Refusal};
use crate::transfer::file_copy::{CopyStart, check_source_unchanged, done};
use crate::transfer::mount_cache::MountCache;
use crate::transfer::plan::{DirectPolicy, Plan, Sparse, TransferOptions};
use crate::transfer::preallocate;
use crate::transfer::token_wait;

/// Largest size in bytes of such a file.
///
/// From tmpfs to ext4 on 6.18, microseconds of wall time and of CPU time a file, by this path and by `splice`, the
/// cheapest with O_DIRECT: 127 / 107 and 217 / 102 at 40 KiB, 132 / 86 and 192 / 80 at 64 KiB, 179 / 121 and 221 / 95
/// at 128 KiB. Up to 64 KiB the CPU time is the same and there is no wait for the device; above, copying the bytes
/// costs more than that wait (`benches/tree/ways.md`).
pub(in crate::transfer) const MAX_SMALL_FILE_BYTES: u64 = 64 << 10;

/// Returns the engine for a small file, or `None` if the file is large or the options ask for another path.
pub(in crate::transfer) fn choose_small_engine(
    files: &CopyJob<'_>,
    options: &TransferOptions,
    mounts: &mut MountCache,
) -> Option<&'static EngineSpec> {
    let (source, dest) = (&files.source_info, &files.dest_caps);
    let free = options.engine.is_none()
        && options.chunk.is_none()
        && options.direct != DirectPolicy::Always
        && options.sparse != Sparse::Always;
    let plain = source.size <= MAX_SMALL_FILE_BYTES
        && matches!(
            source.kind,
            SourceKind::Tmpfs | SourceKind::Ramfs | SourceKind::Disk
        )
        && dest.regular;
    // What may not go in one write is no small file.
    let fits = files
        .pace
        .is_none_or(|pace| source.size <= pace.chunk() as u64);
    if !free
        || !plain
        || !fits
        || asks_for_holes(source, options) && !has_no_hole(files.source, source)
    {
        return None;
    }
    let uncached = dest.flush != FlushMethod::Nothing
        && dest.dontcache.is_ok()
        && mounts.dontcache(dest.mount);
    Some(if uncached { DONTCACHE } else { BUFFERED })
}

/// Returns whether holes must be searched for, because fewer blocks are allocated than the size needs. Blocks may also
/// be fewer or more for reasons of the file system.
fn asks_for_holes(facts: &SourceInfo, options: &TransferOptions) -> bool {
    options.sparse != Sparse::Never && !facts.is_dense()
}

fn has_no_hole(source: &File, facts: &SourceInfo) -> bool {
    lseek64(source, 0, Whence::SeekHole).is_ok_and(|at| at.cast_unsigned() >= facts.size)
}

/// Copies a small file. Its writeback is left to the copier's queue under `tag`.
///
/// # Errors
/// The same as of any copy.
pub(in crate::transfer) fn copy<T>(
    worker: &mut Copier<T>,
    row: &'static EngineSpec,
    files: &CopyJob<'_>,
    options: TransferOptions,
    observer: &mut dyn CopyListener,
    tag: T,
) -> Result<(), CopyFailure> {
    let account = observer.listens().then(CopyStart::open);
    if account.is_some() {
        let plan = plan(files, options, row);
        observer.event(&plan.event(Some("little data".into())));
    }
    let mut small = Small {
        files,
        row,
        done: 0,
        observer,
    };
    let copied = small.all(&mut worker.buffer, &mut worker.mounts);
    worker.method.offload = small.offload();
    worker.method.sparse = if asks_for_holes(&files.source_info, &options) {
        SparseDetection::SeekHole
    } else {
        SparseDetection::No
    };
    if let Err(error) = copied {
        let error = error.or_interrupted(small.observer);
        return Err(small.abort(error));
    }
    let row = small.row;
    let (there, size) = (&files.dest_caps, files.source_info.size);
    if !options.wait_for_writeback {
        let most = token_wait::limit_dirty_bytes(files.pace, MAX_DEFERRED_BYTES);
        worker
            .writeback_queue
            .push(files.dest, size, there.flush, tag, most);
    } else if let Err(e) = flush_and_drop(files.dest, there.flush, 0, size) {
        return Err(small.cut(0, Error::Io(Endpoint::Dest, e)));
    }
    if let Some(account) = account {
        let moved = (size > 0).then_some((row.name, size)).into_iter().collect();
        observer.event(&done(size, moved, u64::from(size > 0), account));
    }
    Ok(())
}

/// Returns the plan that is reported for a small file: it refuses all engines but the two that are used, since they
/// cost more.
fn plan(files: &CopyJob<'_>, options: TransferOptions, row: &'static EngineSpec) -> Plan {
    let mut plan = Plan::of(files, options);
    for other in std::mem::take(&mut plan.rows) {
        if other == row || other == BUFFERED {
            plan.rows.push(other);
            continue;
        }
        let why = if other == DONTCACHE {
            "was refused on this mount before, or nothing is to be flushed there"
        } else {
            "dearer than the page cache for so small a file"
        };
        plan.refused.push(Refusal {
            engine: other.name,
            why: why.into(),
        });
    }
    plan.measure = false;
    plan
}

/// The copy of one small file.
struct Small<'a, 'f> {
    files: &'a CopyJob<'f>,
    row: &'static EngineSpec,
    done: u64,
    observer: &'a mut dyn CopyListener,
}

impl Small<'_, '_> {
    fn all(&mut self, buffer: &mut Vec<u8>, mounts: &mut MountCache) -> Result<(), Error> {
        let pace = self.files.pace;
        let taken = self.files.source_info.size;
        // As a rule at once: a chunk was no smaller than the file when this way was taken.
        token_wait::wait_for_all_tokens(pace, taken, || self.report())?;
        let data = self.read(buffer)?;
        self.prepare_dest()?;
        self.write_all(data, mounts)?;
        if let Some(pace) = pace {
            pace.record_moved(taken, taken);
        }
        self.report()?;
        check_source_unchanged(self.files.source, &self.files.source_info)
    }

    /// Returns whether bytes were offloaded: they never are, so the answer depends only on whether there were any.
    fn offload(&self) -> Offload {
        if self.done > 0 {
            Offload::Avoided
        } else {
            Offload::Unknown
        }
    }

    /// Reads all of the source, and checks whether it has more bytes than it reported.
    fn read<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Error> {
        let size = self.files.source_info.size as usize;
        if buffer.is_empty() {
            buffer.resize(MAX_SMALL_FILE_BYTES as usize + 1, 0);
        }
        let mut n = 0;
        while n < size {
            let rest = &mut buffer[n..=size];
            match retry(|| pread(self.files.source, rest, n as i64)) {
                Ok(0) => break,
                Ok(more) => n += more,
                Err(e) => return Err(Error::Io(Endpoint::Source, e)),
            }
        }
        if n == size {
            return Ok(&buffer[..n]);
        }
        check_source_unchanged(self.files.source, &self.files.source_info)?;
        Err(Error::Io(
            Endpoint::Source,
            io::ErrorKind::UnexpectedEof.into(),
        ))
    }

    /// Truncates an existing destination, after all checks that are possible beforehand.
    fn prepare_dest(&mut self) -> Result<(), Error> {
        let files = self.files;
        let (size, dest, there) = (files.source_info.size, files.dest, &files.dest_caps);
        if size > file_size_limit() {
            let error = io::Error::from_raw_os_error(libc::EFBIG);
            return Err(Error::Io(Endpoint::Dest, error));
        }
        // A file that was empty loses nothing when the write itself says ENOSPC.
        if there.size > 0 {
            let mut heard = || self.report();
            preallocate::check_free_space(dest, size, there.allocated, &mut heard)?;
            preallocate::truncate_dest(dest, there, &mut heard)?;
        }
        Ok(())
    }

    fn write_all(&mut self, data: &[u8], mounts: &mut MountCache) -> Result<(), Error> {
        while (self.done as usize) < data.len() {
            let (rest, at) = (&data[self.done as usize..], self.done);
            let dest = self.files.dest;
            let written = retry(|| {
                if self.row == DONTCACHE {
                    pwrite_dontcache(dest, rest, at)
                } else {
                    pwrite(dest, rest, at.cast_signed()).map_err(io::Error::from)
                }
            });
            match written {
                Ok(0) => return Err(Error::Io(Endpoint::Dest, io::ErrorKind::WriteZero.into())),
                Ok(n) => self.done += n as u64,
                Err(e) if self.row == DONTCACHE && classify(&e) == ErrnoClass::Unsupported => {
                    mounts.refuse_dontcache(self.files.dest_caps.mount);
                    self.fall_back(&e);
                }
                Err(e) => return Err(Error::Io(Endpoint::Dest, e)),
            }
        }
        if self.row == BUFFERED && self.files.dest_caps.flush == FlushMethod::Range && self.done > 0
        {
            // So that it is on its way when its turn to be waited for comes; errors come then.
            let _ = sync_range(self.files.dest, 0, self.done, SyncRange::StartWriteback);
        }
        Ok(())
    }

    fn fall_back(&mut self, error: &io::Error) {
        self.observer.event(&Event::Fallback {
            from: self.row.name,
            to: BUFFERED.name,
            why: strerror(error),
            at: self.done,
        });
        self.row = BUFFERED;
    }

    fn report(&mut self) -> Result<(), Error> {
        self.observer.progress(&Progress {
            copied: self.done,
            size: self.files.source_info.size,
            engine: self.row.name,
            elapsed: std::time::Duration::ZERO,
        });
        Error::if_interrupted(self.observer)
    }

    /// Leaves a destination that ends where its good bytes end, with none of it cached.
    fn abort(self, error: Error) -> CopyFailure {
        let good = self.done > 0
            && flush_and_drop(self.files.dest, self.files.dest_caps.flush, 0, self.done).is_ok();
        let copied = if good { self.done } else { 0 };
        self.cut(copied, error)
    }

    /// Truncates the destination to its good `copied` bytes. The kernel reports failed writeback only once, so this
    /// does not flush again.
    fn cut(self, copied: u64, error: Error) -> CopyFailure {
        if self.done > 0 {
            let _ = retry(|| ftruncate(self.files.dest, copied.cast_signed()));
        }
        CopyFailure {
            copied,
            begun: self.done > 0,
            ..CopyFailure::before(error, self.files.source_info.size)
        }
    }
}
