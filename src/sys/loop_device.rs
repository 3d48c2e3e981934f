//! Loop devices: files that the kernel presents as block devices (loop(4)). The ioctl numbers and structures are those
//! of `linux/loop.h`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// The ioctls of /dev/loop-control and of a loop device.
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
const LOOP_GET_STATUS64: libc::c_ulong = 0x4C05;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_CTL_ADD: libc::c_ulong = 0x4C80;
const LOOP_CTL_REMOVE: libc::c_ulong = 0x4C81;

/// The kernel detaches the file when the last user of the device is gone (`LO_FLAGS_AUTOCLEAR`).
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// The device reads and writes its file past the page cache (`LO_FLAGS_DIRECT_IO`).
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64`, the state of a loop device.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl LoopInfo {
    const fn zeroed() -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: 0,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// `struct loop_config`, the argument of LOOP_CONFIGURE (Linux 5.8).
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// Makes the loop device `number`. `control` is /dev/loop-control.
///
/// # Errors
/// EEXIST if there is a device of this number.
pub fn add(control: &File, number: i32) -> io::Result<()> {
    call_by_value(control, LOOP_CTL_ADD, number)
}

/// Removes the loop device `number`, with the settings of its queue. `control` is /dev/loop-control.
///
/// # Errors
/// EBUSY if it has a file or is open, ENODEV if there is no device of this number.
pub fn remove(control: &File, number: i32) -> io::Result<()> {
    call_by_value(control, LOOP_CTL_REMOVE, number)
}

/// Detaches the file of a loop device: at once if nobody else has the device open, otherwise when the last user is gone.
///
/// # Errors
/// ENXIO if the device has no file.
pub fn clear(device: &File) -> io::Result<()> {
    call_by_value(device, LOOP_CLR_FD, 0)
}

/// Attaches a file to a loop device, which reads and writes it with direct I/O if the file can do that. The kernel
/// detaches it when the last user of the device is gone.
///
/// # Errors
/// EBUSY if the device has a file already, EINVAL before Linux 5.8.
pub fn attach(device: &File, file: &File) -> io::Result<()> {
    let mut config = LoopConfig {
        fd: file.as_raw_fd().cast_unsigned(),
        block_size: 0,
        info: LoopInfo::zeroed(),
        reserved: [0; 8],
    };
    config.info.flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    // SAFETY: the kernel reads one `struct loop_config` from the pointer, and `config` has its layout.
    let rc = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) };
    check(rc)
}

/// Returns the device and inode number of the file of a loop device, or `None` if it has no file.
///
/// # Errors
/// ENOTTY if it is no loop device.
pub fn backing_file(device: &File) -> io::Result<Option<(u64, u64)>> {
    let mut info = LoopInfo::zeroed();
    // SAFETY: the kernel writes one `struct loop_info64` to the pointer, and `info` has its layout. All bytes are valid
    // for its fields, which are integers.
    let rc = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64 as _, &raw mut info) };
    match check(rc) {
        Ok(()) => Ok(Some((info.device, info.inode))),
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(e) => Err(e),
    }
}

fn call_by_value(file: &File, request: libc::c_ulong, value: i32) -> io::Result<()> {
    // SAFETY: the third argument of these requests is an integer or is not read.
    let rc = unsafe { libc::ioctl(file.as_raw_fd(), request as _, value) };
    check(rc)
}

fn check(rc: libc::c_int) -> io::Result<()> {
    Ok(Errno::result(rc).map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of `linux/loop.h`; the kernel would read or write past a smaller structure.
    #[test]
    fn the_structures_have_the_sizes_of_the_kernel() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }

    #[test]
    fn a_file_that_is_no_loop_device_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let errno = |result: io::Result<()>| result.unwrap_err().raw_os_error();
        assert_eq!(errno(backing_file(&file).map(drop)), Some(libc::ENOTTY));
        assert_eq!(errno(clear(&file)), Some(libc::ENOTTY));
        assert_eq!(errno(attach(&file, &file)), Some(libc::ENOTTY));
    }
}
