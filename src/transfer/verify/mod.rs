//! `--verify`: reads a complete copy back from its device and compares it with its source.

mod comparison;
mod dest_reader;
pub(super) mod read_back;

pub(super) use comparison::{compare_left, verify, verify_range};
pub use read_back::ReadBack;
