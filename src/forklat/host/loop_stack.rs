//! A mounted ext4 on two loop devices, one on the other, both with direct I/O: what is held to a rate at the lower one
//! is held below the I/O scheduler of the upper one.
//!
//! The upper device is the disk that a file system and its users see: it has a scheduler (mq-deadline), a bounded queue
//! (nr_requests) and throttled writeback (wbt). Its requests are requests to the lower device, whose file is an image on
//! a real disk. Nobody else uses the lower device, so a limit of it holds nothing else. Each step is in the undo journal
//! before it is made. Both devices are new and are removed, so no setting of their queues stays.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;

use super::control_files::write;
use super::loop_release::{CONTROL, node, open};
use super::undo_entry::UndoEntry;
use super::undo_journal::UndoJournal;
use crate::forklat::error::{ForklatError, cannot, failed};
use crate::observe::disk::Disk;
use crate::observe::kernel_file::{bracketed_choice, read_trimmed};
use crate::report::quote::quote;
use crate::report::units::format_bytes;
use crate::sys::loop_device;
use crate::transfer::capabilities::is_memory;

/// Largest image that is made if no size is asked for (16 GiB): room for five copies of the largest dump of `benches` (3 GiB).
/// Reserving 16 GiB took less than 10 ms on ext4.
const MAX_DEFAULT_SIZE: u64 = 16 << 30;

/// Smallest image (64 MiB). mkfs.ext4 makes no journal in one of less than 8 MiB.
const MIN_SIZE: u64 = 64 << 20;

/// The file system on the limited disk.
pub(super) const FILE_SYSTEM: &str = "ext4";

/// The I/O scheduler of the upper device: the kernel's default for disks with one hardware queue (block/elevator.c). A
/// loop device has none by default.
const SCHEDULER: &str = "mq-deadline";

/// Directories in which mkfs is looked for beside PATH, which does not name them for every user.
const SYSTEM_PROGRAMS: &str = "/usr/sbin:/sbin";

/// The mounted file system and its devices.
#[derive(Debug)]
pub(super) struct LoopStack {
    /// The directory on which the file system is mounted.
    pub(super) dir: PathBuf,
    /// The lower device: a limit of it holds the upper one below its scheduler.
    pub(super) lower: Disk,
    /// The name of the upper device, such as `loop9`.
    pub(super) upper: String,
}

impl LoopStack {
    /// Makes an image of `size` bytes in a scratch directory in `on`, the two devices and the file system, and mounts
    /// it.
    ///
    /// # Errors
    /// No privileges, no room, no direct I/O in `on`, no mkfs.ext4, or no loop devices. What was made is in the journal.
    pub(super) fn make(
        on: &Path,
        size: Option<u64>,
        journal: &mut UndoJournal,
    ) -> Result<Self, ForklatError> {
        let size = image_size(on, size)?;
        let scratch = journal.scratch(on)?;
        let image = make_image(&scratch, size)?;
        let control = Path::new(CONTROL);
        let control = open(control).map_err(|e| needs_root(cannot("open", control, e)))?;
        let lower = LoopDevice::make(&control, &image, journal)?;
        let upper = LoopDevice::make(&control, &lower.file, journal)?;
        // What the lower device takes goes to the image at once.
        lower.set_scheduler("none")?;
        upper.set_scheduler(SCHEDULER)?;
        for device in [&lower, &upper] {
            device.check_direct(on)?;
        }
        make_file_system(&upper.path())?;
        let dir = scratch.join("disk");
        std::fs::create_dir(&dir).map_err(|e| cannot("make directory", &dir, e))?;
        upper.mount(&dir, journal)?;
        Ok(Self {
            dir,
            lower: Disk {
                device_numbers: lower.numbers()?,
                name: lower.name(),
                partition: None,
                file_system: FILE_SYSTEM.to_owned(),
            },
            upper: upper.name(),
        })
    }

    /// Returns the scheduler of the upper device and the length of its queue in requests.
    pub(super) fn queue(&self) -> Result<(String, String), ForklatError> {
        let queue = Path::new("/sys/block").join(&self.upper).join("queue");
        let scheduler = read_trimmed(&queue.join("scheduler"))?;
        let chosen = bracketed_choice(&scheduler).unwrap_or(scheduler);
        Ok((chosen, read_trimmed(&queue.join("nr_requests"))?))
    }
}

/// A loop device that this program has made, open as long as its file must stay attached.
struct LoopDevice {
    number: i32,
    file: File,
}

