//! What the words mean here: the variables that cp heeds, and whether there is SELinux.

use std::ffi::OsString;

use super::attrs::security_context;

/// The variables that cp heeds, and whether there is SELinux.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// POSIXLY_CORRECT is set, to whatever.
    pub posixly_correct: bool,
    /// VERSION_CONTROL.
    pub version_control: OsString,
    /// SIMPLE_BACKUP_SUFFIX.
    pub suffix: Option<OsString>,
    /// SELinux is in force, so that files have contexts.
    pub selinux: bool,
}

impl Environment {
    /// That of this process.
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
