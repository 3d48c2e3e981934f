//! --idle: last in line for the disk and for the CPU.

use std::path::Path;

use super::place::directory;
use crate::cp::operands::Jobs;
use crate::cp::options::Options;
use crate::observe::disk::why_classes_mean_nothing;
use crate::report::Reporter;
use crate::sys::idle;
use crate::sys::words::reason;

/// Gives this thread, and those that it makes, the lowest priority; what is refused or means nothing is said.
pub(super) fn become_idle(jobs: &Jobs, options: &Options, reporter: &Reporter) {
    let steps = [
        ("set the I/O class", idle::idle_io as fn() -> _),
        ("set the nice value", idle::lowest_priority),
        ("set the scheduling policy", idle::idle_cpu),
    ];
    for (what, step) in steps {
        if let Err(e) = step() {
            reporter.warn(&format!("warning: --idle: cannot {what}: {}", reason(&e)));
        }
    }
    if let Some(why) = directory(jobs, options)
        .ok()
        .and_then(|dir| why_classes_mean_nothing(Path::new("/"), &dir))
    {
        reporter.warn(&format!("warning: --idle: {why}"));
    }
}
