//! The table of options: what each is called, what it takes, and what --help says of it.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ValueHint};

use super::keywords;

/// An option without an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// -a
    Archive,
    /// --attributes-only
    AttributesOnly,
    /// --copy-contents
    CopyContents,
    /// --debug
    Debug,
    /// -L
    Dereference,
    /// -d
    DereferenceNothingKeepLinks,
    /// -H
    DereferenceOperands,
    /// -f
    Force,
    /// -i
    Interactive,
    /// -l
    Link,
    /// -n
    NoClobber,
    /// -P
    NoDereference,
    /// -T
    NoTargetDirectory,
    /// -x
    OneFileSystem,
    /// --parents
    Parents,
    /// -R, -r
    Recursive,
    /// --remove-destination
    RemoveDestination,
    /// --strip-trailing-slashes
    StripTrailingSlashes,
    /// -s
    SymbolicLink,
    /// -v
    Verbose,
    /// --keep-directory-symlink
    KeepDirectorySymlink,
    /// --fsync
    Fsync,
    /// --atomic
    Atomic,
    /// --json
    Json,
    /// --idle
    Idle,
    /// --help
    Help,
    /// --version
    Version,
}

/// An option with an argument, or with one that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueOption {
    /// -b, --backup
    Backup,
    /// --no-preserve
    NoPreserve,
    /// -p, --preserve
    Preserve,
    /// --sparse
    Sparse,
    /// --reflink
    Reflink,
    /// -S
    Suffix,
    /// -t
    TargetDirectory,
    /// -u, --update
    Update,
    /// -Z, --context
    Context,
    /// --jobs
    Jobs,
    /// --engine
    Engine,
    /// --direct
    Direct,
    /// --progress
    Progress,
    /// One of the limits of what the copy may take.
    Limit(Limit),
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// --limit-rate
    Rate,
    /// --max-fork-latency
    ForkLatency,
    /// --max-write-latency
    WriteLatency,
    /// --max-pressure
    Pressure,
    /// --give-up-after
    GiveUpAfter,
}

/// What an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionId {
    /// That it is there.
    Flag(Flag),
    /// What it says.
    Valued(ValueOption),
}

/// What a shell may offer as an argument.
#[derive(Debug, Clone, Copy)]
pub enum ArgumentValues {
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
    /// A directory.
    Directory,
    /// Anything, or a list.
    Free,
}

impl ArgumentValues {
    pub(super) fn describe(self, arg: Arg) -> Arg {
        match self {
            // For the shells; --help names them where it says what they mean.
            Self::Words(words) => arg
                .value_parser(PossibleValuesParser::new(words()))
                .hide_possible_values(true),
            Self::Directory => arg.value_hint(ValueHint::DirPath),
            Self::Free => arg.value_hint(ValueHint::Other),
        }
    }
}

/// Whether an option takes an argument, and how --help calls it.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// None.
    None,
    /// One, behind `=`, attached to the letter, or as the next word.
    Required(&'static str, ArgumentValues),
    /// None, or one behind `=`; the letter takes none.
    Optional(&'static str, ArgumentValues),
}

/// Where an option comes from. Abbreviations are read by the earliest in which they mean anything, so that what is added
/// breaks no script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// GNU cp 9.7.
    Cp,
    /// Only here.
    Own,
}

/// One option.
#[derive(Debug)]
pub struct OptionSpec {
    /// What it means.
    pub id: OptionId,
    /// Its letters.
    pub shorts: &'static str,
    /// Its name.
    pub long: Option<&'static str>,
    /// A name that cp still takes and no longer shows.
    pub hidden: Option<&'static str>,
    /// What it takes.
    pub argument: Argument,
    /// Where it comes from.
    pub origin: Origin,
    /// What --help says.
    pub help: &'static str,
}

const fn flag(
    flag: Flag,
    shorts: &'static str,
    long: &'static str,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        id: OptionId::Flag(flag),
        shorts,
        long: Some(long),
        hidden: None,
        argument: Argument::None,
        origin: Origin::Cp,
        help,
    }
}

const fn valued(
    valued: ValueOption,
    shorts: &'static str,
    long: &'static str,
    argument: Argument,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        id: OptionId::Valued(valued),
        argument,
        ..flag(Flag::Help, shorts, long, help)
    }
}

