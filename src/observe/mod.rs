//! What the machine goes through: probers that ask it for small things, and a sampler of what it says of itself.
//!
//! Each observer is a process of its own, forked before anything is measured ([`observer_process`]); what it sees comes back through
//! shared memory ([`ring`]), without a system call of its own.

pub mod disk;
pub mod error;
pub mod host_info;
pub(crate) mod kernel_file;
pub mod latency_histograms;
pub mod memory;
pub mod mount;
pub mod observer_process;
pub mod probe;
pub mod ring;
pub mod sampler;
