//! The security context, where the kernel has SELinux: what a new file is made with, and what an existing one is given.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::handle::AttrHandle;
use super::xattrs::{ReportLevel, SELINUX};
use super::{AttrResult, Attributes, Unpreserved};
use crate::cp::at_path::AtPath;
use crate::report::quote::{quote, quote_word};
use crate::sys::strerror::strerror;

/// There where the kernel has SELinux and its file system is mounted.
const ENFORCE: &str = "/sys/fs/selinux/enforce";

/// The context of what the calling thread makes from now on.
const CREATION: &str = "/proc/thread-self/attr/fscreate";

/// Whether this machine has security contexts.
#[must_use]
pub fn has_security_contexts() -> bool {
    Path::new(ENFORCE).exists()
}

impl Attributes {
    /// To be called on the thread that makes the destination, before it does: what comes into being has its context at once.
    ///
    /// # Errors
    /// When the context is required; it has been said.
    pub fn prepare_creation(&self, source: &AtPath<'_>, say: &mut dyn FnMut(&str)) -> AttrResult {
        if let Some(context) = &self.context {
            return self.create_with(context.as_bytes(), ReportLevel::All, say);
        }
        if !self.preserve.context {
            return Ok(());
        }
        match context_of(source) {
            Ok(context) => {
                let set = self.create_with(&context, self.context_told(), say);
                set.or_else(|_| self.fail_if_context_required())
            }
            Err(e) => {
                self.context_failed("failed to get security context of", source.shown, &e, say)
            }
        }
    }

    /// For a destination that was there before: it gets the context of the source.
    ///
    /// # Errors
    /// When the context is required; it has been said.
    pub fn relabel(
        &self,
        source: &AtPath<'_>,
        dest: &AtPath<'_>,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        if !self.preserve.context {
            return Ok(());
        }
        let set = context_of(source).and_then(|context| {
            AttrHandle::open_o_path(dest, false)?.set(SELINUX.as_ref(), &context)
        });
        match set {
            Ok(()) => Ok(()),
            Err(e) => {
                let what = "failed to set the security context of";
                self.context_failed(what, dest.shown, &e, say)
            }
        }
    }

    fn create_with(
        &self,
        context: &[u8],
        told: ReportLevel,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        fs::write(CREATION, context).map_err(|e| {
            if told.tells(&e) {
                let shown = context.strip_suffix(b"\0").unwrap_or(context);
                say(&format!(
                    "failed to set default file creation context to {}: {}",
                    quote_word(OsStr::from_bytes(shown)),
                    strerror(&e)
                ));
            }
            Unpreserved
        })
    }

    fn context_failed(
        &self,
        what: &str,
        shown: &Path,
        e: &io::Error,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        if self.context_told().tells(e) {
            say(&format!("{what} {}: {}", quote(shown), strerror(e)));
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

fn context_of(source: &AtPath<'_>) -> io::Result<Vec<u8>> {
    let context = AttrHandle::open_o_path(source, false)?.get(SELINUX.as_ref())?;
    context.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODATA))
}
