//! A flight recorder for late answers: trace points of the kernel are always recorded, in a bounded memory, and read only
//! when a prober was late, to tell why.

pub mod cause;
pub mod disk_requests;
mod event_decoder;
pub mod explanation;
pub mod kernel_symbols;
mod missing_records;
pub mod recorder;
mod ring_kind;
pub mod task_timeline;
pub mod trace_event;
mod trace_point;
