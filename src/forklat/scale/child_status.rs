//! The exit status by which a child process of `scale` says why it failed.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::sys::strerror::strerror;

/// Says why a child of ours ended: its exit status is an errno, if it is any.
pub(super) fn died(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        // Only a store or a touch that finds no page behind it does that in a process without other faults.
        (Some(libc::SIGBUS), _) => {
            "the file system has no room for its page, or the disk failed (SIGBUS)".into()
        }
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(errno @ 1..=133)) => strerror(&io::Error::from_raw_os_error(errno)),
        _ => format!("it {status}"),
    }
}

/// Returns the exit status by which a child says why it failed.
pub(super) fn status(result: io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap_or(libc::EIO),
    }
}
