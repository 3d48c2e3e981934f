//! The copy loop of one file: next extent, next chunk, engine, record; then the unaligned tail and the final size.

mod finalize;
mod stream_copy;
mod unaligned;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::time::Instant;

use nix::unistd::ftruncate;

use super::capabilities::{Direct, SourceKind};
use super::copy_job::CopyJob;
use super::copy_method::CopyMethod;
use super::cpu_budget::AdaptiveCallSize;
use super::dest_writer::{DestWriter, WriteMode};
use super::engine::{Endpoints, Engine, EngineSpec};
use super::engine_trial::{EngineTrial, TrialClock, TrialStep};
use super::errno_class::{Endpoint, EngineError, retry};
use super::error::{CopyFailure, Error};
use super::event::{CopyListener, Event, Progress};
use super::extent_scanner::{ExtentScanner, ScanMethod, Segment, nonzero_runs};
use super::plan::{Plan, Sparse, TransferOptions};
use super::rate_limit::RateLimiter;
use super::{preallocate, source_reader, token_wait};
use crate::sys::buffer::AlignedBuffer;
use crate::sys::file::set_direct;
use crate::sys::strerror::strerror;
use crate::sys::{cpu, cpu::ThreadUsage};
pub(super) use finalize::{check_source_unchanged, done};

/// Bytes of zeros that are written at once, and of data that is searched for zeros at once.
const ZERO_BUFFER_BYTES: usize = 1 << 20;

/// Bytes of the first call; those of the smallest and the largest follow. 2 MiB from a mapping of 4 KiB pages take 0.3
/// ms of CPU, 8 MiB of huge pages 0.1 ms, and no disk is faster with requests smaller than 128 KiB.
const FIRST_CALL: u64 = 1 << 20;
const LEAST_CALL: u64 = 128 << 10;
const MOST_CALL: u64 = 8 << 20;

/// Copies a file with the engines of its plan.
pub(super) fn copy(
    files: &CopyJob<'_>,
    options: TransferOptions,
    observer: &mut dyn CopyListener,
    method: &mut CopyMethod,
) -> Result<(), CopyFailure> {
    let account = CopyStart::open();
    let plan = Plan::of(files, options);
    let fail = |error| CopyFailure::before(error, files.source_info.size);
    if plan.rows.is_empty() {
        observer.event(&plan.event(None));
        return Err(fail(Error::Impossible(plan.why_not())));
    }
    let finder = match plan.source.finder {
        // Holes are written as zeros there, and what was written cannot be gone back to: reading is always right.
        ScanMethod::Seek if !plan.dest.regular => ScanMethod::Everything,
        finder => finder,
    };
    let mut extents = ExtentScanner::new(files.source, plan.source.size, finder);
    let can_be_cut = check_truncatable(&plan, files.dest);
    let room = preallocate::prepare_dest(&plan, &mut extents, files.dest, &mut || {
        Error::if_interrupted(observer)
    });
    extents.rewind();
    observer.event(&plan.event(room.as_ref().ok().cloned().flatten()));
    if let Err(error) = room {
        return Err(fail(error.or_interrupted(observer)));
    }
    let mut run = FileCopy::new(&plan, files, account, observer);
    if let Err(e) = can_be_cut {
        run.is_truncatable = false;
        run.endpoints.notes.push(format!(
            "the destination cannot be cut to size ({}): its tail goes through the page cache",
            strerror(&e)
        ));
    }
    let copied = run.all(&mut extents);
    let regular = plan.dest.regular;
    method.note_detection(&plan.source, extents.finder(), &options, regular);
    method.note_moved(&run.moved, &plan.rows, &run.rows);
    match copied {
        Ok(()) => {
            run.emit_done();
            Ok(())
        }
        Err(error) => {
            let error = error.or_interrupted(run.observer);
            Err(run.abort(error))
        }
    }
}

