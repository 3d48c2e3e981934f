//! Copies one regular file, or a file that is copied as one: opens both ends, transfers the data, sets the attributes
//! and closes the files.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{fsync, ftruncate};

use super::at_path::{AtPath, sibling_path};
use super::attrs::{AttrReport, Attributes};
use super::by_inode::RemoveOutcome;
use super::cut::{CutFiles, CutNotice, CutPoint, KeptParts};
use super::dest::resolve_link::resolve_follow;
use super::dest::{
    self, CommitDecision, CommitError, CommitOutcome, CommitRules, DestOptions, Destination, Part,
};
use super::drain::{self, DrainedDirectories, DurableNames};
use super::entry_error::EntryError;
use super::error::{
    AnewReason, DataError, Demand, DrainObstacle, Error, Operation, Refusal, Replaced, Warning,
};
use super::fsync_set::FsyncSet;
use super::in_flight::Claim;
use super::manifest::{LineNames, check_line};
use super::messages;
use super::options::{CopyOptions, Overwrite};
use super::prompt::ask_overwrite;
use super::resume::{ResumeListener, ResumeSession, WholeFiles, freed_into};
use super::space_shortage::{SpaceShortage, needed_bytes};
use crate::cp::file_status::{FileId, file_id, file_id_of_statx, is_fifo, is_older, is_regular};
use crate::report::wire::CutFile;
use crate::report::{FileReporter, OrderedOutput, debug};
use crate::sys::file::StatxInfo;
use crate::transfer::errno_class::retry;
use crate::transfer::{
    self, Assurance, Copier, CopyFailure, CopyListener, CopyMethod, DeferredError, OpenedFile,
    ReadBack,
};

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
    /// The names in the lines of digests.
    pub(super) line_names: LineNames,
    /// The whole files of a run that another one may complete (--resume).
    pub(super) whole_files: WholeFiles,
    /// The names that are on the disk before a source is freed (--drain).
    pub(super) durable_names: DurableNames,
    /// The beginnings of files that this run has cut (--cut), and their maps.
    kept_parts: KeptParts,
    /// The source directories that are removed at the end if they are empty (--drain).
    pub(super) drained_directories: DrainedDirectories,
}

impl<'a> CopyContext<'a> {
    /// Makes the context of a run whose file mode creation mask is `umask`.
    pub(super) fn new(options: &'a CopyOptions, umask: u32) -> Self {
        Self {
            options,
            attributes: Attributes::new(options, umask),
            fsync_set: FsyncSet::new(options.durability.fsync),
            line_names: LineNames::new(options.manifest.as_deref()),
            whole_files: WholeFiles::new(options.recursive || options.sources.len() > 1),
            durable_names: DurableNames::default(),
            kept_parts: KeptParts::default(),
            drained_directories: DrainedDirectories::default(),
        }
    }
}

impl CopyContext<'_> {
    /// Returns whether this run has cut another file and made this one of it.
    pub(super) fn is_kept_part(&self, there: &FileStat) -> bool {
        self.options.transfer.room.cut && self.kept_parts.has(file_id(there))
    }
}

/// A file to copy: its paths, and the facts that the walk has determined.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyRequest<'a> {
    /// The path of the file to copy.
    pub(super) source: &'a AtPath,
    /// The status of that file.
    pub(super) from: &'a FileStat,
    /// The path of the copy.
    pub(super) dest: &'a AtPath,
    /// The status of the file at the destination.
    pub(super) there: Option<&'a FileStat>,
    /// The inodes that this copy has registered as in use.
    pub(super) claim: &'a Arc<Claim>,
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
    /// What is to be said after the error.
    pub(super) then: Option<Box<Warning>>,
}

impl<T: Into<EntryError>> From<T> for FileCopyError {
    fn from(why: T) -> Self {
        Self {
            why: why.into(),
            left: None,
            then: None,
        }
    }
}

/// Copies a file's data and attributes, and reports the copy method. With --atomic a failure leaves the destination as
/// it was.
pub(super) fn copy(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    copier: &mut FileCopier,
    request: &CopyRequest<'_>,
) -> Result<FileId, FileCopyError> {
    let named_source = (request.source.shown(), request.from);
    let named_dest = (request.dest.shown(), request.there);
    if let Err(error) = cx.line_names.check_distinct(named_source, named_dest) {
        voice.discard_manifest();
        return Err(error.into());
    }
    if request.there.is_some_and(|there| cx.is_kept_part(there)) {
        return Err(over_new_file(request).into());
    }
    let drains = cx.options.transfer.drain;
    let (file, status) = &match drains {
        true => open_drained(request)?,
        false => open_source(request, OFlag::O_RDONLY)?,
    };
    let source = OpenedFile { file, status };
    if let Some(newer) = newer_dest(cx.options, request) {
        return Ok(newer);
    }
    let resume = begin_resume(cx, voice, request, source)?;
    let there = request.there;
    let options = &cx.options.transfer;
    if let Some(whole) = resume
        .as_ref()
        // What is whole is copied again if more is asked of it than its bytes.
        .filter(|_| !options.verify && !options.require_quiescent && !drains)
        .and_then(|r| r.whole(there, &cx.whole_files))
    {
        return report_whole(cx, voice, (copier, source), request).map(|()| whole);
    }
    let from = source_before(request.from, resume.as_ref());
    let request = &CopyRequest {
        from: &from,
        ..*request
    };
    let copy = OpenedCopy {
        resume: resume.as_ref(),
        ..OpenedCopy::new(cx, request, source)
    };
    let copied = copy.reporting_method(voice, |method, voice| copy.run(voice, copier, method));
    copied.map_err(|failed| FileCopyError {
        then: copy.left_by_drain(),
        ..failed
    })
}

