//! The state of an interrupted copy, and its form in a file.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::sys::stat::FileStat;

use super::super::file_status::{FileId, file_id};

/// The first word of a state file.
const MAGIC: &str = "mmapcp-state";

/// The first word of the state of a copy whose source is drained: no copy is ever made anew over what is left of it.
const DRAIN_MAGIC: &str = "mmapcp-drain";

/// Version of the form. A program that does not know it copies anew.
const VERSION: u32 = 1;

/// Stands for a time that is not known.
const UNKNOWN_BIRTH: i64 = -1;

/// One version of the content of a file, as far as its status tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cp) struct FileVersion {
    id: FileId,
    pub(in crate::cp) size: i64,
    /// Seconds and nanoseconds of the last change of the content.
    pub(in crate::cp) modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of the inode.
    changed: (i64, i64),
}

impl FileVersion {
    /// Returns whether the file has this number of bytes.
    pub(in crate::cp) fn has_size(&self, size: i64) -> bool {
        self.size == size
    }

    /// Returns whether both are versions of one file with one size.
    pub(in crate::cp) fn is_same_file(&self, other: &Self) -> bool {
        (self.id, self.size) == (other.id, other.size)
    }

    /// Returns the version that a status shows.
    pub(in crate::cp) fn of(stat: &FileStat) -> Self {
        Self {
            id: file_id(stat),
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// What identifies a source that is drained, whose times change with each range that is freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cp) struct DrainedSource {
    /// When its inode was made, in nanoseconds since 1970, where its file system tells.
    pub(in crate::cp) born: Option<i64>,
    /// The identifier of the boot of the machine: no memory survives the next one.
    pub(in crate::cp) boot: String,
    /// Whether each range was compared before it was freed.
    pub(in crate::cp) is_verified: bool,
}

impl DrainedSource {
    /// Returns whether this is the source that another record was made of.
    fn is_same(&self, other: &Self) -> bool {
        match (self.born, other.born) {
            (Some(born), Some(other)) => born == other,
            (None, None) => self.boot == other.boot,
            _ => false,
        }
    }
}

/// How far a copy is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cp) enum Durable {
    /// The bytes before this offset are.
    Until(u64),
    /// The whole file is, and has its name. Its modification time and its size tell whether it still is the copy.
    Whole { modified: (i64, i64), size: i64 },
}

/// What is known of a copy that may be interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cp) struct CopyState {
    /// The source when the copy was begun.
    pub(in crate::cp) source: FileVersion,
    /// The inode of the destination, or of the part that will get its name.
    pub(in crate::cp) dest: FileId,
    /// When that inode was made, in nanoseconds since 1970, where that is known.
    pub(in crate::cp) born: Option<i64>,
    /// Whether the copy made that inode.
    pub(in crate::cp) created: bool,
    /// The temporary name of the part, with --atomic.
    pub(in crate::cp) part: Option<OsString>,
    /// What of it is on the disk.
    pub(in crate::cp) durable: Durable,
    /// What identifies the source if it is drained.
    pub(in crate::cp) drained: Option<DrainedSource>,
}

/// Why a text is no state of a copy.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cp) enum StateError {
    /// It is not what the program has written.
    Damaged,
    /// It was written by a newer version of the program.
    Newer,
}

impl CopyState {
    /// Returns whether the source may have been freed up to what is durable.
    pub(in crate::cp) fn is_freed(&self) -> bool {
        self.drained.is_some() && !matches!(self.durable, Durable::Until(0))
    }

    /// Returns whether all bytes of a drained source are durable.
    pub(in crate::cp) fn has_all(&self) -> bool {
        let size = self.source.size.cast_unsigned();
        self.drained.is_some() && matches!(self.durable, Durable::Until(at) if at >= size)
    }

    /// Returns whether a source is the one of this state, of which a part may be freed.
    pub(in crate::cp) fn is_of(&self, source: &FileVersion, drained: &DrainedSource) -> bool {
        let is_same = |known: &DrainedSource| known.is_same(drained);
        self.source.is_same_file(source) && self.drained.as_ref().is_some_and(is_same)
    }

