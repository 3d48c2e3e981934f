//! The state of a drain that was ended between the removal of its source and that of the state itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::super::at_path::{AtPath, DirHandle};
use super::super::dest::resolve_link::resolve_nofollow;
use super::super::error::Error;
use super::super::file_status::file_id;
use super::state_file::{STATE_END, StateFile};

/// Removes the state beside a destination whose source is gone, if it says that the destination has all of that source and
/// this is still so. Returns whether it was there.
///
/// # Errors
/// The state could not be removed.
pub(in crate::cp) fn remove_leftover(dest: &AtPath) -> Result<bool, Error> {
    let Ok(entry) = resolve_nofollow(dest) else {
        return Ok(false);
    };
    let file = StateFile::beside(entry);
    let Ok(Some(state)) = file.load() else {
        return Ok(false);
    };
    let now = dest.stat(true);
    let is_whole = now.is_ok_and(|now| {
        file_id(&now) == state.dest && state.source.has_size(now.st_size) && state.has_all()
    });
    if is_whole {
        file.remove()?;
    }
    Ok(is_whole)
}

/// Does the same for the file of a state in a directory, whose source would be in `sources`. Other names are left alone, and
/// so is a state whose name was shortened.
///
/// # Errors
/// The state could not be removed.
pub(in crate::cp) fn remove_leftover_of_name(
    sources: &Arc<DirHandle>,
    dests: &Arc<DirHandle>,
    name: &OsStr,
) -> Result<(), Error> {
    let bytes = name.as_bytes().strip_prefix(b".");
    let Some(of) = bytes.and_then(|bytes| bytes.strip_suffix(STATE_END.as_bytes())) else {
        return Ok(());
    };
    let of = OsStr::from_bytes(of);
    let source = AtPath::new(Arc::clone(sources), of, of);
    if source.is_missing() {
        remove_leftover(&AtPath::new(Arc::clone(dests), of, of))?;
    }
    Ok(())
}
