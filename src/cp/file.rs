//! One regular file, or what is copied as one: open both ends, transfer, attributes, close.

use std::fs::File;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::dest::{self, Destination, Place};
use super::tree::{Outcome, Walk, identity};
use crate::report::quote::{quote, reason};
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
    let opened = match open_source(source, from, walk.options.recursive) {
        Ok(file) => file,
        Err(message) => return walk.fail(&message),
    };
    let facts = match SourceFacts::of(&opened) {
        Ok(facts) => facts,
        Err(e) => {
            return walk.fail(&format!(
                "cannot fstat {}: {}",
                quote(source.shown),
                reason(&e)
            ));
        }
    };
    let options = walk.options;
    // With -p the mode comes last, and others wait for it: the owner must be right before.
    let mode = from.st_mode & 0o777 & if options.preserve { !0o077 } else { !0 };
    let reporter = &mut *walk.reporter;
    let removed = || reporter.verbose(&format!("removed {}", quote(dest.shown)));
    let target = match dest::open(dest, exists, mode, facts.data, options.force, removed) {
        Ok(target) => target,
        Err(message) => return walk.fail(&message),
    };
    let mut observer = walk.reporter.file(source.shown, dest.shown);
    let copied = transfer::copy(
        &opened,
        facts,
        &target.file,
        options.transfer,
        &mut observer,
    );
    if let Err(failure) = copied {
        drop(observer);
        return failed(walk, &failure, source, dest, target);
    }
    observer.finish();
    let attributes = walk.finish_file(&opened, from, &target.file, dest.shown);
    match dest::close(target.file, dest.shown) {
        Ok(()) => attributes,
        Err(message) => walk.fail(&message),
    }
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

/// Says what went wrong, and removes a destination that holds nothing and would not be there without us.
fn failed(
    walk: &mut Walk<'_>,
    failure: &Failure,
    source: &Place<'_>,
    dest: &Place<'_>,
    target: Destination,
) -> Outcome {
    let (from, to) = (quote(source.shown), quote(dest.shown));
    let text = match &failure.error {
        Error::Io(Side::Source, e) => format!("error reading {from}: {}", reason(e)),
        Error::Io(Side::Dest, e) => format!("error writing {to}: {}", reason(e)),
        Error::Resize(e) => format!("failed to extend {to}: {}", reason(e)),
        Error::Impossible(why) => format!("cannot copy {from} to {to}: {why}"),
        Error::SourceChanged { .. } => {
            format!("{from}: {}, so {to} is not a copy of it", failure.error)
        }
        Error::Interrupted => format!(
            "interrupted: {to} holds the first {} bytes of {from}",
            failure.copied
        ),
    };
    walk.reporter.error(source.shown, dest.shown, &text);
    let never_begun = target.created && !failure.begun && failure.copied == 0;
    let unwanted = never_begun && !matches!(failure.error, Error::SourceChanged { .. });
    let closed = dest::close(target.file, dest.shown);
    if unwanted && let Err(message) = dest.unlink() {
        walk.reporter.diagnose(&message);
    } else if let Err(message) = closed {
        walk.reporter.diagnose(&message);
    }
    None
}
