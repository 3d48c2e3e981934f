//! One file's bytes, from a source descriptor to a destination descriptor.
//!
//! [`plan`] asks the kernel what this pair can do, [`file_copy`] moves the bytes by the rows of [`engine`], and nothing here knows
//! of names of files, of the command line or of terminals.

pub mod align;
pub mod capabilities;
mod copier;
mod copy_job;
pub mod copy_method;
mod cpu_budget;
mod deferred_writeback;
mod dest_writer;
mod dirty_window;
pub mod engine;
pub mod engine_trial;
pub mod errno_class;
pub mod error;
pub mod event;
pub mod extent_scanner;
pub mod file_copy;
mod incremental_alloc;
mod mount_cache;
pub mod page_scanner;
pub mod plan;
mod preallocate;
pub mod rate_limit;
mod reflink_attempt;
mod segment;
mod source_reader;
mod stop_check;
mod token_wait;

pub use copier::{Copier, copy};
pub use copy_method::CopyMethod;
pub use deferred_writeback::DeferredError;
pub use error::{CopyFailure, Error};
pub use event::{CopyListener, CopySummary, Event, PlanSummary, Progress, Refusal, Trial};
pub use plan::{DirectPolicy, Reflink, Sparse, TransferOptions};
