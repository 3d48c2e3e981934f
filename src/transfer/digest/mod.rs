//! The digest of a source, which is read past its mapping beside the copy of its bytes.
//!
//! A large file is hashed by a thread that follows the copy (`follower`), a small one and one whose blocks are shared by
//! the copying thread (`hash_after`), and a stream, which can be read only once, as its bytes pass.

pub(super) mod algorithm;
mod follower;
mod hash_after;
mod source_hash;

pub use algorithm::{Digest, DigestAlgorithm};
pub(super) use follower::hash_beside;
pub(super) use hash_after::{MAX_HASHED_AFTER, hash_after, hash_at_rate};
pub(super) use source_hash::{HashInput, HashedSource};
