//! The probe `wakeup`: it does nothing. What remains is the time from the end of its sleep until it runs again on its CPU.
//!
//! This is what cyclictest measures, for a task of the default scheduling policy.

use super::{Probe, ProbeSetup};
use crate::observe::error::ObserveError;
use crate::sys::clock::MonotonicNs;

struct Wakeup;

pub(super) fn make(_: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    Ok(Box::new(Wakeup))
}

impl Probe for Wakeup {
    fn run_once(&mut self) -> Result<Option<MonotonicNs>, ObserveError> {
        Ok(None)
    }
}
