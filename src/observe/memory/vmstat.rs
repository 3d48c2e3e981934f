//! Parses /proc/vmstat, the kernel's counters of memory events.

use super::proc_file::{lines, parse_number, words};
use super::{Metric, MetricValues};

/// Sets the counters that `text` has, and leaves the others unchanged.
pub(super) fn parse(text: &[u8], values: &mut MetricValues) {
    for line in lines(text) {
        let mut words = words(line);
        if let (Some(field), Some(count)) = (
            words.next().and_then(field),
            words.next().and_then(parse_number),
        ) {
            let sum = &mut values[field as usize];
            *sum = Some(sum.unwrap_or(0) + count);
        }
    }
}

/// Returns the metric of a line. Two metrics have a line for each zone on some kernels, and are summed: allocstall
/// since Linux 4.8, pgscan_direct before it.
fn field(name: &[u8]) -> Option<Metric> {
    let zone = |prefix: &[u8]| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"_"))
    };
    match name {
        b"compact_stall" => Some(Metric::CompactStall),
        b"oom_kill" => Some(Metric::OomKill),
        // This counts tasks that were delayed because the reserves were low. It is not a zone.
        b"pgscan_direct_throttle" => None,
        _ if zone(b"allocstall") => Some(Metric::AllocStall),
        _ if zone(b"pgscan_direct") => Some(Metric::PgscanDirect),
        _ => None,
    }
}
