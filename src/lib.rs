//! mmapcp: the file copy that a machine does not feel.
//!
//! Two programs: `mmapcp` copies, `forklat` measures what a machine feels meanwhile.
//! Rooms, each knowing only what stands below it:
//!
//! - [`cp`]: what cp means: names, trees, attributes
//! - [`forklat`]: run, compare, scale: what is measured, prepared, restored and exported
//! - [`report`]: what is said meanwhile: diagnostics, progress, JSON events
//! - [`observe`]: probers and readers of what the machine goes through
//! - [`transfer`]: one file's bytes, from descriptor to descriptor
//! - [`sys`]: the only unsafe code
//!
//! The straight line, argv to bytes on disk: [`cp::cli`] reads words, [`cp::options`] resolves them once, [`cp::tree`]
//! finds one file after the other, [`cp::dest`] opens where it goes, [`transfer::plan`] asks the kernel what this pair
//! can do, [`transfer::run`] moves extents by the rows of [`transfer::engine`], and [`cp::attrs`] finishes.

pub mod cp;
pub mod forklat;
pub mod observe;
pub mod report;
pub mod sys;
pub mod transfer;
