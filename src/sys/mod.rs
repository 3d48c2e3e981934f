//! Thin calls that `nix` and `memmap2` lack. The only unsafe code of the crate lives in this room.
//!
//! Nothing here decides anything: each function is one system call, or one buffer, with its errors passed on.

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
pub mod stdio;
pub mod stop;
pub mod words;
