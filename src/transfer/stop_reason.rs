//! Why a copy is ended before the end of its source, though no call has failed.

use std::time::Duration;

/// Why a copy is ended before the end of its source, though no call has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The rest would leave less free space than is to be kept (`--keep-free`).
    KeepFree {
        /// Bytes that the rest of the file needs; `None` for a stream.
        needed: Option<u64>,
        /// Bytes that are free for this file: what is promised to others is not.
        free: u64,
        /// Bytes that are to stay free.
        kept: u64,
    },
    /// The file would have more data than it may have (`--max-size`).
    MaxSize {
        /// Bytes of data that the source has; `None` for a stream.
        size: Option<u64>,
        /// Bytes of data that it may have.
        max: u64,
    },
    /// The time of so long is over within which all was to be copied (`--finish-within`).
    Deadline(Duration),
}

impl StopReason {
    /// Returns the word by which events name the reason.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::KeepFree { .. } => "keep-free",
            Self::MaxSize { .. } => "max-size",
            Self::Deadline(_) => "deadline",
        }
    }
}
