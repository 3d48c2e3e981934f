//! Regular files on their way to the pool: a handful at a time, since handing over costs as much as a small file.

use std::ffi::OsString;

use nix::sys::stat::FileStat;

use super::existing::undo_backup;
use super::level::Level;
use super::{Entry, Failed, Ready, Run, Walk, arrow};
use crate::cp::file;
use crate::cp::place::identity;
use crate::report::Voice;

/// Files in one batch at most.
const FILES: usize = 32;

/// Bytes in one batch at most, as far as more than one file is concerned.
const BYTES: u64 = 1 << 20;

/// One file to be copied.
pub(super) struct Task {
    entry: Entry,
    from: FileStat,
    there: Option<FileStat>,
    backup: Option<OsString>,
    replaces: bool,
    /// Whether links are followed in opening the source.
    follow: bool,
    /// Whether further links of it wait to know what became of it.
    remembered: bool,
    /// Whether a later operand may have the same destination.
    named: bool,
}

/// Files collected for one thread.
#[derive(Default)]
pub(super) struct Batch {
    tasks: Vec<Task>,
    bytes: u64,
}

impl Walk<'_, '_> {
    /// Hands a regular file over; one that may touch another file of this run is copied at once, alone.
    pub(super) fn regular(
        &mut self,
        entry: Entry,
        from: FileStat,
        ready: Ready,
        follow: bool,
        remembered: bool,
    ) {
        let alone = self.stands_alone(&entry, &ready, follow);
        if let Some(level) = &entry.level {
            level.join();
        }
        let named = entry.level.is_none() && self.repeats.several();
        let task = Task {
            entry,
            from,
            there: ready.there,
            backup: ready.backup,
            replaces: ready.replaces,
            follow,
            remembered,
            named,
        };
        if alone {
            self.settle();
            return task.run(self.run, &mut self.voice);
        }
        self.batch.bytes += from.st_size.cast_unsigned();
        self.batch.tasks.push(task);
        let full = self.batch.tasks.len() >= FILES || self.batch.bytes >= BYTES;
        if full || self.pool.threads() == 1 {
            self.flush();
        }
    }

    /// Whether a destination or a source may be another file of this run under a second name, so that the order counts.
    fn stands_alone(&self, entry: &Entry, ready: &Ready, follow: bool) -> bool {
        if self.pool.threads() == 1 {
            return true;
        }
        let linked = |stat: &FileStat| {
            stat.st_nlink > 1 || entry.dest.place().stat(false).ok().map(|s| identity(&s)) != Some(identity(stat))
        };
        ready.there.as_ref().is_some_and(linked)
            || follow && entry.source.place().stat(false).is_ok_and(|s| super::is_link(&s))
    }

    /// Hands over what was collected: from here on its messages have their place.
    pub(super) fn flush(&mut self) {
        if self.batch.tasks.is_empty() {
            return;
        }
        let Batch { tasks, .. } = std::mem::take(&mut self.batch);
        let mut voice = self.voice.split();
        let run = self.run;
        self.pool.submit(Box::new(move || {
            for task in tasks {
                task.run(run, &mut voice);
            }
        }));
    }
}

impl Task {
    fn run(mut self, run: &Run<'_>, voice: &mut Voice) {
        let level = self.entry.level.take();
        self.copy(run, voice);
        if let Some(level) = level {
            Level::leave(level, run);
        }
    }

    fn copy(&self, run: &Run<'_>, voice: &mut Voice) {
        let copied = if voice.interrupted() {
            Err(Failed::Said)
        } else {
            if run.options.report.verbose {
                voice.verbose(&arrow(&self.entry, self.backup.as_deref()));
            }
            file::copy(
                &run.cx,
                voice,
                &self.entry.source.place(),
                &self.entry.dest.place(),
                &self.from,
                file::Target {
                    there: self.there.as_ref(),
                    replaces: self.replaces,
                    follow: self.follow,
                },
            )
        };
        let made = match copied {
            Ok(made) => Some(made.identity),
            Err(failed) => {
                run.fail();
                self.failed(failed, run, voice);
                None
            }
        };
        if self.remembered {
            run.copied_as(&self.from, made);
        }
        if let (true, Some(made)) = (self.named, made) {
            run.note_made(&self.entry.dest.shown, made);
        }
    }

    fn failed(&self, failed: Failed, run: &Run<'_>, voice: &mut Voice) {
        if let Failed::Say(message) = failed {
            voice.error(&self.entry.source.shown, &self.entry.dest.shown, &message);
        }
        if let Some(backup) = &self.backup {
            undo_backup(voice, &self.entry, backup, run);
        }
    }
}
