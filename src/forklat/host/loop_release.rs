//! Takes apart what [`loop_stack`](super::loop_stack) has made: unmounts a file system and removes loop devices, if they
//! are still those that were made.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::forklat::error::{ForklatError, cannot};
use crate::observe::mount::Mount;
use crate::report::quote::quote;
use crate::sys::loop_device;

/// The device by which loop devices are made and removed.
pub(super) const CONTROL: &str = "/dev/loop-control";

/// Longest wait for a file system to be unmounted or a loop device to be free (10 s). Both happen when the last user has
/// gone, which takes milliseconds once a process is dead, and longer while its data are written to the real disk.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it is tried to unmount a busy file system before it is detached, to be unmounted by its last user (2 s).
const UMOUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval between two attempts to unmount or to remove.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Returns the path of loop device `number`.
pub(super) fn node(number: i32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// Opens a device for reading and writing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Unmounts the file system of device numbers `device` from `path`, if it is mounted there. If it stays busy, it is
/// detached: it leaves the tree at once, and its last user unmounts it.
pub(super) fn unmount(path: &Path, device: &str) -> Result<(), ForklatError> {
    let started = Instant::now();
    while is_mounted(path, device)? {
        let flags = if started.elapsed() < UMOUNT_TIMEOUT {
            MntFlags::UMOUNT_NOFOLLOW
        } else {
            MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH
        };
        match umount2(path, flags) {
            Ok(()) => {}
            Err(Errno::EBUSY) => std::thread::sleep(RETRY_INTERVAL),
            Err(e) => return Err(cannot("unmount", path, e)),
        }
    }
    Ok(())
}

fn is_mounted(path: &Path, device: &str) -> Result<bool, ForklatError> {
    let mounts = Mount::all(Path::new("/"))?;
    Ok(mounts
        .iter()
        .any(|mount| mount.mount_point == path && mount.device_numbers == device))
}

/// Detaches the file `backing` from loop device `number` and removes the device. A device that is gone, or has another
/// file, is left alone.
pub(super) fn remove_device(number: i32, backing: (u64, u64)) -> Result<(), ForklatError> {
    let control = Path::new(CONTROL);
    let control = open(control).map_err(|e| cannot("open", control, e))?;
    let path = node(number);
    let started = Instant::now();
    loop {
        let Some(file) = open_device(&path)? else {
            return Ok(());
        };
        match loop_device::backing_file(&file).map_err(|e| cannot("examine", &path, e))? {
            Some(found) if found != backing => return Ok(()),
            // The error is ignored: the next round sees whether the file is still attached.
            Some(_) => drop(loop_device::clear(&file)),
            None => {
                // The device is not removed while it is open.
                drop(file);
                match loop_device::remove(&control, number) {
                    Err(e) if e.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
                    Ok(()) => return Ok(()),
                    Err(_) => {}
                }
            }
        }
        if started.elapsed() > RELEASE_TIMEOUT {
            let path = quote(&path);
            return Err(format!("cannot remove {path}: it is in use by another program").into());
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
}

/// Opens a loop device, or returns `None` if there is none of this name.
fn open_device(path: &Path) -> Result<Option<File>, ForklatError> {
    match open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::ENOENT | libc::ENXIO | libc::ENODEV)
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(cannot("open", path, e)),
    }
}
