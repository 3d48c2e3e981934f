//! Copies files in one thread, and keeps a buffer, the properties of mounts, and unfinished small files from one file
//! to the next.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use super::assurance::Assurance;
use super::capabilities::{DestCaps, SourceInfo, SourceKind};
use super::copy_job::CopyJob;
use super::copy_method::CopyMethod;
use super::deferred_writeback::{DeferredError, WritebackQueue};
use super::dest_writer::file_size_limit;
use super::digest::algorithm::Hasher;
use super::digest::{self, Digest, DigestAlgorithm, HashInput, HashedSource};
use super::drain::CopyDrain;
use super::durable_points::DurablePoints;
use super::errno_class::Endpoint;
use super::error::{CopyFailure, Error};
use super::event::{CopyListener, Progress};
use super::file_copy::{self, ThreadState};
use super::held_done::HeldDone;
use super::mount_cache::MountCache;
use super::plan::TransferOptions;
use super::rate_limit::RateLimiter;
use super::reflink_attempt;
use super::room::ledger::RoomLedger;
use super::stop_check::interrupted_or;
use super::verify::{ReadBack, compare_left, verify};
use super::write_batch::WriteBatch;
use crate::sys::cpu::{ThreadUsage, thread_usage};
use crate::sys::file::StatxInfo;
use crate::sys::lock::lock;

/// Copies files, one after another. Each thread has its own; threads may copy different files at once.
///
/// It does not wait for a small file that was written through the page cache: the caller must call
/// [`Copier::take_deferred_errors`] from time to time, and [`Copier::finish_writeback`] at the end. `T` is the type by
/// which the caller identifies a file.
#[derive(Debug)]
pub struct Copier<T> {
    thread: ThreadState<T>,
    pace: Option<Arc<RateLimiter>>,
    room: Arc<RoomLedger>,
}

/// An open file with what statx(2) said of it since it was opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenedFile<'a> {
    /// The open source or destination.
    pub file: &'a File,
    /// What statx(2) said of that file.
    pub status: &'a StatxInfo,
}

impl<T> Default for Copier<T> {
    fn default() -> Self {
        Self {
            thread: ThreadState {
                mounts: MountCache::default(),
                buffer: Vec::new(),
                writeback_queue: WritebackQueue::new(),
                write_batch: WriteBatch::new(),
                file_size_limit: file_size_limit(),
                method: CopyMethod::default(),
            },
            pace: None,
            room: Arc::default(),
        }
    }
}

impl<T> Copier<T> {
    /// Largest size in bytes of a file that [`Copier::batch`] takes.
    pub const MAX_BATCHED_BYTES: u64 = file_copy::MAX_SMALL_FILE_BYTES;

    /// Makes a copier that waits for `pace` before each chunk, if there is one.
    #[must_use]
    pub fn with_rate_limiter(pace: Option<Arc<RateLimiter>>) -> Self {
        Self {
            pace,
            ..Self::default()
        }
    }

    /// Shares the account of free space with other copiers.
    #[must_use]
    pub fn with_room_ledger(self, room: Arc<RoomLedger>) -> Self {
        Self { room, ..self }
    }

    /// Queries the properties of a source.
    ///
    /// # Errors
    /// The errors of fstat(2), fstatfs(2) and lseek(2).
    pub fn source_info(&mut self, source: &File) -> io::Result<SourceInfo> {
        self.source_info_of(OpenedFile {
            file: source,
            status: &StatxInfo::query(source)?,
        })
    }

    /// Queries the properties of a source whose status is known.
    ///
    /// # Errors
    /// The errors of fstatfs(2) and lseek(2).
    pub fn source_info_of(&mut self, source: OpenedFile<'_>) -> io::Result<SourceInfo> {
        SourceInfo::on(&mut self.thread.mounts, source.file, source.status)
    }

    /// Copies all of `source` to `dest`. An existing `dest` is truncated first, but not before it is known that an
    /// engine can copy it.
    ///
    /// # Errors
    /// What failed, and how many bytes of the destination are good. Space reserved and pages cached beyond them are
    /// released.
    pub fn copy(
        &mut self,
        source: &File,
        source_info: SourceInfo,
        dest: &File,
        options: TransferOptions,
        listener: &mut dyn CopyListener,
        tag: T,
    ) -> Result<Assurance, CopyFailure> {
        let status = &StatxInfo::query(dest)
            .map_err(|e| CopyFailure::before(Error::Io(Endpoint::Dest, e), source_info.size))?;
        let dest = OpenedFile { file: dest, status };
        self.copy_to(source, source_info, dest, options, listener, tag)
    }

