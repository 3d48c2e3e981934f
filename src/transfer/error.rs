//! How a transfer fails: what was being done, so that the caller can say it of the right file.

use std::fmt;
use std::io;

use super::errno_class::Endpoint;

/// Why a file was not copied, or not faithfully.
#[derive(Debug)]
pub enum Error {
    /// A call on one of the files failed.
    Io(Endpoint, io::Error),
    /// An old destination could not be emptied: what open(2) with O_TRUNC would have failed with. It is as it was.
    Truncate(io::Error),
    /// The destination could not be cut or extended to its size.
    Resize(io::Error),
    /// Blocks were to be shared, nothing else, and could not be.
    Clone(io::Error),
    /// No row of the table can do what was asked, for this reason.
    Impossible(String),
    /// The source is not what it was: sizes then and now. Equal sizes: its modification time differs.
    SourceChanged {
        /// Size when the copy began.
        was: u64,
        /// Size at its end.
        now: u64,
    },
    /// The observer asked to stop.
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
                    "source was modified meanwhile, its size is {now} as before"
                )
            }
            Self::SourceChanged { was, now } => {
                write!(f, "source changed meanwhile from {was} to {now} bytes")
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}

/// A transfer that did not succeed, and how far it came.
#[derive(Debug)]
pub struct CopyFailure {
    /// Why.
    pub error: Error,
    /// Bytes of the destination, from its start, that are as they should be.
    pub copied: u64,
    /// Bytes that the source had; 0 for a stream.
    pub size: u64,
    /// Whether anything was written at all.
    pub begun: bool,
}

impl CopyFailure {
    /// One that came before the first byte of `size`.
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
