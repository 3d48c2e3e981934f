//! The two files of one copy, and their properties before the first byte is copied.

use std::fs::File;
use std::time::Instant;

use super::capabilities::{DestCaps, SourceInfo};
use super::error::CopyFailure;
use super::event::{CopyListener, Progress};
use super::rate_limit::RateLimiter;
use super::stop_check::report_progress;
use super::token_wait;

/// The two files of a copy, and their properties.
#[derive(Debug)]
pub(super) struct CopyJob<'a> {
    pub(super) source: &'a File,
    pub(super) source_info: SourceInfo,
    pub(super) dest: &'a File,
    pub(super) dest_caps: DestCaps,
    /// Why blocks cannot be shared, if that was tried.
    pub(super) reflink_refusal: Option<String>,
    /// The rate limiter that each chunk waits for.
    pub(super) pace: Option<&'a RateLimiter>,
}

impl CopyJob<'_> {
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
