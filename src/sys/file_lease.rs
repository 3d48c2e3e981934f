//! Asks with a lease who else has a file open: fcntl(2), F_SETLEASE. The lease is released at once.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The command of fcntl(2) that sets the signal in place of SIGIO, from <asm-generic/fcntl.h>. The crate libc lacks it.
const F_SETSIG: libc::c_int = 10;

/// Returns whether any process has a file open for writing. A shared writable mapping counts as long as it exists, also
/// after its descriptor was closed. `file` must be open for reading only.
///
/// The lease is held between two system calls. A process that opens the file for writing just then waits for the second
/// of them, and the signal that this sends here is SIGURG, which is ignored by default, in place of SIGIO, which kills.
///
/// # Errors
/// EACCES without ownership and CAP_LEASE; EINVAL if the file is not regular or its file system has no leases.
pub fn is_open_for_writing(file: impl AsFd) -> io::Result<bool> {
    is_lease_refused(file.as_fd(), libc::F_RDLCK)
}

/// Returns whether a file is open by another description than `file`, for reading or for writing. A mapping counts as
/// long as it exists, also after its descriptor was closed; an O_PATH descriptor does not count. `file` is open for
/// reading and writing, and duplicates of its descriptor do not count either.
///
/// # Errors
/// The same as of [`is_open_for_writing`].
pub fn is_open_elsewhere(file: impl AsFd) -> io::Result<bool> {
    is_lease_refused(file.as_fd(), libc::F_WRLCK)
}

/// Takes a lease and releases it at once. Returns whether it was refused because of others that have the file open.
fn is_lease_refused(fd: BorrowedFd<'_>, lease: libc::c_int) -> io::Result<bool> {
    command(fd, F_SETSIG, libc::SIGURG)?;
    match command(fd, libc::F_SETLEASE, lease) {
        Ok(()) => command(fd, libc::F_SETLEASE, libc::F_UNLCK).map(|()| false),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) => Err(e),
    }
}

/// Calls fcntl(2) with a command that takes a number.
fn command(fd: BorrowedFd<'_>, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: the commands used here take an int and no pointer.
    let rc = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn writers_are_seen_and_readers_are_not() -> io::Result<()> {
        let named = tempfile::NamedTempFile::new_in("/dev/shm")?;
        let path = named.path();
        let reader = File::open(path)?;
        assert!(is_open_for_writing(&reader)?);
        let other = File::open(path)?;
        let path = named.into_temp_path();
        assert!(!is_open_for_writing(&reader)?, "only readers are left");
        // The lease is not held: the file can be opened for writing at once.
        let writer_again = File::options().write(true).open(&path)?;
        assert!(is_open_for_writing(&reader)?);
        drop((writer_again, other));
        assert!(!is_open_for_writing(&reader)?);
        Ok(())
    }

    #[test]
    fn readers_and_mappings_of_others_are_seen_and_own_duplicates_are_not() -> io::Result<()> {
        let named = tempfile::NamedTempFile::new_in("/dev/shm")?;
        named.as_file().set_len(4096)?;
        let path = named.into_temp_path();
        let own = File::options().read(true).write(true).open(&path)?;
        assert!(!is_open_elsewhere(&own)?);
        let (duplicate, reader) = (own.try_clone()?, File::open(&path)?);
        assert!(is_open_elsewhere(&own)?);
        let mapped = crate::sys::mapped_file::MappedReader::new(&reader, 4096)?;
        drop(reader);
        assert!(is_open_elsewhere(&own)?, "the mapping is left");
        drop(mapped);
        assert!(!is_open_elsewhere(&own)?);
        drop(duplicate);
        Ok(())
    }
}
