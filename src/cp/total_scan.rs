//! Counts all files and bytes to copy while the copy runs, where progress is shown.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Thread};
use std::time::Instant;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::deadline::data_bytes;
use super::error::{DeadlineWarning, LimitWarning};
use super::operands::{OperandJob, OperandJobs};
use super::options::{CopyMode, CopyOptions, Dereference};
use super::tree::size;
use crate::cp::file_status::{FileId, file_id, file_type, is_regular};
use crate::report::progress::PROGRESS_DELAY;
use crate::report::{Reporter, TotalWork};
use crate::transfer::rate_limit::EACH_FILE;

/// Number of nested directories that are counted. Each holds a descriptor open; for a tree deeper than this, progress
/// is shown without a total.
const MAX_SCAN_DEPTH: usize = 128;

/// The part of the process's descriptors that the scan may hold; the copy needs the others.
const SCAN_DESCRIPTOR_DIVISOR: u64 = 8;

/// Runs `copy`. If progress is shown and the copy lasts, a thread counts the files to copy meanwhile.
pub(super) fn run_with_total_scan<R>(
    options: &CopyOptions,
    jobs: &OperandJobs,
    reporter: &Reporter,
    copy: impl FnOnce() -> R,
) -> R {
    let jobs = &*jobs.list;
    let has_deadline = options.throttle.finish_within.is_some();
    let is_wanted = has_deadline || reporter.wants_total();
    if let Some(only) = only_file(options, jobs) {
        // The size of a stream is not known before it ends.
        if is_wanted && is_regular(&only) {
            let mut total = TotalWork {
                files: 1,
                ..TotalWork::default()
            };
            if moves_data(options) {
                (total.bytes, total.data) = (size(&only), charged(&only));
            }
            reporter.set_total(total);
        } else if has_deadline {
            reporter.warn(LimitWarning::Deadline(DeadlineWarning::UnknownTotal));
        }
        return copy();
    }
    reporter.set_multiple_files();
    if !is_wanted {
        return copy();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting = Builder::new().spawn_scoped(scope, || {
            if has_deadline || wait_until_lasting(&over) {
                count_total(options, jobs, reporter, &over);
            }
        });
        // If no thread can be started, there is no total, but the copy runs.
        let _end = counting.ok().map(|counting| ScanStopper {
            over: &over,
            counting: counting.thread().clone(),
        });
        copy()
    })
}

/// Counts all files and bytes, and records them. With a deadline, what is found is known at once, and that not all can
/// be counted is a warning.
fn count_total(options: &CopyOptions, jobs: &[OperandJob], reporter: &Reporter, over: &AtomicBool) {
    let found = |found| reporter.set_found(found);
    match TotalScan::new(options, over, &found).all(jobs) {
        Some(total) => reporter.set_total(total),
        None if options.throttle.finish_within.is_some() && !over.load(Ordering::Relaxed) => {
            reporter.warn(LimitWarning::Deadline(DeadlineWarning::UnknownTotal));
        }
        None => {}
    }
}

/// Ends the count when the copy ends, even if that panics.
struct ScanStopper<'a> {
    over: &'a AtomicBool,
    counting: Thread,
}

impl Drop for ScanStopper<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.counting.unpark();
    }
}

/// Waits until the copy has lasted for `PROGRESS_DELAY`. Returns false if it ends before.
fn wait_until_lasting(over: &AtomicBool) -> bool {
    let started = Instant::now();
    while !over.load(Ordering::Acquire) {
        let Some(left) = PROGRESS_DELAY.checked_sub(started.elapsed()) else {
            return true;
        };
        std::thread::park_timeout(left);
    }
    false
}

/// Returns the status of the only source, if it is no directory.
fn only_file(options: &CopyOptions, jobs: &[OperandJob]) -> Option<FileStat> {
    let [job] = jobs else { return None };
    let flags = stat_flags(options.dereference != Dereference::Never);
    let stat = fstatat(AT_FDCWD, &job.source, flags).ok()?;
    (file_type(&stat) != SFlag::S_IFDIR).then_some(stat)
}

/// Returns whether data is copied, and not links or attributes alone.
fn moves_data(options: &CopyOptions) -> bool {
    options.copy_mode == CopyMode::Copy && !options.attributes_only
}

/// Returns the bytes that a rate limiter charges for a file.
fn charged(stat: &FileStat) -> u64 {
    if is_regular(stat) {
        data_bytes(stat).max(EACH_FILE)
    } else {
        0
    }
}

