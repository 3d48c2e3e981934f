//! The sentences of errors, warnings, -v lines and questions. Only this module contains GNU cp's words and its quoting.

mod deadline;
mod drain;
mod queue;
mod room;
pub(super) mod usage;

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::error::{
    AnewReason, AtomicObstacle, DataError, Demand, Error, KeptAttribute, LimitError, LimitWarning,
    LinkOperation, Operation, PriorityStep, Refusal, Replaced, ReplacedWhileCopied, RestoreError,
    Warning, XattrOperation,
};
use super::space_shortage::SpaceShortage;
use crate::report::bottleneck_clause;
use crate::report::quote::{quote, quote_if_needed, quote_word};
use crate::report::units;
use crate::report::{PROGRAM_NAME, program_name};
use crate::sys::proc_status::is_proc_mounted;
use crate::sys::strerror::strerror;
use crate::transfer::errno_class::Endpoint;
use crate::transfer::rate_limit::Bottleneck;
use crate::transfer::{self, CopyFailure};

/// The way in which cp quotes the path in a message.
enum Quoting {
    /// Quoted for a shell, even where no quotes are needed.
    Shell,
    /// Quoted as a word of the sentence.
    Word,
    /// Without quotes, with its bytes as they are.
    None,
}

/// Returns the words before the path, and how the path is quoted.
fn phrase(operation: Operation) -> (&'static str, Quoting) {
    let words = match operation {
        Operation::Stat => "cannot stat ",
        Operation::Fstat => "cannot fstat ",
        Operation::StatParent => "failed to get attributes of ",
        Operation::Access => "cannot access ",
        Operation::OpenTargetDirectory => "target directory ",
        Operation::OpenTarget => "target ",
        Operation::OpenSource => "cannot open ",
        Operation::OpenDest | Operation::Empty => "cannot create regular file ",
        Operation::Read => "error reading ",
        Operation::Write => "error writing ",
        Operation::Resize => "failed to extend ",
        Operation::Close => "failed to close ",
        Operation::Sync => "failed to sync ",
        Operation::WriteState => "cannot write the record ",
        Operation::Remove | Operation::RemoveDirectory => "cannot remove ",
        Operation::Free => "cannot give back the memory of ",
        Operation::BackUp | Operation::BackUpAtomically => "cannot backup ",
        Operation::MakeDirectory => "cannot create directory ",
        Operation::MakeParent => "cannot make directory ",
        Operation::MakeFifo => "cannot create fifo ",
        Operation::MakeSpecial => "cannot create special file ",
        Operation::ReadLink => "cannot read symbolic link ",
        Operation::CopySymlink => "cannot create symbolic link ",
        Operation::SetTimes => "preserving times for ",
        Operation::SetParentTimes => "failed to preserve times for ",
        Operation::SetMode => "preserving permissions for ",
        Operation::SetParentMode => "failed to preserve permissions for ",
        Operation::GrantOwnerAccess => "setting permissions for ",
        Operation::ClearMode => "clearing permissions for ",
        Operation::SetOwner => "failed to preserve ownership for ",
        Operation::ListXattrs => "listing attributes of ",
        Operation::SetXattrs => "setting attributes for ",
        Operation::ReadContext => "failed to get security context of ",
        Operation::SetContext => "failed to set the security context of ",
        Operation::ReadXattrRules => "",
        Operation::SetAcl => return ("preserving permissions for ", Quoting::Word),
        Operation::SetDefaultMode => return ("setting permissions for ", Quoting::Word),
        Operation::ReadAcl => return ("", Quoting::Word),
        Operation::SetLinkOwner => return ("failed to preserve ownership for ", Quoting::None),
    };
    (words, Quoting::Shell)
}

/// Returns the words between the path and the reason.
fn phrase_end(operation: Operation) -> &'static str {
    match operation {
        Operation::OpenSource => " for reading",
        Operation::BackUpAtomically => {
            " atomically, since names can be neither exchanged nor linked there"
        }
        _ => "",
    }
}

