//! Reserves space before data is written: ENOSPC and EFBIG are better known before the first byte than in the middle.

use std::fs::File;

use nix::errno::Errno;
use nix::unistd::ftruncate;

use super::capabilities::DestCaps;
use super::cpu_budget::PeriodicSleep;
use super::dest_writer::file_size_limit;
use super::errno_class::{Endpoint, retry};
use super::error::Error;
use super::extent_scanner::{ExtentScanner, Segment};
use super::free_space::check_free_space;
use super::incremental_alloc::{self, Cut, StepError};
use super::plan::{Plan, Sparse};
use super::room::file_room::FileRoom;
use super::stop_check::StopCheck;
use super::stop_reason::StopReason;
use crate::sys::strerror::strerror;

/// Files with fewer bytes of data are written in one or two calls, which report ENOSPC themselves.
const MIN_PREALLOCATE_BYTES: u64 = 4 << 20;

/// Largest number of extents for which space is reserved, since each takes a call and a journal entry. The rest of the
/// source is not reserved.
const MAX_PREALLOCATED_EXTENTS: u64 = 1024;

/// Truncates an existing destination, after all checks that are possible beforehand, and reserves the blocks of the
/// source's data, or returns why not. Its findings about the extents are used again: a dense source is queried once.
/// Where the room of the file is limited, each step of the reservation asks whether there still is as much.
///
/// # Errors
/// EFBIG beyond the file size limit, and ENOSPC if the data certainly does not fit: then the destination is unchanged.
/// ENOSPC and EDQUOT of the reservation: then it is empty. The error of `check_stop`: then it is empty, or part of its old
/// content is truncated.
pub(super) fn prepare_dest(
    plan: &Plan<'_>,
    extents: &mut ExtentScanner<'_>,
    mut room: Option<&mut FileRoom<'_>>,
    check_stop: &mut StopCheck<'_>,
) -> Result<Option<String>, Error> {
    let dest = plan.job.dest;
    let mut unreserved = room.as_ref().and_then(|room| room.why_unreserved());
    let write = |e| Error::Io(Endpoint::Dest, e);
    if !plan.job.dest_caps.regular {
        return Ok(Some("not a regular file".into()));
    }
    if plan.job.source_info.size > file_size_limit() {
        return Err(write(Errno::EFBIG.into()));
    }
    if plan.options.sparse != Sparse::Always {
        let data = match plan.options.sparse {
            Sparse::Never => plan.job.source_info.size,
            Sparse::Auto | Sparse::Always => plan.job.source_info.data,
        };
        match check_free_space(dest, data, plan.job.dest_caps.allocated, check_stop) {
            Err(Error::Io(..)) if plan.options.room.cut => unreserved = Some("it does not fit"),
            checked => checked?,
        }
    }
    truncate_dest(
        dest,
        &plan.job.dest_caps,
        plan.options.resume_at,
        check_stop,
    )?;
    if let Some(why) = unreserved {
        return Ok(Some(why.into()));
    }
    let mut rest = PeriodicSleep::begin();
    let reserved = preallocate(plan, extents, &mut || {
        rest.sleep_if_due();
        if let Some(room) = &mut room {
            room.check_promise()?;
        }
        check_stop()
    })?;
    if let Some(room) = room.filter(|room| reserved.is_some() && room.is_counted()) {
        // What is written into a part that is reserved would count twice.
        let kept = plan.options.resume_at.cast_signed();
        retry(|| ftruncate(dest, kept)).map_err(Error::Resize)?;
        room.promise_again(check_stop)?;
    }
    Ok(reserved)
}

