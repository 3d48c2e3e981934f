//! Makes an entry at its destination, by its type and by the options.

use nix::sys::stat::{FileStat, Mode, SFlag, mknodat};

use super::copy_task::FileTransfer;
use super::links::EarlierCopy;
use super::name_folding::NameKey;
use super::{
    DestPlan, DirectoryPlan, EntryError, EntryResult, NextAction, TreeEntry, Walk, copied_line,
};
use crate::cp::at_path::AtPath;
use crate::cp::attrs::AttrReport;
use crate::cp::error::{DrainObstacle, Error, Operation, Refusal};
use crate::cp::file_status::{file_id, file_type, is_directory, is_link, is_regular};
use crate::cp::options::{CopyMode, Dereference};

impl Walk<'_, '_, '_> {
    pub(super) fn make(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        (ready, name): (DestPlan, NameKey),
        earlier: Option<EarlierCopy>,
    ) -> Result<NextAction, EntryError> {
        if is_directory(from) {
            return self.plan_directory(entry, from, ready, earlier.as_ref());
        }
        let data = is_regular(from) || self.options().copy_as_regular && !is_link(from);
        let remembered = self.is_remembered(from);
        if earlier.is_none() && data && self.options().copy_mode == CopyMode::Copy {
            return Ok(NextAction::Transfer(Box::new(FileTransfer {
                from: *from,
                ready,
                is_below_operand: !entry.operand() || self.target.is_some(),
                follow: self.dereference(entry) != Dereference::Never,
                remembered,
                name,
            })));
        }
        self.verbose(|| copied_line(entry, ready.backup_name()));
        let linked = earlier.is_some();
        let made = match &earlier {
            Some(earlier) => self.make_earlier_link(entry, from, &ready, earlier),
            None => self
                .prepare_creation(&entry.source)
                .and_then(|()| self.make_without_data(entry, from, &ready)),
        };
        match made {
            // As in cp, a later operand may overwrite another link of a file that was made before.
            Ok(()) if linked => self.run.cx.fsync_set.note_entry(&entry.dest),
            Ok(()) => self.note_made(entry, from, remembered),
            Err(_) => {
                if remembered && !linked {
                    self.run.copied_as(from, None);
                }
                self.undo_backup(entry, ready.backup.as_ref());
            }
        }
        made?;
        if self.options().transfer.drain {
            // It is copied, and stays where it was.
            let (source, dest) = (entry.source.shown(), entry.dest.shown());
            let obstacle = DrainObstacle::NotRegular;
            return Err(Error::drain(source, dest, obstacle).into());
        }
        Ok(NextAction::Made)
    }

    /// Plans the copy of a directory, unless it was met before under a name that leads to the same copy.
    fn plan_directory(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        ready: DestPlan,
        earlier: Option<&EarlierCopy>,
    ) -> Result<NextAction, EntryError> {
        if let Some(earlier) = earlier
            && let Some(outcome) = self.handle_repeated_directory(entry, earlier)
        {
            if outcome.is_err() {
                self.undo_backup(entry, ready.backup.as_ref());
            }
            return outcome.map(|()| NextAction::Done);
        }
        Ok(NextAction::Directory(Box::new(DirectoryPlan {
            from: *from,
            ready,
            first: earlier.is_none(),
        })))
    }

    /// Makes a link to an earlier copy of the same file, and reports an old file that it replaced.
    fn make_earlier_link(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        ready: &DestPlan,
        earlier: &EarlierCopy,
    ) -> EntryResult {
        let replaced = self.link_earlier(entry, earlier, from, ready)?;
        // With --atomic, the replaced file was backed up, or its removal is not reported.
        if replaced && !ready.replace_as_new {
            self.say_removed(entry);
        }
        Ok(())
    }

    /// Sets the security context of the next file that this thread creates to that of `source`, where it is preserved.
    pub(super) fn prepare_creation(&mut self, source: &AtPath) -> EntryResult {
        let prepared = self.run.attributes().prepare_creation(source);
        self.diagnose(&prepared.errors);
        prepared.result()
    }

    /// Makes an entry whose data is not copied.
    fn make_without_data(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        ready: &DestPlan,
    ) -> EntryResult {
        match self.options().copy_mode {
            CopyMode::SymbolicLink => self.symlink_to_source(entry, from, ready.there.as_ref()),
            CopyMode::HardLink => {
                let follow = self.dereference(entry) != Dereference::Never;
                self.link_source(entry, from, follow, ready.there.as_ref())
            }
            CopyMode::Copy if is_link(from) => self.copy_symlink(entry, from, ready.there.as_ref()),
            CopyMode::Copy => self.special(entry, from),
        }
    }

    /// Makes a FIFO, a socket or a device like the source, as with -R.
    fn special(&mut self, entry: &TreeEntry, from: &FileStat) -> EntryResult {
        let dest = &entry.dest;
        let operation = match file_type(from) {
            SFlag::S_IFIFO => Operation::MakeFifo,
            SFlag::S_IFBLK | SFlag::S_IFCHR | SFlag::S_IFSOCK => Operation::MakeSpecial,
            _ => return Err(entry.refused(Refusal::UnknownType)),
        };
        let mode = Mode::from_bits_truncate(self.run.attributes().special_mode(from));
        mknodat(dest.dir(), dest.path(), file_type(from), mode, from.st_rdev)
            .map_err(|e| dest.error(operation, e))?;
        let source = &entry.source;
        let finished = self.run.attributes().finish_special(source, from, dest);
        self.report_attributes(&finished);
        Ok(())
    }

    /// Reports the attributes that were not preserved. The file stays, and counts as made.
    pub(super) fn report_attributes(&mut self, finished: &AttrReport) {
        self.diagnose(&finished.errors);
        if finished.is_incomplete {
            self.run.fail();
        }
    }

    /// Notes a file that was made without data, for later links and later operands.
    fn note_made(&mut self, entry: &TreeEntry, from: &FileStat, remembered: bool) {
        let named = entry.operand() && self.repeats.several();
        self.run.cx.fsync_set.note_made(&entry.dest);
        if !(remembered || self.repeats.several()) {
            return;
        }
        if remembered && self.run.copy_result_of(file_id(from)).flatten().is_none() {
            // With -s and -L, further links lead to the source.
            let follow = self.dereference(entry) != Dereference::Never;
            if let Ok(made) = entry.dest.stat(follow) {
                self.run.copied_as(from, Some(file_id(&made)));
            }
        }
        if let Ok(made) = entry.dest.stat(false) {
            if is_link(&made) {
                self.repeats.note_symlink(&made);
            }
            if named {
                self.run.note_made(entry.dest.shown(), file_id(&made));
            }
        }
    }
}
