//! cp's options, and the ways in which one can be written.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Whether an option takes a value, and which ones are tried.
#[derive(Debug, Clone, Copy)]
enum Value {
    None,
    Optional(&'static [&'static str]),
    Required(&'static [&'static str]),
}

#[derive(Debug)]
struct Row {
    short: Option<char>,
    long: Option<&'static str>,
    value: Value,
}

const fn plain(short: char, long: &'static str) -> Row {
    Row {
        short: Some(short),
        long: Some(long),
        value: Value::None,
    }
}

const fn long(long: &'static str, value: Value) -> Row {
    Row {
        short: None,
        long: Some(long),
        value,
    }
}

const fn short(short: char) -> Row {
    Row {
        short: Some(short),
        long: None,
        value: Value::None,
    }
}

const ATTRIBUTES: &[&str] = &[
    "mode",
    "ownership",
    "timestamps",
    "links",
    "xattr",
    "all",
    "mode,timestamps",
    "links,ownership",
    "timest,xattr",
];

/// What `--update=` takes in the newest cp; 9.1 knows the word without a value only.
const LATER_UPDATES: &[&str] = &["all", "none", "none-fail", "older", "newer", ""];

/// An option of the newest cp that 9.1 does not have.
const KEEP_DIRECTORY_SYMLINK: &str = "keep-directory-symlink";

/// Weight, and row. The first ones walk into directories.
const ROWS: &[(u32, Row)] = &[
    (9, plain('a', "archive")),
    (9, plain('r', "recursive")),
    (9, plain('R', "recursive")),
    (9, short('d')),
    (9, plain('P', "no-dereference")),
    (9, plain('L', "dereference")),
    (9, short('H')),
    (12, short('p')),
    (12, plain('v', "verbose")),
    (12, plain('f', "force")),
    (9, plain('n', "no-clobber")),
    (9, plain('i', "interactive")),
    (9, plain('u', "update")),
    (9, plain('l', "link")),
    (6, plain('s', "symbolic-link")),
    (6, plain('x', "one-file-system")),
    (3, plain('T', "no-target-directory")),
    (9, short('b')),
    (3, short('Z')),
    (3, long("context", Value::Optional(&["some:context"]))),
    (9, long("parents", Value::None)),
    (9, long("remove-destination", Value::None)),
    (9, long("attributes-only", Value::None)),
    (6, long("copy-contents", Value::None)),
    (9, long("strip-trailing-slashes", Value::None)),
    (
        12,
        long(
            "backup",
            Value::Optional(&[
                "numbered", "existing", "simple", "none", "t", "nil", "off", "never", "num",
            ]),
        ),
    ),
    (
        9,
        Row {
            short: Some('S'),
            long: Some("suffix"),
            value: Value::Required(&[".bak", "~~", "", "/x", ".orig"]),
        },
    ),
    (12, long("preserve", Value::Optional(ATTRIBUTES))),
    (9, long("no-preserve", Value::Required(ATTRIBUTES))),
    (
        9,
        long(
            "sparse",
            Value::Required(&["always", "never", "auto", "alw"]),
        ),
    ),
    (
        6,
        long("reflink", Value::Optional(&["auto", "never", "always"])),
    ),
    (9, long("update", Value::Optional(LATER_UPDATES))),
    (6, long(KEEP_DIRECTORY_SYMLINK, Value::None)),
    // Words that are wrong.
    (1, long("sparse", Value::Required(&["sometimes", "a", ""]))),
    (
        1,
        long(
            "preserve",
            Value::Required(&["context", "colour", "mode,,links", ""]),
        ),
    ),
    (1, long("backup", Value::Required(&["some", "n", ""]))),
    (1, long("no-such-option", Value::None)),
];

/// The rows that walk into directories.
const RECURSIVE: [usize; 3] = [0, 1, 2];