/// Returns the refusal to replace what this run has kept of another file.
fn over_new_file(request: &CopyRequest<'_>) -> Error {
    let (source, dest) = (request.source.shown(), request.dest.shown());
    Error::refused(Refusal::OverNewFile, source, dest)
}

/// Returns the status of a source as it was before a drain has changed its time.
fn source_before(from: &FileStat, resume: Option<&ResumeSession>) -> FileStat {
    let mut before = *from;
    if let Some(modified) = resume.and_then(ResumeSession::modified_before) {
        (before.st_mtime, before.st_mtime_nsec) = modified;
    }
    before
}

/// A file in the copier's batch: both ends are open, and the data is read.
#[derive(Debug)]
pub(super) struct BatchedCopy {
    source: (File, StatxInfo),
    prepared: PreparedDest,
}

impl BatchedCopy {
    /// Looks at the destination again, which a batch may have written in part.
    pub(super) fn refresh_status(&mut self) {
        if let Ok(now) = StatxInfo::query(&self.prepared.open.file) {
            self.prepared.new_file = Some(now);
        }
    }
}

/// How far a file is that was to be put into the copier's batch.
#[derive(Debug)]
pub(super) enum BatchOutcome {
    /// It is in the batch, and [`finish_batched`] ends its copy.
    Batched(BatchedCopy),
    /// It must be copied by itself; [`finish_batched`] does that, after the batch was written.
    Alone(BatchedCopy),
}

/// Returns whether a file may be put into a batch: small and new, nobody is told of each file, and nothing is wanted of
/// it beyond its bytes.
pub(super) fn may_batch(options: &CopyOptions, request: &CopyRequest<'_>) -> bool {
    let report = &options.report;
    let is_silent = !report.verbose && !report.debug && !report.json;
    let size = request.from.st_size.cast_unsigned();
    is_silent
        && !options.durability.atomic
        && !options.attributes_only
        && !options.resume
        && !options.transfer.wants_assurance()
        && !options.transfer.room.is_limited()
        && request.there.is_none()
        && is_regular(request.from)
        && (1..=Copier::<WritebackTag>::MAX_BATCHED_BYTES).contains(&size)
}

/// Opens both ends of a file for which [`may_batch`] is true, and reads it into the copier's batch.
pub(super) fn batch(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    copier: &mut FileCopier,
    request: &CopyRequest<'_>,
) -> Result<BatchOutcome, FileCopyError> {
    let (file, status) = open_source(request, OFlag::O_RDONLY)?;
    let source = OpenedFile {
        file: &file,
        status: &status,
    };
    let copy = OpenedCopy::new(cx, request, source);
    let prepared = copy.prepare_dest(voice)?;
    let is_batched = prepared.new_file.is_some_and(|status| {
        let dest = prepared.opened(&status);
        copier.batch(source, dest, cx.options.transfer, copy.tag())
    });
    let held = BatchedCopy {
        source: (file, status),
        prepared,
    };
    Ok(if is_batched {
        BatchOutcome::Batched(held)
    } else {
        BatchOutcome::Alone(held)
    })
}

/// Ends the copy of a file after the batch was written: copies its data where the batch did not, and sets its attributes.
pub(super) fn finish_batched(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    copier: &mut FileCopier,
    request: &CopyRequest<'_>,
    (held, is_written): (BatchedCopy, bool),
) -> Result<FileId, FileCopyError> {
    let BatchedCopy { source, prepared } = held;
    let (file, status) = &source;
    let copy = OpenedCopy::new(cx, request, OpenedFile { file, status });
    if is_written {
        let size = request.from.st_size.cast_unsigned();
        let mut observer = FileReporter::new(voice, request.source.shown(), request.dest.shown());
        observer.progress(&FileCopier::batch_progress(size));
        observer.finish(size);
        return copy.complete(voice, prepared, &Assurance::default());
    }
    copy.reporting_method(voice, |method, voice| {
        copy.transfer(voice, copier, method, prepared)
    })
}

/// An open destination that all who must know of it know of.
#[derive(Debug)]
struct PreparedDest {
    open: Destination,
    /// The status of a new file where nothing was before, which needs not be asked again for its identity.
    new_file: Option<StatxInfo>,
    /// The names for its beginning, if it is to be kept where the file is cut.
    cut_files: Option<CutFiles>,
}

impl PreparedDest {
    /// Returns the status of the file, which is queried where it is not known.
    fn status(&self, dest: &AtPath) -> Result<StatxInfo, Error> {
        match self.new_file {
            Some(status) => Ok(status),
            None => StatxInfo::query(&self.open.file).map_err(|e| dest.error(Operation::Fstat, e)),
        }
    }

    /// Returns the file together with its status.
    fn opened<'a>(&'a self, status: &'a StatxInfo) -> OpenedFile<'a> {
        OpenedFile {
            file: &self.open.file,
            status,
        }
    }
}

