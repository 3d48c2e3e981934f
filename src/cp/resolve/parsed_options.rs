//! The options while they are read: the decisions that depend on one option alone, and the values that are needed once
//! all options are known.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::super::cli::keywords::{self, Attribute, Update};
use super::super::cli::option_value::OptionValue;
use super::super::environment::Environment;
use super::super::options::{CopyOptions, Dereference, Overwrite};
use super::super::usage_error::{UsageError, UsageWarning};

/// The options read so far. A row of the option table changes it; [`super::validate`] completes it.
#[derive(Debug)]
pub struct ParsedOptions {
    /// The options that are decided already.
    pub options: CopyOptions,
    /// The variables and features that options depend on.
    pub environment: Environment,
    /// Warnings that the user gets in any case.
    pub warnings: Vec<UsageWarning>,
    /// Whether any option asks for backups.
    pub backups: bool,
    /// The CONTROL of --backup, empty where none was given.
    pub backup_control: OsString,
    /// The SUFFIX of the option --suffix, where it was given.
    pub backup_suffix: Option<OsString>,
    /// Whether the option --copy-contents was given.
    pub copy_contents: bool,
    /// The last of -H, -L, -P, -d and -a.
    pub dereference: Option<Dereference>,
    /// Whether the option --link was given.
    pub hard_link: bool,
    /// Whether the option --symbolic-link was given.
    pub symbolic_link: bool,
    /// The last of -i and -n.
    pub interactive: Option<Overwrite>,
    /// The last of -u and --update.
    pub update: Update,
    /// The DIRECTORY of the option -t, where it was given.
    pub target_directory: Option<OsString>,
    /// Whether the option --no-target-directory was given.
    pub no_target_directory: bool,
    /// The option --queue, where it was given, with its NAME.
    pub queue: Option<Option<String>>,
    /// The N of the option --queue-priority, where it was given.
    pub queue_priority: Option<i8>,
    /// The option --queue-status, where it was given, with its NAME.
    pub queue_status: Option<Option<String>>,
}

impl ParsedOptions {
    /// Returns the settings that apply without any option.
    #[must_use]
    pub fn new(environment: &Environment) -> Self {
        Self {
            options: CopyOptions {
                through_dangling: environment.posixly_correct,
                ..CopyOptions::default()
            },
            environment: environment.clone(),
            warnings: Vec::new(),
            backups: false,
            backup_control: OsString::new(),
            backup_suffix: None,
            copy_contents: false,
            dereference: None,
            hard_link: false,
            symbolic_link: false,
            interactive: None,
            update: Update::All,
            target_directory: None,
            no_target_directory: false,
            queue: None,
            queue_priority: None,
            queue_status: None,
        }
    }

    /// Records -b or --backup. -b does not revoke the CONTROL of an earlier --backup.
    pub fn enable_backups(&mut self, control: Option<OptionValue<'_>>) {
        self.backups = true;
        if let Some(control) = control {
            self.backup_control = control.value.to_owned();
        }
    }

    /// Records --suffix, which asks for backups too.
    pub fn set_suffix(&mut self, suffix: &OsStr) {
        self.backups = true;
        self.backup_suffix = Some(suffix.to_owned());
    }

    /// Records the option -t, or --target-directory.
    ///
    /// # Errors
    /// Returns an error where the option was given before.
    pub fn set_target_directory(&mut self, directory: &OsStr) -> Result<(), UsageError> {
        match self.target_directory.replace(directory.to_owned()) {
            None => Ok(()),
            Some(_) => Err(UsageError::SeveralTargetDirectories),
        }
    }

    /// Records the option --archive, or -a.
    pub fn archive(&mut self) {
        self.preserve_ownership_mode_and_times();
        let preserve = &mut self.options.preserve;
        preserve.links = true;
        preserve.xattr = true;
        preserve.context |= (self.environment.is_selinux_enabled)();
        preserve.quiet = true;
        self.dereference = Some(Dereference::Never);
        self.options.recursive = true;
    }

    /// Records the option -p, or --preserve without a list.
    pub fn preserve_ownership_mode_and_times(&mut self) {
        let preserve = &mut self.options.preserve;
        preserve.ownership = true;
        preserve.mode = true;
        preserve.timestamps = true;
        preserve.required = true;
    }

    /// Records --preserve, with or without a list.
    ///
    /// # Errors
    /// Returns the usage error where a member of the list is no attribute.
    pub fn preserve(&mut self, list: Option<OptionValue<'_>>) -> Result<(), UsageError> {
        let Some(list) = list else {
            self.preserve_ownership_mode_and_times();
            return Ok(());
        };
        self.set_attributes(list, true)?;
        self.options.preserve.required = true;
        Ok(())
    }

    /// Switches each attribute of a list on or off.
    ///
    /// # Errors
    /// Returns the usage error where a member of the list is no attribute. The members before it have been switched.
    pub fn set_attributes(&mut self, list: OptionValue<'_>, on: bool) -> Result<(), UsageError> {
        for name in list.value.as_bytes().split(|b| *b == b',') {
            self.set_attribute(list.list_keyword(name, keywords::ATTRIBUTES)?, on);
        }
        Ok(())
    }

    fn set_attribute(&mut self, attribute: Attribute, on: bool) {
        let preserve = &mut self.options.preserve;
        match attribute {
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
                if (self.environment.is_selinux_enabled)() {
                    preserve.context = on;
                }
            }
        }
    }

    /// Records -Z or --context, with a warning where it cannot be applied.
    pub fn set_context(&mut self, context: Option<OptionValue<'_>>) {
        let warning = match ((self.environment.is_selinux_enabled)(), context) {
            (true, Some(context)) => {
                self.options.context = Some(context.value.to_owned());
                return;
            }
            (false, None) => return,
            (true, None) => UsageWarning::ContextWithoutPolicy,
            (false, Some(_)) => UsageWarning::ContextWithoutSelinux,
        };
        self.warnings.push(warning);
    }
}
