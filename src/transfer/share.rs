//! The row that shares blocks: it goes first, for all of the file or not at all.

use std::io;

use nix::errno::Errno;

use super::engine::{Pair, REFLINK};
use super::error::{Error, Failure};
use super::event::Observer;
use super::fault::Fault;
use super::files::Files;
use super::plan::{self, Options, Plan, Reflink};
use super::reserve;
use super::run::{Account, Run, compare_source};
use super::sink::Sink;
use crate::sys::words::reason;

/// Shares the blocks of the source, where that is wanted and may be possible. Returns whether it did; where it could not,
/// the reason is noted, and the destination is as it was, save that it may have been cut to the size of the source.
///
/// # Errors
/// Why it cannot, where nothing else will do: the destination is empty then, as cp leaves it. Also, whatever was asked for, an
/// error of the medium; the destination is as it was then.
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
    let fail = |error| Err(Failure::before(Error::Clone(error), files.facts.size));
    if options.reflink == Reflink::Always {
        let mut heard = || Error::if_interrupted(observer);
        let emptied = match files.there.regular {
            true => reserve::empty(files.dest, &files.there, &mut heard),
            false => Ok(()),
        };
        return match emptied {
            Ok(()) => fail(error),
            Err(Error::Io(_, e) | Error::Truncate(e)) => fail(e),
            Err(stopped) => Err(Failure::before(stopped, files.facts.size)),
        };
    }
    if is_terminal(&error) {
        return fail(error);
    }
    files.unshared = Some(reason(&error));
    Ok(false)
}

/// Whether a refusal to share blocks means trouble with the medium rather than that blocks cannot be shared: cp gives such a
/// file up since 9.2, where 9.1 copied it in another way.
fn is_terminal(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EIO | Errno::ENOMEM | Errno::ENOSPC | Errno::EDQUOT)
    )
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
