//! Finds the mount of a path in /proc/self/mountinfo, which proc_pid_mountinfo(5) describes.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::kernel_file::{path_below, read_trimmed};
use crate::observe::error::{ObserveError, cannot, unavailable};
use crate::report::quote::quote;
use crate::sys::key_value::find_value;

/// Mount options that identify a host, a person or a place, and say nothing about performance.
const PRIVATE_OPTIONS: [&str; 9] = [
    "addr",
    "clientaddr",
    "mountaddr",
    "username",
    "domain",
    "lowerdir",
    "upperdir",
    "workdir",
    "unc",
];

/// A parsed line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Identifier of the mount, the `mnt_id` of /proc/PID/fdinfo.
    pub id: u64,
    /// Device numbers of the super block: `254:0`; `0:n` for a file system without a device of its own.
    pub device_numbers: String,
    /// The directory of the file system that is the root of the mount.
    pub fs_root: PathBuf,
    /// The directory on which it is mounted.
    pub mount_point: PathBuf,
    /// The options of this mount.
    pub mount_options: Vec<OsString>,
    /// The type of the file system.
    pub file_system: String,
    /// The source of the mount: a device, or any word.
    pub source: PathBuf,
    /// Options of the super block, each `key=value` or a word.
    pub super_options: Vec<OsString>,
}

impl Mount {
    /// Returns all mounts that this process sees, in the order in which they were made.
    ///
    /// # Errors
    /// /proc/self/mountinfo below `root` cannot be read.
    pub fn all(root: &Path) -> Result<Vec<Self>, ObserveError> {
        let path = path_below(root, "/proc/self/mountinfo");
        let text = std::fs::read(&path).map_err(|e| cannot("read", &path, e))?;
        Ok(text
            .split(|b| *b == b'\n')
            .filter_map(Self::parse)
            .collect())
    }

    /// Returns the mount that holds `path`, by its identifier: `st_dev` does not lead there on btrfs, where each
    /// subvolume has one of its own.
    ///
    /// # Errors
    /// `path` cannot be opened, or there is no /proc.
    pub fn of_path(root: &Path, path: &Path) -> Result<Self, ObserveError> {
        // O_PATH opens without reading, and waits for no FIFO.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(path)
            .map_err(|e| cannot("open", path, e))?;
        let info = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
        let info = read_trimmed(Path::new(&info))?;
        let id: u64 = find_value(&info, "mnt_id")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| {
                unavailable(format!("no mnt_id of {} in /proc/self/fdinfo", quote(path)))
            })?;
        let mut mounts = Self::all(root)?.into_iter();
        mounts.find(|mount| mount.id == id).ok_or_else(|| {
            unavailable(format!(
                "the mount of {} is not in /proc/self/mountinfo",
                quote(path)
            ))
        })
    }

    /// Parses a line such as `27 1 254:0 / /mnt rw,relatime shared:1 - ext4 /dev/vda rw,discard`.
    fn parse(line: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let [id, _, numbers, root, point, mount_options] = *fields[..dash].first_chunk()?;
        let [file_system, source, super_options] = *fields[dash + 1..].first_chunk()?;
        Some(Self {
            id: std::str::from_utf8(id).ok()?.parse().ok()?,
            device_numbers: std::str::from_utf8(numbers).ok()?.to_owned(),
            fs_root: unescape(root).into(),
            mount_point: unescape(point).into(),
            mount_options: split_options(mount_options),
            file_system: String::from_utf8_lossy(file_system).into_owned(),
            source: unescape(source).into(),
            super_options: split_options(super_options),
        })
    }

    /// Returns the options of the mount and of the super block, each once, without those in `PRIVATE_OPTIONS`.
    #[must_use]
    pub fn public_options(&self) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        for option in self.mount_options.iter().chain(&self.super_options) {
            let option = option.to_string_lossy();
            let key = option.split('=').next().unwrap_or(&option);
            if !PRIVATE_OPTIONS.contains(&key) && !options.iter().any(|other| **other == *option) {
                options.push(option.into_owned());
            }
        }
        options
    }
}

fn split_options(field: &[u8]) -> Vec<OsString> {
    field.split(|b| *b == b',').map(unescape).collect()
}

/// Decodes blank, tab, newline and backslash, which are written as three octal digits.
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
        let mount = Mount::parse(line).unwrap();
        assert_eq!(mount.id, 41);
        assert_eq!(mount.device_numbers, "0:38");
        assert_eq!(mount.fs_root, Path::new("/a"));
        assert_eq!(mount.mount_point, Path::new("/mnt/with blank"));
        assert_eq!(mount.file_system, "cgroup");
        assert_eq!(mount.source, Path::new("no\\ne"));
        assert_eq!(mount.super_options, ["rw", "name=systemd"]);
        for part in [&b""[..], b"1 2 3", b"36 35 98:1 /"] {
            assert_eq!(Mount::parse(part), None);
        }
    }

    #[test]
    fn each_option_is_told_once_and_none_that_names_a_host() {
        for (line, want) in [
            (
                &b"36 35 98:1 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue"[..],
                &["rw", "noatime", "errors=continue"][..],
            ),
            (
                b"40 1 0:50 / /n rw - nfs4 server:/home rw,vers=4.2,clientaddr=192.0.2.1,addr=192.0.2.2",
                &["rw", "vers=4.2"],
            ),
        ] {
            assert_eq!(Mount::parse(line).unwrap().public_options(), want);
        }
    }

    #[test]
    fn a_path_is_on_a_mount_that_this_process_sees() {
        let root = Path::new("/");
        let mount = Mount::of_path(root, Path::new("/proc/self/mountinfo")).unwrap();
        assert_eq!(mount.file_system, "proc");
        let error = Mount::of_path(root, Path::new("/proc/none"))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "cannot open '/proc/none': No such file or directory");
    }
}
