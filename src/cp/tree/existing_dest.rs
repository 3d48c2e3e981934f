//! Decides about an existing destination: whether it is written to, renamed, removed, or left alone.

use std::ffi::OsStr;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::same_file::{FilePair, SameFile};
use super::{DestPlan, EntryBackup, EntryError, TreeEntry, Walk};
use crate::cp::at_path::{AtPath, last_component, sibling_path};
use crate::cp::backup::{self, BackupOutcome};
use crate::cp::by_inode::RemoveOutcome;
use crate::cp::error::{Error, Operation, Refusal, Warning};
use crate::cp::file_status::{FileId, file_id, is_directory, is_link, is_older, is_regular};
use crate::cp::messages;
use crate::cp::operands::DestKnowledge;
use crate::cp::options::{Backup, BackupNames, CopyMode, Dereference, Overwrite};
use crate::cp::prompt;

/// Number of times that another process may replace a destination while it is examined. Each examination takes
/// microseconds, unless the user is asked.
const MAX_LOOKS: u32 = 100;

/// The result of examining the destination.
enum DestLook {
    /// The destination can be written or made.
    Ready(Box<DestPlan>),
    /// There is nothing to do, and that is no error.
    Nothing,
    /// Another file is there now, which must be examined.
    Changed,
}

impl DestPlan {
    fn met(self) -> DestLook {
        DestLook::Ready(Box::new(self))
    }
}

