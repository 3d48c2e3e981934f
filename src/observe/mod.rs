//! Measures the state of the machine while something runs: probers measure the latency of small operations, and a
//! sampler reads the kernel's figures.
//!
//! Each observer is a process of its own, forked before anything is measured ([`observer_process`]). Its results come
//! back through shared memory ([`ring`]), which needs no system call.

pub mod conditions;
pub mod disk;
pub mod disk_requests;
pub mod error;
pub mod flight_recorder;
pub mod host_info;
pub mod kernel_config;
pub(crate) mod kernel_file;
pub mod latency_histograms;
pub mod memory;
pub mod memory_usage;
pub mod mount;
pub mod observer_process;
pub mod probe;
pub mod prober_states;
pub mod ring;
pub mod sampler;
pub mod sparse_latencies;
