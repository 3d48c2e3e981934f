//! What a thread keeps from one file to the next: a buffer, what it knows of mounts, and the small files on their way.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::behind::{Behind, Late};
use super::copy_method::CopyMethod;
use super::error::{Error, Failure};
use super::event::Observer;
use super::facts::{DestFacts, SourceFacts};
use super::fault::Side;
use super::mounts::Mounts;
use super::pace::Pacer;
use super::plan::Options;
use super::run::{self, Files};
use super::{share, small};

/// Copies files, one after another. Each thread has its own; threads may copy different files at once.
///
/// A small file that went through the page cache is not waited for: whoever copies must ask for [`Worker::late`] now and
/// then, and must end with [`Worker::settle`]. `T` is what the caller knows a file by.
#[derive(Debug)]
pub struct Worker<T> {
    pub(super) mounts: Mounts,
    pub(super) buffer: Vec<u8>,
    pub(super) behind: Behind<T>,
    /// How the last file was copied.
    pub(super) method: CopyMethod,
    pace: Option<Arc<Pacer>>,
}

impl<T> Default for Worker<T> {
    fn default() -> Self {
        Self {
            mounts: Mounts::default(),
            buffer: Vec::new(),
            behind: Behind::new(),
            method: CopyMethod::default(),
            pace: None,
        }
    }
}

impl<T> Worker<T> {
    /// One whose every chunk waits for `pace`, if there is one.
    #[must_use]
    pub fn paced(pace: Option<Arc<Pacer>>) -> Self {
        Self {
            pace,
            ..Self::default()
        }
    }

    /// What a source is made of.
    ///
    /// # Errors
    /// fstat's, fstatfs's and lseek's.
    pub fn facts(&mut self, source: &File) -> io::Result<SourceFacts> {
        SourceFacts::on(&mut self.mounts, source)
    }

    /// Copies all of `source` to `dest`, which is emptied first, but not before it is known that something can be done.
    ///
    /// # Errors
    /// What stopped it, and how much of the destination is good. What was reserved or cached beyond that is given back.
    pub fn copy(
        &mut self,
        source: &File,
        facts: SourceFacts,
        dest: &File,
        options: Options,
        observer: &mut dyn Observer,
        tag: T,
    ) -> Result<(), Failure> {
        self.method = CopyMethod::before(&options);
        let there = DestFacts::on(&mut self.mounts, dest)
            .map_err(|e| Failure::before(Error::Io(Side::Dest, e), facts.size))?;
        let pace = self.pace.clone();
        let mut files = Files {
            source,
            facts,
            dest,
            there,
            unshared: None,
            pace: pace.as_deref(),
        };
        files.price(observer)?;
        let shared = share::blocks(&mut files, options, observer);
        let refused = match &shared {
            Ok(shared) => !shared,
            Err(failure) => matches!(failure.error, Error::Clone(_)),
        };
        self.method.note_reflink(!refused, &options);
        if shared? {
            return Ok(());
        }
        match small::way(&files, &options, &mut self.mounts) {
            Some(row) => small::copy(self, row, &files, options, observer, tag),
            None => run::copy(&files, options, observer, &mut self.method),
        }
    }

    /// How the data of the last file was copied, as far as it came.
    #[must_use]
    pub fn method(&self) -> CopyMethod {
        self.method
    }

    /// Files whose writeback has failed since this was last asked.
    #[must_use]
    pub fn late(&mut self) -> Vec<Late<T>> {
        self.behind.late()
    }

    /// Waits for all files that are on their way, and drops them from the cache. Returns those that failed.
    #[must_use]
    pub fn settle(&mut self) -> Vec<Late<T>> {
        self.behind.finish();
        self.behind.late()
    }
}

/// Copies one file, and waits for all of it.
///
/// # Errors
/// As [`Worker::copy`].
pub fn copy(
    source: &File,
    facts: SourceFacts,
    dest: &File,
    options: Options,
    observer: &mut dyn Observer,
) -> Result<(), Failure> {
    let (mut worker, size) = (Worker::default(), facts.size);
    worker.copy(source, facts, dest, options, observer, ())?;
    match worker.settle().pop() {
        Some(late) => Err(Failure {
            begun: true,
            ..Failure::before(Error::Io(Side::Dest, late.error), size)
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::super::engine;
    use super::super::event::{Event, Progress};
    use super::super::pace::Orders;
    use super::super::plan::{DirectPolicy, Sparse};
    use super::*;

    /// Says nothing and never stops.
    struct Silent;

    impl Observer for Silent {
        fn event(&mut self, _: &Event) {}
        fn progress(&mut self, _: &Progress) {}
        fn interrupted(&self) -> bool {
            false
        }
    }

    /// What a copy of a file of `size` bytes, all data or all hole, costs where a file counts for 4096.
    fn price(size: usize, is_data: bool, options: Options) -> u64 {
        let (source, dest) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        if is_data {
            source.write_all_at(&vec![b'x'; size], 0).unwrap();
        }
        source.set_len(size as u64).unwrap();
        source.sync_all().unwrap();
        let pacer = Arc::new(Pacer::new(true));
        let orders = Orders {
            rate: u64::MAX,
            chunk: 1 << 20,
            holding: None,
            word: None,
        };
        pacer.obey(&orders, crate::sys::clock::now());
        let mut worker = Worker::paced(Some(Arc::clone(&pacer)));
        let facts = worker.facts(&source).unwrap();
        let copied = worker.copy(&source, facts, &dest, options, &mut Silent, ());
        copied.unwrap();
        assert!(worker.settle().is_empty());
        pacer.done().moved
    }

    #[test]
    fn every_way_charges_for_the_file() {
        let ways = [
            Options::default(),
            Options {
                engine: engine::find("buffered"),
                ..Options::default()
            },
            Options {
                direct: DirectPolicy::Never,
                ..Options::default()
            },
            Options {
                sparse: Sparse::Always,
                ..Options::default()
            },
        ];
        for options in ways {
            assert_eq!(price(0, true, options), 4096, "{options:?}");
            assert_eq!(price(100, true, options), 4096, "{options:?}");
            assert_eq!(price(100_000, true, options), 100_000, "{options:?}");
            assert_eq!(price(1 << 20, false, options), 4096, "{options:?}");
        }
    }
}
