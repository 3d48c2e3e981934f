//! Errors of the command line as data. The sentences that the user reads are made in [`super::messages`].

use std::ffi::OsString;

/// The reason why a command line is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError {
    /// The words are no options with their arguments.
    Getopt(GetoptError),
    /// A keyword has no meaning, or several.
    Keyword(KeywordError),
    /// The argument of an option is no value that it takes.
    Value {
        /// The long name of the option.
        option: &'static str,
        /// The argument that was given.
        value: OsString,
        /// The values that the option takes.
        takes: ValueKind,
    },
    /// The option -t was given twice.
    SeveralTargetDirectories,
    /// The options -t and -T were both given.
    TargetDirectoryAndNone,
    /// The options -l and -s were both given.
    HardAndSymbolicLinks,
    /// Backups are demanded, and old files are never replaced.
    BackupOfNothing,
    /// --reflink=always was given with --sparse=always or --sparse=never.
    ReflinkWithSparse,
    /// An option about the bytes of a copy was given with one that copies none.
    Exclusive {
        /// The option about the bytes, with its dashes.
        option: &'static str,
        /// The option that copies none, with its dashes.
        with: &'static str,
    },
    /// --give-up-after was given without a limit that can be missed.
    GiveUpWithoutLimit,
    /// --queue-priority was given without a queue.
    PriorityWithoutQueue,
    /// --engine was given with an option that forbids this engine.
    EngineWith {
        /// The name of the engine.
        engine: &'static str,
        /// The other option, with its argument.
        option: &'static str,
    },
    /// A security context is to be set, and also preserved.
    ContextSetAndPreserved,
    /// The security context is to be preserved by a kernel that has none.
    ContextWithoutSelinux,
    /// The command line has no operand.
    MissingOperand,
    /// There is a source, this one, and no destination.
    MissingDest(OsString),
    /// There are more operands than -T allows; this is one of them.
    ExtraOperand(OsString),
}

impl UsageError {
    /// Returns whether cp adds the hint to --help.
    #[must_use]
    pub fn has_hint(&self) -> bool {
        !matches!(
            self,
            Self::SeveralTargetDirectories
                | Self::TargetDirectoryAndNone
                | Self::ContextSetAndPreserved
                | Self::ContextWithoutSelinux
        )
    }
}

/// A word that getopt_long(3) does not take.
#[derive(Debug, PartialEq, Eq)]
pub enum GetoptError {
    /// No option has this letter.
    UnknownLetter(u8),
    /// The option of this letter is the last word, and requires an argument.
    LetterWithoutArgument(u8),
    /// The option of this long name takes no argument, and got one.
    UnwantedArgument(&'static str),
    /// The option of this long name is the last word, and requires an argument.
    MissingArgument(&'static str),
    /// Several long names begin with the word that was given.
    AmbiguousOption {
        /// The word without its dashes.
        given: OsString,
        /// The long names that begin with it.
        possible: Vec<&'static str>,
    },
    /// No long name is, or begins with, the word that was given.
    UnknownOption {
        /// The word without its dashes.
        given: OsString,
        /// The long name that may be meant.
        similar: Option<&'static str>,
    },
}

impl From<GetoptError> for UsageError {
    fn from(error: GetoptError) -> Self {
        Self::Getopt(error)
    }
}

/// A warning about the command line, which does not make a copy fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageWarning {
    /// --context without an argument is ignored, since it needs the policy of SELinux.
    ContextWithoutPolicy,
    /// --context with an argument is ignored, since the kernel has no SELinux.
    ContextWithoutSelinux,
}

/// A keyword that is not understood.
#[derive(Debug, PartialEq, Eq)]
pub struct KeywordError {
    /// Whether the keyword has several meanings; if not, it has none.
    pub is_ambiguous: bool,
    /// The keyword that was given.
    pub given: OsString,
    /// The option or the variable that it was given for.
    pub context: String,
    /// The keywords that are understood, those with one meaning together.
    pub valid: Vec<Vec<&'static str>>,
}

/// The values that an option takes.
#[derive(Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A number of files at once.
    JobCount,
    /// A pattern of file names.
    Pattern,
    /// A number of bytes a second.
    Rate {
        /// The unit that may be meant, where the given one differs from it in case alone.
        meant: Option<String>,
    },
    /// A number of bytes of one file.
    InFlight,
    /// Bytes, or a share of a file system, that are to stay free.
    KeepFree,
    /// The largest number of bytes of a file.
    MaxSize,
    /// The limit of a latency.
    Latency,
    /// The time after which a run that misses its limits fails.
    GiveUpTime,
    /// The time within which a copy shall be complete.
    Deadline,
    /// A percentage of the time that passes.
    Pressure,
    /// The name of a queue of copies.
    QueueName,
    /// The priority in a queue of copies.
    QueuePriority,
}
