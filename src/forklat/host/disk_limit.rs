//! Holds a block device to a rate by the block controller, that is, `io.max` of cgroup v2 or `blkio.throttle` of v1.
//!
//! The controller holds requests above the I/O scheduler of the device, in a queue without a bound. With
//! `--disk-limit-above` this is the disk itself; with `--disk-limit` it is the lower device of a
//! [`LoopStack`](super::loop_stack), and so it is below the scheduler of the device that is measured.
//!
//! Both hold reads and writes, each to the rate. v2 charges the writeback of dirty pages to the group that dirtied
//! them, if the memory controller is present as well and the file system supports it. v1 leaves writeback to kernel
//! threads in the top group, so with v1 the limit is set for the top group as well as for the group of this process: it
//! then holds the whole host.

use std::path::{Path, PathBuf};

use super::cgroup::{self, Hierarchy};
use super::control_files::{check_writable, try_write, write};
use super::undo_entry::UndoEntry;
use super::undo_journal::UndoJournal;
use crate::forklat::error::{ForklatError, cannot};
use crate::observe::disk::Disk;
use crate::observe::kernel_file::read_trimmed;
use crate::report::units;

/// Smallest rate of a limit (1 MiB/s). Requests are not divided: at this rate the largest (a few MiB) passes within
/// seconds; at a lower rate a task would be in an uninterruptible sleep for minutes.
const MIN_DISK_RATE: u64 = 1 << 20;

/// The files of the v1 controller.
const V1: [&str; 2] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
];

/// The controllers that v2 needs: `io` limits, and `memory` records whose dirty pages are written.
const CONTROLLERS: [&str; 2] = ["io", "memory"];

/// File systems whose writeback v2 charges to the process that wrote (Documentation/admin-guide/cgroup-v2.rst,
/// "Writeback").
const CGROUP_WRITEBACK_FILE_SYSTEMS: [&str; 5] = ["ext2", "ext4", "btrfs", "f2fs", "xfs"];

/// A line in one file of the controller, for the limit on and off.
#[derive(Debug)]
struct LimitLine {
    file: PathBuf,
    on: String,
    off: String,
}

/// A disk limit that can be enabled and disabled.
#[derive(Debug)]
pub(super) struct DiskLimit {
    device: Disk,
    switches: Vec<LimitLine>,
    /// The version of the control groups, 1 or 2.
    version: u32,
}

impl DiskLimit {
    /// Prepares a limit of `rate` bytes a second in each direction for the device below `on`. The limit is not enabled
    /// yet. With v2, this process and all its descendants are moved into a control group of their own.
    ///
    /// # Errors
    /// No device below `on`, a rate that is too low, no block controller, or no permission. The error names what is
    /// needed.
    pub(super) fn new(
        root: &Path,
        on: &Path,
        rate: u64,
        record: &mut UndoJournal,
    ) -> Result<Self, ForklatError> {
        check_rate(rate)?;
        let device = Disk::of_path(root, on)?;
        Self::of(root, device, rate, record)
    }

    /// Prepares the same for a device that is known, at a rate that [`check_rate`] accepts.
    ///
    /// # Errors
    /// No block controller, or no permission. The error names what is needed.
    pub(super) fn of(
        root: &Path,
        device: Disk,
        rate: u64,
        record: &mut UndoJournal,
    ) -> Result<Self, ForklatError> {
        let prepared = match (v2(root)?, cgroup::hierarchy(root, Some("blkio"))?) {
            (Some(h), _) => Self::with_v2(root, h, &device, rate, record),
            (None, Some(h)) => Self::with_v1(&h, &device, rate, record),
            (None, None) => Err(
                "neither cgroup v2 with the io and memory controllers nor v1 with blkio is mounted"
                    .into(),
            ),
        };
        prepared.map_err(|e| e.context(format!("cannot limit {device}")))
    }

