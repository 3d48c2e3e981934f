//! What the words mean here: the variables that cp heeds, and whether there is SELinux.

use std::ffi::OsString;
use std::path::Path;

use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

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
            selinux: is_selinux_enabled(),
        }
    }
}

/// SELINUX_MAGIC of linux/magic.h.
const SELINUXFS: FsType = FsType(0xf97c_ff8c);

/// As libselinux decides for is_selinux_enabled(3): its file system is mounted, not read-only (as in a container of a host
/// that has it), and the system is configured for it.
fn is_selinux_enabled() -> bool {
    const MOUNT: &str = "/sys/fs/selinux";
    statfs(MOUNT).is_ok_and(|fs| fs.filesystem_type() == SELINUXFS)
        && statvfs(MOUNT).is_ok_and(|fs| !fs.flags().contains(FsFlags::ST_RDONLY))
        && Path::new("/etc/selinux/config").exists()
}
