//! The directory whose file system is measured unless --on names one: the current directory.

use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;

use crate::sys::file::set_direct;
use crate::sys::strerror::strerror;
use crate::transfer::capabilities::is_memory;

/// Free bytes below which nothing is written to a directory that nobody has named. The probes `write`, `fsync` and `read`
/// keep files of at most 144 MiB.
const MIN_FREE_BYTES: u64 = 256 << 20;

/// Returns the directory that `forklat compare` copies to, and whose file system the probes ask.
pub(super) fn current_directory() -> PathBuf {
    PathBuf::from(".")
}

/// Returns the current directory, if the probes `write`, `fsync` and `read` can work there.
///
/// # Errors
/// The reason why they cannot, as a clause about the directory.
pub(super) fn measurable_directory() -> Result<PathBuf, String> {
    let dir = current_directory();
    check_measurable(&dir)?;
    Ok(dir)
}

fn check_measurable(dir: &Path) -> Result<(), String> {
    let stat = statfs(dir).map_err(|e| format!("cannot be accessed: {}", e.desc()))?;
    if is_memory(stat.filesystem_type()) {
        return Err("lies in memory".to_owned());
    }
    let file = tempfile::tempfile_in(dir)
        .map_err(|e| format!("cannot be written to: {}", strerror(&e)))?;
    set_direct(&file, true)
        .map_err(|e| format!("cannot be read with O_DIRECT: {}", strerror(&e)))?;
    let space = statvfs(dir).map_err(|e| format!("cannot be accessed: {}", e.desc()))?;
    if space.blocks_available() * space.fragment_size() < MIN_FREE_BYTES {
        return Err("has little free space".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_disk_that_can_be_measured_is_taken() {
        assert_eq!(
            check_measurable(Path::new("/dev/shm")),
            Err("lies in memory".to_owned())
        );
        let told = check_measurable(Path::new("/proc/self"));
        assert!(told.is_err_and(|why| why.starts_with("cannot be written to: ")));
        let told = check_measurable(Path::new("/no/such/directory"));
        assert_eq!(
            told,
            Err("cannot be accessed: No such file or directory".to_owned())
        );
    }
}
