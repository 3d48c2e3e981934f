//! `--drain`: which sources may be drained, what must be durable before, and the end of a drained source.
//!
//! The order is the promise: the bytes are written, fdatasync(2) of the destination has returned, the state and all names are
//! on the disk, and only then is the memory of the source given back (`transfer/drain`).

mod claim;
mod dest_check;
mod drained_directories;
mod durable_names;
mod finish;

pub(super) use claim::{check_opened, check_source, claim_source, identity_of};
pub(super) use dest_check::check_dest;
pub(super) use drained_directories::DrainedDirectories;
pub(super) use durable_names::DurableNames;
pub(super) use finish::free_and_remove;
