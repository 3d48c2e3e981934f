//! The probes `write` and `fsync`: they append to a log file, as another program might.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::PathBuf;

use super::{Probe, ProbeSetup, create_unnamed_file};

use crate::observe::error::{ObserveError, cannot, unavailable};
use crate::sys::clock::MonotonicNs;

/// Bytes of an append: one page, as a log line or a small record costs in the page cache.
const APPEND_BYTES: usize = 4096;

/// Size at which the file is truncated, so that a run of an hour does not fill the disk. 16384 appends take almost
/// three minutes at the default period of `write`, and 27 at that of `fsync`.
const MAX_LOG_BYTES: u64 = 64 << 20;

/// Size at which the file is truncated beside a copy, which may need all the space there is: 256 appends, 25 s of
/// `fsync`.
const MAX_SMALL_LOG_BYTES: u64 = 1 << 20;

struct Append {
    file: File,
    dir: PathBuf,
    block: Box<[u8; APPEND_BYTES]>,
    written: u64,
    limit: u64,
    sync: bool,
}

pub(super) fn make(setup: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    Ok(Box::new(Append::new(setup, false)?))
}

pub(super) fn make_synced(setup: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    Ok(Box::new(Append::new(setup, true)?))
}

impl Append {
    fn new(setup: &ProbeSetup, sync: bool) -> Result<Self, ObserveError> {
        let dir = setup
            .directory
            .clone()
            .ok_or_else(|| unavailable("no directory to write in"))?;
        Ok(Self {
            file: create_unnamed_file(&dir)?,
            dir,
            block: Box::new([b'.'; APPEND_BYTES]),
            written: 0,
            limit: if setup.keep_log_small {
                MAX_SMALL_LOG_BYTES
            } else {
                MAX_LOG_BYTES
            },
            sync,
        })
    }

    fn failed(&self, what: &str, error: std::io::Error) -> ObserveError {
        cannot(format!("{what} in"), &self.dir, error)
    }
}

impl Probe for Append {
    fn prepare(&mut self) -> Result<bool, ObserveError> {
        let full = self.written >= self.limit;
        if full {
            let fresh = self.file.set_len(0).and_then(|()| self.file.rewind());
            fresh.map_err(|e| self.failed("truncate a file", e))?;
            self.written = 0;
        }
        Ok(full)
    }

    fn run_once(&mut self) -> Result<Option<MonotonicNs>, ObserveError> {
        let written = self.file.write_all(self.block.as_slice());
        written.map_err(|e| self.failed("write", e))?;
        self.written += APPEND_BYTES as u64;
        if self.sync {
            let synced = self.file.sync_data();
            synced.map_err(|e| self.failed("fdatasync", e))?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the greatest size of the file in a thousand appends.
    fn most(little_room: bool) -> u64 {
        let setup = ProbeSetup {
            directory: Some("/dev/shm".into()),
            keep_log_small: little_room,
            ..ProbeSetup::default()
        };
        let mut log = Append::new(&setup, false).unwrap();
        let sizes = (0..1000).map(|_| {
            log.prepare().unwrap();
            log.run_once().unwrap();
            log.file.metadata().unwrap().len()
        });
        sizes.max().unwrap()
    }

    #[test]
    fn where_there_is_little_room_the_log_stays_small() {
        assert_eq!(most(true), 1 << 20);
        assert_eq!(most(false), 1000 * APPEND_BYTES as u64);
    }
}
