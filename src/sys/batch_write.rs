//! Writes to several files by one io_submit(2). The kernel holds the requests back until the last write, so that
//! neighbouring blocks of different files go to the device in one request.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Mutex;

use super::lock::lock;

/// Largest number of writes in one call.
pub const MAX_BATCHED_WRITES: usize = 16;

/// The operation IOCB_CMD_PWRITE of <linux/aio_abi.h>.
const IOCB_CMD_PWRITE: u16 = 1;

/// Contexts that nobody uses. They are kept, since the kernel takes 20 to 50 ms to destroy one (two grace periods of
/// RCU), and destroys all of them at the same time when the process ends.
static IDLE_CONTEXTS: Mutex<Vec<libc::c_ulong>> = Mutex::new(Vec::new());

/// One write of a batch, at the start of a file that is not open with O_DIRECT.
#[derive(Debug, Clone, Copy)]
pub struct BatchedWrite<'a> {
    /// The file that is written to.
    pub file: BorrowedFd<'a>,
    /// The bytes to write at offset 0.
    pub data: &'a [u8],
}

/// One request to io_submit(2): `struct iocb` of <linux/aio_abi.h>.
#[repr(C)]
struct Iocb {
    data: u64,
    #[cfg(target_endian = "little")]
    key: u32,
    rw_flags: i32,
    #[cfg(target_endian = "big")]
    key: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

/// The end of one request: `struct io_event` of <linux/aio_abi.h>.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct IoEvent {
    data: u64,
    iocb: u64,
    result: i64,
    second_result: i64,
}

/// A context of io_setup(2), for the writes of one thread.
#[derive(Debug)]
pub struct BatchWriter {
    context: libc::c_ulong,
}

impl BatchWriter {
    /// Takes a context that another thread no longer uses, or makes one. The end of a process that has made one takes 20
    /// to 50 ms longer.
    ///
    /// # Errors
    /// EAGAIN if the system has too many (`fs.aio-max-nr`); ENOSYS or EPERM where the calls are not allowed.
    pub fn new() -> io::Result<Self> {
        if let Some(context) = lock(&IDLE_CONTEXTS).pop() {
            return Ok(Self { context });
        }
        let mut context: libc::c_ulong = 0;
        // SAFETY: io_setup writes the number of the context to a live variable.
        let rc = unsafe { libc::syscall(libc::SYS_io_setup, MAX_BATCHED_WRITES, &raw mut context) };
        if rc != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut made = Self { context };
        // A filter may allow one call and not the other. What is submitted must be waited for.
        made.collect(0, &mut [])?;
        Ok(made)
    }

    /// Writes each file uncached (`RWF_DONTCACHE`), and returns for each whether all of its bytes were written. The
    /// caller writes the others again, by a call that says why it fails.
    #[must_use]
    pub fn write_uncached(&mut self, writes: &[BatchedWrite<'_>]) -> Vec<bool> {
        let mut is_whole = vec![false; writes.len()];
        for (part, writes) in writes.chunks(MAX_BATCHED_WRITES).enumerate() {
            let first = part * MAX_BATCHED_WRITES;
            self.write_part(writes, &mut is_whole[first..first + writes.len()]);
        }
        is_whole
    }

    fn write_part(&mut self, writes: &[BatchedWrite<'_>], is_whole: &mut [bool]) {
        let mut iocbs: Vec<Iocb> = writes.iter().enumerate().map(iocb).collect();
        let mut pointers: Vec<*mut Iocb> = iocbs.iter_mut().map(|iocb| &raw mut *iocb).collect();
        // SAFETY: the context is ours, and each pointer leads to a live iocb. The buffers stay borrowed by `writes` until
        // all that was submitted is collected below; besides, a write that is not direct has ended when io_submit returns.
        let submitted = unsafe {
            libc::syscall(
                libc::SYS_io_submit,
                self.context,
                pointers.len(),
                pointers.as_mut_ptr(),
            )
        };
        let mut left = usize::try_from(submitted).unwrap_or(0);
        let mut events = [IoEvent::default(); MAX_BATCHED_WRITES];
        while left > 0 {
            let Ok(n) = self.collect(left, &mut events[..left]) else {
                return;
            };
            for event in &events[..n] {
                let index = event.data as usize;
                is_whole[index] = usize::try_from(event.result) == Ok(writes[index].data.len());
            }
            left -= n;
        }
    }

    /// Waits until at least `least` writes have ended, and returns how many events it has stored.
    fn collect(&mut self, least: usize, events: &mut [IoEvent]) -> io::Result<usize> {
        loop {
            // SAFETY: the kernel stores at most as many events as the slice has; it waits without a time limit.
            let n = unsafe {
                libc::syscall(
                    libc::SYS_io_getevents,
                    self.context,
                    least,
                    events.len(),
                    events.as_mut_ptr(),
                    std::ptr::null_mut::<libc::timespec>(),
                )
            };
            match usize::try_from(n) {
                Ok(n) => return Ok(n),
                Err(_) => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => {}
                    e => return Err(e),
                },
            }
        }
    }
}

impl Drop for BatchWriter {
    /// Keeps the context for the next user.
    fn drop(&mut self) {
        lock(&IDLE_CONTEXTS).push(self.context);
    }
}

fn iocb((index, write): (usize, &BatchedWrite<'_>)) -> Iocb {
    Iocb {
        data: index as u64,
        key: 0,
        rw_flags: libc::RWF_DONTCACHE,
        opcode: IOCB_CMD_PWRITE,
        priority: 0,
        fd: write.file.as_raw_fd().cast_unsigned(),
        buffer: write.data.as_ptr() as u64,
        len: write.data.len() as u64,
        offset: 0,
        reserved: 0,
        flags: 0,
        event_fd: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::file::pwrite_dontcache;

    #[test]
    fn each_file_gets_its_own_bytes() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let is_supported =
            pwrite_dontcache(File::create(dir.path().join("probe"))?, b"x", 0).is_ok();
        let path = |n: usize| dir.path().join(n.to_string());
        // More files than one call takes.
        let data: Vec<Vec<u8>> = (1..=2 * MAX_BATCHED_WRITES + 3)
            .map(|n| vec![n as u8; n])
            .collect();
        let files = (0..data.len()).map(|n| File::create(path(n)));
        let files = files.collect::<io::Result<Vec<_>>>()?;
        let writes = files.iter().zip(&data);
        let writes: Vec<_> = writes
            .map(|(file, data)| BatchedWrite {
                file: file.as_fd(),
                data,
            })
            .collect();
        let is_whole = BatchWriter::new()?.write_uncached(&writes);
        assert_eq!(is_whole, vec![is_supported; data.len()]);
        for (n, data) in data.iter().enumerate().filter(|_| is_supported) {
            assert_eq!(&fs::read(path(n))?, data);
        }
        Ok(())
    }

    #[test]
    fn a_file_that_refuses_is_told() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("file");
        fs::write(&path, "old")?;
        let file = File::open(&path)?;
        let write = BatchedWrite {
            file: file.as_fd(),
            data: b"new",
        };
        assert_eq!(BatchWriter::new()?.write_uncached(&[write]), [false]);
        assert_eq!(fs::read(&path)?, b"old");
        Ok(())
    }
}
