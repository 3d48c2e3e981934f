//! Errors of a copy as data: the operation, the file, and the system's error. The sentences that the user reads are
//! made in [`super::messages`], and nowhere else.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::queue::error::QueueError;
use super::space_shortage::SpaceShortage;
use crate::observe::error::ObserveError;
use crate::report::ReportedError;
use crate::transfer::engine::EngineSpec;
use crate::transfer::errno_class::Endpoint;
use crate::transfer::rate_limit::Bottleneck;
use crate::transfer::{self, CopyFailure, StopReason};

/// The operation on one file that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reading the status of a name.
    Stat,
    /// Reading the status of an open file.
    Fstat,
    /// Reading the status of a directory of the source that --parents makes.
    StatParent,
    /// Opening a directory, or a file whose attributes are copied.
    Access,
    /// Opening the directory of -t.
    OpenTargetDirectory,
    /// Opening the last of several operands, which must be a directory.
    OpenTarget,
    /// Opening the source of a copy.
    OpenSource,
    /// Opening the destination of a copy, or making it.
    OpenDest,
    /// Emptying an old destination, as open(2) with O_TRUNC does.
    Empty,
    /// Writing the state of a copy, with --resume.
    WriteState,
    /// Reading data of the source.
    Read,
    /// Writing data to the destination.
    Write,
    /// Giving the destination its size.
    Resize,
    /// Closing the destination of a copy.
    Close,
    /// Waiting until a file is on the disk.
    Sync,
    /// Removing a name of a file.
    Remove,
    /// Removing a directory that was drained.
    RemoveDirectory,
    /// Giving the memory of a source back.
    Free,
    /// Giving the old destination the name of a backup.
    BackUp,
    /// Giving the old destination that name in the step in which the new file gets its own.
    BackUpAtomically,
    /// Making a directory like that of the source.
    MakeDirectory,
    /// Making a directory that --parents names.
    MakeParent,
    /// Making a FIFO like the source.
    MakeFifo,
    /// Making a socket or a device.
    MakeSpecial,
    /// Reading the target of a symbolic link.
    ReadLink,
    /// Making a symbolic link like the source.
    CopySymlink,
    /// Setting access and modification time.
    SetTimes,
    /// Setting the times of a directory that --parents names.
    SetParentTimes,
    /// Adding the permission bits that were withheld while the file was made.
    SetMode,
    /// Setting mode and ACL to those of the source.
    SetAcl,
    /// Setting the mode of a directory that --parents names.
    SetParentMode,
    /// Setting the mode that --no-preserve=mode gives.
    SetDefaultMode,
    /// Making a new directory usable for its owner.
    GrantOwnerAccess,
    /// Removing permissions before the owner changes.
    ClearMode,
    /// Reading the ACL of the source.
    ReadAcl,
    /// Setting owner and group of a file.
    SetOwner,
    /// Setting owner and group of a symbolic link.
    SetLinkOwner,
    /// Listing the extended attributes of the source.
    ListXattrs,
    /// Setting extended attributes on a file system that has none.
    SetXattrs,
    /// Reading the rules that exclude extended attributes.
    ReadXattrRules,
    /// Reading the security context of the source.
    ReadContext,
    /// Setting the security context of the destination.
    SetContext,
}

impl Operation {
    /// Returns the system call, or the short word for a group of them, by which `--json` names the operation.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stat | Self::Fstat | Self::StatParent => "stat",
            Self::Access
            | Self::OpenTargetDirectory
            | Self::OpenTarget
            | Self::OpenSource
            | Self::OpenDest
            | Self::ReadXattrRules => "open",
            Self::Empty | Self::Resize => "truncate",
            Self::Read => "read",
            Self::Write | Self::WriteState => "write",
            Self::Close => "close",
            Self::Sync => "fsync",
            Self::Remove => "unlink",
            Self::RemoveDirectory => "rmdir",
            Self::Free => "fallocate",
            Self::BackUp | Self::BackUpAtomically => "rename",
            Self::MakeDirectory | Self::MakeParent => "mkdir",
            Self::MakeFifo | Self::MakeSpecial => "mknod",
            Self::ReadLink => "readlink",
            Self::CopySymlink => "symlink",
            Self::SetTimes | Self::SetParentTimes => "utimens",
            Self::SetMode
            | Self::SetAcl
            | Self::SetParentMode
            | Self::SetDefaultMode
            | Self::GrantOwnerAccess
            | Self::ClearMode => "chmod",
            Self::SetOwner | Self::SetLinkOwner => "chown",
            Self::ListXattrs => "listxattr",
            Self::ReadAcl | Self::ReadContext => "getxattr",
            Self::SetXattrs | Self::SetContext => "setxattr",
        }
    }
}

