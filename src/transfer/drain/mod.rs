//! `--drain`: the memory of a source is given back while it is copied, behind what the disk of the destination has.

mod copy_drain;
mod free_step;
mod source_drain;

pub(super) use copy_drain::CopyDrain;
pub(super) use free_step::free_step;
pub use source_drain::SourceDrain;
