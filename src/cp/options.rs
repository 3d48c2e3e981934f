//! What is to be done: every decision that the words come to. [`super::resolve`] makes them; nothing after it looks at a flag.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::report::ReportOptions;
use crate::transfer::TransferOptions as Transfer;
use crate::transfer::rate_limit::Limits;

/// Where the sources go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestOperand {
    /// Into this directory, as -t says.
    Directory(PathBuf),
    /// To exactly this name, as -T says.
    Exact(PathBuf),
    /// Into it if it is a directory, else to it.
    Either(PathBuf),
}

/// Which symbolic links of the source are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dereference {
    /// None: -P, -d, -a, and -R without another word.
    Never,
    /// Those that are operands: -H.
    Operands,
    /// All: -L, and without -R.
    #[default]
    Always,
}

/// What becomes of an existing destination that is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// It is replaced or written to.
    #[default]
    Replace,
    /// The user is asked: -i.
    Ask,
    /// It is left alone, without a word: -n, --update=none.
    Skip,
    /// It is left alone, and that is a failure: --update=none-fail.
    Fail,
}

/// What is made of a file that is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyMode {
    /// A copy.
    #[default]
    Copy,
    /// A hard link to the source: -l.
    HardLink,
    /// A symbolic link to the source: -s.
    SymbolicLink,
}

/// How the name of a backup is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupNames {
    /// The suffix is appended.
    Simple,
    /// Numbered where there are numbered ones already, else simple.
    Existing,
    /// `.~N~` is appended.
    Numbered,
}

/// --backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// How names are made.
    pub names: BackupNames,
    /// What a simple name ends with.
    pub suffix: OsString,
}

/// Which attributes are copied, and which failures count, as -p, -a, --preserve and --no-preserve say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preserve {
    /// Permission bits and ACLs.
    pub mode: bool,
    /// --no-preserve=mode was said: new files get what the umask leaves of everything.
    pub default_mode: bool,
    /// Owner and group.
    pub ownership: bool,
    /// Access and modification times.
    pub timestamps: bool,
    /// Hard links among what is copied.
    pub links: bool,
    /// Extended attributes.
    pub xattr: bool,
    /// The security context.
    pub context: bool,
    /// A failure with mode, owner or times is a failure of the copy.
    pub required: bool,
    /// A failure with an extended attribute is one: --preserve=xattr.
    pub xattr_required: bool,
    /// A failure with the security context is one: --preserve=context.
    pub context_required: bool,
    /// Failures with extended attributes are not told: -a.
    pub quiet: bool,
}

/// --fsync and --atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durability {
    /// All is on the disk before exit 0.
    pub fsync: bool,
    /// A destination is the old file or the whole new one.
    pub atomic: bool,
}

impl Default for DestOperand {
    /// Returns the empty name, which stands here until the operands are known.
    fn default() -> Self {
        Self::Either(PathBuf::new())
    }
}

/// What to do.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// At least one.
    pub sources: Vec<PathBuf>,
    /// Where to.
    pub target: DestOperand,
    /// The path of the source is made below the target: --parents.
    pub parents: bool,
    /// Trailing slashes of sources are dropped where they are copied into a directory: --strip-trailing-slashes.
    pub strip_trailing_slashes: bool,
    /// Directories too.
    pub recursive: bool,
    /// FIFOs and devices are read as files are: not -R, or --copy-contents.
    pub copy_as_regular: bool,
    /// Which links are followed.
    pub dereference: Dereference,
    /// What becomes of what is there.
    pub overwrite: Overwrite,
    /// Only what is newer than its destination, or has none: -u.
    pub update: bool,
    /// Replace what cannot be opened: -f.
    pub force: bool,
    /// Remove what is there first: --remove-destination.
    pub remove_destination: bool,
    /// A destination that is a link to a directory is that directory: --keep-directory-symlink.
    pub keep_directory_symlink: bool,
    /// A dangling link as destination is written through: POSIXLY_CORRECT.
    pub through_dangling: bool,
    /// Copy or link.
    pub copy_mode: CopyMode,
    /// No data: --attributes-only.
    pub attributes_only: bool,
    /// Keep what is there under another name.
    pub backup: Option<Backup>,
    /// Do not go into other file systems: -x.
    pub one_file_system: bool,
    /// Which attributes.
    pub preserve: Preserve,
    /// Set the security context of new files to this, where SELinux is: --context=CTX. `None` for -Z, too: this build cannot
    /// look up the default type, and has said so.
    pub context: Option<OsString>,
    /// What holds when this program or the machine stops.
    pub durability: Durability,
    /// Files at once; `None`: as the machine can.
    pub jobs: Option<NonZeroUsize>,
    /// How fast, and what others may feel of it.
    pub throttle: Limits,
    /// Disk and CPU only when nobody else wants them: --idle.
    pub idle: bool,
    /// How the bytes of a file are moved.
    pub transfer: Transfer,
    /// What is told, and how.
    pub report: ReportOptions,
}
