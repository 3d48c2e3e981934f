//! What `forklat compare` does to a host, and how all of it is undone: on every way out, and after a death at the next start.
//!
//! A change is written into the [`record`] before it is made. [`undo`] knows how each kind is undone; [`Restore`], and
//! after SIGKILL [`record::clear_leftovers`], do it in the reverse order. The [`squeeze`] needs no record: its memory goes
//! with its process, and that goes with ours.

mod cgroup;
pub mod device;
mod files;
pub mod limit;
mod mounts;
pub mod record;
pub mod squeeze;
pub mod sysctl;
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
            eprintln!("forklat: {line}");
        }
    }
}
