//! --idle: last in line for the disk and for the CPU.

use std::path::Path;

use super::dest_directory::find_dest_directory;
use crate::cp::operands::OperandJobs;
use crate::cp::options::CopyOptions;
use crate::observe::disk::why_io_classes_ignored;
use crate::report::Reporter;
use crate::sys::idle_priority;
use crate::sys::strerror::strerror;

/// Gives this thread, and those that it makes, the lowest priority; what is refused or means nothing is said.
pub(super) fn become_idle(jobs: &OperandJobs, options: &CopyOptions, reporter: &Reporter) {
    let steps = [
        (
            "set the I/O class",
            idle_priority::set_idle_io_class as fn() -> _,
        ),
        ("set the nice value", idle_priority::set_lowest_nice),
        (
            "set the scheduling policy",
            idle_priority::set_idle_scheduling,
        ),
    ];
    for (what, step) in steps {
        if let Err(e) = step() {
            reporter.warn(&format!("warning: --idle: cannot {what}: {}", strerror(&e)));
        }
    }
    if let Some(why) = find_dest_directory(jobs, options)
        .ok()
        .and_then(|dir| why_io_classes_ignored(Path::new("/"), &dir))
    {
        reporter.warn(&format!("warning: --idle: {why}"));
    }
}
