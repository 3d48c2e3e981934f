//! The exit status with which a child process of `scale` reports why it failed.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::sys::strerror::strerror;

/// Describes why a child process ended. Its exit status is an errno, if it is one at all.
pub(super) fn died(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        // In a process without other faults, SIGBUS comes only from a store or a touch that finds no page behind it.
        (Some(libc::SIGBUS), _) => {
            "the file system has no room for its page, or the disk failed (SIGBUS)".into()
        }
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(errno @ 1..=133)) => strerror(&io::Error::from_raw_os_error(errno)),
        _ => format!("it {status}"),
    }
}

/// Returns the exit status with which a child reports its error: the errno, or 0.
pub(super) fn status(result: io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap_or(libc::EIO),
    }
}