    /// Returns whether a text is, or was before it was damaged, the state of a copy whose source is drained.
    pub(in crate::cp) fn is_of_drain(text: &[u8]) -> bool {
        let has = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
        has(DRAIN_MAGIC.as_bytes()) || has(b"\ndrained ")
    }

    /// Returns the text of the file. Its last line is a digest of the others.
    pub(in crate::cp) fn to_text(&self) -> String {
        let FileVersion {
            id,
            size,
            modified,
            changed,
        } = self.source;
        let magic = self.drained.as_ref().map_or(MAGIC, |_| DRAIN_MAGIC);
        let mut text = format!(
            "{magic} {VERSION}\nsource {} {} {size} {} {} {} {}\n",
            id.device, id.inode, modified.0, modified.1, changed.0, changed.1
        );
        if let Some(drained) = &self.drained {
            let (boot, is_verified) = (&drained.boot, u8::from(drained.is_verified));
            let born = drained.born.unwrap_or(UNKNOWN_BIRTH);
            let _ = writeln!(text, "drained {born} {is_verified} {boot}");
        }
        let created = u8::from(self.created);
        let _ = writeln!(
            text,
            "dest {} {} {} {created}",
            self.dest.device,
            self.dest.inode,
            self.born.unwrap_or(UNKNOWN_BIRTH)
        );
        let part = self.part.as_ref().map_or_else(
            || "-".to_owned(),
            |name| name.as_bytes().iter().map(|b| format!("{b:02x}")).collect(),
        );
        let _ = writeln!(text, "part {part}");
        let _ = match self.durable {
            Durable::Until(at) => writeln!(text, "durable {at}"),
            Durable::Whole { modified, size } => {
                writeln!(text, "whole {} {} {size}", modified.0, modified.1)
            }
        };
        let sum = blake3::hash(text.as_bytes()).to_hex();
        text + "sum " + &sum + "\n"
    }

    /// Reads the text of a file.
    pub(in crate::cp) fn parse(text: &str) -> Result<Self, StateError> {
        let version = text
            .split(['\n', ' '])
            .nth(1)
            .and_then(|word| word.parse().ok());
        match version {
            Some(version)
                if [MAGIC, DRAIN_MAGIC].iter().any(|m| text.starts_with(m))
                    && VERSION < version =>
            {
                return Err(StateError::Newer);
            }
            _ => {}
        }
        let (body, sum) = text.rsplit_once("sum ").ok_or(StateError::Damaged)?;
        if sum.strip_suffix('\n') != Some(&*blake3::hash(body.as_bytes()).to_hex()) {
            return Err(StateError::Damaged);
        }
        Self::parse_body(body).ok_or(StateError::Damaged)
    }

    fn parse_body(body: &str) -> Option<Self> {
        let mut lines = body.lines();
        let first = lines.next()?;
        let is_drained = first == format!("{DRAIN_MAGIC} {VERSION}");
        if !is_drained && first != format!("{MAGIC} {VERSION}") {
            return None;
        }
        let [device, inode, size, m, m_ns, c, c_ns] = numbers(lines.next()?, "source")?;
        let drained = match is_drained {
            true => Some(parse_drained(lines.next()?)?),
            false => None,
        };
        let [dest_device, dest_inode, born, created] = numbers(lines.next()?, "dest")?;
        let part = match lines.next()?.strip_prefix("part ")? {
            "-" => None,
            hex => Some(OsString::from_vec(from_hex(hex)?)),
        };
        let last = lines.next()?;
        let durable = if let Some([at]) = numbers(last, "durable") {
            Durable::Until(u64::try_from(at).ok()?)
        } else {
            let [m, m_ns, size] = numbers(last, "whole")?;
            Durable::Whole {
                modified: (m, m_ns),
                size,
            }
        };
        Some(Self {
            source: FileVersion {
                id: FileId {
                    device: device.cast_unsigned(),
                    inode: inode.cast_unsigned(),
                },
                size,
                modified: (m, m_ns),
                changed: (c, c_ns),
            },
            dest: FileId {
                device: dest_device.cast_unsigned(),
                inode: dest_inode.cast_unsigned(),
            },
            born: (born != UNKNOWN_BIRTH).then_some(born),
            created: created == 1,
            part,
            durable,
            drained,
        })
    }
}

