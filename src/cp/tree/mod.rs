//! The walk of the source trees: decides where each file goes, directories before their content, each opened by its own
//! descriptor.
//!
//! One thread walks, and decides everything in the order in which cp decides it. The long operations, which are the
//! data and the attributes of regular files, go in batches to a pool of threads (`batch`). A directory is completed by
//! the last task that works in it (`active_directory`). A decision that depends on a file in flight waits for it.

mod active_directory;
mod batch;
mod batch_run;
mod copy_directory;
mod copy_task;
mod dir_names;
mod existing_dest;
mod links;
mod make_entry;
mod name_folding;
mod new_directory;
mod open_directories;
mod parents;
mod repeated_operands;
mod same_file;

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat};

use super::at_path::{AtPath, DirHandle, sibling_path};
use super::attrs::Attributes;
use super::backup;
use super::copy_file::{CopyContext, FileCopier};
use super::entry_error::EntryError;
use super::error::{Error, Operation, Refusal, Warning};
use super::file_status::{FileId, file_id, is_directory, is_regular};
use super::messages;
use super::operands::{DestKnowledge, OperandJob, OperandJobs};
use super::options::{CopyOptions, Dereference, Overwrite};
use super::resume::remove_leftover;
use super::thread_pool::{self, Pool};
use crate::cp::in_flight::InFlight;
use crate::report::{OrderedOutput, SourceOutcome};
use crate::transfer::RoomLedger;
use crate::transfer::rate_limit::RateLimiter;
use batch::Batch;
use copy_task::FileTransfer;
use name_folding::{NameKey, NameRule};

use active_directory::ActiveDirectory;
use links::EarlierCopies;
use open_directories::OpenDirectories;
use repeated_operands::RepeatedOperands;

/// Number of nested directories that the walk enters. Each takes stack, and a tree made to exhaust the stack shall
/// cause an error, not a crash. A path of PATH_MAX has at most 2048.
const MAX_TREE_DEPTH: usize = 4096;

/// Stack size for that depth: a level took 5.4 KB in a debug build, and memory that is not touched costs nothing.
const WALK_STACK_BYTES: usize = MAX_TREE_DEPTH * 16 * 1024;

/// Copies each job in turn, and everything below it, at the rate that `pace` allows.
///
/// Returns whether all of it was copied; each failure has been reported.
pub fn copy_all(
    jobs: &OperandJobs,
    options: &CopyOptions,
    pace: Option<Arc<RateLimiter>>,
    voice: &mut OrderedOutput,
) -> bool {
    match to_own_backup(jobs, options) {
        Ok(None) => copy_each(jobs, options, pace, voice),
        Ok(Some((jobs, options))) => copy_each(&jobs, &options, pace, voice),
        Err(error) => {
            voice.error_without_file(&error);
            false
        }
    }
}

/// Changes the job, with -f and --backup, of a regular file that is copied onto its own name: it is copied to the name
/// of its backup, as in cp.
fn to_own_backup(
    jobs: &OperandJobs,
    options: &CopyOptions,
) -> Result<Option<(OperandJobs, CopyOptions)>, Error> {
    let ([job], Some(backup)) = (&*jobs.list, &options.backup) else {
        return Ok(None);
    };
    if !job.to_own_backup {
        return Ok(None);
    }
    let place = AtPath::with_open_parent(&job.dest);
    let name =
        backup::name(&place, backup).map_err(|e| Error::io(Operation::BackUp, &job.dest, e))?;
    let job = OperandJob {
        dest: sibling_path(job.dest.as_os_str(), &name).into(),
        source: job.source.clone(),
        ..*job
    };
    let jobs = OperandJobs {
        list: vec![job],
        first: 0,
        directory: None,
    };
    let options = CopyOptions {
        backup: None,
        ..options.clone()
    };
    Ok(Some((jobs, options)))
}

