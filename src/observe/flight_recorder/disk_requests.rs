//! What the disks did in a span of a recording: how long they took for a request.

use std::collections::HashMap;
use std::time::Duration;

use super::ring_kind::RingKind;
use super::trace_event::{DiskRequest, Happening, Recording};
use crate::sys::clock::MonotonicNs;

/// What the disks did meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskWork {
    /// The numbers of the disk with the slowest request of the span, and how long it took for that.
    Slowest(String, Duration),
    /// No disk had a request.
    NoRequest,
    /// No request was recorded at all, or not all of the span.
    NotRecorded,
}

/// Returns what the disks did between two moments. Nothing is told if a record may be missing that would tell otherwise.
#[must_use]
pub fn disk_work(recording: &Recording, from: MonotonicNs, to: MonotonicNs) -> DiskWork {
    let mut under_way: HashMap<DiskRequest, MonotonicNs> = HashMap::new();
    let mut slowest: Option<(Duration, DiskRequest)> = None;
    let mut is_recorded = false;
    let mut is_known = !recording.is_missing(RingKind::Others, from, to);
    let mut look = |request: DiskRequest, issued: MonotonicNs, done: MonotonicNs| {
        if done > from && issued < to {
            // A completion that is missing would pair the begin with that of another request.
            is_known &= !recording.is_missing(RingKind::Others, issued, done);
            let time = done.since(issued);
            if slowest.is_none_or(|(longest, _)| time > longest) {
                slowest = Some((time, request));
            }
        }
    };
    for event in recording.events() {
        match event.what {
            Happening::DiskIssue(request) => {
                is_recorded = true;
                under_way.insert(request, event.at);
            }
            Happening::DiskComplete(request) => {
                is_recorded = true;
                if let Some(issued) = under_way.remove(&request) {
                    look(request, issued, event.at);
                }
            }
            _ => {}
        }
    }
    for (request, issued) in under_way {
        look(request, issued, to);
    }
    match slowest {
        _ if !is_known => DiskWork::NotRecorded,
        Some((time, request)) => DiskWork::Slowest(request.device_numbers(), time),
        None if is_recorded => DiskWork::NoRequest,
        None => DiskWork::NotRecorded,
    }
}

#[cfg(test)]
mod tests {
    use super::super::missing_records::MissingRecords;
    use super::super::trace_event::TraceEvent;
    use super::*;

    fn at(ms: u64) -> MonotonicNs {
        MonotonicNs::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_slowest_request_of_the_span_is_found() {
        let request = |sector| DiskRequest {
            device: 254 << 20,
            sector,
        };
        let event = |ms, what| TraceEvent {
            at: at(ms),
            cpu: 0,
            tid: 1,
            what,
        };
        let recording = Recording::default();
        assert_eq!(disk_work(&recording, at(0), at(9)), DiskWork::NotRecorded);
        let events = vec![
            event(1, Happening::DiskIssue(request(8))),
            event(2, Happening::DiskIssue(request(16))),
            event(5, Happening::DiskComplete(request(16))),
            event(31, Happening::DiskComplete(request(8))),
            event(90, Happening::DiskIssue(request(24))),
        ];
        let recording = Recording::new(events, MonotonicNs::ZERO);
        let slowest = |ms| DiskWork::Slowest("254:0".into(), Duration::from_millis(ms));
        assert_eq!(disk_work(&recording, at(3), at(20)), slowest(30));
        assert_eq!(disk_work(&recording, at(40), at(80)), DiskWork::NoRequest);
        assert_eq!(disk_work(&recording, at(40), at(95)), slowest(5));
        let missing = |from, to| MissingRecords {
            kind: RingKind::Others,
            cpu: 1,
            from: at(from),
            to: at(to),
        };
        let recording = recording.with_missing(vec![missing(0, 4), missing(50, 51)]);
        assert_eq!(disk_work(&recording, at(20), at(30)), DiskWork::NotRecorded);
        assert_eq!(disk_work(&recording, at(40), at(80)), DiskWork::NotRecorded);
        assert_eq!(disk_work(&recording, at(52), at(95)), slowest(5));
    }
}
