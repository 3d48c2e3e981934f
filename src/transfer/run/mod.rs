//! The one loop: next extent, next chunk, engine, account; then the tail and the final size.

mod edge;
mod finish;
mod stream;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::time::Instant;

use nix::unistd::ftruncate;

use super::choice::{Choice, Clock, Next};
use super::copy_method::CopyMethod;
use super::cpu_budget::PieceSize;
use super::engine::{Engine, Pair, Row};
use super::error::{Error, Failure};
use super::event::{Event, Observer, Progress};
use super::extents::{Extents, Finder, Stretch, nonzero_runs};
use super::facts::{Direct, SourceKind};
use super::fault::{Fault, Side, retry};
use super::files::Files;
use super::pace::Pacer;
use super::plan::{Options, Plan, Sparse};
use super::sink::{Leaving, Sink};
use super::{pacing, read, reserve};
use crate::sys::buffer::AlignedBuffer;
use crate::sys::file::set_direct;
use crate::sys::words::reason;
use crate::sys::{cpu, cpu::ThreadUsage};
pub(super) use finish::{compare_source, done};

/// Bytes of zeros written at once, and of data scanned for zeros at once.
const BLANK: usize = 1 << 20;

/// Bytes of the first call, of the smallest and of the largest: 2 MiB from a mapping of 4 KiB pages take 0.3 ms of CPU, 8 MiB
/// of huge pages 0.1 ms, and 128 KiB are a request that no disk is faster without.
const FIRST_CALL: u64 = 1 << 20;
const LEAST_CALL: u64 = 128 << 10;
const MOST_CALL: u64 = 8 << 20;

/// Copies a file by the rows of the table.
pub(super) fn copy(
    files: &Files<'_>,
    options: Options,
    observer: &mut dyn Observer,
    method: &mut CopyMethod,
) -> Result<(), Failure> {
    let account = Account::open();
    let plan = Plan::of(files, options);
    let fail = |error| Failure::before(error, files.facts.size);
    if plan.rows.is_empty() {
        observer.event(&plan.event(None));
        return Err(fail(Error::Impossible(plan.why_not())));
    }
    let finder = match plan.source.finder {
        // Holes are written as zeros there, and what was written cannot be gone back to: reading is always right.
        Finder::Seek if !plan.dest.regular => Finder::Everything,
        finder => finder,
    };
    let mut extents = Extents::new(files.source, plan.source.size, finder);
    let can_be_cut = can_be_cut(&plan, files.dest);
    let room = reserve::make_room(&plan, &mut extents, files.dest, &mut || {
        Error::if_interrupted(observer)
    });
    extents.rewind();
    observer.event(&plan.event(room.as_ref().ok().cloned().flatten()));
    if let Err(error) = room {
        return Err(fail(error.or_interrupted(observer)));
    }
    let mut run = Run::new(&plan, files, account, observer);
    if let Err(e) = can_be_cut {
        run.can_be_cut = false;
        run.pair.notes.push(format!(
            "the destination cannot be cut to size ({}): its tail goes through the page cache",
            reason(&e)
        ));
    }
    let copied = run.all(&mut extents);
    let regular = plan.dest.regular;
    method.note_detection(&plan.source, extents.finder(), &options, regular);
    method.note_moved(&run.moved, &plan.rows, &run.rows);
    match copied {
        Ok(()) => {
            run.done();
            Ok(())
        }
        Err(error) => {
            let error = error.or_interrupted(run.observer);
            Err(run.give_up(error))
        }
    }
}

/// Asks whether a destination can be cut to its size, where its tail may have to be padded. One that holds something is emptied
/// before the copy, which answers the question; an empty one is cut to nothing, before anything is reserved for it.
fn can_be_cut(plan: &Plan, dest: &File) -> io::Result<()> {
    let whole = plan.source.kind != SourceKind::Stream
        && plan.source.size.is_multiple_of(plan.dest.align.unit());
    let pads = plan.rows.iter().any(|row| row.is_direct()) && !whole;
    if plan.dest.regular && plan.dest.size == 0 && pads {
        retry(|| ftruncate(dest, 0))
    } else {
        Ok(())
    }
}

/// What one attempt shall write.
pub(super) enum Work<'b> {
    /// So many bytes of the source, from the same offset.
    Move(usize),
    /// These bytes; padded with the zeros behind them where the way needs whole units.
    Put(&'b [u8], usize),
}

