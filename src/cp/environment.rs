//! The environment that the command line depends on: the variables that cp reads, and whether SELinux is enabled.

use std::ffi::OsString;

use super::attrs::security_context;

/// The variables that cp reads, and whether SELinux is enabled.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Whether POSIXLY_CORRECT is set, to any value.
    pub posixly_correct: bool,
    /// The value of the variable VERSION_CONTROL.
    pub version_control: OsString,
    /// The value of the variable SIMPLE_BACKUP_SUFFIX.
    pub suffix: Option<OsString>,
    /// Returns whether SELinux is enabled, so that files have security contexts. It asks the kernel, so it is called only for
    /// options to which that matters.
    pub is_selinux_enabled: fn() -> bool,
}

impl Default for Environment {
    /// Returns the environment in which no variable is set and SELinux is not enabled.
    fn default() -> Self {
        Self {
            posixly_correct: false,
            version_control: OsString::new(),
            suffix: None,
            is_selinux_enabled: || false,
        }
    }
}

impl Environment {
    /// Returns the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            posixly_correct: std::env::var_os("POSIXLY_CORRECT").is_some(),
            version_control: std::env::var_os("VERSION_CONTROL").unwrap_or_default(),
            suffix: std::env::var_os("SIMPLE_BACKUP_SUFFIX"),
            is_selinux_enabled: security_context::is_selinux_enabled,
        }
    }
}