    fn with_v1(
        h: &Hierarchy,
        device: &Disk,
        rate: u64,
        record: &mut UndoJournal,
    ) -> Result<Self, ForklatError> {
        let mut limit = Self::empty(device, 1);
        let mut groups = vec![&h.top, &h.own];
        groups.dedup();
        for file in groups
            .iter()
            .flat_map(|group| V1.map(|name| group.join(name)))
        {
            check_writable(&file).map_err(needs_root)?;
            let old = value(&read_trimmed(&file)?, &device.device_numbers)?;
            limit.switches.push(LimitLine {
                on: format!("{} {rate}", device.device_numbers),
                off: format!("{} {old}", device.device_numbers),
                file: file.clone(),
            });
            record.add(UndoEntry::Throttle {
                file,
                device: device.device_numbers.clone(),
                old,
            })?;
        }
        Ok(limit)
    }

    fn with_v2(
        root: &Path,
        h: Hierarchy,
        device: &Disk,
        rate: u64,
        record: &mut UndoJournal,
    ) -> Result<Self, ForklatError> {
        let control = h.top.join("cgroup.subtree_control");
        check_writable(&control).map_err(needs_root)?;
        let already = read_trimmed(&control)?;
        let missing = CONTROLLERS.iter().filter(|name| !has(&already, name));
        let path = h.top.join(format!("forklat-{}", std::process::id()));
        let entry = UndoEntry::Cgroup {
            path: path.clone(),
            home: h.own,
            top: h.top,
            enabled: missing.map(|name| (*name).to_owned()).collect(),
            id: None,
        };
        if path.symlink_metadata().is_ok() {
            let path = path.display();
            return Err(format!(
                "control group {path} exists already, and this run did not make it"
            )
            .into());
        }
        record.add(entry.clone())?;
        let mut known = entry;
        if let Err(e) = enter_v2(root, &control, &path, record, &mut known) {
            return Err(e.after_undoing(record.undo(&known)));
        }
        let mut limit = Self::empty(device, 2);
        limit.switches.push(LimitLine {
            file: path.join("io.max"),
            on: format!("{} rbps={rate} wbps={rate}", device.device_numbers),
            off: format!("{} rbps=max wbps=max", device.device_numbers),
        });
        Ok(limit)
    }

    fn empty(device: &Disk, version: u32) -> Self {
        Self {
            device: device.clone(),
            switches: Vec::new(),
            version,
        }
    }

    /// Returns the device that is limited.
    pub(super) fn device(&self) -> &Disk {
        &self.device
    }

    /// Returns a note, for the reader of the figures, on what the limit does not hold here.
    #[must_use]
    pub(super) fn note(&self) -> Option<String> {
        if self.version == 1 && self.switches.len() > V1.len() {
            return Some("this process is in a control group of its own (cgroup v1): writeback by the kernel is held to the rate apart from it".to_owned());
        }
        let kind = &self.device.file_system;
        (self.version == 2 && !CGROUP_WRITEBACK_FILE_SYSTEMS.contains(&kind.as_str())).then(|| {
            format!("writeback on {kind} is not charged to the process that wrote: the limit applies only to reads and direct writes")
        })
    }

    /// Enables the limit, and checks that the kernel has accepted it.
    ///
    /// # Errors
    /// A file that cannot be written. The limit is disabled then.
    pub(super) fn enable(&self) -> Result<(), ForklatError> {
        self.switch_on().inspect_err(|_| {
            let _ = self.disable();
        })
    }

    /// Moves a kernel thread that writes for the file system into the control group of v2, which would not hold it
    /// otherwise. v1 holds it as a member of the top group.
    ///
    /// # Errors
    /// A process that cannot be moved.
    pub(super) fn hold_kernel_thread(&self, root: &Path, name: &str) -> Result<(), ForklatError> {
        let group = self
            .switches
            .first()
            .and_then(|switch| switch.file.parent());
        match group {
            Some(group) if self.version == 2 => cgroup::move_named_process(root, group, name),
            _ => Ok(()),
        }
    }

    fn switch_on(&self) -> Result<(), ForklatError> {
        for switch in &self.switches {
            write(&switch.file, &switch.on)?;
            let now = read_trimmed(&switch.file)?;
            if !now.lines().any(|line| line.starts_with(&switch.on)) {
                let wrote = format!("wrote '{}' to {}", switch.on, switch.file.display());
                return Err(format!("{wrote}, but it now contains '{now}'").into());
            }
        }
        Ok(())
    }