/// The kind of link that was made to the source, under the name of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOperation {
    /// A hard link to the file.
    HardLink,
    /// A symbolic link to the name.
    Symlink,
}

/// The operation on one extended attribute that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrOperation {
    /// Reading the attribute from the source.
    Get,
    /// Setting the attribute on the destination.
    Set,
}

/// An attribute that a file which replaces another must inherit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptAttribute {
    /// The owner and the group of the file.
    Owner,
    /// The permission bits of the file.
    Mode,
    /// The access control list of the file.
    Acl,
    /// The list of the extended attributes.
    Xattrs,
    /// The extended attribute of this name.
    Xattr(OsString),
}

/// The reason why --atomic cannot replace a file.
#[derive(Debug)]
pub enum AtomicObstacle {
    /// The old file is not regular.
    NotRegular,
    /// The new file cannot be given this attribute of the old one.
    Keep(KeptAttribute, io::Error),
    /// The new file cannot be given the name.
    Rename(io::Error),
}

/// The reason why --drain leaves a source alone.
#[derive(Debug)]
pub enum DrainObstacle {
    /// The name of the source leads to it through a symbolic link.
    Link,
    /// The source is no regular file.
    NotRegular,
    /// The source is on this file system, whose files are not memory.
    NotInMemory(String),
    /// The source has this number of names, which is not one.
    Names(u64),
    /// A seal of the source forbids to change it.
    Sealed,
    /// The source cannot be opened for writing.
    NotWritable(io::Error),
    /// Another run of this program drains the source.
    Busy,
    /// Another process has the source open or mapped.
    OpenElsewhere,
    /// Somebody has written to the source since it was copied.
    Changed,
    /// It cannot be told who else has the source open.
    LeaseRefused(io::Error),
    /// Source and destination are on one file system.
    SameFileSystem,
    /// The destination cannot be trusted to be on the disk, for this reason.
    NotDurable(String),
    /// An earlier run has freed a part of the source, which is in this file now.
    FreedInto(PathBuf),
    /// The destination has what an earlier run has freed of another source, or of this one as it was before. The path is that
    /// of the record that says so.
    OtherSource(PathBuf),
    /// The record of an earlier run says that a part of the source is freed, and cannot be used.
    Record(AnewReason),
    /// The source is drained already in part, and --drain was not given.
    Begun,
}

