//! Copies one regular file, or a file that is copied as one: opens both ends, transfers the data, sets the attributes
//! and closes the files.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::ftruncate;

use super::at_path::{AtPath, sibling_path};
use super::attrs::{AttrReport, Attributes};
use super::by_inode::RemoveOutcome;
use super::dest::resolve_link::ResolvedPath;
use super::dest::{
    self, CommitDecision, CommitError, CommitOutcome, CommitRules, DestOptions, Destination,
};
use super::entry_error::EntryError;
use super::error::{DataError, Demand, Error, Operation, Refusal, Replaced};
use super::fsync_set::FsyncSet;
use super::in_flight::Claim;
use super::lease_wait::wait_for_lease;
use super::messages;
use super::options::{CopyOptions, Overwrite};
use super::prompt::ask_overwrite;
use crate::cp::file_status::{FileId, file_id, is_fifo, is_older, is_regular};
use crate::report::{FileReporter, OrderedOutput, debug};
use crate::transfer::errno_class::retry;
use crate::transfer::{self, Copier, CopyFailure, CopyMethod, DeferredError};

/// Copies the bytes of files; each worker thread has one.
pub(super) type FileCopier = Copier<WritebackTag>;

/// Identifies a file in the queue of deferred writeback.
#[derive(Debug)]
pub(super) struct WritebackTag {
    source: PathBuf,
    dest: PathBuf,
    /// Keeps the inode registered until its writeback is complete. If the writeback fails, the file is truncated, and
    /// until then no later file of the walk may be written to the same inode.
    _claim: Arc<Claim>,
}

/// The decisions of a run and the data that its threads share.
#[derive(Debug)]
pub(super) struct CopyContext<'a> {
    pub(super) options: &'a CopyOptions,
    pub(super) attributes: Attributes,
    pub(super) fsync_set: FsyncSet,
}

impl<'a> CopyContext<'a> {
    /// Makes the context of a run whose file mode creation mask is `umask`.
    pub(super) fn new(options: &'a CopyOptions, umask: u32) -> Self {
        Self {
            options,
            attributes: Attributes::new(options, umask),
            fsync_set: FsyncSet::new(options.durability.fsync),
        }
    }
}

/// The facts about one file that the walk has determined, in addition to its paths.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyRequest<'a> {
    /// The inodes that this copy has registered as in use.
    pub(super) claim: &'a Arc<Claim>,
    /// The status of the file at the destination.
    pub(super) existing: Option<&'a FileStat>,
    /// Whether, with --atomic, the old file has been backed up or is to be removed, so that the new file inherits
    /// nothing from it.
    pub(super) replace_as_new: bool,
    /// Whether the destination is below a directory operand, rather than an operand itself.
    pub(super) is_below_operand: bool,
    /// Whether a symbolic link as source is followed. If not, a link that was swapped in is refused.
    pub(super) follow: bool,
    /// The name that a backup will have, where the commit makes the backup.
    pub(super) backup: Option<&'a OsStr>,
}

/// The failure of a copy.
#[derive(Debug)]
pub(super) struct FileCopyError {
    /// The error of the copy.
    pub(super) why: EntryError,
    /// The file that this run made at the destination and left there, with a part of the data.
    pub(super) left: Option<FileId>,
}

impl<T: Into<EntryError>> From<T> for FileCopyError {
    fn from(why: T) -> Self {
        Self {
            why: why.into(),
            left: None,
        }
    }
}

/// Copies a file's data and attributes, and reports the copy method. With --atomic a failure leaves the destination as
/// it was.
pub(super) fn copy(
    cx: &CopyContext<'_>,
    (voice, bytes): (&mut OrderedOutput, &mut FileCopier),
    (source, dest): (&AtPath<'_>, &AtPath<'_>),
    from: &FileStat,
    target: &CopyRequest<'_>,
) -> Result<FileId, FileCopyError> {
    let opened = open_source(source, from, !target.follow)?;
    if let Some(newer) = newer_dest(cx.options, from, dest, target) {
        return Ok(newer);
    }
    let mut method = CopyMethod::before(&cx.options.transfer);
    let copied = copy_opened(
        cx,
        (voice, bytes),
        (source, &opened, dest),
        from,
        target,
        &mut method,
    );
    // cp prints this line last, once the source was opened, whether or not the copy succeeded.
    if cx.options.report.debug && !cx.options.attributes_only {
        voice.print_verbose(&debug::method_line(&method));
    }
    copied
}

