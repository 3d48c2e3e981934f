//! Small files whose data is read, and that are written together by one call.
//!
//! Written one by one, each small file is a request of its own to the device. Together, files that lie side by side on
//! the device share one: 20,000 files of up to 40 KiB took 20,000 requests one by one and 2,100 in batches of 16, and a
//! sixth less CPU time (a loop in C, three rounds on a busy machine). A device with 3,000 requests a second would take 7 s
//! for the former.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use super::deferred_writeback::WritebackQueue;
use super::dirty_window::FlushMethod;
use crate::sys::batch_write::{BatchWriter, BatchedWrite, MAX_BATCHED_WRITES};

/// Number of small files that a thread writes one by one before it begins with batches. It keeps slow runs of few files from
/// making a context; other numbers were not measured.
const MIN_FILES_BEFORE_BATCHES: u32 = 512;

/// Time that these files must have taken. The context for batches costs 20 to 50 ms when the process ends, which shall be less
/// than a sixth of the run: 5,000 files were copied in 0.21 to 0.35 s here, where batches made no difference.
const MIN_TIME_BEFORE_BATCHES: Duration = Duration::from_millis(300);

/// Limit of the bytes in a batch. With it a call wrote 13 files and lasted 0.34 to 0.44 ms on average, waits included; its CPU
/// time was not measured alone.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// A batch holds at most this fraction of the descriptors that the process may have. A file in it has three.
const BATCH_FD_DIVISOR: u64 = 64;

/// Number of files below which a batch saves nothing.
const MIN_BATCH_FILES: usize = 4;

/// A file whose data is in the batch.
#[derive(Debug)]
struct BatchedFile<T> {
    file: File,
    start: usize,
    len: usize,
    flush: FlushMethod,
    tag: T,
}

/// How far a thread has come with its batches.
#[derive(Debug)]
enum BatchState {
    /// So many small files were written one by one, the first of them at this moment.
    Counting(u32, Instant),
    /// Batches are written by this.
    Ready(BatchWriter),
    /// Batches cannot be written here.
    Refused,
}

/// The files that one thread will write together.
#[derive(Debug)]
pub(super) struct WriteBatch<T> {
    state: BatchState,
    max_files: usize,
    files: Vec<BatchedFile<T>>,
    data: Vec<u8>,
    used: usize,
}

impl<T> WriteBatch<T> {
    pub(super) fn new() -> Self {
        let max_files = max_files();
        Self {
            state: if max_files < MIN_BATCH_FILES {
                BatchState::Refused
            } else {
                BatchState::Counting(0, Instant::now())
            },
            max_files,
            files: Vec::new(),
            data: Vec::new(),
            used: 0,
        }
    }

    /// Counts one more small file, and returns whether it may be put into a batch.
    pub(super) fn admit_file(&mut self) -> bool {
        match &mut self.state {
            BatchState::Counting(files, first) => {
                if *files == 0 {
                    *first = Instant::now();
                }
                *files += 1;
                *files > MIN_FILES_BEFORE_BATCHES
                    && first.elapsed() >= MIN_TIME_BEFORE_BATCHES
                    && self.begin()
            }
            BatchState::Ready(_) => true,
            BatchState::Refused => false,
        }
    }

    /// Begins with batches at once. Returns whether the kernel allows them.
    pub(super) fn begin(&mut self) -> bool {
        let writer = BatchWriter::new();
        self.state = writer.map_or(BatchState::Refused, BatchState::Ready);
        matches!(self.state, BatchState::Ready(_))
    }

    /// Returns whether the batch is to be written before the next file.
    pub(super) fn is_full(&self) -> bool {
        self.files.len() >= self.max_files || self.used >= MAX_BATCH_BYTES
    }

    /// Returns room for the data of the next file, and for one byte more.
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.used + len + 1;
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        &mut self.data[self.used..end]
    }

    /// Adds a file whose `len` bytes are in the room. Returns false if there is no descriptor for it.
    pub(super) fn push(&mut self, file: &File, len: usize, flush: FlushMethod, tag: T) -> bool {
        let Ok(file) = file.try_clone() else {
            return false;
        };
        self.files.push(BatchedFile {
            file,
            start: self.used,
            len,
            flush,
            tag,
        });
        self.used += len;
        true
    }

    /// Writes all files, and leaves them to `queue`. Returns for each, in their order, whether it was written as a whole.
    pub(super) fn write(&mut self, queue: &mut WritebackQueue<T>, most: u64) -> Vec<bool> {
        let files = std::mem::take(&mut self.files);
        self.used = 0;
        let BatchState::Ready(writer) = &mut self.state else {
            return vec![false; files.len()];
        };
        let writes: Vec<_> = files
            .iter()
            .map(|one| BatchedWrite {
                file: one.file.as_fd(),
                data: &self.data[one.start..one.start + one.len],
            })
            .collect();
        let is_whole = writer.write_uncached(&writes);
        drop(writes);
        if !is_whole.contains(&true) && !is_whole.is_empty() {
            self.state = BatchState::Refused;
        }
        for (one, _) in files
            .into_iter()
            .zip(&is_whole)
            .filter(|(_, whole)| **whole)
        {
            queue.push_owned(one.file, one.len as u64, one.flush, one.tag, most);
        }
        is_whole
    }
}

fn max_files() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| {
        MAX_BATCHED_WRITES.min((soft / BATCH_FD_DIVISOR) as usize)
    })
}
