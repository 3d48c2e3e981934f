//! The free space of the file systems that a run writes to, and the parts of it that its files are to get.
//!
//! A file whose size is known is promised its bytes before its first one. What is promised and not yet allocated is not
//! free for other files of the run. Each piece of any file is granted before it is written, and counted until it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::available_space::FreeSpace;
use crate::sys::lock::lock;
use crate::sys::quota::FileOwner;

/// An answer is used for so many times the time that the question took, up to [`MAX_QUERY_AGE`]. On a local disk a question
/// takes about a microsecond, on a network one a round trip.
const QUERY_SHARE: u32 = 50;

/// Longest time for which an answer is used again.
const MAX_QUERY_AGE: Duration = Duration::from_millis(5);

/// The accounts of all file systems that a run writes to. Its copiers share it.
#[derive(Debug, Default)]
pub struct RoomLedger {
    accounts: Mutex<BTreeMap<u64, SharedAccount>>,
}

/// The account of one file system, which all files share that are written to it.
pub(super) type SharedAccount = Arc<Mutex<Account>>;

impl RoomLedger {
    /// Returns the account of a file system, by the number of its device.
    pub(super) fn account_of(&self, device: u64) -> SharedAccount {
        Arc::clone(lock(&self.accounts).entry(device).or_default())
    }
}

/// What the files of a run are to get of one file system.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Bytes that are promised to files and not allocated yet.
    pub(super) promised: u64,
    /// Bytes of pieces that are being written.
    pub(super) granted: u64,
    last: Option<Answer>,
    /// What a test says is free.
    #[cfg(test)]
    pub(super) fixed: Option<FreeSpace>,
}

/// An answer of the file system.
#[derive(Debug)]
struct Answer {
    space: FreeSpace,
    at: Instant,
    /// Time that the question took.
    cost: Duration,
    /// Bytes that this run has written since.
    written: u64,
}

impl Answer {
    fn is_recent(&self) -> bool {
        self.at.elapsed() < (self.cost * QUERY_SHARE).min(MAX_QUERY_AGE)
    }
}

impl Account {
    /// Returns the free space as it was a moment ago, without what this run has written since.
    ///
    /// # Errors
    /// The error of fstatvfs(3).
    pub(super) fn recent_space(
        &mut self,
        file: &File,
        owner: Option<FileOwner>,
    ) -> io::Result<Option<FreeSpace>> {
        // Quotas of several owners differ, so their answers are not shared.
        match &self.last {
            Some(last) if owner.is_none() && last.is_recent() => Ok(Some(FreeSpace {
                free: last.space.free.saturating_sub(last.written),
                ..last.space
            })),
            _ => self.query_space(file, owner),
        }
    }

    /// Asks for the free space now.
    ///
    /// # Errors
    /// The error of fstatvfs(3).
    pub(super) fn query_space(
        &mut self,
        file: &File,
        owner: Option<FileOwner>,
    ) -> io::Result<Option<FreeSpace>> {
        #[cfg(test)]
        if self.fixed.is_some() {
            return Ok(self.fixed);
        }
        let at = Instant::now();
        let space = FreeSpace::query(file, owner)?;
        if owner.is_none() {
            self.last = space.map(|space| Answer {
                space,
                at,
                cost: at.elapsed(),
                written: 0,
            });
        }
        Ok(space)
    }

    /// Counts bytes that were written, and were granted or promised before.
    pub(super) fn note_written(&mut self, bytes: u64) {
        if let Some(last) = &mut self.last {
            last.written = last.written.saturating_add(bytes);
        }
    }
}
