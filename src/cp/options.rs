//! The words resolved into decisions, once. Nothing after this looks at a flag.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::cli::{When, Words};
use super::usage::Answer;
use crate::report::quote::quote;
use crate::report::{Report, progress};
use crate::transfer::engine;
use crate::transfer::{DirectPolicy, Options as Transfer, Reflink, Sparse};

/// Where the sources go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into this directory, as -t says.
    Directory(PathBuf),
    /// To exactly this name, as -T says.
    Exact(PathBuf),
    /// Into it if it is a directory, else to it.
    Either(PathBuf),
}

/// Which symbolic links of the source are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dereference {
    /// None: -P, -d, -a, and -R without another word.
    Never,
    /// Those that are operands: -H.
    Operands,
    /// All: -L, and without -R.
    Always,
}

/// What becomes of an existing destination that is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced or written to.
    Replace,
    /// The user is asked: -i.
    Ask,
    /// It is left alone, without a word: -n, --update=none.
    Skip,
    /// It is left alone, and that is a failure: --update=none-fail.
    Refuse,
}

/// What is made of a file that is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// A copy.
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

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// At least one.
    pub sources: Vec<PathBuf>,
    /// Where to.
    pub target: Target,
    /// The path of the source is made below the target: --parents.
    pub parents: bool,
    /// Directories too.
    pub recursive: bool,
    /// FIFOs and devices are read as files are: not -R, or --copy-contents.
    pub as_regular: bool,
    /// Which links are followed.
    pub dereference: Dereference,
    /// What becomes of what is there.
    pub existing: Existing,
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
    pub making: Making,
    /// No data: --attributes-only.
    pub attributes_only: bool,
    /// Keep what is there under another name.
    pub backup: Option<Backup>,
    /// Do not go into other file systems: -x.
    pub one_file_system: bool,
    /// Which attributes.
    pub preserve: Preserve,
    /// Set the security context of new files to this, where SELinux is: --context=CTX. Empty: to the default, as -Z.
    pub context: Option<OsString>,
    /// What holds when this program or the machine stops.
    pub durability: Durability,
    /// Files at once; `None`: as the machine can.
    pub jobs: Option<NonZeroUsize>,
    /// How the bytes of a file are moved.
    pub transfer: Transfer,
    /// What is told, and how.
    pub report: Report,
}

impl Options {
    /// Decides.
    ///
    /// # Errors
    /// Usage errors, in cp's words.
    pub fn resolve(words: Words) -> Result<Self, Answer> {
        let transfer = transfer(&words)?;
        let report = Report {
            verbose: words.verbose || words.debug,
            debug: words.debug,
            json: words.json,
            progress: match words.progress.unwrap_or(When::Auto) {
                When::Auto => progress::When::Auto,
                When::Always => progress::When::Always,
                When::Never => progress::When::Never,
            },
        };
        let (sources, target) = operands(
            words.operands,
            words.target_directory,
            words.no_target_directory,
        )?;
        Ok(Self {
            sources,
            target,
            recursive: words.recursive,
            parents: false,
            as_regular: !words.recursive,
            dereference: if words.recursive {
                Dereference::Never
            } else {
                Dereference::Always
            },
            existing: if words.no_clobber {
                Existing::Skip
            } else {
                Existing::Replace
            },
            update: false,
            force: words.force,
            remove_destination: false,
            keep_directory_symlink: false,
            through_dangling: false,
            making: Making::Copy,
            attributes_only: false,
            backup: None,
            one_file_system: false,
            preserve: Preserve {
                mode: words.preserve,
                ownership: words.preserve,
                timestamps: words.preserve,
                required: words.preserve,
                ..Preserve::default()
            },
            context: None,
            durability: Durability::default(),
            jobs: None,
            transfer,
            report,
        })
    }
}

fn transfer(words: &Words) -> Result<Transfer, Answer> {
    let engine = words.engine.as_deref().and_then(engine::find);
    let direct = match words.direct.unwrap_or(When::Auto) {
        When::Auto => DirectPolicy::Auto,
        When::Always => DirectPolicy::Always,
        When::Never => DirectPolicy::Never,
    };
    if let Some(row) = engine {
        let clash = match direct {
            DirectPolicy::Auto => false,
            DirectPolicy::Always => row.is_cached(),
            DirectPolicy::Never => row.is_direct(),
        };
        if clash {
            let when = if row.is_direct() { "never" } else { "always" };
            return Err(Answer::usage(&format!(
                "cannot combine --engine={} and --direct={when}",
                row.name
            )));
        }
    }
    let sparse = match words.sparse.unwrap_or(When::Auto) {
        When::Auto => Sparse::Auto,
        When::Always => Sparse::Always,
        When::Never => Sparse::Never,
    };
    Ok(Transfer {
        engine,
        direct,
        sparse,
        reflink: Reflink::Auto,
        chunk: None,
    })
}

fn operands(
    mut operands: Vec<PathBuf>,
    mut directories: Vec<PathBuf>,
    exact: bool,
) -> Result<(Vec<PathBuf>, Target), Answer> {
    let missing = || Answer::usage("missing file operand");
    if directories.len() > 1 {
        return Err(Answer::error("multiple target directories specified"));
    }
    if let Some(directory) = directories.pop() {
        if operands.is_empty() {
            return Err(missing());
        }
        if exact {
            return Err(Answer::error(
                "cannot combine --target-directory (-t) and --no-target-directory (-T)",
            ));
        }
        return Ok((operands, Target::Directory(directory)));
    }
    let last = operands.pop().ok_or_else(missing)?;
    if operands.is_empty() {
        let text = format!("missing destination file operand after {}", quote(last));
        return Err(Answer::usage(&text));
    }
    if !exact {
        return Ok((operands, Target::Either(last)));
    }
    // With -T cp names the third operand, whatever comes behind it.
    match operands.get(2).or((operands.len() == 2).then_some(&last)) {
        Some(extra) => Err(Answer::usage(&format!("extra operand {}", quote(extra)))),
        None => Ok((operands, Target::Exact(last))),
    }
}
