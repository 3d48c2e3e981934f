//! `write` and `fsync`: a bystander that appends to its log.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::PathBuf;

use super::{Probe, Setup, nameless};
use crate::report::quote::cannot;

/// One page: what a log line or a small record costs in the page cache.
const BLOCK: usize = 4096;

/// The file begins anew at this size: a run of an hour shall not fill the disk. 16384 appends are almost three minutes at
/// the default period.
const LIMIT: u64 = 64 << 20;

struct Append {
    file: File,
    dir: PathBuf,
    block: Box<[u8; BLOCK]>,
    written: u64,
    sync: bool,
}

pub(super) fn make(setup: &Setup) -> Result<Box<dyn Probe>, String> {
    append(setup, false)
}

pub(super) fn make_synced(setup: &Setup) -> Result<Box<dyn Probe>, String> {
    append(setup, true)
}

fn append(setup: &Setup, sync: bool) -> Result<Box<dyn Probe>, String> {
    let dir = setup.on.clone().ok_or("no directory to write in")?;
    Ok(Box::new(Append {
        file: nameless(&dir)?,
        dir,
        block: Box::new([b'.'; BLOCK]),
        written: 0,
        sync,
    }))
}

impl Append {
    fn failed(&self, what: &str, error: &std::io::Error) -> String {
        cannot(&format!("{what} in"), &self.dir, error)
    }
}

impl Probe for Append {
    fn prepare(&mut self) -> Result<bool, String> {
        let full = self.written >= LIMIT;
        if full {
            let fresh = self.file.set_len(0).and_then(|()| self.file.rewind());
            fresh.map_err(|e| self.failed("truncate a file", &e))?;
            self.written = 0;
        }
        Ok(full)
    }

    fn ask(&mut self) -> Result<u64, String> {
        let written = self.file.write_all(self.block.as_slice());
        written.map_err(|e| self.failed("write", &e))?;
        self.written += BLOCK as u64;
        if self.sync {
            let synced = self.file.sync_data();
            synced.map_err(|e| self.failed("fdatasync", &e))?;
        }
        Ok(0)
    }
}
