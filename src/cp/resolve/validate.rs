//! Validation after all options are known: detects contradictions, derives implied settings, and checks the operands.
//! Each error is found in the order in which cp finds it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::super::cli::argmatch::argmatch;
use super::super::cli::keywords::{self, Update};
use super::super::options::{
    Backup, BackupNames, CopyMode, CopyOptions, Dereference, DestOperand, Overwrite, QueueRequest,
};
use super::super::queue::status::StatusRequest;
use super::super::usage_error::UsageError;
use super::parsed_options::ParsedOptions;
use crate::observe::disk_requests::open_request_counter;
use crate::transfer::{DirectPolicy, Reflink, Sparse, TransferOptions as Transfer};

/// Completes the options, checking for contradictions in cp's order.
///
/// # Errors
/// Returns the usage error about the options, or about the number of operands.
pub(super) fn validate(
    mut parsed: ParsedOptions,
    operands: Vec<OsString>,
) -> Result<CopyOptions, UsageError> {
    let overwrite = resolve_overwrite(&parsed);
    check_conflicts(&parsed, overwrite)?;
    let backup = resolve_backup(&parsed)?;
    check_contexts(&mut parsed)?;
    let (sources, target) = split_operands(&mut parsed, operands)?;
    let mut options = parsed.options;
    // cp 9.5 resolves it like this; 9.1 shares the holes that it was told to fill.
    if options.transfer.sparse == Sparse::Never && options.transfer.reflink == Reflink::Auto {
        options.transfer.reflink = Reflink::Never;
    }
    let implied = if options.recursive && !parsed.hard_link {
        Dereference::Never
    } else {
        Dereference::Always
    };
    options.sources = sources.into_iter().map(Into::into).collect();
    options.target = target;
    options.copy_as_regular = parsed.copy_contents || !options.recursive;
    options.dereference = parsed.dereference.unwrap_or(implied);
    options.overwrite = overwrite;
    options.update = parsed.update == Update::Older && overwrite != Overwrite::Skip;
    options.copy_mode = match (parsed.hard_link, parsed.symbolic_link) {
        (true, _) => CopyMode::HardLink,
        (_, true) => CopyMode::SymbolicLink,
        _ => CopyMode::Copy,
    };
    options.backup = backup;
    options.queue = parsed.queue.map(|name| QueueRequest {
        name,
        priority: parsed.queue_priority.unwrap_or_default(),
    });
    imply_durability(&mut options);
    // Files that are synced beside the copy of another would be taken for those of others.
    let syncs_beside = options.durability.fsync && (options.recursive || options.sources.len() > 1);
    if options.transfer.in_flight.is_none() && !syncs_beside {
        options.transfer.count_requests = Some(open_request_counter);
    }
    if options.transfer.drain {
        // What is written through the page cache is not certainly what the disk has.
        options.transfer.direct = DirectPolicy::Always;
        options.durability.fsync = true;
        options.resume = true;
    }
    if options.manifest.is_some() {
        options.transfer.digest.get_or_insert_default();
    }
    Ok(options)
}

/// Returns the question of --queue-status, which is asked alone: beside --json it goes with no operand and no queue.
///
/// # Errors
/// Returns the operand or the option that is too much.
pub(super) fn validate_status(
    parsed: ParsedOptions,
    name: Option<String>,
    mut operands: Vec<OsString>,
) -> Result<StatusRequest, UsageError> {
    if parsed.queue.is_some() {
        return Err(UsageError::Exclusive {
            option: "--queue-status",
            with: "--queue",
        });
    }
    if !operands.is_empty() {
        return Err(UsageError::ExtraOperand(operands.swap_remove(0)));
    }
    Ok(StatusRequest {
        queue: name,
        json: parsed.options.report.json,
    })
}

/// Sets what --cut implies: the old file is kept, and what is kept of the new one is not lost with the power.
fn imply_durability(options: &mut CopyOptions) {
    if options.transfer.room.cut {
        options.durability.atomic = true;
        options.durability.fsync = true;
    }
}

/// Returns the treatment of an existing file: -n overrides --update, and --update overrides -i.
fn resolve_overwrite(parsed: &ParsedOptions) -> Overwrite {
    match (parsed.interactive, parsed.update) {
        (Some(Overwrite::Skip), _) => Overwrite::Skip,
        (_, Update::None) => Overwrite::Skip,
        (_, Update::NoneFail) => Overwrite::Fail,
        (interactive, _) => interactive.unwrap_or(Overwrite::Replace),
    }
}

