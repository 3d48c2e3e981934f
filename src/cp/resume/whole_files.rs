//! The files of a run that are whole, whose states stay until the run ends: a run that goes on skips them.

use std::sync::Mutex;

use super::super::error::Error;
use super::state_file::StateFile;
use crate::sys::lock::lock;

/// The states of whole files. Threads share it.
#[derive(Debug, Default)]
pub(in crate::cp) struct WholeFiles {
    /// Whether a run has more than one file, so that a whole one is to be remembered.
    is_kept: bool,
    states: Mutex<Vec<StateFile>>,
}

impl WholeFiles {
    /// Makes the list of a run, which remembers files if the run can have several.
    pub(in crate::cp) fn new(has_several: bool) -> Self {
        Self {
            is_kept: has_several,
            states: Mutex::default(),
        }
    }

    /// Returns whether whole files are remembered.
    pub(in crate::cp) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Notes the state of a whole file.
    pub(in crate::cp) fn note(&self, state: StateFile) {
        lock(&self.states).push(state);
    }

    /// Removes all states, when the run is complete. Returns the errors.
    pub(in crate::cp) fn finish(&self) -> Vec<Error> {
        let states = std::mem::take(&mut *lock(&self.states));
        states
            .iter()
            .filter_map(|state| state.remove().err())
            .collect()
    }
}