    /// Disables the limit and restores the previous limit of the device.
    ///
    /// # Errors
    /// The first file that cannot be written. The other files are still written.
    pub(super) fn disable(&self) -> Result<(), ForklatError> {
        let write_off = |switch: &LimitLine| write(&switch.file, &switch.off);
        let written = self.switches.iter().map(write_off);
        // The results are collected first, so that all files are written even if one fails.
        let written: Vec<_> = written.collect();
        written.into_iter().collect()
    }
}

/// Checks that a rate in bytes a second is not so low that it would stall the host.
///
/// # Errors
/// A rate below `MIN_DISK_RATE`.
pub(super) fn check_rate(rate: u64) -> Result<(), ForklatError> {
    if rate >= MIN_DISK_RATE {
        return Ok(());
    }
    Err(format!(
        "a disk limit of {} is too low: at least {} are needed",
        units::format_rate(rate as f64),
        units::format_rate(MIN_DISK_RATE as f64)
    )
    .into())
}

/// Returns the v2 hierarchy if it has the controllers that are needed. On a host that has v1 as well, a controller
/// belongs to one of the two.
fn v2(root: &Path) -> Result<Option<Hierarchy>, ForklatError> {
    let Some(h) = cgroup::hierarchy(root, None)? else {
        return Ok(None);
    };
    let available = read_trimmed(&h.top.join("cgroup.controllers"))?;
    Ok(CONTROLLERS
        .iter()
        .all(|name| has(&available, name))
        .then_some(h))
}

fn has(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|word| word == name)
}

/// Makes the control group and moves this process into it. `known` is the group's entry in the undo journal, as far as
/// it is known.
fn enter_v2(
    root: &Path,
    control: &Path,
    path: &Path,
    record: &mut UndoJournal,
    known: &mut UndoEntry,
) -> Result<(), ForklatError> {
    let all = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
    try_write(control, &all).map_err(|e| {
        let busy = e.raw_os_error() == Some(libc::EBUSY);
        let error = cannot(format!("write '{all}' to"), control, e);
        if busy {
            // Only the top group of the host may have both processes of its own and groups below it with controllers.
            error.explained(
                "this needs the host's control groups: those of a container cannot be divided",
            )
        } else {
            error
        }
    })?;
    std::fs::create_dir(path).map_err(|e| cannot("make control group", path, e))?;
    *known = record.note_created_group(known)?;
    cgroup::move_own_processes(root, path)
}

fn needs_root(error: ForklatError) -> ForklatError {
    error.explained("this needs root, and control groups that are not mounted read-only")
}

