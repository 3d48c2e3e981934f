//! What a task did from one moment to another: where it ran, when it was ready and did not run, and where it waited; and
//! who had a CPU meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use super::trace_event::{Happening, Recording, SwitchReason, TaskId, TraceEvent};
use crate::sys::clock::MonotonicNs;

/// The switch and the call chain of a wait are recorded one after the other; this is far above the time between them.
const SAME_MOMENT: Duration = Duration::from_micros(100);

/// A task by both of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// The number of the whole machine, which the scheduler's events have.
    pub pid: u32,
    /// The number in the PID namespace of this process, which each event has of the task that ran.
    pub tid: u32,
}

/// What a task did for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity<'a> {
    /// It ran on this CPU.
    Runs(u32),
    /// It could have run on this CPU, on which it ran next if that is recorded.
    IsReady(u32),
    /// It was off the CPU until something woke it.
    Waits {
        /// Why it left the CPU.
        reason: SwitchReason,
        /// The call chain of the wait, if it is known.
        stack: Option<&'a [u64]>,
        /// The event that woke it, if that is known.
        woken_by: Option<&'a TraceEvent>,
    },
    /// Nothing is recorded of it.
    Unknown,
}

/// An activity with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The first moment of the activity.
    pub from: MonotonicNs,
    /// The first moment after it.
    pub to: MonotonicNs,
    /// What the task did meanwhile.
    pub activity: Activity<'a>,
}

impl Segment<'_> {
    /// Returns how long it was.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

impl Recording {
    /// Returns the task that this process knows by the number `tid`.
    #[must_use]
    pub fn task(&self, tid: u32) -> Task {
        let pid = self.pid_of(tid);
        Task { pid, tid }
    }

    /// Returns the last child that a task made between two moments.
    #[must_use]
    pub fn child_of(&self, task: Task, from: MonotonicNs, to: MonotonicNs) -> Option<Task> {
        let mut made = self.between(from, to).iter().rev();
        let pid = made.find_map(|event| match event.what {
            Happening::Fork { parent, child } if parent == task.pid => Some(child),
            _ => None,
        })?;
        let tid = self.tid_of(pid);
        Some(Task { pid, tid })
    }

    /// Returns the task that this process knows by the number `tid`, with its name, if a switch from it was recorded.
    #[must_use]
    pub fn switched_task(&self, tid: u32) -> Option<TaskId> {
        self.events().iter().find_map(|event| match &event.what {
            Happening::Switch { from, .. } if event.tid == tid => Some(*from),
            _ => None,
        })
    }

