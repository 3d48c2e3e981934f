//! The inodes and names that the files in flight read or write.
//!
//! Two names of one run may lead to one file: by a bind mount, a hard link, a symbolic link, or a file system that
//! folds case. The walk checks this table before it decides about a file, and waits while an earlier file of the walk
//! still uses the same inode or a name that may be the same. So the later file always writes last, as with one thread.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::cp::file_status::FileId;
use crate::sys::lock::lock;

/// The inodes and names that all files in flight use. Its memory is bounded by the files in the pool's batches and in
/// the queues of deferred writeback, whatever the size of the tree.
#[derive(Debug, Default)]
pub(in crate::cp) struct InFlight {
    table: Mutex<InFlightTable>,
}

#[derive(Debug, Default)]
struct InFlightTable {
    read: Counts<FileId>,
    written: Counts<FileId>,
    names: Counts<u64>,
}

/// The number of files in flight that use each key.
#[derive(Debug)]
struct Counts<K>(HashMap<K, u32, BuildHasherDefault<NumberHasher>>);

/// Hashes numbers of inodes, and hashes of names, by one multiplication each. The table holds some hundred files of one run, so
/// nobody gains by numbers that collide. With the hasher of the standard library, the table and its lock took a seventh of the user CPU time of a small file.
#[derive(Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The odd number next to 2^64 divided by the golden ratio. The rotation brings its well mixed upper bits down.
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed.rotate_left(32);
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Eq + Hash> Counts<K> {
    fn add(&mut self, key: K) {
        *self.0.entry(key).or_insert(0) += 1;
    }

    fn remove(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }

    fn has(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }
}

/// The inodes and the name that one file in flight uses, until the last holder drops the claim. The holders are its
/// task and the queue of deferred writeback, which truncates a file when its writeback fails.
#[derive(Debug)]
pub(in crate::cp) struct Claim {
    table: Arc<InFlight>,
    source: FileId,
    /// The inode of the destination, where it existed before.
    existing: Option<FileId>,
    /// The inode of the destination, where this file created it.
    created: OnceLock<FileId>,
    /// The hash of the destination's name, where names may fold; see [`super::tree`].
    name: Option<u64>,
}

impl InFlight {
    /// Registers a file that is about to be copied from `source` to an `existing` inode or to a new one.
    pub(super) fn claim(
        self: &Arc<Self>,
        source: FileId,
        existing: Option<FileId>,
        name: Option<u64>,
    ) -> Arc<Claim> {
        let mut table = self.lock();
        table.read.add(source);
        if let Some(existing) = existing {
            table.written.add(existing);
        }
        if let Some(name) = name {
            table.names.add(name);
        }
        drop(table);
        Arc::new(Claim {
            table: Arc::clone(self),
            source,
            existing,
            created: OnceLock::new(),
            name,
        })
    }

    /// Returns whether a file in flight writes this inode.
    pub(super) fn is_written(&self, file: FileId) -> bool {
        self.lock().written.has(&file)
    }

    /// Returns whether a file in flight reads or writes this inode.
    pub(super) fn is_used(&self, file: FileId) -> bool {
        let table = self.lock();
        table.written.has(&file) || table.read.has(&file)
    }

    /// Returns whether a file in flight has a name that may be the same.
    pub(super) fn is_named(&self, name: u64) -> bool {
        self.lock().names.has(&name)
    }

    fn lock(&self) -> MutexGuard<'_, InFlightTable> {
        // Each change of the table is complete in itself.
        lock(&self.table)
    }
}

impl Claim {
    /// Registers the inode that the destination got when it was created, before the first byte is written.
    pub(in crate::cp) fn created(&self, file: FileId) {
        if self.created.set(file).is_ok() {
            self.table.lock().written.add(file);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        table.read.remove(&self.source);
        for written in self.existing.iter().chain(self.created.get()) {
            table.written.remove(written);
        }
        if let Some(name) = self.name {
            table.names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_ends_with_its_last_holder() {
        let table = Arc::new(InFlight::default());
        let [source, dest, made] = [1, 2, 3].map(|inode| FileId { device: 1, inode });
        let first = table.claim(source, Some(dest), Some(7));
        let second = table.claim(source, None, None);
        let deferred = Arc::clone(&first);
        second.created(made);
        assert!(table.is_used(source) && !table.is_written(source));
        assert!(table.is_written(dest) && table.is_written(made) && table.is_named(7));
        drop(first);
        assert!(table.is_written(dest), "deferred writeback still holds it");
        drop(deferred);
        assert!(!table.is_used(dest) && !table.is_named(7));
        assert!(table.is_used(source), "the second file reads it");
        drop(second);
        assert!(!table.is_used(source) && !table.is_used(made));
        let table = table.lock();
        let left = (
            table.read.0.len(),
            table.written.0.len(),
            table.names.0.len(),
        );
        assert_eq!(left, (0, 0, 0), "nothing is kept of files that are done");
    }
}