impl Work<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Move(len) | Self::Put(_, len) => *len as u64,
        }
    }

    /// Its first `len` bytes.
    fn first(&self, len: u64) -> Self {
        match self {
            Self::Move(_) => Self::Move(len as usize),
            Self::Put(data, _) => Self::Put(data, len as usize),
        }
    }
}

/// When a file was begun, and what its thread had used until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    pub(super) started: Instant,
    pub(super) before: ThreadUsage,
}

impl Account {
    pub(super) fn open() -> Self {
        Self {
            started: Instant::now(),
            before: cpu::thread_usage(),
        }
    }
}

/// One file on its way.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) pair: Pair<'a>,
    pub(super) pace: Option<&'a Pacer>,
    pub(super) pos: u64,
    pub(super) size: u64,
    pub(super) rows: Vec<&'static Row>,
    pub(super) engine: Option<Box<dyn Engine>>,
    pub(super) choice: Option<Choice>,
    /// Bytes that one call may move without holding a CPU for long.
    call_size: PieceSize,
    pub(super) scan: Option<AlignedBuffer>,
    pub(super) proven: bool,
    /// Whether the destination can be cut to its size, so that its last write may be longer.
    pub(super) can_be_cut: bool,
    pub(super) stalls: u32,
    pub(super) moved: BTreeMap<&'static str, u64>,
    pub(super) found: u64,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) account: Account,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        files: &Files<'a>,
        account: Account,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            plan,
            pair: Pair {
                source: files.source,
                facts: &plan.source,
                sink: Sink::new(files.dest, &plan.dest),
                notes: Vec::new(),
            },
            pace: files.pace,
            pos: 0,
            size: plan.source.size,
            rows: plan.rows.clone(),
            engine: None,
            choice: plan.measure.then(Choice::default),
            call_size: PieceSize::new(FIRST_CALL, LEAST_CALL, MOST_CALL),
            scan: None,
            proven: plan.dest.direct == Direct::Genuine,
            can_be_cut: plan.dest.regular,
            stalls: 0,
            moved: BTreeMap::new(),
            found: 0,
            observer,
            account,
        }
    }

    fn all(&mut self, extents: &mut Extents<'_>) -> Result<(), Error> {
        if self.plan.source.kind == SourceKind::Stream {
            stream::copy(self)?;
            self.size = self.pos;
        } else {
            self.extents(extents)?;
        }
        self.settle()?;
        compare_source(self.pair.source, &self.plan.source)
    }

    /// Every extent of the source, and the holes between them.
    fn extents(&mut self, extents: &mut Extents<'_>) -> Result<(), Error> {
        let (align, mut asked) = (self.plan.dest.align, 0);
        while let Some(stretch) = extents
            .next(self.pos.max(asked))
            .map_err(|e| Error::Io(Side::Source, e))?
        {
            match stretch {
                Stretch::Data(data) => {
                    self.hole_until(align.down(data.start))?;
                    self.data_until(align.up(data.end).min(self.size))?;
                }
                Stretch::Hole(end) => {
                    asked = end;
                    self.hole_until(align.down(end))?;
                    self.report()?;
                }
            }
        }
        self.found = extents.found();
        self.hole_until(self.size)?;
        let doubted = extents.holes_in_doubt(|| self.report())?;
        self.read_doubted(&doubted)
    }

    /// Copies everything up to `end` as data.
    fn data_until(&mut self, end: u64) -> Result<(), Error> {
        while self.pos < end {
            let len = self.chunk(end);
            if self.plan.options.sparse == Sparse::Always && self.plan.dest.regular {
                self.without_zeros(len)?;
            } else {
                self.step(&Work::Move(len))?;
            }
        }
        Ok(())
    }

    /// Reads holes that the file system may have made up. What is zeros there stays a hole.
    fn read_doubted(&mut self, holes: &[Range<u64>]) -> Result<(), Error> {
        let Some(first) = holes.first().filter(|_| !self.only_pretends()) else {
            return Ok(());
        };
        let text = format!(
            "the file system says that there is no data at {}, and counts blocks that are nowhere else: read all the same",
            first.start
        );
        self.observer.event(&Event::Note { text });
        self.pair
            .sink
            .finish()
            .map_err(|e| Error::Io(Side::Dest, e))?;
        let align = self.plan.dest.align;
        for hole in holes {
            self.pos = align.down(hole.start);
            let end = align.up(hole.end).min(self.size);
            while self.pos < end {
                let len = self.chunk(end);
                self.without_zeros(len)?;
            }
        }
        self.pos = self.size;
        Ok(())
    }

    /// The next chunk: up to a multiple of the row's length, so that windows stay aligned, and no further than the
    /// body where only whole units can be written.
    fn chunk(&self, end: u64) -> usize {
        let row = self.rows[0];
        let chunk = self.plan.options.chunk.unwrap_or_else(|| {
            let affordable = usize::try_from(self.call_size.bytes()).unwrap_or(usize::MAX);
            row.chunk.min(affordable)
        });
        let chunk = self.piece(chunk) as u64;
        let end = end.min((self.pos / chunk + 1) * chunk);
        let body = self.plan.dest.align.down(self.size);
        let end = if row.leaving == Leaving::Direct && self.pos < body {
            end.min(body)
        } else {
            end
        };
        (end - self.pos) as usize
    }

    /// A range in which blocks of zeros shall become holes: they are looked for in a copy of ours, read past the map.
    fn without_zeros(&mut self, len: usize) -> Result<(), Error> {
        let at = self.pos;
        let mut buffer = match self.scan.take() {
            Some(buffer) => buffer,
            None => AlignedBuffer::new(BLANK).map_err(|e| Error::Io(Side::Source, e))?,
        };
        let len = len.min(BLANK);
        let mut direct = self.plan.source.read_direct;
        let n = read::at(
            self.pair.source,
            &mut buffer,
            len,
            at,
            &mut direct,
            &mut Vec::new(),
        )
        .map_err(|fault| self.fatal(fault))?;
        // The engine that moves these bytes decides for itself how it reads.
        let _ = set_direct(self.pair.source, false);
        let mut data = 0;
        for run in nonzero_runs(&buffer[..n], self.plan.dest.align.unit() as usize) {
            data += run.len() as u64;
            self.pos = at + run.start as u64;
            let end = at + run.end as u64;
            while self.pos < end {
                let len = self.chunk(end);
                self.step(&Work::Move(len))?;
            }
        }
        self.pos = at + n as u64;
        self.scan = Some(buffer);
        self.left_out(n as u64 - data)
    }

    /// Zeros that were read to be left out: reading them is work, too.
    pub(super) fn left_out(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes == 0 {
            return self.report();
        }
        pacing::admit_all(self.pace, bytes, || self.report())?;
        if let Some(pace) = self.pace {
            pace.moved(bytes, bytes);
        }
        Ok(())
    }

    /// A hole stays one where that is wanted and can be; else zeros are written.
    fn hole_until(&mut self, end: u64) -> Result<(), Error> {
        let end = end.min(self.size);
        if end <= self.pos {
            return Ok(());
        }
        if self.plan.dest.regular && self.plan.options.sparse != Sparse::Never {
            self.pos = end;
            return self.report();
        }
        let zeros = AlignedBuffer::new(BLANK).map_err(|e| Error::Io(Side::Dest, e))?;
        while self.pos < end {
            let len = (end - self.pos).min(self.piece(BLANK) as u64) as usize;
            self.step(&Work::Put(&zeros, len))?;
        }
        Ok(())
    }

    /// Does one piece of work at the cursor, or as much of it as may go at once, by the first row that can.
    pub(super) fn step(&mut self, work: &Work<'_>) -> Result<(), Error> {
        let taken = self.admit(work.len())?;
        let work = &work.first(taken);
        let clock = Clock::read();
        let n = loop {
            let before = cpu::thread_time();
            let moved = self.attempt(work);
            let cpu = cpu::thread_time().saturating_sub(before);
            self.call_size.adapt(work.len(), cpu);
            match moved {
                Ok(n) => break n as u64,
                Err(Fault::Unsupported(side, e)) => self.fall_back(side, e)?,
                Err(fault) => return Err(self.fatal(fault)),
            }
        };
        for text in self.pair.notes.drain(..) {
            self.observer.event(&Event::Note { text });
        }
        let row = self.rows[0];
        *self.moved.entry(row.name).or_default() += n;
        self.pos += n;
        if let Some(pace) = self.pace {
            pace.moved(taken, n);
        }
        if let (Some(choice), Work::Move(_)) = (&mut self.choice, work) {
            let next = choice.moved(row.name, n, clock);
            self.choose(&next);
        }
        Ok(())
    }

    /// Waits for its turn, and says how many bytes may go; what goes through the cache stays as bounded as a chunk.
    fn admit(&mut self, bytes: u64) -> Result<u64, Error> {
        let (pace, unit) = (self.pace, self.plan.dest.align.unit());
        let taken = pacing::admit(pace, bytes, unit, || self.report())?;
        self.pair.sink.bound(|most| pacing::behind(pace, most));
        Ok(taken)
    }

    /// `most` bytes, or as many as may go at once.
    pub(super) fn piece(&self, most: usize) -> usize {
        pacing::piece(self.pace, most, self.plan.dest.align.unit())
    }

    fn attempt(&mut self, work: &Work<'_>) -> Result<usize, Fault> {
        let row = self.rows[0];
        if self.engine.is_none() {
            self.pair.sink.leave_by(row.leaving)?;
            // A row before may have read with O_DIRECT; the kernel's own copies would trip over that.
            let _ = set_direct(self.pair.source, false);
            let chunk = self.plan.options.chunk.unwrap_or(row.chunk);
            let made = row.make(chunk, &self.plan.source, &self.plan.dest);
            self.engine = Some(made.map_err(|e| Fault::Unsupported(Side::Source, e))?);
        }
        let unit = self.plan.dest.align.unit() as usize;
        let direct = row.leaving == Leaving::Direct;
        let n = match (work, &mut self.engine) {
            (Work::Put(data, len), _) => self.put(data, *len)?,
            (Work::Move(len), _) if direct && *len < unit => self.tail(*len)?,
            (Work::Move(len), Some(engine)) => {
                let n = engine.transfer(self.pos, *len, &mut self.pair)?;
                // A short direct write may end inside a unit: that unit is written again.
                if direct { n - n % unit } else { n }
            }
            (Work::Move(_), None) => 0,
        };
        self.prove(n)?;
        self.progressed(n)
    }

    /// A call that moved nothing is made again, and when that moves nothing either it is an error, not a loop.
    fn progressed(&mut self, n: usize) -> Result<usize, Fault> {
        self.stalls = if n == 0 { self.stalls + 1 } else { 0 };
        if self.stalls > 2 {
            // A source that is being cut off gives direct writes less than a unit.
            let shrunk = self
                .pair
                .source
                .metadata()
                .is_ok_and(|now| now.len() < self.size);
            return Err(if shrunk {
                Fault::SourceEnd
            } else {
                Fault::Fatal(Side::Dest, io::ErrorKind::WriteZero.into())
            });
        }
        Ok(n)
    }

    fn fall_back(&mut self, side: Side, error: io::Error) -> Result<(), Error> {
        self.engine = None;
        self.choice = None;
        let from = self.rows.remove(0);
        let Some(to) = self.rows.first() else {
            let narrowed = self.plan.options.engine.is_some()
                || self.plan.options.direct == super::DirectPolicy::Always;
            return Err(if narrowed {
                Error::Impossible(reason(&error))
            } else {
                Error::Io(side, error)
            });
        };
        self.observer.event(&Event::Fallback {
            from: from.name,
            to: to.name,
            why: reason(&error),
            at: self.pos,
        });
        Ok(())
    }

    fn choose(&mut self, next: &Next) {
        match *next {
            Next::Same => {}
            Next::Other => {
                self.rows.swap(0, 1);
                self.engine = None;
            }
            Next::Decided(name) => {
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

    fn fatal(&self, fault: Fault) -> Error {
        match fault {
            Fault::Fatal(side, e) | Fault::Unsupported(side, e) => Error::Io(side, e),
            Fault::SourceEnd => match self.pair.source.metadata() {
                Ok(now) if now.len() != self.size => Error::SourceChanged {
                    was: self.size,
                    now: now.len(),
                },
                Ok(_) => Error::Io(Side::Source, io::ErrorKind::UnexpectedEof.into()),
                Err(e) => Error::Io(Side::Source, e),
            },
        }
    }

    /// Tells how far the device is, and asks whether to go on.
    pub(super) fn report(&mut self) -> Result<(), Error> {
        self.observer.progress(&Progress {
            copied: self.pair.sink.confirmed(self.pos),
            size: self.size,
            engine: self.rows.first().map_or("", |row| row.name),
            elapsed: self.account.started.elapsed(),
        });
        Error::if_interrupted(self.observer)
    }
}
