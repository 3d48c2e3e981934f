//! Keywords from a fixed list, matched as GNU programs do: any prefix that has one meaning is accepted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::super::usage_error::{KeywordError, UsageError};

/// Keywords and their meanings; keywords with one meaning are adjacent.
pub type KeywordTable<T> = &'static [(&'static str, T)];

/// Returns the keywords of a table without their meanings.
pub(super) fn names<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

/// Returns the meaning of `given` in `table`. `context` is the option or the variable that messages name.
///
/// # Errors
/// Returns the error where the word has no meaning, or several.
pub fn argmatch<T: Copy + PartialEq>(
    context: &str,
    given: &OsStr,
    table: &[(&'static str, T)],
) -> Result<T, UsageError> {
    if let Some((_, exact)) = table.iter().find(|(name, _)| *name == given) {
        return Ok(*exact);
    }
    let mut begun = table
        .iter()
        .filter(|(name, _)| name.as_bytes().starts_with(given.as_bytes()))
        .map(|(_, meaning)| *meaning);
    let is_ambiguous = match begun.next() {
        Some(first) if begun.all(|other| other == first) => return Ok(first),
        first => first.is_some(),
    };
    Err(UsageError::Keyword(KeywordError {
        is_ambiguous,
        given: given.to_owned(),
        context: context.to_owned(),
        valid: table
            .chunk_by(|one, next| one.1 == next.1)
            .map(names)
            .collect(),
    }))
}
