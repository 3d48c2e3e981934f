//! The row that shares blocks: it goes first, for all of the file or not at all.

use std::io;

use super::engine::{Pair, REFLINK};
use super::error::{Error, Failure};
use super::event::Observer;
use super::fault::Fault;
use super::finish::compare_source;
use super::plan::{self, Options, Plan, Reflink};
use super::reserve;
use super::run::{Account, Files, Run};
use super::sink::Sink;
use crate::sys::words::reason;

/// Shares the blocks of the source, where that is wanted and may be possible. Returns whether it did; where it could not,
/// the reason is noted, and the destination is as it was, save that it may have been cut to the size of the source.
///
/// # Errors
/// Why it cannot, where nothing else will do; the destination is empty then, as cp leaves it.
pub(super) fn blocks(
    files: &mut Files<'_>,
    options: Options,
    observer: &mut dyn Observer,
) -> Result<bool, Failure> {
    if !plan::serves(REFLINK, files, &options) {
        return Ok(false);
    }
    let account = Account::open();
    let Err(error) = clone(files) else {
        let plan = Plan::of(files, options);
        observer.event(&plan.event(Some("blocks are shared".into())));
        return Run::new(&plan, files, account, observer)
            .shared()
            .map(|()| true);
    };
    if options.reflink != Reflink::Always {
        files.unshared = Some(reason(&error));
        return Ok(false);
    }
    let mut heard = || match observer.interrupted() {
        true => Err(Error::Interrupted),
        false => Ok(()),
    };
    let emptied = match files.there.regular {
        true => reserve::empty(files.dest, &files.there, &mut heard),
        false => Ok(()),
    };
    let error = match emptied {
        Ok(()) => Error::Clone(error),
        Err(Error::Io(_, e)) => Error::Clone(e),
        Err(stopped) => stopped,
    };
    Err(Failure {
        begun: true,
        ..Failure::before(error, files.facts.size)
    })
}

fn clone(files: &Files<'_>) -> io::Result<()> {
    let mut pair = Pair {
        source: files.source,
        facts: &files.facts,
        sink: Sink::new(files.dest, &files.there),
        notes: Vec::new(),
    };
    let mut engine = REFLINK.make(REFLINK.chunk, &files.facts, &files.there)?;
    match engine.transfer(0, files.facts.size as usize, &mut pair) {
        Ok(_) => Ok(()),
        Err(Fault::Unsupported(_, e) | Fault::Fatal(_, e)) => Err(e),
        Err(Fault::SourceEnd) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Run<'_> {
    /// The account of a file whose blocks are shared.
    fn shared(mut self) -> Result<(), Failure> {
        self.pos = self.size;
        self.moved.insert(REFLINK.name, self.plan.source.data);
        let told = self.report();
        match told.and_then(|()| compare_source(self.pair.source, &self.plan.source)) {
            Ok(()) => {
                self.done();
                Ok(())
            }
            Err(error) => Err(self.give_up(error)),
        }
    }
}