fn parse_drained(line: &str) -> Option<DrainedSource> {
    let (numbers_part, boot) = line.rsplit_once(' ')?;
    let [born, is_verified] = numbers(numbers_part, "drained")?;
    Some(DrainedSource {
        born: (born != UNKNOWN_BIRTH).then_some(born),
        boot: boot.into(),
        is_verified: is_verified == 1,
    })
}

/// Returns the numbers of a line that begins with a word. Those that are unsigned come as the same bits.
fn numbers<const N: usize>(line: &str, word: &str) -> Option<[i64; N]> {
    let rest = line.strip_prefix(word)?.strip_prefix(' ')?;
    let numbers = rest.split(' ').map(|number| {
        let unsigned = number.parse::<u64>().map(u64::cast_signed);
        number.parse().or(unsigned).ok()
    });
    numbers.collect::<Option<Vec<i64>>>()?.try_into().ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(durable: Durable, part: Option<&[u8]>) -> CopyState {
        CopyState {
            source: FileVersion {
                id: FileId {
                    device: u64::MAX,
                    inode: 2,
                },
                size: 1 << 40,
                modified: (-1, 5),
                changed: (7, 999_999_999),
            },
            dest: FileId {
                device: 3,
                inode: u64::MAX - 1,
            },
            born: (durable != Durable::Until(0)).then_some(12),
            created: true,
            part: part.map(|name| OsString::from_vec(name.to_vec())),
            durable,
            drained: None,
        }
    }

    fn drained(born: Option<i64>, boot: &str) -> DrainedSource {
        DrainedSource {
            born,
            boot: boot.into(),
            is_verified: born.is_some(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let whole = Durable::Whole {
            modified: (9, 8),
            size: 7,
        };
        for durable in [Durable::Until(0), Durable::Until(u64::MAX >> 1), whole] {
            for part in [None, Some(&b".a\xff\n.mmapcp-1"[..])] {
                let mut state = state(durable, part);
                assert!(!CopyState::is_of_drain(state.to_text().as_bytes()));
                assert_eq!(CopyState::parse(&state.to_text()), Ok(state.clone()));
                for born in [None, Some(7)] {
                    state.drained = Some(drained(born, "a-b"));
                    assert!(CopyState::is_of_drain(state.to_text().as_bytes()));
                    assert_eq!(CopyState::parse(&state.to_text()), Ok(state.clone()));
                }
            }
        }
    }

    #[test]
    fn every_damage_is_noticed_and_a_newer_version_is_known() {
        let text = state(Durable::Until(1 << 30), None).to_text();
        for at in 0..text.len() {
            assert!(CopyState::parse(&text[..at]).is_err(), "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(CopyState::parse(&changed).is_err(), "changed at {at}");
        }
        let newer = text.replacen(" 1\n", " 2\n", 1);
        assert_eq!(CopyState::parse(&newer), Err(StateError::Newer));
    }

    #[test]
    fn a_drained_source_is_known_by_its_birth_or_else_by_the_boot() {
        let table = [
            (Some(1), "a", Some(1), "b", true),
            (Some(1), "a", Some(2), "a", false),
            (None, "a", None, "a", true),
            (None, "a", None, "b", false),
            (None, "a", Some(1), "a", false),
        ];
        for (born, boot, other, other_boot, want) in table {
            let mut state = state(Durable::Until(1 << 20), None);
            state.drained = Some(drained(born, boot));
            let mut now = state.source;
            now.modified = (9, 9);
            assert_eq!(state.is_of(&now, &drained(other, other_boot)), want);
            now.size += 1;
            assert!(!state.is_of(&now, &drained(other, other_boot)));
        }
    }

    /// A damaged text is still known to be of a drain, unless its head and its second line are lost.
    #[test]
    fn one_changed_byte_does_not_hide_a_drain() {
        let mut state = state(Durable::Until(1 << 20), None);
        state.drained = Some(drained(Some(3), "b"));
        let text = state.to_text().into_bytes();
        for at in 0..text.len() {
            let mut bytes = text.clone();
            bytes[at] ^= 1;
            assert!(CopyState::is_of_drain(&bytes), "changed at {at}");
        }
    }
}