/// Reads with --resume what is known of an interrupted copy, and warns if it cannot be used.
fn begin_resume(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    request: &CopyRequest<'_>,
    source: OpenedFile<'_>,
) -> Result<Option<ResumeSession>, Error> {
    if !cx.options.resume || cx.options.attributes_only {
        return Ok(None);
    }
    // The status of the walk may be old: the source could have been written to since.
    let from = fstat(source.file).map_err(|e| request.source.error(Operation::Fstat, e))?;
    let options = &cx.options.transfer;
    let drained = options
        .drain
        .then(|| drain::identity_of(source.file, options.verify));
    let ends = ((request.source, &from), (request.dest, request.there));
    let (session, why) = ResumeSession::begin(ends.0, ends.1, drained, freed_into(source.file))?;
    warn_copied_anew(voice, request.dest, why);
    Ok(Some(session))
}

/// Prints the line with the digest of a file that an earlier run has copied, if digests are wanted.
fn report_whole(
    cx: &CopyContext<'_>,
    voice: &mut OrderedOutput,
    (copier, source): (&mut FileCopier, OpenedFile<'_>),
    request: &CopyRequest<'_>,
) -> Result<(), FileCopyError> {
    let dest = request.dest.shown();
    // The run that copied it has synced its data, and perhaps not its name.
    cx.fsync_set.note_entry(request.dest);
    if cx.options.report.debug {
        voice.print_verbose(&messages::whole_already(dest));
    }
    let Some(algorithm) = cx.options.transfer.digest else {
        return Ok(());
    };
    let mut observer = FileReporter::new(voice, request.source.shown(), dest);
    let hashed = copier.hash(source.file, algorithm, &mut observer);
    drop(observer);
    let digest = hashed.map_err(|error| {
        let size = request.from.st_size.cast_unsigned();
        Error::Data(Box::new(DataError {
            failure: CopyFailure::before(error, size),
            source: request.source.shown().into(),
            dest: dest.into(),
            is_atomic: false,
            shortage: None,
            demand: None,
        }))
    })?;
    let name = cx.line_names.of(dest);
    voice.print_digest(&check_line(&digest, &name));
    Ok(())
}

/// Warns if there is a reason why an interrupted copy does not go on.
fn warn_copied_anew(voice: &mut OrderedOutput, dest: &AtPath, why: Option<AnewReason>) {
    if let Some(why) = why {
        let dest = dest.shown().into();
        voice.diagnose(Warning::CopiedAnew { dest, why });
    }
}

/// A copy whose source is open.
#[derive(Clone, Copy)]
struct OpenedCopy<'a> {
    cx: &'a CopyContext<'a>,
    request: &'a CopyRequest<'a>,
    source: OpenedFile<'a>,
    /// The state of the copy, with --resume.
    resume: Option<&'a ResumeSession>,
}

impl<'a> OpenedCopy<'a> {
    fn new(cx: &'a CopyContext<'a>, request: &'a CopyRequest<'a>, source: OpenedFile<'a>) -> Self {
        Self {
            cx,
            request,
            source,
            resume: None,
        }
    }

    /// Calls `work` with the method of the copy, which it sets once the transfer of data has begun, and prints it with
    /// --debug. cp prints this line last, once the source was opened, whether or not the copy succeeded.
    fn reporting_method<R>(
        &self,
        voice: &mut OrderedOutput,
        work: impl FnOnce(&mut CopyMethod, &mut OrderedOutput) -> R,
    ) -> R {
        let options = self.cx.options;
        let mut method = CopyMethod::before(&options.transfer);
        let result = work(&mut method, voice);
        if options.report.debug && !options.attributes_only {
            voice.print_verbose(&debug::method_line(&method));
        }
        result
    }

    /// Opens the destination, and copies data and attributes.
    fn run(
        &self,
        voice: &mut OrderedOutput,
        copier: &mut FileCopier,
        method: &mut CopyMethod,
    ) -> Result<FileId, FileCopyError> {
        let prepared = self.prepare_dest(voice)?;
        self.transfer(voice, copier, method, prepared)
    }

    /// Copies data and attributes to a destination that is prepared.
    fn transfer(
        &self,
        voice: &mut OrderedOutput,
        copier: &mut FileCopier,
        method: &mut CopyMethod,
        mut prepared: PreparedDest,
    ) -> Result<FileId, FileCopyError> {
        let Self { cx, request, .. } = *self;
        let open = &prepared.open;
        // A file that replaces the old one atomically has a narrow mode already.
        let narrowed = request.there.filter(|there| {
            let attributes = &cx.attributes;
            !open.is_atomic() && attributes.narrow_before_write(request.from, &open.file, there)
        });
        let copied = if cx.options.attributes_only {
            Ok(Assurance::default())
        } else if let Err(error) = self.check_left(voice, copier, &prepared) {
            Err(error)
        } else if self.resume.is_some_and(ResumeSession::has_all) {
            self.assure_complete(voice, copier, open)
        } else {
            self.copy_data(voice, copier, &prepared, method)
        };
        let assurance = match copied {
            Ok(assurance) => assurance,
            Err(error) => {
                let point = error.copy_failure().and_then(CutPoint::of);
                if let Some((files, point)) = prepared.cut_files.take().zip(point) {
                    return Err(self.keep_beginning(voice, prepared.open, files, (&error, &point)));
                }
                let unwritable = request.there.filter(|_| self.must_replace(&error));
                let left = self.give_up(voice, prepared.open, narrowed, &error);
                let Some(there) = unwritable else {
                    let failed = FileCopyError::from(error);
                    return Err(FileCopyError { left, ..failed });
                };
                remove_unwritable(voice, request.dest, there)?;
                let request = &CopyRequest {
                    there: None,
                    ..*request
                };
                return OpenedCopy { request, ..*self }.run(voice, copier, method);
            }
        };
        self.complete(voice, prepared, &assurance)
    }

