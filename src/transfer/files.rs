//! The two files of one copy, and what is known of them before a byte moves.

use std::fs::File;
use std::time::Instant;

use super::error::{Error, Failure};
use super::event::{Observer, Progress};
use super::facts::{DestFacts, SourceFacts};
use super::pace::Pacer;
use super::pacing;

/// The two files of a copy, and what is known of them.
#[derive(Debug)]
pub(super) struct Files<'a> {
    pub(super) source: &'a File,
    pub(super) facts: SourceFacts,
    pub(super) dest: &'a File,
    pub(super) there: DestFacts,
    /// Why blocks cannot be shared, when that was tried.
    pub(super) unshared: Option<String>,
    /// What each chunk waits for.
    pub(super) pace: Option<&'a Pacer>,
}

impl Files<'_> {
    /// Waits for what a regular file costs beside its data: the least that a file counts for, of which its data pays a part.
    pub(super) fn price(&self, observer: &mut dyn Observer) -> Result<(), Failure> {
        let Some(pace) = self.pace.filter(|_| self.there.regular) else {
            return Ok(());
        };
        let (data, size) = (self.facts.data, self.facts.size);
        let price = pace.file(data) - data;
        if price == 0 {
            return Ok(());
        }
        let started = Instant::now();
        let waited = pacing::admit_all(Some(pace), price, || {
            observer.progress(&Progress {
                size,
                elapsed: started.elapsed(),
                ..Progress::default()
            });
            Error::if_interrupted(observer)
        });
        waited.map_err(|error| Failure::before(error, size))?;
        pace.moved(price, price);
        Ok(())
    }
}
