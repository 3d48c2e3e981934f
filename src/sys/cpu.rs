//! Reads the CPU time of a thread and the peak memory of this process.

use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

use super::proc_status;

/// Returns the CPU time of the calling thread (`CLOCK_THREAD_CPUTIME_ID`), which counts nanoseconds, not scheduler
/// ticks.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// CPU time that a thread has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadUsage {
    /// CPU time in user mode, in seconds.
    pub user: f64,
    /// CPU time in the kernel, in seconds.
    pub system: f64,
}

impl ThreadUsage {
    /// Adds the CPU time of another thread.
    pub fn add(&mut self, other: Self) {
        self.user += other.user;
        self.system += other.system;
    }

    /// Returns what was used since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }
}

/// Reads getrusage(2) for the calling thread only, since other threads copy other files.
#[must_use]
pub fn thread_usage() -> ThreadUsage {
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1_000_000.0;
    getrusage(UsageWho::RUSAGE_THREAD).map_or_else(
        |_| ThreadUsage::default(),
        |u: Usage| ThreadUsage {
            user: seconds(u.user_time()),
            system: seconds(u.system_time()),
        },
    )
}

/// Returns the blocks of 512 bytes that this process has had read from disks, its swapped pages among them.
#[must_use]
pub fn blocks_read() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.block_reads().unsigned_abs())
}

/// Returns the peak resident set size of the process in bytes.
#[must_use]
pub fn max_rss() -> u64 {
    // `ru_maxrss` would include the process from which this one was forked.
    proc_status::read_bytes("VmHWM").unwrap_or_else(|| {
        getrusage(UsageWho::RUSAGE_SELF).map_or(0, |u| u.max_rss().unsigned_abs() * 1024)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_thread_uses_is_its_own() {
        const BUSY: Duration = Duration::from_millis(200);
        let total = |u: ThreadUsage| u.user + u.system;
        let before = total(thread_usage());
        let other = std::thread::spawn(move || {
            while thread_cpu_time() < BUSY {}
            total(thread_usage())
        });
        let theirs = other.join().unwrap_or_default();
        let ours = total(thread_usage()) - before;
        assert!(theirs > 0.1, "{theirs}");
        assert!(ours < theirs / 2.0, "{ours} of {theirs}");
    }
}
