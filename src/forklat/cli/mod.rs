//! The words of forklat's command line.

pub mod scale;