impl Walk<'_, '_, '_> {
    /// Examines the destination and removes or renames the old file where necessary. Returns `None` if there is nothing
    /// to do, which is no error.
    pub(super) fn prepare_dest(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
    ) -> Result<Option<DestPlan>, EntryError> {
        let may_link = !is_directory(from) && (!is_regular(from) || from.st_nlink > 1);
        if self.options().transfer.room.cut && may_link {
            // A link replaces what is there, which may be the beginning of a file that is still to be cut.
            self.wait_in_flight();
        }
        for _ in 0..MAX_LOOKS {
            let mut there = self.stat_dest(entry, from)?;
            if there.is_some_and(|there| self.run.in_flight.is_used(file_id(&there))) {
                // An earlier file of the walk still uses this inode, under any name.
                self.wait_in_flight_and_writeback();
                there = self.stat_dest(entry, from)?;
            }
            let Some(there) = there else {
                return Ok(Some(DestPlan::default()));
            };
            match self.meet_once(entry, from, there)? {
                DestLook::Ready(ready) => return Ok(Some(*ready)),
                DestLook::Nothing => return Ok(None),
                DestLook::Changed => {}
            }
        }
        Err(Error::dest_replaced(entry.dest.shown()).into())
    }

    fn meet_once(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: FileStat,
    ) -> Result<DestLook, EntryError> {
        if matches!(self.options().overwrite, Overwrite::Skip | Overwrite::Fail) {
            return self.replace(entry, from, there, false);
        }
        let pair = FilePair {
            source: &entry.source,
            dest: &entry.dest,
            from,
            there: &there,
            dereference: self.dereference(entry),
            options: self.options(),
        };
        match pair.check() {
            SameFile::Conflict => Err(entry.refused(Refusal::SameFile)),
            verdict => {
                let done = verdict == SameFile::AlreadyDone;
                self.replace(entry, from, there, done)
            }
        }
    }

    /// Returns the status of the destination. Examines the link itself where it would be replaced rather than written
    /// through.
    fn stat_dest(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
    ) -> Result<Option<FileStat>, EntryError> {
        let options = self.options();
        let through = !is_directory(from)
            && !is_link(from)
            && (is_regular(from) || options.copy_as_regular)
            && options.copy_mode == CopyMode::Copy
            && options.backup.is_none()
            && !options.remove_destination;
        match entry.known {
            // This run may have cut a file since, whose beginning is there.
            _ if options.transfer.room.cut => {}
            DestKnowledge::Missing => return Ok(None),
            DestKnowledge::MissingOrDangling if through => return Ok(None),
            _ => {}
        }
        let dest = &entry.dest;
        let mut there = dest.stat(false);
        if through && there.is_ok_and(|stat| is_link(&stat)) {
            // The link may lead to a file that is still to be made.
            self.wait_in_flight();
            there = dest.stat(true);
        }
        match there {
            Ok(stat) if is_link(&stat) => Ok(Some(self.directory_behind(dest, from, stat))),
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            // With -f a loop of links is replaced like a file that cannot be opened.
            Err(Errno::ELOOP) if options.force => Ok(dest.stat(false).ok()),
            Err(e) => Err(dest.error(Operation::Stat, e).into()),
        }
    }

    /// Returns the status of the target, with --keep-directory-symlink, where the source is a directory and the
    /// destination is a link to one.
    fn directory_behind(&self, dest: &AtPath, from: &FileStat, link: FileStat) -> FileStat {
        if self.options().keep_directory_symlink
            && is_directory(from)
            && let Ok(behind) = dest.stat(true)
            && is_directory(&behind)
        {
            return behind;
        }
        link
    }

    fn replace(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: FileStat,
        done: bool,
    ) -> Result<DestLook, EntryError> {
        let leaves = matches!(self.options().overwrite, Overwrite::Skip | Overwrite::Fail);
        if (is_directory(from) || !leaves) && self.run.cx.is_kept_part(&there) {
            return Err(entry.refused(Refusal::OverNewFile));
        }
        if !is_directory(from) && self.is_kept(entry, from, &there)? {
            return Ok(DestLook::Nothing);
        }
        // The user's answer takes long, and it was given about one file.
        if self.options().overwrite == Overwrite::Ask && !still_there(&entry.dest, &there) {
            return Ok(DestLook::Changed);
        }
        if done {
            return Ok(DestLook::Nothing);
        }
        self.types_agree(entry, from, &there)?;
        self.clear(entry, from, there)
    }

    /// Returns whether an existing file stays, since it is not older, or since the options demand it.
    fn is_kept(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: &FileStat,
    ) -> Result<bool, EntryError> {
        let options = self.options();
        if options.update && !is_older(there, from) {
            // The file counts as the copy of its source, as in cp: other links to the source become links to this file.
            if from.st_nlink > 1 || self.dereference(entry) != Dereference::Never {
                match self.find_or_note_copy(entry, from) {
                    Some(earlier) => {
                        let ready = DestPlan {
                            there: Some(*there),
                            ..DestPlan::default()
                        };
                        if self.link_earlier(entry, &earlier, from, &ready)? {
                            self.say_removed(entry);
                        }
                        self.run.cx.fsync_set.note_made(&entry.dest);
                    }
                    None => {
                        let follow = self.dereference(entry) != Dereference::Never;
                        let made = entry.dest.stat(follow).unwrap_or(*there);
                        self.run.copied_as(from, Some(file_id(&made)));
                    }
                }
            }
            self.say_skipped(entry);
            return Ok(true);
        }
        match options.overwrite {
            Overwrite::Replace => Ok(false),
            Overwrite::Skip => {
                self.say_skipped(entry);
                Ok(true)
            }
            Overwrite::Fail => Err(entry.refused(Refusal::Exists)),
            Overwrite::Ask => {
                let kept = !self.may_overwrite(entry, there);
                if kept {
                    // POSIX: a file that was not copied makes the exit status 1, and so does cp since 9.2.
                    self.run.fail();
                    self.say_skipped(entry);
                }
                Ok(kept)
            }
        }
    }

    /// Prints the line of --debug for a destination that is left as it is, in the words of cp since 9.4.
    fn say_skipped(&mut self, entry: &TreeEntry) {
        if self.options().report.debug {
            self.verbose(|| messages::skipped(entry.dest.shown()));
        }
    }

    fn types_agree(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: &FileStat,
    ) -> Result<(), EntryError> {
        let source = entry.source.shown();
        if !is_directory(there) {
            // Since 9.5 cp makes the directory where the other file gets a backup. cp removes the file where the source
            // is "." or "..", which get no backup; here such a file stays.
            let backed_up = self.options().backup.is_some() && !is_dots(source);
            if is_directory(from) && !backed_up {
                return Err(entry.refused(Refusal::DirectoryOverFile));
            }
            let numbered = |b: &crate::cp::options::Backup| b.names == BackupNames::Numbered;
            if entry.operand()
                && !self.options().backup.as_ref().is_some_and(numbered)
                && self.is_made_by_earlier_operand(&entry.dest, there)
            {
                return Err(entry.refused(Refusal::OverNewFile));
            }
        } else if !is_directory(from) && self.options().backup.is_none() {
            // With a backup, as in cp since 9.5, the system call that makes the copy fails.
            return Err(entry.refused(Refusal::FileOverDirectory));
        }
        Ok(())
    }

    /// Renames or removes the old file, where the options demand that; with --atomic it keeps its name until the new
    /// file is complete.
    fn clear(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: FileStat,
    ) -> Result<DestLook, EntryError> {
        let options = self.options();
        let keep = DestPlan {
            there: Some(there),
            ..DestPlan::default()
        };
        if is_directory(&there) {
            return Ok(keep.met());
        }
        // Only a destination that is written as a file has a temporary name.
        let atomic = options.durability.atomic
            && !is_directory(from)
            && options.copy_mode == CopyMode::Copy
            && (is_regular(from) || options.copy_as_regular && !is_link(from));
        if let Some(how) = &options.backup
            && !is_dots(entry.source.shown())
        {
            return self.back_up(entry, from, there, (how, atomic));
        }
        let linked = options.preserve.links && there.st_nlink > 1;
        let other = self.dereference(entry) == Dereference::Never && !is_regular(from);
        if !(options.remove_destination || !options.attributes_only && (linked || other)) {
            return Ok(keep.met());
        }
        let dest = &entry.dest;
        if atomic {
            // If the status was read through a link, the link is the file to be replaced.
            let there = dest.stat(false).ok().or(keep.there);
            return Ok(DestPlan {
                there,
                replace_as_new: true,
                ..keep
            }
            .met());
        }
        self.wait_in_flight();
        match dest.remove_examined(&there)? {
            RemoveOutcome::Done => self.say_removed(entry),
            RemoveOutcome::Gone => {}
            RemoveOutcome::Other | RemoveOutcome::Aside(_) => return Ok(DestLook::Changed),
        }
        Ok(DestPlan::default().met())
    }

    /// Asks whether an existing file may be replaced. No answer means no.
    pub(super) fn may_overwrite(&mut self, entry: &TreeEntry, there: &FileStat) -> bool {
        self.wait_in_flight();
        let options = self.options();
        prompt::ask_overwrite(&mut self.voice, options, &entry.dest, there)
    }

    pub(super) fn say_removed(&mut self, entry: &TreeEntry) {
        self.verbose(|| messages::removed(entry.dest.shown()));
    }

    /// Renames the old file to its backup name, or determines that name where the commit renames the file (`atomic`).
    fn back_up(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: FileStat,
        (backup, atomic): (&Backup, bool),
    ) -> Result<DestLook, EntryError> {
        let dest = &entry.dest;
        if backup.names != BackupNames::Numbered && is_backup_of(entry, from, &backup.suffix) {
            return Err(entry.refused(Refusal::BackupOverSource));
        }
        // The renamed file may still be in flight.
        self.wait_in_flight();
        if atomic {
            let name = backup::plan(dest, backup).map_err(|e| dest.error(Operation::BackUp, e))?;
            return Ok(DestPlan {
                there: Some(there),
                replace_as_new: true,
                backup: Some(EntryBackup { name, old: None }),
            }
            .met());
        }
        match backup::make(dest, backup, file_id(&there)) {
            Ok(BackupOutcome::Renamed(name, old)) => Ok(DestPlan {
                backup: Some(EntryBackup {
                    name,
                    old: Some(old),
                }),
                ..DestPlan::default()
            }
            .met()),
            Ok(BackupOutcome::Nothing) => Ok(DestPlan::default().met()),
            Ok(BackupOutcome::Other) => Ok(DestLook::Changed),
            Err(e) => Err(dest.error(Operation::BackUp, e).into()),
        }
    }

    /// Renames the old file back to its name, where no file was made in its place.
    pub(super) fn undo_backup(&mut self, entry: &TreeEntry, backup: Option<&EntryBackup>) {
        if let Some(backup) = backup {
            self.submit_batch();
            undo_backup(&mut self.voice, entry, (backup, None), self.run);
        }
    }

    /// Refuses to write through a link that this run made, which would lead out of the tree that is being made, or
    /// through one that an earlier operand was written through, since the second would overwrite the first. cp checks
    /// this for operands only: it writes through a link that one tree has copied where the next tree has a file of that
    /// name.
    pub(super) fn check_not_through_made_link(
        &mut self,
        entry: &TreeEntry,
        dest: &AtPath,
    ) -> Result<(), EntryError> {
        let links = self.repeats.has_links() || self.repeats.is_earlier_dest(dest.shown());
        if self.options().backup.is_some() || !links {
            return Ok(());
        }
        match dest.stat(false) {
            Ok(link) if is_link(&link) && self.is_just_created(&link, dest) => {
                Err(entry.refused(Refusal::ThroughNewSymlink))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether this run made a symbolic link, or an earlier operand was copied to the same name through it,
    /// which cp counts as created, too.
    fn is_just_created(&mut self, link: &FileStat, dest: &AtPath) -> bool {
        self.repeats.is_our_link(link) || self.is_made_by_earlier_operand(dest, link)
    }

    /// Returns whether an earlier operand of this run made the file with this name.
    fn is_made_by_earlier_operand(&mut self, dest: &AtPath, there: &FileStat) -> bool {
        let shown = dest.shown();
        if !self.repeats.is_earlier_dest(shown) {
            return false;
        }
        self.wait_in_flight();
        self.run.operand_dest_id(shown) == Some(file_id(there))
    }
}

/// Renames the old file back to its name, after a copy that failed and left a file of its own, or none.
pub(super) fn undo_backup(
    voice: &mut crate::report::OrderedOutput,
    entry: &TreeEntry,
    (backup, left): (&EntryBackup, Option<FileId>),
    run: &super::CopyRun<'_>,
) {
    let dest = &entry.dest;
    let undone = match backup.old {
        Some(old) => backup::restore_original(dest, (&backup.name, old), left),
        // The commit did not rename the file.
        None => Ok(()),
    };
    let kept = sibling_path(dest.shown().as_os_str(), &backup.name);
    let why = match undone {
        Ok(()) if run.options.report.verbose => {
            return voice.print_verbose(&messages::restored(&kept, dest.shown()));
        }
        Ok(()) => return,
        Err(why) => why,
    };
    voice.diagnose(Warning::Restore {
        path: dest.shown().into(),
        backup: kept.into(),
        why,
    });
}

/// Returns whether a name still leads to a file, through a link or not.
fn still_there(dest: &AtPath, there: &FileStat) -> bool {
    [false, true].into_iter().any(|follow| {
        dest.stat(follow)
            .is_ok_and(|now| file_id(&now) == file_id(there))
    })
}

/// Returns whether the source looks like the simple backup that the destination is about to get.
fn is_backup_of(entry: &TreeEntry, from: &FileStat, suffix: &OsStr) -> bool {
    let mut name = entry.dest.path().to_owned();
    name.push(suffix);
    let (source, dest) = (
        last_component(entry.source.shown()),
        last_component(entry.dest.shown()),
    );
    let mut wanted = dest.to_owned();
    wanted.push(suffix);
    let place = entry.dest.with_path(name);
    source == wanted
        && place
            .stat(true)
            .is_ok_and(|backup| file_id(&backup) == file_id(from))
}

fn is_dots(path: &Path) -> bool {
    matches!(last_component(path).as_encoded_bytes(), b"." | b"..")
}
