//! Copies the data of one file, from an open source to an open destination.
//!
//! [`plan`] decides with what the kernel reports which engines can copy this pair of files, [`file_copy`] moves the
//! bytes with the engines of [`engine`], `copier` keeps what a thread needs for more files than one, and
//! [`rate_limit`] decides how fast bytes may move. A caller gives [`TransferOptions`] and gets events by
//! [`CopyListener`]. Nothing here knows the paths or the attributes of files, parses a command line, or prints.

pub mod align;
mod assurance;
pub mod capabilities;
mod copier;
mod copy_job;
pub mod copy_method;
mod cpu_budget;
mod deferred_writeback;
mod depth_trial;
mod dest_writer;
mod digest;
mod dirty_window;
mod drain;
mod durable_points;
pub mod engine;
pub mod engine_trial;
pub mod errno_class;
pub mod error;
pub mod event;
pub mod extent_scanner;
pub mod file_copy;
mod free_space;
mod held_done;
mod incremental_alloc;
mod mount_cache;
mod page_pipe;
pub mod page_scanner;
pub mod plan;
mod preallocate;
pub mod rate_limit;
mod reflink_attempt;
pub mod room;
mod segment;
mod shared_device;
mod source_reader;
mod stop_check;
pub mod stop_reason;
mod token_wait;
mod verify;
mod write_batch;
mod writers;

pub use assurance::Assurance;
pub use copier::{Copier, OpenedFile, copy};
pub use copy_method::CopyMethod;
pub use deferred_writeback::DeferredError;
pub use depth_trial::DepthRate;
pub use digest::{Digest, DigestAlgorithm};
pub use drain::SourceDrain;
pub use durable_points::{DURABLE_STEP, RESUME_UNIT};
pub use error::{CopyFailure, Error};
pub use event::{
    CopyListener, CopySummary, DepthSummary, Event, Phase, PlanSummary, Progress, Refusal, Trial,
};
pub use plan::{DirectPolicy, Reflink, Sparse, TransferOptions};
pub use room::ledger::RoomLedger;
pub use room::limits::{KeepFree, RoomLimits};
pub use shared_device::{OpenRequestCounter, RequestCounter, WaitedRequests};
pub use stop_reason::StopReason;
pub use verify::ReadBack;
pub use writers::Writers;
