//! Whether source and destination are one file, and where that does no harm.

use nix::sys::stat::FileStat;

use super::is_link;
use crate::cp::options::{Dereference, Making, Options};
use crate::cp::place::{Place, identity};

/// What follows for the copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Same {
    /// Nothing: it may go on.
    No,
    /// What was asked for is there already.
    Done,
    /// It would destroy the source.
    Yes,
}

/// Compares an existing destination with its source, `from` and `there` being their stats as this copy looks at them. The
/// rules are cp's: two names of one file are an error, unless what is at the destination's name is a link, or goes away
/// before anything is written.
pub(super) fn same(
    source: &Place<'_>,
    dest: &Place<'_>,
    from: &FileStat,
    there: &FileStat,
    dereference: Dereference,
    options: &Options,
) -> Same {
    let equal = identity(from) == identity(there);
    let never = dereference == Dereference::Never;
    if equal && options.making == Making::HardLink {
        return Same::Done;
    }
    if never && is_link(from) && is_link(there) {
        return two_links(source, dest, equal, options);
    }
    if never {
        return entries(source, dest, from, there, dereference, options);
    }
    if !equal {
        return Same::No;
    }
    match (source.stat(false), dest.stat(false)) {
        (Ok(from), Ok(there)) => {
            if is_link(&from) && is_link(&there) && options.remove_destination {
                return Same::No;
            }
            entries(source, dest, &from, &there, dereference, options)
        }
        _ => Same::No,
    }
}

/// Two symbolic links that are not followed: each may be copied over the other.
fn two_links(source: &Place<'_>, dest: &Place<'_>, equal: bool, options: &Options) -> Same {
    if source.is_same_source(dest) {
        Same::Yes
    } else if equal && options.backup.is_none() {
        Same::Done
    } else {
        Same::No
    }
}

/// The same for entries that are not both links, by what lstat says of them.
fn entries(
    source: &Place<'_>,
    dest: &Place<'_>,
    from: &FileStat,
    there: &FileStat,
    dereference: Dereference,
    options: &Options,
) -> Same {
    let equal = identity(from) == identity(there);
    if options.backup.is_some() {
        return moved_aside(source, dest, (from, there), equal, dereference);
    }
    if options.remove_destination {
        if is_link(there) {
            return Same::No;
        }
        if equal && there.st_nlink > 1 && !source.is_same_source(dest) {
            return Same::No;
        }
    }
    if !is_link(from) && !is_link(there) {
        if !equal {
            return Same::No;
        }
        if options.making == Making::HardLink {
            return Same::Done;
        }
    }
    if options.making == Making::SymbolicLink && is_link(there) {
        return Same::No;
    }
    if dereference == Dereference::Never {
        return through_links(source, dest, from, there, options);
    }
    Same::Yes
}

/// The destination is renamed first: only its being the very entry of the source is bad, or what the source points to.
fn moved_aside(
    source: &Place<'_>,
    dest: &Place<'_>,
    (from, there): (&FileStat, &FileStat),
    equal: bool,
    dereference: Dereference,
) -> Same {
    let dangles = dereference != Dereference::Never && is_link(from) && !is_link(there);
    let bad = if equal {
        source.is_same_source(dest)
    } else {
        dangles
    };
    if bad { Same::Yes } else { Same::No }
}

/// A link over what it points to, or the other way round.
fn through_links(
    source: &Place<'_>,
    dest: &Place<'_>,
    from: &FileStat,
    there: &FileStat,
    options: &Options,
) -> Same {
    let target = |place: &Place<'_>, stat: &FileStat| {
        if is_link(stat) {
            place.stat(true).ok()
        } else {
            Some(*stat)
        }
    };
    match (target(source, from), target(dest, there)) {
        (Some(a), Some(b)) if identity(&a) == identity(&b) => {}
        _ => return Same::No,
    }
    match options.making {
        Making::HardLink if is_link(there) => Same::No,
        Making::HardLink => Same::Done,
        Making::Copy | Making::SymbolicLink => Same::Yes,
    }
}
