//! Space before data: ENOSPC and EFBIG are better known before the first byte than in the middle.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statfs::{self, fstatfs};
use nix::unistd::ftruncate;

use super::extents::Extents;
use super::fault::retry;
use super::plan::{Plan, Sparse};
use super::sink::file_size_limit;
use crate::sys::words::reason;

/// Files with less data than this are written in one or two calls, which tell of ENOSPC themselves.
const LEAST: u64 = 4 << 20;

/// A source in more pieces than this is reserved in part: each piece is a call, and a journal entry.
const MOST_EXTENTS: u64 = 1024;

/// Empties an existing destination, once nothing speaks against the copy that can be known before, and reserves the
/// blocks of the source's data, or says why not. What it learns of the extents is used again: a dense source is walked
/// once.
///
/// # Errors
/// EFBIG beyond the file size limit, and ENOSPC where the data certainly cannot fit: the destination is as it was then.
/// ENOSPC and EDQUOT of the reservation: it is empty.
pub(super) fn make_room(
    plan: &Plan,
    extents: &mut Extents<'_>,
    dest: &File,
) -> io::Result<Option<String>> {
    if !plan.dest.regular {
        return Ok(Some("not a regular file".into()));
    }
    if plan.source.size > file_size_limit() {
        return Err(Errno::EFBIG.into());
    }
    if plan.options.sparse != Sparse::Always {
        let data = match plan.options.sparse {
            Sparse::Never => plan.source.size,
            Sparse::Auto | Sparse::Always => plan.source.data,
        };
        can_fit(dest, data, plan.dest.allocated)?;
    }
    if plan.dest.size > 0 {
        retry(|| ftruncate(dest, 0))?;
    }
    reserve(plan, extents, dest)
}

fn reserve(plan: &Plan, extents: &mut Extents<'_>, dest: &File) -> io::Result<Option<String>> {
    if let Err(why) = plan.dest.reserve {
        return Ok(Some(why.into()));
    }
    if plan.source.data < LEAST || plan.options.sparse == Sparse::Always {
        return Ok(Some("little data, or zeros that may become holes".into()));
    }
    match reserve_extents(plan, extents, dest) {
        Ok(why) => Ok(why),
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG)
            ) =>
        {
            // ext4 keeps what it could get.
            let _ = ftruncate(dest, 0);
            Err(e)
        }
        Err(e) => Ok(Some(format!("fallocate: {}", reason(&e)))),
    }
}

/// `FALLOC_FL_KEEP_SIZE`: the size of the destination then tells how far the copy is, and a failure leaves no file of
/// full length.
fn reserve_extents(
    plan: &Plan,
    extents: &mut Extents<'_>,
    dest: &File,
) -> io::Result<Option<String>> {
    let allocate = |start: u64, end: u64| {
        let (offset, len) = (start.cast_signed(), (end - start).cast_signed());
        retry(|| fallocate(dest, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, len))
    };
    if plan.options.sparse == Sparse::Never {
        return allocate(0, plan.source.size).map(|()| None);
    }
    let mut pos = 0;
    loop {
        match extents.next_whole(pos) {
            Ok(Some(data)) => {
                allocate(data.start, data.end)?;
                pos = data.end;
            }
            Ok(None) => return Ok(None),
            // The copy itself asks again, and tells.
            Err(e) => return Ok(Some(format!("the source's extents: {}", reason(&e)))),
        }
        if extents.found() >= MOST_EXTENTS {
            return Ok(Some(format!("only for the first {MOST_EXTENTS} extents")));
        }
    }
}

/// How often, and how far apart, a file system without room is asked again: xfs gives back the blocks of removed files in
/// the background (it was seen to say "full" for some milliseconds after a removal), and asking sets that to work.
const ASK: u32 = 10;
const APART: Duration = Duration::from_millis(20);

/// Whether `data` bytes can fit into the file system that `dest` lies on, where `freed` bytes of it will be given back
/// first. Only a certain "no" is an answer: file systems that compress, share or grow are not asked.
///
/// # Errors
/// ENOSPC, when it is certain.
pub(super) fn can_fit(dest: &File, data: u64, freed: u64) -> io::Result<()> {
    for _ in 0..ASK {
        if !is_full_for(dest, data, freed) {
            return Ok(());
        }
        std::thread::sleep(APART);
    }
    Err(Errno::ENOSPC.into())
}

fn is_full_for(dest: &File, data: u64, freed: u64) -> bool {
    let Ok(stat) = fstatfs(dest) else {
        return false;
    };
    let counts = matches!(
        stat.filesystem_type(),
        statfs::EXT4_SUPER_MAGIC | statfs::XFS_SUPER_MAGIC | statfs::TMPFS_MAGIC
    );
    // f_bfree counts root's reserve, which we may be allowed to use; f_blocks is 0 on a tmpfs without a limit.
    let block = stat.block_size().unsigned_abs();
    let free = stat.blocks_free().saturating_mul(block);
    counts && stat.blocks() > 0 && data > free.saturating_add(freed)
}
