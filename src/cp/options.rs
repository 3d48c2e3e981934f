//! The decisions that the command line results in. [`super::resolve`] makes them; no later module reads a flag.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::order::CopyOrder;
use crate::report::ReportOptions;
use crate::transfer::TransferOptions as Transfer;
use crate::transfer::rate_limit::Limits;

/// The destination that the operands name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestOperand {
    /// All sources are copied into this directory (-t).
    Directory(PathBuf),
    /// The source is copied to exactly this name (-T).
    Exact(PathBuf),
    /// The source is copied into this path if it is a directory, else to it.
    Either(PathBuf),
}

/// The symbolic links of the source that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dereference {
    /// No links are followed: -P, -d, -a, and -R without another of these options.
    Never,
    /// Links that are operands are followed (-H).
    Operands,
    /// All links are followed: -L, and the default without -R.
    #[default]
    Always,
}

/// The treatment of an existing destination that is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// The destination is replaced or written to.
    #[default]
    Replace,
    /// The user is asked (-i).
    Ask,
    /// The destination is left alone silently (-n, --update=none).
    Skip,
    /// The destination is left alone, and that is a failure (--update=none-fail).
    Fail,
}

/// The kind of destination that is made of a file that is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyMode {
    /// A copy of the source file.
    #[default]
    Copy,
    /// A hard link to the source (-l).
    HardLink,
    /// A symbolic link to the source (-s).
    SymbolicLink,
}

/// The form of backup names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupNames {
    /// The suffix is appended to the name.
    Simple,
    /// The names are numbered where numbered backups exist already, else simple.
    Existing,
    /// `.~N~` is appended to the name.
    Numbered,
}

/// The settings of the option --backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The form of backup names.
    pub names: BackupNames,
    /// The suffix of a simple backup.
    pub suffix: OsString,
}

/// The attributes that are copied, and the failures that count, as -p, -a, --preserve and --no-preserve say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preserve {
    /// Whether permission bits and ACLs are copied.
    pub mode: bool,
    /// Whether --no-preserve=mode was given: new files get all permissions that the umask allows.
    pub default_mode: bool,
    /// Whether owner and group are copied.
    pub ownership: bool,
    /// Whether access and modification times are copied.
    pub timestamps: bool,
    /// Whether hard links among the copied files are kept.
    pub links: bool,
    /// Whether extended attributes are copied.
    pub xattr: bool,
    /// Whether the security context is copied.
    pub context: bool,
    /// Whether a failure with mode, owner or times is a failure of the copy.
    pub required: bool,
    /// Whether a failure with an extended attribute is one (--preserve=xattr).
    pub xattr_required: bool,
    /// Whether a failure with the security context is one (--preserve=context).
    pub context_required: bool,
    /// Whether failures with extended attributes are not reported (-a).
    pub quiet: bool,
}

/// The settings of --fsync and --atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durability {
    /// Whether everything is on the disk before exit status 0.
    pub fsync: bool,
    /// Whether a destination is always the old file or the whole new one.
    pub atomic: bool,
}

/// The settings of --queue and --queue-priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRequest {
    /// The name of the queue; `None` for that of the device that is copied to.
    pub name: Option<String>,
    /// The priority in the queue, as a nice value: a lower one goes first.
    pub priority: i8,
}

impl Default for DestOperand {
    /// Returns the empty name, which is a placeholder until the operands are known.
    fn default() -> Self {
        Self::Either(PathBuf::new())
    }
}

/// All decisions about a run.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// The sources, of which there is at least one.
    pub sources: Vec<PathBuf>,
    /// The destination of the sources.
    pub target: DestOperand,
    /// Whether the path of the source is made below the target (--parents).
    pub parents: bool,
    /// Whether trailing slashes of sources are dropped where they are copied into a directory
    /// (--strip-trailing-slashes).
    pub strip_trailing_slashes: bool,
    /// Whether directories are copied, too.
    pub recursive: bool,
    /// Whether FIFOs and devices are read as files are: without -R, or with --copy-contents.
    pub copy_as_regular: bool,
    /// The symbolic links that are followed.
    pub dereference: Dereference,
    /// The treatment of existing destinations.
    pub overwrite: Overwrite,
    /// Whether only files that are newer than their destination, or have none, are copied (-u).
    pub update: bool,
    /// Whether a destination that cannot be opened is replaced (-f).
    pub force: bool,
    /// Whether an existing destination is removed first (--remove-destination).
    pub remove_destination: bool,
    /// Whether a destination that is a link to a directory is treated as that directory (--keep-directory-symlink).
    pub keep_directory_symlink: bool,
    /// Whether a dangling link as destination is written through (POSIXLY_CORRECT).
    pub through_dangling: bool,
    /// Whether files are copied or linked.
    pub copy_mode: CopyMode,
    /// Whether no data is copied (--attributes-only).
    pub attributes_only: bool,
    /// The settings for backups of existing files, if they are made.
    pub backup: Option<Backup>,
    /// Whether directories on other file systems are skipped (-x).
    pub one_file_system: bool,
    /// The attributes that are copied.
    pub preserve: Preserve,
    /// The security context of new files, where SELinux is enabled (--context=CTX). It is `None` for -Z, too: this
    /// build cannot look up the default type, and has warned about that.
    pub context: Option<OsString>,
    /// The guarantees when this program or the machine stops.
    pub durability: Durability,
    /// Whether an interrupted copy goes on where it was on the disk (--resume).
    pub resume: bool,
    /// The file that the digests of --checksum are written to (--manifest).
    pub manifest: Option<PathBuf>,
    /// The order in which files are copied (--first, --order).
    pub order: CopyOrder,
    /// The number of files that are copied at once; `None` means as many as suit the machine.
    pub jobs: Option<NonZeroUsize>,
    /// The limits of the rate and of the effect on other processes.
    pub throttle: Limits,
    /// The queue in which the copy waits for its turn, if it does (--queue).
    pub queue: Option<QueueRequest>,
    /// Whether disk and CPU are used only when no other process needs them (--idle).
    pub idle: bool,
    /// The way in which the bytes of a file are transferred.
    pub transfer: Transfer,
    /// The output of the run and its form.
    pub report: ReportOptions,
}
