//! Reads a source with offsets from its start to its end and hashes it: data by pread(2), past any mapping, and holes
//! without touching them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use super::algorithm::{Digest, DigestAlgorithm, Hasher};
use crate::sys::buffer::AlignedBuffer;
use crate::sys::cpu::ThreadUsage;
use crate::transfer::align::Align;
use crate::transfer::capabilities::SourceInfo;
use crate::transfer::copy_job::CopyJob;
use crate::transfer::drain::CopyDrain;
use crate::transfer::errno_class::Endpoint;
use crate::transfer::error::Error;
use crate::transfer::extent_scanner::{ExtentScanner, ScanMethod, Segment};
use crate::transfer::source_reader::read_at;

/// Bytes that are read and hashed at once: they stay in the second-level cache of a CPU between the two, and a call for
/// them takes about 50 us.
const READ_BYTES: usize = 256 << 10;

/// The digest of a source.
pub(in crate::transfer) struct HashedSource {
    /// The digest of all bytes.
    pub(in crate::transfer) digest: Digest,
    /// CPU time of a thread that worked beside the copying one.
    pub(in crate::transfer) usage: ThreadUsage,
}

impl From<Digest> for HashedSource {
    /// Makes the result of work of the copying thread.
    fn from(digest: Digest) -> Self {
        Self {
            digest,
            usage: ThreadUsage::default(),
        }
    }
}

/// A piece of a source that is hashed next.
#[derive(Debug, Clone, Copy)]
pub(in crate::transfer) struct Piece {
    /// Offset of its end in the source.
    pub(in crate::transfer) end: u64,
    /// Bytes of it that are read: none of a hole.
    pub(in crate::transfer) data: u64,
}

/// The source whose bytes are hashed, and where they are if it is being drained.
#[derive(Clone, Copy)]
pub(in crate::transfer) struct HashInput<'a> {
    /// The source, which has the bytes that were not freed.
    pub(in crate::transfer) source: &'a File,
    /// The properties of the source.
    pub(in crate::transfer) info: &'a SourceInfo,
    /// The destination and the drain, whose first bytes the source may not have any more.
    pub(in crate::transfer) drained: Option<(&'a File, &'a CopyDrain)>,
}

impl<'a> HashInput<'a> {
    /// Returns the input for the source of a copy.
    pub(in crate::transfer) fn of(job: &'a CopyJob<'a>) -> Self {
        Self {
            source: job.source,
            info: &job.source_info,
            drained: job.drain.map(|drain| (job.dest, drain)),
        }
    }
}

/// What is called before each piece, and may wait or fail.
pub(in crate::transfer) type Admit<'a> = dyn FnMut(Piece) -> Result<(), Error> + 'a;

/// Hashes all of a source, each piece when `admit` has returned.
///
/// # Errors
/// Errors of reading, a source that has become shorter, and the error of `admit`.
pub(in crate::transfer) fn hash_source(
    input: HashInput<'_>,
    algorithm: DigestAlgorithm,
    admit: &mut Admit<'_>,
) -> Result<Digest, Error> {
    let HashInput { source, info, .. } = input;
    if let Some((dest, drain)) = input.drained {
        return hash_drained(input, (dest, drain), algorithm, admit);
    }
    let own = own_description(source);
    let mut extents = ExtentScanner::new(source, info.size, info.finder);
    let mut hash = SourceHash::new(own.as_ref().unwrap_or(source), info, algorithm)?;
    hash.add_all(&mut extents, 0, admit)?;
    let suspects = extents.take_suspect_holes(|| {
        admit(Piece {
            end: info.size,
            data: 0,
        })
    })?;
    if suspects.is_empty() {
        return Ok(hash.hasher.digest());
    }
    // The file system hides data in what it says are holes. The order of the bytes counts, so all are read.
    let mut extents = ExtentScanner::new(source, info.size, ScanMethod::Everything);
    hash.hasher = Hasher::new(algorithm);
    hash.add_all(&mut extents, 0, admit)?;
    Ok(hash.hasher.digest())
}