/// Copies a file whose source is open. `method` is set once the transfer of data has begun.
fn copy_opened(
    cx: &CopyContext<'_>,
    (voice, bytes): (&mut OrderedOutput, &mut FileCopier),
    (source, opened, dest): (&AtPath<'_>, &File, &AtPath<'_>),
    from: &FileStat,
    target: &CopyRequest<'_>,
    method: &mut CopyMethod,
) -> Result<FileId, FileCopyError> {
    diagnose_attributes(voice, cx.attributes.prepare_creation(source))?;
    let open = open_dest(cx, voice, dest, from, target)?;
    let mut created = None;
    if open.created && !open.is_atomic() {
        let now = stat_of(&open.file, dest)?;
        target.claim.created(file_id(&now));
        // It is asked again where it matters whether anything was written.
        created = target.existing.is_none().then_some(now);
    }
    if !open.created && !open.is_atomic() {
        diagnose_attributes(voice, cx.attributes.relabel(source, dest))?;
    }
    if let Err(e) = cx
        .fsync_set
        .register_file_system(&open.file, dest.shown, !open.created)
    {
        abandon(voice, dest, open, None);
        return Err(dest.error(Operation::Sync, e).into());
    }
    // A file that replaces the old one atomically has a narrow mode already.
    let held_back = target.existing.filter(|there| {
        !open.is_atomic() && cx.attributes.narrow_before_write(from, &open.file, there)
    });
    if !cx.options.attributes_only
        && let Err(error) = copy_data(
            cx,
            (voice, bytes),
            (source, opened),
            (dest, &open),
            (target.claim, method),
        )
    {
        let failure = error.copy_failure();
        let changed = failure.is_some_and(|failure| failure.begun);
        if let (Some(there), false) = (held_back, changed) {
            // This run narrowed the mode a moment ago, so it restores it.
            let _ = cx.attributes.restore_mode(&open.file, there);
        }
        let refuses = failure.is_some_and(|f| matches!(f.error, transfer::Error::Truncate(_)));
        let left = abandon(voice, dest, open, failure);
        if let Some(there) = target.existing.filter(|_| refuses && cx.options.force) {
            remove_unwritable(voice, dest, there)?;
            let anew = CopyRequest {
                existing: None,
                ..*target
            };
            let files = (source, opened, dest);
            return copy_opened(cx, (voice, bytes), files, from, &anew, method);
        }
        let why = error.into();
        return Err(FileCopyError { why, left });
    }
    let now = created.map_or_else(|| stat_of(&open.file, dest), Ok)?;
    if now.st_size == 0 && target.existing.is_some_and(is_regular) && !open.is_atomic() {
        // An old file that is emptied again counts as written, so its times and set-id bits change, as with O_TRUNC.
        touch(&open.file, dest, cx.options)?;
    }
    let made = file_id(&now);
    let left = (open.created && !open.is_atomic()).then_some(made);
    finish(cx, voice, (source, opened), from, (dest, open), target)
        .map(|stays| stays.unwrap_or(made))
        .map_err(|why| FileCopyError { why, left })
}

/// Removes an old file that can be opened but not emptied, as -f removes one that cannot be opened: for cp, emptying is
/// a part of open(2).
fn remove_unwritable(
    voice: &mut OrderedOutput,
    dest: &AtPath<'_>,
    there: &FileStat,
) -> Result<(), FileCopyError> {
    match dest.remove_examined(there)? {
        RemoveOutcome::Done => voice.print_verbose(&messages::removed(dest.shown)),
        RemoveOutcome::Gone => {}
        RemoveOutcome::Other | RemoveOutcome::Aside(_) => {
            return Err(Error::dest_replaced(dest.shown).into());
        }
    }
    Ok(())
}

/// Returns the destination if, with -u, it has become newer than its source since the walk examined it; it is then left
/// alone. With --atomic the commit makes this check.
fn newer_dest(
    options: &CopyOptions,
    from: &FileStat,
    dest: &AtPath<'_>,
    target: &CopyRequest<'_>,
) -> Option<FileId> {
    if !options.update || options.durability.atomic || target.existing.is_none() {
        return None;
    }
    let now = dest.stat(true).ok()?;
    (is_regular(&now) && !is_older(&now, from)).then(|| file_id(&now))
}

fn open_dest<'a>(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    dest: &AtPath<'a>,
    from: &FileStat,
    target: &CopyRequest<'_>,
) -> Result<Destination<'a>, Error> {
    let options = cx.options;
    let there = target.existing;
    let atomic = options.durability.atomic;
    if let Some(fifo) = there.filter(|there| !atomic && is_fifo(there)) {
        return dest::open_fifo(dest, fifo, target.is_below_operand, voice.interrupt_check());
    }
    let how = DestOptions {
        mode: cx.attributes.file_mode(from),
        is_below_operand: target.is_below_operand,
        force: options.force,
        through_dangling: options.through_dangling,
        atomic,
        replace_as_new: target.replace_as_new,
        keep_mode: !options.preserve.mode,
    };
    let removed = || voice.print_verbose(&messages::removed(dest.shown));
    dest::open(dest, there, &how, removed)
}

