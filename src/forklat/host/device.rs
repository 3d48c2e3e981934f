//! The whole block device below a path: what the block controller can hold to a rate.

use std::fmt;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::mounts::{self, Mount};
use crate::observe::root::{below, read};
use crate::report::quote::{cannot, quote};

/// An overlay may lie on an overlay; more layers than the kernel stacks (FILESYSTEM_MAX_STACK_DEPTH, 2) are a loop.
const DEEPEST: u32 = 3;

/// A block device that is no partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its numbers, `254:0`, as the block controller wants them.
    pub numbers: String,
    /// The kernel's name for it: `vda`, `nvme0n1`, `dm-0`.
    pub name: String,
    /// Type of the file system on it; of an overlay, the one below.
    pub file_system: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.numbers)
    }
}

/// What the kernel says of the place where a path lies.
struct Place {
    numbers: (u64, u64),
    mount: u64,
}

impl Device {
    /// The device below the file system of `path`, with /sys and /proc/self/mountinfo taken from `root`.
    ///
    /// # Errors
    /// A path that cannot be looked at; a file system on no block device (tmpfs, FUSE, NFS), or on several.
    pub fn below(root: &Path, path: &Path) -> Result<Self, String> {
        Self::find(root, path, 0)
    }

    fn find(root: &Path, path: &Path, depth: u32) -> Result<Self, String> {
        let place = place(path)?;
        Self::at(root, path, &place, depth)
    }

    fn at(root: &Path, path: &Path, place: &Place, depth: u32) -> Result<Self, String> {
        let nothing = |why: &str| format!("no block device below {}: {why}", quote(path));
        let mounts = mounts::all(root)?;
        let Some(mount) = mounts.iter().find(|mount| mount.id == place.mount) else {
            return Err(nothing("its mount is not in /proc/self/mountinfo"));
        };
        let (major, minor) = place.numbers;
        let known = below(root, format!("/sys/dev/block/{major}:{minor}"));
        if known.exists() {
            return whole(&known, mount);
        }
        // btrfs, overlay and all file systems without a device have a number that is nobody's.
        if mount.kind == "overlay" {
            let Some(upper) = upper(mount).filter(|_| depth < DEEPEST) else {
                return Err(nothing("an overlay without an upper directory"));
            };
            return Self::find(root, &upper, depth + 1)
                .map_err(|e| nothing(&format!("an overlay, and {e}")));
        }
        let name = std::fs::canonicalize(below(root, &mount.source));
        let name = name.as_deref().unwrap_or(&mount.source).file_name();
        let known = name.map(|name| below(root, "/sys/class/block").join(name));
        match known.filter(|known| mount.source.is_absolute() && known.join("dev").exists()) {
            Some(known) => {
                several(root, &known).map_err(|why| nothing(&why))?;
                whole(&known, mount)
            }
            None => Err(nothing(&format!("its file system is {}", mount.kind))),
        }
    }
}

fn place(path: &Path) -> Result<Place, String> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)
        .map_err(|e| cannot("open", path, &e))?;
    let dev = file.metadata().map_err(|e| cannot("stat", path, &e))?.dev();
    let info = read(Path::new(&format!(
        "/proc/self/fdinfo/{}",
        file.as_raw_fd()
    )))?;
    let mount = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        .ok_or_else(|| format!("no mnt_id of {} in /proc/self/fdinfo", quote(path)))?;
    Ok(Place {
        numbers: (major(dev), minor(dev)),
        mount,
    })
}

fn upper(mount: &Mount) -> Option<PathBuf> {
    let value = mount
        .options
        .iter()
        .find_map(|option| option.as_bytes().strip_prefix(b"upperdir="))?;
    Some(std::ffi::OsString::from_vec(value.to_vec()).into())
}

/// The device of a directory below /sys, or the disk that it is a partition of: the controller refuses partitions.
fn whole(known: &Path, mount: &Mount) -> Result<Device, String> {
    let mut dir = std::fs::canonicalize(known).map_err(|e| cannot("resolve", known, &e))?;
    if dir.join("partition").exists() {
        dir.pop();
    }
    let name = dir.file_name().unwrap_or_default();
    Ok(Device {
        numbers: read(&dir.join("dev"))?,
        name: name.to_string_lossy().into_owned(),
        file_system: mount.kind.clone(),
    })
}

