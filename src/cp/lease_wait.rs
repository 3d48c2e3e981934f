//! Waits for files on which another process holds a lease (fcntl(2), F_SETLEASE), such as a file server.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::sys::stop_request;

/// How often a file on which somebody holds a lease is asked for again. A signal is heard as soon as that.
const LEASE_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Opens a file with O_NONBLOCK, and waits for it as open(2) without that flag would. Only a lease of another process makes
/// open(2) of a regular file fail with EWOULDBLOCK (fcntl(2), F_SETLEASE): each attempt asks its holder to give it up, and the
/// kernel takes it away after /proc/sys/fs/lease-break-time. open(2) itself would not return for a signal.
///
/// # Errors
/// What `open` returns; EINTR after a signal that asks to stop.
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
