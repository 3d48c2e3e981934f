//! Parses /proc/meminfo, the kernel's account of memory use.

use super::proc_file::{lines, parse_number, words};
use super::{Metric, MetricValues};

/// Sets the fields that `text` has, in bytes, and leaves the others unchanged.
pub(super) fn parse(text: &[u8], values: &mut MetricValues) {
    for line in lines(text) {
        let mut words = words(line);
        let field = words.next().and_then(|name| match name {
            b"MemFree:" => Some(Metric::MemFree),
            b"MemAvailable:" => Some(Metric::MemAvailable),
            b"Cached:" => Some(Metric::Cached),
            b"Dirty:" => Some(Metric::Dirty),
            b"Writeback:" => Some(Metric::Writeback),
            b"Shmem:" => Some(Metric::Shmem),
            b"SReclaimable:" => Some(Metric::SReclaimable),
            b"SUnreclaim:" => Some(Metric::SUnreclaim),
            b"KernelStack:" => Some(Metric::KernelStack),
            b"PageTables:" => Some(Metric::PageTables),
            _ => None,
        });
        if let (Some(field), Some(kilobytes)) = (field, words.next().and_then(parse_number)) {
            values[field as usize] = kilobytes.checked_mul(1024);
        }
    }
}