/// A letter for what is a longer word otherwise.
const fn letter(word: OptionId, shorts: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec {
        id: word,
        long: None,
        ..flag(Flag::Help, shorts, "", help)
    }
}

impl OptionSpec {
    const fn from(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    const fn also(self, hidden: &'static str) -> Self {
        Self {
            hidden: Some(hidden),
            ..self
        }
    }
}

use Argument::{Optional, Required};
use ArgumentValues::{Directory, Free, Words};

/// All of them. Those of cp stand as in its own table: in that order it lists what an abbreviation might mean.
pub static OPTION_TABLE: &[OptionSpec] = &[
    flag(Flag::Archive, "a", "archive", "Same as -dR --preserve=all"),
    flag(
        Flag::AttributesOnly,
        "",
        "attributes-only",
        "Copy no data, only the attributes",
    ),
    valued(
        ValueOption::Backup,
        "",
        "backup",
        Optional("CONTROL", Words(keywords::backup)),
        "Keep what is overwritten under another name (see below)",
    ),
    letter(
        OptionId::Valued(ValueOption::Backup),
        "b",
        "Same as --backup without an argument",
    ),
    flag(
        Flag::CopyContents,
        "",
        "copy-contents",
        "Copy what FIFOs and devices yield when recursive, not the special files",
    ),
    flag(
        Flag::Debug,
        "",
        "debug",
        "Say which engine is taken and why no other, alignment, extents and cost; implies -v",
    ),
    letter(
        OptionId::Flag(Flag::DereferenceNothingKeepLinks),
        "d",
        "Same as --no-dereference --preserve=links",
    ),
    flag(
        Flag::Dereference,
        "L",
        "dereference",
        "Follow all symbolic links in SOURCE",
    ),
    flag(
        Flag::Force,
        "f",
        "force",
        "Remove an existing destination file that cannot be opened, and try again",
    ),
    flag(
        Flag::Interactive,
        "i",
        "interactive",
        "Ask before overwriting (overrides an earlier -n)",
    ),
    letter(
        OptionId::Flag(Flag::DereferenceOperands),
        "H",
        "Follow symbolic links that are operands",
    ),
    flag(
        Flag::Link,
        "l",
        "link",
        "Make hard links instead of copies",
    ),
    flag(
        Flag::NoClobber,
        "n",
        "no-clobber",
        "Leave existing files alone, silently (overrides an earlier -i, and -u)",
    ),
    flag(
        Flag::NoDereference,
        "P",
        "no-dereference",
        "Follow no symbolic links in SOURCE",
    ),
    letter(
        OptionId::Valued(ValueOption::Preserve),
        "p",
        "Same as --preserve=mode,ownership,timestamps",
    ),
    valued(
        ValueOption::NoPreserve,
        "",
        "no-preserve",
        Required("LIST", Free),
        "Do not preserve these attributes",
    ),
    flag(
        Flag::NoTargetDirectory,
        "T",
        "no-target-directory",
        "Treat DEST as a file, never as a directory to copy into",
    ),
    flag(
        Flag::OneFileSystem,
        "x",
        "one-file-system",
        "Stay on the file system of each SOURCE",
    ),
    flag(
        Flag::Parents,
        "",
        "parents",
        "Make the whole path of SOURCE below DIRECTORY",
    )
    .also("path"),
    valued(
        ValueOption::Preserve,
        "",
        "preserve",
        Optional("LIST", Free),
        "Preserve these attributes: mode, ownership, timestamps (the default), links, xattr, context, all",
    ),
    flag(
        Flag::Recursive,
        "Rr",
        "recursive",
        "Copy directories with all that is in them",
    ),
    flag(
        Flag::RemoveDestination,
        "",
        "remove-destination",
        "Remove an existing destination file before opening it",
    ),
    valued(
        ValueOption::Sparse,
        "",
        "sparse",
        Required("WHEN", Words(keywords::sparse)),
        "Holes: keep them (auto), make more of zeros (always), fill them (never)",
    ),
    valued(
        ValueOption::Reflink,
        "",
        "reflink",
        Optional("WHEN", Words(keywords::reflink)),
        "Share blocks with SOURCE: where it can be (auto), or fail (always, the default of the option), or not (never)",
    ),
    flag(
        Flag::StripTrailingSlashes,
        "",
        "strip-trailing-slashes",
        "Drop trailing slashes from each SOURCE",
    ),
    valued(
        ValueOption::Suffix,
        "S",
        "suffix",
        Required("SUFFIX", Free),
        "What a backup's name ends with; implies --backup",
    ),
    flag(
        Flag::SymbolicLink,
        "s",
        "symbolic-link",
        "Make symbolic links instead of copies",
    ),
    valued(
        ValueOption::TargetDirectory,
        "t",
        "target-directory",
        Required("DIRECTORY", Directory),
        "Copy all SOURCEs into DIRECTORY",
    ),
    valued(
        ValueOption::Update,
        "",
        "update",
        Optional("UPDATE", Words(keywords::update)),
        "Which existing files are replaced: all, none, none-fail (none, and that is an error), older (the default of the option)",
    ),
    letter(
        OptionId::Valued(ValueOption::Update),
        "u",
        "Same as --update=older: only what is newer than its destination, or has none",
    ),
    flag(Flag::Verbose, "v", "verbose", "Say what is copied"),
    flag(
        Flag::KeepDirectorySymlink,
        "",
        "keep-directory-symlink",
        "Follow an existing symbolic link to a directory where a directory goes",
    ),
    letter(
        OptionId::Valued(ValueOption::Context),
        "Z",
        "SELinux's default context for new files: this build cannot look it up, and warns",
    ),
    valued(
        ValueOption::Context,
        "",
        "context",
        Optional("CTX", Free),
        "Set the SELinux context of new files to CTX; without CTX the same as -Z",
    ),
    flag(Flag::Help, "", "help", "Print this help"),
    flag(Flag::Version, "", "version", "Print the version"),
    flag(
        Flag::Fsync,
        "",
        "fsync",
        "Exit with 0 only when data, attributes and names are on the disk",
    )
    .from(Origin::Own),
    flag(
        Flag::Atomic,
        "",
        "atomic",
        "Leave at each destination the old file or the whole new one, never a part; not with -l, -s, --attributes-only",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Jobs,
        "",
        "jobs",
        Required("N", Free),
        "Files at once; default: as many as serve this machine",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Engine,
        "",
        "engine",
        Required("NAME", Words(keywords::engine)),
        "Use this engine only, and fail where it cannot do it",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Direct,
        "",
        "direct",
        Required("WHEN", Words(keywords::when)),
        "O_DIRECT: where it is real (auto), or fail (always), or not at all (never)",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Progress,
        "",
        "progress",
        Required("WHEN", Words(keywords::when)),
        "A bar on a terminal for copies that last (auto), lines elsewhere too (always), nothing (never)",
    )
    .from(Origin::Own),
    flag(
        Flag::Json,
        "",
        "json",
        "One JSON object a line on standard output for each event; -v and --debug then write to standard error",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Limit(Limit::Rate),
        "",
        "limit-rate",
        Required("RATE", Free),
        "Copy at most RATE bytes of data a second: K, M, G are powers of 1024, KB, MB, GB of 1000; 1K to 100G",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Limit(Limit::ForkLatency),
        "",
        "max-fork-latency",
        Required("TIME", Free),
        "Go only so fast that the 99th percentile of fork on this machine stays below TIME, as 5ms",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Limit(Limit::WriteLatency),
        "",
        "max-write-latency",
        Required("TIME", Free),
        "The same for a write of 4 KiB with fdatasync by others, on the file system of DEST",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Limit(Limit::Pressure),
        "",
        "max-pressure",
        Required("PERCENT", Free),
        "The same for the time in which some task waits for memory or for a disk (PSI)",
    )
    .from(Origin::Own),
    valued(
        ValueOption::Limit(Limit::GiveUpAfter),
        "",
        "give-up-after",
        Required("TIME", Free),
        "Fail when at the slowest rate one of these is missed for TIME; without it the copy goes on at that rate",
    )
    .from(Origin::Own),
    flag(
        Flag::Idle,
        "",
        "idle",
        "Take disk and CPU only when nobody else wants them: idle I/O class, nice 19, SCHED_IDLE",
    )
    .from(Origin::Own),
];