fn copy_each(
    jobs: &OperandJobs,
    options: &CopyOptions,
    pace: Option<Arc<RateLimiter>>,
    voice: &mut OrderedOutput,
) -> bool {
    // The umask is read while there is one thread, since it can only be read by setting it.
    let run = CopyRun {
        options,
        cx: CopyContext::new(options, umask()),
        pace,
        room: Arc::default(),
        failed: AtomicBool::new(false),
        idle_copiers: Mutex::default(),
        copied: Mutex::default(),
        made: Mutex::default(),
        in_flight: Arc::default(),
    };
    if options.recursive {
        run_on_deep_stack(|| walk_all(jobs, &run, voice));
    } else {
        walk_all(jobs, &run, voice);
    }
    run.sync_all(voice);
    // All copies have their names by then.
    for error in run
        .cx
        .drained_directories
        .remove(run.failed.load(Ordering::Relaxed))
    {
        run.fail();
        voice.diagnose(error);
    }
    // What was interrupted goes on with these.
    if !run.failed.load(Ordering::Relaxed) {
        for error in run.cx.whole_files.finish() {
            run.fail();
            voice.diagnose(error);
        }
    }
    !run.failed.load(Ordering::Relaxed)
}

/// Runs `work` on a thread with the stack that a deep tree needs. A host under pressure may have no thread to give;
/// then it runs on this thread, since few trees need that stack.
fn run_on_deep_stack(work: impl FnOnce() + Send) {
    let mut work = Some(work);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(WALK_STACK_BYTES);
        let slot = &mut work;
        let spawned = thread.spawn_scoped(scope, move || {
            if let Some(work) = slot.take() {
                work();
            }
        });
        // A panic continues as it would have without the thread.
        if let Ok(thread) = spawned
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    });
    if let Some(work) = work {
        work();
    }
}

fn walk_all(jobs: &OperandJobs, run: &CopyRun<'_>, voice: &mut OrderedOutput) {
    let threads = thread_count(run.options);
    thread_pool::scoped(threads, |pool| {
        let mut walk = Walk::new(run, pool, voice.split(), jobs);
        for (index, job) in jobs.list.iter().enumerate() {
            if walk.voice.is_interrupted() {
                run.fail();
                break;
            }
            if index > 0 && index == jobs.first {
                walk.complete_first(None);
            }
            walk.operand(job);
        }
        walk.wait_in_flight();
        run.wait_for_writeback(&mut walk.voice);
    });
}

/// Returns the number of files that are copied at once. One file needs no second thread, and a user answers one
/// question at a time.
pub(super) fn thread_count(options: &CopyOptions) -> usize {
    let single = !options.recursive && options.sources.len() == 1;
    if single || options.overwrite == Overwrite::Ask {
        return 1;
    }
    match options.jobs {
        Some(jobs) => jobs.get(),
        None => thread_pool::default_thread_count(),
    }
}

/// The data that all threads of one run share.
pub(super) struct CopyRun<'a> {
    pub(super) options: &'a CopyOptions,
    /// The context for the copy of one file.
    pub(super) cx: CopyContext<'a>,
    /// The rate limiter that the threads wait for before they write.
    pace: Option<Arc<RateLimiter>>,
    /// The free space that is promised to the files of the run.
    room: Arc<RoomLedger>,
    failed: AtomicBool,
    /// The copiers that no thread is using.
    idle_copiers: Mutex<Vec<FileCopier>>,
    /// Source files with further links that were copied, and the inodes of their copies; `None` if the copy failed.
    copied: Mutex<HashMap<FileId, Option<FileId>>>,
    /// Names that operands were copied to, where there are several operands, and the inodes of the copies.
    made: Mutex<HashMap<OsString, FileId>>,
    /// The inodes and names that files in flight use.
    in_flight: Arc<InFlight>,
}

/// One entry of the walk, with its source and its destination.
pub(super) struct TreeEntry {
    source: AtPath,
    dest: AtPath,
    /// The directory that the entry is in; `None` for operands.
    level: Option<Arc<ActiveDirectory>>,
    /// The facts about the destination that are known before it is examined.
    known: DestKnowledge,
}

impl TreeEntry {
    fn operand(&self) -> bool {
        self.level.is_none()
    }

    /// Returns the error for an entry that is not copied, without any attempt.
    fn refused(&self, refusal: Refusal) -> EntryError {
        Error::refused(refusal, self.source.shown(), self.dest.shown()).into()
    }
}

/// The state of the walking thread.
pub(super) struct Walk<'a, 'p, 's> {
    run: &'a CopyRun<'a>,
    pool: &'p Pool<'s, 'a>,
    voice: OrderedOutput,
    /// The directory that all operands are copied into.
    target: Option<Arc<DirHandle>>,
    batch: Batch,
    memory: EarlierCopies,
    repeats: RepeatedOperands,
    /// The source directories from the operand down to the current position.
    ancestors: Vec<FileId>,
    /// The same directories, and which of them are open.
    open: OpenDirectories,
    /// Whether each file is copied before the next is examined.
    serial: bool,
    /// Directories of the destination that existed before, and directories of the source on the same device. They show
    /// when two paths lead to one directory.
    seen_directories: HashSet<FileId>,
    /// The rule by which names in the current operand's directory identify files.
    names: NameRule,
    /// The operand that is being copied.
    top: CurrentOperand,
}

