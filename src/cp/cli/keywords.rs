//! The keywords that options take as arguments. Each list is in the order in which cp shows it.

use super::super::options::BackupNames;
use super::super::order::OrderBy;
use super::argmatch::{self, KeywordTable};
use crate::report::progress;
use crate::transfer::engine::{self, EngineSpec};
use crate::transfer::{DigestAlgorithm, DirectPolicy, Reflink, Sparse};

/// The CONTROL of --backup and of VERSION_CONTROL. `None` means no backups.
pub const BACKUP: KeywordTable<Option<BackupNames>> = &[
    ("none", None),
    ("off", None),
    ("simple", Some(BackupNames::Simple)),
    ("never", Some(BackupNames::Simple)),
    ("existing", Some(BackupNames::Existing)),
    ("nil", Some(BackupNames::Existing)),
    ("numbered", Some(BackupNames::Numbered)),
    ("t", Some(BackupNames::Numbered)),
];

/// The WHEN of --sparse, which says how holes are treated.
pub const SPARSE: KeywordTable<Sparse> = &[
    ("never", Sparse::Never),
    ("auto", Sparse::Auto),
    ("always", Sparse::Always),
];

/// The WHEN of --reflink, which says whether blocks are shared.
pub const REFLINK: KeywordTable<Reflink> = &[
    ("auto", Reflink::Auto),
    ("always", Reflink::Always),
    ("never", Reflink::Never),
];

/// The existing files that --update replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// All files are replaced, as without the option.
    All,
    /// No existing file is replaced, and that is no error.
    None,
    /// No existing file is replaced, and that is an error.
    NoneFail,
    /// Existing files that are older than their source.
    Older,
}

/// The UPDATE of --update, which says which existing files are replaced.
pub const UPDATE: KeywordTable<Update> = &[
    ("all", Update::All),
    ("none", Update::None),
    ("none-fail", Update::NoneFail),
    ("older", Update::Older),
];

/// The attributes that --preserve and --no-preserve name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// The permission bits and the ACLs.
    Mode,
    /// The access and the modification time.
    Timestamps,
    /// The owner and the group of the file.
    Ownership,
    /// The hard links among what is copied.
    Links,
    /// The security context, where there is SELinux.
    Context,
    /// The extended attributes of the file.
    Xattr,
    /// All of these attributes, the context only where there is one.
    All,
}

/// The members of LIST of --preserve and --no-preserve.
pub const ATTRIBUTES: KeywordTable<Attribute> = &[
    ("mode", Attribute::Mode),
    ("timestamps", Attribute::Timestamps),
    ("ownership", Attribute::Ownership),
    ("links", Attribute::Links),
    ("context", Attribute::Context),
    ("xattr", Attribute::Xattr),
    ("all", Attribute::All),
];

/// The WHEN of --direct, which says whether the page cache is used.
pub const DIRECT: KeywordTable<DirectPolicy> = &[
    ("never", DirectPolicy::Never),
    ("auto", DirectPolicy::Auto),
    ("always", DirectPolicy::Always),
];

/// The WHEN of --progress, which says whether a bar is shown.
pub const PROGRESS: KeywordTable<progress::ShowProgress> = &[
    ("never", progress::ShowProgress::Never),
    ("auto", progress::ShowProgress::Auto),
    ("always", progress::ShowProgress::Always),
];

/// The ALGORITHM of --checksum, which makes the digest.
pub const CHECKSUM: KeywordTable<DigestAlgorithm> = &[
    (DigestAlgorithm::Sha256.name(), DigestAlgorithm::Sha256),
    (DigestAlgorithm::Blake3.name(), DigestAlgorithm::Blake3),
];

/// The KEY of --order, which says what is copied first.
pub const ORDER: KeywordTable<OrderBy> = &[
    ("given", OrderBy::Given),
    ("size", OrderBy::Size),
    ("name", OrderBy::Name),
];

/// Returns the keywords for NAME of --engine, with their engines.
#[must_use]
pub fn engines() -> Vec<(&'static str, &'static EngineSpec)> {
    engine::ENGINES.iter().map(|row| (row.name, *row)).collect()
}

pub(super) fn backup() -> Vec<&'static str> {
    argmatch::names(BACKUP)
}

pub(super) fn sparse() -> Vec<&'static str> {
    argmatch::names(SPARSE)
}

pub(super) fn reflink() -> Vec<&'static str> {
    argmatch::names(REFLINK)
}

pub(super) fn update() -> Vec<&'static str> {
    argmatch::names(UPDATE)
}

pub(super) fn when() -> Vec<&'static str> {
    argmatch::names(DIRECT)
}

pub(super) fn checksum() -> Vec<&'static str> {
    argmatch::names(CHECKSUM)
}

pub(super) fn order() -> Vec<&'static str> {
    argmatch::names(ORDER)
}

pub(super) fn engine() -> Vec<&'static str> {
    argmatch::names(&engines())
}
