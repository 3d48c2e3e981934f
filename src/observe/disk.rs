//! Finds the whole block device below a path, and reads its properties from sysfs.

use std::fmt;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::kernel_file::{bracketed_choice, path_below, read_optional, read_trimmed};
use super::mount::Mount;
use crate::observe::error::{ObserveError, cannot, unavailable};
use crate::report::quote::quote;
use crate::sys::idle_priority::ignores_io_classes;

/// An overlay may lie on another overlay. More layers than the kernel stacks (FILESYSTEM_MAX_STACK_DEPTH, 2) would be a
/// loop.
const MAX_OVERLAY_DEPTH: u32 = 3;

/// Limit of mapped devices on one another. Encryption on volumes on a RAID of disks is three; the kernel allows more,
/// but no loop.
const MAX_MAPPED_DEPTH: u32 = 8;

/// A block device that is not a partition: it has a request queue, and the cgroup I/O controller can limit its rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its device numbers as the cgroup I/O controller expects them, such as `254:0`.
    pub device_numbers: String,
    /// The kernel's name for it: `vda`, `nvme0n1`, `dm-0`.
    pub name: String,
    /// The partition that holds the file system, if it is one.
    pub partition: Option<String>,
    /// Type of the file system on it. For an overlay, it is the type of the file system below.
    pub file_system: String,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.device_numbers)
    }
}

impl Disk {
    /// Returns the disk below the file system of `path`, with /sys and /proc/self/mountinfo taken from `root`.
    ///
    /// # Errors
    /// `path` cannot be opened, or its file system lies on no block device (tmpfs, FUSE, NFS) or on several.
    pub fn of_path(root: &Path, path: &Path) -> Result<Self, ObserveError> {
        Self::find_at_depth(root, path, 0)
    }

    /// Returns the disk below a mount.
    ///
    /// # Errors
    /// The reason why there is none, as for [`of_path`](Self::of_path).
    pub fn of_mount(root: &Path, mount: &Mount) -> Result<Self, ObserveError> {
        Self::of_mount_at_depth(root, mount, 0)
    }

    fn find_at_depth(root: &Path, path: &Path, depth: u32) -> Result<Self, ObserveError> {
        let mount = Mount::of_path(root, path)?;
        Self::of_mount_at_depth(root, &mount, depth)
            .map_err(|why| why.context(format!("no block device below {}", quote(path))))
    }

    fn of_mount_at_depth(root: &Path, mount: &Mount, depth: u32) -> Result<Self, ObserveError> {
        let known = path_below(root, "/sys/dev/block").join(&mount.device_numbers);
        if known.exists() {
            return Self::from_sysfs(&known, mount);
        }
        // btrfs, overlay and all file systems without a device have a device number that no device has.
        if mount.file_system == "overlay" {
            let Some(upper) = overlay_upper_dir(mount).filter(|_| depth < MAX_OVERLAY_DEPTH) else {
                return Err(unavailable("it is an overlay without an upper directory"));
            };
            return Self::find_at_depth(root, &upper, depth + 1)
                .map_err(|e| unavailable(format!("it is an overlay, and {e}")));
        }
        let name = fs::canonicalize(path_below(root, &mount.source));
        let name = name.as_deref().unwrap_or(&mount.source).file_name();
        let known = name.map(|name| path_below(root, "/sys/class/block").join(name));
        match known.filter(|known| mount.source.is_absolute() && known.join("dev").exists()) {
            Some(known) => {
                reject_multi_device(root, &known)?;
                Self::from_sysfs(&known, mount)
            }
            None => {
                let kind = &mount.file_system;
                Err(unavailable(format!("its file system is {kind}")))
            }
        }
    }

    /// Returns the device of a directory below /sys, or the disk of which it is a partition, since the controller
    /// refuses partitions.
    fn from_sysfs(known: &Path, mount: &Mount) -> Result<Self, ObserveError> {
        let mut dir = fs::canonicalize(known).map_err(|e| cannot("resolve", known, e))?;
        let mut partition = None;
        if dir.join("partition").exists() {
            partition = file_name_of(&dir);
            dir.pop();
        }
        Ok(Self {
            device_numbers: read_trimmed(&dir.join("dev"))?,
            name: file_name_of(&dir).unwrap_or_default(),
            partition,
            file_system: mount.file_system.clone(),
        })
    }
}

