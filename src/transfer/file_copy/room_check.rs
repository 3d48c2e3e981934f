//! Asks for the room of a file before it is copied, and of each piece before it is written.

use nix::unistd::ftruncate;

use super::super::copy_job::CopyJob;
use super::super::errno_class::retry;
use super::super::error::Error;
use super::super::event::Event;
use super::super::free_space::{FREE_SPACE_CHECK_INTERVAL, FREE_SPACE_CHECKS};
use super::super::plan::{Sparse, TransferOptions};
use super::super::room::file_room::{FileRoom, NewFile};
use super::super::stop_check::StopCheck;
use super::super::stop_reason::StopReason;
use super::{FileCopy, piece_workers, report};

/// Asks whether a file fits, where the room is limited.
///
/// # Errors
/// As [`FileRoom::admit`].
pub(super) fn admit_file<'a>(
    job: &CopyJob<'a>,
    options: &TransferOptions,
    check_stop: &mut StopCheck<'_>,
) -> Result<Option<FileRoom<'a>>, Error> {
    let Some(ledger) = job.room.filter(|_| options.room.is_limited()) else {
        return Ok(None);
    };
    let (source_info, dest_caps) = (&job.source_info, &job.dest_caps);
    let data = match (source_info.known_size(), options.sparse) {
        (None, _) => None,
        // Only a regular file has holes.
        (Some(size), sparse) if sparse == Sparse::Never || !dest_caps.regular => Some(size),
        (Some(_), Sparse::Always) => None,
        (Some(_), _) => Some(source_info.data),
    };
    let new_file = NewFile {
        dest: job.dest,
        is_regular: dest_caps.regular,
        data,
        present: options.resume_at.min(dest_caps.allocated),
    };
    FileRoom::admit(new_file, ledger, options.room, check_stop).map(Some)
}

/// Returns how many of `bytes` may be written now. If there is no room and the file is to be cut, space that is allocated
/// behind what is written is given back first: what was reserved, and what xfs allocates ahead of a writer by itself.
///
/// # Errors
/// [`Error::Stopped`] if nothing may be written.
pub(super) fn grant(run: &mut FileCopy<'_>, bytes: u64) -> Result<u64, Error> {
    let unit = run.align().unit();
    note_position(run);
    let Some(room) = &mut run.room else {
        return Ok(bytes);
    };
    match room.grant(bytes, unit) {
        Err(Error::Stopped(StopReason::KeepFree { .. })) if room.gives_back() => {
            give_back(run)?;
            grant_again(run, bytes, unit)
        }
        granted => granted,
    }
}

/// Asks again for what was given back, some times: it may be freed in the background.
fn grant_again(run: &mut FileCopy<'_>, bytes: u64, unit: u64) -> Result<u64, Error> {
    for _ in 1..FREE_SPACE_CHECKS {
        let Some(room) = &mut run.room else {
            return Ok(bytes);
        };
        match room.grant(bytes, unit) {
            Err(Error::Stopped(StopReason::KeepFree { .. })) => {}
            granted => return granted,
        }
        report(run)?;
        std::thread::sleep(FREE_SPACE_CHECK_INTERVAL);
    }
    match &mut run.room {
        Some(room) => room.grant(bytes, unit),
        None => Ok(bytes),
    }
}

/// Asks whether all of `bytes` may be written now.
///
/// # Errors
/// [`Error::Stopped`] if not all of them may.
pub(super) fn grant_all(run: &mut FileCopy<'_>, bytes: u64) -> Result<(), Error> {
    match &mut run.room {
        // One unit of the whole length cannot be granted in parts.
        Some(room) => room.grant(bytes, bytes).map(drop),
        None => Ok(()),
    }
}

/// Counts bytes that were written.
pub(super) fn settle(run: &mut FileCopy<'_>, moved: u64) {
    if let Some(room) = &mut run.room {
        room.settle(moved);
    }
}

/// Notes how far the destination is written, before the cursor moves back.
pub(super) fn note_position(run: &mut FileCopy<'_>) {
    if run.room.is_some() {
        run.furthest = run.furthest.max(run.cursor.pos);
    }
}

/// Gives back the space behind what is written, and goes on without.
fn give_back(run: &mut FileCopy<'_>) -> Result<(), Error> {
    piece_workers::retire(run)?;
    note_position(run);
    let until = run.furthest;
    retry(|| ftruncate(run.plan.job.dest, until.cast_signed())).map_err(Error::Resize)?;
    if run.room.as_mut().is_some_and(FileRoom::note_given_back) {
        let text = format!("space gets short: what was reserved behind byte {until} is given back");
        run.listener.event(&Event::Note { text });
    }
    Ok(())
}
