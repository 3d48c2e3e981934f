//! The kernel laboratory: virtual machines with Debian's kernels, which run the project's own programs.
//!
//! The machines are emulated and small, so that they run wherever QEMU does. What they prove is behaviour, and the size
//! of what is felt; not how fast anything is.

pub(crate) mod archive;
pub(crate) mod catalogue;
pub(crate) mod cut;
pub(crate) mod guest;
pub(crate) mod initramfs;
pub(crate) mod nbd;
pub(crate) mod programs;
pub(crate) mod story;
pub(crate) mod tools;
