//! Words into decisions: options in their order, the last of those that say different things counting; then the module `decide`.

mod decide;
mod limits;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;

use super::cli;
use super::cli::argmatch::argmatch;
use super::cli::getopt::{Given, Reader};
use super::cli::keywords::{self, Attribute, Update};
use super::cli::table::{Flag, Valued, Word};
use super::environment::Environment;
use super::options::{Dereference, Durability, Existing, Options, Preserve};
use super::usage::Answer;
use crate::report::quote::quote_word;
use crate::report::{Report, progress};
use crate::transfer::pace::Limits;
use crate::transfer::{Options as Transfer, Reflink};

/// What the words come to.
#[derive(Debug)]
pub struct Resolved {
    /// To be said first, in any case.
    pub warnings: Vec<String>,
    /// What to do, or what to answer instead.
    pub options: Result<Options, Answer>,
}

/// Decides, given the words behind the program's name.
#[must_use]
pub fn resolve(words: impl IntoIterator<Item = OsString>, environment: &Environment) -> Resolved {
    let mut draft = Draft::new(environment);
    let options = draft.read(words);
    Resolved {
        options: options.and_then(|operands| draft.decide(operands)),
        warnings: draft.warnings,
    }
}

/// What is known while options are read.
struct Draft<'a> {
    environment: &'a Environment,
    warnings: Vec<String>,
    attributes_only: bool,
    backups: bool,
    control: OsString,
    suffix: Option<OsString>,
    context: Option<OsString>,
    copy_contents: bool,
    dereference: Option<Dereference>,
    durability: Durability,
    force: bool,
    hard: bool,
    symbolic: bool,
    /// -i or -n, the last of them.
    interactive: Option<Existing>,
    update: Update,
    jobs: Option<NonZeroUsize>,
    keep_directory_symlink: bool,
    one_file_system: bool,
    parents: bool,
    preserve: Preserve,
    recursive: bool,
    remove_destination: bool,
    report: Report,
    strip_trailing_slashes: bool,
    directory: Option<OsString>,
    exact: bool,
    throttle: Limits,
    idle: bool,
    transfer: Transfer,
}

