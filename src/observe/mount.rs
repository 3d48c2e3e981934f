//! What a path is mounted from, and the disk under it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::facts::chosen;
use super::root::{below, said};

/// Mount options that name a host, a person or a place rather than a behaviour.
const PRIVATE: [&str; 9] = [
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

/// A line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Type of the file system.
    pub file_system: String,
    /// Options of the mount and of the super block, each once.
    pub options: Vec<String>,
    /// Device number of the super block, as sysfs writes it: `254:0`; `0:n` for a file system without a device of its own.
    pub number: String,
    /// What was mounted.
    pub source: String,
}

impl Mount {
    /// The mount that `path` lies on, by its number: `st_dev` does not lead there on btrfs, where each subvolume has one of
    /// its own.
    #[must_use]
    pub fn of(root: &Path, path: &Path) -> Option<Self> {
        // O_PATH opens without reading, and waits for no FIFO.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(path)
            .ok()?;
        let info = format!("proc/self/fdinfo/{}", file.as_raw_fd());
        let info = fs::read_to_string(below(root, &info)).ok()?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
        let mounts = fs::read_to_string(below(root, "proc/self/mountinfo")).ok()?;
        mounts
            .lines()
            .find(|line| line.split(' ').next() == Some(id.trim()))
            .and_then(Self::parse)
    }

    /// `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue` (proc_pid_mountinfo(5)).
    fn parse(line: &str) -> Option<Self> {
        let (mount, super_block) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(2);
        let number = mount.next()?.to_owned();
        let of_mount = mount.nth(2)?;
        let mut super_block = super_block.split(' ');
        let file_system = super_block.next()?.to_owned();
        let source = super_block.next()?.to_owned();
        let mut options: Vec<String> = Vec::new();
        for option in of_mount.split(',').chain(super_block.next()?.split(',')) {
            let key = option.split('=').next().unwrap_or(option);
            if !PRIVATE.contains(&key) && !options.iter().any(|other| other == option) {
                options.push(option.to_owned());
            }
        }
        Some(Self {
            file_system,
            options,
            number,
            source,
        })
    }

    /// The number of the block device; btrfs has one only through the name of what was mounted.
    fn block_device(&self) -> Option<String> {
        if !self.number.starts_with("0:") {
            return Some(self.number.clone());
        }
        let path = Path::new(&self.source);
        let meta = path.is_absolute().then(|| fs::metadata(path).ok())??;
        let number = meta.rdev();
        let is_block = meta.file_type().is_block_device();
        is_block.then(|| format!("{}:{}", libc::major(number), libc::minor(number)))
    }
}

/// A whole disk, as /sys/block describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Device {
    /// The kernel's name of it.
    pub name: String,
    /// The partition of it that is meant, where it is one.
    pub partition: Option<String>,
    /// Its maker's name for it.
    pub model: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// The I/O scheduler.
    pub scheduler: Option<String>,
    /// Whether it says that it turns. Virtual disks often do.
    pub rotational: Option<bool>,
    /// `write back` or `write through`: whether it has a cache that fsync(2) must flush.
    pub write_cache: Option<String>,
    /// Requests that may be queued.
    pub queue_requests: Option<u64>,
    /// Size of a request at most, in KiB.
    pub max_sectors_kb: Option<u64>,
    /// Bytes of a sector.
    pub logical_block: Option<u64>,
    /// Bytes that it writes in one go.
    pub physical_block: Option<u64>,
}

impl Device {
    /// The disk under a mount; `None` where there is none.
    #[must_use]
    pub fn of(root: &Path, mount: &Mount) -> Option<Self> {
        let number = mount.block_device()?;
        let found = fs::canonicalize(below(root, format!("sys/dev/block/{number}"))).ok()?;
        let is_part = found.join("partition").exists();
        let disk = if is_part { found.parent()? } else { &found };
        let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        let text = |name: &str| said(disk, name);
        let number = |name: &str| text(name)?.parse().ok();
        let driver = fs::canonicalize(disk.join("device/driver")).ok();
        Some(Self {
            name: name(disk)?,
            partition: if is_part { name(&found) } else { None },
            model: text("device/model"),
            driver: driver.and_then(|driver| name(&driver)),
            // A disk with only one has no brackets.
            scheduler: text("queue/scheduler").map(|text| chosen(&text).unwrap_or(text)),
            rotational: text("queue/rotational").map(|text| text == "1"),
            write_cache: text("queue/write_cache"),
            queue_requests: number("queue/nr_requests"),
            max_sectors_kb: number("queue/max_sectors_kb"),
            logical_block: number("queue/logical_block_size"),
            physical_block: number("queue/physical_block_size"),
        })
    }

    /// In short.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = vec![self.partition.as_ref().unwrap_or(&self.name).clone()];
        parts.extend(self.model.clone());
        parts.extend(self.driver.clone());
        parts.extend(
            self.scheduler
                .as_ref()
                .map(|name| format!("scheduler {name}")),
        );
        parts.extend(
            self.write_cache
                .as_ref()
                .map(|cache| format!("cache {cache}")),
        );
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mount(line: &str) -> Mount {
        Mount::parse(line).unwrap()
    }

    #[test]
    fn a_line_of_mountinfo_is_read() {
        let found = mount(
            "36 35 98:1 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue",
        );
        let want = Mount {
            file_system: "ext3".into(),
            options: ["rw", "noatime", "errors=continue"]
                .map(String::from)
                .into(),
            number: "98:1".into(),
            source: "/dev/root".into(),
        };
        assert_eq!(found, want);
        assert_eq!(Mount::parse("36 35 98:1 /"), None);
    }

    #[test]
    fn what_names_a_host_is_left_out() {
        let nfs = mount(
            "40 1 0:50 / /n rw - nfs4 server:/home rw,vers=4.2,clientaddr=192.0.2.1,addr=192.0.2.2",
        );
        assert_eq!(nfs.options, ["rw", "vers=4.2"]);
        assert_eq!(nfs.block_device(), None);
        assert_eq!(Device::of(Path::new("/"), &nfs), None);
    }

    #[test]
    fn a_partition_leads_to_its_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("sys/devices/pci/block/sda");
        fs::create_dir_all(disk.join("sda1")).unwrap();
        fs::create_dir_all(disk.join("queue")).unwrap();
        fs::create_dir_all(disk.join("device")).unwrap();
        fs::create_dir_all(dir.path().join("sys/dev/block")).unwrap();
        for (name, text) in [
            ("sda1/partition", "1\n"),
            ("queue/scheduler", "none [mq-deadline] kyber\n"),
            ("queue/rotational", "0\n"),
            ("queue/nr_requests", "256\n"),
            ("queue/write_cache", "write back\n"),
            ("device/model", "Samsung SSD 990 \n"),
        ] {
            fs::write(disk.join(name), text).unwrap();
        }
        symlink(
            "../../devices/pci/block/sda/sda1",
            dir.path().join("sys/dev/block/8:1"),
        )
        .unwrap();
        let ext4 = mount("36 35 8:1 / / rw - ext4 /dev/sda1 rw");
        let device = Device::of(dir.path(), &ext4).unwrap();
        assert_eq!(
            (&*device.name, device.partition.as_deref()),
            ("sda", Some("sda1"))
        );
        assert_eq!(device.queue_requests, Some(256));
        assert_eq!(
            (device.rotational, device.logical_block),
            (Some(false), None)
        );
        assert_eq!(
            device.line(),
            "sda1, Samsung SSD 990, scheduler mq-deadline, cache write back"
        );
    }
}
