//! The table `copy-on-write`: one more process is forked from a parent whose memory N others share, and writes to it. The
//! memory is once of pages of 4 KiB and once of huge pages.

use std::cell::Cell;
use std::fs;
use std::os::fd::AsFd;

use super::idle_processes::IdleProcesses;
use super::ramp::{Ramp, add};
use super::scale_result::CostTable;
use super::{ScaleConfig, ScaleTable};
use crate::forklat::error::{ForklatError, failed};
use crate::report::units::format_bytes;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::parked_process;
use crate::sys::process::MainThread;
use crate::sys::residency::page_size;

/// Bytes that are shared and written to (8 MiB): three huge pages of 2 MiB at least, wherever it begins.
const SHARED_BYTES: usize = 8 << 20;

/// The page tables of the shared memory, which each process has: one page for every 2 MiB, and a few above them.
const PROCESS_BYTES: u64 = 32 << 10;

/// The size of the pages of the shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageKind {
    Small,
    Huge,
}

impl PageKind {
    /// Returns the names of what is timed.
    fn series(self) -> &'static [&'static str] {
        match self {
            Self::Small => &["fork, small pages", "fork and write, small pages"],
            Self::Huge => &["fork, huge pages", "fork and write, huge pages"],
        }
    }
}

/// Makes the table. It has no huge pages where the kernel gives none.
pub(super) fn table(bench: &ScaleConfig<'_>) -> Result<CostTable, ForklatError> {
    let mut table = one_kind(bench, PageKind::Small)?;
    if has_huge_pages()? {
        table.series.extend(one_kind(bench, PageKind::Huge)?.series);
    }
    Ok(table)
}

/// Returns a note if the kernel gives no huge pages.
///
/// # Errors
/// There is no memory to try it.
pub(super) fn note() -> Result<Option<String>, ForklatError> {
    let missing = !has_huge_pages()?;
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let setting = setting.map_or_else(|_| "not supported".into(), |text| text.trim().to_owned());
    Ok(missing.then(|| {
        format!("copy-on-write has no huge pages, since the kernel gives none (transparent_hugepage: {setting})")
    }))
}

fn one_kind(bench: &ScaleConfig<'_>, pages: PageKind) -> Result<CostTable, ForklatError> {
    let main = MainThread::current().map_err(|e| failed("start processes", e))?;
    let mut memory = memory(pages)?;
    let ladder = Ramp {
        bench,
        question: ScaleTable::CopyOnWrite,
        title: format!(
            "One more process is forked from a parent that shares {} with N others, and writes to each page of it or to none",
            format_bytes(SHARED_BYTES as u64)
        ),
        series: pages.series(),
        each: PROCESS_BYTES,
    };
    let written = Cell::new(0);
    let crowd = IdleProcesses::new(bench.caller, |ready| {
        parked_process::fork_parked(&mut memory, written.get(), ready.as_fd(), main)
    })?;
    ladder.run_up_and_down(crowd, |crowd, repeat, histograms| {
        for _ in 0..repeat {
            let (forked, _) = crowd.start_and_stop_one()?;
            written.set(SHARED_BYTES);
            let both = crowd.start_and_stop_one();
            // The idle processes, which are started by the same function, only share.
            written.set(0);
            add(histograms, &[forked, both?.0]);
        }
        Ok(())
    })
}

/// Returns memory of these pages that the parent has written to.
fn memory(pages: PageKind) -> Result<AlignedBuffer, ForklatError> {
    let what = format!("get {} of memory", format_bytes(SHARED_BYTES as u64));
    let mut memory = AlignedBuffer::new(SHARED_BYTES).map_err(|e| failed(&what, e))?;
    match pages {
        PageKind::Small => memory.avoid_huge_pages(),
        PageKind::Huge => memory.prefer_huge_pages(),
    }
    parked_process::touch_pages(&mut memory, page_size() as usize);
    Ok(memory)
}

/// Returns whether memory that asks for huge pages gets any.
fn has_huge_pages() -> Result<bool, ForklatError> {
    let before = anonymous_huge_bytes();
    let memory = memory(PageKind::Huge)?;
    let has = anonymous_huge_bytes() > before;
    drop(memory);
    Ok(has)
}

/// Returns the bytes of this process that are in huge pages and belong to no file, or 0 if the kernel does not tell.
fn anonymous_huge_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::{PageKind, anonymous_huge_bytes, has_huge_pages, memory};

    #[test]
    fn small_pages_are_small_also_where_huge_ones_are_the_rule() {
        let before = anonymous_huge_bytes();
        let small = memory(PageKind::Small).unwrap();
        assert!(anonymous_huge_bytes() <= before, "{} bytes", small.len());
        assert_eq!(has_huge_pages().unwrap(), {
            let huge = memory(PageKind::Huge).unwrap();
            let grown = anonymous_huge_bytes() > before;
            drop(huge);
            grown
        });
    }
}
