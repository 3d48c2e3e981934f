//! Calls through an `O_PATH` descriptor, which refers to a FIFO, a device or a symbolic link without opening it.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::time::TimeSpec;

const EMPTY_PATH: &CStr = c"";

fn ok_or_errno(rc: libc::c_long) -> io::Result<()> {
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets the times of the file by utimensat(2) with `AT_EMPTY_PATH` (Linux 5.8).
///
/// # Errors
/// The error of utimensat(2); EINVAL before 5.8.
pub fn set_times(file: impl AsFd, accessed: &TimeSpec, modified: &TimeSpec) -> io::Result<()> {
    let times = [*accessed.as_ref(), *modified.as_ref()];
    // SAFETY: the path is a valid C string, and the kernel reads two timespecs that live as long as the call.
    let rc = unsafe {
        libc::utimensat(
            file.as_fd().as_raw_fd(),
            EMPTY_PATH.as_ptr(),
            times.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    ok_or_errno(rc.into())
}

/// Sets the permissions of the file by fchmodat2(2) with `AT_EMPTY_PATH` (Linux 6.6).
///
/// # Errors
/// The error of fchmodat2(2); ENOSYS before 6.6.
pub fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    // SAFETY: the path is a valid C string, and no other pointer is passed.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            file.as_fd().as_raw_fd(),
            EMPTY_PATH.as_ptr(),
            mode,
            libc::AT_EMPTY_PATH,
        )
    };
    ok_or_errno(rc)
}
