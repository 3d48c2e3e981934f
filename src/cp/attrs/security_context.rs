//! The security context, where the kernel has SELinux: the context that new files are created with, and the context
//! that existing files are given.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::handle::AttrHandle;
use super::xattrs::{ReportLevel, SELINUX};
use super::{AttrReport, AttrResult, Attributes, Unpreserved};
use crate::cp::at_path::AtPath;
use crate::cp::error::{Error, Operation};

/// This file exists where the kernel has SELinux and its file system is mounted.
const ENFORCE: &str = "/sys/fs/selinux/enforce";

/// The constant SELINUX_MAGIC of linux/magic.h.
const SELINUXFS: FsType = FsType(0xf97c_ff8c);

/// Returns whether SELinux is enabled, as is_selinux_enabled(3) of libselinux decides: its file system is mounted, not
/// read-only (as in a container on a host with SELinux), and the system is configured for it.
#[must_use]
pub fn is_selinux_enabled() -> bool {
    const MOUNT: &str = "/sys/fs/selinux";
    statfs(MOUNT).is_ok_and(|fs| fs.filesystem_type() == SELINUXFS)
        && statvfs(MOUNT).is_ok_and(|fs| !fs.flags().contains(FsFlags::ST_RDONLY))
        && Path::new("/etc/selinux/config").exists()
}

/// The file that sets the context of all files that the calling thread creates from then on.
const CREATION: &str = "/proc/thread-self/attr/fscreate";

/// Returns whether this machine has security contexts.
#[must_use]
pub fn has_security_contexts() -> bool {
    Path::new(ENFORCE).exists()
}

impl Attributes {
    /// Sets the security context of the next file that the calling thread creates, so that the copy of `source` has its
    /// context from the beginning.
    pub fn prepare_creation(&self, source: &AtPath) -> AttrReport {
        let mut errors = Vec::new();
        let result = if let Some(context) = &self.context {
            set_creation_context(context.as_bytes(), ReportLevel::All, &mut errors)
        } else if self.preserve.context {
            self.prepare_context_of(source, &mut errors)
        } else {
            Ok(())
        };
        AttrReport::new(errors, result)
    }

    /// Gives an existing destination the security context of the source.
    pub fn relabel(&self, source: &AtPath, dest: &AtPath) -> AttrReport {
        let mut errors = Vec::new();
        let mut set = Ok(());
        if self.preserve.context {
            set = context_of(source).and_then(|context| {
                AttrHandle::open_o_path(dest, false)?.set(SELINUX.as_ref(), &context)
            });
        }
        let result =
            set.or_else(|e| self.context_failed(dest.error(Operation::SetContext, e), &mut errors));
        AttrReport::new(errors, result)
    }

    fn prepare_context_of(&self, source: &AtPath, errors: &mut Vec<Error>) -> AttrResult {
        match context_of(source) {
            Ok(context) => set_creation_context(&context, self.context_told(), errors)
                .or_else(|Unpreserved| self.fail_if_context_required()),
            Err(e) => self.context_failed(source.error(Operation::ReadContext, e), errors),
        }
    }

    fn context_failed(&self, error: Error, errors: &mut Vec<Error>) -> AttrResult {
        if error
            .io_error()
            .is_some_and(|e| self.context_told().tells(e))
        {
            errors.push(error);
        }
        self.fail_if_context_required()
    }

    fn context_told(&self) -> ReportLevel {
        let preserve = self.preserve;
        ReportLevel::of(
            self.attributes_only || preserve.context_required,
            preserve.quiet,
        )
    }

    fn fail_if_context_required(&self) -> AttrResult {
        if self.preserve.context_required {
            Err(Unpreserved)
        } else {
            Ok(())
        }
    }
}

fn set_creation_context(context: &[u8], told: ReportLevel, errors: &mut Vec<Error>) -> AttrResult {
    fs::write(CREATION, context).map_err(|error| {
        if told.tells(&error) {
            let shown = context.strip_suffix(b"\0").unwrap_or(context);
            let context = OsStr::from_bytes(shown).to_owned();
            errors.push(Error::CreationContext { context, error });
        }
        Unpreserved
    })
}

fn context_of(source: &AtPath) -> io::Result<Vec<u8>> {
    let context = AttrHandle::open_o_path(source, false)?.get(SELINUX.as_ref())?;
    context.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODATA))
}
