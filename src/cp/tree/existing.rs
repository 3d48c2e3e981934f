//! What is to become of a destination that is there already: written to, renamed, removed, or left alone.

use std::ffi::OsStr;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::same::{Same, same};
use super::{Entry, Failed, Ready, Walk, cannot, is_directory, is_link, is_regular};
use crate::cp::backup;
use crate::cp::operands::Known;
use crate::cp::options::{BackupNames, Dereference, Existing, Making};
use crate::cp::place::{Place, beside, identity, last_component};
use crate::report::quote::quote;
use crate::sys::words::reason;

impl Walk<'_, '_, '_> {
    /// Looks at the destination and clears the way. None: there is nothing to do, and that is no error.
    pub(super) fn meet(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        dereference: Dereference,
    ) -> Result<Option<Ready>, Failed> {
        let Some(there) = self.look(entry, from)? else {
            return Ok(Some(Ready::default()));
        };
        if !matches!(self.options().existing, Existing::Skip | Existing::Refuse) {
            let (source, dest) = (entry.source.place(), entry.dest.place());
            match same(&source, &dest, from, &there, dereference, self.options()) {
                Same::Yes => {
                    let (source, dest) = (quote(source.shown), quote(dest.shown));
                    return Err(format!("{source} and {dest} are the same file").into());
                }
                verdict => {
                    let done = verdict == Same::Done;
                    return self.replace(entry, from, there, dereference, done);
                }
            }
        }
        self.replace(entry, from, there, dereference, false)
    }

    /// What is there. The link itself is looked at where it would be replaced rather than written through.
    fn look(&self, entry: &Entry, from: &FileStat) -> Result<Option<FileStat>, Failed> {
        let options = self.options();
        let through = !is_directory(from)
            && !is_link(from)
            && (is_regular(from) || options.as_regular)
            && options.making == Making::Copy
            && options.backup.is_none()
            && !options.remove_destination;
        match entry.known {
            Known::NotThere => return Ok(None),
            Known::NotThereOrDangling if through => return Ok(None),
            _ => {}
        }
        let dest = entry.dest.place();
        match dest.stat(through) {
            Ok(stat) if is_link(&stat) => Ok(Some(self.directory_behind(&dest, from, stat))),
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            // With -f a loop of links is replaced as a file that cannot be opened would be.
            Err(Errno::ELOOP) if options.force => Ok(dest.stat(false).ok()),
            Err(e) => cannot("stat", &dest, e),
        }
    }

    /// With --keep-directory-symlink a link to a directory, met by a directory, is that directory.
    fn directory_behind(&self, dest: &Place<'_>, from: &FileStat, link: FileStat) -> FileStat {
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
        entry: &Entry,
        from: &FileStat,
        there: FileStat,
        dereference: Dereference,
        done: bool,
    ) -> Result<Option<Ready>, Failed> {
        if !is_directory(from) && self.is_kept(entry, from, &there, dereference)? {
            return Ok(None);
        }
        if done {
            return Ok(None);
        }
        self.types_agree(entry, from, &there)?;
        let ready = self.clear(entry, from, there, dereference)?;
        Ok(Some(ready))
    }

    /// Whether a file that is there stays: it is not older, or the user wants it so.
    fn is_kept(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        there: &FileStat,
        dereference: Dereference,
    ) -> Result<bool, Failed> {
        let options = self.options();
        if options.update && !is_older(there, from) {
            // It counts as the copy of its source, as in cp: what else leads to that becomes a link of this.
            if from.st_nlink > 1 || dereference != Dereference::Never {
                match self.remember(entry, from) {
                    Some(earlier) => {
                        if self.link_earlier(entry, &earlier, from, dereference)? {
                            self.say_removed(entry);
                        }
                        self.run.cx.durable.note_made(&entry.dest.place());
                    }
                    None => {
                        let follow = dereference != Dereference::Never;
                        let made = entry.dest.place().stat(follow).unwrap_or(*there);
                        self.run.copied_as(from, Some(identity(&made)));
                    }
                }
            }
            self.say_skipped(entry);
            return Ok(true);
        }
        match options.existing {
            Existing::Replace => Ok(false),
            Existing::Skip => {
                self.say_skipped(entry);
                Ok(true)
            }
            Existing::Refuse => {
                let name = quote(&entry.dest.shown);
                Err(format!("not replacing {name}").into())
            }
            Existing::Ask => {
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
    fn say_skipped(&mut self, entry: &Entry) {
        if self.options().report.debug {
            self.verbose(|| format!("skipped {}", quote(&entry.dest.shown)));
        }
    }

    fn types_agree(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        there: &FileStat,
    ) -> Result<(), Failed> {
        let (source, dest) = (&entry.source.shown, &entry.dest.shown);
        if !is_directory(there) {
            // Since 9.5 cp makes the directory where the other file gets a backup. It removes the file where the source is
            // "." or "..", which get no backup; here such a file stays.
            let backed_up = self.options().backup.is_some() && !is_dots(source);
            if is_directory(from) && !backed_up {
                let (source, dest) = (quote(source), quote(dest));
                return Err(format!(
                    "cannot overwrite non-directory {dest} with directory {source}"
                )
                .into());
            }
            let numbered = |b: &crate::cp::options::Backup| b.names == BackupNames::Numbered;
            if entry.operand()
                && !self.options().backup.as_ref().is_some_and(numbered)
                && self.is_ours(dest, there)
            {
                let (source, dest) = (quote(source), quote(dest));
                return Err(format!("will not overwrite just-created {dest} with {source}").into());
            }
        } else if !is_directory(from) && self.options().backup.is_none() {
            // With a backup, as in cp since 9.5, the call that makes the copy fails.
            let (source, dest) = (quote(source), quote(dest));
            return Err(
                format!("cannot overwrite directory {dest} with non-directory {source}").into(),
            );
        }
        Ok(())
    }

    /// Renames or removes what is there, where the options want that; with --atomic it keeps its name until the new one
    /// is complete.
    fn clear(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        there: FileStat,
        dereference: Dereference,
    ) -> Result<Ready, Failed> {
        let options = self.options();
        let keep = Ready {
            there: Some(there),
            ..Ready::default()
        };
        if is_directory(&there) {
            return Ok(keep);
        }
        // Only what is written as a file comes by a temporary name.
        let atomic = options.durability.atomic
            && !is_directory(from)
            && options.making == Making::Copy
            && (is_regular(from) || options.as_regular && !is_link(from));
        if let Some(how) = &options.backup
            && !is_dots(&entry.source.shown)
        {
            let backup = self.back_up(entry, from, how, atomic)?;
            let as_new = atomic && backup.is_some();
            return Ok(Ready {
                there: as_new.then_some(there),
                as_new,
                backup,
            });
        }
        let linked = options.preserve.links && there.st_nlink > 1;
        let other = dereference == Dereference::Never && !is_regular(from);
        if !(options.remove_destination || !options.attributes_only && (linked || other)) {
            return Ok(keep);
        }
        if atomic {
            return Ok(Ready {
                as_new: true,
                ..keep
            });
        }
        self.settle();
        entry.dest.place().unlink()?;
        self.say_removed(entry);
        Ok(Ready::default())
    }

    pub(super) fn say_removed(&mut self, entry: &Entry) {
        self.verbose(|| format!("removed {}", quote(&entry.dest.shown)));
    }

    fn back_up(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        how: &crate::cp::options::Backup,
        keep: bool,
    ) -> Result<Option<std::ffi::OsString>, Failed> {
        let dest = entry.dest.place();
        if how.names != BackupNames::Numbered && is_backup_of(entry, from, &how.suffix) {
            let (dest, source) = (quote(dest.shown), quote(&entry.source.shown));
            return Err(
                format!("backing up {dest} might destroy source;  {source} not copied").into(),
            );
        }
        // What is renamed may be a file that is still being written.
        self.settle();
        match backup::make(&dest, how, keep) {
            Ok(name) => Ok(name),
            Err(e) => cannot("backup", &dest, e),
        }
    }

    /// Gives what was there its name back, after a copy that failed.
    pub(super) fn undo_backup(&mut self, entry: &Entry, backup: Option<&OsStr>) {
        if let Some(name) = backup {
            self.flush();
            undo_backup(&mut self.voice, entry, name, self.run);
        }
    }

    /// A link that this run made is not written through: it would lead out of what is being made. cp looks at operands
    /// only, and writes through a link that one tree brought where the next has a file of that name.
    pub(super) fn not_through_ours(
        &mut self,
        entry: &Entry,
        dest: &Place<'_>,
    ) -> Result<(), Failed> {
        if self.options().backup.is_some() || !self.repeats.has_links() {
            return Ok(());
        }
        match dest.stat(false) {
            Ok(link) if is_link(&link) && self.repeats.is_our_link(&link) => {
                let (source, dest) = (quote(&entry.source.shown), quote(dest.shown));
                Err(format!("will not copy {source} through just-created symlink {dest}").into())
            }
            _ => Ok(()),
        }
    }

    /// Whether an earlier operand of this run made what bears this name.
    fn is_ours(&mut self, shown: &Path, there: &FileStat) -> bool {
        if !self.repeats.has_made(shown) {
            return false;
        }
        self.settle();
        self.run.made_as(shown) == Some(identity(there))
    }
}

/// See [`Walk::undo_backup`].
pub(super) fn undo_backup(
    voice: &mut crate::report::Voice,
    entry: &Entry,
    name: &OsStr,
    run: &super::Run<'_>,
) {
    let dest = entry.dest.place();
    match backup::undo(&dest, name) {
        Ok(()) if run.options.report.verbose => {
            let backup = quote(beside(dest.shown.as_os_str(), name));
            voice.verbose(&format!("{backup} -> {} (unbackup)", quote(dest.shown)));
        }
        Ok(()) => {}
        Err(e) => {
            let text = reason(&e.into());
            voice.diagnose(&format!("cannot un-backup {}: {text}", quote(dest.shown)));
        }
    }
}

/// Whether the source looks like the simple backup that the destination is about to get.
fn is_backup_of(entry: &Entry, from: &FileStat, suffix: &OsStr) -> bool {
    let mut name = entry.dest.base.clone();
    name.push(suffix);
    let (source, dest) = (
        last_component(&entry.source.shown),
        last_component(&entry.dest.shown),
    );
    let mut wanted = dest.to_owned();
    wanted.push(suffix);
    let place = Place {
        base: &name,
        ..entry.dest.place()
    };
    source == wanted
        && place
            .stat(true)
            .is_ok_and(|backup| identity(&backup) == identity(from))
}

fn is_dots(path: &Path) -> bool {
    matches!(last_component(path).as_encoded_bytes(), b"." | b"..")
}

/// Whether a file was modified before another.
fn is_older(there: &FileStat, from: &FileStat) -> bool {
    (there.st_mtime, there.st_mtime_nsec) < (from.st_mtime, from.st_mtime_nsec)
}