/// Returns the rate of a device from a v1 file, which has a line such as `254:0 1048576` for each device, or 0 if the
/// device has none.
fn value(text: &str, device: &str) -> Result<u64, ForklatError> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(device)?.strip_prefix(' '));
    match line {
        None => Ok(0),
        Some(rate) => rate
            .trim()
            .parse()
            .map_err(|_| format!("cannot understand the limit '{rate}' of {device}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 100_000_000;

    struct World {
        dir: tempfile::TempDir,
        record: UndoJournal,
    }

    impl World {
        fn new(mountinfo: &str, cgroup: &str, files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let pid = std::process::id();
            let stat = format!("proc/{pid}/stat");
            let fixed = [
                ("proc/self/mountinfo", mountinfo),
                ("proc/self/cgroup", cgroup),
                ("proc/sys/kernel/random/boot_id", "b"),
                (&stat, "1 (x) S 1"),
            ];
            for (name, text) in fixed.iter().chain(files) {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            let record = UndoJournal::open_in(dir.path(), dir.path()).unwrap();
            Self { dir, record }
        }
        fn limit(&mut self, kind: &str) -> Result<DiskLimit, ForklatError> {
            let device = Disk {
                device_numbers: "254:0".into(),
                name: "vda".into(),
                partition: None,
                file_system: kind.into(),
            };
            DiskLimit::of(self.dir.path(), device, RATE, &mut self.record)
        }
        fn text(&self, name: &str) -> String {
            std::fs::read_to_string(self.dir.path().join(name)).unwrap()
        }
    }

    const V1_MOUNT: &str = "38 31 0:35 / /cg rw - cgroup cgroup rw,blkio\n";
    const V2_MOUNT: &str = "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn v1_sets_our_group_and_the_top_and_puts_back_what_was_there() {
        let files = [
            ("cg/blkio.throttle.read_bps_device", ""),
            (
                "cg/blkio.throttle.write_bps_device",
                "8:0 7\n254:0 5000000\n",
            ),
            ("cg/a/blkio.throttle.read_bps_device", "254:1 3\n"),
            ("cg/a/blkio.throttle.write_bps_device", ""),
        ];
        let mut world = World::new(V1_MOUNT, "3:blkio:/a\n", &files);
        let limit = world.limit("ext4").unwrap();
        assert_eq!(world.text(files[0].0), "");
        for _ in 0..2 {
            limit.enable().unwrap();
            for (file, _) in files {
                assert_eq!(world.text(file), format!("254:0 {RATE}"));
            }
            limit.disable().unwrap();
            assert_eq!(world.text(files[0].0), "254:0 0");
            assert_eq!(world.text(files[1].0), "254:0 5000000");
        }
        limit.enable().unwrap();
        // A later start of forklat would do the same.
        assert!(world.record.undo_all().is_empty());
        assert_eq!(world.text(files[1].0), "254:0 5000000");
        assert_eq!(world.text(files[3].0), "254:0 0");
        assert_eq!(limit.disable(), Ok(()));
        assert_eq!(world.record.undo_all(), Vec::<String>::new());
    }

    #[test]
    fn v2_moves_us_into_a_group_and_home_again() {
        let files = [
            ("cg/cgroup.controllers", "cpu io memory\n"),
            ("cg/cgroup.subtree_control", "cpu memory\n"),
            ("cg/cgroup.procs", ""),
            ("cg/home/cgroup.procs", ""),
        ];
        let mut world = World::new(V2_MOUNT, "0::/home\n", &files);
        let group = format!("cg/forklat-{}", std::process::id());
        // The kernel would make these files.
        let dir = world.dir.path().join(&group);
        let hidden = world.dir.path().join("hidden");
        std::fs::create_dir(&hidden).unwrap();
        assert!(
            world
                .limit("ext4")
                .unwrap_err()
                .to_string()
                .contains("cgroup.procs")
        );
        assert!(!dir.exists());
        assert_eq!(world.text("cg/cgroup.subtree_control"), "-io");
    }

    #[test]
    fn v2_writes_both_directions_into_one_line() {
        let world = World::new("", "", &[("io.max", "")]);
        let limit = DiskLimit {
            switches: vec![LimitLine {
                file: world.dir.path().join("io.max"),
                on: "254:0 rbps=1 wbps=1".into(),
                off: "254:0 rbps=max wbps=max".into(),
            }],
            ..DiskLimit::empty(
                &Disk {
                    device_numbers: "254:0".into(),
                    name: "vda".into(),
                    partition: None,
                    file_system: "vfat".into(),
                },
                2,
            )
        };
        limit.enable().unwrap();
        assert_eq!(world.text("io.max"), "254:0 rbps=1 wbps=1");
        limit.disable().unwrap();
        assert_eq!(world.text("io.max"), "254:0 rbps=max wbps=max");
        assert!(limit.note().unwrap().contains("vfat"));
    }

    #[test]
    fn without_a_controller_it_says_what_is_needed() {
        for mounts in ["", V2_MOUNT] {
            let files = [("cg/cgroup.controllers", "cpu io\n")];
            let error = World::new(mounts, "0::/\n", &files)
                .limit("ext4")
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("cannot limit vda (254:0): neither cgroup v2"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = World::new(V1_MOUNT, "3:blkio:/\n", &[])
            .limit("ext4")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("read_bps_device") && error.contains("needs root"),
            "{error}"
        );
    }

    #[test]
    fn a_rate_that_would_stall_the_host_is_refused() {
        let mut world = World::new("", "", &[]);
        let error = DiskLimit::new(Path::new("/"), Path::new("/"), 1000, &mut world.record);
        assert!(error.unwrap_err().to_string().contains("too low"));
    }
}
