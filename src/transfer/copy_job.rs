//! The two files of one copy, and their properties before the first byte is copied.

use std::fs::File;
use std::sync::Mutex;
use std::time::Instant;

use super::capabilities::{DestCaps, Direct, SourceInfo, SourceKind};
use super::digest::algorithm::Hasher;
use super::drain::CopyDrain;
use super::error::{CopyFailure, Error};
use super::event::{CopyListener, Progress};
use super::rate_limit::RateLimiter;
use super::room::ledger::RoomLedger;
use super::stop_check::report_progress;
use super::token_wait;
use super::writers::Writers;

/// The two files of a copy, and their properties.
#[derive(Debug)]
pub(super) struct CopyJob<'a> {
    pub(super) source: &'a File,
    pub(super) source_info: SourceInfo,
    pub(super) dest: &'a File,
    pub(super) dest_caps: DestCaps,
    /// Why blocks cannot be shared, if that was tried.
    pub(super) reflink_refusal: Option<String>,
    /// Whether another process could write to the source before the copy; `None` if nobody wants to know.
    pub(super) writers: Option<Writers>,
    /// The drain of the source, if its memory is given back.
    pub(super) drain: Option<&'a CopyDrain>,
    /// The digest of a stream, which is made as its bytes pass, if one is wanted.
    pub(super) stream_hasher: Option<Mutex<Hasher>>,
    /// The rate limiter that each chunk waits for.
    pub(super) pace: Option<&'a RateLimiter>,
    /// The free space that is promised to the files of the run.
    pub(super) room: Option<&'a RoomLedger>,
}

impl<'a> CopyJob<'a> {
    /// Makes the job of two files with their properties, at the rate that `pace` allows, if there is one.
    pub(super) fn new(
        (source, source_info): (&'a File, SourceInfo),
        (dest, dest_caps): (&'a File, DestCaps),
        pace: Option<&'a RateLimiter>,
    ) -> Self {
        Self {
            source,
            source_info,
            dest,
            dest_caps,
            reflink_refusal: None,
            writers: None,
            drain: None,
            stream_hasher: None,
            pace,
            room: None,
        }
    }

    /// Returns the same files, for what works beside the copy.
    pub(super) fn view(&self) -> CopyJob<'a> {
        CopyJob {
            source_info: self.source_info.clone(),
            dest_caps: self.dest_caps.clone(),
            reflink_refusal: self.reflink_refusal.clone(),
            writers: self.writers.clone(),
            stream_hasher: None,
            ..*self
        }
    }
}

impl CopyJob<'_> {
    /// Asks whether another process can write to the source, if somebody wants to know that or it must not be so.
    pub(super) fn ask_for_writers(
        &mut self,
        is_wanted: bool,
        is_forbidden: bool,
    ) -> Result<(), CopyFailure> {
        if !is_wanted && !is_forbidden {
            return Ok(());
        }
        let writers = self.query_writers();
        if is_forbidden && writers != Writers::None {
            let error = Error::NotQuiescent {
                writers,
                is_copied: false,
            };
            return Err(CopyFailure::before(error, self.source_info.size));
        }
        self.writers = Some(writers);
        Ok(())
    }

    /// Asks again when the bytes are copied, if it was asked before, and returns what is known of the whole time.
    pub(super) fn ask_for_writers_again(
        &self,
        is_forbidden: bool,
    ) -> Result<Option<Writers>, CopyFailure> {
        let Some(before) = &self.writers else {
            return Ok(None);
        };
        let writers = self.query_writers().since(before);
        if is_forbidden && writers != Writers::None {
            return Err(self.fail_after_copy(Error::NotQuiescent {
                writers,
                is_copied: true,
            }));
        }
        Ok(Some(writers))
    }

    fn query_writers(&self) -> Writers {
        match self.drain {
            // The source is open for writing here.
            Some(_) => Writers::query_others(self.source),
            None => Writers::query(self.source, &self.source_info),
        }
    }

    /// Fails if the source cannot be drained, or the destination cannot be trusted to have what is written to it.
    pub(super) fn check_drainable(&self) -> Result<(), CopyFailure> {
        let source = self.source_info.kind;
        let why = if !matches!(source, SourceKind::Tmpfs | SourceKind::Hugetlbfs) {
            "only files of tmpfs and hugetlbfs can be drained".into()
        } else if let Direct::No(why) = &self.dest_caps.direct {
            why.clone()
        } else {
            return Ok(());
        };
        let error = Error::Impossible(why);
        Err(CopyFailure::before(error, self.source_info.size))
    }

    /// Fails if the copy cannot be compared with its source when it is complete.
    pub(super) fn check_verifiable(&self) -> Result<(), CopyFailure> {
        let why = if self.source_info.kind == SourceKind::Stream {
            "the source is a stream, which cannot be read again to be compared"
        } else if self.dest_caps.stream {
            "the destination cannot be read back"
        } else {
            return Ok(());
        };
        let error = Error::NotVerifiable(why);
        Err(CopyFailure::before(error, self.source_info.size))
    }

    /// Makes the failure of a copy whose bytes are all written.
    pub(super) fn fail_after_copy(&self, error: Error) -> CopyFailure {
        CopyFailure {
            error,
            copied: self.source_info.size,
            size: self.source_info.size,
            begun: true,
        }
    }

    /// Returns what was found out about writers before the copy, for an event.
    pub(super) fn known_writers(&self) -> Writers {
        let not_asked = || Writers::Unknown("it was not asked".into());
        self.writers.clone().unwrap_or_else(not_asked)
    }

    /// Waits for the charge of a regular file beyond its data: the difference between the minimum charge of a file and
    /// what its data is charged.
    pub(super) fn wait_for_file_cost(
        &self,
        listener: &mut dyn CopyListener,
    ) -> Result<(), CopyFailure> {
        let Some(pace) = self.pace.filter(|_| self.dest_caps.regular) else {
            return Ok(());
        };
        let (data, size) = (self.source_info.data, self.source_info.size);
        let price = pace.file_cost(data) - data;
        if price == 0 {
            return Ok(());
        }
        let started = Instant::now();
        let waited = token_wait::wait_for_all_tokens(Some(pace), price, || {
            let progress = Progress {
                size: self.source_info.known_size(),
                elapsed: started.elapsed(),
                ..Progress::default()
            };
            report_progress(listener, &progress)
        });
        waited.map_err(|error| CopyFailure::before(error, size))?;
        pace.record_moved(price, price);
        Ok(())
    }
}
