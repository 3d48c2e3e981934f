//! mmapcp: the file copy that a machine does not feel.
//!
//! Two programs: `mmapcp` copies, `forklat` measures what a machine feels meanwhile.
//! Rooms, each knowing only what stands below it:
//!
//! - [`cp`]: what cp means: names, trees, attributes
//! - [`forklat`]: run, compare, scale: what is measured, prepared, restored and exported
//! - [`observe`]: probers and readers of what the machine goes through
//! - [`report`]: what is said meanwhile: diagnostics, progress, JSON events, names and numbers for people
//! - [`transfer`]: one file's bytes, from descriptor to descriptor
//! - [`sys`]: the only unsafe code
//!
//! The straight line, argv to bytes on disk: [`cp::cli`] reads words, [`cp::resolve`] makes [`cp::options`] of them, once, [`cp::tree`]
//! finds one file after the other, [`cp::dest`] opens where it goes, [`transfer::plan`] asks the kernel what this pair
//! can do, [`transfer::file_copy`] moves extents by the rows of [`transfer::engine`], and [`cp::attrs`] finishes.
//!
//! The other line, from a question to a table: [`forklat::cli`] reads words, [`forklat::probe_plan`] resolves what is asked,
//! [`observe::probe`] asks in processes of its own, [`forklat::session`] listens, [`forklat::phases`] sorts each answer into the
//! time in which it was wanted, [`forklat::model`] is what comes out, and [`forklat::export`] prints it.

pub mod cp;
pub mod forklat;
pub mod observe;
pub mod report;
pub mod sys;
pub mod transfer;
