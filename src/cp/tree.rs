//! The walk: which file goes where, directories before what is in them, each by its own descriptor.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, mkdirat, mknodat};
use nix::unistd::symlinkat;

use super::attrs;
use super::dest::{Place, is_regular};
use super::file;
use super::operands::{Job, join};
use super::options::Options;
use crate::report::Reporter;
use crate::report::quote::{quote, reason};

/// A file by what does not change when it is renamed.
type Identity = (u64, u64);

pub(super) fn identity(stat: &FileStat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// Copies each job in turn, and whatever is below it.
///
/// Returns whether all of it was copied; what was not has been said.
pub fn copy_all(jobs: &[Job], options: &Options, reporter: &mut Reporter) -> bool {
    let mut walk = Walk {
        options,
        reporter,
        umask: attrs::umask(),
        made: HashMap::new(),
        operands: HashMap::new(),
        remember: jobs.len() > 1,
        top: None,
    };
    let mut ok = true;
    for job in jobs {
        if walk.reporter.interrupted() {
            return false;
        }
        let shown = job.dest.clone();
        walk.top = None;
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
        ok &= walk.entry(&source, &dest, true, job).is_some();
    }
    ok
}

/// The state of one run of the program.
pub(super) struct Walk<'a> {
    pub(super) options: &'a Options,
    pub(super) reporter: &'a mut Reporter,
    pub(super) umask: u32,
    /// Files that this run made, so that a second source of the same name does not overwrite the first.
    made: HashMap<Identity, ()>,
    /// Operands already copied.
    operands: HashMap<(std::path::PathBuf, Identity), ()>,
    remember: bool,
    /// The first directory made for this operand: met as a source, it is the copy itself.
    top: Option<Identity>,
}

/// Done, or failed with the message said.
pub(super) type Outcome = Option<()>;

