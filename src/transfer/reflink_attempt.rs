//! Tries to share the blocks of the source before any other engine, for all of the file or not at all.

use std::io;

use nix::errno::Errno;

use super::copy_job::CopyJob;
use super::dest_writer::DestWriter;
use super::engine::{Endpoints, REFLINK};
use super::errno_class::EngineError;
use super::error::{CopyFailure, Error};
use super::event::CopyListener;
use super::file_copy::{CopyStart, finish_shared};
use super::plan::{self, Plan, Reflink, TransferOptions};
use super::preallocate;
use super::stop_check::check_stop;
use crate::sys::strerror::strerror;

/// Shares the blocks of the source, if that is wanted and may be possible. Returns whether it did; if not, the reason
/// is recorded, and the destination is unchanged, except that it may have been truncated to the size of the source.
///
/// # Errors
/// Why it cannot, if the options allow nothing else: then the destination is empty, as cp leaves it. Also, whatever was
/// asked for, an error of the medium: then the destination is unchanged.
pub(super) fn try_reflink(
    files: &mut CopyJob<'_>,
    options: TransferOptions,
    listener: &mut dyn CopyListener,
) -> Result<bool, CopyFailure> {
    if !plan::serves(REFLINK, files, &options) {
        return Ok(false);
    }
    let start = CopyStart::now();
    let Err(error) = clone_blocks(files) else {
        let plan = Plan::of(files, options);
        listener.event(&plan.event(Some("blocks are shared".into())));
        return finish_shared(&plan, start, listener).map(|()| true);
    };
    let fail = |error| {
        Err(CopyFailure::before(
            Error::Clone(error),
            files.source_info.size,
        ))
    };
    if options.reflink == Reflink::Always {
        let mut heard = || check_stop(listener);
        let emptied = match files.dest_caps.regular {
            true => preallocate::truncate_dest(files.dest, &files.dest_caps, &mut heard),
            false => Ok(()),
        };
        return match emptied {
            Ok(()) => fail(error),
            Err(Error::Io(_, e) | Error::Truncate(e)) => fail(e),
            Err(stopped) => Err(CopyFailure::before(stopped, files.source_info.size)),
        };
    }
    if is_media_error(&error) {
        return fail(error);
    }
    files.reflink_refusal = Some(strerror(&error));
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

fn clone_blocks(files: &CopyJob<'_>) -> io::Result<()> {
    let mut pair = Endpoints {
        source: files.source,
        source_info: &files.source_info,
        dest: DestWriter::new(files.dest, &files.dest_caps),
        notes: Vec::new(),
    };
    let mut engine = REFLINK.make(REFLINK.chunk, &files.source_info, &files.dest_caps)?;
    match engine.transfer(0, files.source_info.size as usize, &mut pair) {
        Ok(_) => Ok(()),
        Err(EngineError::Unsupported(_, e) | EngineError::Fatal(_, e)) => Err(e),
        Err(EngineError::SourceEnd) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