    /// Sets the attributes of a destination whose data is complete, and commits it.
    fn complete(
        &self,
        voice: &mut OrderedOutput,
        prepared: PreparedDest,
        assurance: &Assurance,
    ) -> Result<FileId, FileCopyError> {
        let Self { cx, request, .. } = *self;
        let PreparedDest { open, new_file, .. } = prepared;
        let made = match new_file {
            Some(status) => file_id_of_statx(&status),
            None => {
                let now = stat_of(&open.file, request.dest)?;
                let was_file = request.there.is_some_and(is_regular);
                if now.st_size == 0 && was_file && !open.is_atomic() {
                    // An old file that is emptied again counts as written, so its times and set-id bits change, as with
                    // O_TRUNC.
                    touch(&open.file, request.dest, cx.options)?;
                }
                file_id(&now)
            }
        };
        let left = (open.created && !open.is_atomic()).then_some(made);
        let stays = self
            .finish_resumable(voice, open, assurance)
            .map_err(|why| FileCopyError { left, ..why.into() })?;
        if stays.is_none() && !cx.options.transfer.drain {
            self.report_assurance(voice, assurance);
        }
        Ok(stays.unwrap_or(made))
    }

    /// Finishes the copy, and ends its state with it.
    fn finish_resumable(
        &self,
        voice: &mut OrderedOutput,
        open: Destination,
        assurance: &Assurance,
    ) -> Result<Option<FileId>, EntryError> {
        let Some(resume) = self.resume else {
            return self.finish(voice, open);
        };
        if self.cx.options.transfer.drain {
            return self.finish_drained(voice, open, resume, assurance);
        }
        let (set, dest) = (&self.cx.whole_files, self.request.dest);
        if set.is_kept() {
            // The state will say that the file is whole.
            retry(|| fsync(&open.file)).map_err(|e| dest.error(Operation::Sync, e))?;
        }
        let stays = self.finish(voice, open);
        match &stays {
            Ok(None) => resume.complete(dest, set)?,
            Ok(Some(_)) | Err(_) => resume.discard()?,
        }
        stays
    }

    /// Finishes the copy of a source that is drained. When the destination is durable with its attributes and its name, what
    /// is left of the source is freed, and the source is removed. After an error the state stays.
    fn finish_drained(
        &self,
        voice: &mut OrderedOutput,
        open: Destination,
        resume: &ResumeSession,
        assurance: &Assurance,
    ) -> Result<Option<FileId>, EntryError> {
        let Self { cx, request, .. } = *self;
        let (source, dest) = (request.source, request.dest);
        let sync = |e| dest.error(Operation::Sync, e);
        let file = open.file.try_clone().map_err(sync)?;
        let stays = self.finish(voice, open)?;
        retry(|| fsync(&file)).map_err(sync)?;
        cx.durable_names.sync(resume.entry())?;
        let check_dest = || self.check_whole(resume, &file);
        check_dest()?;
        resume.record_all(self.source.file)?;
        // What is printed may be lost with the source otherwise.
        self.report_assurance(voice, assurance);
        let freed = drain::free_and_remove(
            (source, self.source.file),
            file_id(request.from),
            (dest, &check_dest),
            assurance.source_modified,
            voice.interrupt_check(),
        )?;
        voice.report_freed(source.shown(), dest.shown(), freed);
        resume.discard()?;
        Ok(stays)
    }

    /// Checks that a destination still has its name and all bytes of the source.
    fn check_whole(&self, resume: &ResumeSession, file: &File) -> Result<(), Error> {
        let dest = self.request.dest;
        let now = stat_of(file, dest)?;
        match now.st_size.cast_unsigned() == self.source.status.size && resume.check_name().is_ok()
        {
            true => Ok(()),
            false => Err(Error::dest_replaced(dest.shown())),
        }
    }

    /// Compares what a source still has of its first bytes with the destination, which an earlier run has drained them to:
    /// somebody may have written to either of them since.
    fn check_left(
        &self,
        voice: &mut OrderedOutput,
        copier: &mut FileCopier,
        prepared: &PreparedDest,
    ) -> Result<(), Error> {
        let until = self.resume.map_or(0, ResumeSession::freed_until);
        if until == 0 {
            return Ok(());
        }
        let (source, dest) = (self.request.source, self.request.dest);
        let status = prepared.status(dest)?;
        let ends = (self.source, prepared.opened(&status));
        let mut observer = FileReporter::new(voice, source.shown(), dest.shown());
        let compared = copier.compare_left(ends, until, &mut observer);
        compared.map_err(|error| match error {
            transfer::Error::Different { .. } => {
                Error::drain(source.shown(), dest.shown(), DrainObstacle::Changed)
            }
            error => Error::Data(Box::new(DataError {
                failure: CopyFailure::before(error, self.source.status.size),
                source: source.shown().into(),
                dest: dest.shown().into(),
                is_atomic: false,
                shortage: None,
                demand: None,
            })),
        })
    }

