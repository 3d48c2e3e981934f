//! What one written sysctl has changed, and how all of it is set back.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::control_files::{try_write, verify};
use super::sysctl_snapshot::{self, SysctlValues};
use crate::forklat::error::{ForklatError, cannot};
use crate::observe::kernel_file::read_trimmed;
use crate::report::quote::quote;

/// Rounds in which a setting and those around it are set back. Two are needed where the first write back changes another once
/// more; a third only says that nothing is left to do.
const MAX_RESTORE_ROUNDS: u32 = 4;

/// Most settings beside a sysctl that are named when they are set back; of more, only the directory is.
const NAMED: usize = 4;

/// How a value gets into the file of a setting: through the kernel, or what a test puts in its place.
pub(super) type Write<'a> = &'a dyn Fn(&Path, &str) -> io::Result<()>;

/// Writes a value to a setting. An empty one is written as a newline: write(2) of no bytes sets nothing.
pub(super) fn set(file: &Path, value: &str) -> io::Result<()> {
    try_write(file, if value.is_empty() { "\n" } else { value })
}

/// A setting that was given another value, and those that this has changed, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysctlChange {
    /// Its file below /proc/sys.
    pub(super) file: PathBuf,
    /// The value that it had.
    pub(super) old: String,
    /// The directory in which a write to it may change others. `None`: nothing beside it is looked at.
    #[serde(default)]
    pub(super) around: Option<PathBuf>,
    /// The values of others. Until it is known which have changed, all of them.
    #[serde(default)]
    pub(super) others: SysctlValues,
}

impl SysctlChange {
    /// Reads what the change may concern, before it is made.
    pub(super) fn before(file: PathBuf, old: String, around: PathBuf) -> Self {
        let mut others = sysctl_snapshot::read_stable(&around);
        others.remove(&file);
        Self {
            file,
            old,
            around: Some(around),
            others,
        }
    }

    /// Leaves out the settings that the change did not concern: those that have their old values still.
    pub(super) fn changed(mut self) -> Self {
        self.others.retain(|file, old| !has_value(file, old));
        self
    }

    /// Sets back all that has another value now. Writing one back may change others in its turn, also such that the change
    /// itself left alone: all that lies around is held to what it was.
    ///
    /// # Errors
    /// What does not read as it was, and why.
    pub(super) fn undo(&self) -> Result<(), ForklatError> {
        self.undo_by(&set)
    }

    pub(super) fn undo_by(&self, set: Write<'_>) -> Result<(), ForklatError> {
        let mut wanted = self.around.as_deref().map(sysctl_snapshot::read_stable);
        let wanted = wanted.get_or_insert_default();
        wanted.extend(self.others.clone());
        wanted.remove(&self.file);
        let all = || std::iter::once((&self.file, &self.old)).chain(&*wanted);
        let wrong = || all().filter(|(file, value)| !self.is_restored(file, value));
        let mut refused = Vec::new();
        for _ in 0..MAX_RESTORE_ROUNDS {
            refused.clear();
            let mut written = false;
            // Looked at one by one, since each write may change the next.
            for (file, value) in wrong() {
                written = true;
                refused.extend(set(file, value).err().map(|e| (file, e)));
            }
            if !written {
                return Ok(());
            }
        }
        let told = wrong()
            .filter_map(|(file, value)| {
                let error = refused.iter().position(|(refusing, _)| *refusing == file);
                match error {
                    Some(at) => {
                        let (_, e) = refused.swap_remove(at);
                        Some(cannot(format!("write '{value}' to"), file, e))
                    }
                    None => verify(file, value).err(),
                }
            })
            .collect();
        ForklatError::check_none(told, "; ")
    }

    /// Returns whether a setting has its old value again. One beside the sysctl that has gone, as those of an interface do, has
    /// nothing to be restored.
    fn is_restored(&self, file: &Path, value: &str) -> bool {
        has_value(file, value) || (file != self.file && !file.exists())
    }

    /// What [`undo`](Self::undo) does, in plain words of the past.
    pub(super) fn describe_undone(&self) -> String {
        let mut text = format!("set {} back to '{}'", quote(&self.file), self.old);
        if self.others.len() > NAMED {
            let around = self.around.as_deref().unwrap_or(Path::new("/proc/sys"));
            text += &format!(", and what else had changed in {}", quote(around));
        } else {
            for (file, old) in &self.others {
                text += &format!(", {} to '{old}'", quote(file));
            }
        }
        text
    }

    /// Returns a change of which nothing is known but the setting itself.
    #[cfg(test)]
    pub(super) fn alone(file: PathBuf, old: &str) -> Self {
        Self {
            file,
            old: old.into(),
            around: None,
            others: SysctlValues::new(),
        }
    }
}

/// Returns whether a setting has this value, whatever blanks the kernel puts into it.
pub(super) fn has_value(file: &Path, value: &str) -> bool {
    read_trimmed(file).is_ok_and(|now| now.split_whitespace().eq(value.split_whitespace()))
}
