//! The walk: which file goes where, directories before what is in them, each by its own descriptor.
//!
//! One thread walks, and decides everything in the order in which cp decides it. What takes long, the bytes and the
//! attributes of regular files, goes in batches to a pool of threads ([`batch`]); a directory is completed by whoever is
//! the last to work in it ([`level`]). What depends on a file that is still on its way waits for it.

mod batch;
mod directory;
mod existing;
mod folding;
mod level;
mod links;
mod made;
mod make;
mod names;
mod open_levels;
mod parents;
mod repeats;
mod same;

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::attrs::Attributes;
use super::backup;
use super::durable;
use super::failed::Failed;
use super::file::{Bytes, Cx};
use super::operands::{Job, Jobs, Known};
use super::options::{Dereference, Existing, Options};
use super::place::{Anchor, Folder, Identity, Place, beside, identity};
use super::pool::{self, Pool};
use crate::cp::in_flight::InFlight;
use crate::report::quote::quote;
use crate::report::{Fate, Voice};
use crate::sys::words::reason;
use crate::transfer::pace::Pacer;
use batch::{Batch, Transfer};
use folding::{NameKey, NameRule};

use level::Level;
use links::Memory;
use open_levels::OpenLevels;
use repeats::Repeats;

/// Directories below one another that are walked into: each takes stack, and a tree made to exhaust it shall be an error,
/// not a crash. A path of PATH_MAX has 2048 at the most.
const DEEPEST: usize = 4096;

/// Stack for that: a level took 5.4 KB in a debug build, and memory that is not touched costs nothing.
const STACK: usize = DEEPEST * 16 * 1024;

/// Copies each job in turn, and whatever is below it, at the pace that is given.
///
/// Returns whether all of it was copied; what was not has been said.
pub fn copy_all(
    jobs: &Jobs,
    options: &Options,
    pace: Option<Arc<Pacer>>,
    voice: &mut Voice,
) -> bool {
    match to_own_backup(jobs, options) {
        Ok(None) => copy_each(jobs, options, pace, voice),
        Ok(Some((jobs, options))) => copy_each(&jobs, &options, pace, voice),
        Err(message) => {
            voice.error_without_file(&message);
            false
        }
    }
}

/// With -f and --backup a regular file that is copied onto its own name is copied to the name of its backup, as in cp.
fn to_own_backup(jobs: &Jobs, options: &Options) -> Result<Option<(Jobs, Options)>, String> {
    let ([job], Some(backup)) = (&*jobs.list, &options.backup) else {
        return Ok(None);
    };
    if !job.to_own_backup {
        return Ok(None);
    }
    let name = backup::name(&Anchor::of(&job.dest).place(), backup).map_err(|e| {
        let (name, text) = (quote(&job.dest), reason(&e.into()));
        format!("cannot backup {name}: {text}")
    })?;
    let job = Job {
        dest: beside(job.dest.as_os_str(), &name).into(),
        source: job.source.clone(),
        ..*job
    };
    let jobs = Jobs {
        list: vec![job],
        directory: None,
    };
    let options = Options {
        backup: None,
        ..options.clone()
    };
    Ok(Some((jobs, options)))
}

fn copy_each(jobs: &Jobs, options: &Options, pace: Option<Arc<Pacer>>, voice: &mut Voice) -> bool {
    // Asked for while there is one thread: it can only be asked by setting it.
    let run = Run {
        options,
        cx: Cx::new(options, umask()),
        pace,
        failed: AtomicBool::new(false),
        idle: Mutex::default(),
        copied: Mutex::default(),
        made: Mutex::default(),
        in_flight: Arc::default(),
    };
    if options.recursive {
        deep(|| walk_all(jobs, &run, voice));
    } else {
        walk_all(jobs, &run, voice);
    }
    for (path, error) in run.cx.durable.finish() {
        run.fail();
        voice.diagnose(&durable::message(&path, &error));
    }
    !run.failed.load(Ordering::Relaxed)
}

