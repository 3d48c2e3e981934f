//! Keywords from a fixed list, matched as GNU programs do: any prefix that has one meaning is accepted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::super::cli_answer::CliAnswer;
use crate::report::quote::quote_word;

/// Keywords and their meanings; keywords with one meaning are adjacent.
pub type KeywordTable<T> = &'static [(&'static str, T)];

/// Returns the keywords of a table without their meanings.
pub(super) fn names<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

/// Returns the meaning of `given` in `table`. `context` is the option or the variable that messages name.
///
/// # Errors
/// Returns cp's usage error where the word has no meaning, or several.
pub fn argmatch<T: Copy + PartialEq>(
    context: &str,
    given: &OsStr,
    table: &[(&'static str, T)],
) -> Result<T, CliAnswer> {
    if let Some((_, exact)) = table.iter().find(|(name, _)| *name == given) {
        return Ok(*exact);
    }
    let mut begun = table
        .iter()
        .filter(|(name, _)| name.as_bytes().starts_with(given.as_bytes()))
        .map(|(_, meaning)| *meaning);
    let problem = match begun.next() {
        Some(first) if begun.all(|other| other == first) => return Ok(first),
        Some(_) => "ambiguous",
        None => "invalid",
    };
    Err(CliAnswer::usage_error(&format!(
        "{problem} argument {} for {}\nValid arguments are:{}",
        quote_word(given),
        quote_word(context),
        listed(table)
    )))
}

/// Lists the words, with each meaning on a line of its own.
fn listed<T: PartialEq>(table: &[(&'static str, T)]) -> String {
    let mut text = String::new();
    let mut last = None;
    for (name, meaning) in table {
        text.push_str(if last == Some(meaning) {
            ", "
        } else {
            "\n  - "
        });
        text.push_str(&quote_word(name));
        last = Some(meaning);
    }
    text
}
