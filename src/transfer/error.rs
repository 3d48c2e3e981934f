//! The errors of a transfer: they tell which operation failed on which of the two files, so that the caller can name
//! it.

use std::fmt;
use std::fs::File;
use std::io;

use nix::errno::Errno;

use super::errno_class::{Endpoint, EngineError, errno_of, is_no_space};
use super::stop_reason::StopReason;
use super::writers::Writers;

/// Why a file was not copied, or not faithfully.
#[derive(Debug)]
pub enum Error {
    /// A call on one of the files failed.
    Io(Endpoint, io::Error),
    /// An existing destination could not be truncated, with the error that open(2) with O_TRUNC would return. It is
    /// unchanged, unless the copy has begun.
    Truncate(io::Error),
    /// The destination could not be truncated or extended to its size.
    Resize(io::Error),
    /// Blocks could not be shared, and the options allow nothing else.
    Clone(io::Error),
    /// No engine can do what was asked, for this reason.
    Impossible(String),
    /// The source changed while it was copied. If both sizes are equal, its modification time differs.
    SourceChanged {
        /// Size in bytes when the copy began.
        was: u64,
        /// Size in bytes at the end of the copy.
        now: u64,
    },
    /// Another process can write to the source, or it cannot be told, and the options forbid to copy it then.
    NotQuiescent {
        /// What is known of processes that can write to it: not [`Writers::None`].
        writers: Writers,
        /// Whether that was found out when the bytes were copied already.
        is_copied: bool,
    },
    /// It could not be recorded how much of the destination is on the disk, or that could not be made so.
    DurablePoint(io::Error),
    /// The memory of the source could not be given back.
    Free(io::Error),
    /// The copy could not be verified when it is complete, for this reason.
    NotVerifiable(&'static str),
    /// The complete destination could not be opened or read to be compared with the source.
    ReadBack(io::Error),
    /// The complete destination was read back, and differs from the source.
    Different {
        /// Offset of the first byte that differs.
        at: u64,
    },
    /// The listener asked to stop.
    Interrupted,
    /// The copy was ended for this reason, though no call has failed.
    Stopped(StopReason),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(Endpoint::Source, e) => write!(f, "reading: {e}"),
            Self::Io(Endpoint::Dest, e) => write!(f, "writing: {e}"),
            Self::Truncate(e) => write!(f, "emptying: {e}"),
            Self::Resize(e) => write!(f, "setting the size: {e}"),
            Self::Clone(e) => write!(f, "sharing blocks: {e}"),
            Self::Impossible(why) => f.write_str(why),
            Self::SourceChanged { was, now } if was == now => {
                write!(
                    f,
                    "source was modified during the copy (its size is still {now} bytes)"
                )
            }
            Self::SourceChanged { was, now } => {
                write!(
                    f,
                    "source changed during the copy from {was} to {now} bytes"
                )
            }
            Self::NotQuiescent { writers, is_copied } => {
                let when = if *is_copied { "has had" } else { "has" };
                match writers {
                    Writers::Unknown(why) => {
                        write!(
                            f,
                            "it is unknown whether another process {when} it open for writing: {why}"
                        )
                    }
                    Writers::Possible | Writers::None => {
                        write!(f, "another process {when} it open or mapped for writing")
                    }
                }
            }
            Self::DurablePoint(e) => write!(f, "recording what is on the disk: {e}"),
            Self::Free(e) => write!(f, "giving memory back: {e}"),
            Self::NotVerifiable(why) => f.write_str(why),
            Self::ReadBack(e) => write!(f, "reading back: {e}"),
            Self::Different { at } => write!(f, "differs from the source from byte {at} on"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Stopped(reason) => write!(f, "ended by --{}", reason.word()),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Returns the errno if the destination could not be written or sized for want of space or quota.
    #[must_use]
    pub fn no_space(&self) -> Option<Errno> {
        let (Self::Io(Endpoint::Dest, e) | Self::Resize(e)) = self else {
            return None;
        };
        Some(errno_of(e)).filter(|errno| is_no_space(*errno))
    }

    /// Returns what the error of an engine, or of reading as engines do, means for the copy of a source that had `size`
    /// bytes.
    pub(super) fn of_engine(error: EngineError, source: &File, size: u64) -> Self {
        match error {
            EngineError::Fatal(side, e) | EngineError::Unsupported(side, e) => Self::Io(side, e),
            EngineError::SourceEnd => match source.metadata() {
                Ok(now) if now.len() != size => Self::SourceChanged {
                    was: size,
                    now: now.len(),
                },
                Ok(_) => Self::Io(Endpoint::Source, io::ErrorKind::UnexpectedEof.into()),
                Err(e) => Self::Io(Endpoint::Source, e),
            },
        }
    }
}

/// A failed transfer, and how far it came.
#[derive(Debug)]
pub struct CopyFailure {
    /// Why the transfer has failed.
    pub error: Error,
    /// Bytes from the start of the destination that are good.
    pub copied: u64,
    /// Size of the source in bytes; 0 for a stream.
    pub size: u64,
    /// Whether anything was written to the destination.
    pub begun: bool,
}

impl CopyFailure {
    /// Makes the failure of a copy of `size` bytes before its first byte.
    #[must_use]
    pub fn before(error: Error, size: u64) -> Self {
        Self {
            error,
            copied: 0,
            size,
            begun: false,
        }
    }
}
