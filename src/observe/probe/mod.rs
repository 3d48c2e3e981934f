//! The probers.
