//! One regular file, or what is copied as one: open both ends, transfer, attributes, close.

use std::fs::File;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, fstat};

use super::attrs;
use super::dest::{self, Destination, How, Keep, Refused};
use super::durable::Durable;
use super::options::{Existing, Options};
use super::place::Place;
use super::tree::{Failed, identity};
use crate::report::Voice;
use crate::report::quote::quote;
use crate::sys::words::reason;
use crate::transfer::facts::SourceFacts;
use crate::transfer::fault::Side;
use crate::transfer::{self, Error, Failure};

/// What a run has decided and what its threads share.
#[derive(Debug)]
pub(super) struct Cx<'a> {
    pub(super) options: &'a Options,
    pub(super) umask: u32,
    /// Where --fsync was said.
    pub(super) durable: Option<Durable>,
}

/// What the walk knows of one file beyond its places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    /// A symbolic link as source is not followed here, so one that was swapped in is refused.
    pub(super) nofollow: bool,
    /// With --atomic: what is there has been backed up or is to be removed, so the new file has nothing of it.
    pub(super) as_new: bool,
}

/// A file that was copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    /// Of the destination.
    pub(super) identity: (u64, u64),
    /// Whether it is a new file.
    pub(super) created: bool,
}

/// Copies a file's data and attributes. With --atomic a failure leaves the destination as it was.
pub(super) fn copy(
    cx: &Cx<'_>,
    voice: &mut Voice,
    source: &Place<'_>,
    dest: &Place<'_>,
    from: &FileStat,
    there: Option<&FileStat>,
    task: Task,
) -> Result<Made, Failed> {
    let opened = open_source(source, from, task.nofollow)?;
    let facts = SourceFacts::of(&opened)
        .map_err(|e| format!("cannot fstat {}: {}", quote(source.shown), reason(&e)))?;
    let target = open_dest(cx, voice, dest, from, there, task)?;
    if let Some(durable) = &cx.durable {
        durable.watch(&target.file, dest.shown);
    }
    if !cx.options.attributes_only {
        let mut observer = voice.file(source.shown, dest.shown);
        let copied = transfer::copy(
            &opened,
            facts,
            &target.file,
            cx.options.transfer,
            &mut observer,
        );
        match copied {
            Ok(()) => observer.finish(),
            Err(failure) => {
                drop(observer);
                return Err(failed(cx, voice, &failure, source, dest, target));
            }
        }
    }
    let made = Made {
        identity: identity(&stat_of(&target.file, dest)?),
        created: target.created,
    };
    let attributes = give_attributes(cx, &opened, from, &target, dest);
    finish(cx, voice, dest, target, attributes)?;
    Ok(made)
}

fn open_dest<'a>(
    cx: &Cx<'_>,
    voice: &mut Voice,
    dest: &Place<'a>,
    from: &FileStat,
    there: Option<&FileStat>,
    task: Task,
) -> Result<Destination<'a>, String> {
    let options = cx.options;
    // An existing file whose data stays has nothing that could be there in part.
    let atomic =
        options.durability.atomic && (there.is_none() || task.as_new || !options.attributes_only);
    if !atomic && there.is_some_and(dest::is_fifo) {
        return dest::open_fifo(dest, voice.stopper());
    }
    // With -p the mode comes last, and others wait for it: the owner must be right before.
    let mode = from.st_mode & 0o777 & if options.preserve.mode { !0o077 } else { !0 };
    let how = How {
        mode,
        force: options.force,
        through_dangling: options.through_dangling,
        atomic,
        as_new: task.as_new,
        keep: Keep {
            owner: !options.preserve.ownership,
            mode: !options.preserve.mode,
        },
    };
    let removed = || voice.verbose(&format!("removed {}", quote(dest.shown)));
    dest::open(dest, there, &how, removed)
}

fn stat_of(file: &File, dest: &Place<'_>) -> Result<FileStat, String> {
    fstat(file).map_err(|e| format!("cannot fstat {}: {}", quote(dest.shown), reason(&e.into())))
}

fn give_attributes(
    cx: &Cx<'_>,
    source: &File,
    from: &FileStat,
    target: &Destination<'_>,
    dest: &Place<'_>,
) -> Result<(), String> {
    target.inherit(dest.shown)?;
    if cx.options.preserve.mode {
        attrs::preserve(source, from, &target.file, dest.shown)?;
    }
    Ok(())
}

/// Commits, unless attributes that were demanded are missing on what would take the place of another file.
fn finish(
    cx: &Cx<'_>,
    voice: &mut Voice,
    dest: &Place<'_>,
    target: Destination<'_>,
    attributes: Result<(), String>,
) -> Result<(), Failed> {
    if target.is_atomic()
        && let Err(why) = attributes
    {
        if let Err(also) = target.abandon(dest.shown) {
            voice.diagnose(&also);
        }
        return Err(why.into());
    }
    // A file that was written is closed, whatever became of its attributes; the first error is the one to tell.
    let committed = match target.commit(dest, cx.durable.as_ref()) {
        Err(Refused::Exists) => return came_meanwhile(cx.options, dest),
        Err(Refused::Say(why)) => Err(why),
        Ok(()) => Ok(()),
    };
    Ok(attributes.and(committed)?)
}

/// Somebody made the destination while its copy was written: as if it had been there before, where that is allowed.
fn came_meanwhile(options: &Options, dest: &Place<'_>) -> Result<(), Failed> {
    let shown = quote(dest.shown);
    match options.existing {
        Existing::Skip => Ok(()),
        Existing::Refuse => Err(format!("not replacing {shown}").into()),
        Existing::Replace | Existing::Ask => {
            let text = reason(&nix::errno::Errno::EEXIST.into());
            Err(format!("cannot create regular file {shown}: {text}").into())
        }
    }
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
    cx: &Cx<'_>,
    voice: &mut Voice,
    failure: &Failure,
    source: &Place<'_>,
    dest: &Place<'_>,
    target: Destination<'_>,
) -> Failed {
    let atomic = target.is_atomic();
    let text = message(failure, cx.options.transfer, source, dest, atomic);
    let changed = matches!(failure.error, Error::SourceChanged { .. });
    let unwanted = !atomic && target.created && !failure.begun && !changed;
    let closed = target.abandon(dest.shown);
    let cleaned = if unwanted { dest.unlink() } else { closed };
    if let Err(also) = cleaned {
        voice.diagnose(&also);
    }
    Failed::Say(text)
}

fn message(
    failure: &Failure,
    options: transfer::Options,
    source: &Place<'_>,
    dest: &Place<'_>,
    atomic: bool,
) -> String {
    let (from, to) = (quote(source.shown), quote(dest.shown));
    match &failure.error {
        Error::Io(Side::Source, e) => format!("error reading {from}: {}", reason(e)),
        Error::Io(Side::Dest, e) => format!("error writing {to}: {}", reason(e)),
        Error::Resize(e) => format!("failed to extend {to}: {}", reason(e)),
        Error::Impossible(why) => format!("cannot copy {from} to {to}: {}{why}", demand(options)),
        Error::SourceChanged { .. } if atomic => {
            format!("{from}: {}, so {to} is left as it was", failure.error)
        }
        Error::SourceChanged { .. } => {
            format!("{from}: {}, so {to} is not a copy of it", failure.error)
        }
        Error::Interrupted if atomic => {
            format!("interrupted while {from} was copied: {to} is left as it was")
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
