//! One regular file, or what is copied as one: open both ends, transfer, attributes, close.

use std::fs::File;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::attrs;
use super::dest::{self, Destination, Place};
use super::tree::{Failed, Outcome, Walk, identity};
use crate::report::quote::quote;
use crate::sys::words::reason;
use crate::transfer::facts::SourceFacts;
use crate::transfer::fault::Side;
use crate::transfer::{self, Error, Failure};

pub(super) fn copy(
    walk: &mut Walk<'_>,
    source: &Place<'_>,
    dest: &Place<'_>,
    from: &FileStat,
    exists: bool,
) -> Outcome {
    let options = walk.options;
    let opened = open_source(source, from, options.recursive)?;
    let facts = SourceFacts::of(&opened)
        .map_err(|e| format!("cannot fstat {}: {}", quote(source.shown), reason(&e)))?;
    // With -p the mode comes last, and others wait for it: the owner must be right before.
    let mode = from.st_mode & 0o777 & if options.preserve { !0o077 } else { !0 };
    let reporter = &mut *walk.reporter;
    let removed = || reporter.verbose(&format!("removed {}", quote(dest.shown)));
    let target = dest::open(dest, exists, mode, options.force, removed)?;
    let mut observer = walk.reporter.file(source.shown, dest.shown);
    match transfer::copy(
        &opened,
        facts,
        &target.file,
        options.transfer,
        &mut observer,
    ) {
        Ok(()) => observer.finish(),
        Err(failure) => {
            drop(observer);
            return Err(failed(walk, &failure, source, dest, target));
        }
    }
    let attributes = if options.preserve {
        attrs::preserve(&opened, from, &target.file, dest.shown)
    } else {
        Ok(())
    };
    // A file that was written is closed, whatever became of its attributes; the first error is the one to tell.
    let closed = dest::close(target.file, dest.shown);
    Ok(attributes.and(closed)?)
}

fn open_source(source: &Place<'_>, from: &FileStat, nofollow: bool) -> Result<File, String> {
    let mut flags = OFlag::O_RDONLY;
    if nofollow {
        flags |= OFlag::O_NOFOLLOW;
    }
    // Waiting for a writer is done in the transfer, where a signal can end it.
    if from.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits() {
        flags |= OFlag::O_NONBLOCK;
    }
    let file = source.open(flags, 0).map_err(|e| {
        format!(
            "cannot open {} for reading: {}",
            quote(source.shown),
            reason(&e)
        )
    })?;
    match fstat(&file) {
        Ok(now) if identity(&now) == identity(from) => Ok(file),
        Ok(_) => Err(format!(
            "skipping file {}, as it was replaced while being copied",
            quote(source.shown)
        )),
        Err(e) => Err(format!(
            "cannot fstat {}: {}",
            quote(source.shown),
            reason(&e.into())
        )),
    }
}

/// What to say of a transfer that failed. A destination that holds nothing and would not be there without us is removed.
fn failed(
    walk: &mut Walk<'_>,
    failure: &Failure,
    source: &Place<'_>,
    dest: &Place<'_>,
    target: Destination,
) -> Failed {
    let text = message(failure, source, dest);
    let changed = matches!(failure.error, Error::SourceChanged { .. });
    let unwanted = target.created && !failure.begun && !changed;
    let closed = dest::close(target.file, dest.shown);
    let cleaned = if unwanted { dest.unlink() } else { closed };
    if let Err(also) = cleaned {
        walk.reporter.diagnose(&also);
    }
    Failed::Say(text)
}

fn message(failure: &Failure, source: &Place<'_>, dest: &Place<'_>) -> String {
    let (from, to) = (quote(source.shown), quote(dest.shown));
    match &failure.error {
        Error::Io(Side::Source, e) => format!("error reading {from}: {}", reason(e)),
        Error::Io(Side::Dest, e) => format!("error writing {to}: {}", reason(e)),
        Error::Resize(e) => format!("failed to extend {to}: {}", reason(e)),
        Error::Impossible(why) => format!("cannot copy {from} to {to}: {why}"),
        Error::SourceChanged { .. } => {
            format!("{from}: {}, so {to} is not a copy of it", failure.error)
        }
        Error::Interrupted if !failure.begun => {
            format!("interrupted before a byte of {from} was copied to {to}")
        }
        Error::Interrupted => format!(
            "interrupted: {to} holds the first {} bytes of the {} of {from}",
            failure.copied, failure.size
        ),
    }
}
