//! The engine `reflink`: the destination shares all blocks of the source, until one of the two is written to.

use std::io;

use nix::sys::statfs::EXT4_SUPER_MAGIC;
use nix::unistd::ftruncate;

use super::{Endpoints, Engine, EngineSpec};
use crate::sys::file::clone_file;
use crate::transfer::capabilities::{DestCaps, SourceInfo, SourceKind, fs_name};
use crate::transfer::dest_writer::WriteMode;
use crate::transfer::errno_class::{Endpoint, EngineError, retry};

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "reflink",
    description: "shares the blocks of the source and copies nothing",
    applies_to: "source and destination on the same file system, if it can share blocks (btrfs, xfs)",
    write_mode: WriteMode::Shared,
    chunk: usize::MAX,
    fits,
    make: |_, _, _| Ok(Box::new(ReflinkEngine)),
};

fn fits(source: &SourceInfo, dest: &DestCaps) -> Result<(), String> {
    if source.kind != SourceKind::Disk {
        return Err("source is not a file on a disk".into());
    }
    if !dest.regular {
        return Err("destination is not a regular file".into());
    }
    if source.fs != dest.fs {
        return Err(format!(
            "no blocks can be shared between {} and {}",
            fs_name(source.fs),
            fs_name(dest.fs)
        ));
    }
    // Whether others can share blocks depends on how they were made and mounted, so the kernel is asked.
    if dest.fs == EXT4_SUPER_MAGIC {
        return Err("ext4 cannot share blocks".into());
    }
    Ok(())
}

struct ReflinkEngine;

impl Engine for ReflinkEngine {
    fn transfer(
        &mut self,
        _: u64,
        len: usize,
        endpoints: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        share(endpoints)
            .map(|()| len)
            .map_err(|e| EngineError::new(Endpoint::Dest, e))
    }
}

/// Shares the blocks. The destination keeps what it has beyond the size of the source.
fn share(endpoints: &Endpoints<'_>) -> io::Result<()> {
    let (dest, size) = (endpoints.dest.file, endpoints.source_info.size);
    match retry(|| clone_file(endpoints.source, dest)) {
        // A last block that is not full can be shared only where the destination ends as well. It is cut then, and not
        // before: most refusals come first.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) && dest.metadata()?.len() > size => {
            retry(|| ftruncate(dest, size.cast_signed()))?;
            retry(|| clone_file(endpoints.source, dest))
        }
        other => other,
    }
}