    /// Completes the data of a destination that has all bytes of a drained source, and hashes them if that is wanted: the
    /// source may not have them any more.
    fn assure_complete(
        &self,
        voice: &mut OrderedOutput,
        copier: &mut FileCopier,
        open: &Destination,
    ) -> Result<Assurance, Error> {
        let (source, dest) = (self.request.source.shown(), self.request.dest);
        let size = self.source.status.size;
        let now = stat_of(&open.file, dest)?;
        if now.st_size.cast_unsigned() != size {
            let cut = retry(|| ftruncate(&open.file, size.cast_signed()));
            cut.map_err(|e| dest.error(Operation::Resize, e))?;
        }
        let mut observer = FileReporter::new(voice, source, dest.shown());
        let Some(algorithm) = self.cx.options.transfer.digest else {
            observer.finish(size);
            return Ok(Assurance {
                source_modified: Some(self.source.status.mtime),
                ..Assurance::default()
            });
        };
        let name = format!("/proc/self/fd/{}", open.file.as_raw_fd());
        let file = File::open(name).map_err(|e| dest.error(Operation::Access, e))?;
        let hashed = copier.hash(&file, algorithm, &mut observer);
        let digest = hashed.map_err(|error| {
            Error::Data(Box::new(DataError {
                failure: CopyFailure::before(error, size),
                source: dest.shown().into(),
                dest: dest.shown().into(),
                is_atomic: false,
                shortage: None,
                demand: None,
            }))
        })?;
        observer.finish(size);
        Ok(Assurance {
            digest: Some(digest),
            source_modified: Some(self.source.status.mtime),
            ..Assurance::default()
        })
    }

    /// Returns what is where after a drain that has failed, if a part of the source may be freed.
    fn left_by_drain(&self) -> Option<Box<Warning>> {
        let resume = self.resume.filter(|resume| resume.check_name().is_ok())?;
        let durable = resume.freed_until();
        let left = || Warning::DrainLeft {
            source: self.request.source.shown().into(),
            dest: self.request.dest.shown().into(),
            durable,
        };
        (durable > 0).then(|| Box::new(left()))
    }

    /// Begins the state of the copy with its open destination. The name of a destination whose source is drained is durable
    /// from then on.
    fn attach_resume(
        &self,
        voice: &mut OrderedOutput,
        resume: &ResumeSession,
        open: &mut Destination,
    ) -> Result<(), Error> {
        let dest = self.request.dest;
        let why = resume.attach(open)?;
        warn_copied_anew(voice, dest, why);
        if !self.cx.options.transfer.drain {
            return Ok(());
        }
        if let Some(until) = resume.unverified_until() {
            let dest = dest.shown().into();
            voice.diagnose(Warning::DrainNotVerified { dest, until });
        }
        let synced = self.cx.durable_names.sync(resume.entry());
        if synced.is_err() && !resume.has_part() && !resume.is_freed() {
            resume.discard()?;
        }
        synced
    }

    /// Prints the line with the digest, if one was made, and warns of a comparison that says less about the device. The
    /// destination has its name by then.
    fn report_assurance(&self, voice: &mut OrderedOutput, assurance: &Assurance) {
        if let Some(why) = assurance.read_back.as_ref().and_then(ReadBack::why) {
            let dest = self.request.dest.shown().into();
            let why = why.to_owned();
            voice.diagnose(Warning::ReadBackCached { dest, why });
        }
        if let Some(digest) = &assurance.digest {
            let name = self.cx.line_names.of(self.request.dest.shown());
            voice.print_digest(&check_line(digest, &name));
        }
    }

    /// Returns by what the queue of deferred writeback knows the file.
    fn tag(&self) -> WritebackTag {
        WritebackTag {
            source: self.request.source.shown().into(),
            dest: self.request.dest.shown().into(),
            _claim: Arc::clone(self.request.claim),
        }
    }

    /// Opens the destination and registers it with all that must know of it before the first byte is written.
    fn prepare_dest(&self, voice: &mut OrderedOutput) -> Result<PreparedDest, EntryError> {
        let Self { cx, request, .. } = *self;
        let (source, dest) = (request.source, request.dest);
        diagnose_attributes(voice, &cx.attributes.prepare_creation(source))?;
        let mut open = self.open_dest(voice)?;
        if let Some(resume) = self.resume {
            match self.attach_resume(voice, resume, &mut open) {
                Ok(()) => {}
                Err(error) if resume.has_part() && !self.may_remove(&open) => {
                    if let Err(also) = open.keep() {
                        voice.diagnose(&also);
                    }
                    return Err(error.into());
                }
                Err(error) => {
                    let failure = CopyFailure::before(transfer::Error::Interrupted, 0);
                    let may_remove = !cx.options.transfer.drain || self.may_remove(&open);
                    abandon(voice, dest, open, may_remove.then_some(&failure));
                    return Err(error.into());
                }
            }
        }
        let cut_files = match self.prepare_cut(&open) {
            Ok(files) => files,
            Err(error) => {
                abandon(voice, dest, open, None);
                return Err(error.into());
            }
        };
        let mut new_file = None;
        match open.created {
            _ if open.is_atomic() => {}
            true => {
                let now = StatxInfo::query(&open.file);
                let now = now.map_err(|e| dest.error(Operation::Fstat, e))?;
                request.claim.created(file_id_of_statx(&now));
                new_file = request.there.is_none().then_some(now);
            }
            false => diagnose_attributes(voice, &cx.attributes.relabel(source, dest))?,
        }
        let registered = cx
            .fsync_set
            .register_file_system(&open.file, dest, !open.created);
        match registered {
            Ok(()) => Ok(PreparedDest {
                open,
                new_file,
                cut_files,
            }),
            Err(e) => {
                abandon(voice, dest, open, None);
                Err(dest.error(Operation::Sync, e).into())
            }
        }
    }