impl Walk<'_> {
    pub(super) fn fail(&mut self, message: &str) -> Outcome {
        self.reporter.diagnose(message);
        None
    }

    fn fail_all(&mut self, messages: &[String]) -> Outcome {
        for message in messages {
            self.reporter.diagnose(message);
        }
        messages.is_empty().then_some(())
    }

    /// One file of whatever type.
    fn entry(&mut self, source: &Place<'_>, dest: &Place<'_>, operand: bool, job: &Job) -> Outcome {
        let from = match source.stat(!self.options.recursive) {
            Ok(stat) => stat,
            Err(e) => return self.cannot("stat", source.shown, e),
        };
        let directory = kind(&from) == SFlag::S_IFDIR;
        if directory && !self.options.recursive {
            let text = format!(
                "-r not specified; omitting directory {}",
                quote(source.shown)
            );
            return self.fail(&text);
        }
        if operand && self.repeated(source.shown, &from, directory) {
            return Some(());
        }
        // The link itself is looked at where it would be replaced rather than written through.
        let plain = is_regular(&from) || !(self.options.recursive || directory);
        let existing = match dest.stat(plain) {
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT) => None,
            // With -f cp replaces a loop of links as it would a file that cannot be opened.
            Err(Errno::ELOOP) if self.options.force => dest.stat(false).ok(),
            Err(e) => return self.cannot("stat", dest.shown, e),
        };
        let exists = match existing {
            Some(there) => match self.may_replace(source, dest, &from, &there) {
                Verdict::Write => true,
                Verdict::New => false,
                Verdict::Skip => return Some(()),
                Verdict::Refuse(message) => return self.fail(&message),
            },
            None => false,
        };
        if directory {
            return self.directory(source, dest, &from, exists, job);
        }
        self.reporter
            .verbose(&format!("{} -> {}", quote(source.shown), quote(dest.shown)));
        match kind(&from) {
            SFlag::S_IFREG => file::copy(self, source, dest, &from, exists),
            SFlag::S_IFLNK => self.link(source, dest, &from),
            _ if !self.options.recursive => file::copy(self, source, dest, &from, exists),
            _ => self.special(dest, &from),
        }?;
        self.note_made(dest);
        Some(())
    }

    fn cannot(&mut self, what: &str, shown: &Path, e: Errno) -> Outcome {
        self.fail(&format!(
            "cannot {what} {}: {}",
            quote(shown),
            reason(&e.into())
        ))
    }

    fn note_made(&mut self, dest: &Place<'_>) {
        if self.remember
            && let Ok(stat) = dest.stat(false)
        {
            self.made.insert(identity(&stat), ());
        }
    }

    /// Whether this operand was named before, which cp warns of and passes over.
    fn repeated(&mut self, shown: &Path, from: &FileStat, directory: bool) -> bool {
        let key = (shown.to_owned(), identity(from));
        if !self.remember || self.operands.insert(key, ()).is_none() {
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
        let keep = self.options.no_clobber;
        if !keep && !from_dir && self.same(source, dest, from, there) {
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
        if self.made.contains_key(&identity(there)) {
            return Verdict::Refuse(format!(
                "will not overwrite just-created {} with {}",
                quote(dest.shown),
                quote(source.shown)
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

    fn directory(
        &mut self,
        source: &Place<'_>,
        dest: &Place<'_>,
        from: &FileStat,
        exists: bool,
        job: &Job,
    ) -> Outcome {
        if self.top == Some(identity(from)) {
            return self.fail(&format!(
                "cannot copy a directory, {}, into itself, {}",
                quote(&job.source),
                quote(&job.dest)
            ));
        }
        let made = if exists {
            None
        } else {
            Some(self.make_directory(source, dest, from)?)
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        // An operand may end in a slash or be a link that a component leads through; only what the walk finds itself is
        // held to be no link.
        let target = match dest.open(flags, 0) {
            Ok(file) => file,
            Err(e) => {
                return self.fail(&format!(
                    "cannot access {}: {}",
                    quote(dest.shown),
                    reason(&e)
                ));
            }
        };
        if made.is_some() && self.top.is_none() {
            self.top = nix::sys::stat::fstat(&target)
                .ok()
                .map(|stat| identity(&stat));
        }
        let (listing, mut ok) = match source.open(flags, 0) {
            Ok(file) => (Some(file), true),
            Err(e) => {
                self.fail(&format!(
                    "cannot access {}: {}",
                    quote(source.shown),
                    reason(&e)
                ));
                (None, false)
            }
        };
        if let Some(listing) = &listing {
            ok = self
                .children(
                    listing.as_fd(),
                    target.as_fd(),
                    source.shown,
                    dest.shown,
                    job,
                )
                .is_some();
        }
        let finished = self.finish_directory(listing.as_ref(), from, &target, made, dest.shown);
        if ok { finished } else { None }
    }

    /// Makes a directory that only its owner can use until it is complete; returns the mode it shall end with.
    fn make_directory(
        &mut self,
        source: &Place<'_>,
        dest: &Place<'_>,
        from: &FileStat,
    ) -> Option<u32> {
        let wanted = from.st_mode & 0o7777;
        // Others may not write into it while it is being filled, nor enter it before its owner is right.
        let withheld = if self.options.preserve { 0o077 } else { 0o022 };
        let mode = Mode::from_bits_truncate(wanted & !withheld | 0o700);
        if let Err(e) = mkdirat(dest.dir, dest.base, mode) {
            self.cannot("create directory", dest.shown, e);
            return None;
        }
        self.reporter
            .verbose(&format!("{} -> {}", quote(source.shown), quote(dest.shown)));
        Some(wanted & !self.umask)
    }

    fn finish_directory(
        &mut self,
        source: Option<&std::fs::File>,
        from: &FileStat,
        target: &std::fs::File,
        made: Option<u32>,
        shown: &Path,
    ) -> Outcome {
        match (self.options.preserve, source, made) {
            (true, Some(source), _) => {
                let failed = attrs::preserve(source, from, target, shown);
                self.fail_all(&failed)
            }
            (_, _, Some(mode)) => match attrs::set_mode(target, mode, shown) {
                Ok(()) => Some(()),
                Err(message) => self.fail(&message),
            },
            _ => Some(()),
        }
    }

    fn children(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        source: &Path,
        dest: &Path,
        job: &Job,
    ) -> Outcome {
        let unreadable =
            |e: Errno| format!("cannot access {}: {}", quote(source), reason(&e.into()));
        let again = match from.try_clone_to_owned() {
            Ok(fd) => fd,
            Err(e) => {
                return self.fail(&format!("cannot access {}: {}", quote(source), reason(&e)));
            }
        };
        let mut listing = match Dir::from_fd(again) {
            Ok(dir) => dir,
            Err(e) => return self.fail(&unreadable(e)),
        };
        let mut ok = true;
        for entry in listing.iter() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    let text = format!(
                        "error reading directory {}: {}",
                        quote(source),
                        reason(&e.into())
                    );
                    return self.fail(&text);
                }
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if self.reporter.interrupted() {
                return None;
            }
            let name = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
            let (shown_from, shown_to) = (join(source, name), join(dest, name));
            let child = Place {
                dir: from,
                base: name,
                shown: &shown_from,
            };
            let copy = Place {
                dir: to,
                base: name,
                shown: &shown_to,
            };
            ok &= self.entry(&child, &copy, false, job).is_some();
        }
        ok.then_some(())
    }

    fn link(&mut self, source: &Place<'_>, dest: &Place<'_>, from: &FileStat) -> Outcome {
        let target = match readlinkat(source.dir, source.base) {
            Ok(target) => target,
            Err(e) => return self.cannot("read symbolic link", source.shown, e),
        };
        if let Err(e) = symlinkat(target.as_os_str(), dest.dir, dest.base) {
            return self.cannot("create symbolic link", dest.shown, e);
        }
        if !self.options.preserve {
            return Some(());
        }
        let failed = attrs::preserve_at(from, dest.dir, dest.base, dest.shown, true);
        self.fail_all(&failed)
    }

    /// A FIFO, a socket or a device, made anew as it is with -r.
    fn special(&mut self, dest: &Place<'_>, from: &FileStat) -> Outcome {
        let bits = from.st_mode & 0o7777 & if self.options.preserve { !0o077 } else { !0 };
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
            return self.cannot(what, dest.shown, e);
        }
        if !self.options.preserve {
            return Some(());
        }
        let failed = attrs::preserve_at(from, dest.dir, dest.base, dest.shown, false);
        self.fail_all(&failed)
    }

    /// Sets what -p asks of a regular file, or the mode it was kept from having while it was written.
    pub(super) fn finish_file(
        &mut self,
        source: &std::fs::File,
        from: &FileStat,
        dest: &std::fs::File,
        shown: &Path,
    ) -> Outcome {
        if !self.options.preserve {
            return Some(());
        }
        let failed = attrs::preserve(source, from, dest, shown);
        self.fail_all(&failed)
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
