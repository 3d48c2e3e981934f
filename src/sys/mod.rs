//! Wrappers of system calls that `nix` and `memmap2` lack, and of memory and processes that need unsafe code. It is the only
//! module with unsafe code.
//!
//! Each wrapper passes on the errors of the kernel and takes no decision for its caller.

pub mod buffer;
pub mod clock;
pub mod cpu;
pub mod fiemap;
pub mod file;
pub mod fnmatch;
pub mod idle_priority;
pub mod key_value;
pub mod local_time;
pub mod mapped_file;
pub mod o_path;
pub mod parked_process;
pub mod proc_status;
pub mod process;
pub mod residency;
pub mod shared_memory;
pub mod signal_waiter;
pub mod source_window;
pub mod std_streams;
pub mod stop_request;
pub mod strerror;
pub mod terminate;
