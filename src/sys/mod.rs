//! All unsafe code of the program: system calls that `nix` and `memmap2` do not wrap, memory that is shared between
//! processes, forked processes, and calls of the C library. Readers of `/proc` that this layer itself needs are here,
//! too.
//!
//! A function passes on the error of the kernel. If it does more than the one call, its comment says so. It knows
//! nothing of copying, names, or options.

pub mod batch_write;
pub mod buffer;
pub mod clock;
pub mod cpu;
pub mod detached_mount;
pub mod entry_point;
pub mod environment;
pub mod fiemap;
pub mod file;
pub mod file_lease;
pub mod flock;
pub mod fnmatch;
pub mod idle_priority;
pub mod key_value;
pub mod local_time;
pub mod lock;
pub mod loop_device;
pub mod mapped_file;
pub mod o_path;
pub mod parked_process;
pub mod perf_event;
pub mod proc_status;
pub mod process;
pub mod quota;
pub mod residency;
pub mod shared_memory;
pub mod signal_gate;
pub mod signal_waiter;
pub mod source_window;
pub mod std_streams;
pub mod stop_request;
pub mod strerror;
pub mod terminal_stop;
pub mod terminate;