/// Truncates an existing destination to the bytes that it is to keep, which are none as a rule.
///
/// # Errors
/// The error of ftruncate(2), or of `check_stop`.
pub(super) fn truncate_dest(
    dest: &File,
    dest_caps: &DestCaps,
    kept: u64,
    check_stop: &mut StopCheck<'_>,
) -> Result<(), Error> {
    if dest_caps.size <= kept {
        return Ok(());
    }
    let all = Cut {
        size: dest_caps.size,
        allocated: dest_caps.allocated,
        to: kept,
    };
    incremental_alloc::truncate_in_steps(dest, all, check_stop).map_err(|stopped| match stopped {
        StepError::Failed(e) => Error::Truncate(e),
        StepError::Interrupted(error) => error,
    })
}

fn preallocate(
    plan: &Plan<'_>,
    extents: &mut ExtentScanner<'_>,
    check_stop: &mut StopCheck<'_>,
) -> Result<Option<String>, Error> {
    if let Err(why) = plan.job.dest_caps.reserve {
        return Ok(Some(why.into()));
    }
    if plan.job.source_info.data < MIN_PREALLOCATE_BYTES || plan.options.sparse == Sparse::Always {
        return Ok(Some(
            "there is little data, or zeros may become holes".into(),
        ));
    }
    let error = match preallocate_extents(plan, extents, check_stop) {
        Ok(why) => return Ok(why),
        Err(StepError::Interrupted(error)) => error,
        Err(StepError::Failed(e))
            if matches!(
                e.raw_os_error(),
                Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG)
            ) =>
        {
            Error::Io(Endpoint::Dest, e)
        }
        Err(StepError::Failed(e)) => return Ok(Some(format!("fallocate: {}", strerror(&e)))),
    };
    // Space reserved so far is released, since ext4 keeps it otherwise.
    let kept = plan.options.resume_at.cast_signed();
    let _ = retry(|| ftruncate(plan.job.dest, kept));
    match error {
        // What fits of it is wanted.
        Error::Io(_, e) if plan.options.room.cut && e.raw_os_error() != Some(libc::EFBIG) => {
            Ok(Some(format!("fallocate: {}", strerror(&e))))
        }
        Error::Stopped(StopReason::KeepFree { .. }) if plan.options.room.cut => {
            Ok(Some("space gets short".into()))
        }
        error => Err(error),
    }
}

fn preallocate_extents(
    plan: &Plan<'_>,
    extents: &mut ExtentScanner<'_>,
    check_stop: &mut StopCheck<'_>,
) -> Result<Option<String>, StepError> {
    let dest = plan.job.dest;
    if plan.options.sparse == Sparse::Never {
        return incremental_alloc::fallocate_in_steps(
            dest,
            plan.options.resume_at,
            plan.job.source_info.size,
            check_stop,
        )
        .map(|()| None);
    }
    let (mut pos, mut run) = (plan.options.resume_at, 0..0);
    loop {
        check_stop().map_err(StepError::Interrupted)?;
        let segment = match extents.next(pos) {
            Ok(segment) => segment,
            // The copy itself queries again, and reports the error.
            Err(e) => {
                return Ok(Some(format!(
                    "cannot find the extents of the source: {}",
                    strerror(&e)
                )));
            }
        };
        match &segment {
            Some(Segment::Data(data))
                if data.start == run.end && run.end - run.start < incremental_alloc::RESERVE =>
            {
                run.end = data.end;
            }
            Some(Segment::Data(data)) => {
                incremental_alloc::fallocate_in_steps(dest, run.start, run.end, check_stop)?;
                run = data.clone();
            }
            Some(Segment::Hole(_)) => {}
            None => {
                return incremental_alloc::fallocate_in_steps(dest, run.start, run.end, check_stop)
                    .map(|()| None);
            }
        }
        pos = match segment {
            Some(Segment::Data(data)) => data.end,
            Some(Segment::Hole(end)) => end,
            None => pos,
        };
        if extents.found() >= MAX_PREALLOCATED_EXTENTS {
            incremental_alloc::fallocate_in_steps(dest, run.start, run.end, check_stop)?;
            return Ok(Some(format!(
                "it is reserved only for the first {MAX_PREALLOCATED_EXTENTS} extents"
            )));
        }
    }
}