/// The option that allowed only one way to copy, where there was none.
#[derive(Debug, Clone, Copy)]
pub enum Demand {
    /// The option --engine, with this engine.
    Engine(&'static EngineSpec),
    /// The option --direct with the word always.
    Direct,
    /// The option --drain, which implies that.
    Drain,
}

/// The failure of a copy that did not transfer all data of a file.
#[derive(Debug)]
pub struct DataError {
    /// The error, and how far the copy came.
    pub failure: CopyFailure,
    /// The path of the source, as messages show it.
    pub source: PathBuf,
    /// The path of the destination, as messages show it.
    pub dest: PathBuf,
    /// Whether the destination is left as it was.
    pub is_atomic: bool,
    /// The space that was missing, where that is known to be the reason.
    pub shortage: Option<SpaceShortage>,
    /// The option that allowed no other way to copy.
    pub demand: Option<Demand>,
}

/// A file that another process replaced while this run worked on it.
#[derive(Debug)]
pub enum Replaced {
    /// The source of a copy was replaced.
    Source(PathBuf),
    /// The destination was replaced. The file that had the name before it may be kept under a name of its own.
    Dest {
        /// The path of the destination, as messages show it.
        path: PathBuf,
        /// The name of the file that was there before.
        kept: Option<PathBuf>,
    },
    /// A directory of the destination was replaced.
    Directory(PathBuf),
    /// A file that this run made was replaced before it had its attributes.
    Made(PathBuf),
    /// A file that was to be removed was replaced. The other file, which had the name for a moment, has the name
    /// `aside` now.
    Removed {
        /// The path of the file that was to be removed.
        path: PathBuf,
        /// The name that the other file has now.
        aside: PathBuf,
    },
}

/// The reason why a source is not copied, without any attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The source is a directory and -r was not given.
    Directory,
    /// Source and destination are one file.
    SameFile,
    /// The destination exists, and --update=none-fail forbids to replace it.
    Exists,
    /// The destination is a dangling symbolic link.
    DanglingSymlink,
    /// The destination is a symbolic link that this run made.
    ThroughNewSymlink,
    /// An earlier operand was copied to the destination.
    OverNewFile,
    /// The destination is no directory, and the source is one.
    DirectoryOverFile,
    /// The destination is a directory, and the source is none.
    FileOverDirectory,
    /// The backup of the destination would replace the source.
    BackupOverSource,
    /// A symbolic link leads to a directory above itself.
    CyclicSymlink,
    /// A directory would be copied into itself.
    IntoItself,
    /// A directory was copied before, to this destination, and would have to be linked.
    LinkToDirectory,
    /// The source is of a type that is not known.
    UnknownType,
    /// A relative symbolic link would be made in another directory than the current one.
    RelativeSymlink,
    /// A file that is no directory exists where --parents needs a directory.
    ParentNotDirectory,
    /// With --parents, the last operand is no directory.
    TargetNotDirectory,
    /// The source is the file that --manifest names.
    ManifestIsSource,
    /// The destination is the file that --manifest names.
    ManifestIsDest,
    /// A file of the name of the manifest was made while the program ran.
    ManifestAppeared,
    /// With --resume, this source or destination is no regular file.
    ResumeSpecial,
    /// A destination of --resume has the name of a state file.
    ResumeStateName,
    /// The name for the beginning of a file that is cut, or for its map, exists.
    PartExists,
}

/// The reason why a limit cannot be kept.
#[derive(Debug)]
pub enum LimitError {
    /// The quantity cannot be measured, for this reason.
    Unavailable(ObserveError),
    /// A prober cannot be started.
    StartProber(io::Error),
    /// No file system was found that the destination lies on, though it is written to.
    NoFileSystem(PathBuf),
    /// The status of the destination cannot be read.
    Stat(PathBuf, io::Error),
}

/// The reason why a file was not copied, or not completely.
#[derive(Debug)]
pub enum Error {
    /// An operation on one file failed.
    Io {
        /// The operation that did not succeed.
        operation: Operation,
        /// The path of the file, as messages show it.
        path: PathBuf,
        /// The error that the system reported.
        error: io::Error,
    },
    /// A link could not be made.
    Link {
        /// The kind of link that was to be made.
        operation: LinkOperation,
        /// The name of the link.
        dest: PathBuf,
        /// The target that the link should have had.
        target: PathBuf,
        /// The error that the system reported.
        error: io::Error,
    },
    /// An extended attribute could not be copied.
    Xattr {
        /// The operation that did not succeed.
        operation: XattrOperation,
        /// The name of the attribute.
        name: OsString,
        /// The path of the file, as messages show it.
        path: PathBuf,
        /// The error that the system reported.
        error: io::Error,
    },
    /// The security context of new files could not be set.
    CreationContext {
        /// The context that was to be set.
        context: OsString,
        /// The error that the system reported.
        error: io::Error,
    },
    /// --atomic cannot replace a file.
    Atomic {
        /// The path of the destination, as messages show it.
        path: PathBuf,
        /// The reason why it cannot be replaced.
        obstacle: AtomicObstacle,
    },
    /// A source cannot be drained, and is left as it is.
    Drain {
        /// The path of the source, as messages show it.
        source: PathBuf,
        /// The path of the destination, as messages show it.
        dest: PathBuf,
        /// The reason why it cannot be drained.
        obstacle: Box<DrainObstacle>,
    },
    /// The data was not copied completely.
    Data(Box<DataError>),
    /// Another process replaced a file meanwhile.
    Replaced(Replaced),
    /// A source is not copied, without any attempt.
    Refused {
        /// The reason why it is not copied.
        refusal: Refusal,
        /// The source, or another file that the reason is about.
        source: PathBuf,
        /// The path of the destination, as messages show it.
        dest: PathBuf,
    },
    /// The limit of an option cannot be kept.
    Limit {
        /// The option, with its dashes.
        option: &'static str,
        /// The reason why it cannot be kept.
        why: LimitError,
    },
    /// The rate limit does not let all data through in the time of --finish-within.
    NoTime(TimeShortage),
    /// The queue of --queue cannot be used.
    Queue(QueueError),
    /// No thread can be started to hold the limits.
    StartGovernor(io::Error),
    /// A limit was missed at the slowest rate for as long as --give-up-after allows.
    GaveUp {
        /// The limit, and the value that was measured.
        bottleneck: Bottleneck,
        /// The time of --give-up-after that has passed.
        after: Duration,
    },
}

