//! Tries to share the blocks of the source before any other engine, for all of the file or not at all.

use std::io;

use nix::errno::Errno;
use nix::unistd::ftruncate;

use super::copy_job::CopyJob;
use super::dest_writer::DestWriter;
use super::engine::{Endpoints, REFLINK};
use super::errno_class::{EngineError, retry};
use super::error::{CopyFailure, Error};
use super::event::CopyListener;
use super::file_copy::{CopyStart, finish_shared};
use super::plan::{self, Plan, Reflink, TransferOptions};
use super::preallocate;
use super::stop_check::check_stop;
use crate::sys::strerror::strerror;

/// Why blocks were not shared, or not faithfully.
struct ShareError {
    error: io::Error,
    /// Whether the blocks are shared, but the rest of a longer old file behind them could not be cut off.
    is_mixture: bool,
}

/// Shares the blocks of the source, if that is wanted and may be possible, and the file is not too large. Returns whether it did; if not, the reason
/// is recorded, and the destination is unchanged, except that it may have been truncated to the size of the source, or
/// emptied.
///
/// # Errors
/// Why it cannot, if the options allow nothing else: then the destination is empty, as cp leaves it. Also, whatever was
/// asked for, an error of the medium: then the destination is unchanged or empty. Also the error of truncating a
/// destination that holds a mixture of both files: then the copy has begun.
pub(super) fn try_reflink(
    job: &mut CopyJob<'_>,
    options: TransferOptions,
    listener: &mut dyn CopyListener,
) -> Result<bool, CopyFailure> {
    let is_too_large = options.room.is_too_large(job.source_info.data);
    if is_too_large || options.resume_at > 0 || !plan::serves(REFLINK, job, &options) {
        return Ok(false);
    }
    let start = CopyStart::now();
    let Err(refusal) = share_blocks(job) else {
        let plan = Plan::of(job, options);
        listener.event(&plan.event(Some("blocks are shared".into())));
        return finish_shared(&plan, start, listener).map(|()| true);
    };
    let fail = |error| CopyFailure::before(error, job.source_info.size);
    let is_demanded = options.reflink == Reflink::Always;
    if (is_demanded || refusal.is_mixture) && job.dest_caps.regular {
        let mut heard = || check_stop(listener);
        let emptied = preallocate::truncate_dest(job.dest, &job.dest_caps, 0, &mut heard);
        emptied.map_err(|error| match error {
            _ if refusal.is_mixture => CopyFailure {
                begun: true,
                ..fail(error)
            },
            Error::Io(_, e) | Error::Truncate(e) => fail(Error::Clone(e)),
            stopped => fail(stopped),
        })?;
    }
    if is_demanded || is_media_error(&refusal.error) {
        return Err(fail(Error::Clone(refusal.error)));
    }
    job.reflink_refusal = Some(strerror(&refusal.error));
    Ok(false)
}

/// Returns whether a refusal to share blocks means trouble with the medium, and not that blocks cannot be shared: cp
/// gives such a file up since 9.2, while 9.1 copied it in another way.
fn is_media_error(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EIO | Errno::ENOMEM | Errno::ENOSPC | Errno::EDQUOT)
    )
}

/// Shares the blocks, and cuts off the rest of a longer old file. Before that it checks that this file can be truncated.
fn share_blocks(job: &CopyJob<'_>) -> Result<(), ShareError> {
    let refused = |error| ShareError {
        error,
        is_mixture: false,
    };
    let (old_size, size) = (job.dest_caps.size, job.source_info.size);
    let truncate = |size: u64| retry(|| ftruncate(job.dest, size.cast_signed()));
    if old_size <= size {
        return clone_blocks(job).map_err(refused);
    }
    truncate(old_size).map_err(refused)?;
    clone_blocks(job).map_err(refused)?;
    truncate(size).map_err(|error| ShareError {
        error,
        is_mixture: true,
    })
}

fn clone_blocks(job: &CopyJob<'_>) -> io::Result<()> {
    let mut endpoints = Endpoints {
        source: job.source,
        source_info: &job.source_info,
        dest: DestWriter::new(job.dest, &job.dest_caps),
        notes: Vec::new(),
    };
    let mut engine = REFLINK.make(REFLINK.chunk, &job.source_info, &job.dest_caps)?;
    match engine.transfer(0, job.source_info.size as usize, &mut endpoints) {
        Ok(_) => Ok(()),
        Err(EngineError::Unsupported(_, e) | EngineError::Fatal(_, e)) => Err(e),
        Err(EngineError::SourceEnd) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
