//! Directories: made so that nobody else can use them before they are complete, then filled.

use std::fs::File;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};

use super::level::{Entered, Level};
use super::made::replaced;
use super::names::Names;
use super::{DEEPEST, Dereference, Entry, Failed, Known, Outcome, Ready, Walk, arrow, cannot};
use crate::cp::attrs::Unpreserved;
use crate::cp::place::{Place, identity};
use crate::report::Fate;
use crate::report::quote::quote;
use crate::sys::words::reason;

impl Walk<'_, '_, '_> {
    /// Two paths may lead to one directory: by a bind mount, by a link that is followed. From where that shows, files are
    /// copied one after the other, since two of them may be one.
    fn watch_for_repeats(&mut self, from: &FileStat, target: &File, new: bool, links: Dereference) {
        let Ok(now) = fstat(target) else { return };
        if self.serial {
            return;
        }
        let mut repeated = false;
        if !new || links != Dereference::Never {
            repeated |= !self.met.insert(identity(&now));
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

    pub(super) fn directory(&mut self, entry: &Entry, from: &FileStat, ready: &Ready) -> Outcome {
        if self.ancestors.contains(&identity(from)) {
            let name = quote(&entry.source.shown);
            return Err(format!("cannot copy cyclic symbolic link {name}").into());
        }
        let level = self.enter(entry, from, ready.there)?;
        let crossing = self.options().one_file_system
            && entry
                .level
                .as_ref()
                .is_some_and(|above| above.device() != from.st_dev);
        self.ancestors.push(identity(from));
        let filled = if crossing {
            Ok(())
        } else {
            self.fill(entry, &level)
        };
        self.ancestors.pop();
        if let Err(failed) = filled {
            self.failed(&entry.source.shown, &entry.dest.shown, failed);
        }
        self.flush();
        let voice = self.voice.split();
        Level::close(level, voice, self.run);
        Ok(())
    }

    /// Makes the destination, unless it is there, and opens both sides.
    fn enter(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        there: Option<FileStat>,
    ) -> Result<Arc<Level>, Failed> {
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
        if made.is_some() {
            // Its name; what is below it is noted when it is complete.
            if entry.operand() {
                self.run.cx.durable.note_made(&dest);
            }
            let now = fstat(&target).or_else(|e| cannot("stat", &dest, e))?;
            self.note_first_made(entry, from, &now);
            self.verbose(|| arrow(entry, None));
            self.voice.passed(Fate::Directory);
        }
        self.watch_for_repeats(from, &target, made.is_some(), self.dereference(entry));
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
            source: entry.source.clone(),
            listing,
            dest: target,
            shown: dest.shown.into(),
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

    fn fill(&mut self, entry: &Entry, level: &Arc<Level>) -> Outcome {
        let Some(listing) = level.listing() else {
            return Ok(());
        };
        let names = Names::of(listing).map_err(|e| {
            let name = quote(&entry.source.shown);
            format!("cannot access {name}: {}", reason(&e))
        })?;
        let known = if level.is_new() {
            Known::NotThere
        } else {
            Known::Nothing
        };
        for name in names.iter() {
            if self.voice.interrupted() {
                return Err(Failed::Said);
            }
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
