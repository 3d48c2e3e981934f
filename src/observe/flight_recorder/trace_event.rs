//! What the flight recorder records, decoded: who was on a CPU, who slept and where, what was reclaimed, and what the
//! disk did.

use std::collections::HashMap;

use super::missing_records::MissingRecords;
use super::ring_kind::RingKind;
use crate::sys::clock::MonotonicNs;

/// Bytes of the name of a task (`TASK_COMM_LEN`).
const NAME_BYTES: usize = 16;

/// A task as the scheduler knows it. The number is that of the whole machine, whatever this process calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TaskId {
    /// The number of the task, 0 for the idle task of each CPU.
    pub pid: u32,
    name: [u8; NAME_BYTES],
}

impl TaskId {
    /// Makes the identity of a task from its number and its name.
    #[must_use]
    pub fn new(pid: u32, name: &[u8]) -> Self {
        let mut bytes = [0; NAME_BYTES];
        let length = name.len().min(NAME_BYTES);
        bytes[..length].copy_from_slice(&name[..length]);
        Self { pid, name: bytes }
    }

    /// Returns whether it is the idle task of a CPU.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pid == 0
    }

    /// Returns its name. Kernel threads of one kind, such as `kworker/0:1`, have the name of the kind.
    #[must_use]
    pub fn name(&self) -> String {
        let end = self.name.iter().position(|byte| *byte == 0);
        let name = String::from_utf8_lossy(&self.name[..end.unwrap_or(NAME_BYTES)]).into_owned();
        let kinds = ["kworker/", "ksoftirqd/", "migration/", "cpuhp/", "jbd2/"];
        match kinds.iter().find(|kind| name.starts_with(**kind)) {
            Some(kind) => kind.trim_end_matches('/').to_owned(),
            None => name,
        }
    }
}

/// Why a task left its CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchReason {
    /// It could run on, but another task took its place.
    Preempted,
    /// It sleeps until an event or a signal.
    Sleeps,
    /// It waits for an event and no signal wakes it, as for a disk or a lock.
    Waits,
    /// A signal or a debugger stopped it.
    Stopped,
    /// It has ended and does not come back.
    Ended,
}

impl SwitchReason {
    /// Reads the field `prev_state` of `sched_switch`.
    pub(super) fn of(state: u64) -> Self {
        match state & 0xff {
            0 => Self::Preempted,
            bits if bits & 0x30 != 0 => Self::Ended,
            bits if bits & 0x0c != 0 => Self::Stopped,
            bits if bits & 0x02 != 0 => Self::Waits,
            _ => Self::Sleeps,
        }
    }
}

/// What can happen on a CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A CPU went from one task to the next.
    Switch {
        /// The task that left the CPU.
        from: TaskId,
        /// The reason for which it left.
        reason: SwitchReason,
        /// The task that runs now.
        to: TaskId,
    },
    /// A task was woken, to run on a CPU.
    Waking {
        /// The number of the task that was woken.
        pid: u32,
        /// The CPU on which it ran before. It may run on another.
        on: u32,
    },
    /// A task that waits, with the call chain of its wait, the innermost function first.
    Wait(Vec<u64>),
    /// What a CPU was doing at a moment of its clock; the call chain is empty in user mode.
    Sample(Vec<u64>),
    /// A task began to reclaim memory for its own allocation.
    ReclaimBegin,
    /// A task ended to reclaim memory.
    ReclaimEnd,
    /// A task began to move pages together.
    CompactionBegin,
    /// A task ended to move pages together.
    CompactionEnd,
    /// A task that made pages dirty is held back.
    DirtyPause,
    /// A signal that stops a process was sent to a task.
    StopSignal {
        /// The number of the task.
        pid: u32,
    },
    /// A task made another one, its child.
    Fork {
        /// The number of the one that made it.
        parent: u32,
        /// The number of the new one.
        child: u32,
    },
    /// A request was given to a disk.
    DiskIssue(DiskRequest),
    /// A disk has completed a request.
    DiskComplete(DiskRequest),
}

/// A request to a disk, by which its begin and its end are paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiskRequest {
    /// The number of the device, as the kernel keeps it.
    pub device: u32,
    /// The sector at which it begins.
    pub sector: u64,
}

impl DiskRequest {
    /// Returns the numbers of the device as `major:minor`.
    #[must_use]
    pub fn device_numbers(&self) -> String {
        // The kernel keeps the minor number in 20 bits (MINORBITS).
        format!("{}:{}", self.device >> 20, self.device & 0xf_ffff)
    }
}