/// Writes the error of an operation on one file.
fn write_io(
    f: &mut Formatter<'_>,
    operation: Operation,
    path: &Path,
    error: &io::Error,
) -> fmt::Result {
    let (words, quoting) = phrase(operation);
    let name = match quoting {
        Quoting::Shell => quote(path),
        Quoting::Word => quote_word(path),
        Quoting::None => path.display().to_string(),
    };
    let end = phrase_end(operation);
    let why = if sets_or_reads_attributes(operation) {
        attribute_error(error)
    } else {
        strerror(error)
    };
    write!(f, "{words}{name}{end}: {why}")
}

/// Returns whether the operation reaches an attribute of an open file through /proc/self/fd, where the file cannot be
/// opened for reading.
fn sets_or_reads_attributes(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::SetTimes
            | Operation::SetParentTimes
            | Operation::SetMode
            | Operation::SetParentMode
            | Operation::SetDefaultMode
            | Operation::GrantOwnerAccess
            | Operation::ClearMode
            | Operation::SetOwner
            | Operation::ReadAcl
            | Operation::SetAcl
            | Operation::ListXattrs
            | Operation::SetXattrs
            | Operation::ReadContext
            | Operation::SetContext
    )
}

/// Returns the message of an error of an attribute, and that /proc is missing, where this is the reason for a missing
/// file.
fn attribute_error(error: &io::Error) -> String {
    let why = strerror(error);
    if error.kind() == io::ErrorKind::NotFound && !is_proc_mounted() {
        format!("{why}; /proc is not mounted")
    } else {
        why
    }
}

impl LinkOperation {
    fn kind(self) -> &'static str {
        match self {
            Self::HardLink => "hard",
            Self::Symlink => "symbolic",
        }
    }
}

impl XattrOperation {
    /// Returns the verb, and the preposition before the path.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Get => ("getting", "of"),
            Self::Set => ("setting", "for"),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                operation,
                path,
                error,
            } => write_io(f, *operation, path, error),
            Self::Link {
                operation,
                dest,
                target,
                error,
            } => {
                let kind = operation.kind();
                let (dest, target, why) = (quote(dest), quote(target), strerror(error));
                write!(f, "cannot create {kind} link {dest} to {target}: {why}")
            }
            Self::Xattr {
                operation,
                name,
                path,
                error,
            } => {
                let (words, preposition) = operation.words();
                let (name, path, why) = (quote(name), quote(path), attribute_error(error));
                write!(f, "{words} attribute {name} {preposition} {path}: {why}")
            }
            Self::CreationContext { context, error } => {
                let (context, why) = (quote_word(context), attribute_error(error));
                write!(
                    f,
                    "failed to set default file creation context to {context}: {why}"
                )
            }
            Self::Atomic { path, obstacle } => {
                write!(f, "cannot replace {} atomically: {obstacle}", quote(path))
            }
            Self::Drain { .. } => drain::write_error(f, self),
            Self::Data(data) => data.fmt(f),
            Self::Replaced(replaced) => replaced.fmt(f),
            Self::Refused {
                refusal,
                source,
                dest,
            } => write_refusal(f, *refusal, source, dest),
            Self::Limit { option, why } => write!(f, "{option}: {why}"),
            Self::NoTime(shortage) => write!(f, "{shortage}"),
            Self::Queue(error) => error.fmt(f),
            Self::StartGovernor(error) => {
                let why = strerror(error);
                write!(f, "cannot start a thread to hold the limits: {why}")
            }
            Self::GaveUp { bottleneck, after } => write_gave_up(f, bottleneck, *after),
        }
    }
}

fn write_gave_up(f: &mut Formatter<'_>, bottleneck: &Bottleneck, after: Duration) -> fmt::Result {
    write!(
        f,
        "giving up after {} at {}: {}",
        humantime::format_duration(after),
        units::format_rate(bottleneck.rate.as_f64()),
        bottleneck_clause(bottleneck)
    )
}

