//! The walk: which file goes where, directories before what is in them, each by its own descriptor.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, mknodat, stat};
use nix::unistd::symlinkat;

use super::attrs;
use super::dest::is_regular;
use super::file;
use super::operands::Job;
use super::options::Options;
use super::place::Place;
use crate::report::Reporter;
use crate::report::quote::quote;
use crate::sys::words::reason;
use crate::transfer::Worker;

/// Directories below one another that are walked into: each takes stack, and a tree made to exhaust it shall be an error,
/// not a crash. A path of PATH_MAX has 2048 at the most.
pub(super) const DEEPEST: usize = 4096;

/// Stack for that: a level took 5.4 KB in a debug build, and memory that is not touched costs nothing.
const STACK: usize = DEEPEST * 16 * 1024;

/// A file by what does not change when it is renamed.
type Identity = (u64, u64);

pub(super) fn identity(stat: &FileStat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// Copies each job in turn, and whatever is below it.
///
/// Returns whether all of it was copied; what was not has been said.
pub fn copy_all(jobs: &[Job], options: &Options, reporter: &mut Reporter) -> bool {
    // Asked for while there is one thread: it can only be asked by setting it.
    let umask = umask();
    if !options.recursive {
        return copy_each(jobs, options, reporter, umask);
    }
    let deep = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let walk = || copy_each(jobs, options, reporter, umask);
        let walking = thread.spawn_scoped(scope, walk).ok()?;
        // A panic goes on as it would have without the thread.
        Some(
            walking
                .join()
                .unwrap_or_else(|e| std::panic::resume_unwind(e)),
        )
    });
    // A host in trouble may have no thread to give; few trees need one.
    deep.unwrap_or_else(|| copy_each(jobs, options, reporter, umask))
}

fn copy_each(jobs: &[Job], options: &Options, reporter: &mut Reporter, umask: u32) -> bool {
    let mut walk = Walk {
        options,
        reporter,
        umask,
        made: HashSet::new(),
        operands: HashSet::new(),
        remember: jobs.len() > 1,
        made_directories: Vec::new(),
        met_itself: false,
        depth: 0,
        worker: Worker::default(),
    };
    let mut ok = true;
    for job in jobs {
        if walk.reporter.interrupted() {
            ok = false;
            break;
        }
        let shown = job.dest.clone();
        walk.made_directories.clear();
        walk.met_itself = false;
        let source = Place {
            dir: AT_FDCWD,
            base: job.source.as_os_str(),
            shown: &job.source,
        };
        let dest = Place {
            dir: AT_FDCWD,
            base: shown.as_os_str(),
            shown: &shown,
        };
        ok &= walk.entry(&source, &dest, true, job);
    }
    let late = walk.worker.settle();
    ok & file::tell_late(walk.reporter, late)
}

/// The state of one run of the program.
pub(super) struct Walk<'a> {
    pub(super) options: &'a Options,
    pub(super) reporter: &'a mut Reporter,
    pub(super) umask: u32,
    /// Files that this run made, so that a second source of the same name does not overwrite the first.
    pub(super) made: HashSet<Identity>,
    /// Operands already copied.
    pub(super) operands: HashSet<(OsString, Option<Identity>, Identity)>,
    pub(super) remember: bool,
    /// The first directory made for this operand, and those that lie above the cursor: met as a source, they are the copy
    /// itself.
    pub(super) made_directories: Vec<Identity>,
    /// Whether that happened.
    pub(super) met_itself: bool,
    /// Directories above the cursor.
    pub(super) depth: usize,
    /// Copies the bytes. What it says late is told at the end.
    pub(super) worker: Worker<(PathBuf, PathBuf)>,
}

/// What became of one entry.
pub(super) type Outcome = Result<(), Failed>;

/// Why an entry was not copied.
#[derive(Debug)]
pub(super) enum Failed {
    /// This is to be said of it.
    Say(String),
    /// It has been said, by what is below it or by the transfer.
    Said,
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self::Say(message)
    }
}

