//! cp's options, and the ways in which one can be written.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Whether an option takes a value, and which ones are tried.
#[derive(Debug, Clone, Copy)]
enum OptionValue {
    None,
    Optional(&'static [&'static str]),
    Required(&'static [&'static str]),
}

#[derive(Debug)]
struct OptionSpec {
    short: Option<char>,
    long: Option<&'static str>,
    value: OptionValue,
}

const fn plain(short: char, long: &'static str) -> OptionSpec {
    OptionSpec {
        short: Some(short),
        long: Some(long),
        value: OptionValue::None,
    }
}

const fn long(long: &'static str, value: OptionValue) -> OptionSpec {
    OptionSpec {
        short: None,
        long: Some(long),
        value,
    }
}

const fn short(short: char) -> OptionSpec {
    OptionSpec {
        short: Some(short),
        long: None,
        value: OptionValue::None,
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
const NEW_UPDATE_VALUES: &[&str] = &["all", "none", "none-fail", "older", "newer", ""];

/// An option of the newest cp that 9.1 does not have.
const KEEP_DIRECTORY_SYMLINK: &str = "keep-directory-symlink";

/// Weight, and row. The first ones walk into directories.
const OPTION_TABLE: &[(u32, OptionSpec)] = &[
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
    (3, long("context", OptionValue::Optional(&["some:context"]))),
    (9, long("parents", OptionValue::None)),
    (9, long("remove-destination", OptionValue::None)),
    (9, long("attributes-only", OptionValue::None)),
    (6, long("copy-contents", OptionValue::None)),
    (9, long("strip-trailing-slashes", OptionValue::None)),
    (
        12,
        long(
            "backup",
            OptionValue::Optional(&[
                "numbered", "existing", "simple", "none", "t", "nil", "off", "never", "num",
            ]),
        ),
    ),
    (
        9,
        OptionSpec {
            short: Some('S'),
            long: Some("suffix"),
            value: OptionValue::Required(&[".bak", "~~", "", "/x", ".orig"]),
        },
    ),
    (12, long("preserve", OptionValue::Optional(ATTRIBUTES))),
    (9, long("no-preserve", OptionValue::Required(ATTRIBUTES))),
    (
        9,
        long(
            "sparse",
            OptionValue::Required(&["always", "never", "auto", "alw"]),
        ),
    ),
    (
        6,
        long(
            "reflink",
            OptionValue::Optional(&["auto", "never", "always"]),
        ),
    ),
    (9, long("update", OptionValue::Optional(NEW_UPDATE_VALUES))),
    (6, long(KEEP_DIRECTORY_SYMLINK, OptionValue::None)),
    // Words that are wrong.
    (
        1,
        long("sparse", OptionValue::Required(&["sometimes", "a", ""])),
    ),
    (
        1,
        long(
            "preserve",
            OptionValue::Required(&["context", "colour", "mode,,links", ""]),
        ),
    ),
    (1, long("backup", OptionValue::Required(&["some", "n", ""]))),
    (1, long("no-such-option", OptionValue::None)),
];

/// The rows that walk into directories.
const RECURSIVE: [usize; 3] = [0, 1, 2];

/// One option as it is written.
#[derive(Debug, Clone)]
pub(super) struct OptionChoice {
    row: usize,
    value: Index,
    spelling: Spelling,
    /// Goes into one word with the one before it, where both are short.
    pub(super) joined: bool,
    /// Before which operand.
    pub(super) place: OptionPosition,
}

#[derive(Debug, Clone, Copy)]
enum Spelling {
    Short,
    Long,
    Abbreviated,
}

#[derive(Debug, Clone)]
pub(super) enum OptionPosition {
    First,
    Before(Index),
    Last,
}

/// An option, written in words.
pub(super) struct WrittenOption {
    pub(super) words: Vec<String>,
    /// A short one, to which others can be appended.
    pub(super) open: bool,
    /// A short one, which can be appended to others.
    pub(super) short: bool,
}

/// Any option.
pub(super) fn word() -> impl Strategy<Value = OptionChoice> {
    let rows = OPTION_TABLE
        .iter()
        .enumerate()
        .map(|(at, (weight, _))| (*weight, Just(at)));
    let row = proptest::strategy::Union::new_weighted(rows.collect());
    written(row)
}

/// An option that walks into directories.
pub(super) fn recursive() -> impl Strategy<Value = OptionChoice> {
    written(select(&RECURSIVE[..]))
}

fn written(row: impl Strategy<Value = usize>) -> impl Strategy<Value = OptionChoice> {
    let spelling = prop_oneof![
        5 => Just(Spelling::Short),
        4 => Just(Spelling::Long),
        1 => Just(Spelling::Abbreviated),
    ];
    let place = prop_oneof![
        8 => Just(OptionPosition::First),
        1 => any::<Index>().prop_map(OptionPosition::Before),
        1 => Just(OptionPosition::Last),
    ];
    (row, any::<Index>(), spelling, any::<bool>(), place).prop_map(
        |(row, value, spelling, joined, place)| OptionChoice {
            row,
            value,
            spelling,
            joined,
            place,
        },
    )
}

impl OptionChoice {
    pub(super) fn is_recursive(&self) -> bool {
        RECURSIVE.contains(&self.row)
    }

    /// Whether cp 9.1 does not know it.
    pub(super) fn is_newer_than_system_cp(&self) -> bool {
        let row = &OPTION_TABLE[self.row].1;
        row.long == Some(KEEP_DIRECTORY_SYMLINK)
            || matches!(row.value, OptionValue::Optional(values) if values == NEW_UPDATE_VALUES)
    }

    pub(super) fn copies_contents(&self) -> bool {
        OPTION_TABLE[self.row].1.long == Some("copy-contents")
    }

    pub(super) fn write(&self) -> WrittenOption {
        let row = &OPTION_TABLE[self.row].1;
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

    fn write_short(&self, letter: char, value: OptionValue) -> WrittenOption {
        let mut words = vec![format!("-{letter}")];
        if let OptionValue::Required(values) = value {
            words.push((*self.value.get(values)).to_owned());
        }
        WrittenOption {
            open: words.len() == 1,
            short: true,
            words,
        }
    }

    /// An optional value is left out where the index says the place behind the last.
    fn write_long(&self, name: &str, value: OptionValue) -> WrittenOption {
        let words = match value {
            OptionValue::None => vec![format!("--{name}")],
            OptionValue::Optional(values) => match values.get(self.value.index(values.len() + 1)) {
                Some(value) => vec![format!("--{name}={value}")],
                None => vec![format!("--{name}")],
            },
            OptionValue::Required(values) if self.joined => {
                vec![format!("--{name}"), (*self.value.get(values)).to_owned()]
            }
            OptionValue::Required(values) => vec![format!("--{name}={}", self.value.get(values))],
        };
        WrittenOption {
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
    let all = || {
        OPTION_TABLE
            .iter()
            .filter_map(|(_, row)| row.long)
            .chain(OTHERS)
    };
    (1..=name.len())
        .map(|len| &name[..len])
        .find(|short| all().all(|other| other == name || !other.starts_with(short)))
        .unwrap_or(name)
}
