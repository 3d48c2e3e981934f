//! Waits for files on which another process holds a lease (fcntl(2), F_SETLEASE), such as a file server.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::sys::stop_request;

/// The interval between two attempts to open a file on which another process holds a lease. A signal is noticed within
/// the same time.
const LEASE_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Opens a file with O_NONBLOCK, and waits for it as open(2) without that flag would. Only a lease of another process
/// makes open(2) of a regular file fail with EWOULDBLOCK (fcntl(2), F_SETLEASE): each attempt asks the holder of the
/// lease to give it up, and the kernel takes the lease away after /proc/sys/fs/lease-break-time. open(2) without
/// O_NONBLOCK would not return for a signal.
///
/// # Errors
/// Returns the error of `open`, or EINTR after a signal that asks to stop.
pub(super) fn wait_for_lease(mut open: impl FnMut() -> io::Result<File>) -> io::Result<File> {
    loop {
        match open() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        if stop_request::is_requested() {
            return Err(Errno::EINTR.into());
        }
        std::thread::sleep(LEASE_RETRY_INTERVAL);
    }
}
