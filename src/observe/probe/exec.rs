//! The probe `exec`: it starts a tiny program and waits for its end.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{Probe, ProbeSetup, create_unnamed_file};
use crate::observe::error::{ObserveError, cannot, failed, unavailable};
use crate::report::quote::quote;
use crate::sys::clock::MonotonicNs;
use crate::sys::process::Program;

struct Exec {
    program: Program,
    /// The program, open for reading, so that its pages can be dropped, and a copy without a name can be started at
    /// all.
    file: File,
    name: PathBuf,
    drop_page_cache: bool,
}

/// Prepares to run the program, or a copy of it in the directory that is measured: there its pages must be read from
/// that disk after they were dropped, and dropping them affects no other process.
pub(super) fn make(setup: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    let name = setup.program.clone();
    let unreadable = |e: io::Error| cannot("read", &name, e);
    let (file, path) = match &setup.directory {
        Some(dir) if setup.directory_allows_exec => copy_program(&setup.program, dir)?,
        _ => (File::open(&name).map_err(unreadable)?, name.clone()),
    };
    let program = Program::new(&path, name.file_name().unwrap_or_default()).map_err(unreadable)?;
    Ok(Box::new(Exec {
        program,
        file,
        name,
        drop_page_cache: setup.exec_cold,
    }))
}

/// Copies the program to a file without a name. It is started by its descriptor, which must not be open for writing
/// then (ETXTBSY).
fn copy_program(program: &Path, dir: &Path) -> Result<(File, PathBuf), ObserveError> {
    let copied = || -> io::Result<File> {
        let mut to = create_unnamed_file(dir).map_err(io::Error::other)?;
        io::copy(&mut File::open(program)?, &mut to)?;
        to.set_permissions(Permissions::from_mode(0o700))?;
        // Dirty pages cannot be dropped.
        to.sync_all()?;
        File::open(format!("/proc/self/fd/{}", to.as_raw_fd()))
    };
    let file = copied().map_err(|e| {
        let (program, dir) = (quote(program), quote(dir));
        failed(format!("copy {program} to {dir}"), e)
    })?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    Ok((file, path))
}

impl Probe for Exec {
    fn prepare(&mut self) -> Result<bool, ObserveError> {
        if self.drop_page_cache {
            posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
                .map_err(|e| cannot("drop the pages of", &self.name, e))?;
        }
        Ok(self.drop_page_cache)
    }

    fn run_once(&mut self) -> Result<Option<MonotonicNs>, ObserveError> {
        match self.program.run() {
            Ok(status) if status.success() => Ok(None),
            Ok(status) => Err(unavailable(format!(
                "{} failed: {status}",
                quote(&self.name)
            ))),
            Err(e) => Err(cannot("run", &self.name, e)),
        }
    }
}