/// The operand that is being copied, for messages that name it, and for names below it.
struct CurrentOperand {
    source: PathBuf,
    dest: Arc<AtPath>,
    /// Whether the walk met the copy as a source.
    met_itself: bool,
}

/// The remaining action for an entry.
enum NextAction {
    /// No action remains, since there was nothing to do.
    Done,
    /// No action remains, since the entry was made.
    Made,
    /// The data of a file must be copied.
    Transfer(Box<FileTransfer>),
    /// The content of a directory must be copied.
    Directory(Box<DirectoryPlan>),
}

/// A directory that is to be copied.
struct DirectoryPlan {
    from: FileStat,
    ready: DestPlan,
    /// Whether the directory was not met before, under another name.
    first: bool,
}

/// The result of copying one entry.
type EntryResult = Result<(), EntryError>;

/// The plan for the destination of an entry.
#[derive(Default)]
struct DestPlan {
    /// The file that is written to, or the directory that is merged with; `None` if it must be made.
    there: Option<FileStat>,
    /// The backup of the old file, which is made already or will be.
    backup: Option<EntryBackup>,
    /// Whether, with --atomic, the old file is not inherited from, but keeps the name until the new one is complete.
    replace_as_new: bool,
}

/// The backup of the file at an entry's destination.
struct EntryBackup {
    name: OsString,
    /// The inode that has the backup name; `None` if the commit will rename the file (--atomic).
    old: Option<FileId>,
}

impl DestPlan {
    fn backup_name(&self) -> Option<&OsStr> {
        self.backup.as_ref().map(|backup| backup.name.as_os_str())
    }

    /// Returns the backup name that the commit will give to the old file.
    fn planned_backup(&self) -> Option<&OsStr> {
        let planned = self.backup.as_ref().filter(|backup| backup.old.is_none());
        planned.map(|backup| backup.name.as_os_str())
    }
}

impl<'a, 'p, 's> Walk<'a, 'p, 's> {
    fn new(
        run: &'a CopyRun<'a>,
        pool: &'p Pool<'s, 'a>,
        voice: OrderedOutput,
        jobs: &OperandJobs,
    ) -> Self {
        let target = jobs
            .directory
            .as_ref()
            .and_then(|(fd, _)| fd.try_clone().ok());
        let target = target.map(|fd| Arc::new(DirHandle::Open(fd.into())));
        Self {
            run,
            pool,
            voice,
            target,
            batch: Batch::default(),
            memory: EarlierCopies::default(),
            repeats: RepeatedOperands::new(jobs),
            ancestors: Vec::new(),
            open: OpenDirectories::new(),
            serial: pool.threads() == 1,
            seen_directories: HashSet::new(),
            names: NameRule::Exact,
            top: CurrentOperand {
                source: PathBuf::new(),
                dest: Arc::new(AtPath::with_open_parent(Path::new("."))),
                met_itself: false,
            },
        }
    }