impl<'a> Draft<'a> {
    fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            warnings: Vec::new(),
            attributes_only: false,
            backups: false,
            control: OsString::new(),
            suffix: None,
            context: None,
            copy_contents: false,
            dereference: None,
            durability: Durability::default(),
            force: false,
            hard: false,
            symbolic: false,
            interactive: None,
            update: Update::All,
            jobs: None,
            keep_directory_symlink: false,
            one_file_system: false,
            parents: false,
            preserve: Preserve::default(),
            recursive: false,
            remove_destination: false,
            report: Report {
                verbose: false,
                debug: false,
                json: false,
                progress: progress::When::Auto,
            },
            strip_trailing_slashes: false,
            directory: None,
            exact: false,
            throttle: Limits::default(),
            idle: false,
            transfer: Transfer::default(),
        }
    }

    /// Reads all options; the operands are left.
    fn read(&mut self, words: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, Answer> {
        let mut reader = Reader::new(words, self.environment.posixly_correct);
        while let Some(Given { word, value }) = reader.next_option()? {
            match word {
                Word::Flag(flag) => self.flag(flag)?,
                Word::Valued(valued) => self.valued(valued, value)?,
            }
        }
        Ok(reader.operands())
    }

    fn flag(&mut self, flag: Flag) -> Result<(), Answer> {
        match flag {
            Flag::Archive => self.archive(),
            Flag::AttributesOnly => self.attributes_only = true,
            Flag::CopyContents => self.copy_contents = true,
            Flag::Debug => (self.report.debug, self.report.verbose) = (true, true),
            Flag::Dereference => self.dereference = Some(Dereference::Always),
            Flag::DereferenceNothingKeepLinks => {
                self.preserve.links = true;
                self.dereference = Some(Dereference::Never);
            }
            Flag::DereferenceOperands => self.dereference = Some(Dereference::Operands),
            Flag::Force => self.force = true,
            Flag::Interactive => self.interactive = Some(Existing::Ask),
            Flag::Link => self.hard = true,
            Flag::NoClobber => self.interactive = Some(Existing::Skip),
            Flag::NoDereference => self.dereference = Some(Dereference::Never),
            Flag::NoTargetDirectory => self.exact = true,
            Flag::OneFileSystem => self.one_file_system = true,
            Flag::Parents => self.parents = true,
            Flag::Recursive => self.recursive = true,
            Flag::RemoveDestination => self.remove_destination = true,
            Flag::StripTrailingSlashes => self.strip_trailing_slashes = true,
            Flag::SymbolicLink => self.symbolic = true,
            Flag::Verbose => self.report.verbose = true,
            Flag::KeepDirectorySymlink => self.keep_directory_symlink = true,
            Flag::Fsync => self.durability.fsync = true,
            Flag::Atomic => self.durability.atomic = true,
            Flag::Json => self.report.json = true,
            Flag::Idle => self.idle = true,
            Flag::Help => return Err(Answer::Text(cli::help_text())),
            Flag::Version => return Err(Answer::Text(cli::version_text())),
        }
        Ok(())
    }

    fn valued(&mut self, valued: Valued, value: Option<OsString>) -> Result<(), Answer> {
        let optional = value;
        let value = optional.clone().unwrap_or_default();
        match valued {
            Valued::Backup => {
                self.backups = true;
                // -b behind --backup=CONTROL takes nothing back.
                self.control = optional.unwrap_or(std::mem::take(&mut self.control));
            }
            Valued::Preserve if optional.is_none() => self.ownership_mode_and_times(),
            Valued::Preserve => {
                self.attributes("--preserve", &value, true)?;
                self.preserve.required = true;
            }
            Valued::NoPreserve => self.attributes("--no-preserve", &value, false)?,
            Valued::Sparse => {
                self.transfer.sparse = argmatch("--sparse", &value, keywords::SPARSE)?
            }
            Valued::Reflink => {
                self.transfer.reflink = match optional {
                    Some(when) => argmatch("--reflink", &when, keywords::REFLINK)?,
                    None => Reflink::Always,
                }
            }
            Valued::Suffix => {
                self.backups = true;
                self.suffix = optional;
            }
            Valued::TargetDirectory => self.directory(value)?,
            Valued::Update => {
                self.update = match optional {
                    Some(which) => argmatch("--update", &which, keywords::UPDATE)?,
                    None => Update::Older,
                }
            }
            Valued::Context => self.context(optional),
            Valued::Jobs => self.jobs = Some(jobs(&value)?),
            Valued::Engine => {
                self.transfer.engine = Some(argmatch("--engine", &value, &keywords::engines())?);
            }
            Valued::Direct => {
                self.transfer.direct = argmatch("--direct", &value, keywords::DIRECT)?
            }
            Valued::Progress => {
                self.report.progress = argmatch("--progress", &value, keywords::PROGRESS)?;
            }
            Valued::Limit(limit) => limits::set(&mut self.throttle, limit, &value)?,
        }
        Ok(())
    }

    fn directory(&mut self, directory: OsString) -> Result<(), Answer> {
        match self.directory.replace(directory) {
            None => Ok(()),
            Some(_) => Err(Answer::error("multiple target directories specified")),
        }
    }

    fn archive(&mut self) {
        self.ownership_mode_and_times();
        self.preserve.links = true;
        self.preserve.xattr = true;
        self.preserve.context |= self.environment.selinux;
        self.preserve.quiet = true;
        self.dereference = Some(Dereference::Never);
        self.recursive = true;
    }

    fn ownership_mode_and_times(&mut self) {
        self.preserve.ownership = true;
        self.preserve.mode = true;
        self.preserve.timestamps = true;
        self.preserve.required = true;
    }

    /// A LIST: each member switches one attribute on or off, and those before a wrong one are of no use to anyone.
    fn attributes(&mut self, option: &str, list: &OsStr, on: bool) -> Result<(), Answer> {
        let selinux = self.environment.selinux;
        let preserve = &mut self.preserve;
        for name in list.as_bytes().split(|b| *b == b',') {
            match argmatch(option, OsStr::from_bytes(name), keywords::ATTRIBUTES)? {
                Attribute::Mode => (preserve.mode, preserve.default_mode) = (on, !on),
                Attribute::Timestamps => preserve.timestamps = on,
                Attribute::Ownership => preserve.ownership = on,
                Attribute::Links => preserve.links = on,
                Attribute::Context => (preserve.context, preserve.context_required) = (on, on),
                Attribute::Xattr => (preserve.xattr, preserve.xattr_required) = (on, on),
                Attribute::All => {
                    (preserve.mode, preserve.default_mode) = (on, !on);
                    preserve.timestamps = on;
                    preserve.ownership = on;
                    preserve.links = on;
                    preserve.xattr = on;
                    if selinux {
                        preserve.context = on;
                    }
                }
            }
        }
        Ok(())
    }

    fn context(&mut self, context: Option<OsString>) {
        let warning = match (self.environment.selinux, context) {
            (true, Some(context)) => return self.context = Some(context),
            (false, None) => return,
            (true, None) => {
                "warning: ignoring --context; this build cannot look up the default type of a file"
            }
            (false, Some(_)) => {
                "warning: ignoring --context; it requires an SELinux-enabled kernel"
            }
        };
        self.warnings.push(warning.to_owned());
    }
}

/// N of --jobs.
fn jobs(value: &OsStr) -> Result<NonZeroUsize, Answer> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| invalid("--jobs", value, "a number of at least 1"))
}

/// `value` is none of what the option takes.
fn invalid(option: &str, value: &OsStr, takes: &str) -> Answer {
    Answer::usage(&format!(
        "invalid argument {} for {}: it takes {takes}",
        quote_word(value),
        quote_word(option)
    ))
}