    fn open_dest(&self, voice: &mut OrderedOutput) -> Result<Destination, Error> {
        let (options, request) = (self.cx.options, self.request);
        let (dest, there) = (request.dest, request.there);
        let atomic = options.durability.atomic;
        if let Some(fifo) = there.filter(|there| !atomic && is_fifo(there)) {
            return dest::open_fifo(
                dest,
                fifo,
                request.is_below_operand,
                voice.interrupt_check(),
            );
        }
        let how = self.dest_options();
        let removed = || voice.print_verbose(&messages::removed(dest.shown()));
        let Some(resume) = self.resume else {
            return dest::open(dest, there, &how, Part::None, removed);
        };
        resume.with_part(|found| {
            let part = found.map_or(Part::Named, |(name, id)| Part::Found(name, id));
            dest::open(dest, there, &how, part, removed)
        })
    }

    /// Returns what the options say of the destination.
    fn dest_options(&self) -> DestOptions {
        let (options, request) = (self.cx.options, self.request);
        DestOptions {
            mode: self.cx.attributes.file_mode(request.from),
            is_below_operand: request.is_below_operand,
            // What an interrupted drain has written is never removed.
            force: options.force && !options.transfer.drain,
            through_dangling: options.through_dangling,
            atomic: options.durability.atomic,
            replace_as_new: request.replace_as_new,
            keep_mode: !options.preserve.mode,
        }
    }

    /// Makes sure with --cut that the beginning of the file can be kept.
    fn prepare_cut(&self, open: &Destination) -> Result<Option<CutFiles>, Error> {
        if !self.cx.options.transfer.room.cut {
            return Ok(None);
        }
        let paths = (self.request.source, self.request.dest);
        CutFiles::prepare(paths, open, &self.dest_options()).map(Some)
    }

    /// Keeps the beginning of a file that was cut, with the attributes that the whole file would have.
    fn keep_beginning(
        &self,
        voice: &mut OrderedOutput,
        open: Destination,
        files: CutFiles,
        (error, point): (&Error, &CutPoint),
    ) -> FileCopyError {
        let (source, dest) = (self.request.source.shown(), self.request.dest.shown());
        let attributes = self.set_attributes(voice, &open);
        if let Err(EntryError::Unreported(error)) = &attributes {
            voice.error(source, dest, error);
        }
        let (part, map) = (files.part_path(), files.map_path());
        if let Err(not_kept) = files.keep(open, point, &self.cx.fsync_set, &self.cx.kept_parts) {
            voice.diagnose(error);
            return not_kept.into();
        }
        let notice = CutNotice {
            source,
            part: &part,
            point,
        };
        let cut = CutFile {
            paths: (source, dest),
            part: &part,
            map: &map,
            at: point.at,
            size: point.size,
            why: point.why.word(),
        };
        voice.report_cut(&cut, notice);
        match attributes {
            Ok(()) => EntryError::Cut.into(),
            // A beginning without what is required of it is a failure, which is said above.
            Err(_) => EntryError::Reported.into(),
        }
    }

    /// Transfers the bytes. The error says how far the copy came, where it had begun.
    fn copy_data(
        &self,
        voice: &mut OrderedOutput,
        copier: &mut FileCopier,
        prepared: &PreparedDest,
        method: &mut CopyMethod,
    ) -> Result<Assurance, Error> {
        let (source, dest) = (self.request.source, self.request.dest);
        let open = &prepared.open;
        let status = prepared.status(dest)?;
        let source_info = copier
            .source_info_of(self.source)
            .map_err(|e| source.error(Operation::Fstat, e))?;
        // The old file is kept until the new one is known to be complete.
        let options = transfer::TransferOptions {
            wait_for_writeback: open.is_atomic() || self.resume.is_some(),
            resume_at: self.resume.map_or(0, ResumeSession::at),
            durable_points: self.resume.is_some(),
            ..self.cx.options.transfer
        };
        let (size, needed) = (source_info.size, needed_bytes(&source_info, &options));
        let mut observer = FileReporter::new(voice, source.shown(), dest.shown());
        let tag = self.tag();
        let mut recorder;
        let listener: &mut dyn CopyListener = match self.resume {
            Some(session) => {
                recorder = ResumeListener {
                    inner: &mut observer,
                    session,
                    source: self.source.file,
                };
                &mut recorder
            }
            None => &mut observer,
        };
        let (file, opened_dest) = (self.source.file, prepared.opened(&status));
        let copied = copier.copy_to(file, source_info, opened_dest, options, listener, tag);
        *method = copier.method();
        match copied {
            Ok(assurance) => {
                observer.finish(size);
                Ok(assurance)
            }
            Err(failure) => Err(Error::Data(Box::new(DataError {
                shortage: SpaceShortage::of(&failure.error, needed, &open.file),
                failure,
                source: source.shown().into(),
                dest: dest.shown().into(),
                is_atomic: open.is_atomic(),
                demand: demand(options),
            }))),
        }
    }

