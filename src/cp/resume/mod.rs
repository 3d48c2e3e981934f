//! `--resume`: what is known of an interrupted copy, in a small file beside its destination, and how the copy goes on.

mod copy_state;
mod resume_session;
mod state_file;
mod whole_files;

pub(super) use resume_session::{ResumeListener, ResumeSession};
pub(super) use whole_files::WholeFiles;
