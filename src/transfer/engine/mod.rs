//! The table of engines: every way this program can move bytes, in order of preference.

mod buffered;
mod copy_file_range;
mod direct;
mod dontcache;
mod mmap;
mod null;
mod reflink;
mod sendfile;
mod splice;

use std::fs::File;
use std::io;

use super::align::Align;
use super::facts::{DestFacts, SourceFacts};
use super::fault::Fault;
use super::sink::{Leaving, Sink};
use crate::sys::buffer::AlignedBuffer;

/// Moves ranges of one source to the same offsets of one destination.
///
/// An engine lives for one file. It holds what its calls need (a window, a pipe, a buffer) and no position: each call
/// names its range, so another engine can go on where this one gave up.
pub trait Engine {
    /// Moves bytes from `at`, `len` of them or fewer, at least one.
    ///
    /// # Errors
    /// [`Fault::Unsupported`] where another engine may do better; nothing of the range is moved then.
    fn transfer(&mut self, at: u64, len: usize, pair: &mut Pair<'_>) -> Result<usize, Fault>;
}

/// The two files of a copy.
#[derive(Debug)]
pub struct Pair<'a> {
    /// Read from, or mapped.
    pub source: &'a File,
    /// What is known of it.
    pub facts: &'a SourceFacts,
    /// Written to.
    pub sink: Sink<'a>,
    /// Degradations that engines met, to be told.
    pub notes: Vec<String>,
}

/// A row of the table.
pub struct Row {
    /// The name for `--engine` and in every report.
    pub name: &'static str,
    /// How it moves bytes, in a phrase.
    pub how: &'static str,
    /// When it is taken, in a phrase.
    pub when: &'static str,
    /// The way its bytes leave.
    pub(super) leaving: Leaving,
    /// The most it moves in one call, in bytes.
    pub chunk: usize,
    fits: fn(&SourceFacts, &DestFacts) -> Result<(), String>,
    make: fn(usize, &SourceFacts, &DestFacts) -> io::Result<Box<dyn Engine>>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Row {
    /// Whether its writes are O_DIRECT.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.leaving == Leaving::Direct
    }

    /// Whether its writes go through the page cache.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        matches!(self.leaving, Leaving::DontCache | Leaving::Cached)
    }

    /// Whether this row can serve this pair of files, or why not.
    ///
    /// # Errors
    /// The reason, for `plan.refused`.
    pub fn fits(&self, source: &SourceFacts, dest: &DestFacts) -> Result<(), String> {
        (self.fits)(source, dest)
    }

    /// Makes the engine, for chunks of at most `chunk` bytes.
    ///
    /// # Errors
    /// What its buffer or pipe failed with.
    pub fn make(
        &self,
        chunk: usize,
        source: &SourceFacts,
        dest: &DestFacts,
    ) -> io::Result<Box<dyn Engine>> {
        (self.make)(chunk, source, dest)
    }
}

/// The table, in order of preference.
pub static TABLE: [&Row; 8] = [
    &reflink::ROW,
    &mmap::ROW,
    &splice::ROW,
    &direct::ROW,
    &dontcache::ROW,
    &copy_file_range::ROW,
    &sendfile::ROW,
    &buffered::ROW,
];

/// The engine that moves nothing, to price the loop around the others. No command line reaches it.
pub static NULL: &Row = &null::ROW;

/// The row that shares blocks.
pub(super) static REFLINK: &Row = &reflink::ROW;

/// The row whose bytes `--debug` calls offloaded, as cp does.
pub(super) static COPY_FILE_RANGE: &Row = &copy_file_range::ROW;

/// The two rows of small files.
pub(super) static DONTCACHE: &Row = &dontcache::ROW;
pub(super) static BUFFERED: &Row = &buffered::ROW;

/// The row called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().copied().find(|row| row.name == name)
}

/// Reading into an aligned buffer, and writing it in the sink's way: all that `direct`, `dontcache` and `buffered`
/// differ in is that way.
struct Buffer {
    buffer: AlignedBuffer,
    read_direct: Option<Align>,
}

impl Buffer {
    fn boxed(chunk: usize, source: &SourceFacts, _: &DestFacts) -> io::Result<Box<dyn Engine>> {
        Ok(Box::new(Self {
            buffer: AlignedBuffer::new(chunk)?,
            read_direct: source.read_direct,
        }))
    }

    fn read(&mut self, at: u64, len: usize, pair: &mut Pair<'_>) -> Result<usize, Fault> {
        super::read::at(
            pair.source,
            &mut self.buffer,
            len,
            at,
            &mut self.read_direct,
            &mut pair.notes,
        )
    }
}

impl Engine for Buffer {
    fn transfer(&mut self, at: u64, len: usize, pair: &mut Pair<'_>) -> Result<usize, Fault> {
        let len = len.min(self.buffer.len());
        let mut n = self.read(at, len, pair)?;
        if n < len && pair.sink.leaving() == Leaving::Direct {
            // A source that has shrunk ends where it likes; a direct write does not.
            n -= n % pair.sink.align.unit() as usize;
            if n == 0 {
                return Err(Fault::SourceEnd);
            }
        }
        pair.sink.write_at(&self.buffer[..n], at)
    }
}

/// A regular source that is in memory, for the rows that write from where the bytes are.
fn needs_memory(source: &SourceFacts) -> Result<(), String> {
    if source.kind.is_memory() {
        Ok(())
    } else {
        Err("source is not in memory (tmpfs, ramfs or hugetlbfs)".into())
    }
}

/// A source with offsets, for the rows whose call takes one.
fn needs_file(source: &SourceFacts, dest: &DestFacts) -> Result<(), String> {
    if source.kind == super::facts::SourceKind::Stream {
        Err("source is a stream, read to its end".into())
    } else if dest.stream {
        Err("destination is a stream".into())
    } else {
        Ok(())
    }
}

/// What it means that a call copied nothing though data was left: a file that has shrunk, or a kernel that cannot do it
/// here and says so in this way.
fn nothing_copied(at: u64, pair: &Pair<'_>) -> Fault {
    match pair.source.metadata() {
        Ok(now) if now.len() <= at => Fault::SourceEnd,
        _ => Fault::Unsupported(
            super::fault::Side::Source,
            io::Error::other("the call copied nothing"),
        ),
    }
}
