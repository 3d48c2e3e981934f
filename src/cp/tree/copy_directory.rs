//! Copies directories: makes them so that only the owner can use them before they are complete, then fills them.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};

use super::active_directory::{ActiveDirectory, Entered};
use super::dir_names::DirNames;
use super::name_folding::NameRule;
use super::new_directory::replaced;
use super::{
    Dereference, DestKnowledge, DirectoryPlan, EntryError, EntryResult, MAX_TREE_DEPTH, TreeEntry,
    Walk, copied_line,
};
use crate::cp::at_path::{AtPath, DirHandle, open_searchable};
use crate::cp::error::{Error, Operation, Refusal, ReplacedWhileCopied};
use crate::cp::file_status::{file_id, is_link};
use crate::cp::operands::join;
use crate::cp::order::{CopyOrder, OrderBy};
use crate::cp::resume::remove_leftover_of_name;
use crate::report::SourceOutcome;

impl Walk<'_, '_, '_> {
    /// Checks whether two paths lead to one directory: by a bind mount, or by a link that is followed. From then on
    /// files are copied one after the other, since two of them may be one.
    fn watch_for_repeats(
        &mut self,
        entry: &TreeEntry,
        (from, now): (&FileStat, &FileStat),
        new: bool,
        names: NameRule,
    ) {
        if self.serial {
            return;
        }
        let links = self.dereference(entry);
        // The target of a link may have been made a moment ago.
        let mut repeated = self.options().keep_directory_symlink
            && !new
            && !entry.operand()
            && entry.dest.stat(false).is_ok_and(|s| is_link(&s));
        // Where names may fold, a new directory may be met again under another name.
        if !new || names != NameRule::Exact || links != Dereference::Never {
            repeated |= !self.seen_directories.insert(file_id(now));
        }
        if from.st_dev == now.st_dev {
            repeated |= !self.seen_directories.insert(file_id(from));
        }
        if repeated {
            self.wait_in_flight();
            self.serial = true;
        }
    }

    /// Gives an existing directory the security context of the source, where that is preserved.
    fn relabel(&mut self, source: &AtPath, dest: &AtPath) -> EntryResult {
        let relabelled = self.run.attributes().relabel(source, dest);
        self.diagnose(&relabelled.errors);
        relabelled.result()
    }

    /// Copies a directory and everything in it.
    pub(super) fn directory(&mut self, entry: TreeEntry, descent: &DirectoryPlan) {
        let from = &descent.from;
        let entered = if self.ancestors.contains(&file_id(from)) {
            Err(entry.refused(Refusal::CyclicSymlink))
        } else {
            self.enter(&entry, from, descent.ready.there)
        };
        let level = match entered {
            Ok(level) => level,
            Err(failed) => {
                if descent.first {
                    self.forget(from);
                }
                self.undo_backup(&entry, descent.ready.backup.as_ref());
                return self.report_failure(entry.source.shown(), entry.dest.shown(), failed);
            }
        };
        // The entry would keep the parent directory open.
        drop(entry);
        self.ancestors.push(file_id(from));
        self.open.enter(&level);
        let crossing = self.options().one_file_system
            && level
                .above()
                .is_some_and(|above| above.device() != from.st_dev);
        let filled = if crossing {
            Ok(())
        } else {
            self.copy_children(&level)
        };
        self.ancestors.pop();
        self.open.leave();
        if let Err(failed) = filled {
            let (source, dest) = level.shown();
            self.report_failure(source, dest, failed);
        }
        self.submit_batch();
        // This is done while the `..` of this directory can still be found, whatever its final mode is.
        self.reopen_parent(&level);
        let voice = self.voice.split();
        ActiveDirectory::close(level, voice, self.run);
    }

    /// Makes the destination, unless it exists, and opens both sides.
    fn enter(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: Option<FileStat>,
    ) -> Result<Arc<ActiveDirectory>, EntryError> {
        if self.open.are_too_many() {
            self.wait_in_flight();
        }
        let (source, dest) = (&entry.source, &entry.dest);
        let (target, made) = self.open_or_make_dest(entry, from, there)?;
        let now = fstat(&target).map_err(|e| dest.error(Operation::Stat, e))?;
        if made.is_some() {
            self.report_made(entry, from, &now);
        }
        let names = self.names_in(entry, &target, made.is_some());
        self.watch_for_repeats(entry, (from, &now), made.is_some(), names);
        let opened = if self.ancestors.len() >= MAX_TREE_DEPTH {
            Err(std::io::Error::from_raw_os_error(libc::ELOOP))
        } else {
            self.open_listed(entry, source, from)
        };
        let (listing, unlisted) = match opened {
            Ok(listing) => (Some(listing), None),
            Err(e) => (None, Some(e)),
        };
        let level = ActiveDirectory::new(Entered {
            source: &entry.source,
            dest: &entry.dest,
            follow: (
                self.dereference(entry) != Dereference::Never,
                self.options().keep_directory_symlink,
            ),
            listing,
            target,
            identity: file_id(&now),
            names,
            from: *from,
            made,
            above: entry.level.clone(),
        });
        if self.options().transfer.drain {
            self.begin_drained(entry, from, &level);
        }
        if let Some(e) = unlisted {
            let error = source.error(Operation::Access, e);
            self.report_failure(source.shown(), dest.shown(), error.into());
        }
        Ok(level)
    }

    /// Opens the destination, or makes it if it is missing. Returns the mode that it was made with in that case.
    fn open_or_make_dest(
        &mut self,
        entry: &TreeEntry,
        from: &FileStat,
        there: Option<FileStat>,
    ) -> Result<(File, Option<u32>), EntryError> {
        let (source, dest) = (&entry.source, &entry.dest);
        self.prepare_creation(source)?;
        match there {
            Some(there) => {
                self.relabel(source, dest)?;
                Ok((self.open_existing_dest(entry, dest, &there)?, None))
            }
            None => {
                let (target, made) = self.make_directory(entry, from)?;
                Ok((target, Some(made)))
            }
        }
    }

    /// Notes and reports a directory that was just made. Its entries are noted when it is complete.
    fn report_made(&mut self, entry: &TreeEntry, from: &FileStat, made: &FileStat) {
        if entry.operand() {
            self.run.cx.fsync_set.note_made(&entry.dest);
        }
        self.note_first_made(entry, from, made);
        self.verbose(|| copied_line(entry, None));
        self.voice.count_source(SourceOutcome::DirectoryCreated);
    }

    /// Returns the rule by which names in a destination directory identify files. A new directory folds case where its
    /// parent does.
    fn names_in(&self, entry: &TreeEntry, target: &File, new: bool) -> NameRule {
        match &entry.level {
            // One thread copies in the order of the walk anyway.
            _ if self.pool.threads() == 1 => NameRule::Exact,
            Some(above) if new => above.names(),
            _ => NameRule::of(target),
        }
    }

    /// Makes a directory that only its owner can use until it is complete. Returns the mode that it was made with, too.
    fn make_directory(
        &self,
        entry: &TreeEntry,
        from: &FileStat,
    ) -> Result<(File, u32), EntryError> {
        let dest = &entry.dest;
        let mode = self.run.attributes().directory_mode(from);
        let bits = Mode::from_bits_truncate(mode);
        mkdirat(dest.dir(), dest.path(), bits)
            .map_err(|e| dest.error(Operation::MakeDirectory, e))?;
        let exposed = entry.level.as_ref().is_none_or(|level| !level.is_new());
        self.open_new(dest, mode, exposed)
    }

    /// Opens an existing destination directory, which must be the one that was examined: a link that was swapped in is
    /// not followed.
    fn open_existing_dest(
        &self,
        entry: &TreeEntry,
        dest: &AtPath,
        there: &FileStat,
    ) -> Result<File, EntryError> {
        // A directory that was examined through a link is opened through it, and compared.
        let through = entry.operand() || self.options().keep_directory_symlink;
        let links = if through {
            OFlag::empty()
        } else {
            OFlag::O_NOFOLLOW
        };
        let file = open_searchable(|flags| dest.open(flags | links, 0));
        let file = file.map_err(|e| dest.error(Operation::Access, e))?;
        let now = fstat(&file).map_err(|e| dest.error(Operation::Stat, e))?;
        if file_id(there) != file_id(&now) {
            return Err(replaced(dest));
        }
        Ok(file)
    }

    /// Opens the source directory, which must be the one that was examined.
    fn open_listed(
        &self,
        entry: &TreeEntry,
        source: &AtPath,
        from: &FileStat,
    ) -> std::io::Result<File> {
        let mut flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        if self.dereference(entry) == super::Dereference::Never {
            flags |= OFlag::O_NOFOLLOW;
        }
        let file = source.open(flags, 0)?;
        if file_id(&fstat(&file)?) != file_id(from) {
            return Err(ReplacedWhileCopied.into());
        }
        Ok(file)
    }

    /// Notes a directory that is drained, and removes the states of drains that were ended when they had removed their
    /// sources.
    fn begin_drained(&mut self, entry: &TreeEntry, from: &FileStat, level: &ActiveDirectory) {
        let (source, dest) = (entry.source.shown(), entry.dest.shown());
        self.run.cx.drained_directories.note(source, file_id(from));
        let folders = level.folders();
        let (Some(listing), Some(target)) = (folders.listing, folders.dest) else {
            return;
        };
        // Where it cannot be listed, none is known.
        let Ok(names) = DirNames::of(&*target) else {
            return;
        };
        for name in names.iter() {
            if let Err(error) = remove_leftover_of_name(&listing, &target, name) {
                self.report_failure(source, dest, error.into());
            }
        }
    }

    /// Sorts the names in a directory as the options ask for. Returns the number of names at the beginning that --first
    /// names. The smallest files are drained first, since their memory is soon free.
    fn sort_names(
        &self,
        names: &mut DirNames,
        listing: &DirHandle,
        level: &ActiveDirectory,
    ) -> usize {
        let options = self.options();
        let drained = options.transfer.drain.then_some(OrderBy::Size);
        let order = CopyOrder {
            by: options.order.by.or(drained),
            ..options.order.clone()
        };
        let mut flags = AtFlags::empty();
        flags.set(
            AtFlags::AT_SYMLINK_NOFOLLOW,
            options.dereference != Dereference::Always,
        );
        let shown = level.shown().0;
        names.sort(
            &order,
            |name| fstatat(listing.as_fd(), name, flags),
            |name| join(shown, name),
        )
    }

    fn copy_children(&mut self, level: &Arc<ActiveDirectory>) -> EntryResult {
        let Some(listing) = level.folders().listing else {
            return Ok(());
        };
        let mut names = DirNames::of(&*listing)
            .map_err(|e| Error::io(Operation::Access, level.shown().0, e))?;
        let first = self.sort_names(&mut names, &listing, level);
        drop(listing);
        let known = if level.is_new() {
            DestKnowledge::Missing
        } else {
            DestKnowledge::Unknown
        };
        for (index, name) in names.iter().enumerate() {
            if self.voice.is_interrupted() {
                return Err(EntryError::Reported);
            }
            if index > 0 && index == first {
                self.complete_first(Some(level));
            }
            // If it is `None`, the directory was closed and could not be opened again, which has been reported.
            let Some((source, dest)) = level.child(name) else {
                break;
            };
            self.entry(TreeEntry {
                source,
                dest,
                level: Some(Arc::clone(level)),
                known,
            });
            // To continue would copy the copy; cp stops here as well.
            if self.top.met_itself {
                break;
            }
        }
        Ok(())
    }
}
