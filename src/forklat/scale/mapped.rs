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
    ladder.climb(crowd(bench, &file, len)?, |_, repeat, histograms| {
        aside::measure(bench.caller, &what, repeat, histograms, || {
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
    ladder.climb(crowd(bench, &file, len)?, |_, repeat, histograms| {
        aside::measure(bench.caller, &what, repeat, histograms, || {
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
        bench,
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
        let ((), pid) = start_worker((), |()| match Reader::new(file, len) {
            Ok(map) => {
                map.touch();
                stand(ready)
            }
            Err(e) => status(Err(e)),
        });
        Ok((began, pid?))
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
    let len = bench.file_size - bench.file_size % page_size();
    let block = [1; BLOCK];
    for offset in (0..len).step_by(BLOCK) {
        bench.caller.check()?;
        let written = file.write_all_at(&block, offset);
        written.map_err(|e| cannot(&what, &e))?;
    }
    file.sync_all().map_err(|e| cannot(&what, &e))?;
    Ok((file, len as usize))
}

/// Where a file without a name is synced at another price than one with a name. Counted on 6.18: a write and fdatasync of
/// 4 KiB is 11 writes of 136 KiB in all on btrfs where the file has no name, 9 of 104 KiB where it has one; on ext4 and xfs
/// two of 4 KiB in both cases.
pub(super) fn note(on: &Path) -> Option<String> {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, statfs};
    let kind = statfs(on).ok()?.filesystem_type();
    (kind == BTRFS_SUPER_MAGIC).then(|| {
        "the measured file has no name, and btrfs writes about a third more when it syncs such a file".into()
    })
}