    /// Returns what a task did between two moments, without a gap.
    #[must_use]
    pub fn timeline(&self, task: Task, from: MonotonicNs, to: MonotonicNs) -> Vec<Segment<'_>> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut now = Segment {
            from: MonotonicNs::ZERO,
            to,
            activity: Activity::Unknown,
        };
        let mut last = Activity::Unknown;
        for event in self.events() {
            let Some((before, after)) = transition(task.pid, event) else {
                continue;
            };
            let is_awake = matches!(now.activity, Activity::Runs(_) | Activity::IsReady(_));
            let is_unclear = is_awake && matches!(event.what, Happening::Waking { .. });
            if event.at >= to {
                last = Some(before)
                    .filter(|_| !is_unclear)
                    .unwrap_or(Activity::Unknown);
                break;
            }
            if is_unclear {
                // It had not left its CPU yet, or it slept while nothing was recorded.
                if self.gaps_in(&now, event.at).is_empty() {
                    continue;
                }
                now.to = event.at;
                segments.extend(self.end_segment(now, Activity::Unknown));
                now = Segment {
                    from: event.at,
                    to,
                    activity: Activity::Unknown,
                };
                continue;
            }
            now.to = event.at;
            segments.extend(self.end_segment(now, before));
            now = Segment {
                from: event.at,
                to,
                activity: after,
            };
        }
        segments.extend(self.end_segment(now, last));
        segments.retain(|segment| segment.to > from);
        for segment in &mut segments {
            let found = self.stack_of(task, segment);
            if let Activity::Waits { stack, .. } = &mut segment.activity {
                *stack = found;
            }
            segment.from = segment.from.max(from);
        }
        segments
    }

    /// Returns the times within a segment in which a switch of its task may have been missed.
    fn gaps_in(&self, segment: &Segment<'_>, to: MonotonicNs) -> Vec<(MonotonicNs, MonotonicNs)> {
        let cpu = match segment.activity {
            Activity::Runs(cpu) => Some(cpu),
            _ => None,
        };
        let gaps = self.switch_gaps();
        let gaps = gaps.filter(|gap| segment.from < gap.to && gap.from < to);
        gaps.filter(|gap| cpu.is_none_or(|cpu| cpu == gap.cpu))
            .map(|gap| (gap.from.max(segment.from), gap.to.min(to)))
            .collect()
    }

    /// Returns a segment that has just ended, from what was known of its activity and what the event that ended it tells.
    /// It is divided where switches were not recorded meanwhile.
    fn end_segment<'a>(&self, segment: Segment<'a>, told: Activity<'a>) -> Vec<Segment<'a>> {
        let gaps = self.gaps_in(&segment, segment.to);
        let known = segment.activity;
        let agrees = match (&known, &told) {
            (Activity::Runs(a), Activity::Runs(b)) => a == b,
            (Activity::Waits { .. }, Activity::Waits { .. })
            | (Activity::IsReady(_), Activity::IsReady(_)) => true,
            _ => false,
        };
        let is_wait = matches!(known, Activity::Waits { .. });
        let (Some(first), Some(last)) = (gaps.first(), gaps.iter().map(|gap| gap.1).max()) else {
            let activity = refine(known, told);
            return vec![Segment {
                activity,
                ..segment
            }];
        };
        let part = |from, to, activity| Segment { from, to, activity };
        if agrees && is_wait {
            return vec![part(segment.from, segment.to, refine(known, told))];
        }
        let (mut parts, mut from) = (Vec::new(), segment.from);
        if agrees {
            let activity = refine(known, told);
            for (begin, end) in gaps {
                parts.push(part(from, begin.max(from), activity.clone()));
                parts.push(part(begin.max(from), end.max(from), Activity::Unknown));
                from = end.max(from);
            }
            parts.push(part(from, segment.to, activity));
        } else {
            parts.push(part(from, first.0, known));
            parts.push(part(first.0, last, Activity::Unknown));
            parts.push(part(last, segment.to, told));
        }
        parts
    }

    /// Returns the call chain of a wait, which is recorded when the wait begins.
    fn stack_of(&self, task: Task, wait: &Segment<'_>) -> Option<&[u64]> {
        let first = wait.from.before(SAME_MOMENT);
        let last = match wait.from {
            // The wait began before the first event that is known of the task.
            MonotonicNs::ZERO => wait.to,
            known => known.after(SAME_MOMENT),
        };
        let mut found = None;
        for event in self.between(first, last) {
            if let Happening::Wait(stack) = &event.what
                && event.tid == task.tid
            {
                found = Some(&stack[..]);
            }
        }
        found
    }

    /// Returns how long each task had a CPU between two moments, the longest first. Time of which nothing is recorded is
    /// not in it.
    #[must_use]
    pub fn occupants(
        &self,
        cpu: u32,
        from: MonotonicNs,
        to: MonotonicNs,
    ) -> Vec<(TaskId, Duration)> {
        let mut times: BTreeMap<TaskId, Duration> = BTreeMap::new();
        let mut add = |task: TaskId, since: MonotonicNs, until: MonotonicNs| {
            let time = until.min(to).since(since.max(from));
            if !time.is_zero() {
                *times.entry(task).or_default() += time;
            }
        };
        let (mut since, mut occupant) = match self.switched_to(cpu, from) {
            Some((at, task)) => (at, Some(task)),
            None => (MonotonicNs::ZERO, None),
        };
        // The first switch after the end tells who had the CPU until then.
        for event in self.between(from, MonotonicNs::MAX) {
            let Happening::Switch {
                from: before,
                to: after,
                ..
            } = &event.what
            else {
                continue;
            };
            if event.cpu != cpu {
                continue;
            }
            // A switch that was not recorded lies in between if it was another task.
            if occupant.is_none_or(|task: TaskId| task.pid == before.pid) {
                add(*before, since, event.at);
            }
            (since, occupant) = (event.at, Some(*after));
            if event.at >= to {
                break;
            }
        }
        if let Some(last) = occupant {
            let mut gaps = self.switch_gaps();
            let gap = gaps.find(|gap| gap.cpu == cpu && gap.to > since);
            add(last, since, gap.map_or(to, |gap| gap.from.min(to)));
        }
        let mut times: Vec<(TaskId, Duration)> = times.into_iter().collect();
        times.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        times
    }

    /// Returns the last switch of a CPU before a moment: its time and the task that was given the CPU.
    fn switched_to(&self, cpu: u32, at: MonotonicNs) -> Option<(MonotonicNs, TaskId)> {
        let mut earlier = self.between(MonotonicNs::ZERO, at).iter().rev();
        earlier.find_map(|event| match &event.what {
            Happening::Switch { to, .. } if event.cpu == cpu => Some((event.at, *to)),
            _ => None,
        })
    }

    /// Returns the task that had a CPU at a moment, if that is known.
    #[must_use]
    pub fn occupant_at(&self, cpu: u32, at: MonotonicNs) -> Option<TaskId> {
        let after = at.after(Duration::from_nanos(1));
        self.occupants(cpu, at, after)
            .first()
            .map(|(task, _)| *task)
    }
}

/// Returns an activity that has just ended, from what was known of it and what the event that ended it tells.
fn refine<'a>(known: Activity<'a>, told: Activity<'a>) -> Activity<'a> {
    match (known, told) {
        (Activity::Unknown, told) => told,
        // A waking only tells on which CPU it ran before; the switch tells on which it waited to run.
        (Activity::IsReady(_), Activity::IsReady(cpu)) => Activity::IsReady(cpu),
        (Activity::Waits { reason, .. }, Activity::Waits { woken_by, .. }) => Activity::Waits {
            reason,
            stack: None,
            woken_by,
        },
        (known, _) => known,
    }
}

/// Returns what a task did before an event and what it does after it, if the event is about the task.
fn transition(pid: u32, event: &TraceEvent) -> Option<(Activity<'_>, Activity<'_>)> {
    let waits = |reason, woken_by| Activity::Waits {
        reason,
        stack: None,
        woken_by,
    };
    match &event.what {
        Happening::Switch { from, reason, .. } if from.pid == pid => {
            let after = match reason {
                SwitchReason::Preempted => Activity::IsReady(event.cpu),
                reason => waits(*reason, None),
            };
            Some((Activity::Runs(event.cpu), after))
        }
        Happening::Switch { to, .. } if to.pid == pid => {
            Some((Activity::IsReady(event.cpu), Activity::Runs(event.cpu)))
        }
        Happening::Waking { pid: woken, on } if *woken == pid => Some((
            waits(SwitchReason::Sleeps, Some(event)),
            Activity::IsReady(*on),
        )),
        _ => None,
    }
}
