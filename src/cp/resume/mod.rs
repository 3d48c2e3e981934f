//! `--resume`: what is known of an interrupted copy, in a small file beside its destination, and how the copy goes on.

mod copy_state;
mod leftover;
mod resume_session;
mod source_mark;
mod state_file;
mod whole_files;

pub(super) use copy_state::DrainedSource;
pub(super) use leftover::{remove_leftover, remove_leftover_of_name};
pub(super) use resume_session::{ResumeListener, ResumeSession, birth_time};
pub(super) use source_mark::freed_into;
pub(super) use whole_files::WholeFiles;
