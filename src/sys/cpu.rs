//! CPU time and peak memory of this process.

use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

use super::status;

/// CPU time of the calling thread (`CLOCK_THREAD_CPUTIME_ID`): nanoseconds, not scheduler ticks.
#[must_use]
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// What this process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usages {
    /// Seconds of CPU in user mode.
    pub user: f64,
    /// Seconds of CPU in the kernel.
    pub system: f64,
    /// Peak resident size in bytes.
    pub max_rss: u64,
}

/// Reads getrusage(2) for the whole process.
#[must_use]
pub fn usage() -> Usages {
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1_000_000.0;
    getrusage(UsageWho::RUSAGE_SELF).map_or_else(
        |_| Usages::default(),
        |u: Usage| Usages {
            user: seconds(u.user_time()),
            system: seconds(u.system_time()),
            // `ru_maxrss` would count the process that we were forked from, too.
            max_rss: status::size("VmHWM").unwrap_or_else(|| u.max_rss().unsigned_abs() * 1024),
        },
    )
}
