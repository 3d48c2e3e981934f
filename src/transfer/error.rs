//! The errors of a transfer: they tell which operation failed on which of the two files, so that the caller can name
//! it.

use std::fmt;
use std::io;

use super::errno_class::Endpoint;

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
    /// The listener asked to stop.
    Interrupted,
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
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}

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
    pub(super) fn before(error: Error, size: u64) -> Self {
        Self {
            error,
            copied: 0,
            size,
            begun: false,
        }
    }
}
