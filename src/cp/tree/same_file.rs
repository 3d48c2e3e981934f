//! Decides whether source and destination are one file, and whether that does any harm.

use nix::sys::stat::FileStat;

use crate::cp::at_path::AtPath;
use crate::cp::file_status::{file_id, is_link};
use crate::cp::options::{CopyMode, CopyOptions, Dereference};

/// The consequence for the copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SameFile {
    /// The copy does no harm and may continue.
    Harmless,
    /// The destination is already as it was asked for.
    AlreadyDone,
    /// The copy would destroy the source.
    Conflict,
}

/// Compares an existing destination with its source. `from` and `there` are their statuses as this copy reads them. The
/// rules are cp's: two names of one file are an error, unless the destination is a link, or is removed before anything
/// is written.
pub(super) fn check_same_file(
    source: &AtPath,
    dest: &AtPath,
    from: &FileStat,
    there: &FileStat,
    dereference: Dereference,
    options: &CopyOptions,
) -> SameFile {
    let equal = file_id(from) == file_id(there);
    let never = dereference == Dereference::Never;
    if equal && options.copy_mode == CopyMode::HardLink {
        return SameFile::AlreadyDone;
    }
    if never && is_link(from) && is_link(there) {
        return two_links(source, dest, equal, options);
    }
    if never {
        return entries(source, dest, from, there, dereference, options);
    }
    if !equal {
        return SameFile::Harmless;
    }
    match (source.stat(false), dest.stat(false)) {
        (Ok(from), Ok(there)) => {
            if is_link(&from) && is_link(&there) && options.remove_destination {
                return SameFile::Harmless;
            }
            entries(source, dest, &from, &there, dereference, options)
        }
        _ => SameFile::Harmless,
    }
}

/// Compares two symbolic links that are not followed: each may be copied over the other.
fn two_links(source: &AtPath, dest: &AtPath, equal: bool, options: &CopyOptions) -> SameFile {
    if source.is_same_source(dest) {
        SameFile::Conflict
    } else if equal && options.backup.is_none() {
        SameFile::AlreadyDone
    } else {
        SameFile::Harmless
    }
}

/// Compares entries that are not both links, by their statuses from lstat(2).
fn entries(
    source: &AtPath,
    dest: &AtPath,
    from: &FileStat,
    there: &FileStat,
    dereference: Dereference,
    options: &CopyOptions,
) -> SameFile {
    let equal = file_id(from) == file_id(there);
    if options.backup.is_some() {
        return check_with_backup(source, dest, (from, there), equal, dereference);
    }
    if options.remove_destination {
        if is_link(there) {
            return SameFile::Harmless;
        }
        if equal && there.st_nlink > 1 && !source.is_same_source(dest) {
            return SameFile::Harmless;
        }
    }
    if !is_link(from) && !is_link(there) {
        if !equal {
            return SameFile::Harmless;
        }
        if options.copy_mode == CopyMode::HardLink {
            return SameFile::AlreadyDone;
        }
    }
    if options.copy_mode == CopyMode::SymbolicLink && is_link(there) {
        return SameFile::Harmless;
    }
    if dereference == Dereference::Never {
        return through_links(source, dest, from, there, options);
    }
    SameFile::Conflict
}

/// Compares source and destination where the destination is renamed first: there is a conflict only if it is the very
/// entry of the source, or the target of the source.
fn check_with_backup(
    source: &AtPath,
    dest: &AtPath,
    (from, there): (&FileStat, &FileStat),
    equal: bool,
    dereference: Dereference,
) -> SameFile {
    let dangles = dereference != Dereference::Never && is_link(from) && !is_link(there);
    let bad = if equal {
        source.is_same_source(dest)
    } else {
        dangles
    };
    if bad {
        SameFile::Conflict
    } else {
        SameFile::Harmless
    }
}

/// Compares a link with its target, where one would be copied over the other.
fn through_links(
    source: &AtPath,
    dest: &AtPath,
    from: &FileStat,
    there: &FileStat,
    options: &CopyOptions,
) -> SameFile {
    let target = |place: &AtPath, stat: &FileStat| {
        if is_link(stat) {
            place.stat(true).ok()
        } else {
            Some(*stat)
        }
    };
    match (target(source, from), target(dest, there)) {
        (Some(a), Some(b)) if file_id(&a) == file_id(&b) => {}
        _ => return SameFile::Harmless,
    }
    match options.copy_mode {
        CopyMode::HardLink if is_link(there) => SameFile::Harmless,
        CopyMode::HardLink => SameFile::AlreadyDone,
        CopyMode::Copy | CopyMode::SymbolicLink => SameFile::Conflict,
    }
}
