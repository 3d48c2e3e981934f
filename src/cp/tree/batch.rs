//! Regular files on their way to the pool: a handful at a time, since handing over costs as much as a small file.

use std::sync::{Arc, PoisonError};

use nix::sys::stat::FileStat;

use super::active_directory::ActiveDirectory;
use super::existing_dest::undo_backup;
use super::name_folding::NameKey;
use super::{CopyRun, DestPlan, EntryError, TreeEntry, Walk, copied_line, size};
use crate::cp::copy_file::{self, FileCopier, FileCopyError, report_deferred_errors};
use crate::cp::file_status::{FileId, file_id, is_link};
use crate::cp::in_flight::Claim;
use crate::report::{OrderedOutput, SourceOutcome};

/// Files in one batch at most.
const MAX_BATCH_FILES: usize = 32;

/// Bytes in one batch at most, as far as more than one file is concerned.
const MAX_BATCH_BYTES: u64 = 1 << 20;

/// What a file's bytes need, as it was decided.
pub(super) struct FileTransfer {
    pub(super) from: FileStat,
    pub(super) ready: DestPlan,
    /// Whether the destination is below a directory that was named, rather than named itself.
    pub(super) below: bool,
    /// Whether links are followed in opening the source.
    pub(super) follow: bool,
    /// Whether further links of it wait to know what became of it.
    pub(super) remembered: bool,
    /// What its destination is known by until it is there.
    pub(super) name: NameKey,
}

/// One file to be copied.
struct CopyTask {
    entry: TreeEntry,
    transfer: FileTransfer,
    /// Whether a later operand may have the same destination.
    named: bool,
    /// The inodes that it uses, registered from the moment the walk has decided about it.
    claim: Arc<Claim>,
}

/// Files collected for one thread.
#[derive(Default)]
pub(super) struct Batch {
    tasks: Vec<CopyTask>,
    bytes: u64,
}

impl Walk<'_, '_, '_> {
    /// Hands a regular file over; one that may touch another file of this run is copied at once, alone.
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
            let mut bytes = self.run.bytes();
            task.run(self.run, &mut self.voice, &mut bytes);
            return self.run.done_with(bytes, &mut self.voice);
        }
        self.batch.bytes += size;
        self.batch.tasks.push(task);
        if self.batch.tasks.len() >= MAX_BATCH_FILES || self.batch.bytes >= MAX_BATCH_BYTES {
            self.submit_batch();
        }
    }

    /// Whether a destination or a source may be another file of this run under a second name, so that the order counts.
    fn must_run_alone(&self, entry: &TreeEntry, transfer: &FileTransfer) -> bool {
        let preserve = self.options().preserve;
        // The second copy of a file tells when the first was read.
        let told = preserve.timestamps && !preserve.links && transfer.from.st_nlink > 1;
        // A backup that the commit makes takes a name that the next file may have.
        let takes_name = transfer.ready.planned_backup().is_some();
        if self.serial || told || takes_name || transfer.name == NameKey::Ambiguous {
            return true;
        }
        let (source, dest) = (entry.source.as_at_path(), entry.dest.as_at_path());
        let linked = match &transfer.ready.there {
            // Some file systems show two names of one file as two inodes (FUSE), but still count its names.
            Some(there) => there.st_nlink > 1,
            // What is written through a link that leads nowhere yet may be what another link leads to.
            None => {
                self.options().through_dangling && dest.stat(false).is_ok_and(|stat| is_link(&stat))
            }
        };
        linked || transfer.follow && source.stat(false).is_ok_and(|stat| is_link(&stat))
    }

    /// Hands over what was collected: from here on its messages have their place.
    pub(super) fn submit_batch(&mut self) {
        if self.batch.tasks.is_empty() {
            return;
        }
        let Batch { tasks, .. } = std::mem::take(&mut self.batch);
        if self.voice.is_backlogged() {
            self.pool.drain();
        }
        let mut voice = self.voice.split();
        let run = self.run;
        self.pool.submit(Box::new(move || {
            let mut bytes = run.bytes();
            for task in tasks {
                task.run(run, &mut voice, &mut bytes);
            }
            run.done_with(bytes, &mut voice);
        }));
    }
}

