//! Errors of a copy as data: what was being done, to which file, and what the system said. The sentences that the user reads
//! are made in [`super::messages`], and nowhere else.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::observe::error::ObserveError;
use crate::report::ReportedError;
use crate::transfer::engine::EngineSpec;
use crate::transfer::errno_class::Endpoint;
use crate::transfer::rate_limit::Bottleneck;
use crate::transfer::{self, CopyFailure};

/// What was being done to one file.
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
    /// Giving the old destination the name of a backup.
    BackUp,
    /// Giving it that name in the step in which the new file gets its own.
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
    /// Setting those of a directory that --parents names.
    SetParentTimes,
    /// Adding the permission bits that were kept back while the file was made.
    SetMode,
    /// Setting mode and ACL to those of the source.
    SetAcl,
    /// Setting the mode of a directory that --parents names.
    SetParentMode,
    /// Setting the mode that --no-preserve=mode gives.
    SetDefaultMode,
    /// Making a new directory usable for its owner.
    GrantOwnerAccess,
    /// Taking permissions away before the owner changes.
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
    /// Reading the rules by which extended attributes are left out.
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
            Self::Write => "write",
            Self::Close => "close",
            Self::Sync => "fsync",
            Self::Remove => "unlink",
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

/// What was being made of the source under the name of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOperation {
    /// A hard link to the file.
    HardLink,
    /// A symbolic link to the name.
    Symlink,
}

/// What was being done to one extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrOperation {
    /// Reading it from the source.
    Get,
    /// Setting it on the destination.
    Set,
}

/// What a file that replaces another must have of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptAttribute {
    /// The owner and the group of the file.
    Owner,
    /// The permission bits of the file.
    Mode,
    /// The access control list of the file.
    Acl,
    /// The list of its extended attributes.
    Xattrs,
    /// The extended attribute of this name.
    Xattr(OsString),
}

/// Why --atomic cannot replace a file.
#[derive(Debug)]
pub enum AtomicObstacle {
    /// It is not a regular file.
    NotRegular,
    /// The new file cannot have this of the old one.
    Keep(KeptAttribute, io::Error),
    /// The new file cannot be given the name.
    Rename(io::Error),
}

/// The option that allowed only one way to copy, where there was none.
#[derive(Debug, Clone, Copy)]
pub enum Demand {
    /// The option --engine, with this engine.
    Engine(&'static EngineSpec),
    /// The option --direct with the word always.
    Direct,
}

/// The data of a file that was not copied as a whole.
#[derive(Debug)]
pub struct DataError {
    /// What happened, and how far the copy came.
    pub failure: CopyFailure,
    /// The path of the source, as messages call it.
    pub source: PathBuf,
    /// The path of the destination, as messages call it.
    pub dest: PathBuf,
    /// Whether the destination is left as it was.
    pub is_atomic: bool,
    /// The option that left no other way.
    pub demand: Option<Demand>,
}

/// A file that another process replaced while this run worked on it.
#[derive(Debug)]
pub enum Replaced {
    /// The source of a copy was replaced.
    Source(PathBuf),
    /// The destination was replaced. The file that had the name before it may be kept under a name of its own.
    Dest {
        /// The path of the destination, as messages call it.
        path: PathBuf,
        /// The file that was there before.
        kept: Option<PathBuf>,
    },
    /// A directory of the destination was replaced.
    Directory(PathBuf),
    /// What was made was replaced before it had its attributes.
    Made(PathBuf),
    /// What was to be removed was replaced, and the file that was there for a moment has the other name now.
    Removed {
        /// What was to be removed.
        path: PathBuf,
        /// The name of the file that was there for a moment.
        aside: PathBuf,
    },
}

/// Why a source is not copied, with nothing attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The source is a directory and -r was not given.
    Directory,
    /// Source and destination are one file.
    SameFile,
    /// The destination exists, and --update=none-fail forbids to replace it.
    Exists,
    /// The destination is a symbolic link that leads nowhere.
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
    /// Where --parents wants a directory there is something else.
    ParentNotDirectory,
    /// With --parents, the last operand is no directory.
    TargetNotDirectory,
}

/// Why a limit cannot be kept.
#[derive(Debug)]
pub enum LimitError {
    /// What is to be measured cannot be, for this reason.
    Unavailable(ObserveError),
    /// A prober cannot be started.
    StartProber(io::Error),
    /// The destination is written to, and lies on no file system.
    NoFileSystem(PathBuf),
    /// The destination cannot be looked at.
    Stat(PathBuf, io::Error),
}