/// Runs on a thread with the stack that a deep tree takes. A host in trouble may have no thread to give; few trees need one.
fn deep(work: impl FnOnce() + Send) {
    let mut work = Some(work);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let slot = &mut work;
        let spawned = thread.spawn_scoped(scope, move || {
            if let Some(work) = slot.take() {
                work();
            }
        });
        // A panic goes on as it would have without the thread.
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

fn walk_all(jobs: &Jobs, run: &Run<'_>, voice: &mut Voice) {
    let threads = threads(run.options);
    pool::scoped(threads, |pool| {
        let mut walk = Walk::new(run, pool, voice.split(), jobs);
        for job in &jobs.list {
            if walk.voice.interrupted() {
                run.fail();
                break;
            }
            walk.operand(job);
        }
        walk.settle();
        run.settle_bytes(&mut walk.voice);
    });
}

/// Files at once. One file needs no second thread, and who is asked answers one question at a time.
pub(super) fn threads(options: &Options) -> usize {
    let single = !options.recursive && options.sources.len() == 1;
    if single || options.existing == Existing::Ask {
        return 1;
    }
    match options.jobs {
        Some(jobs) => jobs.get(),
        None => std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS)),
    }
}

/// Threads taken without being asked for. Beyond that a directory's own lock, or the disk, is what they wait for.
const MOST_THREADS: usize = 4;

/// What all threads of one run share.
pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    /// What it takes to copy one file.
    pub(super) cx: Cx<'a>,
    /// What their bytes wait for.
    pace: Option<Arc<Pacer>>,
    failed: AtomicBool,
    /// What threads copy with, while none does.
    idle: Mutex<Vec<Bytes>>,
    /// Source files with further links that were copied, and as what; none: they were not.
    copied: Mutex<HashMap<Identity, Option<Identity>>>,
    /// Names that operands were copied to, where there are several operands, and as what.
    made: Mutex<HashMap<OsString, Identity>>,
    /// The inodes and names that files under way use.
    in_flight: Arc<InFlight>,
}

/// One entry, from where to where.
pub(super) struct Entry {
    source: Anchor,
    dest: Anchor,
    /// The directory that it is in; none for operands.
    level: Option<Arc<Level>>,
    /// What is known of the destination before it is looked at.
    known: Known,
}

impl Entry {
    fn operand(&self) -> bool {
        self.level.is_none()
    }
}

/// The state of the walking thread.
pub(super) struct Walk<'a, 'p, 's> {
    run: &'a Run<'a>,
    pool: &'p Pool<'s, 'a>,
    voice: Voice,
    /// The directory that all operands go into.
    target: Option<Arc<Folder>>,
    batch: Batch,
    memory: Memory,
    repeats: Repeats,
    /// Directories above the cursor, as sources.
    ancestors: Vec<Identity>,
    /// The same directories, and which of them are open.
    open: OpenLevels,
    /// Whether each file is copied before the next is looked at.
    serial: bool,
    /// Directories of the destination that were there before, and of the source on the same device, by which two paths
    /// that lead to one are found.
    met: HashSet<Identity>,
    /// How names in the directory of the operand under way lead to files.
    names: NameRule,
    /// The operand under way.
    top: Top,
}

/// The operand under way, for messages that name it, and for names below it.
struct Top {
    source: PathBuf,
    dest: Arc<Anchor>,
    /// Whether the copy met itself as a source.
    met_itself: bool,
}

/// What is left to do for an entry.
enum Next {
    /// Nothing: there was nothing to do.
    Done,
    /// Nothing: it was made.
    Made,
    /// The bytes of a file.
    Transfer(Box<Transfer>),
    /// All that is in a directory.
    Directory(Box<Descent>),
}

/// A directory that is to be copied.
struct Descent {
    from: FileStat,
    ready: Ready,
    /// Whether it was not met before, under another name.
    first: bool,
}

/// What became of one entry.
type Outcome = Result<(), Failed>;

/// What an entry meets at its destination.
#[derive(Default)]
struct Ready {
    /// What is written to, or merged with; none: it is to be made.
    there: Option<FileStat>,
    /// Where what was there is now, or will be.
    backup: Option<BackedUp>,
    /// With --atomic: nothing of what is there is kept, but it bears the name until the new one is complete.
    as_new: bool,
}

/// The backup of what an entry meets.
struct BackedUp {
    name: OsString,
    /// The file that has the name; none: the commit will give it that (--atomic).
    old: Option<Identity>,
}

impl Ready {
    fn backup_name(&self) -> Option<&OsStr> {
        self.backup.as_ref().map(|backup| backup.name.as_os_str())
    }

    /// The name that the commit will give to what is there.
    fn planned_backup(&self) -> Option<&OsStr> {
        let planned = self.backup.as_ref().filter(|backup| backup.old.is_none());
        planned.map(|backup| backup.name.as_os_str())
    }
}

