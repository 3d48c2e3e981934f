//! One file's bytes, from a source descriptor to a destination descriptor.
//!
//! [`plan`] asks the kernel what this pair can do, [`run`] moves the bytes by the rows of [`engine`], and nothing here knows
//! of names, options or terminals.

pub mod align;
mod behind;
pub mod choice;
pub mod copy_method;
mod edge;
pub mod engine;
pub mod error;
pub mod event;
pub mod extents;
pub mod facts;
pub mod fault;
mod finish;
mod mounts;
pub mod pace;
mod pacing;
pub mod plan;
mod read;
mod reserve;
pub mod run;
mod share;
mod sink;
mod small;
mod stream;
mod worker;
mod writeback;

pub use behind::Late;
pub use copy_method::CopyMethod;
pub use error::{Error, Failure};
pub use event::{Event, Observer, Progress, Refusal};
pub use plan::{DirectPolicy, Options, Reflink, Sparse};
pub use worker::{Worker, copy};