fn write_refusal(
    f: &mut Formatter<'_>,
    refusal: Refusal,
    source_path: &Path,
    dest_path: &Path,
) -> fmt::Result {
    let (source, dest) = (quote(source_path), quote(dest_path));
    match refusal {
        Refusal::Directory => write!(f, "-r not specified; omitting directory {source}"),
        Refusal::SameFile => write!(f, "{source} and {dest} are the same file"),
        Refusal::Exists => write!(f, "not replacing {dest}"),
        Refusal::DanglingSymlink => write!(f, "not writing through dangling symlink {dest}"),
        Refusal::ThroughNewSymlink => {
            write!(
                f,
                "will not copy {source} through just-created symlink {dest}"
            )
        }
        Refusal::OverNewFile => {
            write!(f, "will not overwrite just-created {dest} with {source}")
        }
        Refusal::DirectoryOverFile => {
            write!(
                f,
                "cannot overwrite non-directory {dest} with directory {source}"
            )
        }
        Refusal::FileOverDirectory => {
            write!(
                f,
                "cannot overwrite directory {dest} with non-directory {source}"
            )
        }
        Refusal::BackupOverSource => {
            write!(
                f,
                "backing up {dest} might destroy source;  {source} not copied"
            )
        }
        Refusal::CyclicSymlink => write!(f, "cannot copy cyclic symbolic link {source}"),
        Refusal::IntoItself => {
            write!(f, "cannot copy a directory, {source}, into itself, {dest}")
        }
        Refusal::LinkToDirectory => {
            write!(f, "will not create hard link {dest} to directory {source}")
        }
        Refusal::UnknownType => write!(f, "{source} has unknown file type"),
        Refusal::RelativeSymlink => {
            let name = quote_if_needed(dest_path);
            write!(
                f,
                "{name}: can make relative symbolic links only in current directory"
            )
        }
        Refusal::ParentNotDirectory => write!(f, "{dest} exists but is not a directory"),
        own => f.write_str(&own_refusal(own, &source, &dest)),
    }
}

/// Returns the sentence of a refusal that is about options which cp does not have, or about the last operand.
fn own_refusal(refusal: Refusal, source: &str, dest: &str) -> String {
    match refusal {
        Refusal::ManifestIsSource => {
            format!("will not copy {source}, which is the file of --manifest")
        }
        Refusal::ManifestIsDest => {
            format!("will not overwrite {dest}, which is the file of --manifest")
        }
        Refusal::ManifestAppeared => {
            format!("not replacing {dest} by the manifest: it was made meanwhile")
        }
        Refusal::ResumeSpecial => {
            format!("cannot use --resume with {source}: it is no regular file")
        }
        Refusal::ResumeStateName => {
            format!("cannot use --resume with {dest}: its name is that of a state of --resume")
        }
        Refusal::PartExists => {
            format!("will not copy {source}: {dest} exists, perhaps from an earlier --cut")
        }
        _ => "with --parents, the destination must be a directory".into(),
    }
}

impl Display for AtomicObstacle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegular => f.write_str("not a regular file"),
            Self::Keep(attribute, error) => {
                match attribute {
                    KeptAttribute::Owner => f.write_str("its owner"),
                    KeptAttribute::Mode => f.write_str("its mode"),
                    KeptAttribute::Acl => f.write_str("its ACL"),
                    KeptAttribute::Xattrs => f.write_str("its extended attributes"),
                    KeptAttribute::Xattr(name) => write!(f, "its attribute {}", name.display()),
                }?;
                write!(f, " cannot be kept: {}", strerror(error))
            }
            Self::Rename(error) => f.write_str(&strerror(error)),
        }
    }
}

impl Display for Replaced {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(path) => {
                let path = quote(path);
                write!(
                    f,
                    "skipping file {path}, as it was replaced while being copied"
                )
            }
            Self::Dest { path, kept } => {
                let path = quote(path);
                write!(
                    f,
                    "not writing to {path}, as it was replaced while being copied to"
                )?;
                match kept {
                    Some(kept) => {
                        let kept = quote(kept);
                        write!(f, "; the file that was there before is kept as {kept}")
                    }
                    None => Ok(()),
                }
            }
            Self::Directory(path) => {
                let path = quote(path);
                write!(
                    f,
                    "not copying into {path}, as it was replaced while being copied to"
                )
            }
            Self::Made(path) => {
                let path = quote(path);
                write!(
                    f,
                    "not setting attributes of {path}, as it was replaced while being copied"
                )
            }
            Self::Removed { path, aside } => {
                let (path, aside) = (quote(path), quote(aside));
                write!(
                    f,
                    "{path} was replaced while being removed: the file that replaced it is now {aside}"
                )
            }
        }
    }
}