impl<'a, 'p, 's> Walk<'a, 'p, 's> {
    fn new(run: &'a Run<'a>, pool: &'p Pool<'s, 'a>, voice: Voice, jobs: &Jobs) -> Self {
        let target = jobs
            .directory
            .as_ref()
            .and_then(|(fd, _)| fd.try_clone().ok());
        let target = target.map(|fd| Arc::new(Folder::Open(fd.into())));
        Self {
            run,
            pool,
            voice,
            target,
            batch: Batch::default(),
            memory: Memory::default(),
            repeats: Repeats::new(jobs),
            ancestors: Vec::new(),
            open: OpenLevels::new(),
            serial: pool.threads() == 1,
            met: HashSet::new(),
            names: NameRule::Exact,
            top: Top {
                source: PathBuf::new(),
                dest: Arc::new(Anchor::of(Path::new("."))),
                met_itself: false,
            },
        }
    }

    fn options(&self) -> &'a Options {
        self.run.options
    }

    /// One operand, and all that is below it.
    fn operand(&mut self, job: &Job) {
        let dest = match &self.target {
            Some(folder) => Anchor {
                folder: Arc::clone(folder),
                base: OsStr::from_bytes(&job.dest.as_os_str().as_bytes()[job.below..]).into(),
                shown: job.dest.clone(),
            },
            None => Anchor::of(&job.dest),
        };
        self.top = Top {
            source: job.source.clone(),
            dest: Arc::new(dest.clone()),
            met_itself: false,
        };
        self.ancestors.clear();
        let parents = match self.make_parents(job) {
            Ok(parents) => parents,
            Err(failed) => return self.failed(&job.source, &job.dest, failed),
        };
        let entry = Entry {
            source: Anchor::of(&job.source),
            dest: parents.place(dest),
            level: None,
            known: parents.known(job.known),
        };
        // To look through a link that is not followed would change its access time.
        let follow = self.dereference(&entry) != Dereference::Never;
        let source = entry.source.place().stat(follow);
        let source = source
            .ok()
            .filter(|stat| self.options().recursive && is_directory(stat));
        let directory = source.is_some();
        // A copy that meets itself must have made things in the order in which one thread makes them.
        self.serial = self.pool.threads() == 1
            || source.is_some_and(|stat| lies_within(&entry.dest.folder, identity(&stat)));
        self.names = if self.pool.threads() == 1 {
            NameRule::Exact
        } else {
            NameRule::of_folder(&entry.dest.folder)
        };
        if directory || self.repeats.has_made(&job.dest) {
            // Two trees may meet in one, and what became of the first file of a name decides about the second.
            self.settle();
        }
        self.entry(entry);
        if directory {
            self.settle();
        }
        self.finish_parents(parents);
        self.repeats.leads_to(&job.dest);
    }

    /// One file of whatever type, and what is to be said of it.
    fn entry(&mut self, entry: Entry) {
        match self.decide(&entry) {
            Ok(Next::Done | Next::Made) => {}
            Ok(Next::Transfer(transfer)) => self.transfer(entry, *transfer),
            Ok(Next::Directory(descent)) => self.directory(entry, &descent),
            Err(failed) => {
                let (source, dest) = (&entry.source.shown, &entry.dest.shown);
                self.failed(source, dest, failed);
            }
        }
    }

    fn failed(&mut self, source: &Path, dest: &Path, failed: Failed) {
        self.run.fail();
        if let Failed::Say(message) = failed {
            self.say().error(source, dest, &message);
        }
    }

    fn decide(&mut self, entry: &Entry) -> Result<Next, Failed> {
        let mut size = None;
        let next = self.next(entry, &mut size);
        if let Some(size) = size {
            match &next {
                Ok(Next::Done) => self.voice.passed(Fate::Skipped(size)),
                Ok(Next::Made) => self.voice.passed(Fate::Copied),
                Ok(Next::Transfer(_) | Next::Directory(_)) => {}
                Err(_) => self.voice.passed(Fate::Failed(size)),
            }
        }
        next
    }

    /// What is left to do, and how many bytes the entry counts for, if it is no directory.
    fn next(&mut self, entry: &Entry, bytes: &mut Option<u64>) -> Result<Next, Failed> {
        let (source, dest) = (entry.source.place(), entry.dest.place());
        let dereference = self.dereference(entry);
        let follow = dereference != Dereference::Never;
        let from = self.look_at_source(&source, follow)?;
        *bytes = (!is_directory(&from)).then(|| size(&from));
        if is_directory(&from) && !self.options().recursive {
            let name = quote(source.shown);
            return Err(format!("-r not specified; omitting directory {name}").into());
        }
        if entry.operand() && self.repeats.is_repeated(&source, &from, self.options()) {
            let name = quote(source.shown);
            let text = format!("warning: source file {name} specified more than once");
            self.say().diagnose(&text);
            return Ok(Next::Done);
        }
        let name = self.await_name(entry);
        let Some(ready) = self.meet(entry, &from, dereference)? else {
            return Ok(Next::Done);
        };
        self.not_through_ours(entry, &dest)?;
        let earlier = self.memory_of(entry, &from, dereference);
        self.make(entry, &from, (ready, name), dereference, earlier)
    }

    /// The source as it is when all earlier files of the walk that write to it are complete.
    fn look_at_source(&mut self, source: &Place<'_>, follow: bool) -> Result<FileStat, Failed> {
        let from = source.stat(follow).or_else(|_| {
            // The path of an operand may lead through what is being made.
            self.settle();
            source.stat(follow)
        });
        let from = from.or_else(|e| cannot("stat", source, e))?;
        if !self.run.in_flight.is_written(identity(&from)) {
            return Ok(from);
        }
        self.settle_all();
        source.stat(follow).or_else(|e| cannot("stat", source, e))
    }

    /// Waits while an earlier file of the walk, whose destination may not be there yet, has a name that may mean the same
    /// to the file system. Returns what the name is known by.
    fn await_name(&mut self, entry: &Entry) -> NameKey {
        let names = match &entry.level {
            Some(level) => level.names(),
            None => self.names,
        };
        let key = names.key(&entry.dest.shown);
        match key {
            NameKey::Exact => {}
            NameKey::Folded(name) => {
                if self.run.in_flight.is_named(name) {
                    self.settle_all();
                }
            }
            NameKey::Alone => self.settle(),
        }
        key
    }

    /// Which links are followed here: -H is for operands.
    fn dereference(&self, entry: &Entry) -> Dereference {
        match self.options().dereference {
            Dereference::Operands if !entry.operand() => Dereference::Never,
            other => other,
        }
    }

    /// The voice of the walk, when all that was to be said before has its place.
    fn say(&mut self) -> &mut Voice {
        self.flush();
        &mut self.voice
    }

    /// A line of -v.
    fn verbose(&mut self, line: impl FnOnce() -> String) {
        if self.options().report.verbose {
            let line = line();
            self.say().verbose(&line);
        }
    }

    /// Waits until nothing is on its way.
    fn settle(&mut self) {
        self.flush();
        self.pool.drain();
    }

    /// Waits until nothing is on its way, the writeback of small files included: when that fails, the file is cut off.
    fn settle_all(&mut self) {
        self.settle();
        self.run.settle_bytes(&mut self.voice);
    }
}

