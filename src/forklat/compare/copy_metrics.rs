//! The figures of one copy: wall time and CPU time of the tool, and the page cache of the machine meanwhile.

use super::super::measured_command::{FinishedCommand, shell_status};
use super::super::model::CopyResult;
use crate::observe::memory::{Metric, Reading};
use crate::sys::clock::MonotonicNs;

/// Computes the figures of a copy from the last reading `before` it and the `readings` taken during it.
pub(super) fn copy_result(
    ended: &FinishedCommand,
    before: Option<&Reading>,
    readings: &[Reading],
    wrong: Option<String>,
) -> CopyResult {
    let during = during(ended, readings);
    let peak = |value: fn(&Reading) -> Option<u64>| during.iter().filter_map(value).max();
    let at_start = before.and_then(cached).unwrap_or(0);
    let seconds = |until: MonotonicNs| until.since(ended.start).as_secs_f64();
    CopyResult {
        wall: seconds(ended.end),
        durable: seconds(ended.durable_or_ended()),
        user: ended.cost.user,
        system: ended.cost.system,
        cache_growth: peak(cached).unwrap_or(0).saturating_sub(at_start),
        peak_dirty: peak(|reading| reading.get(Metric::Dirty)).unwrap_or(0),
        max_rss: ended.cost.max_rss,
        status: shell_status(ended.status),
        wrong,
    }
}

/// Returns the readings from the start to the end of a copy and the first one after it, since the cached data is still
/// there then.
fn during<'a>(ended: &FinishedCommand, readings: &'a [Reading]) -> &'a [Reading] {
    let from = readings.partition_point(|reading| reading.at < ended.start);
    let to = readings.partition_point(|reading| reading.at < ended.durable_or_ended());
    &readings[from..readings.len().min(to + 1)]
}

/// Returns the page cache of files on disks, in bytes: Cached less Shmem, since Cached includes Shmem.
fn cached(reading: &Reading) -> Option<u64> {
    let (cached, shmem) = (reading.get(Metric::Cached)?, reading.get(Metric::Shmem)?);
    Some(cached.saturating_sub(shmem))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::{MonotonicNs, copy_result};
    use crate::forklat::measured_command::FinishedCommand;
    use crate::observe::memory::{METRIC_COUNT, Metric, Reading};
    use crate::sys::process::ProcessUsage;

    fn second(n: u64) -> MonotonicNs {
        MonotonicNs::ZERO.after(Duration::from_secs(n))
    }

    fn reading(at: u64, cached: u64, dirty: u64) -> Reading {
        let mut values = [None; METRIC_COUNT];
        values[Metric::Cached as usize] = Some(cached);
        values[Metric::Shmem as usize] = Some(10);
        values[Metric::Dirty as usize] = Some(dirty);
        Reading {
            at: second(at),
            delay: Duration::ZERO,
            values,
        }
    }

    #[test]
    fn what_was_cached_before_and_long_after_is_not_the_tools() {
        let ended = FinishedCommand {
            status: ExitStatus::from_raw(3 << 8),
            cost: ProcessUsage {
                user: 1.0,
                system: 2.0,
                max_rss: 7,
            },
            start: second(2),
            end: second(4),
            durable: Ok(second(6)),
            dirty_at_exit: None,
            stdout_text: String::new(),
            stderr_text: String::new(),
            left_running: false,
        };
        let readings = [
            reading(1, 500, 90),
            reading(3, 150, 40),
            reading(5, 180, 60),
            reading(7, 160, 0),
            reading(8, 900, 99),
        ];
        let copy = copy_result(&ended, Some(&reading(1, 110, 0)), &readings, None);
        assert_eq!((copy.wall, copy.durable, copy.status), (2.0, 4.0, 3));
        assert_eq!((copy.cache_growth, copy.peak_dirty), (70, 60));
        assert_eq!((copy.user, copy.system, copy.max_rss), (1.0, 2.0, 7));
    }
}
