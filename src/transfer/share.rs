//! The row that shares blocks: it goes first, for all of the file or not at all.

use std::fs::File;
use std::io;

use nix::unistd::ftruncate;

use super::engine::Pair;
use super::error::Failure;
use super::event::Refusal;
use super::fault::{Fault, retry};
use super::plan::{Plan, Reflink};
use super::run::Run;
use super::sink::{Leaving, Sink};
use crate::sys::words::reason;

/// Shares the blocks of the source, where that row fits. Returns whether it did; where it cannot, it is refused after all,
/// and the destination is as it was, save that it may have been cut to the size of the source.
///
/// # Errors
/// Why it cannot, where nothing else will do; the destination is empty then, as cp leaves it.
pub(super) fn blocks(plan: &mut Plan, source: &File, dest: &File) -> io::Result<bool> {
    let Some(row) = plan.rows.first().filter(|r| r.leaving == Leaving::Shared) else {
        return Ok(false);
    };
    let mut pair = Pair {
        source,
        facts: &plan.source,
        sink: Sink::new(dest, &plan.dest),
        notes: Vec::new(),
    };
    let mut engine = row.make(row.chunk, &plan.source, &plan.dest)?;
    let error = match engine.transfer(0, plan.source.size as usize, &mut pair) {
        Ok(_) => return Ok(true),
        Err(Fault::Unsupported(_, e) | Fault::Fatal(_, e)) => e,
        Err(Fault::SourceEnd) => io::ErrorKind::UnexpectedEof.into(),
    };
    if plan.options.reflink == Reflink::Always {
        if plan.dest.regular {
            retry(|| ftruncate(dest, 0))?;
        }
        return Err(error);
    }
    let refusal = Refusal {
        engine: row.name,
        why: reason(&error),
    };
    plan.rows.remove(0);
    plan.refused.insert(0, refusal);
    Ok(false)
}

impl Run<'_> {
    /// The account of a file whose blocks are shared.
    pub(super) fn shared(mut self) -> Result<(), Failure> {
        self.pos = self.size;
        self.moved.insert(self.rows[0].name, self.plan.source.data);
        match self.report().and_then(|()| self.compare_source()) {
            Ok(()) => {
                self.done();
                Ok(())
            }
            Err(error) => Err(self.give_up(error)),
        }
    }
}
