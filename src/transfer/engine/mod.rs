//! The engines: every method by which this program can move bytes. [`engine_table`] has them in order of preference.

mod buffered;
mod copy_file_range;
mod direct;
mod dontcache;
mod engine_table;
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

pub(super) use engine_table::{BUFFERED, COPY_FILE_RANGE, DIRECT, DONTCACHE, REFLINK, SPLICE};
pub use engine_table::{ENGINES, NULL, find};

/// Moves ranges of one source to the same offsets of one destination.
///
/// An engine lives for one file. It holds what its calls need (a window, a pipe, a buffer) and no position: each call
/// names its range, so that another engine can continue where this one failed.
pub trait Engine: Send {
    /// Moves `len` bytes from `at` or fewer, but at least one.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if another engine may succeed; then nothing of the range is moved.
    fn transfer(
        &mut self,
        at: u64,
        len: usize,
        endpoints: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError>;
}

/// The two files of a copy.
#[derive(Debug)]
pub struct Endpoints<'a> {
    /// The source, which is read from or mapped.
    pub source: &'a File,
    /// The properties of the source.
    pub source_info: &'a SourceInfo,
    /// The destination, with its write mode.
    pub dest: DestWriter<'a>,
    /// Degradations that engines met and that are to be reported.
    pub notes: Vec<String>,
}

/// The description of an engine, a row of the table.
pub struct EngineSpec {
    /// Its name for `--engine` and in every report.
    pub name: &'static str,
    /// How it moves bytes, in a phrase.
    pub description: &'static str,
    /// For which files it is used, in a phrase.
    pub applies_to: &'static str,
    /// How its bytes are written.
    pub(super) write_mode: WriteMode,
    /// Most bytes that it moves in one call.
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
    /// Returns whether it writes with O_DIRECT.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.write_mode == WriteMode::Direct
    }

    /// Returns whether it writes through the page cache.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        matches!(self.write_mode, WriteMode::DontCache | WriteMode::Cached)
    }

    /// Checks whether this engine can copy this pair of files.
    ///
    /// # Errors
    /// The reason why it cannot, for `plan.refused`.
    pub fn fits(&self, source: &SourceInfo, dest: &DestCaps) -> Result<(), String> {
        (self.fits)(source, dest)
    }

    /// Makes the engine, for chunks of at most `chunk` bytes.
    ///
    /// # Errors
    /// The error of its buffer or pipe.
    pub fn make(
        &self,
        chunk: usize,
        source: &SourceInfo,
        dest: &DestCaps,
    ) -> io::Result<Box<dyn Engine>> {
        (self.make)(chunk, source, dest)
    }
}

/// Reads into an aligned buffer and writes it in the destination's write mode, in which alone `direct`, `dontcache` and
/// `buffered` differ.
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
        endpoints: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        super::source_reader::read_at(
            endpoints.source,
            &mut self.buffer,
            len,
            at,
            &mut self.read_direct,
            &mut endpoints.notes,
        )
    }
}

impl Engine for Buffer {
    fn transfer(
        &mut self,
        at: u64,
        len: usize,
        endpoints: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        let len = len.min(self.buffer.len());
        let mut n = self.read(at, len, endpoints)?;
        if n < len && endpoints.dest.write_mode() == WriteMode::Direct {
            // A source that has shrunk can end inside a unit; a direct write cannot.
            n -= n % endpoints.dest.align.unit() as usize;
            if n == 0 {
                return Err(EngineError::SourceEnd);
            }
        }
        endpoints.dest.write_at(&self.buffer[..n], at)
    }
}

/// Fails unless the source is a regular file in memory, for engines that write from where the bytes are.
fn needs_memory(source: &SourceInfo) -> Result<(), String> {
    if source.kind.is_memory() {
        Ok(())
    } else {
        Err("source is not in memory (tmpfs, ramfs or hugetlbfs)".into())
    }
}

/// Fails unless the source has offsets, for engines whose system call takes one.
fn needs_file(source: &SourceInfo, dest: &DestCaps) -> Result<(), String> {
    if source.kind == super::capabilities::SourceKind::Stream {
        Err("source is a stream, read to its end".into())
    } else if dest.stream {
        Err("destination is a stream".into())
    } else {
        Ok(())
    }
}

/// Interprets the failure of a call that reads and writes: it is an error of the source if reading it fails as well.
fn failed_to_move(error: io::Error, at: u64, endpoints: &Endpoints<'_>) -> EngineError {
    let fault = EngineError::new(Endpoint::Dest, error);
    if let EngineError::Fatal(..) = fault
        // The call moved nothing, so the first byte is the one that could not be read.
        && let Err(error) = retry(|| pread(endpoints.source, &mut [0], at.cast_signed()))
    {
        return EngineError::Fatal(Endpoint::Source, error);
    }
    fault
}

/// Interprets that a call copied nothing although data was left: the file has shrunk, or the kernel reports in this way
/// that it cannot copy here.
fn nothing_copied(at: u64, endpoints: &Endpoints<'_>) -> EngineError {
    match endpoints.source.metadata() {
        Ok(now) if now.len() <= at => EngineError::SourceEnd,
        _ => EngineError::Unsupported(
            Endpoint::Source,
            io::Error::other("the call copied nothing"),
        ),
    }
}
