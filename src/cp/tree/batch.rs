//! Batches of regular files for the pool: several files at a time, since submitting a job costs as much as a small
//! file.

use std::sync::Arc;

use super::batch_run::BatchRun;
use super::copy_task::{CopyTask, FileTransfer};
use super::name_folding::NameKey;
use super::{CopyRun, TreeEntry, Walk};
use crate::cp::copy_file::{FileCopier, report_deferred_errors};
use crate::cp::file_status::{file_id, is_link};
use crate::report::OrderedOutput;
use crate::sys::lock::lock;

/// The most that a batch holds.
struct BatchLimit {
    files: usize,
    /// Bytes in a batch of more than one file.
    bytes: u64,
}

/// Number of batches after which batches may be large.
const SMALL_BATCHES: usize = 16;

/// Limit of the first batches, so that a small tree is shared by all threads.
const SMALL_BATCH: BatchLimit = BatchLimit {
    files: 64,
    bytes: 1 << 20,
};

/// Limit of later batches, which shall hold all files of a directory: two threads that create files in one directory wait for
/// each other. A directory of 200 files of up to 40 KiB fits. The gain was not measured apart from that of batched writes.
const LARGE_BATCH: BatchLimit = BatchLimit {
    files: 256,
    bytes: 8 << 20,
};

/// Number of files from which a batch ends with its directory, since two threads that create files in one directory wait for
/// each other. 20,000 files in 400 directories, until durable, best of 3 and of 4 rounds: 2.35 and 2.58 s if batches of 32 go
/// on into the next directory, 1.71 and 2.03 s if they do not.
const MIN_BATCH_FILES: usize = 8;

/// Files that are collected for one thread.
#[derive(Default)]
pub(super) struct Batch {
    tasks: Vec<CopyTask>,
    bytes: u64,
    /// Number of batches that were submitted before.
    earlier: usize,
}

impl Batch {
    /// Returns whether no more files are to be added.
    fn is_full(&self) -> bool {
        let limit = if self.earlier < SMALL_BATCHES {
            SMALL_BATCH
        } else {
            LARGE_BATCH
        };
        self.tasks.len() >= limit.files || self.bytes >= limit.bytes
    }

    /// Takes the files out, for a thread, and begins the next batch.
    fn take(&mut self) -> Vec<CopyTask> {
        self.earlier += 1;
        self.bytes = 0;
        std::mem::take(&mut self.tasks)
    }

    /// Returns whether `task` is in the directory of the last file of this batch.
    fn ends_beside(&self, task: &CopyTask) -> bool {
        let level = |task: &CopyTask| task.entry.level.as_ref().map(Arc::as_ptr);
        let last = self.tasks.last();
        last.is_some_and(|last| level(last) == level(task))
    }
}

impl Walk<'_, '_, '_> {
    /// Submits a regular file. One that may affect another file of this run is copied at once, alone.
    pub(super) fn submit_transfer(&mut self, entry: TreeEntry, transfer: FileTransfer) {
        let alone = self.must_run_alone(&entry, &transfer);
        if let Some(level) = &entry.level {
            level.add_user();
        }
        let size = transfer.from.st_size.cast_unsigned();
        let name = match transfer.name {
            NameKey::Folded(name) => Some(name),
            NameKey::Exact | NameKey::Ambiguous => None,
        };
        let there = transfer.ready.there.as_ref().map(file_id);
        let in_flight = &self.run.in_flight;
        let task = CopyTask {
            claim: in_flight.claim(file_id(&transfer.from), there, name),
            named: entry.operand() && self.repeats.several(),
            entry,
            transfer,
        };
        if alone {
            self.wait_in_flight();
            let mut copier = self.run.take_copier();
            task.run(self.run, &mut self.voice, &mut copier);
            return self.run.return_copier(copier, &mut self.voice);
        }
        if self.batch.tasks.len() >= MIN_BATCH_FILES && !self.batch.ends_beside(&task) {
            self.submit_batch();
        }
        self.batch.bytes += size;
        self.batch.tasks.push(task);
        if self.batch.is_full() {
            self.submit_batch();
        }
    }

    /// Returns whether a destination or a source may be another file of this run under a second name, so that the order
    /// counts.
    fn must_run_alone(&self, entry: &TreeEntry, transfer: &FileTransfer) -> bool {
        let preserve = self.options().preserve;
        // The second copy of a file shows the access time that the first read of it left.
        let told = preserve.timestamps && !preserve.links && transfer.from.st_nlink > 1;
        // A backup that the commit makes takes a name that the next file may have.
        let takes_name = transfer.ready.planned_backup().is_some();
        if self.serial || told || takes_name || transfer.name == NameKey::Ambiguous {
            return true;
        }
        let (source, dest) = (&entry.source, &entry.dest);
        let linked = match &transfer.ready.there {
            // Some file systems show two names of one file as two inodes (FUSE), but still count its links.
            Some(there) => there.st_nlink > 1,
            // A file that is written through a dangling link may be the target of another link, too.
            None => {
                self.options().through_dangling && dest.stat(false).is_ok_and(|stat| is_link(&stat))
            }
        };
        linked || transfer.follow && source.stat(false).is_ok_and(|stat| is_link(&stat))
    }

    /// Submits the collected files. From then on the place of their messages in the output is fixed.
    pub(super) fn submit_batch(&mut self) {
        if self.batch.tasks.is_empty() {
            return;
        }
        let tasks = self.batch.take();
        if self.voice.is_backlogged() {
            self.pool.drain();
        }
        let mut voice = self.voice.split();
        let run = self.run;
        self.pool.submit(Box::new(move || {
            let mut copier = run.take_copier();
            BatchRun::new(run, &mut voice, &mut copier).copy_all(tasks);
            run.return_copier(copier, &mut voice);
        }));
    }
}

impl CopyRun<'_> {
    /// Returns an idle copier, or a new one, for a thread that copies.
    fn take_copier(&self) -> FileCopier {
        let mut idle = lock(&self.idle_copiers);
        idle.pop().unwrap_or_else(|| {
            FileCopier::with_rate_limiter(self.pace.clone())
                .with_room_ledger(Arc::clone(&self.room))
        })
    }

    /// Keeps the copier for the next batch, and reports its deferred errors.
    fn return_copier(&self, mut copier: FileCopier, voice: &mut OrderedOutput) {
        if !report_deferred_errors(voice, copier.take_deferred_errors()) {
            self.fail();
        }
        let mut idle = lock(&self.idle_copiers);
        idle.push(copier);
    }

    /// Waits for the writeback of deferred files. Must be called while no batch is running.
    pub(super) fn wait_for_writeback(&self, voice: &mut OrderedOutput) {
        let mut idle = lock(&self.idle_copiers);
        for copier in idle.iter_mut() {
            if !report_deferred_errors(voice, copier.finish_writeback()) {
                self.fail();
            }
        }
    }
}
