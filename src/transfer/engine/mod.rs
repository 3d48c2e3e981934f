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

use nix::sys::uio::pread;

use super::align::Align;
use super::capabilities::{DestCaps, SourceInfo};
use super::dest_writer::{DestWriter, WriteMode};
use super::errno_class::{Endpoint, EngineError, retry};
use crate::sys::buffer::AlignedBuffer;

/// Moves ranges of one source to the same offsets of one destination.
///
/// An engine lives for one file. It holds what its calls need (a window, a pipe, a buffer) and no position: each call
/// names its range, so another engine can go on where this one gave up.
pub trait Engine {
    /// Moves bytes from `at`, `len` of them or fewer, at least one.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] where another engine may do better; nothing of the range is moved then.
    fn transfer(
        &mut self,
        at: u64,
        len: usize,
        pair: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError>;
}

/// The two files of a copy.
#[derive(Debug)]
pub struct Endpoints<'a> {
    /// Read from, or mapped.
    pub source: &'a File,
    /// What is known of it.
    pub source_info: &'a SourceInfo,
    /// Written to.
    pub dest: DestWriter<'a>,
    /// Degradations that engines met, to be told.
    pub notes: Vec<String>,
}

/// A row of the table.
pub struct EngineSpec {
    /// The name for `--engine` and in every report.
    pub name: &'static str,
    /// How it moves bytes, in a phrase.
    pub description: &'static str,
    /// When it is taken, in a phrase.
    pub applies_to: &'static str,
    /// The way its bytes leave.
    pub(super) write_mode: WriteMode,
    /// The most it moves in one call, in bytes.
    pub chunk: usize,
    fits: fn(&SourceInfo, &DestCaps) -> Result<(), String>,
    make: fn(usize, &SourceInfo, &DestCaps) -> io::Result<Box<dyn Engine>>,
}

impl std::fmt::Debug for EngineSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for EngineSpec {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl EngineSpec {
    /// Whether its writes are O_DIRECT.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.write_mode == WriteMode::Direct
    }

    /// Whether its writes go through the page cache.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        matches!(self.write_mode, WriteMode::DontCache | WriteMode::Cached)
    }

    /// Whether this row can serve this pair of files, or why not.
    ///
    /// # Errors
    /// The reason, for `plan.refused`.
    pub fn fits(&self, source: &SourceInfo, dest: &DestCaps) -> Result<(), String> {
        (self.fits)(source, dest)
    }

    /// Makes the engine, for chunks of at most `chunk` bytes.
    ///
    /// # Errors
    /// What its buffer or pipe failed with.
    pub fn make(
        &self,
        chunk: usize,
        source: &SourceInfo,
        dest: &DestCaps,
    ) -> io::Result<Box<dyn Engine>> {
        (self.make)(chunk, source, dest)
    }
}

/// The table, in order of preference.
pub static ENGINES: [&EngineSpec; 8] = [
    &reflink::SPEC,
    &mmap::SPEC,
    &splice::SPEC,
    &direct::SPEC,
    &dontcache::SPEC,
    &copy_file_range::SPEC,
    &sendfile::SPEC,
    &buffered::SPEC,
];

/// The engine that moves nothing, to price the loop around the others. No command line reaches it.
pub static NULL: &EngineSpec = &null::SPEC;

/// The row that shares blocks.
pub(super) static REFLINK: &EngineSpec = &reflink::SPEC;

/// The row whose bytes `--debug` calls offloaded, as cp does.
pub(super) static COPY_FILE_RANGE: &EngineSpec = &copy_file_range::SPEC;

/// The two rows of small files.
pub(super) static DONTCACHE: &EngineSpec = &dontcache::SPEC;
pub(super) static BUFFERED: &EngineSpec = &buffered::SPEC;

/// The row called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static EngineSpec> {
    ENGINES.iter().copied().find(|row| row.name == name)
}

/// Reading into an aligned buffer, and writing it in the sink's way: all that `direct`, `dontcache` and `buffered`
/// differ in is that way.
struct Buffer {
    buffer: AlignedBuffer,
    read_direct: Option<Align>,
}

impl Buffer {
    fn boxed(chunk: usize, source: &SourceInfo, _: &DestCaps) -> io::Result<Box<dyn Engine>> {
        Ok(Box::new(Self {
            buffer: AlignedBuffer::new(chunk)?,
            read_direct: source.read_direct,
        }))
    }

    fn read(
        &mut self,
        at: u64,
        len: usize,
        pair: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        super::source_reader::read_at(
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
    fn transfer(
        &mut self,
        at: u64,
        len: usize,
        pair: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        let len = len.min(self.buffer.len());
        let mut n = self.read(at, len, pair)?;
        if n < len && pair.dest.write_mode() == WriteMode::Direct {
            // A source that has shrunk ends where it likes; a direct write does not.
            n -= n % pair.dest.align.unit() as usize;
            if n == 0 {
                return Err(EngineError::SourceEnd);
            }
        }
        pair.dest.write_at(&self.buffer[..n], at)
    }
}

/// A regular source that is in memory, for the rows that write from where the bytes are.
fn needs_memory(source: &SourceInfo) -> Result<(), String> {
    if source.kind.is_memory() {
        Ok(())
    } else {
        Err("source is not in memory (tmpfs, ramfs or hugetlbfs)".into())
    }
}

/// A source with offsets, for the rows whose call takes one.
fn needs_file(source: &SourceInfo, dest: &DestCaps) -> Result<(), String> {
    if source.kind == super::capabilities::SourceKind::Stream {
        Err("source is a stream, read to its end".into())
    } else if dest.stream {
        Err("destination is a stream".into())
    } else {
        Ok(())
    }
}

/// What it means that a call failed which reads and writes: an error of the source when reading it fails as well.
fn failed_to_move(error: io::Error, at: u64, pair: &Endpoints<'_>) -> EngineError {
    let fault = EngineError::new(Endpoint::Dest, error);
    if let EngineError::Fatal(..) = fault
        // The call moved nothing, so the first byte is the one that could not be had.
        && let Err(error) = retry(|| pread(pair.source, &mut [0], at.cast_signed()))
    {
        return EngineError::Fatal(Endpoint::Source, error);
    }
    fault
}

/// What it means that a call copied nothing though data was left: a file that has shrunk, or a kernel that cannot do it
/// here and says so in this way.
fn nothing_copied(at: u64, pair: &Endpoints<'_>) -> EngineError {
    match pair.source.metadata() {
        Ok(now) if now.len() <= at => EngineError::SourceEnd,
        _ => EngineError::Unsupported(
            Endpoint::Source,
            io::Error::other("the call copied nothing"),
        ),
    }
}
