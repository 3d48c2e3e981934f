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
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};

use super::operands::{Job, join};
use super::place::Place;
use super::tree::{DEEPEST, Failed, Outcome, Walk, identity};
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
        let made = if exists {
            None
        } else {
            Some(self.make_directory(source, dest, from)?)
        };
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
        let listing = opened.ok();
        let finished = self.attributes_of(source, dest, |attributes, say| {
            let from_where = (source, listing.as_ref());
            attributes.finish_directory(from_where, from, &target, made, dest.shown, say)
        });
        copied.and(finished)
    }

    /// Makes a directory that only its owner can use until it is complete. Returns the mode it was given.
    fn make_directory(
        &mut self,
        source: &Place<'_>,
        dest: &Place<'_>,
        from: &FileStat,
    ) -> Result<u32, Failed> {
        let mode = self.cx.attributes.directory_mode(from);
        if let Err(e) = mkdirat(dest.dir, dest.base, Mode::from_bits_truncate(mode)) {
            let text = reason(&e.into());
            let name = quote(dest.shown);
            return Err(format!("cannot create directory {name}: {text}").into());
        }
        let made = self.cx.attributes.open_up(dest).map_err(|e| {
            let text = reason(&e);
            format!("setting permissions for {}: {text}", quote(dest.shown))
        })?;
        self.voice
            .verbose(&format!("{} -> {}", quote(source.shown), quote(dest.shown)));
        self.voice.passed(Fate::Directory);
        Ok(made)
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
