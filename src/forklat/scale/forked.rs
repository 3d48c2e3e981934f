//! 1a: processes forked from one parent, each having written to some of its memory.

use std::os::fd::AsFd;

use super::crowd::Crowd;
use super::ladder::{Ladder, add};
use super::record::Table;
use super::stop::{Stop, cannot};
use super::{Bench, Question};
use crate::report::units::bytes;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::process::MainThread;
use crate::sys::residency::page_size;
use crate::sys::standing;

pub(super) fn table(bench: &Bench<'_>) -> Result<Table, Stop> {
    let main = MainThread::current().map_err(|e| cannot("start processes", &e))?;
    let mut memory = memory(bench.touch)?;
    let ladder = Ladder {
        bench,
        question: Question::Fork,
        title: format!(
            "One more of N forked from one parent, {} written to after fork",
            bytes(bench.touch)
        ),
        series: &["start", "stop"],
        each: bench.touch,
    };
    let touched = bench.touch as usize;
    let crowd = Crowd::new(bench.caller, |ready| {
        standing::fork(&mut memory, touched, ready.as_fd(), main)
    })?;
    ladder.climb(crowd, |crowd, repeat, histograms| {
        for _ in 0..repeat {
            let (start, stop) = crowd.one_more()?;
            add(histograms, &[start, stop]);
        }
        Ok(())
    })
}

/// What the children write to is the parent's before fork, as the heap of a server is.
fn memory(touch: u64) -> Result<AlignedBuffer, Stop> {
    // Nothing of it is written to with `--touch 0`, but a mapping cannot be empty.
    let len = touch.max(1) as usize;
    let what = format!("get {} of memory", bytes(touch));
    let mut memory = AlignedBuffer::new(len).map_err(|e| cannot(&what, &e))?;
    standing::touch(&mut memory, page_size() as usize);
    Ok(memory)
}
