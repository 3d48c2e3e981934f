//! The state of an interrupted copy, and its form in a file.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::sys::stat::FileStat;

use super::super::file_status::{FileId, file_id};

/// The first word of a state file.
const MAGIC: &str = "mmapcp-state";

/// Version of the form. A program that does not know it copies anew.
const VERSION: u32 = 1;

/// Stands for a time that is not known.
const UNKNOWN_BIRTH: i64 = -1;

/// One version of the content of a file, as far as its status tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cp) struct FileVersion {
    id: FileId,
    size: i64,
    /// Seconds and nanoseconds of the last change of the content.
    modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of the inode.
    changed: (i64, i64),
}

impl FileVersion {
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
    /// Returns the text of the file. Its last line is a digest of the others.
    pub(in crate::cp) fn to_text(&self) -> String {
        let FileVersion {
            id,
            size,
            modified,
            changed,
        } = self.source;
        let mut text = format!(
            "{MAGIC} {VERSION}\nsource {} {} {size} {} {} {} {}\n",
            id.device, id.inode, modified.0, modified.1, changed.0, changed.1
        );
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
            Some(version) if text.starts_with(MAGIC) && VERSION < version => {
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
        lines
            .next()
            .filter(|line| *line == format!("{MAGIC} {VERSION}"))?;
        let [device, inode, size, m, m_ns, c, c_ns] = numbers(lines.next()?, "source")?;
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
        })
    }
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
                let state = state(durable, part);
                assert_eq!(CopyState::parse(&state.to_text()), Ok(state));
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
}