impl Display for DataError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_sentence(f)?;
        match self.shortage {
            // Called as cp, the words are those of cp.
            Some(SpaceShortage { needed, free }) if program_name() == PROGRAM_NAME => {
                let (needed, free) = (units::format_size(needed), units::format_size(free));
                write!(f, "; {needed} needed, {free} free")
            }
            _ => Ok(()),
        }
    }
}

impl DataError {
    /// Writes what has failed, in the words of cp where it has some.
    fn write_sentence(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (from, to) = (quote(&self.source), quote(&self.dest));
        let failure = &self.failure;
        match &failure.error {
            transfer::Error::Io(Endpoint::Source, e) => {
                write!(f, "error reading {from}: {}", strerror(e))
            }
            transfer::Error::Io(Endpoint::Dest, e) => {
                write!(f, "error writing {to}: {}", strerror(e))
            }
            transfer::Error::Truncate(e) => {
                write!(f, "cannot create regular file {to}: {}", strerror(e))
            }
            transfer::Error::Clone(e) => {
                write!(f, "failed to clone {to} from {from}: {}", strerror(e))
            }
            transfer::Error::Resize(e) => write!(f, "failed to extend {to}: {}", strerror(e)),
            transfer::Error::Impossible(why) => {
                write!(f, "cannot copy {from} to {to}: ")?;
                match self.demand {
                    Some(Demand::Engine(engine)) => {
                        write!(f, "engine {} cannot copy it: {why}", engine.name)
                    }
                    Some(Demand::Direct) => {
                        write!(f, "--direct=always is not possible: {why}")
                    }
                    Some(Demand::Drain) => write!(f, "--drain is not possible: {why}"),
                    None => f.write_str(why),
                }
            }
            changed @ transfer::Error::SourceChanged { .. } if self.is_atomic => {
                write!(f, "{from}: {changed}, so {to} is left as it was")
            }
            changed @ transfer::Error::SourceChanged { .. } => {
                write!(f, "{from}: {changed}, so {to} is not a copy of it")
            }
            transfer::Error::Interrupted => self.write_interrupted(f, &from, &to),
            own => self.write_own_sentence(f, own, &from, &to),
        }
    }

    /// Writes what has failed that cp does not do.
    fn write_own_sentence(
        &self,
        f: &mut Formatter<'_>,
        error: &transfer::Error,
        from: &str,
        to: &str,
    ) -> fmt::Result {
        match error {
            error @ transfer::Error::NotQuiescent { is_copied, .. } => {
                let what = match (is_copied, self.is_atomic) {
                    (false, _) => String::new(),
                    (true, true) => format!(", so {to} is left as it was"),
                    (true, false) => format!(", so {to} may not be a copy of it"),
                };
                write!(f, "--require-quiescent: {from}: {error}{what}")
            }
            transfer::Error::Stopped(reason) => f.write_str(&room::stop_sentence(reason, from, to)),
            transfer::Error::DurablePoint(e) => {
                write!(
                    f,
                    "cannot record how much of {to} is on the disk: {}",
                    strerror(e)
                )
            }
            transfer::Error::Free(e) => {
                write!(f, "cannot give back the memory of {from}: {}", strerror(e))
            }
            transfer::Error::NotVerifiable(why) => {
                write!(f, "cannot copy {from} to {to} with --verify: {why}")
            }
            transfer::Error::ReadBack(e) => {
                write!(f, "cannot read back {to}: {}", strerror(e))?;
                self.write_kept(f)
            }
            transfer::Error::Different { at } => {
                write!(
                    f,
                    "{to} differs from {from} from byte {at} on, as read back"
                )?;
                self.write_kept(f)
            }
            other => other.fmt(f),
        }
    }

    /// Writes that the old file stays, where that is so.
    fn write_kept(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_atomic {
            let to = quote(&self.dest);
            write!(f, ", so {to} is left as it was")?;
        }
        Ok(())
    }