    /// Copies as [`Copier::copy`] does, to a destination whose status is known.
    ///
    /// # Errors
    /// The same as of [`Copier::copy`].
    pub fn copy_to(
        &mut self,
        source: &File,
        source_info: SourceInfo,
        dest: OpenedFile<'_>,
        options: TransferOptions,
        listener: &mut dyn CopyListener,
        tag: T,
    ) -> Result<Assurance, CopyFailure> {
        self.thread.method = CopyMethod::before(&options);
        let dest_caps = DestCaps::on(&mut self.thread.mounts, dest.file, dest.status)
            .map_err(|e| CopyFailure::before(Error::Io(Endpoint::Dest, e), source_info.size))?;
        let (pace, room) = (self.pace.clone(), Arc::clone(&self.room));
        let drain = drain_of(source, &source_info, options)?;
        let mut job = CopyJob {
            drain: drain.as_ref(),
            room: Some(&room),
            ..CopyJob::new(
                (source, source_info),
                (dest.file, dest_caps),
                pace.as_deref(),
            )
        };
        job.ask_for_writers(listener.listens(), options.require_quiescent)?;
        job.wait_for_file_cost(listener)?;
        check_possible(&job, options)?;
        let options = TransferOptions {
            // What is compared, and a file whose digest is printed, must not fail later.
            wait_for_writeback: options.wait_for_writeback
                || options.verify
                || options.digest.is_some(),
            ..options
        };
        let mut held = HeldDone::new(listener);
        let hashed = self.copy_in_steps(&mut job, options, &mut held, tag)?;
        let (read_back, compared) = verify_if_wanted(&job, options, &mut held)?;
        let writers = job.ask_for_writers_again(options.require_quiescent)?;
        let (digest, usage) = hashed.map_or((None, ThreadUsage::default()), |hashed| {
            (Some(hashed.digest), hashed.usage)
        });
        let assurance = Assurance {
            digest,
            read_back,
            source_modified: job.drain.map(CopyDrain::modified),
        };
        held.release(|summary| {
            summary.add_usage(usage);
            summary.add_usage(compared);
            summary.digest.clone_from(&assurance.digest);
            summary.read_back.clone_from(&assurance.read_back);
            if let Some(writers) = writers {
                summary.writers = writers;
            }
        });
        Ok(assurance)
    }

    /// Copies the data, with durable points if they are wanted.
    fn copy_in_steps(
        &mut self,
        job: &mut CopyJob<'_>,
        options: TransferOptions,
        listener: &mut dyn CopyListener,
        tag: T,
    ) -> Result<Option<HashedSource>, CopyFailure> {
        if !options.durable_points || !job.dest_caps.regular {
            return self.copy_and_hash(job, options, listener, tag);
        }
        let view = job.view();
        let mut points = DurablePoints::new(listener, &view, options);
        let hashed = self.copy_and_hash(job, options, &mut points, tag);
        hashed.map_err(|failure| CopyFailure {
            error: points.own_error(failure.error),
            ..failure
        })
    }

    /// Copies the data, and hashes the source if that is wanted.
    fn copy_and_hash(
        &mut self,
        job: &mut CopyJob<'_>,
        options: TransferOptions,
        listener: &mut dyn CopyListener,
        tag: T,
    ) -> Result<Option<HashedSource>, CopyFailure> {
        let Some(algorithm) = options.digest else {
            if !self.share_blocks(job, options, listener)? {
                file_copy::copy(job, options, &mut self.thread, listener, tag)?;
            }
            return Ok(None);
        };
        if job.source_info.kind == SourceKind::Stream {
            job.stream_hasher = Some(Mutex::new(Hasher::new(algorithm)));
        }
        let is_shared = self.share_blocks(job, options, listener)?;
        let hashed = if let Some(hasher) = &job.stream_hasher {
            file_copy::copy(job, options, &mut self.thread, listener, tag)?;
            HashedSource::from(lock(hasher).digest())
        } else if is_shared || job.source_info.size <= digest::MAX_HASHED_AFTER {
            if !is_shared {
                file_copy::copy(job, options, &mut self.thread, listener, tag)?;
            }
            digest::hash_after(job, algorithm, is_shared, listener)
                .map_err(|e| job.fail_after_copy(e))?
        } else {
            digest::hash_beside(job, algorithm, listener, |listener| {
                file_copy::copy(job, options, &mut self.thread, listener, tag)
            })?
        };
        // The bytes that were hashed last were read after the copy has looked at the source.
        file_copy::check_source_unchanged(job).map_err(|e| job.fail_after_copy(e))?;
        Ok(Some(hashed))
    }