impl<'a> Run<'a> {
    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    fn attributes(&self) -> &Attributes {
        &self.cx.attributes
    }
}

/// Whether a directory is another or below it. Where that cannot be told, it may be.
fn lies_within(folder: &Folder, above: Identity) -> bool {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let step = |dir: BorrowedFd<'_>, name| openat(dir, name, flags, Mode::empty());
    let Ok(mut at) = step(folder.as_fd(), ".") else {
        return true;
    };
    for _ in 0..DEEPEST {
        let (Ok(here), Ok(next)) = (fstat(&at), step(at.as_fd(), "..")) else {
            return true;
        };
        if identity(&here) == above {
            return true;
        }
        if fstat(&next).is_ok_and(|stat| identity(&stat) == identity(&here)) {
            return false;
        }
        at = next;
    }
    true
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn is_directory(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFDIR
}

fn is_link(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFLNK
}

fn is_regular(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFREG
}

/// The bytes of a file, as progress counts them.
pub(super) fn size(stat: &FileStat) -> u64 {
    if is_regular(stat) {
        stat.st_size.cast_unsigned()
    } else {
        0
    }
}

/// "cannot stat 'x': No such file or directory".
fn cannot<T>(what: &str, place: &Place<'_>, e: Errno) -> Result<T, Failed> {
    let (name, text) = (quote(place.shown), reason(&e.into()));
    Err(format!("cannot {what} {name}: {text}").into())
}

/// "'a' -> 'b'", and where the old one went.
fn arrow(entry: &Entry, backup: Option<&OsStr>) -> String {
    let (source, dest) = (quote(&entry.source.shown), quote(&entry.dest.shown));
    match backup {
        Some(name) => {
            let backup = quote(beside(entry.dest.shown.as_os_str(), name));
            format!("{source} -> {dest} (backup: {backup})")
        }
        None => format!("{source} -> {dest}"),
    }
}

/// The file mode creation mask.
fn umask() -> u32 {
    let mask = nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
    nix::sys::stat::umask(mask);
    mask.bits()
}
