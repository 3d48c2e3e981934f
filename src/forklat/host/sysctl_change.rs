//! The change that writing one sysctl has made, and how all of it is undone.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::control_files::{try_write, verify};
use super::sysctl_snapshot::{self, SysctlValues};
use crate::forklat::error::{ForklatError, cannot};
use crate::observe::kernel_file::read_trimmed;
use crate::report::quote::quote;

/// Most rounds in which a setting and those around it are written back. Two are needed if the first write changes
/// another setting again; a third only finds that nothing is left to do.
const MAX_RESTORE_ROUNDS: u32 = 4;

/// Most settings beside a sysctl that are named when they are restored. If there are more, only their directory is
/// named.
const NAMED: usize = 4;

/// A function that writes a value to the file of a setting. A test replaces it by a model of the kernel.
pub(super) type Write<'a> = &'a dyn Fn(&Path, &str) -> io::Result<()>;

/// Writes a value to a setting. An empty value is written as a newline, since a write(2) of no bytes has no effect.
pub(super) fn set(file: &Path, value: &str) -> io::Result<()> {
    try_write(file, if value.is_empty() { "\n" } else { value })
}

/// A setting that was given another value, and the settings that changed with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysctlChange {
    /// The file of the setting below /proc/sys.
    pub(super) file: PathBuf,
    /// The value that the setting had before.
    pub(super) old: String,
    /// The directory in which a write to the setting may change others, or `None` if no other settings are considered.
    #[serde(default)]
    pub(super) around: Option<PathBuf>,
    /// The old values of other settings. These are all settings around it until it is known which have changed.
    #[serde(default)]
    pub(super) others: SysctlValues,
}

impl SysctlChange {
    /// Reads all values that the change may affect, before it is made.
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

    /// Removes the settings that the change did not affect, that is, those that still have their old values.
    pub(super) fn changed(mut self) -> Self {
        self.others.retain(|file, old| !has_value(file, old));
        self
    }

    /// Restores all settings that have another value now. Writing one may change others in turn, even those that the
    /// change itself did not affect, so all settings around it are kept at their values.
    ///
    /// # Errors
    /// The settings that do not have their old values again, and why.
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
            // Each setting is checked just before it is written, since each write may change the next one.
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

    /// Returns whether a setting has its old value again. A setting beside the sysctl that is gone, such as that of a
    /// removed interface, needs no restoring.
    fn is_restored(&self, file: &Path, value: &str) -> bool {
        has_value(file, value) || (file != self.file && !file.exists())
    }

    /// Describes in the past tense what [`undo`](Self::undo) has done, for a message.
    pub(super) fn describe_undone(&self) -> String {
        let mut text = format!("set {} back to '{}'", quote(&self.file), self.old);
        if self.others.len() > NAMED {
            let around = self.around.as_deref().unwrap_or(Path::new("/proc/sys"));
            text += &format!(
                ", and restored everything else that had changed in {}",
                quote(around)
            );
        } else {
            for (file, old) in &self.others {
                text += &format!(", {} to '{old}'", quote(file));
            }
        }
        text
    }

    /// Returns a change that affects only the setting itself.
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
