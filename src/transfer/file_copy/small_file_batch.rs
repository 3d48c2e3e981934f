//! Puts small files into the batch of a thread, instead of copying each by itself.

use super::super::copy_job::CopyJob;
use super::super::deferred_writeback::MAX_DEFERRED_BYTES;
use super::super::engine::{DONTCACHE, REFLINK};
use super::super::event::Progress;
use super::super::plan::{self, TransferOptions};
use super::ThreadState;
use super::finalize::check_source_unchanged;
use super::small_file::{choose_small_engine, read_until_end};

/// Reads a small file into the thread's batch. Returns false where it must be copied by itself: since the options or the files
/// ask for another way, or since something is wrong with it.
pub(in crate::transfer) fn batch_small_file<T>(
    job: &CopyJob<'_>,
    options: TransferOptions,
    thread: &mut ThreadState<T>,
    tag: T,
) -> bool {
    let (size, dest_caps) = (job.source_info.size, &job.dest_caps);
    let is_for_batch = dest_caps.size == 0
        && !options.wait_for_writeback
        && (1..=thread.file_size_limit).contains(&size)
        && !plan::serves(REFLINK, job, &options)
        && choose_small_engine(job, &options, &mut thread.mounts) == Some(DONTCACHE);
    if !is_for_batch {
        return false;
    }
    let room = thread.write_batch.room(size as usize);
    let is_read = read_until_end(job.source, room).is_ok_and(|n| n as u64 == size)
        && check_source_unchanged(job).is_ok();
    is_read
        && thread
            .write_batch
            .push(job.dest, size as usize, dest_caps.flush, tag)
}

/// Writes the files of the thread's batch, and leaves them to its queue. Returns for each whether it was written.
pub(in crate::transfer) fn write_batch<T>(thread: &mut ThreadState<T>) -> Vec<bool> {
    let queue = &mut thread.writeback_queue;
    thread.write_batch.write(queue, MAX_DEFERRED_BYTES)
}

/// Returns the progress of a file of `size` bytes that was written in a batch.
pub(in crate::transfer) fn batch_progress(size: u64) -> Progress {
    Progress {
        copied: size,
        size: Some(size),
        engine: DONTCACHE.name,
        ..Progress::default()
    }
}
