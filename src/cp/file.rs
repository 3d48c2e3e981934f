//! One regular file, or what is copied as one: open both ends, transfer, attributes, close.

use std::fs::File;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::ftruncate;

use super::attrs::{self, Attributes};
use super::dest::{self, Destination, How, Refused};
use super::durable::Durable;
use super::options::{Existing, Options};
use super::place::{Identity, Place, identity};
use super::tree::Failed;
use crate::report::quote::quote;
use crate::report::{Voice, debug};
use crate::sys::words::reason;
use crate::transfer::fault::{Side, retry};
use crate::transfer::{self, CopyMethod, Error, Failure, Late, Worker};

/// Copies the bytes; one for each thread at work. A file is known by its source and its destination.
pub(super) type Bytes = Worker<(PathBuf, PathBuf)>;

/// What a run has decided and what its threads share.
#[derive(Debug)]
pub(super) struct Cx<'a> {
    pub(super) options: &'a Options,
    pub(super) attributes: Attributes,
    pub(super) durable: Durable,
}

impl<'a> Cx<'a> {
    /// For a run where the file mode creation mask is `umask`.
    pub(super) fn new(options: &'a Options, umask: u32) -> Self {
        Self {
            options,
            attributes: Attributes::new(options, umask),
            durable: Durable::new(options.durability.fsync),
        }
    }
}

/// What the walk knows of one file beyond its places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// What is at the destination.
    pub(super) there: Option<&'a FileStat>,
    /// With --atomic: that has been backed up or is to be removed, so the new file has nothing of it.
    pub(super) as_new: bool,
    /// Whether the destination is below a directory that was named, rather than named itself.
    pub(super) below: bool,
    /// Whether a symbolic link as source is followed; if not, one that was swapped in is refused.
    pub(super) follow: bool,
}

/// Copies a file's data and attributes, and tells as what. With --atomic a failure leaves the destination as it was.
pub(super) fn copy(
    cx: &Cx<'_>,
    (voice, bytes): (&mut Voice, &mut Bytes),
    (source, dest): (&Place<'_>, &Place<'_>),
    from: &FileStat,
    target: &Target<'_>,
) -> Result<Identity, Failed> {
    let opened = open_source(source, from, !target.follow)?;
    let mut method = CopyMethod::before(&cx.options.transfer);
    let copied = copy_opened(
        cx,
        (voice, bytes),
        (source, &opened, dest),
        from,
        target,
        &mut method,
    );
    // Where cp prints it: last of all, once the source was opened, whatever became of the copy.
    if cx.options.report.debug && !cx.options.attributes_only {
        voice.verbose(&debug::method_line(&method));
    }
    copied
}

/// The same from where the source is open. `method` is set once the data was under way.
fn copy_opened(
    cx: &Cx<'_>,
    (voice, bytes): (&mut Voice, &mut Bytes),
    (source, opened, dest): (&Place<'_>, &File, &Place<'_>),
    from: &FileStat,
    target: &Target<'_>,
    method: &mut CopyMethod,
) -> Result<Identity, Failed> {
    let mut say = |text: &str| voice.diagnose(text);
    let prepared = cx.attributes.prepare_creation(source, &mut say);
    prepared.map_err(|attrs::Unpreserved| Failed::Said)?;
    let open = open_dest(cx, voice, dest, from, target)?;
    if !open.created && !open.is_atomic() {
        let mut say = |text: &str| voice.diagnose(text);
        let relabelled = cx.attributes.relabel(source, dest, &mut say);
        relabelled.map_err(|attrs::Unpreserved| Failed::Said)?;
    }
    cx.durable.watch(&open.file, dest.shown);
    // What replaces the old file atomically is narrow as it is.
    let held_back = target
        .there
        .filter(|there| !open.is_atomic() && cx.attributes.hold_back(from, &open.file, there));
    if !cx.options.attributes_only
        && let Err((failure, why)) =
            data(cx, (voice, bytes), (source, opened), (dest, &open), method)
    {
        let changed = failure.as_ref().is_some_and(|failure| failure.begun);
        if let (Some(there), false) = (held_back, changed) {
            // What was narrowed a moment ago is ours to widen.
            let _ = cx.attributes.give_back(&open.file, there);
        }
        abandon(voice, dest, open, failure.as_ref());
        return Err(why.into());
    }
    let now = stat_of(&open.file, dest)?;
    if now.st_size == 0 && target.there.is_some_and(dest::is_regular) && !open.is_atomic() {
        // An old file that is emptied again was written, by its times and set-id bits, as with O_TRUNC.
        touch(&open.file, dest, cx.options)?;
    }
    let made = identity(&now);
    let attributes = give_attributes(cx, voice, (source, opened), from, (dest, &open));
    finish(cx, voice, dest, open, attributes)?;
    Ok(made)
}