impl Walk<'_> {
    /// One file of whatever type, and what is to be said of it. Returns whether it was copied.
    pub(super) fn entry(
        &mut self,
        source: &Place<'_>,
        dest: &Place<'_>,
        operand: bool,
        job: &Job,
    ) -> bool {
        match self.copy(source, dest, operand, job) {
            Ok(()) => true,
            Err(Failed::Said) => false,
            Err(Failed::Say(message)) => {
                self.reporter.error(source.shown, dest.shown, &message);
                false
            }
        }
    }

    fn copy(&mut self, source: &Place<'_>, dest: &Place<'_>, operand: bool, job: &Job) -> Outcome {
        let from = match source.stat(!self.options.recursive) {
            Ok(stat) => stat,
            Err(e) => return cannot("stat", source.shown, e),
        };
        let directory = kind(&from) == SFlag::S_IFDIR;
        if directory && !self.options.recursive {
            let text = format!(
                "-r not specified; omitting directory {}",
                quote(source.shown)
            );
            return Err(text.into());
        }
        if operand && self.repeated(source.shown, &from, directory) {
            return Ok(());
        }
        // The link itself is looked at where it would be replaced rather than written through.
        let plain = is_regular(&from) || !(self.options.recursive || directory);
        let existing = match dest.stat(plain) {
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT) => None,
            // With -f cp replaces a loop of links as it would a file that cannot be opened.
            Err(Errno::ELOOP) if self.options.force => dest.stat(false).ok(),
            Err(e) => return cannot("stat", dest.shown, e),
        };
        let there = match existing {
            Some(there) => match self.may_replace(source, dest, &from, &there) {
                Verdict::Write => Some(there),
                Verdict::New => None,
                Verdict::Skip => return Ok(()),
                Verdict::Refuse(message) => return Err(message.into()),
            },
            None => None,
        };
        if directory {
            return self.directory(source, dest, &from, there.is_some(), job);
        }
        self.reporter
            .verbose(&format!("{} -> {}", quote(source.shown), quote(dest.shown)));
        match kind(&from) {
            SFlag::S_IFREG => file::copy(self, source, dest, &from, there.as_ref()),
            SFlag::S_IFLNK => self.link(source, dest, &from),
            _ if !self.options.recursive => file::copy(self, source, dest, &from, there.as_ref()),
            _ => self.special(dest, &from),
        }?;
        self.note_made(dest);
        Ok(())
    }

    fn note_made(&mut self, dest: &Place<'_>) {
        if self.remember
            && let Ok(stat) = dest.stat(false)
        {
            self.made.insert(identity(&stat));
        }
    }

    /// Whether this operand was named before, which cp warns of and passes over.
    fn repeated(&mut self, shown: &Path, from: &FileStat, directory: bool) -> bool {
        // Two paths are one name when they end alike and lead to one directory.
        let parent = shown.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = stat(parent.unwrap_or(Path::new("."))).ok();
        let name = shown.file_name().unwrap_or(shown.as_os_str());
        let key = (
            name.to_owned(),
            parent.as_ref().map(identity),
            identity(from),
        );
        if !self.remember || self.operands.insert(key) {
            return false;
        }
        let what = if directory { "directory" } else { "file" };
        let text = format!(
            "warning: source {what} {} specified more than once",
            quote(shown)
        );
        self.reporter.diagnose(&text);
        true
    }

    /// What is to become of a destination that is there already.
    fn may_replace(
        &mut self,
        source: &Place<'_>,
        dest: &Place<'_>,
        from: &FileStat,
        there: &FileStat,
    ) -> Verdict {
        let (from_dir, there_dir) = (kind(from) == SFlag::S_IFDIR, kind(there) == SFlag::S_IFDIR);
        let keep = self.options.existing == super::options::Existing::Skip;
        if !keep && self.same(source, dest, from, there) {
            return Verdict::Refuse(format!(
                "{} and {} are the same file",
                quote(source.shown),
                quote(dest.shown)
            ));
        }
        if !from_dir && keep {
            return Verdict::Skip;
        }
        match (from_dir, there_dir) {
            (true, true) => return Verdict::Write,
            (true, false) => {
                return Verdict::Refuse(format!(
                    "cannot overwrite non-directory {} with directory {}",
                    quote(dest.shown),
                    quote(source.shown)
                ));
            }
            (false, true) => {
                return Verdict::Refuse(format!(
                    "cannot overwrite directory {} with non-directory",
                    quote(dest.shown)
                ));
            }
            (false, false) => {}
        }
        if self.made.contains(&identity(there)) {
            return Verdict::Refuse(format!(
                "will not overwrite just-created {} with {}",
                quote(dest.shown),
                quote(source.shown)
            ));
        }
        // Written through, a link of ours would lead out of what is being made.
        let through = dest.stat(false).is_ok_and(|link| {
            kind(&link) == SFlag::S_IFLNK && self.made.contains(&identity(&link))
        });
        if through && is_regular(from) {
            return Verdict::Refuse(format!(
                "will not copy {} through just-created symlink {}",
                quote(source.shown),
                quote(dest.shown)
            ));
        }
        if self.options.recursive && !is_regular(from) {
            return match dest.unlink() {
                Ok(()) => {
                    self.reporter
                        .verbose(&format!("removed {}", quote(dest.shown)));
                    Verdict::New
                }
                Err(message) => Verdict::Refuse(message),
            };
        }
        Verdict::Write
    }

    /// Whether writing the destination would be writing the source. Of two names of one symbolic link that is copied as
    /// a link, each may go; a link is the same as itself only.
    fn same(
        &self,
        source: &Place<'_>,
        dest: &Place<'_>,
        from: &FileStat,
        there: &FileStat,
    ) -> bool {
        if identity(from) == identity(there) {
            return true;
        }
        // A link copied over what it points to would be a link to nothing.
        kind(from) == SFlag::S_IFLNK
            && kind(there) != SFlag::S_IFLNK
            && source
                .stat(true)
                .is_ok_and(|target| identity(&target) == identity(there))
            && dest
                .stat(false)
                .is_ok_and(|stat| kind(&stat) != SFlag::S_IFLNK)
    }

    fn link(&mut self, source: &Place<'_>, dest: &Place<'_>, from: &FileStat) -> Outcome {
        let target = match readlinkat(source.dir, source.base) {
            Ok(target) => target,
            Err(e) => return cannot("read symbolic link", source.shown, e),
        };
        if let Err(e) = symlinkat(target.as_os_str(), dest.dir, dest.base) {
            return cannot("create symbolic link", dest.shown, e);
        }
        if self.options.preserve.mode {
            attrs::preserve_at(from, dest, true)?;
        }
        Ok(())
    }

    /// A FIFO, a socket or a device, made anew as it is with -r.
    fn special(&mut self, dest: &Place<'_>, from: &FileStat) -> Outcome {
        let bits = from.st_mode
            & 0o7777
            & if self.options.preserve.mode {
                !0o077
            } else {
                !0
            };
        let made = mknodat(
            dest.dir,
            dest.base,
            kind(from),
            Mode::from_bits_truncate(bits),
            from.st_rdev,
        );
        if let Err(e) = made {
            let what = if kind(from) == SFlag::S_IFIFO {
                "create fifo"
            } else {
                "create special file"
            };
            return cannot(what, dest.shown, e);
        }
        if self.options.preserve.mode {
            attrs::preserve_at(from, dest, false)?;
        }
        Ok(())
    }
}

enum Verdict {
    /// Into what is there.
    Write,
    /// It was removed.
    New,
    /// It is to be left alone, and that is no error.
    Skip,
    /// With this message.
    Refuse(String),
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

pub(super) fn cannot(what: &str, shown: &Path, e: Errno) -> Outcome {
    let text = reason(&e.into());
    Err(Failed::Say(format!(
        "cannot {what} {}: {text}",
        quote(shown)
    )))
}

/// The file mode creation mask.
fn umask() -> u32 {
    let mask = nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
    nix::sys::stat::umask(mask);
    mask.bits()
}
