//! Space before data: ENOSPC and EFBIG are better known before the first byte than in the middle.

use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::{self, fstatfs};
use nix::unistd::ftruncate;

use super::cpu_budget::CpuRest;
use super::error::Error;
use super::extents::{Extents, Stretch};
use super::facts::DestFacts;
use super::fault::{Side, retry};
use super::plan::{Plan, Sparse};
use super::sink::file_size_limit;
use super::steps::{self, Cut, Stopped};
use crate::sys::words::reason;

/// Files with less data than this are written in one or two calls, which tell of ENOSPC themselves.
const LEAST: u64 = 4 << 20;

/// A source in more pieces than this is reserved in part: each piece is a call, and a journal entry.
const MOST_EXTENTS: u64 = 1024;

/// What is called between two steps: it fails once the copy shall stop.
pub(super) type Heard<'a> = dyn FnMut() -> Result<(), Error> + 'a;

/// Empties an existing destination, once nothing speaks against the copy that can be known before, and reserves the
/// blocks of the source's data, or says why not. What it learns of the extents is used again: a dense source is asked
/// about once.
///
/// # Errors
/// EFBIG beyond the file size limit, and ENOSPC where the data certainly cannot fit: the destination is as it was then.
/// ENOSPC and EDQUOT of the reservation: it is empty. What `heard` says: it is empty, or its old content is cut in part.
pub(super) fn make_room(
    plan: &Plan,
    extents: &mut Extents<'_>,
    dest: &File,
    heard: &mut Heard<'_>,
) -> Result<Option<String>, Error> {
    let write = |e| Error::Io(Side::Dest, e);
    if !plan.dest.regular {
        return Ok(Some("not a regular file".into()));
    }
    if plan.source.size > file_size_limit() {
        return Err(write(Errno::EFBIG.into()));
    }
    if plan.options.sparse != Sparse::Always {
        let data = match plan.options.sparse {
            Sparse::Never => plan.source.size,
            Sparse::Auto | Sparse::Always => plan.source.data,
        };
        can_fit(dest, data, plan.dest.allocated, heard)?;
    }
    empty(dest, &plan.dest, heard)?;
    let mut rest = CpuRest::begin();
    reserve(plan, extents, dest, &mut || {
        rest.take_if_due();
        heard()
    })
}

/// Cuts an existing destination to nothing.
///
/// # Errors
/// ftruncate's, and what `heard` says.
pub(super) fn empty(dest: &File, facts: &DestFacts, heard: &mut Heard<'_>) -> Result<(), Error> {
    if facts.size == 0 {
        return Ok(());
    }
    let all = Cut {
        size: facts.size,
        allocated: facts.allocated,
        to: 0,
    };
    steps::cut(dest, all, heard).map_err(|stopped| match stopped {
        Stopped::Failed(e) => Error::Truncate(e),
        Stopped::Asked(error) => error,
    })
}

fn reserve(
    plan: &Plan,
    extents: &mut Extents<'_>,
    dest: &File,
    heard: &mut Heard<'_>,
) -> Result<Option<String>, Error> {
    if let Err(why) = plan.dest.reserve {
        return Ok(Some(why.into()));
    }
    if plan.source.data < LEAST || plan.options.sparse == Sparse::Always {
        return Ok(Some("little data, or zeros that may become holes".into()));
    }
    let error = match reserve_extents(plan, extents, dest, heard) {
        Ok(why) => return Ok(why),
        Err(Stopped::Asked(error)) => error,
        Err(Stopped::Failed(e))
            if matches!(
                e.raw_os_error(),
                Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG)
            ) =>
        {
            Error::Io(Side::Dest, e)
        }
        Err(Stopped::Failed(e)) => return Ok(Some(format!("fallocate: {}", reason(&e)))),
    };
    // What was reserved so far goes; ext4 keeps what it could get.
    let _ = retry(|| ftruncate(dest, 0));
    Err(error)
}

fn reserve_extents(
    plan: &Plan,
    extents: &mut Extents<'_>,
    dest: &File,
    heard: &mut Heard<'_>,
) -> Result<Option<String>, Stopped> {
    if plan.options.sparse == Sparse::Never {
        return steps::reserve(dest, 0, plan.source.size, heard).map(|()| None);
    }
    let (mut pos, mut run) = (0, 0..0);
    loop {
        heard().map_err(Stopped::Asked)?;
        let stretch = match extents.next(pos) {
            Ok(stretch) => stretch,
            // The copy itself asks again, and tells.
            Err(e) => return Ok(Some(format!("the source's extents: {}", reason(&e)))),
        };
        match &stretch {
            Some(Stretch::Data(data))
                if data.start == run.end && run.end - run.start < steps::RESERVE =>
            {
                run.end = data.end;
            }
            Some(Stretch::Data(data)) => {
                steps::reserve(dest, run.start, run.end, heard)?;
                run = data.clone();
            }
            Some(Stretch::Hole(_)) => {}
            None => return steps::reserve(dest, run.start, run.end, heard).map(|()| None),
        }
        pos = match stretch {
            Some(Stretch::Data(data)) => data.end,
            Some(Stretch::Hole(end)) => end,
            None => pos,
        };
        if extents.found() >= MOST_EXTENTS {
            steps::reserve(dest, run.start, run.end, heard)?;
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
/// ENOSPC, when it is certain; what `heard` says.
pub(super) fn can_fit(
    dest: &File,
    data: u64,
    freed: u64,
    heard: &mut Heard<'_>,
) -> Result<(), Error> {
    for _ in 0..ASK {
        if !is_full_for(dest, data, freed) {
            return Ok(());
        }
        heard()?;
        std::thread::sleep(APART);
    }
    Err(Error::Io(Side::Dest, Errno::ENOSPC.into()))
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
