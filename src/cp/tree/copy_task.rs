//! One regular file that the walk has decided about: its copy, and what is recorded and reported of it.

use std::sync::Arc;

use nix::sys::stat::FileStat;

use super::active_directory::ActiveDirectory;
use super::existing_dest::undo_backup;
use super::name_folding::NameKey;
use super::{CopyRun, DestPlan, EntryError, TreeEntry, copied_line, size};
use crate::cp::copy_file::{self, FileCopier, FileCopyError};
use crate::cp::file_status::{FileId, file_id};
use crate::cp::in_flight::Claim;
use crate::report::{OrderedOutput, SourceOutcome};

/// The decisions that the transfer of a file's data needs.
pub(super) struct FileTransfer {
    pub(super) from: FileStat,
    pub(super) ready: DestPlan,
    /// Whether the destination is below a directory operand, rather than an operand itself.
    pub(super) is_below_operand: bool,
    /// Whether links are followed when the source is opened.
    pub(super) follow: bool,
    /// Whether further hard links of the source need the result of the copy.
    pub(super) remembered: bool,
    /// The key of the destination's name until the file exists.
    pub(super) name: NameKey,
}

/// One file that is to be copied.
pub(super) struct CopyTask {
    pub(super) entry: TreeEntry,
    pub(super) transfer: FileTransfer,
    /// Whether a later operand may have the same destination.
    pub(super) named: bool,
    /// The inodes that the file uses, registered from the moment when the walk has decided about it.
    pub(super) claim: Arc<Claim>,
}

impl CopyTask {
    /// Copies the file by itself.
    pub(super) fn run(self, run: &CopyRun<'_>, voice: &mut OrderedOutput, copier: &mut FileCopier) {
        let copied = self.attempt(run, voice, copier);
        self.conclude(copied, run, voice);
    }

    /// Records and reports how the copy ended. The task then no longer uses its directory.
    pub(super) fn conclude(
        mut self,
        copied: Result<FileId, FileCopyError>,
        run: &CopyRun<'_>,
        voice: &mut OrderedOutput,
    ) {
        let level = self.entry.level.take();
        let made = match copied {
            Ok(made) => {
                voice.count_source(SourceOutcome::Copied);
                Some(made)
            }
            Err(failed) => {
                if !matches!(failed.why, EntryError::Cut) {
                    run.fail();
                }
                voice.count_source(SourceOutcome::Failed(size(&self.transfer.from)));
                self.failed(failed, run, voice);
                None
            }
        };
        if self.transfer.remembered {
            run.copied_as(&self.transfer.from, made);
        }
        if let (true, Some(made)) = (self.named, made) {
            // As in cp, the inode is that of the link itself where the file was written through one.
            let entry = self.entry.dest.stat(false);
            let made = entry.map_or(made, |stat| file_id(&stat));
            run.note_made(self.entry.dest.shown(), made);
        }
        if let Some(level) = level {
            ActiveDirectory::remove_user(level, run);
        }
    }

    fn attempt(
        &self,
        run: &CopyRun<'_>,
        voice: &mut OrderedOutput,
        copier: &mut FileCopier,
    ) -> Result<FileId, FileCopyError> {
        if voice.is_interrupted() {
            return Err(EntryError::Reported.into());
        }
        if run.options.report.verbose {
            let backup = self.transfer.ready.backup_name();
            voice.print_verbose(&copied_line(&self.entry, backup));
        }
        copy_file::copy(&run.cx, voice, copier, &self.request())
    }

    /// Returns what the copy of the file needs to know.
    pub(super) fn request(&self) -> copy_file::CopyRequest<'_> {
        let ready = &self.transfer.ready;
        copy_file::CopyRequest {
            source: &self.entry.source,
            from: &self.transfer.from,
            dest: &self.entry.dest,
            there: ready.there.as_ref(),
            claim: &self.claim,
            replace_as_new: ready.replace_as_new,
            is_below_operand: self.transfer.is_below_operand,
            follow: self.transfer.follow,
            backup: ready.planned_backup(),
        }
    }

    fn failed(&self, failed: FileCopyError, run: &CopyRun<'_>, voice: &mut OrderedOutput) {
        if let EntryError::Unreported(error) = failed.why {
            voice.error(self.entry.source.shown(), self.entry.dest.shown(), &error);
        }
        if let Some(then) = failed.then {
            voice.diagnose(then);
        }
        if let Some(backup) = &self.transfer.ready.backup {
            undo_backup(voice, &self.entry, (backup, failed.left), run);
        }
    }
}