impl Error {
    /// Makes the error of an operation on one file.
    pub fn io(operation: Operation, path: impl Into<PathBuf>, error: impl Into<io::Error>) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            error: error.into(),
        }
    }

    /// Makes the error for a source that is not copied.
    #[must_use]
    pub fn refused(refusal: Refusal, source: &Path, dest: &Path) -> Self {
        Self::Refused {
            refusal,
            source: source.into(),
            dest: dest.into(),
        }
    }

    /// Makes the error for a source that is not drained.
    #[must_use]
    pub fn drain(source: &Path, dest: &Path, obstacle: DrainObstacle) -> Self {
        Self::Drain {
            source: source.into(),
            dest: dest.into(),
            obstacle: Box::new(obstacle),
        }
    }

    /// Makes the error for a destination that another process replaced.
    #[must_use]
    pub fn dest_replaced(path: &Path) -> Self {
        Self::Replaced(Replaced::Dest {
            path: path.into(),
            kept: None,
        })
    }

    /// Makes the error for a file that --atomic cannot replace.
    #[must_use]
    pub fn atomic(path: &Path, obstacle: AtomicObstacle) -> Self {
        Self::Atomic {
            path: path.into(),
            obstacle,
        }
    }

    /// Returns whether the error is in the command line, so that cp adds the hint to --help.
    #[must_use]
    pub fn is_usage_error(&self) -> bool {
        let refusal = Refusal::TargetNotDirectory;
        matches!(self, Self::Refused { refusal: found, .. } if *found == refusal)
    }

    /// Returns the failure of a data copy, where the error is one.
    #[must_use]
    pub fn copy_failure(&self) -> Option<&CopyFailure> {
        match self {
            Self::Data(data) => Some(&data.failure),
            _ => None,
        }
    }

    /// Returns the system's error, where the error comes from a system call.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Io { error, .. }
            | Self::Link { error, .. }
            | Self::Xattr { error, .. }
            | Self::CreationContext { error, .. }
            | Self::Limit {
                why: LimitError::StartProber(error) | LimitError::Stat(_, error),
                ..
            }
            | Self::StartGovernor(error) => Some(error),
            Self::Queue(error) => error.io_error(),
            Self::Atomic { obstacle, .. } => match obstacle {
                AtomicObstacle::Keep(_, error) | AtomicObstacle::Rename(error) => Some(error),
                AtomicObstacle::NotRegular => None,
            },
            Self::Drain { obstacle, .. } => match &**obstacle {
                DrainObstacle::NotWritable(error) | DrainObstacle::LeaseRefused(error) => {
                    Some(error)
                }
                _ => None,
            },
            Self::Data(data) => match &data.failure.error {
                transfer::Error::Io(_, error)
                | transfer::Error::Truncate(error)
                | transfer::Error::Resize(error)
                | transfer::Error::Clone(error)
                | transfer::Error::DurablePoint(error)
                | transfer::Error::Free(error)
                | transfer::Error::ReadBack(error) => Some(error),
                _ => None,
            },
            Self::Limit {
                why: LimitError::Unavailable(error),
                ..
            } => find_io_error(error),
            Self::Replaced(_)
            | Self::Refused { .. }
            | Self::Limit { .. }
            | Self::NoTime(_)
            | Self::GaveUp { .. } => None,
        }
    }
}

/// Returns the system's error among the sources of an error.
fn find_io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref())
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io_error()
            .map(|error| error as &(dyn std::error::Error + 'static))
    }
}

