//! The trace points of the kernel: their numbers and the places of their fields, as tracefs tells them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::observe::error::{ObserveError, cannot, unavailable};
use crate::sys::detached_mount::DetachedMount;

/// The directory in which tracefs is usually mounted. To look below sys/kernel/debug/tracing would mount it there for good.
const USUAL_PLACE: &str = "sys/kernel/tracing";

/// The root of tracefs, which may be mounted for this process alone.
#[derive(Debug)]
pub(super) struct TraceFs {
    root: PathBuf,
    /// The mount, if it was made here. It ends with this value.
    _own: Option<DetachedMount>,
}

impl TraceFs {
    /// Finds tracefs below `root` where it is usually mounted, or else mounts it where nobody sees it.
    ///
    /// # Errors
    /// The reason why it can be neither read nor mounted.
    pub(super) fn open(root: &Path) -> Result<Self, ObserveError> {
        let usual = root.join(USUAL_PLACE);
        if usual.join("events").exists() {
            return Ok(Self {
                root: usual,
                _own: None,
            });
        }
        let own =
            DetachedMount::new(c"tracefs").map_err(|e| cannot("mount", Path::new("tracefs"), e))?;
        Ok(Self {
            root: own.root(),
            _own: Some(own),
        })
    }

    /// Reads the number and the fields of a trace point, such as `sched/sched_switch`.
    ///
    /// # Errors
    /// This kernel does not have it, or it cannot be read.
    pub(super) fn trace_point(&self, name: &str) -> Result<TracePoint, ObserveError> {
        let path = self.root.join("events").join(name).join("format");
        let text = fs::read_to_string(&path)
            .map_err(|e| cannot("read the trace point", Path::new(name), e))?;
        TracePoint::parse(&text)
            .ok_or_else(|| unavailable(format!("the trace point {name} is of an unknown form")))
    }
}

/// The number of a trace point, and the fields of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TracePoint {
    pub(super) number: u64,
    fields: Vec<Field>,
}

/// The place of one field in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    offset: usize,
    size: usize,
}

impl TracePoint {
    /// Reads a file `format` of tracefs.
    fn parse(text: &str) -> Option<Self> {
        let number = text.lines().find_map(|line| line.strip_prefix("ID:"))?;
        Some(Self {
            number: number.trim().parse().ok()?,
            fields: text.lines().filter_map(Field::parse).collect(),
        })
    }

    /// Returns an unsigned number of a record, or `None` if the record has no such field.
    pub(super) fn number_in(&self, record: &[u8], name: &str) -> Option<u64> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        let bytes = record.get(field.offset..field.offset + field.size)?;
        match *bytes {
            [a] => Some(u64::from(a)),
            [a, b] => Some(u64::from(u16::from_ne_bytes([a, b]))),
            [a, b, c, d] => Some(u64::from(u32::from_ne_bytes([a, b, c, d]))),
            _ => Some(u64::from_ne_bytes(bytes.try_into().ok()?)),
        }
    }

    /// Returns the text of an array of characters of a record, or an empty text if the record has no such field.
    pub(super) fn text_in<'a>(&self, record: &'a [u8], name: &str) -> &'a [u8] {
        let field = self.fields.iter().find(|field| field.name == name);
        let bytes = field.and_then(|field| record.get(field.offset..field.offset + field.size));
        let bytes = bytes.unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == 0);
        &bytes[..end.unwrap_or(bytes.len())]
    }
}

impl Field {
    /// Reads a line such as `field:pid_t prev_pid; offset:24; size:4; signed:1;`.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim().split(';').map(str::trim);
        let declaration = parts.next()?.strip_prefix("field:")?;
        let name = declaration.split_whitespace().next_back()?;
        let number = |part: Option<&str>, key| part?.strip_prefix(key)?.parse().ok();
        Some(Self {
            name: name.split('[').next()?.to_owned(),
            offset: number(parts.next(), "offset:")?,
            size: number(parts.next(), "size:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sched_switch\nID: 372\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
        \tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;\n\
        \tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;\n\n\
        print fmt: \"field:%s\", REC->prev_comm\n";

    #[test]
    fn fields_are_found_by_their_names() {
        let point = TracePoint::parse(FORMAT).unwrap();
        assert_eq!(point.number, 372);
        let mut record = vec![0; 40];
        record[0] = 0x74;
        record[1] = 1;
        record[8..12].copy_from_slice(b"bash");
        record[24..28].copy_from_slice(&7_u32.to_ne_bytes());
        record[32..40].copy_from_slice(&258_u64.to_ne_bytes());
        assert_eq!(point.number_in(&record, "common_type"), Some(372));
        assert_eq!(point.number_in(&record, "prev_pid"), Some(7));
        assert_eq!(point.number_in(&record, "prev_state"), Some(258));
        assert_eq!(point.text_in(&record, "prev_comm"), b"bash");
        assert_eq!(point.number_in(&record, "next_pid"), None);
        assert_eq!(point.number_in(&record[..26], "prev_pid"), None);
        assert_eq!(point.text_in(&record, "next_comm"), b"");
        assert!(TracePoint::parse("name: x\n").is_none());
    }

    #[test]
    fn a_mounted_tracefs_is_taken() {
        let root = crate::observe::kernel_file::root_with(&[(
            "sys/kernel/tracing/events/sched/sched_switch/format",
            FORMAT,
        )]);
        let traces = TraceFs::open(root.path()).unwrap();
        assert_eq!(
            traces.trace_point("sched/sched_switch").unwrap().number,
            372
        );
        let missing = traces.trace_point("sched/none").unwrap_err().to_string();
        assert!(
            missing.starts_with("cannot read the trace point 'sched/none'"),
            "{missing}"
        );
    }
}
