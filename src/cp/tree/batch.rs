//! Regular files on their way to the pool: a handful at a time, since handing over costs as much as a small file.

use std::sync::{Arc, PoisonError};

use nix::sys::stat::FileStat;

use super::existing::undo_backup;
use super::folding::NameKey;
use super::level::Level;
use super::{Entry, Failed, Ready, Run, Walk, arrow, is_link, size};
use crate::cp::file::{self, Bytes, NotCopied, tell_late};
use crate::cp::in_flight::Claim;
use crate::cp::place::{Identity, identity};
use crate::report::{Fate, Voice};

/// Files in one batch at most.
const FILES: usize = 32;

/// Bytes in one batch at most, as far as more than one file is concerned.
const BYTES: u64 = 1 << 20;

/// What a file's bytes need, as it was decided.
pub(super) struct Transfer {
    pub(super) from: FileStat,
    pub(super) ready: Ready,
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
struct Task {
    entry: Entry,
    transfer: Transfer,
    /// Whether a later operand may have the same destination.
    named: bool,
    /// The inodes that it uses, registered from the moment the walk has decided about it.
    claim: Arc<Claim>,
}

/// Files collected for one thread.
#[derive(Default)]
pub(super) struct Batch {
    tasks: Vec<Task>,
    bytes: u64,
}

impl Walk<'_, '_, '_> {
    /// Hands a regular file over; one that may touch another file of this run is copied at once, alone.
    pub(super) fn transfer(&mut self, entry: Entry, transfer: Transfer) {
        let alone = self.stands_alone(&entry, &transfer);
        if let Some(level) = &entry.level {
            level.join();
        }
        let size = transfer.from.st_size.cast_unsigned();
        let name = match transfer.name {
            NameKey::Folded(name) => Some(name),
            NameKey::Exact | NameKey::Alone => None,
        };
        let there = transfer.ready.there.as_ref().map(identity);
        let in_flight = &self.run.in_flight;
        let task = Task {
            claim: in_flight.claim(identity(&transfer.from), there, name),
            named: entry.operand() && self.repeats.several(),
            entry,
            transfer,
        };
        if alone {
            self.settle();
            let mut bytes = self.run.bytes();
            task.run(self.run, &mut self.voice, &mut bytes);
            return self.run.done_with(bytes, &mut self.voice);
        }
        self.batch.bytes += size;
        self.batch.tasks.push(task);
        if self.batch.tasks.len() >= FILES || self.batch.bytes >= BYTES {
            self.flush();
        }
    }

    /// Whether a destination or a source may be another file of this run under a second name, so that the order counts.
    fn stands_alone(&self, entry: &Entry, transfer: &Transfer) -> bool {
        let preserve = self.options().preserve;
        // The second copy of a file tells when the first was read.
        let told = preserve.timestamps && !preserve.links && transfer.from.st_nlink > 1;
        // A backup that the commit makes takes a name that the next file may have.
        let takes_name = transfer.ready.planned_backup().is_some();
        if self.serial || told || takes_name || transfer.name == NameKey::Alone {
            return true;
        }
        let (source, dest) = (entry.source.place(), entry.dest.place());
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
    pub(super) fn flush(&mut self) {
        if self.batch.tasks.is_empty() {
            return;
        }
        let Batch { tasks, .. } = std::mem::take(&mut self.batch);
        if self.voice.is_behind() {
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

impl Run<'_> {
    /// What a thread copies bytes with.
    fn bytes(&self) -> Bytes {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
            .unwrap_or_else(|| Bytes::paced(self.pace.clone()))
    }

    /// Keeps it for the next batch, and tells what it said late.
    fn done_with(&self, mut bytes: Bytes, voice: &mut Voice) {
        if !tell_late(voice, &bytes.late()) {
            self.fail();
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(bytes);
    }

    /// Waits for the files that are still on their way to the disk. To be called while no batch is under way.
    pub(super) fn settle_bytes(&self, voice: &mut Voice) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        for bytes in idle.iter_mut() {
            if !tell_late(voice, &bytes.settle()) {
                self.fail();
            }
        }
    }
}

impl Task {
    fn run(mut self, run: &Run<'_>, voice: &mut Voice, bytes: &mut Bytes) {
        let level = self.entry.level.take();
        self.copy(run, voice, bytes);
        if let Some(level) = level {
            Level::leave(level, run);
        }
    }

    fn copy(&self, run: &Run<'_>, voice: &mut Voice, bytes: &mut Bytes) {
        let made = match self.attempt(run, voice, bytes) {
            Ok(made) => {
                voice.passed(Fate::Copied);
                Some(made)
            }
            Err(failed) => {
                run.fail();
                voice.passed(Fate::Failed(size(&self.transfer.from)));
                self.failed(failed, run, voice);
                None
            }
        };
        if self.transfer.remembered {
            run.copied_as(&self.transfer.from, made);
        }
        if let (true, Some(made)) = (self.named, made) {
            // As cp does, by the link itself where the file was written through one.
            let entry = self.entry.dest.place().stat(false);
            let made = entry.map_or(made, |stat| identity(&stat));
            run.note_made(&self.entry.dest.shown, made);
        }
    }

    fn attempt(
        &self,
        run: &Run<'_>,
        voice: &mut Voice,
        bytes: &mut Bytes,
    ) -> Result<Identity, NotCopied> {
        if voice.interrupted() {
            return Err(Failed::Said.into());
        }
        let ready = &self.transfer.ready;
        if run.options.report.verbose {
            voice.verbose(&arrow(&self.entry, ready.backup_name()));
        }
        let target = file::Target {
            claim: &self.claim,
            there: ready.there.as_ref(),
            as_new: ready.as_new,
            below: self.transfer.below,
            follow: self.transfer.follow,
            backup: ready.planned_backup(),
        };
        let (source, dest) = (self.entry.source.place(), self.entry.dest.place());
        let places = (&source, &dest);
        file::copy(
            &run.cx,
            (voice, bytes),
            places,
            &self.transfer.from,
            &target,
        )
    }

    fn failed(&self, failed: NotCopied, run: &Run<'_>, voice: &mut Voice) {
        if let Failed::Say(message) = failed.why {
            voice.error(&self.entry.source.shown, &self.entry.dest.shown, &message);
        }
        if let Some(backup) = &self.transfer.ready.backup {
            undo_backup(voice, &self.entry, (backup, failed.left), run);
        }
    }
}