    /// Returns whether, with -f, an old file is to be removed because it cannot be emptied.
    fn must_replace(&self, error: &Error) -> bool {
        let failure = error.copy_failure();
        let refuses = failure.is_some_and(|f| matches!(f.error, transfer::Error::Truncate(_)));
        refuses && self.cx.options.force && !self.cx.options.transfer.drain
    }

    /// Ends a copy whose data was not transferred. `narrowed` is the old file whose mode this run has narrowed. Returns
    /// the file that this run made and left.
    fn give_up(
        &self,
        voice: &mut OrderedOutput,
        open: Destination,
        narrowed: Option<&FileStat>,
        error: &Error,
    ) -> Option<FileId> {
        let failure = error.copy_failure();
        let changed = failure.is_some_and(|failure| failure.begun);
        if let (Some(there), false) = (narrowed, changed) {
            // This run narrowed the mode a moment ago, so it restores it.
            let _ = self.cx.attributes.restore_mode(&open.file, there);
        }
        let resume = self.resume.zip(failure);
        if resume.is_some_and(|(resume, failure)| resume.note_failure(failure, &open.file)) {
            if let Err(also) = open.keep() {
                voice.diagnose(&also);
            }
            return None;
        }
        let failure = failure.filter(|_| !self.cx.options.transfer.drain || self.may_remove(&open));
        abandon(voice, self.request.dest, open, failure)
    }

    /// Returns whether the destination of a drain is one that this run has made, and empty: others may have the only copy of
    /// what was drained.
    fn may_remove(&self, open: &Destination) -> bool {
        let is_empty = || fstat(&open.file).is_ok_and(|now| now.st_size == 0);
        self.cx.options.transfer.drain && open.created && is_empty()
    }

    /// Sets the attributes that the file inherits from the one it replaces, and then those of its source.
    fn set_attributes(
        &self,
        voice: &mut OrderedOutput,
        open: &Destination,
    ) -> Result<(), EntryError> {
        open.inherit()?;
        let paths = (self.request.source.shown(), self.request.dest.shown());
        let report = self.cx.attributes.finish_file(
            self.source.file,
            self.request.from,
            &open.file,
            open.created,
            paths,
        );
        for error in &report.errors {
            voice.error(paths.0, paths.1, error);
        }
        report.result()
    }

    /// Sets the attributes and commits. Does not commit if required attributes are missing on a file that would replace
    /// another. Returns the file that keeps the name instead, where it was left alone.
    fn finish(
        &self,
        voice: &mut OrderedOutput,
        mut open: Destination,
    ) -> Result<Option<FileId>, EntryError> {
        let (options, request) = (self.cx.options, self.request);
        for _ in 0..dest::MAX_COMMITS {
            let attributes = self.set_attributes(voice, &open);
            if open.is_atomic() && attributes.is_err() {
                abandon(voice, request.dest, open, None);
                return attributes.map(|()| None);
            }
            // A file that was written is closed even if its attributes could not be set; the first error is the one to
            // report.
            let committed = self.commit(voice, open);
            attributes?;
            match committed {
                Ok(CommitOutcome::Done { backup }) => {
                    report_changed_backup(options, voice, request, backup.as_deref());
                    return Ok(None);
                }
                Ok(CommitOutcome::Left(stays)) => return Ok(Some(stays)),
                Err(CommitError::Exists) => {
                    return handle_appeared_dest(options, request).map(|()| None);
                }
                Err(CommitError::Changed(again)) => open = *again,
                Err(CommitError::Failed(error)) => return Err(error.into()),
            }
        }
        abandon(voice, request.dest, open, None);
        Err(Error::dest_replaced(request.dest.shown()).into())
    }

    /// Commits the destination. For a file that the walk has not examined, makes the decision that the walk would have
    /// made.
    fn commit(
        &self,
        voice: &mut OrderedOutput,
        open: Destination,
    ) -> Result<CommitOutcome, CommitError> {
        let Self { cx, request, .. } = *self;
        let options = cx.options;
        let asks = options.overwrite == Overwrite::Ask;
        // With -n or --update=none-fail, a file that appears at an empty destination is left alone without a question.
        let never = matches!(options.overwrite, Overwrite::Skip | Overwrite::Fail);
        let mut is_over_part = false;
        let mut decide = |now: &FileStat, examined: bool| {
            if cx.is_kept_part(now) {
                is_over_part = true;
                return CommitDecision::Leave;
            }
            let newer = options.update && !is_older(now, request.from);
            if newer || asks && !examined && !ask_overwrite(voice, options, request.dest, now) {
                CommitDecision::Leave
            } else {
                CommitDecision::Replace
            }
        };
        let backup = options.backup.as_ref().filter(|_| !never);
        // A beginning that is kept gets no backup name, either.
        let keeps = options.transfer.room.cut && backup.is_some();
        let committed = open.commit(&mut CommitRules {
            fsync_set: &cx.fsync_set,
            backup,
            may_leave: !never && (options.update || asks) || keeps,
            decide: &mut decide,
        });
        match committed {
            Ok(CommitOutcome::Left(_)) if is_over_part => Err(over_new_file(request).into()),
            committed => committed,
        }
    }
}

