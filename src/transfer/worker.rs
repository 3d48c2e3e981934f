//! What a thread keeps from one file to the next: a buffer, what it knows of mounts, and the small files on their way.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::behind::{Behind, Late};
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
    pace: Option<Arc<Pacer>>,
}

impl<T> Default for Worker<T> {
    fn default() -> Self {
        Self {
            mounts: Mounts::default(),
            buffer: Vec::new(),
            behind: Behind::new(),
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
        if share::blocks(&mut files, options, observer)? {
            return Ok(());
        }
        match small::way(&files, &options, &mut self.mounts) {
            Some(row) => small::copy(self, row, &files, options, observer, tag),
            None => run::copy(&files, options, observer),
        }
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