impl LoopDevice {
    /// Makes a loop device of a number that no device has, and attaches `backing`.
    fn make(
        control: &File,
        backing: &File,
        journal: &mut UndoJournal,
    ) -> Result<Self, ForklatError> {
        let meta = backing
            .metadata()
            .map_err(|e| failed("stat the file of a loop device", e))?;
        for number in 0.. {
            if sysfs(number).exists() {
                continue;
            }
            let entry = UndoEntry::LoopDevice {
                number,
                backing: (meta.dev(), meta.ino()),
            };
            journal.add(entry.clone())?;
            match loop_device::add(control, number) {
                Ok(()) => {}
                // Another program has just made one of this number.
                Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {
                    journal.remove(&entry)?;
                    continue;
                }
                Err(e) => return Err(failed(format!("make loop device {number}"), e)),
            }
            let path = node(number);
            let file = open(&path).map_err(|e| cannot("open", &path, e))?;
            match loop_device::attach(&file, backing) {
                Ok(()) => return Ok(Self { number, file }),
                // Another program looked for a free one, and took it.
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) => journal.remove(&entry)?,
                Err(e) => return Err(cannot("attach a file to", &path, e)),
            }
        }
        unreachable!("some number is free")
    }

    fn name(&self) -> String {
        format!("loop{}", self.number)
    }

    fn path(&self) -> PathBuf {
        node(self.number)
    }

    fn numbers(&self) -> Result<String, ForklatError> {
        Ok(read_trimmed(&sysfs(self.number).join("dev"))?)
    }

    fn set_scheduler(&self, name: &str) -> Result<(), ForklatError> {
        write(&sysfs(self.number).join("queue/scheduler"), name)
    }

    /// Checks that the device reads and writes its file past the page cache. Otherwise everything would be in memory
    /// twice, and the kernel would write it when it likes.
    fn check_direct(&self, on: &Path) -> Result<(), ForklatError> {
        if read_trimmed(&sysfs(self.number).join("loop/dio"))? == "1" {
            return Ok(());
        }
        Err(format!(
            "the file system of {} takes no direct I/O from loop devices",
            quote(on)
        )
        .into())
    }

    fn mount(&self, dir: &Path, journal: &mut UndoJournal) -> Result<(), ForklatError> {
        journal.add(UndoEntry::Mount {
            path: dir.into(),
            device: self.numbers()?,
        })?;
        // The inode tables are zeros already, so nothing needs to initialize them during the measurement.
        let options = Some("noinit_itable");
        mount(
            Some(&self.path()),
            dir,
            Some(FILE_SYSTEM),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            options,
        )
        .map_err(|e| cannot(format!("mount {} on", self.name()), dir, e))
    }
}

fn sysfs(number: i32) -> PathBuf {
    PathBuf::from(format!("/sys/block/loop{number}"))
}

fn needs_root(error: ForklatError) -> ForklatError {
    error.explained("this needs root, and the host's loop devices")
}

/// Returns the size of the image: that asked for, or what the free space of `on` allows.
fn image_size(on: &Path, asked: Option<u64>) -> Result<u64, ForklatError> {
    let kind = statfs(on).map_err(|e| cannot("statfs", on, e))?;
    if is_memory(kind.filesystem_type()) {
        return Err(format!(
            "{} lies in memory, of which an image would take as much as its size",
            quote(on)
        )
        .into());
    }
    let space = statvfs(on).map_err(|e| cannot("statvfs", on, e))?;
    let free = space.blocks_available() * space.fragment_size();
    let size = asked.unwrap_or_else(|| MAX_DEFAULT_SIZE.min(free / 2));
    if size < MIN_SIZE {
        return Err(format!(
            "a limited disk of {} is too small: at least {} are needed",
            format_bytes(size),
            format_bytes(MIN_SIZE)
        )
        .into());
    }
    if size > free {
        return Err(format!(
            "no room for a disk of {} in {}: only {} are free",
            format_bytes(size),
            quote(on),
            format_bytes(free)
        )
        .into());
    }
    Ok(size)
}

/// Makes the image and reserves its space. It loses its name at once: its space is free again when the last loop device
/// that uses it is gone, however this program ends.
fn make_image(scratch: &Path, size: u64) -> Result<File, ForklatError> {
    let path = scratch.join("image");
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| cannot("make", &path, e))?;
    std::fs::remove_file(&path).map_err(|e| cannot("remove", &path, e))?;
    let length = i64::try_from(size).map_err(|e| format!("the size of the disk: {e}"))?;
    fallocate(&image, FallocateFlags::empty(), 0, length)
        .map_err(|e| cannot(format!("reserve {} for", format_bytes(size)), &path, e))?;
    Ok(image)
}

/// Makes the file system. The image has no written blocks, so there is nothing to discard or to zero.
fn make_file_system(device: &Path) -> Result<(), ForklatError> {
    let program = format!("mkfs.{FILE_SYSTEM}");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(&program)
        .env("PATH", format!("{path}:{SYSTEM_PROGRAMS}"))
        .env("LC_ALL", "C")
        .args(["-q", "-E"])
        .arg("nodiscard,lazy_itable_init=1,lazy_journal_init=1")
        .arg(device)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| ForklatError::cannot_run(program.as_ref(), e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or_default().to_owned();
    Err(format!("{program} failed on {}: {last}", quote(device)).into())
}
