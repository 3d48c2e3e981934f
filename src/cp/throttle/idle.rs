//! --idle: gives the copy the lowest priority for the disk and for the CPU.

use std::path::Path;

use super::dest_directory::find_dest_directory;
use crate::cp::error::{LimitWarning, PriorityStep};
use crate::cp::operands::OperandJobs;
use crate::cp::options::CopyOptions;
use crate::observe::disk::why_io_classes_ignored;
use crate::report::Reporter;
use crate::sys::idle_priority;

/// Gives this thread, and those that it starts, the lowest priority. Warns if a priority is refused or has no effect.
pub(super) fn become_idle(jobs: &OperandJobs, options: &CopyOptions, reporter: &Reporter) {
    let steps = [
        (
            PriorityStep::IoClass,
            idle_priority::set_idle_io_class as fn() -> _,
        ),
        (PriorityStep::Nice, idle_priority::set_lowest_nice),
        (PriorityStep::Scheduling, idle_priority::set_idle_scheduling),
    ];
    for (step, set) in steps {
        if let Err(error) = set() {
            reporter.warn(LimitWarning::IdlePriority { step, error });
        }
    }
    if let Some(why) = find_dest_directory(jobs, options)
        .ok()
        .and_then(|dir| why_io_classes_ignored(Path::new("/"), &dir))
    {
        reporter.warn(LimitWarning::IdleIgnored(why));
    }
}
