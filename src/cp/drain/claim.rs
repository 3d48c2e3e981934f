//! Whether a source may be drained: alone, in memory, and by nobody else at the same time.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::{FileStat, fstat};
use nix::sys::statfs::{self, fstatfs};

use super::super::at_path::AtPath;
use super::super::error::DrainObstacle;
use super::super::file_status::{is_link, is_regular};
use super::super::resume::{DrainedSource, birth_time};
use crate::sys::file::try_lock;
use crate::sys::file_lease::is_open_elsewhere;
use crate::transfer::capabilities::fs_name;
use crate::transfer::errno_class::retry;

/// The identifier of this boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Checks what the name of a source tells, before it is opened for writing.
///
/// # Errors
/// Why the source cannot be drained.
pub(in crate::cp) fn check_source(source: &AtPath, from: &FileStat) -> Result<(), DrainObstacle> {
    if source.stat(false).is_ok_and(|stat| is_link(&stat)) {
        return Err(DrainObstacle::Link);
    }
    if !is_regular(from) {
        return Err(DrainObstacle::NotRegular);
    }
    Ok(())
}

/// Checks what an open source tells of itself.
///
/// # Errors
/// Why the source cannot be drained.
pub(in crate::cp) fn check_opened(file: &File) -> Result<(), DrainObstacle> {
    let kind = fstatfs(file).map_err(|e| DrainObstacle::NotInMemory(e.desc().into()))?;
    let kind = kind.filesystem_type();
    if ![statfs::TMPFS_MAGIC, statfs::HUGETLBFS_MAGIC].contains(&kind) {
        return Err(DrainObstacle::NotInMemory(fs_name(kind)));
    }
    let stat = fstat(file).map_err(|e| DrainObstacle::NotWritable(e.into()))?;
    #[allow(clippy::useless_conversion)] // st_nlink has 32 bits on some architectures
    let names = u64::from(stat.st_nlink);
    if names != 1 {
        return Err(DrainObstacle::Names(names));
    }
    match is_sealed(file) {
        true => Err(DrainObstacle::Sealed),
        false => Ok(()),
    }
}

/// Claims a source that is open for reading and writing: nobody else has it open, and no other run drains it as long as
/// it is open here. Nothing is changed.
///
/// # Errors
/// Why the source cannot be drained.
pub(in crate::cp) fn claim_source(file: &File) -> Result<(), DrainObstacle> {
    match try_lock(file) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(DrainObstacle::Busy),
        Err(e) => return Err(DrainObstacle::LeaseRefused(e)),
    }
    match retry(|| is_open_elsewhere(file)) {
        Ok(false) => Ok(()),
        Ok(true) => Err(DrainObstacle::OpenElsewhere),
        Err(e) => Err(DrainObstacle::LeaseRefused(e)),
    }
}

/// Returns whether a seal forbids to punch holes. Files without seals have none that does.
fn is_sealed(file: &File) -> bool {
    let against = SealFlag::F_SEAL_WRITE.bits() | libc::F_SEAL_FUTURE_WRITE;
    match fcntl(file, FcntlArg::F_GET_SEALS) {
        Ok(seals) => seals & against != 0,
        Err(Errno::EINVAL | _) => false,
    }
}

/// Returns what identifies a source while it is drained, whose times change. `is_verified` says whether it will be compared.
pub(in crate::cp) fn identity_of(file: &File, is_verified: bool) -> DrainedSource {
    let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    let boot = boot.trim();
    DrainedSource {
        born: birth_time(file),
        boot: if boot.is_empty() { "-" } else { boot }.into(),
        is_verified,
    }
}