/// The state of the walk that counts.
struct TotalScan<'a> {
    options: &'a CopyOptions,
    copy_done: &'a AtomicBool,
    /// Is told what was found so far, after each directory and each operand.
    note_found: &'a dyn Fn(TotalWork),
    total: TotalWork,
    /// Files with several hard links, which are copied once.
    linked: HashSet<FileId>,
    operands: HashSet<(OsString, FileId)>,
    /// The directories above, to which a link may lead back.
    above: Vec<FileId>,
    /// The maximum depth of `above`.
    deepest: usize,
}

/// The count was given up, since the copy ended or the tree is too deep.
struct Abandoned;

impl<'a> TotalScan<'a> {
    fn new(
        options: &'a CopyOptions,
        over: &'a AtomicBool,
        note_found: &'a dyn Fn(TotalWork),
    ) -> Self {
        Self {
            options,
            copy_done: over,
            note_found,
            total: TotalWork::default(),
            linked: HashSet::new(),
            operands: HashSet::new(),
            above: Vec::new(),
            deepest: max_scan_depth(),
        }
    }

    fn all(mut self, jobs: &[OperandJob]) -> Option<TotalWork> {
        for job in jobs {
            self.operand(&job.source).ok()?;
            (self.note_found)(self.total);
        }
        Some(self.total)
    }

    fn operand(&mut self, source: &Path) -> Result<(), Abandoned> {
        let follow = self.options.dereference != Dereference::Never;
        let Ok(stat) = fstatat(AT_FDCWD, source, stat_flags(follow)) else {
            // The copy reports the error.
            return Ok(());
        };
        let name = source.file_name().unwrap_or(source.as_os_str());
        let directory = file_type(&stat) == SFlag::S_IFDIR;
        // A directory that is named twice is copied once.
        if directory && !self.operands.insert((name.to_owned(), file_id(&stat))) {
            return Ok(());
        }
        if directory {
            return self.directory(AT_FDCWD, source.as_os_str(), follow, None);
        }
        self.file(&stat);
        Ok(())
    }

    fn file(&mut self, stat: &FileStat) {
        self.total.files += 1;
        // Of several links to one file, including those that -L or -H followed, only the first is copied.
        let may_be_linked = self.options.preserve.links
            && (stat.st_nlink > 1 || self.options.dereference != Dereference::Never);
        let first = !may_be_linked || self.linked.insert(file_id(stat));
        if first && moves_data(self.options) {
            self.total.bytes += size(stat);
            self.total.data += charged(stat);
        }
    }

    /// Counts the content of a directory. The copy reports the error if the directory cannot be read.
    fn directory(
        &mut self,
        at: BorrowedFd<'_>,
        name: &OsStr,
        follow: bool,
        device: Option<libc::dev_t>,
    ) -> Result<(), Abandoned> {
        if !self.options.recursive {
            return Ok(());
        }
        if self.above.len() == self.deepest {
            return Err(Abandoned);
        }
        let mut flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        flags.set(OFlag::O_NOFOLLOW, !follow);
        let Ok(opened) = open_unread(at, name, flags) else {
            return Ok(());
        };
        let Ok(stat) = fstat(&opened) else {
            return Ok(());
        };
        let foreign = self.options.one_file_system && device.is_some_and(|d| d != stat.st_dev);
        if foreign || self.above.contains(&file_id(&stat)) {
            return Ok(());
        }
        self.above.push(file_id(&stat));
        let opened = File::from(opened);
        let below = self.entries(&opened)?;
        (self.note_found)(self.total);
        for name in below {
            let follow = self.options.dereference == Dereference::Always;
            self.directory(opened.as_fd(), &name, follow, Some(stat.st_dev))?;
        }
        self.above.pop();
        Ok(())
    }

    /// Counts the files of a directory, and returns the names of the directories in it.
    fn entries(&mut self, directory: &File) -> Result<Vec<OsString>, Abandoned> {
        let mut below = Vec::new();
        let listing = directory.try_clone().map_err(|_| Abandoned)?;
        let Ok(mut listing) = Dir::from_fd(listing.into()) else {
            return Err(Abandoned);
        };
        // An entry that an error hides from this scan is hidden from the copy, too.
        for entry in listing.iter().map_while(Result::ok) {
            if self.copy_done.load(Ordering::Relaxed) {
                return Err(Abandoned);
            }
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if self.entry(directory, name, entry.file_type()) {
                below.push(OsStr::from_bytes(name.to_bytes()).to_owned());
            }
        }
        Ok(below)
    }