/// Hashes a source that is being drained: what an earlier run may have freed is read from the destination. Notes how far
/// it is, since no byte is freed before.
fn hash_drained(
    input: HashInput<'_>,
    (dest, drain): (&File, &CopyDrain),
    algorithm: DigestAlgorithm,
    admit: &mut Admit<'_>,
) -> Result<Digest, Error> {
    let HashInput { source, info, .. } = input;
    let (mut hasher, begin) = (Hasher::new(algorithm), drain.begin().min(info.size));
    if begin > 0 {
        // It is open for writing alone.
        let dest = own_description(dest).ok_or_else(|| {
            Error::ReadBack(io::Error::other("it cannot be opened for reading by /proc"))
        })?;
        let status = SourceInfo::of(&dest).map_err(Error::ReadBack)?;
        let part = SourceInfo {
            size: begin,
            ..status
        };
        let mut extents = ExtentScanner::new(&dest, begin, part.finder);
        let mut hash = SourceHash::new(&dest, &part, algorithm)?;
        hash.add_all(&mut extents, 0, admit)?;
        hasher = hash.hasher;
    }
    let mut extents = ExtentScanner::new(source, info.size, info.finder);
    let mut hash = SourceHash::new(source, info, algorithm)?;
    hash.hasher = hasher;
    hash.drain = Some(drain);
    hash.add_all(&mut extents, begin, admit)?;
    Ok(hash.hasher.digest())
}

/// Opens the source again, so that O_DIRECT can be set for these reads alone. `None` without /proc: the reads fit both
/// modes.
fn own_description(source: &File) -> Option<File> {
    File::open(format!("/proc/self/fd/{}", source.as_raw_fd())).ok()
}

/// A source that is being hashed.
struct SourceHash<'a> {
    source: &'a File,
    size: u64,
    hasher: Hasher,
    buffer: AlignedBuffer,
    /// The alignment for reads past the page cache, where those are wanted.
    direct: Option<Align>,
    /// The drain that must know what is hashed.
    drain: Option<&'a CopyDrain>,
}

impl<'a> SourceHash<'a> {
    fn new(source: &'a File, info: &SourceInfo, algorithm: DigestAlgorithm) -> Result<Self, Error> {
        Ok(Self {
            source,
            size: info.size,
            hasher: Hasher::new(algorithm),
            buffer: AlignedBuffer::new(READ_BYTES).map_err(read_error)?,
            direct: info.read_direct,
            drain: None,
        })
    }

    /// Adds the source from an offset on, segment by segment.
    fn add_all(
        &mut self,
        extents: &mut ExtentScanner<'_>,
        begin: u64,
        admit: &mut Admit<'_>,
    ) -> Result<(), Error> {
        let mut pos = begin;
        while let Some(segment) = extents.next(pos).map_err(read_error)? {
            let (hole_end, end) = match segment {
                Segment::Data(data) => (data.start, data.end),
                Segment::Hole(end) => (end, end),
            };
            self.add_hole(pos..hole_end.min(self.size), admit)?;
            self.add_data(hole_end..end.min(self.size), admit)?;
            pos = end;
            self.note_hashed(pos.min(self.size));
        }
        self.add_hole(pos..self.size, admit)?;
        self.note_hashed(self.size);
        Ok(())
    }

    fn note_hashed(&self, at: u64) {
        if let Some(drain) = self.drain {
            drain.note_hashed(at);
        }
    }

    fn add_hole(&mut self, hole: Range<u64>, admit: &mut Admit<'_>) -> Result<(), Error> {
        for at in hole.clone().step_by(READ_BYTES) {
            let end = hole.end.min(at + READ_BYTES as u64);
            admit(Piece { end, data: 0 })?;
            self.hasher.update_zeros(end - at);
        }
        Ok(())
    }

    fn add_data(&mut self, data: Range<u64>, admit: &mut Admit<'_>) -> Result<(), Error> {
        let mut pos = data.start;
        while pos < data.end {
            // Reads that begin on a multiple of the buffer stay aligned, whatever the extents are.
            let whole = (pos / READ_BYTES as u64 + 1) * READ_BYTES as u64;
            let end = data.end.min(whole);
            admit(Piece {
                end,
                data: end - pos,
            })?;
            let len = (end - pos) as usize;
            let direct = &mut self.direct;
            let mut notes = Vec::new();
            let n = read_at(self.source, &mut self.buffer, len, pos, direct, &mut notes)
                .map_err(|e| Error::of_engine(e, self.source, self.size))?;
            self.hasher.update(&self.buffer[..n]);
            pos += n as u64;
        }
        Ok(())
    }
}

fn read_error(error: impl Into<io::Error>) -> Error {
    Error::Io(Endpoint::Source, error.into())
}
