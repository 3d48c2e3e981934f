//! The environment that the command line depends on: the variables that cp reads, and whether SELinux is enabled.

use std::ffi::OsString;
use std::path::Path;

use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

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
            selinux: is_selinux_enabled(),
        }
    }
}

/// The constant SELINUX_MAGIC of linux/magic.h.
const SELINUXFS: FsType = FsType(0xf97c_ff8c);

/// Returns whether SELinux is enabled, as is_selinux_enabled(3) of libselinux decides: its file system is mounted, not
/// read-only (as in a container on a host with SELinux), and the system is configured for it.
fn is_selinux_enabled() -> bool {
    const MOUNT: &str = "/sys/fs/selinux";
    statfs(MOUNT).is_ok_and(|fs| fs.filesystem_type() == SELINUXFS)
        && statvfs(MOUNT).is_ok_and(|fs| !fs.flags().contains(FsFlags::ST_RDONLY))
        && Path::new("/etc/selinux/config").exists()
}
