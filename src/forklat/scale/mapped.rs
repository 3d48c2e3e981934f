//! 2a and 2b: processes that have one file mapped, one more of them, and one that changes the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::aside;
use super::crowd::Crowd;
use super::ladder::Ladder;
use super::record::Table;
use super::stop::{Stop, cannot, status};
use super::{Bench, Question};
use crate::report::quote::quote;
use crate::report::units::bytes;
use crate::sys::clock::now;
use crate::sys::mapping::{Reader, Writer};
use crate::sys::process::start_worker;
use crate::sys::residency::page_size;
use crate::sys::standing::stand;

/// What the file is made of, and what one write(2) writes: the record of a small database, and a page on most machines.
const BLOCK: usize = 4096;

pub(super) fn join(bench: &Bench<'_>) -> Result<Table, Stop> {
    let ladder = ladder(
        bench,
        Question::Join,
        "One more joins N that have a file mapped (mmap, read each page), and leaves (munmap)",
        &["join", "leave"],
    );
    let (file, len) = scratch(bench)?;
    let what = format!("map a file in {}", quote(bench.on));
    ladder.climb(crowd(bench, &file, len)?, |_, histograms| {
        aside::measure(bench.caller, &what, bench.repeat, histograms, || {
            Ok(|| {
                let began = now();
                let map = Reader::new(&file, len)?;
                map.touch();
                let joined = now();
                drop(map);
                Ok([joined - began, now() - joined])
            })
        })
    })
}

pub(super) fn modify(bench: &Bench<'_>) -> Result<Table, Stop> {
    let ladder = ladder(
        bench,
        Question::Modify,
        "A page of a file is changed that N have mapped: through a mapping, and by write",
        &["store", "store+msync", "write", "write+fdatasync"],
    );
    let (file, len) = scratch(bench)?;
    let what = format!("change a mapped file in {}", quote(bench.on));
    ladder.climb(crowd(bench, &file, len)?, |_, histograms| {
        aside::measure(bench.caller, &what, bench.repeat, histograms, || {
            let map = Writer::new(&file, len)?;
            map.touch();
            let mut pages = (0..len).step_by(page_size() as usize).cycle();
            let file = &file;
            Ok(move || change(file, &map, pages.next().unwrap_or(0)))
        })
    })
}

/// Changes the page at `offset` in both ways. It is clean each time, so the store is a page fault: the page is written back,
/// and for that no mapping may write to it without being noticed.
fn change(file: &File, map: &Writer, offset: usize) -> io::Result<[u64; 4]> {
    let began = now();
    map.store(offset, began as u8);
    let stored = now();
    map.sync(offset)?;
    let synced = now();
    let block = [began as u8; BLOCK];
    let again = now();
    file.write_all_at(&block, offset as u64)?;
    let written = now();
    file.sync_data()?;
    let durable = now();
    Ok([
        stored - began,
        synced - began,
        written - again,
        durable - again,
    ])
}

fn ladder<'a>(
    bench: &'a Bench<'a>,
    question: Question,
    title: &str,
    series: &'static [&'static str],
) -> Ladder<'a> {
    Ladder {
        steps: &bench.steps,
        caller: bench.caller,
        question,
        title: title.to_owned(),
        series,
        each: 0,
    }
}

/// Those that have the file mapped. It is open for writing, too, so that the kernel takes their mappings for ones that may
/// become writable, as those of a database are.
fn crowd<'a>(bench: &'a Bench<'a>, file: &'a File, len: usize) -> Result<Crowd<'a>, Stop> {
    Crowd::new(bench.caller, move |ready| {
        let began = now();
        let pid = start_worker(|| match Reader::new(file, len) {
            Ok(map) => {
                map.touch();
                stand(ready)
            }
            Err(e) => status(Err(e)),
        })?;
        Ok((began, pid))
    })
}

/// A file full of data, on the disk, and its length in whole pages. It has no name, so nothing can be left behind.
fn scratch(bench: &Bench<'_>) -> Result<(File, usize), Stop> {
    let what = format!("make a file in {}", quote(bench.on));
    let file = tempfile::tempfile_in(bench.on).map_err(|e| cannot(&what, &e))?;
    let what = format!(
        "write {} to a file in {}",
        bytes(bench.file_size),
        quote(bench.on)
    );
    let len = fill(&file, bench.file_size).map_err(|e| cannot(&what, &e))?;
    Ok((file, len))
}

fn fill(file: &File, size: u64) -> io::Result<usize> {
    let len = size - size % page_size();
    let block = [1; BLOCK];
    for offset in (0..len).step_by(BLOCK) {
        file.write_all_at(&block, offset)?;
    }
    file.sync_all()?;
    usize::try_from(len).map_err(io::Error::other)
}

/// What the file system does for a file without a name that it does not do for others.
pub(super) fn note(on: &Path) -> Option<String> {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, statfs};
    let kind = statfs(on).ok()?.filesystem_type();
    // btrfs_log_inode_parent in fs/btrfs/tree-log.c: BTRFS_NO_LOG_SYNC where i_nlink is 0.
    (kind == BTRFS_SUPER_MAGIC).then(|| {
        "btrfs keeps no log for a file without a name, as the measured one is: its sync commits the whole file system".into()
    })
}
