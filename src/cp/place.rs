//! A name in an open directory: how every file is reached, so that what is swapped above it leads nowhere else.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::report::quote::quote;
use crate::sys::words::reason;
use crate::transfer::fault::retry;

/// A name in an open directory, and how messages call it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The directory; the current one for operands.
    pub dir: BorrowedFd<'a>,
    /// The name in it.
    pub base: &'a OsStr,
    /// For messages.
    pub shown: &'a Path,
}

impl Place<'_> {
    /// What is there, the link itself where `follow` is false.
    ///
    /// # Errors
    /// fstatat's.
    pub fn stat(&self, follow: bool) -> nix::Result<FileStat> {
        let flags = if follow {
            AtFlags::empty()
        } else {
            AtFlags::AT_SYMLINK_NOFOLLOW
        };
        fstatat(self.dir, self.base, flags)
    }

    /// Opens it.
    ///
    /// # Errors
    /// openat's.
    pub fn open(&self, flags: OFlag, mode: u32) -> io::Result<File> {
        retry(|| {
            openat(
                self.dir,
                self.base,
                flags | OFlag::O_CLOEXEC,
                Mode::from_bits_truncate(mode),
            )
        })
        .map(File::from)
    }

    /// Removes it.
    ///
    /// # Errors
    /// A message in cp's words.
    pub fn unlink(&self) -> Result<(), String> {
        match unlinkat(self.dir, self.base, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(format!(
                "cannot remove {}: {}",
                quote(self.shown),
                reason(&e.into())
            )),
        }
    }
}