fn file_name_of(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

fn overlay_upper_dir(mount: &Mount) -> Option<PathBuf> {
    let value = mount
        .super_options
        .iter()
        .find_map(|option| option.as_bytes().strip_prefix(b"upperdir="))?;
    Some(std::ffi::OsString::from_vec(value.to_vec()).into())
}

/// Fails if the device is one of several below the file system: its limit or its name would not describe the file
/// system.
fn reject_multi_device(root: &Path, known: &Path) -> Result<(), ObserveError> {
    let name = known.file_name().unwrap_or_default();
    let Ok(systems) = fs::read_dir(path_below(root, "/sys/fs/btrfs")) else {
        return Ok(());
    };
    for system in systems.flatten() {
        let devices = system.path().join("devices");
        let count = fs::read_dir(&devices).map_or(0, Iterator::count);
        if count > 1 && devices.join(name).symlink_metadata().is_ok() {
            return Err(unavailable(format!("btrfs on {count} devices")));
        }
    }
    Ok(())
}

/// The properties of a disk in sysfs. A property that sysfs does not have is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskInfo {
    /// The kernel's name for the disk.
    pub name: String,
    /// The partition that holds the file system, if it is one.
    pub partition: Option<String>,
    /// The model name that its manufacturer gave it.
    pub model: Option<String>,
    /// The name of its kernel driver.
    pub driver: Option<String>,
    /// The name of its I/O scheduler.
    pub scheduler: Option<String>,
    /// Whether it claims to have rotating media. Virtual disks often do.
    pub rotational: Option<bool>,
    /// `write back` or `write through`, which tells whether it has a cache that fsync(2) must flush.
    pub write_cache: Option<String>,
    /// Number of requests that may be queued.
    pub queue_requests: Option<u64>,
    /// Largest size of a request, in KiB.
    pub max_sectors_kb: Option<u64>,
    /// Largest size of a request that the hardware takes, in KiB.
    pub max_hw_sectors_kb: Option<u64>,
    /// Latency in microseconds that writeback throttling aims at; 0 if it is off, `None` if the kernel has none.
    pub wbt_lat_usec: Option<u64>,
    /// Whether pages must not change while they are written, so that direct writes may be copied first.
    pub stable_writes: Option<bool>,
    /// Size of a logical block (sector) in bytes.
    pub logical_block: Option<u64>,
    /// Size of a physical block in bytes, which the disk writes at once.
    pub physical_block: Option<u64>,
}

impl DiskInfo {
    /// Reads the properties of `disk` below `root`.
    #[must_use]
    pub fn read(root: &Path, disk: &Disk) -> Self {
        let dir = path_below(root, "/sys/dev/block").join(&disk.device_numbers);
        let text = |name: &str| read_optional(&dir, name);
        let number = |name: &str| text(name)?.parse().ok();
        let driver = fs::canonicalize(dir.join("device/driver")).ok();
        Self {
            name: disk.name.clone(),
            partition: disk.partition.clone(),
            model: text("device/model"),
            driver: driver.and_then(|driver| file_name_of(&driver)),
            scheduler: read_scheduler(&dir),
            rotational: text("queue/rotational").map(|text| text == "1"),
            write_cache: text("queue/write_cache"),
            queue_requests: number("queue/nr_requests"),
            max_sectors_kb: number("queue/max_sectors_kb"),
            max_hw_sectors_kb: number("queue/max_hw_sectors_kb"),
            wbt_lat_usec: number("queue/wbt_lat_usec"),
            stable_writes: text("queue/stable_writes").map(|text| text == "1"),
            logical_block: number("queue/logical_block_size"),
            physical_block: number("queue/physical_block_size"),
        }
    }

