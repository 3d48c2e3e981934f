//! The reader of command-line arguments: does what getopt_long(3) does, over the table of options.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::super::usage_error::GetoptError;
use super::option_spec::{GivenOption, OptionAction, OptionSpec, Origin};
use super::table::OPTION_TABLE;

/// Reads options in their order and collects the operands.
#[derive(Debug)]
pub struct OptionReader {
    words: VecDeque<OsString>,
    /// The remaining letters of a group of short options.
    letters: VecDeque<u8>,
    operands: Vec<OsString>,
    /// Whether option parsing ends at the first operand, as with POSIXLY_CORRECT.
    options_first: bool,
}

impl OptionReader {
    /// Makes a reader of the arguments that follow the program's name.
    #[must_use]
    pub fn new(words: impl IntoIterator<Item = OsString>, options_first: bool) -> Self {
        Self {
            words: words.into_iter().collect(),
            letters: VecDeque::new(),
            operands: Vec::new(),
            options_first,
        }
    }

    /// Returns the operands, once all options are read.
    #[must_use]
    pub fn operands(self) -> Vec<OsString> {
        self.operands
    }

    /// Returns the next option, or `None` after the last one.
    ///
    /// # Errors
    /// Returns the error where getopt finds one.
    pub fn next_option(&mut self) -> Result<Option<GivenOption>, GetoptError> {
        if let Some(letter) = self.letters.pop_front() {
            return self.letter(letter).map(Some);
        }
        while let Some(word) = self.words.pop_front() {
            match word.as_bytes() {
                b"--" => self.operands.extend(self.words.drain(..)),
                [b'-', b'-', long @ ..] => return self.long(long).map(Some),
                [b'-', first, rest @ ..] => {
                    self.letters.extend(rest);
                    return self.letter(*first).map(Some);
                }
                _ => {
                    self.operands.push(word);
                    if self.options_first {
                        self.operands.extend(self.words.drain(..));
                    }
                }
            }
        }
        Ok(None)
    }

    fn letter(&mut self, letter: u8) -> Result<GivenOption, GetoptError> {
        let Some(row) = OPTION_TABLE
            .iter()
            .find(|row| row.letters.as_bytes().contains(&letter))
        else {
            return Err(GetoptError::UnknownLetter(letter));
        };
        let value = match row.action {
            OptionAction::Answer(_) | OptionAction::Switch(_) | OptionAction::Optional(..) => None,
            OptionAction::Required(..) if self.letters.is_empty() => {
                let next = self.words.pop_front();
                Some(next.ok_or(GetoptError::LetterWithoutArgument(letter))?)
            }
            OptionAction::Required(..) => {
                Some(OsString::from_vec(self.letters.drain(..).collect()))
            }
        };
        Ok(GivenOption { spec: row, value })
    }

    fn long(&mut self, given: &[u8]) -> Result<GivenOption, GetoptError> {
        let (name, value) = match given.iter().position(|b| *b == b'=') {
            Some(at) => (&given[..at], Some(OsStr::from_bytes(&given[at + 1..]))),
            None => (given, None),
        };
        let (name, row) = find(name, given)?;
        let value = match (row.action, value) {
            (OptionAction::Answer(_) | OptionAction::Switch(_), Some(_)) => {
                return Err(GetoptError::UnwantedArgument(name));
            }
            (OptionAction::Required(..), None) => {
                let next = self.words.pop_front();
                Some(next.ok_or(GetoptError::MissingArgument(name))?)
            }
            (_, value) => value.map(OsStr::to_owned),
        };
        Ok(GivenOption { spec: row, value })
    }
}

/// Jaro-Winkler similarity of two names from which one is suggested for the other. One letter left out, doubled, swapped or
/// wrong gives 0.93 or more for names as long as ours; `--limit-rate` and `--max-pressure` have 0.5.
const MIN_SIMILARITY: f64 = 0.9;

/// A long name and the option that it belongs to.
type Named = (&'static str, &'static OptionSpec);

fn names(origin: Origin) -> impl Iterator<Item = Named> {
    OPTION_TABLE
        .iter()
        .filter(move |row| row.origin == origin)
        .flat_map(|row| {
            [row.long, row.hidden]
                .into_iter()
                .flatten()
                .map(move |name| (name, row))
        })
}

/// Finds the option whose name is `name` or begins with it. `given` is the whole argument without its dashes.
fn find(name: &[u8], given: &[u8]) -> Result<Named, GetoptError> {
    const ORIGINS: [Origin; 2] = [Origin::Cp, Origin::Own];
    let mut all = ORIGINS.into_iter().flat_map(names);
    if let Some(exact) = all.find(|(long, _)| long.as_bytes() == name) {
        return Ok(exact);
    }
    for origin in ORIGINS {
        let mut begun = names(origin).filter(|(long, _)| long.as_bytes().starts_with(name));
        let Some(first) = begun.next() else { continue };
        let others: Vec<Named> = begun
            .filter(|(_, row)| !std::ptr::eq(*row, first.1))
            .collect();
        if others.is_empty() {
            return Ok(first);
        }
        let possible = std::iter::once(&first).chain(&others);
        return Err(GetoptError::AmbiguousOption {
            given: OsStr::from_bytes(given).to_owned(),
            possible: possible.map(|(long, _)| *long).collect(),
        });
    }
    Err(unrecognized(name, given))
}

/// Makes the usage error for a name that no option has or begins with. It suggests an option that cp does not have, if its
/// name is similar; for cp's own options the message is that of cp.
fn unrecognized(name: &[u8], given: &[u8]) -> GetoptError {
    let similar = std::str::from_utf8(name).ok().and_then(|name| {
        let scored = names(Origin::Own).map(|(long, _)| (strsim::jaro_winkler(name, long), long));
        let close = scored.filter(|(score, _)| *score >= MIN_SIMILARITY);
        close.max_by(|one, other| one.0.total_cmp(&other.0))
    });
    GetoptError::UnknownOption {
        given: OsStr::from_bytes(given).to_owned(),
        similar: similar.map(|(_, long)| long),
    }
}