/// Checks whether a destination can be truncated to its size, if its tail may have to be padded. A destination with
/// content is emptied before the copy, which answers the question; an empty one is truncated to 0 before anything is
/// reserved for it.
fn check_truncatable(plan: &Plan, dest: &File) -> io::Result<()> {
    let whole = plan.source.kind != SourceKind::Stream
        && plan.source.size.is_multiple_of(plan.dest.align.unit());
    let pads = plan.rows.iter().any(|row| row.is_direct()) && !whole;
    if plan.dest.regular && plan.dest.size == 0 && pads {
        retry(|| ftruncate(dest, 0))
    } else {
        Ok(())
    }
}

/// The bytes that one call shall write.
pub(super) enum ChunkSource<'b> {
    /// So many bytes of the source, from the same offset.
    SourceFile(usize),
    /// These bytes, which are padded with the zeros behind them if the write mode needs whole units.
    Buffer(&'b [u8], usize),
}

impl ChunkSource<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::SourceFile(len) | Self::Buffer(_, len) => *len as u64,
        }
    }

    /// Returns the same with only its first `len` bytes.
    fn first(&self, len: u64) -> Self {
        match self {
            Self::SourceFile(_) => Self::SourceFile(len as usize),
            Self::Buffer(data, _) => Self::Buffer(data, len as usize),
        }
    }
}

/// When a file was begun, and the CPU time of its thread until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyStart {
    pub(super) started: Instant,
    pub(super) before: ThreadUsage,
}

impl CopyStart {
    pub(super) fn open() -> Self {
        Self {
            started: Instant::now(),
            before: cpu::thread_usage(),
        }
    }
}

/// The copy of one file.
pub(super) struct FileCopy<'a> {
    pub(super) plan: &'a Plan,
    pub(super) endpoints: Endpoints<'a>,
    pub(super) pace: Option<&'a RateLimiter>,
    pub(super) pos: u64,
    pub(super) size: u64,
    pub(super) rows: Vec<&'static EngineSpec>,
    pub(super) engine: Option<Box<dyn Engine>>,
    pub(super) choice: Option<EngineTrial>,
    /// Bytes that one call may move without holding a CPU for long.
    call_size: AdaptiveCallSize,
    pub(super) scan: Option<AlignedBuffer>,
    pub(super) is_direct_verified: bool,
    /// Whether the destination can be truncated to its size, so that its last write may be longer.
    pub(super) is_truncatable: bool,
    pub(super) stalls: u32,
    pub(super) moved: BTreeMap<&'static str, u64>,
    pub(super) found: u64,
    pub(super) observer: &'a mut dyn CopyListener,
    pub(super) account: CopyStart,
}