/// A limit on one device of several would say nothing of the file system.
fn several(root: &Path, known: &Path) -> Result<(), String> {
    let name = known.file_name().unwrap_or_default();
    let Ok(systems) = std::fs::read_dir(below(root, "/sys/fs/btrfs")) else {
        return Ok(());
    };
    for system in systems.flatten() {
        let devices = system.path().join("devices");
        let count = std::fs::read_dir(&devices).map_or(0, Iterator::count);
        if count > 1 && devices.join(name).symlink_metadata().is_ok() {
            return Err(format!("btrfs on {count} devices"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with a disk of one partition, a device mapper, and the given mounts.
    fn root(mountinfo: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for (path, dev) in [
            ("sys/devices/virtio1/block/vda", "254:0\n"),
            ("sys/devices/virtio1/block/vda/vda1", "254:1\n"),
            ("sys/devices/virtual/block/dm-0", "252:0\n"),
        ] {
            std::fs::create_dir_all(at(path)).unwrap();
            std::fs::write(at(path).join("dev"), dev).unwrap();
        }
        std::fs::write(at("sys/devices/virtio1/block/vda/vda1/partition"), "1\n").unwrap();
        for (place, names) in [
            ("sys/dev/block", ["254:0", "254:1", "252:0"]),
            ("sys/class/block", ["vda", "vda1", "dm-0"]),
        ] {
            std::fs::create_dir_all(at(place)).unwrap();
            let targets = [
                "virtio1/block/vda",
                "virtio1/block/vda/vda1",
                "virtual/block/dm-0",
            ];
            for (name, target) in names.iter().zip(targets) {
                let target = Path::new("../../devices").join(target);
                std::os::unix::fs::symlink(target, at(place).join(name)).unwrap();
            }
        }
        std::fs::create_dir_all(at("proc/self")).unwrap();
        std::fs::write(at("proc/self/mountinfo"), mountinfo).unwrap();
        dir
    }

    fn find(root: &Path, numbers: (u64, u64), mount: u64) -> Result<String, String> {
        let place = Place { numbers, mount };
        Device::at(root, Path::new("/x"), &place, 0).map(|device| device.to_string())
    }

    #[test]
    fn a_partition_is_its_disk_and_a_mapped_device_is_itself() {
        let root = root("1 0 254:1 / / rw - ext4 /dev/root rw\n");
        for (numbers, want) in [
            ((254, 1), "vda (254:0)"),
            ((254, 0), "vda (254:0)"),
            ((252, 0), "dm-0 (252:0)"),
        ] {
            assert_eq!(find(root.path(), numbers, 1).as_deref(), Ok(want));
        }
    }

    #[test]
    fn btrfs_is_found_by_its_mount_unless_it_lies_on_several() {
        let root = root("7 1 0:40 / /b rw - btrfs /dev/vda1 rw,subvolid=5\n");
        assert_eq!(find(root.path(), (0, 41), 7).as_deref(), Ok("vda (254:0)"));
        let devices = root.path().join("sys/fs/btrfs/some-uuid/devices");
        std::fs::create_dir_all(&devices).unwrap();
        for name in ["vda1", "dm-0"] {
            std::fs::write(devices.join(name), "").unwrap();
        }
        let error = find(root.path(), (0, 41), 7).unwrap_err();
        assert_eq!(error, "no block device below '/x': btrfs on 2 devices");
    }

    #[test]
    fn without_a_device_the_file_system_is_named() {
        let root =
            root("7 1 0:40 / /t rw - tmpfs tmpfs rw\n8 1 0:41 / /n rw - nfs4 host:/vda1 rw\n");
        for (mount, kind) in [(7, "tmpfs"), (8, "nfs4")] {
            let want = format!("no block device below '/x': its file system is {kind}");
            assert_eq!(find(root.path(), (0, 40), mount), Err(want));
        }
    }

    #[test]
    fn the_upper_directory_of_an_overlay_decides() {
        let upper = tempfile::tempdir().unwrap();
        let below = place(upper.path()).unwrap();
        let (major, minor) = below.numbers;
        let root = root(&format!(
            "7 1 0:40 / / rw - overlay overlay rw,upperdir={}\n{} 1 {major}:{minor} / / rw - ext4 /dev/root rw\n",
            upper.path().display(),
            below.mount
        ));
        let disk = root.path().join("sys/devices/upper");
        std::fs::create_dir_all(&disk).unwrap();
        std::fs::write(disk.join("dev"), "9:9\n").unwrap();
        let link = root.path().join(format!("sys/dev/block/{major}:{minor}"));
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&disk, link).unwrap();
        assert_eq!(find(root.path(), (0, 40), 7).as_deref(), Ok("upper (9:9)"));
    }
}
