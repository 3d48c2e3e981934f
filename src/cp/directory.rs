//! Directories: made so that nobody else can use them before they are complete, filled, then given their permissions.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmodat, fstat, mkdirat};

use super::attrs;
use super::operands::{Job, join};
use super::place::Place;
use super::tree::{DEEPEST, Failed, Outcome, Walk, cannot, identity};
use crate::report::Fate;
use crate::report::quote::quote;
use crate::sys::words::reason;

impl Walk<'_> {
    pub(super) fn directory(
        &mut self,
        source: &Place<'_>,
        dest: &Place<'_>,
        from: &FileStat,
        exists: bool,
        job: &Job,
    ) -> Outcome {
        if self.made_directories.contains(&identity(from)) {
            self.met_itself = true;
            let text = format!(
                "cannot copy a directory, {}, into itself, {}",
                quote(&job.source),
                quote(&job.dest)
            );
            return Err(text.into());
        }
        if !exists {
            self.make_directory(source, dest, from)?;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let target = dest
            .open(flags, 0)
            .map_err(|e| cannot_access(dest.shown, &e))?;
        let now = fstat(&target).map_err(|e| cannot_access(dest.shown, &e.into()))?;
        if !exists {
            self.made_directories.push(identity(&now));
        }
        let opened = source.open(flags, 0);
        self.depth += 1;
        let copied = match &opened {
            Ok(_) if self.depth > DEEPEST => Err(cannot_access(source.shown, &Errno::ELOOP.into())),
            Ok(listing) => self.children(listing, &target, source.shown, dest.shown, job),
            Err(e) => Err(cannot_access(source.shown, e)),
        };
        self.depth -= 1;
        if self.made_directories.len() > 1 && !exists {
            self.made_directories.pop();
        }
        let made = (!exists).then_some(now.st_mode);
        let finished = self.finish_directory(opened.ok().as_ref(), from, &target, made, dest.shown);
        copied.and(finished)
    }

    /// Makes a directory that only its owner can use until it is complete.
    fn make_directory(&mut self, source: &Place<'_>, dest: &Place<'_>, from: &FileStat) -> Outcome {
        let mode = from.st_mode & 0o7777 & !self.withheld() | 0o700;
        if let Err(e) = mkdirat(dest.dir, dest.base, Mode::from_bits_truncate(mode)) {
            return cannot("create directory", dest.shown, e);
        }
        if self.umask & 0o700 != 0 {
            // A mask that keeps even its owner out would keep us out.
            let mode = Mode::from_bits_truncate(mode & 0o1777 & !self.umask | 0o700);
            let flag = FchmodatFlags::NoFollowSymlink;
            if let Err(e) = fchmodat(dest.dir, dest.base, mode, flag) {
                return cannot("access", dest.shown, e);
            }
        }
        self.voice
            .verbose(&format!("{} -> {}", quote(source.shown), quote(dest.shown)));
        self.voice.passed(Fate::Directory);
        Ok(())
    }

    /// Permissions that a directory gets only when it is complete: others may not write into it while it is being
    /// filled, nor enter it before its owner is right.
    fn withheld(&self) -> u32 {
        if self.options.preserve.mode {
            0o077
        } else {
            0o022
        }
    }

    /// What -p asks of a directory; else, for one that was made with mode `made`, the permissions of its source. Set-id
    /// bits are what mkdir gave it: its parent's, not its source's.
    fn finish_directory(
        &mut self,
        source: Option<&File>,
        from: &FileStat,
        target: &File,
        made: Option<u32>,
        shown: &Path,
    ) -> Outcome {
        if self.options.preserve.mode
            && let Some(source) = source
        {
            return Ok(attrs::preserve(source, from, target, shown)?);
        }
        let Some(made) = made else {
            return Ok(());
        };
        let mode = made & 0o7000 | from.st_mode & 0o777 & !self.umask;
        Ok(attrs::set_mode(target, mode, shown)?)
    }

    fn children(
        &mut self,
        from: &File,
        to: &File,
        source: &Path,
        dest: &Path,
        job: &Job,
    ) -> Outcome {
        let mut ok = true;
        for name in names(from, source)? {
            if self.voice.interrupted() {
                return Err(Failed::Said);
            }
            let (shown_from, shown_to) = (join(source, &name), join(dest, &name));
            let child = Place {
                dir: from.as_fd(),
                base: &name,
                shown: &shown_from,
            };
            let copy = Place {
                dir: to.as_fd(),
                base: &name,
                shown: &shown_to,
            };
            ok &= self.entry(&child, &copy, false, job);
            // Going on would copy the copy; cp stops here as well.
            if self.met_itself {
                break;
            }
        }
        if ok { Ok(()) } else { Err(Failed::Said) }
    }
}

/// The names in a directory, in the order of their inodes, as cp takes them: on a disk those lie together.
fn names(directory: &File, shown: &Path) -> Result<Vec<OsString>, Failed> {
    let again = directory
        .try_clone()
        .map_err(|e| cannot_access(shown, &e))?;
    let mut listing = Dir::from_fd(again.into()).map_err(|e| cannot_access(shown, &e.into()))?;
    let mut found = Vec::new();
    for entry in listing.iter() {
        let entry = entry.map_err(|e| {
            let text = reason(&e.into());
            format!("error reading directory {}: {text}", quote(shown))
        })?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            found.push((entry.ino(), name.to_owned()));
        }
    }
    found.sort_by_key(|(inode, _)| *inode);
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

fn cannot_access(shown: &Path, e: &io::Error) -> Failed {
    Failed::Say(format!("cannot access {}: {}", quote(shown), reason(e)))
}