fn check_conflicts(parsed: &ParsedOptions, existing: Overwrite) -> Result<(), UsageError> {
    if parsed.hard_link && parsed.symbolic_link {
        return Err(UsageError::HardAndSymbolicLinks);
    }
    if parsed.backups && matches!(existing, Overwrite::Skip | Overwrite::Fail) {
        return Err(UsageError::BackupOfNothing);
    }
    let Transfer {
        reflink, sparse, ..
    } = parsed.options.transfer;
    if reflink == Reflink::Always && sparse != Sparse::Auto {
        return Err(UsageError::ReflinkWithSparse);
    }
    check_dataless_conflicts(parsed)
}

fn check_dataless_conflicts(parsed: &ParsedOptions) -> Result<(), UsageError> {
    // A link, or the attributes of an existing file, are not written to a temporary file first, and have no bytes.
    let dataless = [
        (parsed.hard_link, "--link"),
        (parsed.symbolic_link, "--symbolic-link"),
        (parsed.options.attributes_only, "--attributes-only"),
    ];
    let (options, transfer) = (&parsed.options, &parsed.options.transfer);
    let of_data = [
        (options.durability.atomic, "--atomic"),
        (transfer.room.keep_free.is_some(), "--keep-free"),
        (transfer.room.max_size.is_some(), "--max-size"),
        (transfer.room.cut, "--cut"),
        (options.manifest.is_some(), "--manifest"),
        (transfer.digest.is_some(), "--checksum"),
        (transfer.verify, "--verify"),
        (options.resume, "--resume"),
        (transfer.drain, "--drain"),
        (transfer.require_quiescent, "--require-quiescent"),
    ];
    let first = |options: &[(bool, &'static str)]| {
        let given = options.iter().find(|(given, _)| *given);
        given.map(|(_, option)| *option)
    };
    match (first(&of_data), first(&dataless)) {
        (Some(option), Some(with)) => Err(UsageError::Exclusive { option, with }),
        _ => check_cut_conflicts(parsed),
    }
}

/// Rejects --cut together with what needs the whole file, or a source that stays.
fn check_cut_conflicts(parsed: &ParsedOptions) -> Result<(), UsageError> {
    let (options, transfer) = (&parsed.options, &parsed.options.transfer);
    let others = [
        (transfer.drain, "--drain"),
        (options.resume, "--resume"),
        (transfer.verify, "--verify"),
        (transfer.reflink == Reflink::Always, "--reflink=always"),
    ];
    match others.iter().find(|(given, _)| *given) {
        Some((_, with)) if transfer.room.cut => Err(UsageError::Exclusive {
            option: "--cut",
            with,
        }),
        _ => check_resume_conflicts(parsed),
    }
}

/// Rejects --resume together with what would treat the part of a copy as the old file of another.
fn check_resume_conflicts(parsed: &ParsedOptions) -> Result<(), UsageError> {
    let options = &parsed.options;
    let others = [
        (parsed.backups, "--backup"),
        (options.remove_destination, "--remove-destination"),
        (parsed.interactive == Some(Overwrite::Skip), "--no-clobber"),
        (parsed.update != Update::All, "--update"),
        (
            options.transfer.reflink == Reflink::Always,
            "--reflink=always",
        ),
    ];
    match others.iter().find(|(given, _)| *given) {
        Some((_, with)) if options.resume || options.transfer.drain => Err(UsageError::Exclusive {
            option: if options.transfer.drain {
                "--drain"
            } else {
                "--resume"
            },
            with,
        }),
        _ => check_drain_conflicts(parsed),
    }
}

/// Rejects --drain together with what might discard a destination that has the only copy of a part of its source, or
/// might not bring it to the disk.
fn check_drain_conflicts(parsed: &ParsedOptions) -> Result<(), UsageError> {
    let options = &parsed.options;
    if !options.transfer.drain {
        return check_give_up_after(parsed);
    }
    let others = [
        (options.durability.atomic, "--atomic"),
        (parsed.interactive == Some(Overwrite::Ask), "--interactive"),
        (
            options.transfer.direct == DirectPolicy::Never,
            "--direct=never",
        ),
    ];
    if let Some((_, with)) = others.iter().find(|(given, _)| *given) {
        return Err(UsageError::Exclusive {
            option: "--drain",
            with,
        });
    }
    match options.transfer.engine {
        Some(row) if !row.is_direct() => Err(UsageError::EngineWith {
            engine: row.name,
            option: "--drain",
        }),
        _ => check_give_up_after(parsed),
    }
}

/// Rejects --give-up-after together with a rate alone, since a rate is always kept and cannot be missed, and a priority
/// without a queue.
fn check_give_up_after(parsed: &ParsedOptions) -> Result<(), UsageError> {
    if parsed.options.throttle.give_up_after.is_some() && !parsed.options.throttle.governed() {
        return Err(UsageError::GiveUpWithoutLimit);
    }
    if parsed.queue_priority.is_some() && parsed.queue.is_none() {
        return Err(UsageError::PriorityWithoutQueue);
    }
    check_engine_conflicts(parsed)
}

fn check_engine_conflicts(parsed: &ParsedOptions) -> Result<(), UsageError> {
    let Some(row) = parsed.options.transfer.engine else {
        return Ok(());
    };
    let shares = !row.is_direct() && !row.is_cached();
    let option = match (
        parsed.options.transfer.direct,
        parsed.options.transfer.reflink,
    ) {
        (DirectPolicy::Always, _) if row.is_cached() => "--direct=always",
        (DirectPolicy::Never, _) if row.is_direct() => "--direct=never",
        (_, Reflink::Always) if !shares => "--reflink=always",
        (_, Reflink::Never) if shares => "--reflink=never",
        _ => return Ok(()),
    };
    Err(UsageError::EngineWith {
        engine: row.name,
        option,
    })
}

fn resolve_backup(parsed: &ParsedOptions) -> Result<Option<Backup>, UsageError> {
    if !parsed.backups {
        return Ok(None);
    }
    let variable = &parsed.environment.version_control;
    let names = if !parsed.backup_control.is_empty() {
        argmatch("backup type", &parsed.backup_control, keywords::BACKUP)?
    } else if !variable.is_empty() {
        argmatch("$VERSION_CONTROL", variable, keywords::BACKUP)?
    } else {
        Some(BackupNames::Existing)
    };
    let suffix = parsed
        .backup_suffix
        .as_ref()
        .or(parsed.environment.suffix.as_ref());
    let suffix = suffix.filter(|suffix| is_valid_suffix(suffix));
    Ok(names.map(|names| Backup {
        names,
        suffix: suffix.cloned().unwrap_or_else(|| "~".into()),
    }))
}

/// Rejects a security context that is set and also preserved.
fn check_contexts(parsed: &mut ParsedOptions) -> Result<(), UsageError> {
    // CTX overrides -a, and contradicts --preserve=context.
    if parsed.options.context.is_some() {
        parsed.options.preserve.context &= parsed.options.preserve.context_required;
        if parsed.options.preserve.context {
            return Err(UsageError::ContextSetAndPreserved);
        }
    }
    if parsed.options.preserve.context_required && !(parsed.environment.is_selinux_enabled)() {
        return Err(UsageError::ContextWithoutSelinux);
    }
    Ok(())
}

fn split_operands(
    parsed: &mut ParsedOptions,
    mut operands: Vec<OsString>,
) -> Result<(Vec<OsString>, DestOperand), UsageError> {
    if let Some(directory) = parsed.target_directory.take() {
        if operands.is_empty() {
            return Err(UsageError::MissingOperand);
        }
        if parsed.no_target_directory {
            return Err(UsageError::TargetDirectoryAndNone);
        }
        return Ok((operands, DestOperand::Directory(directory.into())));
    }
    let last = operands.pop().ok_or(UsageError::MissingOperand)?;
    if operands.is_empty() {
        return Err(UsageError::MissingDest(last));
    }
    if !parsed.no_target_directory {
        return Ok((operands, DestOperand::Either(last.into())));
    }
    // With -T cp names the third operand, whatever follows it.
    match operands.get(2).or((operands.len() == 2).then_some(&last)) {
        Some(extra) => Err(UsageError::ExtraOperand(extra.clone())),
        None => Ok((operands, DestOperand::Exact(last.into()))),
    }
}

/// Returns whether a suffix makes a backup name in the same directory; gnulib ignores a suffix that does not.
fn is_valid_suffix(suffix: &OsStr) -> bool {
    let bytes = suffix.as_bytes();
    let end = bytes
        .iter()
        .rposition(|b| *b != b'/')
        .map_or(0, |at| at + 1);
    end > 0 && !bytes[..end].contains(&b'/')
}
