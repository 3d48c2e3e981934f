//! Directories: made so that nobody else can use them before they are complete, then filled.

use std::fs::File;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};

use super::folding::NameRule;
use super::level::{Entered, Level};
use super::made::replaced;
use super::names::Names;
use super::{
    DEEPEST, Dereference, Descent, Entry, Failed, Known, Outcome, Walk, arrow, cannot, is_link,
};
use crate::cp::attrs::Unpreserved;
use crate::cp::place::{Place, identity};
use crate::report::Fate;
use crate::report::quote::quote;
use crate::sys::words::reason;

impl Walk<'_, '_, '_> {
    /// Two paths may lead to one directory: by a bind mount, by a link that is followed. From where that shows, files are
    /// copied one after the other, since two of them may be one.
    fn watch_for_repeats(
        &mut self,
        entry: &Entry,
        (from, now): (&FileStat, &FileStat),
        new: bool,
        names: NameRule,
    ) {
        if self.serial {
            return;
        }
        let links = self.dereference(entry);
        // What a link leads to may have been made a moment ago.
        let mut repeated = self.options().keep_directory_symlink
            && !new
            && !entry.operand()
            && entry.dest.place().stat(false).is_ok_and(|s| is_link(&s));
        // Where names may fold, one that was made may be met again under another.
        if !new || names != NameRule::Exact || links != Dereference::Never {
            repeated |= !self.met.insert(identity(now));
        }
        if from.st_dev == now.st_dev {
            repeated |= !self.met.insert(identity(from));
        }
        if repeated {
            self.settle();
            self.serial = true;
        }
    }

    /// Gives a directory that was there the security context of the source, where that is kept.
    fn relabel(&mut self, source: &Place<'_>, dest: &Place<'_>) -> Outcome {
        let mut said = Vec::new();
        let attributes = self.run.attributes();
        let done = attributes.relabel(source, dest, &mut |text| said.push(text.to_owned()));
        for text in &said {
            self.say().diagnose(text);
        }
        done.map_err(|Unpreserved| Failed::Said)
    }

    /// Copies a directory and all that is in it.
    pub(super) fn directory(&mut self, entry: Entry, descent: &Descent) {
        let from = &descent.from;
        let entered = if self.ancestors.contains(&identity(from)) {
            let name = quote(&entry.source.shown);
            Err(format!("cannot copy cyclic symbolic link {name}").into())
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
                return self.failed(&entry.source.shown, &entry.dest.shown, failed);
            }
        };
        // It would keep the directory above open.
        drop(entry);
        self.ancestors.push(identity(from));
        self.open.enter(&level);
        let crossing = self.options().one_file_system
            && level
                .above()
                .is_some_and(|above| above.device() != from.st_dev);
        let filled = if crossing { Ok(()) } else { self.fill(&level) };
        self.ancestors.pop();
        self.open.leave();
        if let Err(failed) = filled {
            let (source, dest) = level.shown();
            self.failed(source, dest, failed);
        }
        self.flush();
        // While this one still lets its `..` be found, whatever its mode will be.
        self.return_above(&level);
        let voice = self.voice.split();
        Level::close(level, voice, self.run);
    }

    /// Makes the destination, unless it is there, and opens both sides.
    fn enter(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        there: Option<FileStat>,
    ) -> Result<Arc<Level>, Failed> {
        if self.open.are_too_many() {
            self.settle();
        }
        let (source, dest) = (entry.source.place(), entry.dest.place());
        self.prepare(&source)?;
        let (target, made) = match there {
            Some(there) => {
                self.relabel(&source, &dest)?;
                (self.open_met(entry, &dest, &there)?, None)
            }
            None => {
                let (target, made) = self.make_directory(entry, from)?;
                (target, Some(made))
            }
        };
        let now = fstat(&target).or_else(|e| cannot("stat", &dest, e))?;
        if made.is_some() {
            // Its name; what is below it is noted when it is complete.
            if entry.operand() {
                self.run.cx.durable.note_made(&dest);
            }
            self.note_first_made(entry, from, &now);
            self.verbose(|| arrow(entry, None));
            self.voice.passed(Fate::Directory);
        }
        let names = self.names_in(entry, &target, made.is_some());
        self.watch_for_repeats(entry, (from, &now), made.is_some(), names);
        let opened = if self.ancestors.len() >= DEEPEST {
            Err(std::io::Error::from_raw_os_error(libc::ELOOP))
        } else {
            self.open_listed(entry, &source, from)
        };
        let (listing, unlisted) = match opened {
            Ok(listing) => (Some(listing), None),
            Err(e) => (None, Some(e)),
        };
        let level = Level::new(Entered {
            source: &entry.source,
            dest: &entry.dest,
            follow: (
                self.dereference(entry) != Dereference::Never,
                self.options().keep_directory_symlink,
            ),
            listing,
            target,
            identity: identity(&now),
            names,
            from: *from,
            made,
            above: entry.level.clone(),
        });
        if let Some(e) = unlisted {
            let text = format!("cannot access {}: {}", quote(source.shown), reason(&e));
            self.failed(source.shown, dest.shown, text.into());
        }
        Ok(level)
    }

    /// How names in a directory of the destination lead to files. A new one folds case where the one above does.
    fn names_in(&self, entry: &Entry, target: &File, new: bool) -> NameRule {
        match &entry.level {
            // One thread copies in the order of the walk anyway.
            _ if self.pool.threads() == 1 => NameRule::Exact,
            Some(above) if new => above.names(),
            _ => NameRule::of(target),
        }
    }

    /// Makes a directory that only its owner can use until it is complete. Returns the mode it was given, too.
    fn make_directory(&self, entry: &Entry, from: &FileStat) -> Result<(File, u32), Failed> {
        let dest = entry.dest.place();
        let mode = self.run.attributes().directory_mode(from);
        let bits = Mode::from_bits_truncate(mode);
        mkdirat(dest.dir, dest.base, bits).or_else(|e| cannot("create directory", &dest, e))?;
        let exposed = entry.level.as_ref().is_none_or(|level| !level.is_new());
        self.open_new(&dest, mode, exposed)
    }

    /// A destination directory that is there, which must be what was looked at: a link that was swapped in is not followed.
    fn open_met(&self, entry: &Entry, dest: &Place<'_>, there: &FileStat) -> Result<File, Failed> {
        let mut flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        // What was looked at through a link is opened through it, and compared.
        let through = entry.operand() || self.options().keep_directory_symlink;
        if !through {
            flags |= OFlag::O_NOFOLLOW;
        }
        let file = match dest.open(flags, 0) {
            // One that may be searched but not listed is as good for what is made in it.
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => dest.open(flags | OFlag::O_PATH, 0),
            other => other,
        };
        let file =
            file.map_err(|e| format!("cannot access {}: {}", quote(dest.shown), reason(&e)))?;
        let now = fstat(&file).or_else(|e| cannot("stat", dest, e))?;
        if identity(there) != identity(&now) {
            return Err(replaced(dest));
        }
        Ok(file)
    }

    /// The source directory, which must be the one that was looked at.
    fn open_listed(
        &self,
        entry: &Entry,
        source: &Place<'_>,
        from: &FileStat,
    ) -> std::io::Result<File> {
        let mut flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        if self.dereference(entry) == super::Dereference::Never {
            flags |= OFlag::O_NOFOLLOW;
        }
        let file = source.open(flags, 0)?;
        if identity(&fstat(&file)?) != identity(from) {
            return Err(std::io::Error::other("it was replaced while being copied"));
        }
        Ok(file)
    }

    fn fill(&mut self, level: &Arc<Level>) -> Outcome {
        let Some(listing) = level.folders().listing else {
            return Ok(());
        };
        let names = Names::of(&*listing).map_err(|e| {
            let name = quote(level.shown().0);
            format!("cannot access {name}: {}", reason(&e))
        })?;
        drop(listing);
        let known = if level.is_new() {
            Known::NotThere
        } else {
            Known::Nothing
        };
        for name in names.iter() {
            if self.voice.interrupted() {
                return Err(Failed::Said);
            }
            // None: it was closed and could not be opened again, which has been said.
            let Some((source, dest)) = level.child(name) else {
                break;
            };
            self.entry(Entry {
                source,
                dest,
                level: Some(Arc::clone(level)),
                known,
            });
            // Going on would copy the copy; cp stops here as well.
            if self.top.met_itself {
                break;
            }
        }
        Ok(())
    }
}
