//! mmapcp: the file copy that a machine does not feel.
//!
//! Rooms, each knowing only what stands below it:
//!
//! - [`cp`]: what cp means: names, trees, attributes
//! - [`report`]: what is said meanwhile: diagnostics, progress, JSON events
//! - [`transfer`]: one file's bytes, from descriptor to descriptor
//! - [`sys`]: the only unsafe code
//!
//! The straight line, argv to bytes on disk: [`cp::cli`] reads words, [`cp::options`] resolves them once, [`cp::tree`]
//! finds one file after the other, [`cp::dest`] opens where it goes, [`transfer::plan`] asks the kernel what this pair
//! can do, [`transfer::run`] moves extents by the rows of [`transfer::engine`], and [`cp::attrs`] finishes.

pub mod cp;
pub mod report;
pub mod sys;
pub mod transfer;
