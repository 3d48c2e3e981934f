//! The table `fork`: processes forked from one parent. Each has written to a part of its memory.

use std::os::fd::AsFd;

use super::idle_processes::IdleProcesses;
use super::ramp::Ramp;
use super::scale_result::CostTable;
use super::{ScaleConfig, ScaleTable};
use crate::forklat::error::{ForklatError, failed};
use crate::report::units::format_bytes;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::parked_process;
use crate::sys::process::MainThread;
use crate::sys::residency::page_size;

pub(super) fn table(bench: &ScaleConfig<'_>) -> Result<CostTable, ForklatError> {
    let main = MainThread::current().map_err(|e| failed("start processes", e))?;
    let mut memory = memory(bench.touch)?;
    let ladder = Ramp {
        bench,
        question: ScaleTable::Fork,
        title: format!(
            "One more process is forked beside N from the same parent; each has written to {} since",
            format_bytes(bench.touch)
        ),
        series: &["start", "stop"],
        each: bench.touch,
    };
    let touched = bench.touch as usize;
    let crowd = IdleProcesses::new(bench.caller, |ready| {
        parked_process::fork_parked(&mut memory, touched, ready.as_fd(), main)
    })?;
    ladder.time_one_more(crowd)
}

/// Returns the memory that the children write to. The parent has written to it before fork, as a server has to its
/// heap.
pub(super) fn memory(touch: u64) -> Result<AlignedBuffer, ForklatError> {
    // With `--touch 0` nothing is written to it, but a mapping cannot be empty.
    let len = touch.max(1) as usize;
    let what = format!("get {} of memory", format_bytes(touch));
    let mut memory = AlignedBuffer::new(len).map_err(|e| failed(&what, e))?;
    parked_process::touch_pages(&mut memory, page_size() as usize);
    Ok(memory)
}