impl ReportedError for Error {
    fn operation(&self) -> &'static str {
        match self {
            Self::Io { operation, .. } => operation.word(),
            Self::Link { operation, .. } => match operation {
                LinkOperation::HardLink => "link",
                LinkOperation::Symlink => "symlink",
            },
            Self::Xattr { operation, .. } => match operation {
                XattrOperation::Get => "getxattr",
                XattrOperation::Set => "setxattr",
            },
            Self::CreationContext { .. } => "setxattr",
            Self::Atomic { obstacle, .. } => obstacle.word(),
            Self::Data(data) => match &data.failure.error {
                transfer::Error::Io(Endpoint::Source, _) => "read",
                transfer::Error::Io(Endpoint::Dest, _) => "write",
                transfer::Error::Truncate(_) | transfer::Error::Resize(_) => "truncate",
                transfer::Error::Clone(_) => "clone",
                transfer::Error::Stopped(_) => "limit",
                transfer::Error::DurablePoint(_) => "sync",
                transfer::Error::Free(_) => "fallocate",
                transfer::Error::ReadBack(_)
                | transfer::Error::Different { .. }
                | transfer::Error::NotVerifiable(_) => "verify",
                _ => "copy",
            },
            Self::Replaced(Replaced::Removed { .. }) => "unlink",
            Self::Replaced(_) | Self::Refused { .. } | Self::Drain { .. } => "copy",
            Self::Limit { .. } | Self::NoTime(_) | Self::StartGovernor(_) | Self::GaveUp { .. } => {
                "limit"
            }
            Self::Queue(_) => "queue",
        }
    }

    fn errno(&self) -> Option<i32> {
        self.io_error().and_then(io::Error::raw_os_error)
    }
}

impl AtomicObstacle {
    fn word(&self) -> &'static str {
        match self {
            Self::Keep(KeptAttribute::Owner, _) => "chown",
            Self::Keep(KeptAttribute::Mode | KeptAttribute::Acl, _) => "chmod",
            Self::Keep(KeptAttribute::Xattrs, _) => "listxattr",
            Self::Keep(KeptAttribute::Xattr(_), _) => "setxattr",
            Self::NotRegular | Self::Rename(_) => "rename",
        }
    }
}

/// The reason why a file is cut.
#[derive(Debug)]
pub enum CutReason {
    /// The copy was ended, though no call has failed.
    Stopped(StopReason),
    /// The file system or a quota has no room: ENOSPC or EDQUOT.
    NoSpace(Errno),
}

impl CutReason {
    /// Returns why a file whose transfer has failed is cut, if it can be.
    #[must_use]
    pub fn of(error: &transfer::Error) -> Option<Self> {
        match error {
            transfer::Error::Stopped(reason) => Some(Self::Stopped(*reason)),
            error => error.no_space().map(Self::NoSpace),
        }
    }

    /// Returns the word by which events name the reason.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Stopped(reason) => reason.word(),
            Self::NoSpace(Errno::EDQUOT) => "quota",
            Self::NoSpace(_) => "no-space",
        }
    }
}

/// The reason why an interrupted copy is made anew.
#[derive(Debug, Clone)]
pub enum AnewReason {
    /// The source is not what it was when the copy was begun.
    SourceChanged,
    /// The destination, or its part, is another file, or is missing.
    DestReplaced,
    /// The destination has become shorter than what was on the disk.
    DestShorter,
    /// The state is damaged, so nothing in it is trusted.
    StateDamaged,
    /// The state was written by a newer version of the program.
    StateNewer,
    /// The state is no regular file that this user alone can write to.
    StateNotOurs(PathBuf),
    /// The state cannot be read at all.
    StateUnreadable(PathBuf, Arc<io::Error>),
}

