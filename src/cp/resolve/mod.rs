//! Words into decisions: options in their order, the last of those that say different things counting; then the module `decide`.

mod limits;
#[cfg(test)]
mod tests;
mod validate;

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;

use super::cli;
use super::cli::argmatch::argmatch;
use super::cli::getopt::{GivenOption, OptionReader};
use super::cli::keywords::{self, Attribute, Update};
use super::cli::table::{Flag, OptionId, ValueOption};
use super::cli_answer::CliAnswer;
use super::environment::Environment;
use super::options::{CopyOptions, Dereference, Durability, Overwrite, Preserve};
use crate::report::quote::quote_word;
use crate::report::{ReportOptions, progress};
use crate::transfer::rate_limit::Limits;
use crate::transfer::{Reflink, TransferOptions as Transfer};

/// What the words come to.
#[derive(Debug)]
pub struct Resolved {
    /// To be said first, in any case.
    pub warnings: Vec<String>,
    /// What to do, or what to answer instead.
    pub options: Result<CopyOptions, CliAnswer>,
}

/// Decides, given the words behind the program's name.
#[must_use]
pub fn resolve(words: impl IntoIterator<Item = OsString>, environment: &Environment) -> Resolved {
    let mut draft = ParsedOptions::new(environment);
    let options = draft.read(words);
    Resolved {
        options: options.and_then(|operands| draft.validate(operands)),
        warnings: draft.warnings,
    }
}

/// What is known while options are read.
struct ParsedOptions<'a> {
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
    hard_link: bool,
    symbolic_link: bool,
    /// -i or -n, the last of them.
    interactive: Option<Overwrite>,
    update: Update,
    jobs: Option<NonZeroUsize>,
    keep_directory_symlink: bool,
    one_file_system: bool,
    parents: bool,
    preserve: Preserve,
    recursive: bool,
    remove_destination: bool,
    report: ReportOptions,
    strip_trailing_slashes: bool,
    directory: Option<OsString>,
    no_target_directory: bool,
    throttle: Limits,
    idle: bool,
    transfer: Transfer,
}

impl<'a> ParsedOptions<'a> {
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
            hard_link: false,
            symbolic_link: false,
            interactive: None,
            update: Update::All,
            jobs: None,
            keep_directory_symlink: false,
            one_file_system: false,
            parents: false,
            preserve: Preserve::default(),
            recursive: false,
            remove_destination: false,
            report: ReportOptions {
                verbose: false,
                debug: false,
                json: false,
                progress: progress::ShowProgress::Auto,
            },
            strip_trailing_slashes: false,
            directory: None,
            no_target_directory: false,
            throttle: Limits::default(),
            idle: false,
            transfer: Transfer::default(),
        }
    }

    /// Reads all options; the operands are left.
    fn read(
        &mut self,
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Vec<OsString>, CliAnswer> {
        let mut reader = OptionReader::new(words, self.environment.posixly_correct);
        while let Some(GivenOption { id: word, value }) = reader.next_option()? {
            match word {
                OptionId::Flag(flag) => self.flag(flag)?,
                OptionId::Valued(valued) => self.valued(valued, value)?,
            }
        }
        Ok(reader.operands())
    }

    fn flag(&mut self, flag: Flag) -> Result<(), CliAnswer> {
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
            Flag::Interactive => self.interactive = Some(Overwrite::Ask),
            Flag::Link => self.hard_link = true,
            Flag::NoClobber => self.interactive = Some(Overwrite::Skip),
            Flag::NoDereference => self.dereference = Some(Dereference::Never),
            Flag::NoTargetDirectory => self.no_target_directory = true,
            Flag::OneFileSystem => self.one_file_system = true,
            Flag::Parents => self.parents = true,
            Flag::Recursive => self.recursive = true,
            Flag::RemoveDestination => self.remove_destination = true,
            Flag::StripTrailingSlashes => self.strip_trailing_slashes = true,
            Flag::SymbolicLink => self.symbolic_link = true,
            Flag::Verbose => self.report.verbose = true,
            Flag::KeepDirectorySymlink => self.keep_directory_symlink = true,
            Flag::Fsync => self.durability.fsync = true,
            Flag::Atomic => self.durability.atomic = true,
            Flag::Json => self.report.json = true,
            Flag::Idle => self.idle = true,
            Flag::Help => return Err(CliAnswer::Text(cli::help_text())),
            Flag::Version => return Err(CliAnswer::Text(cli::version_text())),
        }
        Ok(())
    }

    fn valued(&mut self, valued: ValueOption, value: Option<OsString>) -> Result<(), CliAnswer> {
        let optional = value;
        let value = optional.clone().unwrap_or_default();
        match valued {
            ValueOption::Backup => {
                self.backups = true;
                // -b behind --backup=CONTROL takes nothing back.
                self.control = optional.unwrap_or(std::mem::take(&mut self.control));
            }
            ValueOption::Preserve if optional.is_none() => self.ownership_mode_and_times(),
            ValueOption::Preserve => {
                self.attributes("--preserve", &value, true)?;
                self.preserve.required = true;
            }
            ValueOption::NoPreserve => self.attributes("--no-preserve", &value, false)?,
            ValueOption::Sparse => {
                self.transfer.sparse = argmatch("--sparse", &value, keywords::SPARSE)?
            }
            ValueOption::Reflink => {
                self.transfer.reflink = match optional {
                    Some(when) => argmatch("--reflink", &when, keywords::REFLINK)?,
                    None => Reflink::Always,
                }
            }
            ValueOption::Suffix => {
                self.backups = true;
                self.suffix = optional;
            }
            ValueOption::TargetDirectory => self.directory(value)?,
            ValueOption::Update => {
                self.update = match optional {
                    Some(which) => argmatch("--update", &which, keywords::UPDATE)?,
                    None => Update::Older,
                }
            }
            ValueOption::Context => self.context(optional),
            ValueOption::Jobs => self.jobs = Some(jobs(&value)?),
            ValueOption::Engine => {
                self.transfer.engine = Some(argmatch("--engine", &value, &keywords::engines())?);
            }
            ValueOption::Direct => {
                self.transfer.direct = argmatch("--direct", &value, keywords::DIRECT)?
            }
            ValueOption::Progress => {
                self.report.progress = argmatch("--progress", &value, keywords::PROGRESS)?;
            }
            ValueOption::Limit(limit) => limits::set_limit(&mut self.throttle, limit, &value)?,
        }
        Ok(())
    }

    fn directory(&mut self, directory: OsString) -> Result<(), CliAnswer> {
        match self.directory.replace(directory) {
            None => Ok(()),
            Some(_) => Err(CliAnswer::error("multiple target directories specified")),
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
    fn attributes(&mut self, option: &str, list: &OsStr, on: bool) -> Result<(), CliAnswer> {
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
fn jobs(value: &OsStr) -> Result<NonZeroUsize, CliAnswer> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| invalid("--jobs", value, "a number of at least 1"))
}

/// `value` is none of what the option takes.
fn invalid(option: &str, value: &OsStr, takes: &str) -> CliAnswer {
    CliAnswer::usage_error(&format!(
        "invalid argument {} for {}: it takes {takes}",
        quote_word(value),
        quote_word(option)
    ))
}
