//! Counts what there is to copy, beside the copy, where progress is shown: files and bytes in all.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Thread};
use std::time::Instant;

use nix::dir::{Dir, Type};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::operands::{OperandJob, OperandJobs};
use super::options::{CopyMode, CopyOptions, Dereference};
use super::tree::size;
use crate::cp::file_status::{FileId, file_id, file_type, is_regular};
use crate::report::progress::PROGRESS_DELAY;
use crate::report::{Reporter, TotalWork};

/// Directories below one another that are counted. Each holds a descriptor open; in a tree that is deeper than this,
/// progress has no end that is known.
const MAX_SCAN_DEPTH: usize = 128;

/// And no more than this part of the descriptors that the process may have: the copy wants the others.
const SCAN_DESCRIPTOR_DIVISOR: u64 = 8;

/// Runs `copy`, and beside it, once it lasts and somebody looks, a thread that counts what there is to copy.
pub(super) fn run_with_total_scan<R>(
    options: &CopyOptions,
    jobs: &OperandJobs,
    reporter: &Reporter,
    copy: impl FnOnce() -> R,
) -> R {
    let jobs = &*jobs.list;
    if let Some(only) = only_file(options, jobs) {
        // A stream ends when it ends.
        if reporter.shows_progress() && is_regular(&only) {
            let bytes = if moves_data(options) { size(&only) } else { 0 };
            reporter.set_total(TotalWork { files: 1, bytes });
        }
        return copy();
    }
    reporter.set_multiple_files();
    if !reporter.shows_progress() {
        return copy();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting = Builder::new().spawn_scoped(scope, || {
            if wait_until_lasting(&over)
                && let Some(total) = TotalScan::new(options, &over).all(jobs)
            {
                reporter.set_total(total);
            }
        });
        // Without a thread to be had, there is no total; that ends no copy.
        let _end = counting.ok().map(|counting| ScanStopper {
            over: &over,
            counting: counting.thread().clone(),
        });
        copy()
    })
}

/// Ends the counting with the copy, also when that panics.
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

/// Waits until a copy is one that lasts; false if it ends before.
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

/// The only source, if it is no directory.
fn only_file(options: &CopyOptions, jobs: &[OperandJob]) -> Option<FileStat> {
    let [job] = jobs else { return None };
    let flags = stat_flags(options.dereference != Dereference::Never);
    let stat = fstatat(AT_FDCWD, &job.source, flags).ok()?;
    (file_type(&stat) != SFlag::S_IFDIR).then_some(stat)
}

/// Whether bytes are copied, and not links or attributes alone.
fn moves_data(options: &CopyOptions) -> bool {
    options.copy_mode == CopyMode::Copy && !options.attributes_only
}

/// The walk.
struct TotalScan<'a> {
    options: &'a CopyOptions,
    copy_done: &'a AtomicBool,
    total: TotalWork,
    /// Files of several names that are copied once.
    linked: HashSet<FileId>,
    operands: HashSet<(OsString, FileId)>,
    /// The directories above, that a link may lead back to.
    above: Vec<FileId>,
    /// How many those may be.
    deepest: usize,
}

/// There is nothing to count any more, or no end of it.
struct Abandoned;

impl<'a> TotalScan<'a> {
    fn new(options: &'a CopyOptions, over: &'a AtomicBool) -> Self {
        Self {
            options,
            copy_done: over,
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
        }
        Some(self.total)
    }

    fn operand(&mut self, source: &Path) -> Result<(), Abandoned> {
        let follow = self.options.dereference != Dereference::Never;
        let Ok(stat) = fstatat(AT_FDCWD, source, stat_flags(follow)) else {
            // The copy will say why.
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
        // Of links to one file, those that -L or -H followed as well, the first is copied.
        let may_be_linked = self.options.preserve.links
            && (stat.st_nlink > 1 || self.options.dereference != Dereference::Never);
        let first = !may_be_linked || self.linked.insert(file_id(stat));
        if first && moves_data(self.options) {
            self.total.bytes += size(stat);
        }
    }

    /// What is in a directory, of which the copy will say it if it cannot be read.
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
        let Ok(opened) = openat(at, name, flags, Mode::empty()) else {
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
        for name in self.entries(&opened)? {
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
        // What an error keeps from us it keeps from the copy, too.
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

    /// Counts an entry, or says that it is a directory.
    fn entry(&mut self, directory: &File, name: &CStr, listed: Option<Type>) -> bool {
        let follow = self.options.dereference == Dereference::Always;
        match listed {
            Some(Type::Directory) => return true,
            Some(Type::File) if moves_data(self.options) => {}
            None => {}
            Some(Type::Symlink) if follow => {}
            // Of these the name is enough.
            Some(_) => {
                self.total.files += 1;
                return false;
            }
        }
        match fstatat(directory, name, stat_flags(follow)) {
            Ok(stat) if file_type(&stat) == SFlag::S_IFDIR => return true,
            Ok(stat) => self.file(&stat),
            // Gone meanwhile, or a link to nothing: no file for the copy either.
            Err(_) => {}
        }
        false
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

    /// What a copy of `source` with such options counts; `None` where it gives up.
    fn counted(source: &Path, change: impl FnOnce(&mut CopyOptions)) -> Option<(u64, u64)> {
        let words = ["-r", "-T"].map(OsString::from);
        let operands = [source.into(), "/nonexistent/copy".into()];
        let mut options = options(words.into_iter().chain(operands))?;
        change(&mut options);
        let jobs = operands::pair_operands(&options).ok()?;
        let total = TotalScan::new(&options, &AtomicBool::new(false)).all(&jobs.list)?;
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
        assert_eq!(TotalScan::new(&options, &over).all(&jobs.list), None);
        Ok(())
    }
}
