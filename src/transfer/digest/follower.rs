//! A thread that hashes the source behind the copy, so that the throttles of the copy hold it, too.
//!
//! It hashes no byte before the device has it, and the copy waits if the thread is too far behind. So both go at the rate
//! of the slower one, and a copy that is slowed down slows the hashing down.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::algorithm::DigestAlgorithm;
use super::hash_after::hash_after;
use super::source_hash::{HashInput, HashedSource, hash_source};
use crate::sys::cpu::thread_usage;
use crate::sys::lock::{lock, unpoisoned};
use crate::transfer::copy_job::CopyJob;
use crate::transfer::error::{CopyFailure, Error};
use crate::transfer::event::{CopyListener, Event, Progress};
use crate::transfer::stop_reason::StopReason;

/// Bytes that the copy may be ahead of the thread: some windows of the engines, so that neither waits for each of the
/// other's calls. What is hashed so late has left the caches of the CPU anyway.
const MAX_LEAD_BYTES: u64 = 64 << 20;

/// Longest wait between two checks whether the copy is to stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How far the copy and the hashing are.
#[derive(Debug, Default)]
struct Positions {
    /// Offset up to which the device has the bytes, `u64::MAX` when the copy is complete.
    copied: u64,
    /// Offset up to which the bytes are hashed, or will be without waiting.
    hashed: u64,
    /// Whether the copy has failed, so that the digest is not wanted any more.
    is_cancelled: bool,
    /// Whether the thread has come to an end, whatever that is.
    has_ended: bool,
}

/// What the copying and the hashing thread share.
#[derive(Debug, Default)]
struct Shared {
    positions: Mutex<Positions>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Positions> {
        lock(&self.positions)
    }

    fn wait<'a>(&self, positions: MutexGuard<'a, Positions>) -> MutexGuard<'a, Positions> {
        unpoisoned(self.changed.wait_timeout(positions, CHECK_INTERVAL)).0
    }

    fn update(&self, change: impl FnOnce(&mut Positions)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until the copy has come to `end`. Fails if it has failed.
    fn admit(&self, end: u64) -> Result<(), Error> {
        let mut positions = self.lock();
        loop {
            if positions.is_cancelled {
                return Err(Error::Interrupted);
            }
            if positions.copied >= end {
                positions.hashed = end;
                break;
            }
            positions = self.wait(positions);
        }
        drop(positions);
        self.changed.notify_all();
        Ok(())
    }
}

/// Records the end of the hashing thread when it is dropped, so that nobody waits for a thread that has panicked.
struct EndMark<'a>(&'a Shared);

impl Drop for EndMark<'_> {
    fn drop(&mut self) {
        self.0.update(|positions| positions.has_ended = true);
    }
}

/// Stops the hashing thread if the copy panics, since the scope waits for the thread.
struct StopOnPanic<'a>(&'a Shared);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.update(|positions| positions.is_cancelled = true);
        }
    }
}

/// The listener of a copy that a hashing thread follows. It passes everything on.
struct Follower<'a> {
    shared: &'a Shared,
    inner: &'a mut dyn CopyListener,
    last: Progress,
}

impl Follower<'_> {
    /// Waits while `must_wait` says so, the thread works, and nobody asks to stop.
    fn wait_while(&mut self, must_wait: impl Fn(&Positions) -> bool) {
        loop {
            let positions = self.shared.lock();
            if positions.has_ended || !must_wait(&positions) {
                return;
            }
            drop(self.shared.wait(positions));
            self.inner.progress(&self.last);
            if self.inner.interrupted() {
                return;
            }
        }
    }
}

impl CopyListener for Follower<'_> {
    fn listens(&self) -> bool {
        self.inner.listens()
    }

    fn event(&mut self, event: &Event) {
        self.inner.event(event);
    }

    fn progress(&mut self, progress: &Progress) {
        self.last = *progress;
        self.inner.progress(progress);
        let shared = self.shared;
        shared.update(|positions| positions.copied = positions.copied.max(progress.copied));
        self.wait_while(|positions| positions.copied > positions.hashed + MAX_LEAD_BYTES);
    }

    fn durable(&mut self, at: u64) -> io::Result<()> {
        self.inner.durable(at)
    }

    fn freed(&mut self, bytes: u64) {
        self.inner.freed(bytes);
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }

    fn stop_reason(&self) -> Option<StopReason> {
        self.inner.stop_reason()
    }
}

/// Runs `copy`, and hashes its source beside it, or after it on a host that has no thread to give.
///
/// # Errors
/// The error of `copy`, or else that of hashing.
pub(in crate::transfer) fn hash_beside(
    job: &CopyJob<'_>,
    algorithm: DigestAlgorithm,
    listener: &mut dyn CopyListener,
    copy: impl FnOnce(&mut dyn CopyListener) -> Result<(), CopyFailure>,
) -> Result<HashedSource, CopyFailure> {
    let shared = Shared::default();
    let input = HashInput::of(job);
    let hash = || {
        let _end = EndMark(&shared);
        let digest = hash_source(input, algorithm, &mut |piece| shared.admit(piece.end));
        digest.map(|digest| HashedSource {
            digest,
            usage: thread_usage(),
        })
    };
    thread::scope(|scope| {
        let Ok(thread) = thread::Builder::new().spawn_scoped(scope, hash) else {
            copy(listener)?;
            return hash_after(job, algorithm, false, listener)
                .map_err(|error| job.fail_after_copy(error));
        };
        let mut follower = Follower {
            shared: &shared,
            inner: listener,
            last: Progress::default(),
        };
        let stop = StopOnPanic(&shared);
        let copied = copy(&mut follower);
        drop(stop);
        let is_complete = copied.is_ok();
        shared.update(|positions| match is_complete {
            true => positions.copied = u64::MAX,
            false => positions.is_cancelled = true,
        });
        follower.wait_while(|_| is_complete);
        if follower.interrupted() {
            shared.update(|positions| positions.is_cancelled = true);
        }
        let hashed = thread.join();
        copied?;
        // A panic of the thread goes on here.
        hashed
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(|error| job.fail_after_copy(error))
    })
}