/// Transfers the bytes. The error says how far the copy came, where it had begun.
fn copy_data(
    cx: &CopyContext<'_>,
    (voice, bytes): (&mut OrderedOutput, &mut FileCopier),
    (source, opened): (&AtPath<'_>, &File),
    (dest, open): (&AtPath<'_>, &Destination<'_>),
    (claim, method): (&Arc<Claim>, &mut CopyMethod),
) -> Result<(), Error> {
    let facts = bytes
        .facts(opened)
        .map_err(|e| source.error(Operation::Fstat, e))?;
    // The old file is kept until the new one is known to be complete.
    let options = transfer::TransferOptions {
        wait_for_writeback: open.is_atomic(),
        ..cx.options.transfer
    };
    let mut observer = FileReporter::new(voice, source.shown, dest.shown);
    let tag = WritebackTag {
        source: source.shown.into(),
        dest: dest.shown.into(),
        _claim: Arc::clone(claim),
    };
    let copied = bytes.copy(opened, facts, &open.file, options, &mut observer, tag);
    *method = bytes.method();
    match copied {
        Ok(()) => {
            observer.finish();
            Ok(())
        }
        Err(failure) => Err(Error::Data(Box::new(DataError {
            failure,
            source: source.shown.into(),
            dest: dest.shown.into(),
            is_atomic: open.is_atomic(),
            demand: demand(options),
        }))),
    }
}

fn touch(file: &File, dest: &AtPath<'_>, options: &CopyOptions) -> Result<(), Error> {
    if options.attributes_only {
        return Ok(());
    }
    retry(|| ftruncate(file, 0)).map_err(|e| dest.error(Operation::Resize, e))
}

fn stat_of(file: &File, dest: &AtPath<'_>) -> Result<FileStat, Error> {
    fstat(file).map_err(|e| dest.error(Operation::Fstat, e))
}

/// Reports files whose writeback to the device failed after their copy had returned. Returns whether there were none.
pub(super) fn report_deferred_errors(
    voice: &mut OrderedOutput,
    late: Vec<DeferredError<WritebackTag>>,
) -> bool {
    let is_complete = late.is_empty();
    for DeferredError { tag, error } in late {
        let WritebackTag { source, dest, .. } = tag;
        let error = Error::io(Operation::Write, &dest, error);
        voice.error(&source, &dest, &error);
    }
    is_complete
}

/// Prints the errors of attributes that are set before the data is written.
fn diagnose_attributes(voice: &mut OrderedOutput, report: AttrReport) -> Result<(), EntryError> {
    for error in &report.errors {
        voice.diagnose(error);
    }
    if report.is_incomplete {
        Err(EntryError::Reported)
    } else {
        Ok(())
    }
}

/// Sets the attributes that the file inherits from the one it replaces, and then those of its source.
fn set_attributes(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    (source, opened): (&AtPath<'_>, &File),
    from: &FileStat,
    (dest, open): (&AtPath<'_>, &Destination<'_>),
) -> Result<(), EntryError> {
    open.inherit()?;
    let paths = (source.shown, dest.shown);
    let report = cx
        .attributes
        .finish_file(opened, from, &open.file, open.created, paths);
    for error in &report.errors {
        voice.error(source.shown, dest.shown, error);
    }
    if report.is_incomplete {
        Err(EntryError::Reported)
    } else {
        Ok(())
    }
}

/// Sets the attributes and commits. Does not commit if required attributes are missing on a file that would replace
/// another. Returns the file that keeps the name instead, where it was left alone.
fn finish<'a>(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    (source, opened): (&AtPath<'_>, &File),
    from: &FileStat,
    (dest, mut open): (&AtPath<'a>, Destination<'a>),
    target: &CopyRequest<'_>,
) -> Result<Option<FileId>, EntryError> {
    for _ in 0..MAX_COMMITS {
        let attributes = set_attributes(cx, voice, (source, opened), from, (dest, &open));
        if open.is_atomic() && attributes.is_err() {
            abandon(voice, dest, open, None);
            return attributes.map(|()| None);
        }
        // A file that was written is closed even if its attributes could not be set; the first error is the one to
        // report.
        let committed = commit(cx, voice, from, (dest, open));
        attributes?;
        match committed {
            Ok(CommitOutcome::Done { backup }) => {
                report_changed_backup(cx.options, voice, dest, target.backup, backup.as_deref());
                return Ok(None);
            }
            Ok(CommitOutcome::Left(stays)) => return Ok(Some(stays)),
            Err(CommitError::Exists) => {
                return handle_appeared_dest(cx.options, source, dest).map(|()| None);
            }
            Err(CommitError::Changed(again)) => open = *again,
            Err(CommitError::Failed(error)) => return Err(error.into()),
        }
    }
    abandon(voice, dest, open, None);
    Err(Error::dest_replaced(dest.shown).into())
}