impl<'a> FileCopy<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        files: &CopyJob<'a>,
        account: CopyStart,
        observer: &'a mut dyn CopyListener,
    ) -> Self {
        Self {
            plan,
            endpoints: Endpoints {
                source: files.source,
                source_info: &plan.source,
                dest: DestWriter::new(files.dest, &plan.dest),
                notes: Vec::new(),
            },
            pace: files.pace,
            pos: 0,
            size: plan.source.size,
            rows: plan.rows.clone(),
            engine: None,
            choice: plan.measure.then(EngineTrial::default),
            call_size: AdaptiveCallSize::new(FIRST_CALL, LEAST_CALL, MOST_CALL),
            scan: None,
            is_direct_verified: plan.dest.direct == Direct::Genuine,
            is_truncatable: plan.dest.regular,
            stalls: 0,
            moved: BTreeMap::new(),
            found: 0,
            observer,
            account,
        }
    }

    fn all(&mut self, extents: &mut ExtentScanner<'_>) -> Result<(), Error> {
        if self.plan.source.kind == SourceKind::Stream {
            stream_copy::copy(self)?;
            self.size = self.pos;
        } else {
            self.extents(extents)?;
        }
        self.finalize()?;
        check_source_unchanged(self.endpoints.source, &self.plan.source)
    }

    /// Copies every extent of the source, and the holes between them.
    fn extents(&mut self, extents: &mut ExtentScanner<'_>) -> Result<(), Error> {
        let (align, mut asked) = (self.plan.dest.align, 0);
        while let Some(stretch) = extents
            .next(self.pos.max(asked))
            .map_err(|e| Error::Io(Endpoint::Source, e))?
        {
            match stretch {
                Segment::Data(data) => {
                    self.skip_or_zero_until(align.down(data.start))?;
                    self.data_until(align.up(data.end).min(self.size))?;
                }
                Segment::Hole(end) => {
                    asked = end;
                    self.skip_or_zero_until(align.down(end))?;
                    self.report()?;
                }
            }
        }
        self.found = extents.found();
        self.skip_or_zero_until(self.size)?;
        let doubted = extents.take_suspect_holes(|| self.report())?;
        self.read_doubted(&doubted)
    }

    /// Copies everything up to `end` as data.
    fn data_until(&mut self, end: u64) -> Result<(), Error> {
        while self.pos < end {
            let len = self.chunk(end);
            if self.plan.options.sparse == Sparse::Always && self.plan.dest.regular {
                self.copy_skipping_zeros(len)?;
            } else {
                self.copy_chunk(&ChunkSource::SourceFile(len))?;
            }
        }
        Ok(())
    }

    /// Reads holes that may be data which the file system hides. Zeros found there stay a hole.
    fn read_doubted(&mut self, holes: &[Range<u64>]) -> Result<(), Error> {
        let Some(first) = holes.first().filter(|_| !self.is_null_engine()) else {
            return Ok(());
        };
        let text = format!(
            "the file system says that there is no data at {}, and counts blocks that are nowhere else: read all the same",
            first.start
        );
        self.observer.event(&Event::Note { text });
        self.endpoints
            .dest
            .finish()
            .map_err(|e| Error::Io(Endpoint::Dest, e))?;
        let align = self.plan.dest.align;
        for hole in holes {
            self.pos = align.down(hole.start);
            let end = align.up(hole.end).min(self.size);
            while self.pos < end {
                let len = self.chunk(end);
                self.copy_skipping_zeros(len)?;
            }
        }
        self.pos = self.size;
        Ok(())
    }

    /// Returns the length of the next chunk: up to a multiple of the engine's length, so that windows stay aligned, and
    /// without the unaligned tail if only whole units can be written.
    fn chunk(&self, end: u64) -> usize {
        let row = self.rows[0];
        let chunk = self.plan.options.chunk.unwrap_or_else(|| {
            let affordable = usize::try_from(self.call_size.bytes()).unwrap_or(usize::MAX);
            row.chunk.min(affordable)
        });
        let chunk = self.limit_chunk(chunk) as u64;
        let end = end.min((self.pos / chunk + 1) * chunk);
        let body = self.plan.dest.align.down(self.size);
        let end = if row.write_mode == WriteMode::Direct && self.pos < body {
            end.min(body)
        } else {
            end
        };
        (end - self.pos) as usize
    }

    /// Copies a range in which blocks of zeros shall become holes: they are searched in a buffer that is read without
    /// the mapping.
    fn copy_skipping_zeros(&mut self, len: usize) -> Result<(), Error> {
        let at = self.pos;
        let mut buffer = match self.scan.take() {
            Some(buffer) => buffer,
            None => {
                AlignedBuffer::new(ZERO_BUFFER_BYTES).map_err(|e| Error::Io(Endpoint::Source, e))?
            }
        };
        let len = len.min(ZERO_BUFFER_BYTES);
        let mut direct = self.plan.source.read_direct;
        let n = source_reader::read_at(
            self.endpoints.source,
            &mut buffer,
            len,
            at,
            &mut direct,
            &mut Vec::new(),
        )
        .map_err(|fault| self.fatal(fault))?;
        // The engine that moves these bytes decides for itself how it reads.
        let _ = set_direct(self.endpoints.source, false);
        let mut data = 0;
        for run in nonzero_runs(&buffer[..n], self.plan.dest.align.unit() as usize) {
            data += run.len() as u64;
            self.pos = at + run.start as u64;
            let end = at + run.end as u64;
            while self.pos < end {
                let len = self.chunk(end);
                self.copy_chunk(&ChunkSource::SourceFile(len))?;
            }
        }
        self.pos = at + n as u64;
        self.scan = Some(buffer);
        self.charge_skipped_zeros(n as u64 - data)
    }

    /// Waits for the charge of zeros that were read and left out, since reading them is work, too.
    pub(super) fn charge_skipped_zeros(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes == 0 {
            return self.report();
        }
        token_wait::wait_for_all_tokens(self.pace, bytes, || self.report())?;
        if let Some(pace) = self.pace {
            pace.record_moved(bytes, bytes);
        }
        Ok(())
    }

    /// Leaves a hole if that is wanted and possible, and otherwise writes zeros.
    fn skip_or_zero_until(&mut self, end: u64) -> Result<(), Error> {
        let end = end.min(self.size);
        if end <= self.pos {
            return Ok(());
        }
        if self.plan.dest.regular && self.plan.options.sparse != Sparse::Never {
            self.pos = end;
            return self.report();
        }
        let zeros =
            AlignedBuffer::new(ZERO_BUFFER_BYTES).map_err(|e| Error::Io(Endpoint::Dest, e))?;
        while self.pos < end {
            let len = (end - self.pos).min(self.limit_chunk(ZERO_BUFFER_BYTES) as u64) as usize;
            self.copy_chunk(&ChunkSource::Buffer(&zeros, len))?;
        }
        Ok(())
    }

    /// Copies at the cursor as much of `work` as may be moved at once, with the first engine that can.
    pub(super) fn copy_chunk(&mut self, work: &ChunkSource<'_>) -> Result<(), Error> {
        let taken = self.wait_for_tokens(work.len())?;
        let work = &work.first(taken);
        let clock = TrialClock::read();
        let n = loop {
            let before = cpu::thread_cpu_time();
            let moved = self.attempt(work);
            let cpu = cpu::thread_cpu_time().saturating_sub(before);
            self.call_size.adapt(work.len(), cpu);
            match moved {
                Ok(n) => break n as u64,
                Err(EngineError::Unsupported(side, e)) => self.fall_back(side, e)?,
                Err(fault) => return Err(self.fatal(fault)),
            }
        };
        for text in self.endpoints.notes.drain(..) {
            self.observer.event(&Event::Note { text });
        }
        let row = self.rows[0];
        *self.moved.entry(row.name).or_default() += n;
        self.pos += n;
        if let Some(pace) = self.pace {
            pace.record_moved(taken, n);
        }
        if let (Some(choice), ChunkSource::SourceFile(_)) = (&mut self.choice, work) {
            let next = choice.moved(row.name, n, clock);
            self.apply_trial_step(&next);
        }
        Ok(())
    }

    /// Waits until it may move bytes, and returns how many. It bounds the dirty data in the cache as the chunk.
    fn wait_for_tokens(&mut self, bytes: u64) -> Result<u64, Error> {
        let (pace, unit) = (self.pace, self.plan.dest.align.unit());
        let taken = token_wait::wait_for_tokens(pace, bytes, unit, || self.report())?;
        self.endpoints
            .dest
            .limit_dirty_window(|most| token_wait::limit_dirty_bytes(pace, most));
        Ok(taken)
    }

    /// Returns `most`, or fewer bytes if fewer may be moved at once.
    pub(super) fn limit_chunk(&self, most: usize) -> usize {
        token_wait::limit_chunk(self.pace, most, self.plan.dest.align.unit())
    }

    fn attempt(&mut self, work: &ChunkSource<'_>) -> Result<usize, EngineError> {
        let row = self.rows[0];
        if self.engine.is_none() {
            self.endpoints.dest.set_write_mode(row.write_mode)?;
            // A row before may have read with O_DIRECT; the kernel's own copies would trip over that.
            let _ = set_direct(self.endpoints.source, false);
            let chunk = self.plan.options.chunk.unwrap_or(row.chunk);
            let made = row.make(chunk, &self.plan.source, &self.plan.dest);
            self.engine = Some(made.map_err(|e| EngineError::Unsupported(Endpoint::Source, e))?);
        }
        let unit = self.plan.dest.align.unit() as usize;
        let direct = row.write_mode == WriteMode::Direct;
        let n = match (work, &mut self.engine) {
            (ChunkSource::Buffer(data, len), _) => self.write_padded(data, *len)?,
            (ChunkSource::SourceFile(len), _) if direct && *len < unit => self.write_tail(*len)?,
            (ChunkSource::SourceFile(len), Some(engine)) => {
                let n = engine.transfer(self.pos, *len, &mut self.endpoints)?;
                // A short direct write may end inside a unit: that unit is written again.
                if direct { n - n % unit } else { n }
            }
            (ChunkSource::SourceFile(_), None) => 0,
        };
        self.verify_direct(n)?;
        self.progressed(n)
    }

    /// Returns `n`, the bytes that a call moved. Zero is accepted twice in a row, so that the call is repeated, and is an
    /// error then, so that no endless loop results.
    fn progressed(&mut self, n: usize) -> Result<usize, EngineError> {
        self.stalls = if n == 0 { self.stalls + 1 } else { 0 };
        if self.stalls > 2 {
            // A source that is being cut off gives direct writes less than a unit.
            let shrunk = self
                .endpoints
                .source
                .metadata()
                .is_ok_and(|now| now.len() < self.size);
            return Err(if shrunk {
                EngineError::SourceEnd
            } else {
                EngineError::Fatal(Endpoint::Dest, io::ErrorKind::WriteZero.into())
            });
        }
        Ok(n)
    }

    fn fall_back(&mut self, side: Endpoint, error: io::Error) -> Result<(), Error> {
        self.engine = None;
        self.choice = None;
        let from = self.rows.remove(0);
        let Some(to) = self.rows.first() else {
            let narrowed = self.plan.options.engine.is_some()
                || self.plan.options.direct == super::DirectPolicy::Always;
            return Err(if narrowed {
                Error::Impossible(strerror(&error))
            } else {
                Error::Io(side, error)
            });
        };
        self.observer.event(&Event::Fallback {
            from: from.name,
            to: to.name,
            why: strerror(&error),
            at: self.pos,
        });
        Ok(())
    }

    fn apply_trial_step(&mut self, next: &TrialStep) {
        match *next {
            TrialStep::Same => {}
            TrialStep::Other => {
                self.rows.swap(0, 1);
                self.engine = None;
            }
            TrialStep::Decided(name) => {
                if self.rows[0].name != name {
                    self.rows.swap(0, 1);
                    self.engine = None;
                }
                let tried = self.choice.take().map(|c| c.tried()).unwrap_or_default();
                self.observer.event(&Event::Choice {
                    engine: name,
                    tried,
                });
            }
        }
    }

    fn fatal(&self, fault: EngineError) -> Error {
        match fault {
            EngineError::Fatal(side, e) | EngineError::Unsupported(side, e) => Error::Io(side, e),
            EngineError::SourceEnd => match self.endpoints.source.metadata() {
                Ok(now) if now.len() != self.size => Error::SourceChanged {
                    was: self.size,
                    now: now.len(),
                },
                Ok(_) => Error::Io(Endpoint::Source, io::ErrorKind::UnexpectedEof.into()),
                Err(e) => Error::Io(Endpoint::Source, e),
            },
        }
    }

    /// Reports up to which offset the device has the data, and asks whether to continue.
    pub(super) fn report(&mut self) -> Result<(), Error> {
        self.observer.progress(&Progress {
            copied: self.endpoints.dest.confirmed(self.pos),
            size: self.size,
            engine: self.rows.first().map_or("", |row| row.name),
            elapsed: self.account.started.elapsed(),
        });
        Error::if_interrupted(self.observer)
    }
}
