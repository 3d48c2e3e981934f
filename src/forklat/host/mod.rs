//! The changes that `forklat compare` makes to a host, and how they are undone: at every exit, and at the next start if
//! forklat was killed.
//!
//! A change is written into the [`undo_journal`] before it is made. [`undo_entry`] defines how each kind is undone.
//! [`RestoreGuard`] undoes the changes in reverse order, and after SIGKILL [`undo_journal::undo_leftovers`] does. The
//! [`balloon`] needs no entry: its memory is released with its process, which ends with this process.

pub mod balloon;
pub(super) mod cgroup;
mod control_files;
mod disk_limit;
pub mod limited_dir;
mod loop_release;
mod loop_stack;
pub mod sysctl;
pub mod sysctl_change;
mod sysctl_snapshot;
pub mod undo_entry;
pub mod undo_journal;

use undo_journal::UndoJournal;

/// Holds the changes to this host until they are undone.
///
/// [`restore`](Self::restore) reports failures to its caller. Dropping the guard also restores, for a panic or an early
/// return, and prints on standard error what it could not undo. That stays in the journal for the next start.
#[derive(Debug)]
pub struct RestoreGuard {
    journal: UndoJournal,
}

impl RestoreGuard {
    /// Makes a guard for the undo journal of this process.
    #[must_use]
    pub fn new(record: UndoJournal) -> Self {
        Self { journal: record }
    }

    /// Returns the undo journal, in which each change is noted before it is made.
    pub fn journal_mut(&mut self) -> &mut UndoJournal {
        &mut self.journal
    }

    /// Undoes all changes in reverse order.
    ///
    /// # Errors
    /// One line for each change that could not be undone.
    pub fn restore(mut self) -> Result<(), Vec<String>> {
        let failed = self.journal.undo_all();
        if failed.is_empty() {
            Ok(())
        } else {
            // The caller prints these errors. The drop that follows must not try again and print them a second time.
            self.journal.abandon_entries();
            Err(failed)
        }
    }
}

impl Drop for RestoreGuard {
    fn drop(&mut self) {
        for line in self.journal.undo_all() {
            super::print_diagnostic(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::sysctl_change::SysctlChange;
    use super::undo_entry::UndoEntry;
    use super::*;

    fn guard(dir: &Path) -> RestoreGuard {
        let boot = dir.join("proc/sys/kernel/random");
        std::fs::create_dir_all(&boot).unwrap();
        std::fs::write(boot.join("boot_id"), "b").unwrap();
        RestoreGuard::new(UndoJournal::open_in(dir, dir).unwrap())
    }

    fn records(dir: &Path) -> usize {
        let names = std::fs::read_dir(dir).unwrap().flatten();
        let is_record = |entry: &std::fs::DirEntry| entry.path().extension().is_some();
        names.filter(is_record).count()
    }

    #[test]
    fn what_cannot_be_restored_is_said_and_left_to_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut guard = guard(dir.path());
        let scratch = guard.journal_mut().scratch(dir.path()).unwrap();
        let entry = UndoEntry::Sysctl(SysctlChange::alone(dir.path().join("none"), "1"));
        guard.journal_mut().add(entry).unwrap();
        let failed = guard.restore().unwrap_err();
        assert_eq!(failed.len(), 1);
        assert!(failed[0].contains("none'"), "{failed:?}");
        assert!(!scratch.exists());
        assert_eq!(records(dir.path()), 1);
    }

    #[test]
    fn an_early_return_and_a_panic_restore() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = Vec::new();
        for panics in [false, true] {
            let run = std::panic::AssertUnwindSafe(|| {
                let mut guard = guard(dir.path());
                made.push(guard.journal_mut().scratch(dir.path()).unwrap());
                assert!(!panics, "on purpose");
            });
            assert_eq!(std::panic::catch_unwind(run).is_err(), panics);
        }
        assert!(made.iter().all(|path| !path.exists()));
        assert_eq!(records(dir.path()), 0);
    }
}
