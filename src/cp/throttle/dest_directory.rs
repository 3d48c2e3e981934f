//! Finds the directory that is copied to, for the sensors that watch its disk.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cp::error::LimitError;
use crate::cp::operands::OperandJobs;
use crate::cp::options::CopyOptions;
use crate::observe::mount::Mount;

/// Number of links that are followed one after another, as by the kernel (path_resolution(7)).
const MAX_SYMLINKS: usize = 40;

/// File systems that keep written data in memory, where fdatasync(2) does not wait.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// Returns a directory on the file system that is copied to.
///
/// # Errors
/// Fails if the destination is written to, and lies on no file system.
pub(in crate::cp) fn find_dest_directory(
    jobs: &OperandJobs,
    options: &CopyOptions,
) -> Result<PathBuf, LimitError> {
    if let Some((_, dir)) = &jobs.directory {
        return Ok(dir.clone());
    }
    let dest = jobs.list.first().map_or(Path::new("."), |job| &job.dest);
    // The target of a link may lie on another file system than the link. /dev/stdout may lead to a pipe, which has no
    // path.
    let file = match fs::metadata(dest) {
        Ok(there) if there.is_dir() => return Ok(dest.to_owned()),
        Ok(there) if !there.is_file() => {
            return Err(LimitError::NoFileSystem(dest.into()));
        }
        Ok(_) => fs::canonicalize(dest).map_err(|e| LimitError::Stat(dest.into(), e))?,
        Err(_) if options.through_dangling => end_of_links(dest),
        Err(_) => dest.to_owned(),
    };
    Ok(match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => file,
    })
}

/// Returns the path at which a file is created when a dangling link is written through.
fn end_of_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_SYMLINKS {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    path
}

/// Returns the type of the file system of `dir`, where that is in memory.
pub(super) fn memory_file_system(dir: &Path) -> Option<String> {
    let mount = Mount::of_path(Path::new("/"), dir).ok()?;
    IN_MEMORY
        .contains(&mount.file_system.as_str())
        .then_some(mount.file_system)
}