    /// Counts an entry, or returns true if it is a directory.
    fn entry(&mut self, directory: &File, name: &CStr, listed: Option<Type>) -> bool {
        let follow = self.options.dereference == Dereference::Always;
        match listed {
            Some(Type::Directory) => return true,
            Some(Type::File) if moves_data(self.options) => {}
            None => {}
            Some(Type::Symlink) if follow => {}
            // For these types no status is needed.
            Some(_) => {
                self.total.files += 1;
                return false;
            }
        }
        match fstatat(directory, name, stat_flags(follow)) {
            Ok(stat) if file_type(&stat) == SFlag::S_IFDIR => return true,
            Ok(stat) => self.file(&stat),
            // The entry was removed meanwhile, or is a dangling link: the copy does not count it either.
            Err(_) => {}
        }
        false
    }
}

/// Opens a directory so that listing it does not change its access time, which the copy may preserve. Only its owner can.
fn open_unread(at: BorrowedFd<'_>, name: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
    match openat(at, name, flags | OFlag::O_NOATIME, Mode::empty()) {
        Err(Errno::EPERM) => openat(at, name, flags, Mode::empty()),
        opened => opened,
    }
}

fn max_scan_depth() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| {
        MAX_SCAN_DEPTH.min((soft / SCAN_DESCRIPTOR_DIVISOR) as usize)
    })
}

fn stat_flags(follow: bool) -> AtFlags {
    if follow {
        AtFlags::empty()
    } else {
        AtFlags::AT_SYMLINK_NOFOLLOW
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::cp::environment::Environment;
    use crate::cp::{operands, resolve};

    fn options(words: impl IntoIterator<Item = OsString>) -> Option<CopyOptions> {
        let environment = Environment::of_process();
        resolve::resolve(words, &environment).options.ok()
    }

    /// Returns the files and bytes that a copy of `source` with such options counts, or `None` where the count is given
    /// up.
    fn counted(source: &Path, change: impl FnOnce(&mut CopyOptions)) -> Option<(u64, u64)> {
        let words = ["-r", "-T"].map(OsString::from);
        let operands = [source.into(), "/nonexistent/copy".into()];
        let mut options = options(words.into_iter().chain(operands))?;
        change(&mut options);
        let jobs = operands::pair_operands(&options).ok()?;
        let over = AtomicBool::new(false);
        let total = TotalScan::new(&options, &over, &|_| ()).all(&jobs.list)?;
        Some((total.files, total.bytes))
    }

    #[test]
    fn each_file_counts_once_with_its_size() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub"))?;
        File::create(at("sub/hole"))?.set_len(1 << 40)?;
        fs::write(at("sub/one"), [0; 100])?;
        fs::hard_link(at("sub/one"), at("two"))?;
        symlink("sub/one", at("link"))?;
        symlink("nowhere", at("dangling"))?;
        symlink(".", at("sub/loop"))?;
        let hole = 1 << 40;
        let plain = counted(dir.path(), |_| {});
        assert_eq!(plain, Some((6, hole + 200)), "links as links");
        let kept = counted(dir.path(), |o| o.preserve.links = true);
        assert_eq!(kept, Some((6, hole + 100)), "two names of one file");
        let followed = counted(dir.path(), |o| o.dereference = Dereference::Always);
        assert_eq!(
            followed,
            Some((4, hole + 300)),
            "links as files, and no loop"
        );
        let linked = counted(dir.path(), |o| o.copy_mode = CopyMode::HardLink);
        assert_eq!(linked, Some((6, 0)), "no data moves");
        Ok(())
    }

    #[test]
    fn too_deep_is_not_counted() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let mut path = dir.path().to_owned();
        for _ in 1..MAX_SCAN_DEPTH {
            path.push("d");
        }
        fs::create_dir_all(&path)?;
        fs::write(path.join("file"), "12345")?;
        assert_eq!(counted(dir.path(), |_| {}), Some((1, 5)));
        fs::create_dir(path.join("d"))?;
        assert_eq!(counted(dir.path(), |_| {}), None);
        Ok(())
    }

    #[test]
    fn the_end_of_the_copy_ends_the_count() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("file"), "")?;
        let over = AtomicBool::new(true);
        assert!(!wait_until_lasting(&over));
        let words = ["-r".into(), dir.path().into(), "/nonexistent/copy".into()];
        let options = options(words).ok_or(io::ErrorKind::InvalidInput)?;
        let jobs =
            operands::pair_operands(&options).map_err(|no| io::Error::other(no.to_string()))?;
        let total = TotalScan::new(&options, &over, &|_| ()).all(&jobs.list);
        assert_eq!(total, None);
        Ok(())
    }
}
