//! Where is copied to, as far as those ask who watch the disk there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cp::operands::OperandJobs;
use crate::cp::options::CopyOptions;
use crate::observe::mount::Mount;
use crate::report::quote::{cannot, quote};

/// Links that are followed one after another, as by the kernel (path_resolution(7)).
const MAX_SYMLINKS: usize = 40;

/// File systems that keep what is written in memory: fdatasync waits for nothing.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// A directory on the file system that is copied to.
///
/// # Errors
/// The destination is written to, and lies on none.
pub(in crate::cp) fn find_dest_directory(
    jobs: &OperandJobs,
    options: &CopyOptions,
) -> Result<PathBuf, String> {
    if let Some((_, dir)) = &jobs.directory {
        return Ok(dir.clone());
    }
    let dest = jobs.list.first().map_or(Path::new("."), |job| &job.dest);
    // What a link leads to may lie elsewhere than the link. /dev/stdout is one that leads to a pipe, which has no path.
    let file = match fs::metadata(dest) {
        Ok(there) if there.is_dir() => return Ok(dest.to_owned()),
        Ok(there) if !there.is_file() => {
            let dest = quote(dest);
            return Err(format!("{dest} lies on no file system to write on"));
        }
        Ok(_) => fs::canonicalize(dest).map_err(|e| cannot("stat", dest, &e))?,
        Err(_) if options.through_dangling => end_of_links(dest),
        Err(_) => dest.to_owned(),
    };
    Ok(match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => file,
    })
}

/// Where a file is made when a link that leads to nothing is written through.
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

/// The file system of `dir`, where that is in memory.
pub(super) fn memory_file_system(dir: &Path) -> Option<String> {
    let mount = Mount::of_path(Path::new("/"), dir).ok()?;
    IN_MEMORY
        .contains(&mount.file_system.as_str())
        .then_some(mount.file_system)
}
