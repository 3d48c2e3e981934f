//! All options known: what contradicts itself, what follows from what, and the operands, each mistake where cp finds it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::super::cli::argmatch::argmatch;
use super::super::cli::keywords::{self, Update};
use super::super::cli_answer::CliAnswer;
use super::super::options::{
    Backup, BackupNames, CopyMode, CopyOptions, Dereference, DestOperand, Overwrite,
};
use super::ParsedOptions;
use crate::report::quote::quote;
use crate::transfer::{DirectPolicy, Reflink, Sparse, TransferOptions as Transfer};

impl ParsedOptions<'_> {
    /// Decides, looking for contradictions in cp's order.
    pub(super) fn validate(&mut self, operands: Vec<OsString>) -> Result<CopyOptions, CliAnswer> {
        let existing = self.resolve_overwrite();
        self.check_conflicts(existing)?;
        let backup = self.backup()?;
        self.contexts()?;
        // cp 9.5's answer; 9.1 shares the holes that it was told to fill.
        if self.transfer.sparse == Sparse::Never && self.transfer.reflink == Reflink::Auto {
            self.transfer.reflink = Reflink::Never;
        }
        let (sources, target) = self.target(operands)?;
        let implied = if self.recursive && !self.hard_link {
            Dereference::Never
        } else {
            Dereference::Always
        };
        Ok(CopyOptions {
            sources: sources.into_iter().map(Into::into).collect(),
            target,
            parents: self.parents,
            strip_trailing_slashes: self.strip_trailing_slashes,
            recursive: self.recursive,
            copy_as_regular: self.copy_contents || !self.recursive,
            dereference: self.dereference.unwrap_or(implied),
            overwrite: existing,
            update: self.update == Update::Older && existing != Overwrite::Skip,
            force: self.force,
            remove_destination: self.remove_destination,
            keep_directory_symlink: self.keep_directory_symlink,
            through_dangling: self.environment.posixly_correct,
            copy_mode: match (self.hard_link, self.symbolic_link) {
                (true, _) => CopyMode::HardLink,
                (_, true) => CopyMode::SymbolicLink,
                _ => CopyMode::Copy,
            },
            attributes_only: self.attributes_only,
            backup,
            one_file_system: self.one_file_system,
            preserve: self.preserve,
            context: self.context.take(),
            durability: self.durability,
            jobs: self.jobs,
            throttle: self.throttle,
            idle: self.idle,
            transfer: self.transfer,
            report: self.report,
        })
    }

    /// -n is stronger than --update, and --update than -i.
    fn resolve_overwrite(&self) -> Overwrite {
        match (self.interactive, self.update) {
            (Some(Overwrite::Skip), _) => Overwrite::Skip,
            (_, Update::None) => Overwrite::Skip,
            (_, Update::NoneFail) => Overwrite::Fail,
            (interactive, _) => interactive.unwrap_or(Overwrite::Replace),
        }
    }

    fn check_conflicts(&self, existing: Overwrite) -> Result<(), CliAnswer> {
        let wrong = |text: &str| Err(CliAnswer::usage_error(text));
        if self.hard_link && self.symbolic_link {
            return wrong("cannot make both hard and symbolic links");
        }
        if self.backups && matches!(existing, Overwrite::Skip | Overwrite::Fail) {
            return wrong("--backup is mutually exclusive with -n or --update=none-fail");
        }
        let Transfer {
            reflink, sparse, ..
        } = self.transfer;
        if reflink == Reflink::Always && sparse != Sparse::Auto {
            return wrong("--reflink can be used only with --sparse=auto");
        }
        self.check_atomic_conflicts()
    }

    fn check_atomic_conflicts(&self) -> Result<(), CliAnswer> {
        // A link, or the attributes of a file that is there, are not written to a temporary first.
        let options = [
            (self.hard_link, "--link"),
            (self.symbolic_link, "--symbolic-link"),
            (self.attributes_only, "--attributes-only"),
        ];
        match options.iter().find(|(given, _)| *given) {
            Some((_, option)) if self.durability.atomic => Err(CliAnswer::usage_error(&format!(
                "options --atomic and {option} are mutually exclusive"
            ))),
            _ => self.check_give_up_after(),
        }
    }

    /// A rate that is held cannot be missed.
    fn check_give_up_after(&self) -> Result<(), CliAnswer> {
        if self.throttle.give_up_after.is_some() && !self.throttle.governed() {
            return Err(CliAnswer::usage_error(
                "--give-up-after can be used only with --max-fork-latency, --max-write-latency or --max-pressure",
            ));
        }
        self.check_engine_conflicts()
    }

    fn check_engine_conflicts(&self) -> Result<(), CliAnswer> {
        let Some(row) = self.transfer.engine else {
            return Ok(());
        };
        let shares = !row.is_direct() && !row.is_cached();
        let other = match (self.transfer.direct, self.transfer.reflink) {
            (DirectPolicy::Always, _) if row.is_cached() => "--direct=always",
            (DirectPolicy::Never, _) if row.is_direct() => "--direct=never",
            (_, Reflink::Always) if !shares => "--reflink=always",
            (_, Reflink::Never) if shares => "--reflink=never",
            _ => return Ok(()),
        };
        let name = row.name;
        Err(CliAnswer::usage_error(&format!(
            "cannot combine --engine={name} and {other}"
        )))
    }

    fn backup(&self) -> Result<Option<Backup>, CliAnswer> {
        if !self.backups {
            return Ok(None);
        }
        let variable = &self.environment.version_control;
        let names = if !self.control.is_empty() {
            argmatch("backup type", &self.control, keywords::BACKUP)?
        } else if !variable.is_empty() {
            argmatch("$VERSION_CONTROL", variable, keywords::BACKUP)?
        } else {
            Some(BackupNames::Existing)
        };
        let suffix = self.suffix.as_ref().or(self.environment.suffix.as_ref());
        let suffix = suffix.filter(|suffix| is_valid_suffix(suffix));
        Ok(names.map(|names| Backup {
            names,
            suffix: suffix.cloned().unwrap_or_else(|| "~".into()),
        }))
    }

    /// A context that is set and one that is preserved.
    fn contexts(&mut self) -> Result<(), CliAnswer> {
        // CTX is stronger than -a, and contradicts --preserve=context.
        if self.context.is_some() {
            self.preserve.context &= self.preserve.context_required;
            if self.preserve.context {
                return Err(CliAnswer::error(
                    "cannot set target context and preserve it",
                ));
            }
        }
        if self.preserve.context_required && !self.environment.selinux {
            return Err(CliAnswer::error(
                "cannot preserve security context without an SELinux-enabled kernel",
            ));
        }
        Ok(())
    }

    fn target(
        &mut self,
        mut operands: Vec<OsString>,
    ) -> Result<(Vec<OsString>, DestOperand), CliAnswer> {
        let missing = || CliAnswer::usage_error("missing file operand");
        if let Some(directory) = self.directory.take() {
            if operands.is_empty() {
                return Err(missing());
            }
            if self.no_target_directory {
                return Err(CliAnswer::error(
                    "cannot combine --target-directory (-t) and --no-target-directory (-T)",
                ));
            }
            return Ok((operands, DestOperand::Directory(directory.into())));
        }
        let last = operands.pop().ok_or_else(missing)?;
        if operands.is_empty() {
            let text = format!("missing destination file operand after {}", quote(last));
            return Err(CliAnswer::usage_error(&text));
        }
        if !self.no_target_directory {
            return Ok((operands, DestOperand::Either(last.into())));
        }
        // With -T cp names the third operand, whatever comes behind it.
        match operands.get(2).or((operands.len() == 2).then_some(&last)) {
            Some(extra) => Err(CliAnswer::usage_error(&format!(
                "extra operand {}",
                quote(extra)
            ))),
            None => Ok((operands, DestOperand::Exact(last.into()))),
        }
    }
}

/// Whether a suffix makes the name of a backup in the same directory; gnulib overlooks one that does not.
fn is_valid_suffix(suffix: &OsStr) -> bool {
    let bytes = suffix.as_bytes();
    let end = bytes
        .iter()
        .rposition(|b| *b != b'/')
        .map_or(0, |at| at + 1);
    end > 0 && !bytes[..end].contains(&b'/')
}
