//! --finish-within: whether a copy can certainly not be complete in time, before a byte is written.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FileStat, fstatat};
use nix::sys::statfs::statfs;

use super::error::{Error, TimeShortage};
use super::file_status::{FileId, allocated_bytes, file_id, is_regular};
use super::operands::{OperandJob, OperandJobs};
use super::options::{CopyMode, CopyOptions, Dereference, Overwrite};
use crate::transfer::Reflink;

/// How much more a rate limit may let through than its rate: its burst, in time at this rate.
const BURST: Duration = Duration::from_millis(50);

/// Checks that --limit-rate leaves enough time. Only files whose data is certainly written count: operands that are
/// regular files on another kind of file system than the destination, with which no blocks are shared.
///
/// # Errors
/// Returns an error where the data takes longer than --finish-within allows.
pub(super) fn check_rate_limit(jobs: &OperandJobs, options: &CopyOptions) -> Result<(), Error> {
    let limits = &options.throttle;
    let (Some(within), Some(rate)) = (limits.finish_within, limits.rate) else {
        return Ok(());
    };
    // What there is no time for is cut then.
    if options.transfer.room.cut || !writes_all(options) {
        return Ok(());
    }
    let bytes = certain_bytes(jobs, options);
    let needs = Duration::from_secs_f64(bytes as f64 / rate as f64);
    if needs <= within + BURST {
        return Ok(());
    }
    Err(Error::NoTime(TimeShortage {
        bytes,
        rate,
        needs,
        within,
    }))
}

/// Returns whether no file is left out because of its destination, and each is copied.
fn writes_all(options: &CopyOptions) -> bool {
    options.copy_mode == CopyMode::Copy
        && !options.attributes_only
        && !options.update
        && !options.resume
        && options.overwrite == Overwrite::Replace
        && options
            .transfer
            .engine
            .is_none_or(|engine| engine.is_direct() || engine.is_cached())
}

/// Returns the least number of bytes that the copy writes.
fn certain_bytes(jobs: &OperandJobs, options: &CopyOptions) -> u64 {
    let mut flags = AtFlags::empty();
    flags.set(
        AtFlags::AT_SYMLINK_NOFOLLOW,
        options.dereference == Dereference::Never,
    );
    let mut inodes: HashSet<FileId> = HashSet::new();
    let mut dests: HashSet<&OsStr> = HashSet::new();
    let mut bytes = 0_u64;
    for job in &jobs.list {
        let Ok(stat) = fstatat(AT_FDCWD, &job.source, flags) else {
            continue;
        };
        let is_new = inodes.insert(file_id(&stat)) && dests.insert(job.dest.as_os_str());
        if is_new && is_regular(&stat) && !may_share_blocks(job, options) {
            bytes = bytes.saturating_add(data_bytes(&stat));
        }
    }
    bytes
}

/// Returns the bytes of a file that are copied: what is allocated, which excludes its holes, up to its end.
pub(super) fn data_bytes(stat: &FileStat) -> u64 {
    allocated_bytes(stat).min(stat.st_size.cast_unsigned())
}

/// Returns whether the destination may share the blocks of the source, which takes no time.
fn may_share_blocks(job: &OperandJob, options: &CopyOptions) -> bool {
    if options.transfer.reflink == Reflink::Never {
        return false;
    }
    let above = job
        .dest
        .parent()
        .filter(|path| !path.as_os_str().is_empty());
    let above = above.unwrap_or(std::path::Path::new("."));
    match (statfs(&job.source), statfs(above)) {
        (Ok(from), Ok(to)) => from.filesystem_type() == to.filesystem_type(),
        _ => true,
    }
}
