//! One regular file, or what is copied as one: open both ends, transfer, attributes, close.

use std::fs::File;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, fstat};

use super::attrs;
use super::dest::{self, Destination};
use super::place::Place;
use super::tree::{Failed, Outcome, Walk, identity};
use crate::report::Reporter;
use crate::report::quote::quote;
use crate::sys::words::reason;
use crate::transfer::fault::Side;
use crate::transfer::{self, Error, Failure, Late};

pub(super) fn copy(
    walk: &mut Walk<'_>,
    source: &Place<'_>,
    dest: &Place<'_>,
    from: &FileStat,
    there: Option<&FileStat>,
) -> Outcome {
    let options = walk.options;
    let opened = open_source(source, from, options.recursive)?;
    let facts = walk
        .worker
        .facts(&opened)
        .map_err(|e| format!("cannot fstat {}: {}", quote(source.shown), reason(&e)))?;
    // With -p the mode comes last, and others wait for it: the owner must be right before.
    let mode = from.st_mode & 0o777 & if options.preserve.mode { !0o077 } else { !0 };
    let interrupted = walk.reporter.stopper();
    let reporter = &mut *walk.reporter;
    let removed = || reporter.verbose(&format!("removed {}", quote(dest.shown)));
    let target = match there.filter(|there| dest::is_fifo(there)) {
        Some(_) => dest::open_fifo(dest, interrupted)?,
        None => dest::open(dest, there, mode, options.force, removed)?,
    };
    let mut observer = walk.reporter.file(source.shown, dest.shown);
    let copied = walk.worker.copy(
        &opened,
        facts,
        &target.file,
        options.transfer,
        &mut observer,
        (source.shown.into(), dest.shown.into()),
    );
    match copied {
        Ok(()) => observer.finish(),
        Err(failure) => {
            drop(observer);
            return Err(failed(walk, &failure, source, dest, target));
        }
    }
    let attributes = if options.preserve.mode {
        attrs::preserve(&opened, from, &target.file, dest.shown)
    } else {
        Ok(())
    };
    // A file that was written is closed, whatever became of its attributes; the first error is the one to tell.
    let closed = dest::close(target.file, dest.shown);
    Ok(attributes.and(closed)?)
}

/// Tells of files that failed on their way to the device, after their copy had returned. Returns whether there were none.
pub(super) fn tell_late(reporter: &mut Reporter, late: Vec<Late<(PathBuf, PathBuf)>>) -> bool {
    for late in &late {
        let (source, dest) = &late.tag;
        let text = format!("error writing {}: {}", quote(dest), reason(&late.error));
        reporter.error(source, dest, &text);
    }
    late.is_empty()
}

fn open_source(source: &Place<'_>, from: &FileStat, nofollow: bool) -> Result<File, String> {
    // Without O_NONBLOCK, what was swapped for a FIFO meanwhile would hold us in open(2). For a FIFO, waiting is done in
    // the transfer, where a signal can end it; for files the flag means nothing.
    let mut flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if nofollow {
        flags |= OFlag::O_NOFOLLOW;
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
    let text = message(failure, walk.options.transfer, source, dest);
    let changed = matches!(failure.error, Error::SourceChanged { .. });
    let unwanted = target.created && !failure.begun && !changed;
    let closed = dest::close(target.file, dest.shown);
    let cleaned = if unwanted { dest.unlink() } else { closed };
    if let Err(also) = cleaned {
        walk.reporter.diagnose(&also);
    }
    Failed::Say(text)
}

fn message(
    failure: &Failure,
    options: transfer::Options,
    source: &Place<'_>,
    dest: &Place<'_>,
) -> String {
    let (from, to) = (quote(source.shown), quote(dest.shown));
    match &failure.error {
        Error::Io(Side::Source, e) => format!("error reading {from}: {}", reason(e)),
        Error::Io(Side::Dest, e) => format!("error writing {to}: {}", reason(e)),
        Error::Clone(e) => format!("failed to clone {to} from {from}: {}", reason(e)),
        Error::Resize(e) => format!("failed to extend {to}: {}", reason(e)),
        Error::Impossible(why) => format!("cannot copy {from} to {to}: {}{why}", demand(options)),
        Error::SourceChanged { .. } => {
            format!("{from}: {}, so {to} is not a copy of it", failure.error)
        }
        Error::Interrupted if !failure.begun => {
            format!("interrupted before a byte of {from} was copied to {to}")
        }
        Error::Interrupted if failure.size == 0 => {
            format!(
                "interrupted: {to} holds the first {} bytes of {from}",
                failure.copied
            )
        }
        Error::Interrupted => format!(
            "interrupted: {to} holds the first {} bytes of the {} of {from}",
            failure.copied, failure.size
        ),
    }
}

/// The words of the command line that leave no other way.
fn demand(options: transfer::Options) -> String {
    match options.engine {
        Some(row) => format!("engine {} cannot do it: ", row.name),
        None if options.direct == transfer::DirectPolicy::Always => {
            "--direct=always cannot be kept: ".into()
        }
        None => String::new(),
    }
}
