//! The sentences about sources that are drained, or cannot be.

use std::fmt::{self, Formatter};
use std::path::Path;

use crate::cp::error::{DrainObstacle, Error, Warning};
use crate::report::quote::{quote, quote_if_needed};
use crate::report::{PROGRAM_NAME, units};
use crate::sys::strerror::strerror;

/// Writes the error for a source that is not drained, and nothing for another one.
pub(super) fn write_error(f: &mut Formatter<'_>, error: &Error) -> fmt::Result {
    match error {
        Error::Drain {
            source,
            dest,
            obstacle,
        } => write_obstacle(f, source, dest, obstacle),
        _ => Ok(()),
    }
}

/// Writes the warnings about a drain, and nothing for another one.
pub(super) fn write_warning(f: &mut Formatter<'_>, warning: &Warning) -> fmt::Result {
    match warning {
        Warning::DrainLeft {
            source,
            dest,
            durable,
        } => write_left(f, source, dest, *durable),
        Warning::DrainNotVerified { dest, until } => write!(
            f,
            "warning: an earlier run may have freed the first {until} bytes of the source of {} without --verify, so they are not compared",
            quote(dest)
        ),
        _ => Ok(()),
    }
}

fn write_obstacle(
    f: &mut Formatter<'_>,
    source: &Path,
    dest: &Path,
    obstacle: &DrainObstacle,
) -> fmt::Result {
    let from = quote(source);
    if let DrainObstacle::Begun = obstacle {
        let to = quote(dest);
        return write!(
            f,
            "cannot copy {from}: a part of it was freed already and is in {to} alone; to go on: {}",
            command(source, dest)
        );
    }
    let verb = match obstacle {
        // Neither would be a copy without --drain.
        DrainObstacle::OtherSource(_) | DrainObstacle::Record(_) | DrainObstacle::FreedInto(_) => {
            "copy"
        }
        _ => "drain",
    };
    write!(f, "cannot {verb} {from}: {}", reason(dest, obstacle))
}

fn reason(dest: &Path, obstacle: &DrainObstacle) -> String {
    match obstacle {
        DrainObstacle::Link => "it is a symbolic link".into(),
        DrainObstacle::NotRegular => "it is no regular file".into(),
        DrainObstacle::NotInMemory(fs) => format!("it is on {fs}, and not in memory"),
        DrainObstacle::Names(0) => "it has no name".into(),
        DrainObstacle::Names(names) => format!("it has {names} hard links"),
        DrainObstacle::Sealed => "it is sealed against changes".into(),
        DrainObstacle::NotWritable(e) => {
            format!("it cannot be opened for writing: {}", strerror(e))
        }
        DrainObstacle::Busy => "another run drains it".into(),
        DrainObstacle::OpenElsewhere => "another process has it open or mapped".into(),
        DrainObstacle::Changed => "it was written to since it was copied".into(),
        DrainObstacle::LeaseRefused(e) => format!(
            "it cannot be told whether another process has it open: a lease is refused ({})",
            strerror(e)
        ),
        DrainObstacle::SameFileSystem => {
            format!("{} is on the same file system", quote(dest))
        }
        DrainObstacle::NotDurable(why) => format!("{}: {why}", quote(dest)),
        DrainObstacle::FreedInto(path) => {
            format!("a part of it was freed already and is in {}", quote(path))
        }
        DrainObstacle::OtherSource(record) => format!(
            "{} has what was freed of another source, or of this one before it changed, as {} says",
            quote(dest),
            quote(record)
        ),
        DrainObstacle::Record(why) => format!("it may have been freed in part, and {why}"),
        DrainObstacle::Begun => "a part of it was freed already".into(),
    }
}

fn write_left(f: &mut Formatter<'_>, source: &Path, dest: &Path, durable: u64) -> fmt::Result {
    write!(
        f,
        "{} has the first {durable} bytes ({}) on the disk, and {} has what follows; to go on: {}",
        quote(dest),
        units::format_size(durable),
        quote(source),
        command(source, dest)
    )
}

/// Returns the command that completes a drain.
fn command(source: &Path, dest: &Path) -> String {
    let (source, dest) = (quote_if_needed(source), quote_if_needed(dest));
    format!("{PROGRAM_NAME} --resume --drain -T -- {source} {dest}")
}