    /// Shares the blocks of the source, if that is wanted and possible. Returns whether it did.
    fn share_blocks(
        &mut self,
        job: &mut CopyJob<'_>,
        options: TransferOptions,
        listener: &mut dyn CopyListener,
    ) -> Result<bool, CopyFailure> {
        let shared = reflink_attempt::try_reflink(job, options, listener);
        let refused = match &shared {
            Ok(shared) => !shared,
            Err(failure) => matches!(failure.error, Error::Clone(_)),
        };
        self.thread.method.note_reflink(!refused, &options);
        shared
    }

    /// Reads a small file to an empty `dest`, to be written with others by [`Copier::write_batch`]. Returns false where the
    /// file must be copied by [`Copier::copy`], which then says what is wrong with it, if anything is. The caller keeps
    /// both files open until the batch is written.
    pub fn batch(
        &mut self,
        source: OpenedFile<'_>,
        dest: OpenedFile<'_>,
        options: TransferOptions,
        tag: T,
    ) -> bool {
        if self.pace.is_some() || !self.thread.write_batch.admit_file() {
            return false;
        }
        let Ok(source_info) = self.source_info_of(source) else {
            return false;
        };
        let Ok(dest_caps) = DestCaps::on(&mut self.thread.mounts, dest.file, dest.status) else {
            return false;
        };
        let job = CopyJob::new((source.file, source_info), (dest.file, dest_caps), None);
        file_copy::batch_small_file(&job, options, &mut self.thread, tag)
    }

    /// Puts small files into batches from now on, which otherwise begins after some hundred files. Returns whether the
    /// kernel allows that.
    pub fn begin_batches(&mut self) -> bool {
        self.thread.write_batch.begin()
    }

    /// Returns whether the batch must be written before another file is added.
    #[must_use]
    pub fn is_batch_full(&self) -> bool {
        self.thread.write_batch.is_full()
    }

    /// Writes all files of the batch. Returns for each, in the order in which they were added, whether it was written as a
    /// whole; the others must be copied by [`Copier::copy`].
    #[must_use]
    pub fn write_batch(&mut self) -> Vec<bool> {
        file_copy::write_batch(&mut self.thread)
    }

    /// Returns the progress of a file of `size` bytes that was written in a batch.
    #[must_use]
    pub fn batch_progress(size: u64) -> Progress {
        file_copy::batch_progress(size)
    }

    /// Compares the data that a drained source still has below `until` with a destination that has all bytes up to there.
    ///
    /// # Errors
    /// [`Error::Different`] with the first offset; errors of reading; [`Error::Interrupted`].
    pub fn compare_left(
        &mut self,
        (source, dest): (OpenedFile<'_>, OpenedFile<'_>),
        until: u64,
        listener: &mut dyn CopyListener,
    ) -> Result<(), Error> {
        let source_info = self
            .source_info_of(source)
            .map_err(|e| Error::Io(Endpoint::Source, e))?;
        let dest_caps = DestCaps::on(&mut self.thread.mounts, dest.file, dest.status)
            .map_err(|e| Error::Io(Endpoint::Dest, e))?;
        let pace = self.pace.clone();
        let job = CopyJob::new(
            (source.file, source_info),
            (dest.file, dest_caps),
            pace.as_deref(),
        );
        compare_left(&job, until, listener)
    }

    /// Hashes a source that needs not be copied, at the rate of a copy.
    ///
    /// # Errors
    /// Errors of reading, and [`Error::Interrupted`].
    pub fn hash(
        &mut self,
        source: &File,
        algorithm: DigestAlgorithm,
        listener: &mut dyn CopyListener,
    ) -> Result<Digest, Error> {
        let info = self
            .source_info(source)
            .map_err(|e| Error::Io(Endpoint::Source, e))?;
        let pace = self.pace.clone();
        let input = HashInput {
            source,
            info: &info,
            drained: None,
        };
        digest::hash_at_rate(input, algorithm, pace.as_deref(), listener)
    }

