//! /proc/self/mountinfo, as proc_pid_mountinfo(5) describes it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::observe::root::below;
use crate::report::quote::cannot;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its number, as `mnt_id` of /proc/PID/fdinfo has it.
    pub(super) id: u64,
    /// The directory of the file system that is its root.
    pub(super) root: PathBuf,
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// File system type.
    pub(super) kind: String,
    /// What is mounted: a device, or any word.
    pub(super) source: PathBuf,
    /// Options of the file system, `key=value` or a word.
    pub(super) options: Vec<OsString>,
}

/// All mounts that this process sees, in the order in which they were made.
pub(super) fn all(root: &Path) -> Result<Vec<Mount>, String> {
    let path = below(root, "/proc/self/mountinfo");
    let text = std::fs::read(&path).map_err(|e| cannot("read", &path, &e))?;
    Ok(text.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// `27 1 254:0 / /mnt rw,relatime shared:1 - ext4 /dev/vda rw,discard`
fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let [kind, source, options] = fields.get(dash + 1..dash + 4)? else {
        return None;
    };
    Some(Mount {
        id: std::str::from_utf8(fields[0]).ok()?.parse().ok()?,
        root: unescape(fields.get(3)?).into(),
        point: unescape(fields.get(4)?).into(),
        kind: String::from_utf8_lossy(kind).into_owned(),
        source: unescape(source).into(),
        options: options.split(|b| *b == b',').map(unescape).collect(),
    })
}

/// Blank, tab, newline and backslash come as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let byte = digits
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok());
        out.push(byte.unwrap_or(first));
        rest = &after[if byte.is_some() { 3 } else { 0 }..];
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_and_unescaped() {
        let line = b"41 23 0:38 /a /mnt/with\\040blank rw,nosuid shared:7 master:2 - cgroup no\\134ne rw,name=systemd";
        let mount = parse(line).unwrap();
        assert_eq!(mount.id, 41);
        assert_eq!(mount.root, Path::new("/a"));
        assert_eq!(mount.point, Path::new("/mnt/with blank"));
        assert_eq!(mount.kind, "cgroup");
        assert_eq!(mount.source, Path::new("no\\ne"));
        assert_eq!(mount.options, ["rw", "name=systemd"]);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"1 2 3"), None);
    }
}