    fn options(&self) -> &'a CopyOptions {
        self.run.options
    }

    /// Copies one operand and everything below it.
    fn operand(&mut self, job: &OperandJob) {
        let dest = match &self.target {
            Some(folder) => {
                let below = &job.dest.as_os_str().as_bytes()[job.below..];
                AtPath::new(Arc::clone(folder), OsStr::from_bytes(below), &*job.dest)
            }
            None => AtPath::with_open_parent(&job.dest),
        };
        self.top = CurrentOperand {
            source: job.source.clone(),
            dest: Arc::new(dest.clone()),
            met_itself: false,
        };
        self.ancestors.clear();
        let parents = match self.make_parents(job) {
            Ok(parents) => parents,
            Err(failed) => return self.report_failure(&job.source, &job.dest, failed),
        };
        let dest = match &parents.folder {
            Some(folder) => {
                let name = parents::base(dest.path().as_bytes());
                dest.below(Arc::clone(folder), name)
            }
            None => dest,
        };
        let entry = TreeEntry {
            source: AtPath::with_open_parent(&job.source),
            dest,
            level: None,
            known: parents.known(job.known),
        };
        // Examining the target of a link that is not followed would change its access time.
        let follow = self.dereference(&entry) != Dereference::Never;
        let source = entry.source.stat(follow);
        let source = source
            .ok()
            .filter(|stat| self.options().recursive && is_directory(stat));
        let directory = source.is_some();
        // A copy that meets itself must have made its files in the order of one thread.
        self.serial = self.pool.threads() == 1
            || source.is_some_and(|stat| lies_within(entry.dest.folder(), file_id(&stat)));
        self.names = if self.pool.threads() == 1 {
            NameRule::Exact
        } else {
            NameRule::of_folder(entry.dest.folder())
        };
        if directory || self.repeats.is_earlier_dest(&job.dest) {
            // Two trees may be merged, and the result of the first file with a name decides about the second.
            self.wait_in_flight();
        }
        self.entry(entry);
        if directory {
            self.wait_in_flight();
        }
        self.finish_parents(parents);
        self.repeats.note_dest(&job.dest);
    }

    /// Copies one file of any type, and reports its failure.
    fn entry(&mut self, entry: TreeEntry) {
        match self.decide(&entry) {
            Ok(NextAction::Done | NextAction::Made) => {}
            Ok(NextAction::Transfer(transfer)) => self.submit_transfer(entry, *transfer),
            Ok(NextAction::Directory(descent)) => self.directory(entry, &descent),
            Err(failed) => {
                let (source, dest) = (entry.source.shown(), entry.dest.shown());
                self.report_failure(source, dest, failed);
            }
        }
    }

    fn report_failure(&mut self, source: &Path, dest: &Path, failed: EntryError) {
        self.run.fail();
        if let EntryError::Unreported(error) = failed {
            self.flushed_output().error(source, dest, &error);
        }
    }

    fn decide(&mut self, entry: &TreeEntry) -> Result<NextAction, EntryError> {
        let mut size = None;
        let next = self.next(entry, &mut size);
        if let Some(size) = size {
            match &next {
                Ok(NextAction::Done) => self.voice.count_source(SourceOutcome::Skipped(size)),
                Ok(NextAction::Made) => self.voice.count_source(SourceOutcome::Copied),
                Ok(NextAction::Transfer(_) | NextAction::Directory(_)) => {}
                Err(_) => self.voice.count_source(SourceOutcome::Failed(size)),
            }
        }
        next
    }

    /// Returns the remaining action for an entry. Sets `bytes` to the bytes that the entry counts for, if it is no
    /// directory.
    fn next(
        &mut self,
        entry: &TreeEntry,
        bytes: &mut Option<u64>,
    ) -> Result<NextAction, EntryError> {
        let (source, dest) = (&entry.source, &entry.dest);
        let follow = self.dereference(entry) != Dereference::Never;
        let from = match self.look_at_source(source, follow) {
            // A drain may have been ended when it had removed its source.
            Err(failed) if self.options().transfer.drain && source.is_missing() => {
                return match remove_leftover(dest)? {
                    true => Ok(NextAction::Done),
                    false => Err(failed),
                };
            }
            looked => looked?,
        };
        *bytes = (!is_directory(&from)).then(|| size(&from));
        if is_directory(&from) && !self.options().recursive {
            return Err(entry.refused(Refusal::Directory));
        }
        if entry.operand() && self.repeats.is_repeated(source, &from, self.options()) {
            let warning = Warning::RepeatedFile(source.shown().into());
            self.flushed_output().diagnose(warning);
            return Ok(NextAction::Done);
        }
        let name = self.wait_for_name(entry);
        let Some(ready) = self.prepare_dest(entry, &from)? else {
            return Ok(NextAction::Done);
        };
        self.check_not_through_made_link(entry, dest)?;
        let earlier = self.find_earlier_copy(entry, &from);
        self.make(entry, &from, (ready, name), earlier)
    }

    /// Returns the status of the source after all earlier files of the walk that write to it are complete.
    fn look_at_source(&mut self, source: &AtPath, follow: bool) -> Result<FileStat, EntryError> {
        let from = source.stat(follow).or_else(|_| {
            // The path of an operand may lead through a file that is still to be made.
            self.wait_in_flight();
            source.stat(follow)
        });
        let from = from.map_err(|e| source.error(Operation::Stat, e))?;
        if !self.run.in_flight.is_written(file_id(&from)) {
            return Ok(from);
        }
        self.wait_in_flight_and_writeback();
        source
            .stat(follow)
            .map_err(|e| source.error(Operation::Stat, e).into())
    }

    /// Waits while an earlier file of the walk, whose destination may not exist yet, has a name that may be the same to
    /// the file system. Returns the key of the name.
    fn wait_for_name(&mut self, entry: &TreeEntry) -> NameKey {
        let names = match &entry.level {
            Some(level) => level.names(),
            None => self.names,
        };
        let key = names.key(entry.dest.shown());
        match key {
            NameKey::Exact => {}
            NameKey::Folded(name) => {
                if self.run.in_flight.is_named(name) {
                    self.wait_in_flight_and_writeback();
                }
            }
            NameKey::Ambiguous => self.wait_in_flight(),
        }
        key
    }

    /// Returns the links that are followed for this entry: -H applies to operands only.
    fn dereference(&self, entry: &TreeEntry) -> Dereference {
        match self.options().dereference {
            Dereference::Operands if !entry.operand() => Dereference::Never,
            other => other,
        }
    }

    /// Prints errors that belong to no event, such as those of attributes that are set before the data is written.
    fn diagnose(&mut self, errors: &[Error]) {
        for error in errors {
            self.flushed_output().diagnose(error);
        }
    }

    /// Returns the output of the walk, after the place of all earlier messages is fixed.
    fn flushed_output(&mut self) -> &mut OrderedOutput {
        self.submit_batch();
        &mut self.voice
    }

    /// Prints a line of -v.
    fn verbose(&mut self, line: impl FnOnce() -> String) {
        if self.options().report.verbose {
            let line = line();
            self.flushed_output().print_verbose(&line);
        }
    }

    /// Waits until no file is in flight.
    fn wait_in_flight(&mut self) {
        self.submit_batch();
        self.pool.drain();
    }

    /// Waits until all files so far are complete, and on the disk with --fsync: those that --first names, before others
    /// begin. `level` is the directory that they are in, unless they are operands.
    fn complete_first(&mut self, level: Option<&ActiveDirectory>) {
        self.wait_in_flight_and_writeback();
        let fsync_set = &self.run.cx.fsync_set;
        if fsync_set.is_wanted() {
            if let Some(level) = level {
                level.note_names_above(fsync_set);
            }
            self.run.sync_all(&mut self.voice);
        }
    }

    /// Waits until no file is in flight, including the writeback of small files: when that fails, the file is
    /// truncated.
    fn wait_in_flight_and_writeback(&mut self) {
        self.wait_in_flight();
        self.run.wait_for_writeback(&mut self.voice);
    }
}