    /// Writes how far a copy had come when a signal ended it.
    fn write_interrupted(&self, f: &mut Formatter<'_>, from: &str, to: &str) -> fmt::Result {
        let CopyFailure {
            copied,
            size,
            begun,
            ..
        } = self.failure;
        if self.is_atomic {
            write!(
                f,
                "interrupted while {from} was copied: {to} is left as it was"
            )
        } else if !begun {
            write!(f, "interrupted before a byte of {from} was copied to {to}")
        } else {
            // The exact number serves to cut off what follows, the other one to read.
            let shown = match size {
                0 => units::format_size(copied),
                _ => units::format_size_of(copied, size),
            };
            write!(
                f,
                "interrupted: {to} holds the first {copied} bytes ({shown}) of {from}"
            )
        }
    }
}

impl Display for LimitError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "{why}"),
            Self::StartProber(error) => {
                write!(f, "cannot start a prober: {}", strerror(error))
            }
            Self::NoFileSystem(path) => {
                write!(
                    f,
                    "{} is a pipe or a device, which has no file system to measure",
                    quote(path)
                )
            }
            Self::Stat(path, error) => write_io(f, Operation::Stat, path, error),
        }
    }
}

impl Display for AnewReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceChanged => f.write_str("the source has changed since"),
            Self::DestReplaced => f.write_str("what was copied is not there any more"),
            Self::DestShorter => f.write_str("what was copied has become shorter"),
            Self::StateDamaged => f.write_str("the record of the interrupted copy is damaged"),
            Self::StateNewer => {
                f.write_str("a newer version of this program recorded the interrupted copy")
            }
            Self::StateNotOurs(path) => {
                let path = quote(path);
                write!(f, "{path} is no file that only this user can write to")
            }
            Self::StateUnreadable(path, e) => {
                write!(f, "cannot read {}: {}", quote(path), strerror(e))
            }
        }
    }
}

impl Display for Warning {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::RepeatedFile(path) => {
                let path = quote(path);
                write!(f, "warning: source file {path} specified more than once")
            }
            Self::CopiedAnew { dest, why } => {
                write!(f, "warning: {} is copied anew: {why}", quote(dest))
            }
            left @ (Self::DrainLeft { .. } | Self::DrainNotVerified { .. }) => {
                drain::write_warning(f, left)
            }
            Self::ReadBackCached { dest, why } => {
                let dest = quote(dest);
                write!(
                    f,
                    "warning: {dest} was verified through the page cache: {why}"
                )
            }
            Self::RepeatedDirectory(path) => {
                let path = quote(path);
                write!(
                    f,
                    "warning: source directory {path} specified more than once"
                )
            }
            Self::Restore { path, backup, why } => {
                write!(f, "cannot un-backup {}: ", quote(path))?;
                let kept = quote(backup);
                match why {
                    RestoreError::Taken => write!(
                        f,
                        "another process has made a file of that name; the old file is {kept}"
                    ),
                    RestoreError::Moved => write!(f, "{kept} is not the old file any more"),
                    RestoreError::Failed(error) => f.write_str(&strerror(&(*error).into())),
                }
            }
        }
    }
}

impl Display for LimitWarning {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::DestInMemory {
                option,
                directory,
                file_system,
            } => write!(
                f,
                "warning: {option}: {} is on {file_system}, which is in memory: no write waits for a disk there, so this limit has no effect",
                quote(directory)
            ),
            Self::ProbersNotLocked(error) => write!(
                f,
                "warning: cannot lock the probers in memory ({}): their own page faults may count as latency; raise RLIMIT_MEMLOCK",
                strerror(error)
            ),
            Self::MissedBeforeStart(bottleneck) => write!(
                f,
                "warning: even before the copy starts, {}; the copy runs at {} until this improves",
                bottleneck_clause(bottleneck),
                units::format_rate(bottleneck.rate.as_f64())
            ),
            Self::Deadline(warning) => write!(f, "{warning}"),
            Self::ProberDied { option, why } => write!(
                f,
                "warning: {option}: the prober died ({why}); the copy slows down until a new prober answers"
            ),
            Self::ProberRestarted(option) => write!(f, "{option}: a new prober answers"),
            Self::SupervisorDied { option, why } => write!(
                f,
                "warning: {option}: no prober can be started any more ({why}); the copy continues at the slowest rate"
            ),
            Self::IdlePriority { step, error } => {
                let what = match step {
                    PriorityStep::IoClass => "I/O class",
                    PriorityStep::Nice => "nice value",
                    PriorityStep::Scheduling => "scheduling policy",
                };
                let why = strerror(error);
                write!(f, "warning: --idle: cannot set the {what}: {why}")
            }
            Self::IdleIgnored(why) => write!(f, "warning: --idle: {why}"),
        }
    }
}

