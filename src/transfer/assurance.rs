//! What is known of a complete copy beyond that its bytes were written.

use super::digest::algorithm::Digest;
use super::verify::read_back::ReadBack;

/// What was found out about a complete copy.
#[derive(Debug, Clone, Default)]
pub struct Assurance {
    /// The digest of the source, if one was wanted.
    pub digest: Option<Digest>,
    /// How the destination was read back and found to be equal, if that was wanted.
    pub read_back: Option<ReadBack>,
    /// The modification time in seconds and nanoseconds that a drained source was left with.
    pub source_modified: Option<(i64, i64)>,
}
