//! A file system of the kernel that is mounted nowhere: only its descriptor leads to it, and it is gone with that, however
//! the process ends (fsopen(2) and fsmount(2), Linux 5.2).
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::ptr;

/// The command of fsconfig(2) that makes the file system (`FSCONFIG_CMD_CREATE`).
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

/// The descriptors are closed in programs that this process starts (`FSOPEN_CLOEXEC`, `FSMOUNT_CLOEXEC`).
const CLOEXEC: libc::c_uint = 1;

/// A file system that this process alone can reach.
#[derive(Debug)]
pub struct DetachedMount(OwnedFd);

impl DetachedMount {
    /// Makes a file system of the type `name` without a place in the tree of directories.
    ///
    /// # Errors
    /// ENOSYS before Linux 5.2, ENODEV if the kernel does not have that file system, EPERM without CAP_SYS_ADMIN.
    pub fn new(name: &CStr) -> io::Result<Self> {
        // SAFETY: the name is a string with its final NUL, which the kernel only reads.
        let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), CLOEXEC) })?;
        let none = ptr::null::<libc::c_void>();
        // SAFETY: the command takes neither a key nor a value.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                FSCONFIG_CMD_CREATE,
                none,
                none,
                0,
            )
        };
        if rc == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call takes a descriptor and two numbers.
        owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, 0) })
            .map(Self)
    }

    /// Returns the path of its root for this process, through /proc.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Takes the descriptor that a system call has returned, or its error.
fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both calls return a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