/// Removes an old file that can be opened but not emptied, as -f removes one that cannot be opened: for cp, emptying is
/// a part of open(2).
fn remove_unwritable(
    voice: &mut OrderedOutput,
    dest: &AtPath,
    there: &FileStat,
) -> Result<(), FileCopyError> {
    match dest.remove_examined(there)? {
        RemoveOutcome::Done => voice.print_verbose(&messages::removed(dest.shown())),
        RemoveOutcome::Gone => {}
        RemoveOutcome::Other | RemoveOutcome::Aside(_) => {
            return Err(Error::dest_replaced(dest.shown()).into());
        }
    }
    Ok(())
}

/// Returns the destination if, with -u, it has become newer than its source since the walk examined it; it is then left
/// alone. With --atomic the commit makes this check.
fn newer_dest(options: &CopyOptions, request: &CopyRequest<'_>) -> Option<FileId> {
    if !options.update || options.durability.atomic || request.there.is_none() {
        return None;
    }
    let now = request.dest.stat(true).ok()?;
    (is_regular(&now) && !is_older(&now, request.from)).then(|| file_id(&now))
}

fn touch(file: &File, dest: &AtPath, options: &CopyOptions) -> Result<(), Error> {
    if options.attributes_only {
        return Ok(());
    }
    retry(|| ftruncate(file, 0)).map_err(|e| dest.error(Operation::Resize, e))
}

fn stat_of(file: &File, dest: &AtPath) -> Result<FileStat, Error> {
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
fn diagnose_attributes(voice: &mut OrderedOutput, report: &AttrReport) -> Result<(), EntryError> {
    for error in &report.errors {
        voice.diagnose(error);
    }
    report.result()
}

/// Prints the name of a backup, with -v, where it differs from the name reported before the copy.
fn report_changed_backup(
    options: &CopyOptions,
    voice: &mut OrderedOutput,
    request: &CopyRequest<'_>,
    made: Option<&OsStr>,
) {
    if let Some(name) = made.filter(|name| options.report.verbose && request.backup != Some(*name))
    {
        let dest = request.dest.shown();
        let backup = sibling_path(dest.as_os_str(), name);
        voice.print_verbose(&messages::backed_up(dest, &backup));
    }
}

/// Handles a destination that another process made while its copy was written: treats it as a file that was there
/// before, where that is allowed.
fn handle_appeared_dest(
    options: &CopyOptions,
    request: &CopyRequest<'_>,
) -> Result<(), EntryError> {
    let (source, dest) = (request.source.shown(), request.dest.shown());
    match options.overwrite {
        Overwrite::Skip => Ok(()),
        Overwrite::Fail => Err(Error::refused(Refusal::Exists, source, dest).into()),
        Overwrite::Replace | Overwrite::Ask => {
            let error = request.dest.error(Operation::OpenDest, Errno::EEXIST);
            Err(error.into())
        }
    }
}

/// Opens a source that is to be drained for reading and writing, and claims it. Nothing is changed by that.
fn open_drained(request: &CopyRequest<'_>) -> Result<(File, StatxInfo), Error> {
    let (source, dest) = (request.source, request.dest);
    let refuse = |obstacle| Error::drain(source.shown(), dest.shown(), obstacle);
    drain::check_source(source, request.from).map_err(refuse)?;
    let (file, status) = open_source(request, OFlag::O_RDWR).map_err(|error| match error {
        Error::Io {
            operation: Operation::OpenSource,
            error,
            ..
        } => refuse(DrainObstacle::NotWritable(error)),
        other => other,
    })?;
    drain::check_opened(&file).map_err(refuse)?;
    // Where the directory is missing, opening the destination says so.
    if let Ok(entry) = resolve_follow(dest) {
        drain::check_dest(&file, &entry).map_err(refuse)?;
    }
    drain::claim_source(&file).map_err(refuse)?;
    Ok((file, status))
}

fn open_source(request: &CopyRequest<'_>, access: OFlag) -> Result<(File, StatxInfo), Error> {
    let source = request.source;
    // Without O_NONBLOCK, open(2) would block on a FIFO that was swapped in. For a FIFO, the transfer does the waiting,
    // and a signal can end it; for regular files the flag has no effect.
    let mut flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if !request.follow || access == OFlag::O_RDWR {
        flags |= OFlag::O_NOFOLLOW;
    }
    let file = source
        .open(flags, 0)
        .map_err(|e| source.error(Operation::OpenSource, e))?;
    match StatxInfo::query(&file) {
        Ok(now) if file_id_of_statx(&now) == file_id(request.from) => Ok((file, now)),
        Ok(_) => Err(Error::Replaced(Replaced::Source(source.shown().into()))),
        Err(e) => Err(source.error(Operation::Fstat, e)),
    }
}

/// Ends a copy that failed. Removes a destination that this run made and that is empty. Returns the file that this run
/// made.
fn abandon(
    voice: &mut OrderedOutput,
    dest: &AtPath,
    open: Destination,
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
fn remove_made(dest: &AtPath, made: FileId) -> Result<(), Error> {
    let Ok(entry) = resolve_follow(dest) else {
        return dest.remove_made(made);
    };
    entry.remove_made(made)
}

/// Returns the option that allows only one way to copy.
fn demand(options: transfer::TransferOptions) -> Option<Demand> {
    match options.engine {
        Some(engine) => Some(Demand::Engine(engine)),
        None if options.drain => Some(Demand::Drain),
        None if options.direct == transfer::DirectPolicy::Always => Some(Demand::Direct),
        None => None,
    }
}
