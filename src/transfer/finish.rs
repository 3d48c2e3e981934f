//! The end of a file, good or bad: its true size, nothing left in the cache, the source compared, the account.

use std::io;
use std::os::unix::fs::MetadataExt;

use nix::unistd::ftruncate;

use super::engine;
use super::error::{Error, Failure};
use super::event::Event;
use super::facts::{Direct, SourceKind};
use super::fault::{Side, retry};
use super::run::{Account, Run};
use crate::sys::cpu;

impl Run<'_> {
    /// What is still on its way, then the true size, then the page that cutting to it left in the cache.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let dest = self.pair.sink.file;
        let write = |e| Error::Io(Side::Dest, e);
        self.pair.sink.finish().map_err(write)?;
        if !self.plan.dest.regular {
            return Ok(());
        }
        let now = dest.metadata().map_err(write)?.len();
        if now != self.size && !self.only_pretends() {
            retry(|| ftruncate(dest, self.size.cast_signed())).map_err(Error::Resize)?;
        }
        self.drop_leftovers(self.size).map_err(write)?;
        self.report()
    }

    /// Direct writes leave no page behind, with two exceptions: the page that cutting a file to its size zeroes, and what
    /// btrfs, which takes direct writes through the cache where it has checksums, forgets there (some pages in 7 of 120
    /// copies on 6.18).
    fn drop_leftovers(&self, size: u64) -> io::Result<()> {
        let whole = self.plan.dest.direct == Direct::Unproven;
        let from = if whole {
            0
        } else {
            self.plan.dest.align.down(size)
        };
        if size > from {
            self.pair.sink.settle(from, size - from)?;
        }
        Ok(())
    }

    /// The null engine moves nothing, so there is nothing to give a size to.
    fn only_pretends(&self) -> bool {
        self.plan.options.engine == Some(engine::NULL)
    }

    /// The bytes written while a source shrinks can be zeros from the cut on, with every call a success (measured): only
    /// the source itself can tell, afterwards.
    pub(super) fn compare_source(&self) -> Result<(), Error> {
        if matches!(
            self.plan.source.kind,
            SourceKind::Stream | SourceKind::BlockDevice
        ) {
            return Ok(());
        }
        let now = self
            .pair
            .source
            .metadata()
            .map_err(|e| Error::Io(Side::Source, e))?;
        if now.len() != self.size || (now.mtime(), now.mtime_nsec()) != self.plan.source.mtime {
            return Err(Error::SourceChanged {
                was: self.size,
                now: now.len(),
            });
        }
        Ok(())
    }

    pub(super) fn done(&mut self) {
        let Account { started, before } = self.account;
        let (after, elapsed) = (cpu::thread_usage(), started.elapsed().as_secs_f64());
        let engine = self
            .moved
            .iter()
            .max_by_key(|(_, bytes)| **bytes)
            .map(|(name, _)| *name);
        self.observer.event(&Event::Done {
            bytes: self.size,
            data_bytes: self.moved.values().sum(),
            engine,
            engines: std::mem::take(&mut self.moved),
            extents: self.found,
            elapsed,
            rate: self.size as f64 / elapsed.max(1e-9),
            cpu_user: after.user - before.user,
            cpu_system: after.system - before.system,
            max_rss: cpu::max_rss(),
        });
    }

    /// Leaves a destination that ends where its good bytes end, with nothing cached and nothing reserved behind.
    pub(super) fn give_up(&mut self, error: Error) -> Failure {
        let begun = !self.moved.is_empty();
        // Brings out what is still good. After an error of writeback it does nothing, and what is in doubt is cut off.
        let _ = self.pair.sink.finish();
        let copied = match error {
            Error::SourceChanged { .. } => self.pos,
            _ => self.pair.sink.confirmed(self.pos),
        };
        if self.plan.dest.regular {
            let dest = self.pair.sink.file;
            let _ = retry(|| ftruncate(dest, copied.cast_signed()));
            let _ = self.drop_leftovers(copied);
        }
        Failure {
            error,
            copied,
            size: self.size,
            begun,
        }
    }
}
