//! The environment that the command line depends on: the variables that cp reads, and whether SELinux is enabled.

use std::ffi::OsString;

use super::attrs::security_context;

/// The variables that cp reads, and whether SELinux is enabled.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Whether POSIXLY_CORRECT is set, to any value.
    pub posixly_correct: bool,
    /// The value of the variable VERSION_CONTROL.
    pub version_control: OsString,
    /// The value of the variable SIMPLE_BACKUP_SUFFIX.
    pub suffix: Option<OsString>,
    /// Whether SELinux is enabled, so that files have security contexts.
    pub selinux: bool,
}

impl Environment {
    /// Returns the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            posixly_correct: std::env::var_os("POSIXLY_CORRECT").is_some(),
            version_control: std::env::var_os("VERSION_CONTROL").unwrap_or_default(),
            suffix: std::env::var_os("SIMPLE_BACKUP_SUFFIX"),
            selinux: security_context::is_selinux_enabled(),
        }
    }
}
