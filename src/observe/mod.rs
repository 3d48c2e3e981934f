//! What the machine goes through: probers that ask it for small things, and a sampler of what it says of itself.
//!
//! Each observer is a process of its own, forked before anything is measured ([`worker`]); what it sees comes back through
//! shared memory ([`ring`]), without a system call of its own.

pub mod disk;
pub mod facts;
pub mod latency;
pub mod memory;
pub mod mount;
pub mod probe;
pub mod ring;
pub(crate) mod root;
pub mod sampler;
pub mod worker;
