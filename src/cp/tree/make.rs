//! What an entry becomes at its destination, by its type and by what was asked for.

use nix::sys::stat::{FileStat, Mode, SFlag, mknodat};

use super::batch::Transfer;
use super::links::Earlier;
use super::{
    Entry, Failed, Next, Outcome, Ready, Walk, arrow, cannot, is_directory, is_link, is_regular,
    kind,
};
use crate::cp::attrs::Unpreserved;
use crate::cp::options::{Dereference, Making};
use crate::cp::place::{Place, identity};
use crate::report::quote::quote;

impl Walk<'_, '_, '_> {
    pub(super) fn make(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        ready: Ready,
        dereference: Dereference,
        earlier: Option<Earlier>,
    ) -> Result<Next, Failed> {
        if is_directory(from) {
            if let Some(earlier) = &earlier
                && let Some(outcome) = self.met_before(entry, earlier, dereference)
            {
                if outcome.is_err() {
                    self.undo_backup(entry, ready.backup.as_deref());
                }
                return outcome.map(|()| Next::Done);
            }
            let made = self.directory(entry, from, &ready);
            if made.is_err() {
                if earlier.is_none() {
                    self.forget(from);
                }
                self.undo_backup(entry, ready.backup.as_deref());
            }
            return made.map(|()| Next::Done);
        }
        let data = is_regular(from) || self.options().as_regular && !is_link(from);
        let remembered = self.is_remembered(from);
        if earlier.is_none() && data && self.options().making == Making::Copy {
            return Ok(Next::Transfer(Box::new(Transfer {
                from: *from,
                ready,
                below: !entry.operand() || self.target.is_some(),
                follow: dereference != Dereference::Never,
                remembered,
            })));
        }
        self.verbose(|| arrow(entry, ready.backup.as_deref()));
        let linked = earlier.is_some();
        let made = match earlier {
            Some(earlier) => {
                self.link_earlier(entry, &earlier, from, dereference)
                    .map(|replaced| {
                        // With --atomic, what is replaced here was backed up, or is not said to be removed.
                        if replaced && !ready.as_new {
                            self.say_removed(entry);
                        }
                    })
            }
            None => self
                .prepare(&entry.source.place())
                .and_then(|()| self.other(entry, from, &ready, dereference)),
        };
        match made {
            // A further name of what was made before may be overwritten by a later operand, as in cp.
            Ok(()) if linked => self.run.cx.durable.note_entry(&entry.dest.place()),
            Ok(()) => self.note_made(entry, from, remembered),
            Err(_) => {
                if remembered && !linked {
                    self.run.copied_as(from, None);
                }
                self.undo_backup(entry, ready.backup.as_deref());
            }
        }
        made.map(|()| Next::Made)
    }

    /// Has what is made next in place of `source` come into being with its security context, where that is kept.
    pub(super) fn prepare(&mut self, source: &Place<'_>) -> Outcome {
        let mut said = Vec::new();
        let attributes = self.run.attributes();
        let prepared = attributes.prepare_creation(source, &mut |text| said.push(text.to_owned()));
        for text in &said {
            self.say().diagnose(text);
        }
        prepared.map_err(|Unpreserved| Failed::Said)
    }

    /// What is not copied byte by byte.
    fn other(
        &mut self,
        entry: &Entry,
        from: &FileStat,
        ready: &Ready,
        dereference: Dereference,
    ) -> Outcome {
        match self.options().making {
            Making::SymbolicLink => self.symlink_to_source(entry, from),
            Making::HardLink => self.link_source(entry, from, dereference != Dereference::Never),
            Making::Copy if is_link(from) => self.link(entry, from, ready.there.as_ref()),
            Making::Copy => self.special(entry, from),
        }
    }

    /// A FIFO, a socket or a device, made anew as it is with -R.
    fn special(&mut self, entry: &Entry, from: &FileStat) -> Outcome {
        let dest = entry.dest.place();
        let what = match kind(from) {
            SFlag::S_IFIFO => "create fifo",
            SFlag::S_IFBLK | SFlag::S_IFCHR | SFlag::S_IFSOCK => "create special file",
            _ => {
                let name = quote(&entry.source.shown);
                return Err(format!("{name} has unknown file type").into());
            }
        };
        let mode = Mode::from_bits_truncate(self.run.attributes().special_mode(from));
        mknodat(dest.dir, dest.base, kind(from), mode, from.st_rdev)
            .or_else(|e| cannot(what, &dest, e))?;
        let mut said = Vec::new();
        let source = entry.source.place();
        let finished = self
            .run
            .attributes()
            .finish_special(&source, from, &dest, &mut |text| {
                said.push(text.to_owned());
            });
        self.finished(finished, &said)
    }

    /// Says what attributes were not preserved. What was made stays, and counts as made.
    pub(super) fn finished(
        &mut self,
        finished: Result<(), Unpreserved>,
        said: &[String],
    ) -> Outcome {
        for text in said {
            self.say().diagnose(text);
        }
        if finished.is_err() {
            self.run.fail();
        }
        Ok(())
    }

    /// Notes what was made without bytes, for links to come and for operands to come.
    fn note_made(&mut self, entry: &Entry, from: &FileStat, remembered: bool) {
        let named = entry.operand() && self.repeats.several();
        self.run.cx.durable.note_made(&entry.dest.place());
        if !(remembered || self.repeats.several()) {
            return;
        }
        if remembered && self.run.fate_of(identity(from)).flatten().is_none() {
            // With -s and -L it is the source that further links lead to.
            let follow = self.dereference(entry) != Dereference::Never;
            if let Ok(made) = entry.dest.place().stat(follow) {
                self.run.copied_as(from, Some(identity(&made)));
            }
        }
        if let Ok(made) = entry.dest.place().stat(false) {
            if is_link(&made) {
                self.repeats.made_link(&made);
            }
            if named {
                self.run.note_made(&entry.dest.shown, identity(&made));
            }
        }
    }
}
