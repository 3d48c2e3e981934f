//! All options known: what contradicts itself, what follows from what, and the operands, each mistake where cp finds it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::super::cli::argmatch::argmatch;
use super::super::cli::keywords::{self, Update};
use super::super::options::{Backup, BackupNames, Dereference, Existing, Making, Options, Target};
use super::super::usage::Answer;
use super::Draft;
use crate::report::quote::quote;
use crate::transfer::{DirectPolicy, Options as Transfer, Reflink, Sparse};

impl Draft<'_> {
    /// Decides, looking for contradictions in cp's order.
    pub(super) fn decide(&mut self, operands: Vec<OsString>) -> Result<Options, Answer> {
        let existing = self.existing();
        self.contradictions(existing)?;
        let backup = self.backup()?;
        self.contexts()?;
        // cp 9.5's answer; 9.1 shares the holes that it was told to fill.
        if self.transfer.sparse == Sparse::Never && self.transfer.reflink == Reflink::Auto {
            self.transfer.reflink = Reflink::Never;
        }
        let (sources, target) = self.target(operands)?;
        let implied = if self.recursive && !self.hard {
            Dereference::Never
        } else {
            Dereference::Always
        };
        Ok(Options {
            sources: sources.into_iter().map(Into::into).collect(),
            target,
            parents: self.parents,
            strip_trailing_slashes: self.strip_trailing_slashes,
            recursive: self.recursive,
            as_regular: self.copy_contents || !self.recursive,
            dereference: self.dereference.unwrap_or(implied),
            existing,
            update: self.update == Update::Older && existing != Existing::Skip,
            force: self.force,
            remove_destination: self.remove_destination,
            keep_directory_symlink: self.keep_directory_symlink,
            through_dangling: self.environment.posixly_correct,
            making: match (self.hard, self.symbolic) {
                (true, _) => Making::HardLink,
                (_, true) => Making::SymbolicLink,
                _ => Making::Copy,
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
    fn existing(&self) -> Existing {
        match (self.interactive, self.update) {
            (Some(Existing::Skip), _) => Existing::Skip,
            (_, Update::None) => Existing::Skip,
            (_, Update::NoneFail) => Existing::Refuse,
            (interactive, _) => interactive.unwrap_or(Existing::Replace),
        }
    }

    fn contradictions(&self, existing: Existing) -> Result<(), Answer> {
        let wrong = |text: &str| Err(Answer::usage(text));
        if self.hard && self.symbolic {
            return wrong("cannot make both hard and symbolic links");
        }
        if self.backups && matches!(existing, Existing::Skip | Existing::Refuse) {
            return wrong("--backup is mutually exclusive with -n or --update=none-fail");
        }
        let Transfer {
            reflink, sparse, ..
        } = self.transfer;
        if reflink == Reflink::Always && sparse != Sparse::Auto {
            return wrong("--reflink can be used only with --sparse=auto");
        }
        self.own_contradictions()
    }

    fn own_contradictions(&self) -> Result<(), Answer> {
        // A link, or the attributes of a file that is there, are not written to a temporary first.
        let options = [
            (self.hard, "--link"),
            (self.symbolic, "--symbolic-link"),
            (self.attributes_only, "--attributes-only"),
        ];
        match options.iter().find(|(given, _)| *given) {
            Some((_, option)) if self.durability.atomic => Err(Answer::usage(&format!(
                "options --atomic and {option} are mutually exclusive"
            ))),
            _ => self.patience_for_nothing(),
        }
    }

    /// A rate that is held cannot be missed.
    fn patience_for_nothing(&self) -> Result<(), Answer> {
        if self.throttle.give_up_after.is_some() && !self.throttle.governed() {
            return Err(Answer::usage(
                "--give-up-after can be used only with --max-fork-latency, --max-write-latency or --max-pressure",
            ));
        }
        self.engine_contradictions()
    }

    fn engine_contradictions(&self) -> Result<(), Answer> {
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
        Err(Answer::usage(&format!(
            "cannot combine --engine={name} and {other}"
        )))
    }

    fn backup(&self) -> Result<Option<Backup>, Answer> {
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
        let suffix = suffix.filter(|suffix| names_a_file(suffix));
        Ok(names.map(|names| Backup {
            names,
            suffix: suffix.cloned().unwrap_or_else(|| "~".into()),
        }))
    }

    /// A context that is set and one that is preserved.
    fn contexts(&mut self) -> Result<(), Answer> {
        // CTX is stronger than -a, and contradicts --preserve=context.
        if self.context.is_some() {
            self.preserve.context &= self.preserve.context_required;
            if self.preserve.context {
                return Err(Answer::error("cannot set target context and preserve it"));
            }
        }
        if self.preserve.context_required && !self.environment.selinux {
            return Err(Answer::error(
                "cannot preserve security context without an SELinux-enabled kernel",
            ));
        }
        Ok(())
    }

    fn target(&mut self, mut operands: Vec<OsString>) -> Result<(Vec<OsString>, Target), Answer> {
        let missing = || Answer::usage("missing file operand");
        if let Some(directory) = self.directory.take() {
            if operands.is_empty() {
                return Err(missing());
            }
            if self.exact {
                return Err(Answer::error(
                    "cannot combine --target-directory (-t) and --no-target-directory (-T)",
                ));
            }
            return Ok((operands, Target::Directory(directory.into())));
        }
        let last = operands.pop().ok_or_else(missing)?;
        if operands.is_empty() {
            let text = format!("missing destination file operand after {}", quote(last));
            return Err(Answer::usage(&text));
        }
        if !self.exact {
            return Ok((operands, Target::Either(last.into())));
        }
        // With -T cp names the third operand, whatever comes behind it.
        match operands.get(2).or((operands.len() == 2).then_some(&last)) {
            Some(extra) => Err(Answer::usage(&format!("extra operand {}", quote(extra)))),
            None => Ok((operands, Target::Exact(last.into()))),
        }
    }
}

/// Whether a suffix makes the name of a backup in the same directory; gnulib overlooks one that does not.
fn names_a_file(suffix: &OsStr) -> bool {
    let bytes = suffix.as_bytes();
    let end = bytes
        .iter()
        .rposition(|b| *b != b'/')
        .map_or(0, |at| at + 1);
    end > 0 && !bytes[..end].contains(&b'/')
}