impl CopyRun<'_> {
    /// What a thread copies bytes with.
    fn bytes(&self) -> FileCopier {
        let mut idle = self
            .idle_copiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.pop()
            .unwrap_or_else(|| FileCopier::with_rate_limiter(self.pace.clone()))
    }

    /// Keeps it for the next batch, and tells what it said late.
    fn done_with(&self, mut bytes: FileCopier, voice: &mut OrderedOutput) {
        if !report_deferred_errors(voice, bytes.take_deferred_errors()) {
            self.fail();
        }
        let mut idle = self
            .idle_copiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.push(bytes);
    }

    /// Waits for the files that are still on their way to the disk. To be called while no batch is under way.
    pub(super) fn wait_for_writeback(&self, voice: &mut OrderedOutput) {
        let mut idle = self
            .idle_copiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for bytes in idle.iter_mut() {
            if !report_deferred_errors(voice, bytes.finish_writeback()) {
                self.fail();
            }
        }
    }
}

impl CopyTask {
    fn run(mut self, run: &CopyRun<'_>, voice: &mut OrderedOutput, bytes: &mut FileCopier) {
        let level = self.entry.level.take();
        self.copy(run, voice, bytes);
        if let Some(level) = level {
            ActiveDirectory::remove_user(level, run);
        }
    }

    fn copy(&self, run: &CopyRun<'_>, voice: &mut OrderedOutput, bytes: &mut FileCopier) {
        let made = match self.attempt(run, voice, bytes) {
            Ok(made) => {
                voice.count_source(SourceOutcome::Copied);
                Some(made)
            }
            Err(failed) => {
                run.fail();
                voice.count_source(SourceOutcome::Failed(size(&self.transfer.from)));
                self.failed(failed, run, voice);
                None
            }
        };
        if self.transfer.remembered {
            run.copied_as(&self.transfer.from, made);
        }
        if let (true, Some(made)) = (self.named, made) {
            // As cp does, by the link itself where the file was written through one.
            let entry = self.entry.dest.as_at_path().stat(false);
            let made = entry.map_or(made, |stat| file_id(&stat));
            run.note_made(&self.entry.dest.shown, made);
        }
    }

    fn attempt(
        &self,
        run: &CopyRun<'_>,
        voice: &mut OrderedOutput,
        bytes: &mut FileCopier,
    ) -> Result<FileId, FileCopyError> {
        if voice.is_interrupted() {
            return Err(EntryError::Reported.into());
        }
        let ready = &self.transfer.ready;
        if run.options.report.verbose {
            voice.print_verbose(&copied_line(&self.entry, ready.backup_name()));
        }
        let target = copy_file::CopyRequest {
            claim: &self.claim,
            existing: ready.there.as_ref(),
            replace_as_new: ready.replace_as_new,
            is_below_operand: self.transfer.below,
            follow: self.transfer.follow,
            backup: ready.planned_backup(),
        };
        let (source, dest) = (self.entry.source.as_at_path(), self.entry.dest.as_at_path());
        let places = (&source, &dest);
        copy_file::copy(
            &run.cx,
            (voice, bytes),
            places,
            &self.transfer.from,
            &target,
        )
    }

    fn failed(&self, failed: FileCopyError, run: &CopyRun<'_>, voice: &mut OrderedOutput) {
        if let EntryError::Unreported(error) = failed.why {
            voice.error(&self.entry.source.shown, &self.entry.dest.shown, &error);
        }
        if let Some(backup) = &self.transfer.ready.backup {
            undo_backup(voice, &self.entry, (backup, failed.left), run);
        }
    }
}