/// Why something was not copied, or not as a whole.
#[derive(Debug)]
pub enum Error {
    /// An operation on one file failed.
    Io {
        /// The operation that did not succeed.
        operation: Operation,
        /// To which file, as messages call it.
        path: PathBuf,
        /// The error that the system reported.
        error: io::Error,
    },
    /// A link could not be made.
    Link {
        /// The kind of link that was made.
        operation: LinkOperation,
        /// The name of the link.
        dest: PathBuf,
        /// What it should have led to.
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
        /// The path of the file, as messages call it.
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
        /// The path of the destination, as messages call it.
        path: PathBuf,
        /// What is in the way.
        obstacle: AtomicObstacle,
    },
    /// The data was not copied as a whole.
    Data(Box<DataError>),
    /// Another process replaced a file meanwhile.
    Replaced(Replaced),
    /// A source is not copied, with nothing attempted.
    Refused {
        /// The reason why it is not copied.
        refusal: Refusal,
        /// The source, or another file that the reason is about.
        source: PathBuf,
        /// The path of the destination, as messages call it.
        dest: PathBuf,
    },
    /// The limit of an option cannot be kept.
    Limit {
        /// The option, with its dashes.
        option: &'static str,
        /// The reason why it cannot be kept.
        why: LimitError,
    },
    /// No thread can be started to hold the limits.
    StartGovernor(io::Error),
    /// A limit was missed at the slowest rate for as long as --give-up-after allows.
    GaveUp {
        /// The limit, and what was measured.
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

    /// Returns whether the error is in the command line, so that cp hints at --help.
    #[must_use]
    pub fn is_usage_error(&self) -> bool {
        let refusal = Refusal::TargetNotDirectory;
        matches!(self, Self::Refused { refusal: found, .. } if *found == refusal)
    }

    /// Returns the failed copy of data, where the error is one.
    #[must_use]
    pub fn copy_failure(&self) -> Option<&CopyFailure> {
        match self {
            Self::Data(data) => Some(&data.failure),
            _ => None,
        }
    }

    /// Returns what the system said, where the error comes from a system call.
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
            Self::Atomic { obstacle, .. } => match obstacle {
                AtomicObstacle::Keep(_, error) | AtomicObstacle::Rename(error) => Some(error),
                AtomicObstacle::NotRegular => None,
            },
            Self::Data(data) => match &data.failure.error {
                transfer::Error::Io(_, error)
                | transfer::Error::Truncate(error)
                | transfer::Error::Resize(error)
                | transfer::Error::Clone(error) => Some(error),
                _ => None,
            },
            Self::Limit {
                why: LimitError::Unavailable(error),
                ..
            } => find_io_error(error),
            Self::Replaced(_) | Self::Refused { .. } | Self::Limit { .. } | Self::GaveUp { .. } => {
                None
            }
        }
    }
}

/// Returns the error of the system among the sources of an error.
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
                _ => "copy",
            },
            Self::Replaced(Replaced::Removed { .. }) => "unlink",
            Self::Replaced(_) | Self::Refused { .. } => "copy",
            Self::Limit { .. } | Self::StartGovernor(_) | Self::GaveUp { .. } => "limit",
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

/// A warning, which makes no copy fail.
#[derive(Debug)]
pub enum Warning {
    /// A source file was named twice.
    RepeatedFile(PathBuf),
    /// A source directory was named twice.
    RepeatedDirectory(PathBuf),
    /// An old file did not get its name back after a copy that failed.
    Restore {
        /// The name that the old file had.
        path: PathBuf,
        /// The name of the backup.
        backup: PathBuf,
        /// The reason why it has another name still.
        why: RestoreError,
    },
}

/// A warning about what limits a copy, or lowers its priority.
#[derive(Debug)]
pub enum LimitWarning {
    /// A limit holds nothing back, since the destination is in memory.
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
    /// A prober has died, and the copy is slow until another answers.
    ProberDied {
        /// The option that it measures for, with its dashes.
        option: &'static str,
        /// How the prober died, in words.
        why: String,
    },
    /// Another prober answers. The option is the one that it measures for.
    ProberRestarted(&'static str),
    /// No prober can be started any more.
    SupervisorDied {
        /// The option that it measured for, with its dashes.
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

/// Why an old file did not get its name back.
#[derive(Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// Another process has given the name to a file of its own.
    Taken,
    /// The backup's name leads to another file than the one that was renamed.
    Moved,
    /// A system call said this.
    Failed(Errno),
}

impl From<Errno> for RestoreError {
    fn from(error: Errno) -> Self {
        Self::Failed(error)
    }
}

/// The error of a file that was opened and is not the one that was looked at.
#[derive(Debug)]
pub struct ReplacedWhileCopied;

impl std::error::Error for ReplacedWhileCopied {}

impl From<ReplacedWhileCopied> for io::Error {
    fn from(error: ReplacedWhileCopied) -> Self {
        Self::other(error)
    }
}