/// Number of times that another process may replace the destination while the new file gets the attributes of the old
/// one, which takes less than a millisecond.
const MAX_COMMITS: u32 = 100;

/// Commits the destination. For a file that the walk has not examined, makes the decision that the walk would have
/// made.
fn commit<'a>(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    from: &FileStat,
    (dest, open): (&AtPath<'a>, Destination<'a>),
) -> Result<CommitOutcome, CommitError<'a>> {
    let options = cx.options;
    let asks = options.overwrite == Overwrite::Ask;
    // With -n or --update=none-fail, a file that appears at an empty destination is left alone without a question.
    let never = matches!(options.overwrite, Overwrite::Skip | Overwrite::Fail);
    let mut decide = |now: &FileStat, examined: bool| {
        let newer = options.update && !is_older(now, from);
        if newer || asks && !examined && !ask_overwrite(voice, options, dest, now) {
            CommitDecision::Leave
        } else {
            CommitDecision::Replace
        }
    };
    open.commit(&mut CommitRules {
        fsync_set: &cx.fsync_set,
        backup: options.backup.as_ref().filter(|_| !never),
        may_leave: !never && (options.update || asks),
        decide: &mut decide,
    })
}

/// Prints the name of a backup, with -v, where it differs from the name reported before the copy.
fn report_changed_backup(
    options: &CopyOptions,
    voice: &mut OrderedOutput,
    dest: &AtPath<'_>,
    told: Option<&OsStr>,
    made: Option<&OsStr>,
) {
    if let Some(name) = made.filter(|name| options.report.verbose && told != Some(*name)) {
        let backup = sibling_path(dest.shown.as_os_str(), name);
        voice.print_verbose(&messages::backed_up(dest.shown, &backup));
    }
}

/// Handles a destination that another process made while its copy was written: treats it as a file that was there
/// before, where that is allowed.
fn handle_appeared_dest(
    options: &CopyOptions,
    source: &AtPath<'_>,
    dest: &AtPath<'_>,
) -> Result<(), EntryError> {
    match options.overwrite {
        Overwrite::Skip => Ok(()),
        Overwrite::Fail => Err(Error::refused(Refusal::Exists, source.shown, dest.shown).into()),
        Overwrite::Replace | Overwrite::Ask => {
            Err(dest.error(Operation::OpenDest, Errno::EEXIST).into())
        }
    }
}

fn open_source(source: &AtPath<'_>, from: &FileStat, nofollow: bool) -> Result<File, Error> {
    // Without O_NONBLOCK, open(2) would block on a FIFO that was swapped in. For a FIFO, the transfer does the waiting,
    // and a signal can end it; for regular files the flag has no effect.
    let mut flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if nofollow {
        flags |= OFlag::O_NOFOLLOW;
    }
    let file = wait_for_lease(|| source.open(flags, 0))
        .map_err(|e| source.error(Operation::OpenSource, e))?;
    match fstat(&file) {
        Ok(now) if file_id(&now) == file_id(from) => Ok(file),
        Ok(_) => Err(Error::Replaced(Replaced::Source(source.shown.into()))),
        Err(e) => Err(source.error(Operation::Fstat, e)),
    }
}

/// Ends a copy that failed. Removes a destination that this run made and that is empty. Returns the file that this run
/// made.
fn abandon(
    voice: &mut OrderedOutput,
    dest: &AtPath<'_>,
    open: Destination<'_>,
    failure: Option<&CopyFailure>,
) -> Option<FileId> {
    let empty = failure.is_some_and(|failure| {
        !failure.begun && !matches!(failure.error, transfer::Error::SourceChanged { .. })
    });
    let made = (open.created && !open.is_atomic())
        .then(|| fstat(&open.file).ok().as_ref().map(file_id))
        .flatten();
    let closed = open.abandon();
    let cleaned = match made {
        Some(made) if empty => remove_made(dest, made),
        _ => closed,
    };
    if let Err(also) = cleaned {
        voice.diagnose(&also);
    }
    made
}

/// Removes a file that this run made, even where the destination is a link that leads to it.
fn remove_made(dest: &AtPath<'_>, made: FileId) -> Result<(), Error> {
    let Ok(entry) = ResolvedPath::resolve_follow(dest) else {
        return dest.remove_made(made);
    };
    let behind = AtPath {
        dir: entry.dir(),
        path: &entry.name,
        shown: dest.shown,
    };
    behind.remove_made(made)
}

/// Returns the option that allows only one way to copy.
fn demand(options: transfer::TransferOptions) -> Option<Demand> {
    match options.engine {
        Some(engine) => Some(Demand::Engine(engine)),
        None if options.direct == transfer::DirectPolicy::Always => Some(Demand::Direct),
        None => None,
    }
}