    /// Returns how the data of the last file was copied, even if the copy failed.
    #[must_use]
    pub fn method(&self) -> CopyMethod {
        self.thread.method
    }

    /// Returns the files whose writeback has failed since the last call.
    #[must_use]
    pub fn take_deferred_errors(&mut self) -> Vec<DeferredError<T>> {
        self.thread.writeback_queue.take_errors()
    }

    /// Waits for the writeback of all small files, and drops them from the cache. Returns those that failed.
    #[must_use]
    pub fn finish_writeback(&mut self) -> Vec<DeferredError<T>> {
        self.thread.writeback_queue.finish();
        self.thread.writeback_queue.take_errors()
    }
}

/// Fails if the files do not allow what the options ask of them beyond the copy.
fn check_possible(job: &CopyJob<'_>, options: TransferOptions) -> Result<(), CopyFailure> {
    if options.drain {
        job.check_drainable()?;
    }
    match options.verify {
        true => job.check_verifiable(),
        false => Ok(()),
    }
}

/// Makes the drain of a source, if its memory is to be given back.
fn drain_of(
    source: &File,
    info: &SourceInfo,
    options: TransferOptions,
) -> Result<Option<CopyDrain>, CopyFailure> {
    if !options.drain {
        return Ok(None);
    }
    let fail = |e| CopyFailure::before(Error::Io(Endpoint::Source, e), info.size);
    let now = StatxInfo::query(source).map_err(fail)?;
    // What was changed since the file was opened shall be noticed.
    let status = StatxInfo {
        size: info.size,
        mtime: info.mtime,
        ..now
    };
    let is_hashed = options.digest.is_some();
    let drain = CopyDrain::new(source, &status, options.resume_at, is_hashed);
    drain.map(Some).map_err(fail)
}

/// Reads a complete copy back and compares it with its source, if that is wanted. A difference to a source that has
/// changed is reported as that change. Returns also the CPU time that it took.
fn verify_if_wanted(
    job: &CopyJob<'_>,
    options: TransferOptions,
    held: &mut HeldDone<'_>,
) -> Result<(Option<ReadBack>, ThreadUsage), CopyFailure> {
    if !options.verify {
        return Ok((None, ThreadUsage::default()));
    }
    let copied = thread_usage();
    let read_back = verify(job, held.started(), held);
    let unchanged = file_copy::check_source_unchanged(job);
    let error = match (read_back, unchanged) {
        (Ok(read_back), Ok(())) => return Ok((Some(read_back), thread_usage().since(copied))),
        (Err(Error::Different { .. }) | Ok(_), Err(changed)) => changed,
        (Err(error), _) => interrupted_or(error, held),
    };
    Err(job.fail_after_copy(error))
}

