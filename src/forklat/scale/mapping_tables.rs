//! The tables `join-mapping` and `write-mapping`: processes that have one file mapped. The first measures one more of
//! them, the second a process that changes the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::child_status::status;
use super::idle_processes::IdleProcesses;
use super::isolated_measurement;
use super::ramp::Ramp;
use super::scale_result::CostTable;
use super::{ScaleConfig, ScaleTable};
use crate::forklat::error::{ForklatError, failed};
use crate::report::quote::quote;
use crate::report::units::format_bytes;
use crate::sys::clock::monotonic_ns;
use crate::sys::mapped_file::{MappedReader, MappedWriter};
use crate::sys::parked_process::park;
use crate::sys::process::fork_and_run;
use crate::sys::residency::page_size;

/// Bytes of one write(2), and of the blocks that the file is made of: a record of a small database, and a page on most
/// machines.
const BLOCK: usize = 4096;

/// Makes a table in each directory, and one of all of them.
pub(super) fn table(
    bench: &ScaleConfig<'_>,
    make: fn(&ScaleConfig<'_>, &Path) -> Result<CostTable, ForklatError>,
) -> Result<CostTable, ForklatError> {
    let tables = bench.on.iter();
    let tables = tables.map(|on| Ok((on.clone(), make(bench, on)?)));
    let tables: Result<Vec<_>, ForklatError> = tables.collect();
    CostTable::side_by_side(tables?)
        .ok_or_else(|| ForklatError::Refused("--on names no directory".into()))
}

pub(super) fn join(bench: &ScaleConfig<'_>, on: &Path) -> Result<CostTable, ForklatError> {
    let ladder = ladder(
        bench,
        ScaleTable::JoinMapping,
        "One more process joins N that have a file mapped (mmap, read each page), and leaves (munmap)",
        &["join", "leave"],
    );
    let (file, len) = scratch(bench, on)?;
    let what = format!("map a file in {}", quote(on));
    ladder.run_up_and_down(crowd(bench, &file, len)?, |_, repeat, histograms| {
        isolated_measurement::measure(bench.caller, &what, repeat, histograms, || {
            Ok(|| {
                let began = monotonic_ns();
                let map = MappedReader::new(&file, len)?;
                map.touch_pages();
                let joined = monotonic_ns();
                drop(map);
                Ok([joined - began, monotonic_ns() - joined])
            })
        })
    })
}

pub(super) fn modify(bench: &ScaleConfig<'_>, on: &Path) -> Result<CostTable, ForklatError> {
    let ladder = ladder(
        bench,
        ScaleTable::WriteMapping,
        "A page of a file that N processes have mapped is modified, through a mapping and by write",
        &["store", "store+msync", "write", "write+fdatasync"],
    );
    let (file, len) = scratch(bench, on)?;
    let what = format!("change a mapped file in {}", quote(on));
    ladder.run_up_and_down(crowd(bench, &file, len)?, |_, repeat, histograms| {
        isolated_measurement::measure(bench.caller, &what, repeat, histograms, || {
            let map = MappedWriter::new(&file, len)?;
            map.touch_pages();
            let mut pages = (0..len).step_by(page_size() as usize).cycle();
            let file = &file;
            Ok(move || change(file, &map, pages.next().unwrap_or(0)))
        })
    })
}

/// Changes the page at `offset` in both ways. The page is clean each time, so the store causes a page fault: before
/// writeback, the kernel makes every mapping of the page read-only, so that it notices the next store.
fn change(file: &File, map: &MappedWriter, offset: usize) -> io::Result<[u64; 4]> {
    let began = monotonic_ns();
    map.store_byte(offset, began as u8);
    let stored = monotonic_ns();
    map.sync_page(offset)?;
    let synced = monotonic_ns();
    let block = [began as u8; BLOCK];
    let again = monotonic_ns();
    file.write_all_at(&block, offset as u64)?;
    let written = monotonic_ns();
    file.sync_data()?;
    let durable = monotonic_ns();
    Ok([
        stored - began,
        synced - began,
        written - again,
        durable - again,
    ])
}

fn ladder<'a>(
    bench: &'a ScaleConfig<'a>,
    question: ScaleTable,
    title: &str,
    series: &'static [&'static str],
) -> Ramp<'a> {
    Ramp {
        bench,
        question,
        title: title.to_owned(),
        series,
        each: 0,
    }
}

/// Returns the idle processes that have the file mapped. The file is open for writing as well, so that the kernel
/// treats their mappings as ones that may become writable, like those of a database.
fn crowd<'a>(
    bench: &'a ScaleConfig<'a>,
    file: &'a File,
    len: usize,
) -> Result<IdleProcesses<'a>, ForklatError> {
    IdleProcesses::new(bench.caller, move |ready| {
        let began = monotonic_ns();
        let ((), pid) = fork_and_run((), |()| match MappedReader::new(file, len) {
            Ok(map) => {
                map.touch_pages();
                park(ready)
            }
            Err(e) => status(Err(e)),
        });
        Ok((began, pid?))
    })
}

/// Makes a file full of data on the disk. Returns it with its length in whole pages. The file has no name, so nothing
/// can be left behind.
fn scratch(bench: &ScaleConfig<'_>, on: &Path) -> Result<(File, usize), ForklatError> {
    let what = format!("make a file in {}", quote(on));
    let file = tempfile::tempfile_in(on).map_err(|e| failed(&what, e))?;
    let what = format!(
        "write {} to a file in {}",
        format_bytes(bench.file_size),
        quote(on)
    );
    let len = bench.file_size - bench.file_size % page_size();
    let block = [1; BLOCK];
    for offset in (0..len).step_by(BLOCK) {
        bench.caller.check()?;
        let written = file.write_all_at(&block, offset);
        written.map_err(|e| failed(&what, e))?;
    }
    file.sync_all().map_err(|e| failed(&what, e))?;
    Ok((file, len as usize))
}

/// Returns a note if the cost of syncing a file without a name differs from that of a file with one. Counted on 6.18: a
/// write and fdatasync of 4 KiB causes 11 writes of 136 KiB in all on btrfs if the file has no name, and 9 of 104 KiB
/// if it has one; on ext4 and xfs it causes two of 4 KiB in both cases.
pub(super) fn note(on: &Path) -> Option<String> {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, statfs};
    let kind = statfs(on).ok()?.filesystem_type();
    (kind == BTRFS_SUPER_MAGIC).then(|| {
        "the measured file has no name, and btrfs writes about a third more when it syncs such a file".into()
    })
}