    /// Formats the properties in one line.
    #[must_use]
    pub fn summary_line(&self) -> String {
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
        let queue = self.queue_requests.zip(self.max_sectors_kb);
        parts.extend(queue.map(|(requests, kib)| format!("queue {requests} x {kib} KiB")));
        parts.extend(self.wbt_lat_usec.map(|target| match target {
            0 => "wbt off".to_owned(),
            target => format!("wbt {target} us"),
        }));
        parts.join(", ")
    }
}

/// Returns why an I/O class has no effect on writes to the file system of `path`: the scheduler of its disk, or those
/// of the disks below a mapped one, ignore it. Returns `None` if one of them respects it, and if [`Disk::of_path`]
/// finds no disk.
///
/// Data that goes through the page cache is written by kernel threads, and has no class at all (ioprio_set(2), NOTES).
#[must_use]
pub fn why_io_classes_ignored(root: &Path, path: &Path) -> Option<String> {
    let disk = Disk::of_path(root, path).ok()?;
    let release = read_optional(root, "proc/sys/kernel/osrelease").unwrap_or_default();
    let known = path_below(root, "/sys/dev/block").join(&disk.device_numbers);
    let mut ignoring = Vec::new();
    for dir in backing_disks(&fs::canonicalize(known).ok()?, 0) {
        let scheduler = read_scheduler(&dir)?;
        if !ignores_io_classes(&scheduler, &release) {
            return None;
        }
        ignoring.push(format!("{} ({scheduler})", file_name_of(&dir)?));
    }
    match &ignoring[..] {
        [] => None,
        [one] => Some(format!("the scheduler of {one} ignores I/O classes")),
        all => Some(format!(
            "the schedulers of {} ignore I/O classes",
            all.join(" and ")
        )),
    }
}

/// Returns why the kernel may copy direct writes to the file system of `path` once more, although it accepts O_DIRECT; `None` where
/// nothing says so, or [`Disk::of_path`] knows of no disk to ask.
///
/// A device that computes checksums of what it writes needs pages that do not change meanwhile
/// (Documentation/ABI/stable/sysfs-block, `queue/stable_writes`), and so does btrfs for its own checksums.
#[must_use]
pub fn why_direct_writes_bounce(root: &Path, path: &Path) -> Option<String> {
    let disk = Disk::of_path(root, path).ok()?;
    let dir = path_below(root, "/sys/dev/block").join(&disk.device_numbers);
    if read_optional(&dir, "queue/stable_writes").is_some_and(|text| text == "1") {
        let name = disk.name;
        return Some(format!(
            "{name} needs stable pages (queue/stable_writes is 1)"
        ));
    }
    (disk.file_system == "btrfs").then(|| "btrfs computes checksums".to_owned())
}

/// Returns the disks that a device lies on. A mapped device has no scheduler of its own, whatever sysfs shows, and
/// passes the class on.
pub(super) fn backing_disks(dir: &Path, depth: u32) -> Vec<PathBuf> {
    let slaves = fs::read_dir(dir.join("slaves")).into_iter().flatten();
    let mut slaves: Vec<PathBuf> = slaves
        .filter_map(|slave| fs::canonicalize(slave.ok()?.path()).ok())
        .collect();
    if slaves.is_empty() || depth == MAX_MAPPED_DEPTH {
        return vec![dir.to_owned()];
    }
    for slave in &mut slaves {
        if slave.join("partition").exists() {
            slave.pop();
        }
    }
    slaves.sort_unstable();
    let mut all: Vec<PathBuf> = slaves
        .iter()
        .flat_map(|slave| backing_disks(slave, depth + 1))
        .collect();
    all.dedup();
    all
}