/// Copies one file, and waits for its writeback.
///
/// # Errors
/// The same as of [`Copier::copy`].
pub fn copy(
    source: &File,
    source_info: SourceInfo,
    dest: &File,
    options: TransferOptions,
    listener: &mut dyn CopyListener,
) -> Result<(), CopyFailure> {
    let (mut worker, size) = (Copier::default(), source_info.size);
    worker.copy(source, source_info, dest, options, listener, ())?;
    match worker.finish_writeback().pop() {
        Some(late) => Err(CopyFailure {
            begun: true,
            ..CopyFailure::before(Error::Io(Endpoint::Dest, late.error), size)
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::transfer::engine;
    use crate::transfer::event::{Event, Progress};
    use crate::transfer::plan::{DirectPolicy, Sparse};
    use crate::transfer::rate_limit::{MAX_BURST, Rate, RateSettings};
    use crate::transfer::stop_reason::StopReason;

    /// Ignores all events and never stops the copy.
    struct Silent;

    impl CopyListener for Silent {
        fn event(&mut self, _: &Event) {}
        fn progress(&mut self, _: &Progress) {}
        fn interrupted(&self) -> bool {
            false
        }
    }

    /// Returns what a copy of a file of `size` bytes, all data or all hole, is charged if every file is charged at
    /// least 4096.
    fn price(size: usize, is_data: bool, options: TransferOptions) -> u64 {
        let (source, dest) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        if is_data {
            source.write_all_at(&vec![b'x'; size], 0).unwrap();
        }
        source.set_len(size as u64).unwrap();
        source.sync_all().unwrap();
        let pacer = Arc::new(RateLimiter::new(true));
        let orders = RateSettings {
            rate: Rate::Unlimited,
            chunk: 1 << 20,
            burst: MAX_BURST,
            bottleneck: None,
            notice: None,
        };
        pacer.apply(&orders, crate::sys::clock::MonotonicNs::now());
        let mut worker = Copier::with_rate_limiter(Some(Arc::clone(&pacer)));
        let source_info = worker.source_info(&source).unwrap();
        let copied = worker.copy(&source, source_info, &dest, options, &mut Silent, ());
        copied.unwrap();
        assert!(worker.finish_writeback().is_empty());
        pacer.totals().moved
    }

    /// Ends each copy with what it has.
    struct Ending;

    impl CopyListener for Ending {
        fn event(&mut self, _: &Event) {}
        fn progress(&mut self, _: &Progress) {}
        fn interrupted(&self) -> bool {
            false
        }
        fn stop_reason(&self) -> Option<StopReason> {
            Some(StopReason::MaxSize { size: None, max: 1 })
        }
    }

    #[test]
    fn a_listener_ends_a_copy_for_a_reason() {
        let (source, dest) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.write_all_at(&vec![b'x'; 1 << 20], 0).unwrap();
        let mut worker = Copier::default();
        let info = worker.source_info(&source).unwrap();
        let options = TransferOptions::default();
        let ended = worker.copy(&source, info, &dest, options, &mut Ending, ());
        let failure = ended.expect_err("it is ended");
        assert!(matches!(
            failure.error,
            Error::Stopped(StopReason::MaxSize { max: 1, .. })
        ));
    }

    /// Ends a copy when it has come to an offset, and lets the source grow then, if there is one.
    struct EndingAt {
        at: u64,
        source: Option<File>,
        is_due: bool,
    }

    impl CopyListener for EndingAt {
        fn event(&mut self, _: &Event) {}
        fn progress(&mut self, progress: &Progress) {
            if progress.copied >= self.at {
                self.is_due = true;
                if let Some(source) = self.source.take() {
                    source.set_len(100 << 20).unwrap();
                }
            }
        }
        fn interrupted(&self) -> bool {
            false
        }
        fn stop_reason(&self) -> Option<StopReason> {
            let reason = StopReason::MaxSize { size: None, max: 1 };
            self.is_due.then_some(reason)
        }
    }

    #[test]
    fn what_is_complete_is_not_ended_and_what_has_changed_is_not_cut() {
        for size in [1 << 20, 9_000_000] {
            let (source, dest) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            source.write_all_at(&vec![b'x'; size], 0).unwrap();
            let mut worker = Copier::default();
            let mut options = TransferOptions {
                digest: Some(DigestAlgorithm::Sha256),
                ..TransferOptions::default()
            };
            options.room.cut = true;
            let info = worker.source_info(&source).unwrap();
            let mut complete = EndingAt {
                at: size as u64,
                source: None,
                is_due: false,
            };
            let copied = worker.copy(&source, info, &dest, options, &mut complete, ());
            assert!(copied.is_ok(), "{size}: {copied:?}");
            assert!(complete.is_due, "{size}");
            let info = worker.source_info(&source).unwrap();
            let mut changed = EndingAt {
                at: 0,
                source: Some(source.try_clone().unwrap()),
                is_due: false,
            };
            let copied = worker.copy(&source, info, &dest, options, &mut changed, ());
            let error = copied.expect_err("the source has changed").error;
            assert!(matches!(error, Error::SourceChanged { .. }), "{error:?}");
        }
    }

    #[test]
    fn every_way_charges_for_the_file() {
        let ways = [
            TransferOptions::default(),
            TransferOptions {
                engine: engine::find("buffered"),
                ..TransferOptions::default()
            },
            TransferOptions {
                direct: DirectPolicy::Never,
                ..TransferOptions::default()
            },
            TransferOptions {
                sparse: Sparse::Always,
                ..TransferOptions::default()
            },
        ];
        for options in ways {
            assert_eq!(price(0, true, options), 4096, "{options:?}");
            assert_eq!(price(100, true, options), 4096, "{options:?}");
            assert_eq!(price(100_000, true, options), 100_000, "{options:?}");
            assert_eq!(price(1 << 20, false, options), 4096, "{options:?}");
        }
    }
}