impl<'a> CopyRun<'a> {
    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Waits until all that was noted with --fsync is on the disk, and reports what is not.
    fn sync_all(&self, voice: &mut OrderedOutput) {
        for error in self.cx.fsync_set.finish() {
            self.fail();
            voice.diagnose(error);
        }
    }

    fn attributes(&self) -> &Attributes {
        &self.cx.attributes
    }
}

/// Returns whether a directory is another or below it. Returns true where that cannot be determined.
fn lies_within(folder: &DirHandle, above: FileId) -> bool {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let step = |dir: BorrowedFd<'_>, name| openat(dir, name, flags, Mode::empty());
    let Ok(mut at) = step(folder.as_fd(), ".") else {
        return true;
    };
    for _ in 0..MAX_TREE_DEPTH {
        let (Ok(here), Ok(next)) = (fstat(&at), step(at.as_fd(), "..")) else {
            return true;
        };
        if file_id(&here) == above {
            return true;
        }
        if fstat(&next).is_ok_and(|stat| file_id(&stat) == file_id(&here)) {
            return false;
        }
        at = next;
    }
    true
}

/// Returns the bytes of a file, as progress counts them.
pub(super) fn size(stat: &FileStat) -> u64 {
    if is_regular(stat) {
        stat.st_size.cast_unsigned()
    } else {
        0
    }
}

/// Returns the line of -v for an entry, given the backup name that the old destination has or will have.
fn copied_line(entry: &TreeEntry, backup: Option<&OsStr>) -> String {
    let backup = backup.map(|name| sibling_path(entry.dest.shown().as_os_str(), name));
    messages::copied(entry.source.shown(), entry.dest.shown(), backup.as_deref())
}

/// Returns the file mode creation mask.
fn umask() -> u32 {
    let mask = nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
    nix::sys::stat::umask(mask);
    mask.bits()
}