fn read_scheduler(dir: &Path) -> Option<String> {
    // If there is only one scheduler, it has no brackets.
    read_optional(dir, "queue/scheduler").map(|text| bracketed_choice(&text).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Makes a root with a disk of one partition and a device mapper.
    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for (path, dev) in [
            ("sys/devices/virtio1/block/vda", "254:0\n"),
            ("sys/devices/virtio1/block/vda/vda1", "254:1\n"),
            ("sys/devices/virtual/block/dm-0", "252:0\n"),
        ] {
            fs::create_dir_all(at(path)).unwrap();
            fs::write(at(path).join("dev"), dev).unwrap();
        }
        fs::write(at("sys/devices/virtio1/block/vda/vda1/partition"), "1\n").unwrap();
        for (place, names) in [
            ("sys/dev/block", ["254:0", "254:1", "252:0"]),
            ("sys/class/block", ["vda", "vda1", "dm-0"]),
        ] {
            fs::create_dir_all(at(place)).unwrap();
            let targets = [
                "virtio1/block/vda",
                "virtio1/block/vda/vda1",
                "virtual/block/dm-0",
            ];
            for (name, target) in names.iter().zip(targets) {
                let target = Path::new("../../devices").join(target);
                symlink(target, at(place).join(name)).unwrap();
            }
        }
        fs::create_dir_all(at("proc/self")).unwrap();
        dir
    }

    /// Finds the disk below a directory whose line of mountinfo ends in `mounted`.
    fn find(root: &Path, place: &Path, mounted: &str) -> Result<Disk, ObserveError> {
        let id = Mount::of_path(Path::new("/"), place)?.id;
        let line = format!("{id} 1 {mounted}\n");
        fs::write(root.join("proc/self/mountinfo"), line).unwrap();
        Disk::of_path(root, place)
    }

    #[test]
    fn a_partition_is_its_disk_and_a_mapped_device_is_itself() {
        let (root, place) = (root(), tempfile::tempdir().unwrap());
        for (numbers, want) in [
            ("254:1", "vda (254:0)"),
            ("254:0", "vda (254:0)"),
            ("252:0", "dm-0 (252:0)"),
        ] {
            let mounted = format!("{numbers} / / rw - ext4 /dev/root rw");
            let disk = find(root.path(), place.path(), &mounted).unwrap();
            assert_eq!(disk.to_string(), want);
        }
    }

    #[test]
    fn btrfs_is_found_by_its_mount_unless_it_lies_on_several() {
        let (root, place) = (root(), tempfile::tempdir().unwrap());
        let btrfs = "0:40 / /b rw - btrfs /dev/vda1 rw,subvolid=5";
        let disk = find(root.path(), place.path(), btrfs).unwrap();
        assert_eq!(disk.to_string(), "vda (254:0)");
        let devices = root.path().join("sys/fs/btrfs/some-uuid/devices");
        fs::create_dir_all(&devices).unwrap();
        for name in ["vda1", "dm-0"] {
            fs::write(devices.join(name), "").unwrap();
        }
        let error = find(root.path(), place.path(), btrfs)
            .unwrap_err()
            .to_string();
        let name = quote(place.path());
        assert_eq!(
            error,
            format!("no block device below {name}: btrfs on 2 devices")
        );
    }

    #[test]
    fn without_a_device_the_file_system_is_named() {
        let (root, place) = (root(), tempfile::tempdir().unwrap());
        for (kind, source) in [("tmpfs", "tmpfs"), ("nfs4", "host:/vda1")] {
            let mounted = format!("0:40 / / rw - {kind} {source} rw");
            let error = find(root.path(), place.path(), &mounted)
                .unwrap_err()
                .to_string();
            let name = quote(place.path());
            let want = format!("no block device below {name}: its file system is {kind}");
            assert_eq!(error, want);
        }
    }

    #[test]
    fn the_upper_directory_of_an_overlay_decides() {
        let (root, upper) = (root(), tempfile::tempdir().unwrap());
        let mounted = "252:0 / / rw - ext4 /dev/root rw";
        find(root.path(), upper.path(), mounted).unwrap();
        let overlay = Mount {
            device_numbers: "0:40".into(),
            file_system: "overlay".into(),
            super_options: vec![format!("upperdir={}", upper.path().display()).into()],
            ..Mount::of_path(root.path(), upper.path()).unwrap()
        };
        let disk = Disk::of_mount(root.path(), &overlay).unwrap();
        assert_eq!(disk.to_string(), "dm-0 (252:0)");
        assert_eq!(disk.file_system, "ext4");
    }

    #[test]
    fn a_partition_leads_to_the_facts_of_its_disk() {
        let (root, place) = (root(), tempfile::tempdir().unwrap());
        let disk = root.path().join("sys/devices/virtio1/block/vda");
        fs::create_dir_all(disk.join("queue")).unwrap();
        fs::create_dir_all(disk.join("device")).unwrap();
        for (name, text) in [
            ("queue/scheduler", "none [mq-deadline] kyber\n"),
            ("queue/rotational", "0\n"),
            ("queue/nr_requests", "256\n"),
            ("queue/write_cache", "write back\n"),
            ("device/model", "Samsung SSD 990 \n"),
        ] {
            fs::write(disk.join(name), text).unwrap();
        }
        let mounted = "254:1 / / rw - ext4 /dev/vda1 rw";
        let disk = find(root.path(), place.path(), mounted).unwrap();
        let facts = DiskInfo::read(root.path(), &disk);
        assert_eq!(
            (&*facts.name, facts.partition.as_deref()),
            ("vda", Some("vda1"))
        );
        assert_eq!(facts.queue_requests, Some(256));
        assert_eq!((facts.rotational, facts.logical_block), (Some(false), None));
        assert_eq!(
            facts.summary_line(),
            "vda1, Samsung SSD 990, scheduler mq-deadline, cache write back"
        );
    }

    #[test]
    fn what_a_device_is_mapped_to_decides_whether_classes_count() {
        let (root, place) = (root(), tempfile::tempdir().unwrap());
        let at = |path: &str| root.path().join("sys/devices").join(path);
        let say = |disk: &str, text: &str| {
            fs::create_dir_all(at(disk).join("queue")).unwrap();
            fs::write(at(disk).join("queue/scheduler"), text).unwrap();
        };
        let why = || why_io_classes_ignored(root.path(), place.path());
        find(root.path(), place.path(), "252:0 / / rw - ext4 /dev/x rw").unwrap();
        assert_eq!(why(), None, "a device without a queue");
        let (disk, mapped) = ("virtio1/block/vda", "virtual/block/dm-0");
        say(mapped, "none\n");
        let ignores = |disk| {
            Some(format!(
                "the scheduler of {disk} (none) ignores I/O classes"
            ))
        };
        assert_eq!(why(), ignores("dm-0"));
        say(disk, "[none] mq-deadline bfq\n");
        let slaves = at(mapped).join("slaves");
        fs::create_dir_all(&slaves).unwrap();
        symlink(at(disk).join("vda1"), slaves.join("vda1")).unwrap();
        assert_eq!(why(), ignores("vda"));
        say(disk, "none mq-deadline [bfq]\n");
        assert_eq!(why(), None);
        let tmpfs = find(root.path(), place.path(), "0:40 / / rw - tmpfs tmpfs rw");
        assert!(tmpfs.is_err());
        assert_eq!(why(), None);
    }

    #[test]
    fn stable_writes_of_the_disk_and_btrfs_make_direct_writes_bounce() {
        let (root, place) = (root(), tempfile::tempdir().unwrap());
        let queue = root.path().join("sys/devices/virtio1/block/vda/queue");
        fs::create_dir_all(&queue).unwrap();
        for (kind, stable_writes, want) in [
            ("xfs", "0\n", None),
            (
                "xfs",
                "1\n",
                Some("vda needs stable pages (queue/stable_writes is 1)"),
            ),
            ("btrfs", "0\n", Some("btrfs computes checksums")),
        ] {
            fs::write(queue.join("stable_writes"), stable_writes).unwrap();
            let mounted = format!("254:1 / / rw - {kind} /dev/vda1 rw");
            find(root.path(), place.path(), &mounted).unwrap();
            let found = why_direct_writes_bounce(root.path(), place.path());
            assert_eq!(found.as_deref(), want, "{kind} {stable_writes}");
        }
    }
}