/// One option as it is written.
#[derive(Debug, Clone)]
pub(super) struct Word {
    row: usize,
    value: Index,
    spelling: Spelling,
    /// Goes into one word with the one before it, where both are short.
    pub(super) joined: bool,
    /// Before which operand.
    pub(super) place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Spelling {
    Short,
    Long,
    Abbreviated,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    First,
    Before(Index),
    Last,
}

/// An option, written in words.
pub(super) struct Written {
    pub(super) words: Vec<String>,
    /// A short one, to which others can be appended.
    pub(super) open: bool,
    /// A short one, which can be appended to others.
    pub(super) short: bool,
}

/// Any option.
pub(super) fn word() -> impl Strategy<Value = Word> {
    let rows = ROWS
        .iter()
        .enumerate()
        .map(|(at, (weight, _))| (*weight, Just(at)));
    let row = proptest::strategy::Union::new_weighted(rows.collect());
    written(row)
}

/// An option that walks into directories.
pub(super) fn recursive() -> impl Strategy<Value = Word> {
    written(select(&RECURSIVE[..]))
}

fn written(row: impl Strategy<Value = usize>) -> impl Strategy<Value = Word> {
    let spelling = prop_oneof![
        5 => Just(Spelling::Short),
        4 => Just(Spelling::Long),
        1 => Just(Spelling::Abbreviated),
    ];
    let place = prop_oneof![
        8 => Just(Place::First),
        1 => any::<Index>().prop_map(Place::Before),
        1 => Just(Place::Last),
    ];
    (row, any::<Index>(), spelling, any::<bool>(), place).prop_map(
        |(row, value, spelling, joined, place)| Word {
            row,
            value,
            spelling,
            joined,
            place,
        },
    )
}

impl Word {
    pub(super) fn is_recursive(&self) -> bool {
        RECURSIVE.contains(&self.row)
    }

    /// Whether cp 9.1 does not know it.
    pub(super) fn is_later(&self) -> bool {
        let row = &ROWS[self.row].1;
        row.long == Some(KEEP_DIRECTORY_SYMLINK)
            || matches!(row.value, Value::Optional(values) if values == LATER_UPDATES)
    }

    pub(super) fn copies_contents(&self) -> bool {
        ROWS[self.row].1.long == Some("copy-contents")
    }

    pub(super) fn write(&self) -> Written {
        let row = &ROWS[self.row].1;
        match (row.short, row.long, self.spelling) {
            (Some(letter), None, _) | (Some(letter), _, Spelling::Short) => {
                self.write_short(letter, row.value)
            }
            (_, Some(name), spelling) => {
                let abbreviated = matches!(spelling, Spelling::Abbreviated);
                let name = if abbreviated { shortest(name) } else { name };
                self.write_long(name, row.value)
            }
            (None, None, _) => unreachable!("an option has a name"),
        }
    }

    fn write_short(&self, letter: char, value: Value) -> Written {
        let mut words = vec![format!("-{letter}")];
        if let Value::Required(values) = value {
            words.push((*self.value.get(values)).to_owned());
        }
        Written {
            open: words.len() == 1,
            short: true,
            words,
        }
    }

    /// An optional value is left out where the index says the place behind the last.
    fn write_long(&self, name: &str, value: Value) -> Written {
        let words = match value {
            Value::None => vec![format!("--{name}")],
            Value::Optional(values) => match values.get(self.value.index(values.len() + 1)) {
                Some(value) => vec![format!("--{name}={value}")],
                None => vec![format!("--{name}")],
            },
            Value::Required(values) if self.joined => {
                vec![format!("--{name}"), (*self.value.get(values)).to_owned()]
            }
            Value::Required(values) => vec![format!("--{name}={}", self.value.get(values))],
        };
        Written {
            words,
            open: false,
            short: false,
        }
    }
}

/// The shortest beginning of a long option's name that stands for no other one of the newest cp. Abbreviations that end sooner are
/// wrong in one of the two versions that mmapcp is compared with.
fn shortest(name: &'static str) -> &'static str {
    const OTHERS: [&str; 6] = [
        "debug",
        "no-target-directory",
        "path",
        "target-directory",
        "help",
        "version",
    ];
    let all = || ROWS.iter().filter_map(|(_, row)| row.long).chain(OTHERS);
    (1..=name.len())
        .map(|len| &name[..len])
        .find(|short| all().all(|other| other == name || !other.starts_with(short)))
        .unwrap_or(name)
}
