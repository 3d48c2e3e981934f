//! Decodes the records of the kernel's ring buffers into events.

use super::ring_kind::RingKind;
use super::trace_event::{DiskRequest, Happening, SwitchReason, TaskId, TraceEvent};
use super::trace_point::TracePoint;
use crate::sys::clock::MonotonicNs;

/// A call chain has entries that only say whose part follows (`PERF_CONTEXT_MAX`).
const MIN_CONTEXT: u64 = (-4095_i64).cast_unsigned();

/// The trace points by their numbers.
#[derive(Debug, Default)]
pub(super) struct EventDecoder {
    points: Vec<(&'static str, TracePoint)>,
}

/// Takes the fields of a record one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Takes a call chain, without its marks.
    fn stack(&mut self) -> Option<Vec<u64>> {
        let length = self.u64()?;
        let frames: Option<Vec<u64>> = (0..length).map(|_| self.u64()).collect();
        let is_address = |frame: &u64| *frame < MIN_CONTEXT;
        Some(frames?.into_iter().filter(is_address).collect())
    }
}

impl EventDecoder {
    /// Adds a trace point whose records are to be decoded.
    pub(super) fn add(&mut self, name: &'static str, point: TracePoint) {
        if !self.points.iter().any(|(known, _)| *known == name) {
            self.points.push((name, point));
        }
    }

    /// Decodes a record, or returns `None` if it is of no known kind.
    pub(super) fn decode(&self, ring: RingKind, cpu: u32, record: &[u8]) -> Option<TraceEvent> {
        let mut fields = Fields(record);
        let _process = fields.u32()?;
        let tid = fields.u32()?;
        let at = MonotonicNs::from_nanos(fields.u64()?);
        let stack = match ring {
            RingKind::Stacks => Some(fields.stack()?),
            _ => None,
        };
        let raw_length = fields.u32()? as usize;
        let raw = fields.take(raw_length)?;
        // An event that is no trace point has raw data of four zero bytes.
        let is_sample = raw.len() <= 4;
        let what = match stack {
            Some(stack) if is_sample => Happening::Sample(stack),
            Some(stack) => Happening::Wait(stack),
            None => self.trace_point(raw)?,
        };
        Some(TraceEvent { at, cpu, tid, what })
    }

    fn trace_point(&self, raw: &[u8]) -> Option<Happening> {
        let number = u64::from(u16::from_ne_bytes([*raw.first()?, *raw.get(1)?]));
        let mut points = self.points.iter();
        let (name, point) = points.find(|(_, point)| point.number == number)?;
        let field = |name| point.number_in(raw, name);
        let pid = |name| field(name).map(|pid| pid as u32);
        Some(match *name {
            "sched/sched_switch" => Happening::Switch {
                from: TaskId::new(pid("prev_pid")?, point.text_in(raw, "prev_comm")),
                reason: SwitchReason::of(field("prev_state")?),
                to: TaskId::new(pid("next_pid")?, point.text_in(raw, "next_comm")),
            },
            "sched/sched_waking" => Happening::Waking {
                pid: pid("pid")?,
                on: pid("target_cpu")?,
            },
            "sched/sched_process_fork" => Happening::Fork {
                parent: pid("parent_pid")?,
                child: pid("child_pid")?,
            },
            "signal/signal_generate" => Happening::StopSignal { pid: pid("pid")? },
            "vmscan/mm_vmscan_direct_reclaim_begin" | "vmscan/mm_vmscan_memcg_reclaim_begin" => {
                Happening::ReclaimBegin
            }
            "vmscan/mm_vmscan_direct_reclaim_end" | "vmscan/mm_vmscan_memcg_reclaim_end" => {
                Happening::ReclaimEnd
            }
            "compaction/mm_compaction_begin" => Happening::CompactionBegin,
            "compaction/mm_compaction_end" => Happening::CompactionEnd,
            "writeback/balance_dirty_pages" => Happening::DirtyPause,
            "block/block_rq_issue" => Happening::DiskIssue(disk_request(&field)?),
            "block/block_rq_complete" => Happening::DiskComplete(disk_request(&field)?),
            _ => return None,
        })
    }
}

fn disk_request(field: &dyn Fn(&'static str) -> Option<u64>) -> Option<DiskRequest> {
    Some(DiskRequest {
        device: field("dev")? as u32,
        sector: field("sector")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn call_chains_have_no_marks_and_samples_no_trace_point() {
        let decoder = EventDecoder::default();
        let head = [5_u32.to_ne_bytes(), 6_u32.to_ne_bytes()].concat();
        let stack: Vec<u8> = [2, (-128_i64) as u64, 0xffff_8000]
            .iter()
            .flat_map(|word: &u64| word.to_ne_bytes())
            .collect();
        let time = 99_u64.to_ne_bytes();
        let sample = record(&[&head, &time, &stack, &4_u32.to_ne_bytes(), &[0; 4]]);
        let event = decoder.decode(RingKind::Stacks, 3, &sample).unwrap();
        assert_eq!((event.cpu, event.tid, event.at.as_nanos()), (3, 6, 99));
        assert_eq!(event.what, Happening::Sample(vec![0xffff_8000]));
        let wait = record(&[&head, &time, &stack, &12_u32.to_ne_bytes(), &[1; 12]]);
        let event = decoder.decode(RingKind::Stacks, 3, &wait).unwrap();
        assert_eq!(event.what, Happening::Wait(vec![0xffff_8000]));
        // A trace point that nobody asked for, and records that are cut.
        let other = record(&[&head, &time, &12_u32.to_ne_bytes(), &[1; 12]]);
        assert_eq!(decoder.decode(RingKind::Others, 3, &other), None);
        for length in 0..wait.len() {
            assert_eq!(decoder.decode(RingKind::Stacks, 3, &wait[..length]), None);
        }
    }
}
