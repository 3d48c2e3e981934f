//! The kernel laboratory: virtual machines with Debian's kernels, which run the project's own programs.
//!
//! The machines are emulated and small, so that they run wherever QEMU does. What they prove is behaviour, and the size
//! of what is felt; not how fast anything is.

pub(crate) mod debian_archive;
pub(crate) mod initramfs;
pub(crate) mod kernel_series;
pub(crate) mod nbd_server;
pub(crate) mod power_cut;
pub(crate) mod slow_disk_scenario;
pub(crate) mod static_programs;
pub(crate) mod tool_command;
pub(crate) mod virtual_machine;