fn open_dest<'a>(
    cx: &Cx<'_>,
    voice: &mut Voice,
    dest: &Place<'a>,
    from: &FileStat,
    target: &Target<'_>,
) -> Result<Destination<'a>, String> {
    let options = cx.options;
    let there = target.there;
    let atomic = options.durability.atomic;
    if let Some(fifo) = there.filter(|there| !atomic && dest::is_fifo(there)) {
        return dest::open_fifo(dest, fifo, target.below, voice.stopper());
    }
    let how = How {
        mode: cx.attributes.file_mode(from),
        below: target.below,
        force: options.force,
        through_dangling: options.through_dangling,
        atomic,
        as_new: target.as_new,
        keep_mode: !options.preserve.mode,
    };
    let removed = || voice.verbose(&format!("removed {}", quote(dest.shown)));
    dest::open(dest, there, &how, removed)
}

/// Moves the bytes. What to say where that failed, and how far it came where it began.
fn data(
    cx: &Cx<'_>,
    (voice, bytes): (&mut Voice, &mut Bytes),
    (source, opened): (&Place<'_>, &File),
    (dest, open): (&Place<'_>, &Destination<'_>),
    method: &mut CopyMethod,
) -> Result<(), (Option<Failure>, String)> {
    let facts = bytes.facts(opened).map_err(|e| {
        let text = format!("cannot fstat {}: {}", quote(source.shown), reason(&e));
        (None, text)
    })?;
    // The old file is kept until the new one is known to be whole.
    let options = transfer::Options {
        settled: open.is_atomic(),
        ..cx.options.transfer
    };
    let mut observer = voice.file(source.shown, dest.shown);
    let tag = (source.shown.into(), dest.shown.into());
    let copied = bytes.copy(opened, facts, &open.file, options, &mut observer, tag);
    *method = bytes.method();
    match copied {
        Ok(()) => {
            observer.finish();
            Ok(())
        }
        Err(failure) => {
            let text = message(&failure, options, source, dest, open.is_atomic());
            Err((Some(failure), text))
        }
    }
}

fn touch(file: &File, dest: &Place<'_>, options: &Options) -> Result<(), String> {
    if options.attributes_only {
        return Ok(());
    }
    retry(|| ftruncate(file, 0)).map_err(|e| {
        let (name, text) = (quote(dest.shown), reason(&e));
        format!("failed to extend {name}: {text}")
    })
}

fn stat_of(file: &File, dest: &Place<'_>) -> Result<FileStat, String> {
    fstat(file).map_err(|e| format!("cannot fstat {}: {}", quote(dest.shown), reason(&e.into())))
}

/// Tells of files that failed on their way to the device, after their copy had returned. Returns whether there were none.
pub(super) fn tell_late(voice: &mut Voice, late: &[Late<(PathBuf, PathBuf)>]) -> bool {
    for late in late {
        let (source, dest) = &late.tag;
        let text = format!("error writing {}: {}", quote(dest), reason(&late.error));
        voice.error(source, dest, &text);
    }
    late.is_empty()
}

/// First what the file has from the one it replaces, then what it has from its source.
fn give_attributes(
    cx: &Cx<'_>,
    voice: &mut Voice,
    (source, opened): (&Place<'_>, &File),
    from: &FileStat,
    (dest, open): (&Place<'_>, &Destination<'_>),
) -> Result<(), Failed> {
    open.inherit(dest.shown)?;
    let mut say = |text: &str| voice.error(source.shown, dest.shown, text);
    let shown = (source.shown, dest.shown);
    cx.attributes
        .finish_file(opened, from, &open.file, open.created, shown, &mut say)
        .map_err(|attrs::Unpreserved| Failed::Said)
}

/// Commits, unless attributes that were demanded are missing on what would take the place of another file.
fn finish(
    cx: &Cx<'_>,
    voice: &mut Voice,
    dest: &Place<'_>,
    open: Destination<'_>,
    attributes: Result<(), Failed>,
) -> Result<(), Failed> {
    if open.is_atomic() && attributes.is_err() {
        abandon(voice, dest, open, None);
        return attributes;
    }
    // A file that was written is closed, whatever became of its attributes; the first error is the one to tell.
    let committed = match open.commit(dest, &cx.durable) {
        Err(Refused::Exists) => return came_meanwhile(cx.options, dest),
        Err(Refused::Say(why)) => Err(why),
        Ok(()) => Ok(()),
    };
    attributes?;
    Ok(committed?)
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

/// Ends a copy that failed. A destination that holds nothing and would not be there without us is removed.
fn abandon(voice: &mut Voice, dest: &Place<'_>, open: Destination<'_>, failure: Option<&Failure>) {
    let empty = failure.is_some_and(|failure| {
        !failure.begun && !matches!(failure.error, Error::SourceChanged { .. })
    });
    let unwanted = empty && open.created && !open.is_atomic();
    let closed = open.abandon(dest.shown);
    let cleaned = if unwanted { dest.unlink() } else { closed };
    if let Err(also) = cleaned {
        voice.diagnose(&also);
    }
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
        Error::Clone(e) => format!("failed to clone {to} from {from}: {}", reason(e)),
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
