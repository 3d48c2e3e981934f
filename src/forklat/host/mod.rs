//! What `forklat compare` does to a host, and how all of it is undone: on every way out, and after a death at the next start.
//!
//! A change is written into the [`record`] before it is made. [`undo`] knows how each kind is undone; [`Restore`], and
//! after SIGKILL [`record::clear_leftovers`], do it in the reverse order. The [`squeeze`] needs no record: its memory goes
//! with its process, and that goes with ours.

mod cgroup;
mod files;
pub mod limit;
mod neighbours;
pub mod record;
pub mod squeeze;
pub mod sysctl;
pub mod sysctl_change;
pub mod undo;

use record::Record;

/// Holds what was changed on this host until it is restored.
///
/// [`restore`](Self::restore) is the way out that can fail aloud. Dropping restores too, for a panic or an early return,
/// and says on standard error what it could not undo; that stays in the record for the next start.
#[derive(Debug)]
pub struct Restore {
    record: Record,
}

impl Restore {
    /// Takes over the record of this process.
    #[must_use]
    pub fn new(record: Record) -> Self {
        Self { record }
    }

    /// Where changes are announced before they are made.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Undoes everything in the reverse order.
    ///
    /// # Errors
    /// A line for each change that could not be undone.
    pub fn restore(mut self) -> Result<(), Vec<String>> {
        let failed = self.record.undo_all();
        if failed.is_empty() {
            Ok(())
        } else {
            // Said by the caller; the drop that follows must not try, and say, it all again.
            self.record.forget();
            Err(failed)
        }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        for line in self.record.undo_all() {
            super::say(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::sysctl_change::Change;
    use super::undo::Entry;
    use super::*;

    fn guard(dir: &Path) -> Restore {
        let boot = dir.join("proc/sys/kernel/random");
        std::fs::create_dir_all(&boot).unwrap();
        std::fs::write(boot.join("boot_id"), "b").unwrap();
        Restore::new(Record::open_in(dir, dir).unwrap())
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
        let scratch = guard.record().scratch(dir.path()).unwrap();
        let entry = Entry::Sysctl(Change::alone(dir.path().join("none"), "1"));
        guard.record().add(entry).unwrap();
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
                made.push(guard.record().scratch(dir.path()).unwrap());
                assert!(!panics, "on purpose");
            });
            assert_eq!(std::panic::catch_unwind(run).is_err(), panics);
        }
        assert!(made.iter().all(|path| !path.exists()));
        assert_eq!(records(dir.path()), 0);
    }
}
