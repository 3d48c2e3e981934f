//! A bounded queue of small files whose writeback runs while the next files are copied.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::ftruncate;

use super::dirty_window::{FlushMethod, flush_and_drop};
use super::errno_class::retry;

/// Limit of the bytes in the queue. A device that takes 50 MB/s writes them in a twelfth of a second. Queues of 512
/// KiB, 1 MiB and 4 MiB cost the same (`benches/tree/ways.md`), and reused pages are cheaper than new ones.
pub(super) const MAX_DEFERRED_BYTES: u64 = 4 << 20;

/// Limit of the files in the queue, each of which holds a descriptor.
const MOST_FILES: usize = 64;

/// The queue holds at most this fraction of the descriptors that the process may have, 1024 as a rule, since other
/// threads need theirs.
const DEFERRED_FD_DIVISOR: u64 = 32;

/// A file whose writeback failed after its copy had returned.
#[derive(Debug)]
pub struct DeferredError<T> {
    /// What the caller passed to identify the file.
    pub tag: T,
    /// The error of the device. The destination is empty, since none of its bytes are known to be good.
    pub error: io::Error,
}

#[derive(Debug)]
struct Pending<T> {
    file: File,
    size: u64,
    flush: FlushMethod,
    tag: T,
}

/// The queue of files in writeback, and the errors so far.
#[derive(Debug)]
pub(super) struct WritebackQueue<T> {
    queue: VecDeque<Pending<T>>,
    most: usize,
    bytes: u64,
    late: Vec<DeferredError<T>>,
}

impl<T> WritebackQueue<T> {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            most: most_files(),
            bytes: 0,
            late: Vec::new(),
        }
    }

    /// Adds a file of which `size` bytes were written through the cache, and waits for the oldest ones while a limit is
    /// exceeded. `most` is the limit in bytes.
    pub(super) fn push(&mut self, file: &File, size: u64, flush: FlushMethod, tag: T, most: u64) {
        if size == 0 || flush == FlushMethod::Nothing {
            return;
        }
        match file.try_clone() {
            Ok(file) => self.push_owned(file, size, flush, tag, most),
            // No descriptor is available, so its writeback is waited for at once.
            Err(_) => self.settle_one(file, size, flush, tag),
        }
    }

    /// Adds a file as [`Self::push`] does, with a descriptor of its own.
    pub(super) fn push_owned(
        &mut self,
        file: File,
        size: u64,
        flush: FlushMethod,
        tag: T,
        most: u64,
    ) {
        self.bytes += size;
        self.queue.push_back(Pending {
            file,
            size,
            flush,
            tag,
        });
        while self.bytes > most || self.queue.len() > self.most {
            self.pop();
        }
    }

    /// Waits for the writeback of all files.
    pub(super) fn finish(&mut self) {
        while !self.queue.is_empty() {
            self.pop();
        }
    }

    /// Returns the failures since the last call.
    pub(super) fn take_errors(&mut self) -> Vec<DeferredError<T>> {
        std::mem::take(&mut self.late)
    }

    fn pop(&mut self) {
        if let Some(next) = self.queue.pop_front() {
            self.bytes -= next.size;
            self.settle_one(&next.file, next.size, next.flush, next.tag);
        }
    }

    fn settle_one(&mut self, file: &File, size: u64, flush: FlushMethod, tag: T) {
        if let Err(error) = flush_and_drop(file, flush, 0, size) {
            // The failure itself is reported. If the doubtful data cannot be truncated, that changes nothing about it.
            let _ = retry(|| ftruncate(file, 0));
            self.late.push(DeferredError { tag, error });
        }
    }
}

fn most_files() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| {
        MOST_FILES.min((soft / DEFERRED_FD_DIVISOR) as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    #[test]
    fn a_failure_is_told_of_the_right_file() -> io::Result<()> {
        let mut behind = WritebackQueue::new();
        let good = tempfile::tempfile()?;
        good.set_len(10)?;
        // A pipe cannot be synchronised: ESPIPE.
        let (_output, bad) = pipe2(OFlag::O_CLOEXEC)?;
        behind.push(&good, 10, FlushMethod::Range, "good", MAX_DEFERRED_BYTES);
        behind.push(
            &File::from(bad),
            10,
            FlushMethod::Range,
            "bad",
            MAX_DEFERRED_BYTES,
        );
        assert!(behind.take_errors().is_empty());
        behind.finish();
        let late = behind.take_errors();
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].tag, "bad");
        assert_eq!(late[0].error.raw_os_error(), Some(libc::ESPIPE));
        assert!(behind.take_errors().is_empty());
        Ok(())
    }

    #[test]
    fn the_queue_holds_its_bounds() -> io::Result<()> {
        let mut behind = WritebackQueue::new();
        let file = tempfile::tempfile()?;
        for n in 0..3 * MOST_FILES {
            behind.push(&file, 1, FlushMethod::Range, n, MAX_DEFERRED_BYTES);
            assert!(behind.queue.len() <= MOST_FILES);
        }
        for n in 0..20 {
            behind.push(
                &file,
                MAX_DEFERRED_BYTES / 4,
                FlushMethod::Range,
                n,
                MAX_DEFERRED_BYTES,
            );
            assert!(behind.bytes <= MAX_DEFERRED_BYTES);
        }
        Ok(())
    }
}
