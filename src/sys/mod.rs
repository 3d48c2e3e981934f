//! Wrappers of system calls that `nix` and `memmap2` lack, and of memory and processes that need unsafe code. It is the only
//! module with unsafe code.
//!
//! Each wrapper passes on the errors of the kernel and takes no decision for its caller.

pub mod awaited;
pub mod buffer;
pub mod clock;
pub mod cpu;
pub mod fields;
pub mod fiemap;
pub mod file;
pub mod idle;
pub mod local;
pub mod map;
pub mod mapping;
pub mod pattern;
pub mod pinned;
pub mod process;
pub mod residency;
pub mod shared;
pub mod standing;
pub mod status;
pub mod stop;
pub mod streams;
pub mod terminate;
pub mod words;