impl Display for ReplacedWhileCopied {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("it was replaced while being copied")
    }
}

/// Returns the question of -i. `unwritable` is the mode of a file that may not be written to; with `replaces` that file
/// would be removed.
#[must_use]
pub(super) fn overwrite_question(path: &Path, unwritable: Option<u32>, replaces: bool) -> String {
    let (program, name) = (program_name(), quote(path));
    let Some(mode) = unwritable else {
        return format!("{program}: overwrite {name}? ");
    };
    let (bits, letters) = (mode & 0o7777, mode_letters(mode));
    if replaces {
        format!("{program}: replace {name}, overriding mode {bits:04o} ({letters})? ")
    } else {
        format!("{program}: unwritable {name} (mode {bits:04o}, {letters}); try anyway? ")
    }
}

/// Returns the permission bits of a mode as ls(1) shows them.
fn mode_letters(mode: u32) -> String {
    let class = |shift: u32, special: u32, mark: char| {
        let execute = match (mode & special != 0, mode >> shift & 1 != 0) {
            (true, true) => mark,
            (true, false) => mark.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        };
        let bit = |shift, letter| if mode >> shift & 1 != 0 { letter } else { '-' };
        [bit(shift + 2, 'r'), bit(shift + 1, 'w'), execute]
    };
    [
        class(6, 0o4000, 's'),
        class(3, 0o2000, 's'),
        class(0, 0o1000, 't'),
    ]
    .concat()
    .into_iter()
    .collect()
}

/// Returns the error of writing to standard output.
#[must_use]
pub(super) fn write_error(error: &io::Error) -> String {
    format!("write error: {}", strerror(error))
}

/// Returns the error of installing the signal handlers.
#[must_use]
pub(super) fn signals_not_handled(error: &io::Error) -> String {
    format!("cannot handle signals: {error}")
}

/// Returns the line of -v for a file that is copied, with the name of its backup.
#[must_use]
pub(super) fn copied(source: &Path, dest: &Path, backup: Option<&OsStr>) -> String {
    let (source, dest) = (quote(source), quote(dest));
    match backup {
        Some(backup) => format!("{source} -> {dest} (backup: {})", quote(backup)),
        None => format!("{source} -> {dest}"),
    }
}

/// Returns the line of -v for a directory that --parents makes, which cp prints without quotes.
#[must_use]
pub(super) fn parent_made(source: &Path, dest: &Path) -> String {
    format!("{} -> {}", source.display(), dest.display())
}

/// Returns the line of -v for an old file that got the name of a backup after the copy was announced.
#[must_use]
pub(super) fn backed_up(dest: &Path, backup: &OsStr) -> String {
    format!("{} -> {} (backup)", quote(dest), quote(backup))
}

/// Returns the line of -v for an old file that got its name back.
#[must_use]
pub(super) fn restored(backup: &OsStr, dest: &Path) -> String {
    format!("{} -> {} (unbackup)", quote(backup), quote(dest))
}

/// Returns the line about a file that an earlier run has copied.
#[must_use]
pub(super) fn whole_already(dest: &Path) -> String {
    format!("{} is whole already", quote(dest))
}

/// Returns the line of -v for a file that was removed.
#[must_use]
pub(super) fn removed(path: &Path) -> String {
    format!("removed {}", quote(path))
}

/// Returns the line of --debug for a destination that is left as it is, in the words of cp since 9.4.
#[must_use]
pub(super) fn skipped(path: &Path) -> String {
    format!("skipped {}", quote(path))
}

#[cfg(test)]
mod tests {
    use super::mode_letters;

    #[test]
    fn a_mode_reads_as_in_ls() {
        for (mode, want) in [
            (0o644, "rw-r--r--"),
            (0o4755, "rwsr-xr-x"),
            (0o2640, "rw-r-S---"),
            (0o1777, "rwxrwxrwt"),
            (0o1000, "--------T"),
        ] {
            assert_eq!(mode_letters(mode), want);
        }
    }
}