/// Something that happened, with its time and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent {
    /// The moment at which it happened.
    pub at: MonotonicNs,
    /// The CPU on which it happened.
    pub cpu: u32,
    /// The task that ran there, by the number that this process knows it by.
    pub tid: u32,
    /// What happened then and there.
    pub what: Happening,
}

/// The events since a moment, in the order of time.
#[derive(Debug, Default)]
pub struct Recording {
    /// The events, the oldest first.
    events: Vec<TraceEvent>,
    /// The moment since which every switch of tasks is there.
    complete_since: MonotonicNs,
    /// The number that this process knows a task by, for each number of the whole machine.
    tids: HashMap<u32, u32>,
    missing: Vec<MissingRecords>,
}

impl Recording {
    /// Sorts events by their time. Every switch of tasks since `complete_since` is among them.
    #[must_use]
    pub fn new(mut events: Vec<TraceEvent>, complete_since: MonotonicNs) -> Self {
        events.sort_by_key(|event| event.at);
        let switch = |event: &TraceEvent| match &event.what {
            // A task that has ended has no number any more.
            Happening::Switch { from, reason, .. } if *reason != SwitchReason::Ended => {
                Some((from.pid, event.tid))
            }
            _ => None,
        };
        Self {
            tids: events.iter().filter_map(switch).collect(),
            events,
            complete_since,
            missing: Vec::new(),
        }
    }

    /// Tells which records are missing.
    #[must_use]
    pub(super) fn with_missing(mut self, mut missing: Vec<MissingRecords>) -> Self {
        missing.sort_by_key(|span| span.from);
        self.missing = missing;
        self
    }

    /// Returns whether records of a kind are missing between two moments.
    pub(super) fn is_missing(&self, kind: RingKind, from: MonotonicNs, to: MonotonicNs) -> bool {
        self.missing.iter().any(|span| span.is_in(kind, from, to))
    }

    /// Returns the times in which switches of tasks were not recorded, since a ring buffer was read, the earliest first.
    pub(super) fn switch_gaps(&self) -> impl Iterator<Item = &MissingRecords> {
        let mut all = self.missing.iter();
        std::iter::from_fn(move || {
            all.find(|span| span.kind == RingKind::Switches && span.is_gap())
        })
    }

    /// Returns all events, the oldest first.
    #[must_use]
    pub fn events(&self) -> &[TraceEvent] {
        &self.events
    }

    /// Returns the events from one moment to another, without those at the latter.
    #[must_use]
    pub fn between(&self, from: MonotonicNs, to: MonotonicNs) -> &[TraceEvent] {
        let first = self.events.partition_point(|event| event.at < from);
        let last = self.events.partition_point(|event| event.at < to);
        &self.events[first..last.max(first)]
    }

    /// Returns the moment since which every switch of tasks is there.
    #[must_use]
    pub fn complete_since(&self) -> MonotonicNs {
        self.complete_since
    }

    /// Returns the number by which this process knows a task.
    #[must_use]
    pub fn tid_of(&self, pid: u32) -> u32 {
        self.tids.get(&pid).copied().unwrap_or(pid)
    }

    /// Returns the number of the whole machine of a task that this process knows by the number `tid`.
    #[must_use]
    pub fn pid_of(&self, tid: u32) -> u32 {
        let mut known = self.tids.iter();
        known
            .find(|(_, known)| **known == tid)
            .map_or(tid, |(pid, _)| *pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read() {
        assert_eq!(TaskId::new(7, b"mmapcp").name(), "mmapcp");
        assert_eq!(TaskId::new(7, b"kworker/0:1H").name(), "kworker");
        assert_eq!(
            TaskId::new(7, b"sixteen-bytes-xy-more").name(),
            "sixteen-bytes-xy"
        );
        assert!(TaskId::new(0, b"swapper/0").is_idle());
        let request = DiskRequest {
            device: (254 << 20) | 3,
            sector: 0,
        };
        assert_eq!(request.device_numbers(), "254:3");
    }

    #[test]
    fn the_state_tells_why_a_task_left() {
        for (state, want) in [
            (0, SwitchReason::Preempted),
            (0x100, SwitchReason::Preempted),
            (0x1, SwitchReason::Sleeps),
            (0x2, SwitchReason::Waits),
            (0x4, SwitchReason::Stopped),
            (0x8, SwitchReason::Stopped),
            (0x20, SwitchReason::Ended),
            (0x10, SwitchReason::Ended),
            (0x80, SwitchReason::Sleeps),
        ] {
            assert_eq!(SwitchReason::of(state), want, "{state:#x}");
        }
    }
}