/// A warning, which does not make a copy fail.
#[derive(Debug)]
pub enum Warning {
    /// A source file was named twice.
    RepeatedFile(PathBuf),
    /// A source directory was named twice.
    RepeatedDirectory(PathBuf),
    /// A copy does not go on where an interrupted one stopped.
    CopiedAnew {
        /// The path of the destination, as messages show it.
        dest: PathBuf,
        /// The reason why the state cannot be used.
        why: AnewReason,
    },
    /// A source was drained in part, and the copy is not complete.
    DrainLeft {
        /// The path of the source, which has the rest.
        source: PathBuf,
        /// The path of the destination, as messages show it.
        dest: PathBuf,
        /// Bytes from the start that are on the disk, and may be gone from the source.
        durable: u64,
    },
    /// A drain goes on with --verify, and nothing tells that what an earlier run has freed was compared.
    DrainNotVerified {
        /// The path of the destination, as messages show it.
        dest: PathBuf,
        /// Bytes from the start that are not compared.
        until: u64,
    },
    /// A copy was compared through the page cache.
    ReadBackCached {
        /// The path of the destination, as messages show it.
        dest: PathBuf,
        /// Why it was not read past the cache.
        why: String,
    },
    /// An old file did not get its name back after a copy that failed.
    Restore {
        /// The name that the old file had.
        path: PathBuf,
        /// The name of the backup.
        backup: PathBuf,
        /// The reason why it still has another name.
        why: RestoreError,
    },
}

/// The time that data takes at a rate limit, and the time that there is.
#[derive(Debug, Clone, Copy)]
pub struct TimeShortage {
    /// The bytes that must be copied at least.
    pub bytes: u64,
    /// The limit, in bytes per second.
    pub rate: u64,
    /// The time that they take.
    pub needs: Duration,
    /// The time that there is.
    pub within: Duration,
}

/// A warning about the deadline of a copy.
#[derive(Debug, Clone, Copy)]
pub enum DeadlineWarning {
    /// The limits yield to the deadline.
    LimitsYield(Bottleneck),
    /// The copy cannot be complete by the deadline at the rate that it has, or may have.
    TooShort {
        /// The bytes per second that it has, or may have.
        rate: f64,
        /// The time that the rest takes at this rate.
        needs: Duration,
        /// The time that is left.
        left: Duration,
    },
    /// The deadline has passed, and the copy is not complete.
    IsOver {
        /// The time that there was.
        within: Duration,
        /// Whether what is not complete is cut (--cut), or copied on.
        cuts: bool,
    },
    /// The deadline is watched without knowing how much there is to copy.
    UnknownTotal,
}

/// A warning about the limits of a copy, or about its lowered priority.
#[derive(Debug)]
pub enum LimitWarning {
    /// A limit has no effect, since the destination is in memory.
    DestInMemory {
        /// The option of the limit, with its dashes.
        option: &'static str,
        /// The directory of the destination.
        directory: PathBuf,
        /// The type of its file system.
        file_system: String,
    },
    /// The memory of the probers cannot be locked.
    ProbersNotLocked(io::Error),
    /// A limit is missed before anything is copied.
    MissedBeforeStart(Bottleneck),
    /// Something is to be said about the deadline of --finish-within.
    Deadline(DeadlineWarning),
    /// A prober has died, and the copy is slow until another answers.
    ProberDied {
        /// The option whose limit it measures, with its dashes.
        option: &'static str,
        /// How the prober died, in words.
        why: String,
    },
    /// Another prober has taken over. The option is the one whose limit it measures.
    ProberRestarted(&'static str),
    /// No prober can be started any more.
    SupervisorDied {
        /// The option whose limit it measured, with its dashes.
        option: &'static str,
        /// How the supervisor died, in words.
        why: String,
    },
    /// --idle could not lower a priority.
    IdlePriority {
        /// The priority that was not lowered.
        step: PriorityStep,
        /// The error that the system reported.
        error: io::Error,
    },
    /// The disk of the destination ignores I/O classes, for this reason.
    IdleIgnored(String),
}

/// A priority that --idle lowers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriorityStep {
    /// The I/O class, by ioprio_set(2).
    IoClass,
    /// The nice value, by setpriority(2).
    Nice,
    /// The scheduling policy, by sched_setscheduler(2).
    Scheduling,
}

/// The reason why an old file did not get its name back.
#[derive(Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// Another process has given the name to a file of its own.
    Taken,
    /// The backup's name leads to another file than the one that was renamed.
    Moved,
    /// A system call returned this error.
    Failed(Errno),
}

impl From<Errno> for RestoreError {
    fn from(error: Errno) -> Self {
        Self::Failed(error)
    }
}

/// The error for a file that, once opened, is not the one that was examined.
#[derive(Debug)]
pub struct ReplacedWhileCopied;

impl std::error::Error for ReplacedWhileCopied {}

impl From<ReplacedWhileCopied> for io::Error {
    fn from(error: ReplacedWhileCopied) -> Self {
        Self::other(error)
    }
}
