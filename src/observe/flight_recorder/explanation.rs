//! Explains a late answer: the time from the moment at which it was wanted until it came is divided among its causes.

use std::time::Duration;

use super::cause::{Cause, cause_of_wait};
use super::disk_requests::{DiskWork, disk_work};
use super::kernel_symbols::{KernelSymbols, request_of};
use super::ring_kind::RingKind;
use super::task_timeline::{Activity, Segment, Task};
use super::trace_event::{Happening, Recording, SwitchReason, TraceEvent};
use crate::report::units::format_seconds;
use crate::sys::clock::MonotonicNs;

/// The CPU is taken for absent if it was not asked what it does for this long while a task ran, five periods of the clock.
const MIN_ABSENCE: Duration = Duration::from_millis(10);

/// The longest that one task reclaims memory for one allocation, in which its begin is looked for.
const MAX_RECLAIM: Duration = Duration::from_secs(10);

/// The trace point of balance_dirty_pages is this little before the wait.
const HELD_BACK: Duration = Duration::from_millis(1);

/// Largest number of generations of children that are followed.
const MAX_GENERATIONS: u32 = 2;

/// Causes with less than this share of the whole time are left out of the sentence.
const MIN_SHARE: f64 = 0.05;

/// Largest number of causes in the sentence.
const MAX_NAMED: usize = 3;

/// A late answer that is to be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateAnswer {
    /// The prober, by the number that this process knows it by.
    pub tid: u32,
    /// The moment at which the answer was wanted, or a later one if the time before is explained elsewhere.
    pub wanted: MonotonicNs,
    /// The moment at which the previous operation of the prober was complete.
    pub idle_since: MonotonicNs,
    /// The moment at which the operation began.
    pub start: MonotonicNs,
    /// The moment at which the answer came.
    pub end: MonotonicNs,
}

/// A cause, with the time that it took and what is known of it in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CauseTime {
    /// The cause, without its details.
    pub cause: Cause,
    /// The time that it took.
    pub time: Duration,
    /// What happened, in the words of a sentence.
    pub words: CauseWords,
}

/// What happened, in words around the time that it took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CauseWords {
    /// The words that `for TIME` follows.
    pub before_time: String,
    /// What else is known of it; empty if there is nothing.
    pub details: String,
}

impl From<String> for CauseWords {
    fn from(before_time: String) -> Self {
        let details = String::new();
        Self {
            before_time,
            details,
        }
    }
}

impl From<&str> for CauseWords {
    fn from(before_time: &str) -> Self {
        before_time.to_owned().into()
    }
}

/// The causes of a late answer, the one that took most time first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// The causes, of which none is there twice.
    pub causes: Vec<CauseTime>,
}

impl Explanation {
    /// Adds a cause. The words of the longer part are kept.
    pub fn add(&mut self, cause: Cause, time: Duration, words: impl Into<CauseWords>) {
        if time.is_zero() {
            return;
        }
        let words = words.into();
        match self.causes.iter_mut().find(|other| other.cause == cause) {
            Some(other) => {
                if time > other.time {
                    other.words = words;
                }
                other.time += time;
            }
            None => self.causes.push(CauseTime { cause, time, words }),
        }
    }

    /// Puts the cause that took most time first.
    pub fn sort(&mut self) {
        self.causes.sort_by_key(|part| std::cmp::Reverse(part.time));
    }

    /// Returns the most important causes as one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let all: Duration = self.causes.iter().map(|part| part.time).sum();
        let least = all.mul_f64(MIN_SHARE);
        let named = self.causes.iter().filter(|part| part.time >= least);
        let named = named.take(MAX_NAMED).map(|part| {
            let time = format_seconds(part.time.as_secs_f64());
            let CauseWords {
                before_time,
                details,
            } = &part.words;
            match details.as_str() {
                "" => format!("{before_time} for {time}"),
                details => format!("{before_time} for {time} ({details})"),
            }
        });
        named.collect::<Vec<_>>().join("; ")
    }
}

/// Explains late answers from a recording.
#[derive(Debug, Clone, Copy)]
pub struct Explainer<'a> {
    /// The events of the time.
    pub recording: &'a Recording,
    /// The names of the kernel's functions.
    pub symbols: &'a KernelSymbols,
}

impl Explainer<'_> {
    /// Divides the time of a late answer among its causes.
    #[must_use]
    pub fn explain(&self, late: &LateAnswer) -> Explanation {
        let task = self.recording.task(late.tid);
        let mut explanation = Explanation::default();
        self.add_task(task, late, 0, &mut explanation);
        explanation.sort();
        explanation
    }

    /// Adds the time of a task, and that of its child while it waits for it.
    fn add_task(&self, task: Task, late: &LateAnswer, generation: u32, sum: &mut Explanation) {
        for mut segment in self.recording.timeline(task, late.wanted, late.end) {
            self.cut_unrecorded(&mut segment, sum);
            match segment.activity {
                Activity::Runs(cpu) => self.add_running(task, cpu, &segment, sum),
                Activity::IsReady(cpu) => self.add_ready(cpu, &segment, sum),
                Activity::Waits { .. } => self.add_wait(task, late, &segment, generation, sum),
                Activity::Unknown => {
                    let words = "it did what is not recorded";
                    sum.add(Cause::NotRecorded, segment.length(), words);
                }
            }
        }
    }

    /// Cuts off the part of a segment in which switches of tasks were overwritten. A wait whose begin is recorded remains,
    /// since the call chains are kept longer.
    fn cut_unrecorded(&self, segment: &mut Segment, sum: &mut Explanation) {
        let is_known = matches!(segment.activity, Activity::Waits { stack: Some(_), .. });
        let recorded = self.recording.complete_since().min(segment.to);
        if !is_known && segment.from < recorded {
            let words = "it did what is not recorded any more";
            sum.add(Cause::NotRecorded, recorded.since(segment.from), words);
            segment.from = recorded;
        }
    }

    /// Adds time on the CPU: for memory, or for the operation itself.
    fn add_running(&self, task: Task, cpu: u32, segment: &Segment, sum: &mut Explanation) {
        // Compaction is a part of reclaim where both are recorded.
        let times = (
            self.time_of(task, segment, compaction_border),
            self.time_of(task, segment, reclaim_border),
        );
        let (Some(compaction), Some(reclaim)) = times else {
            let words = "it ran, and whether for memory is not recorded";
            return sum.add(Cause::NotRecorded, segment.length(), words);
        };
        let reclaim = reclaim.saturating_sub(compaction);
        let rest = segment.length().saturating_sub(compaction + reclaim);
        sum.add(Cause::Compaction, compaction, "compaction of memory ran");
        sum.add(Cause::DirectReclaim, reclaim, "direct reclaim ran");
        let (request, samples) = self.request(cpu, task.tid, segment);
        let is_sampled = !self
            .recording
            .is_missing(RingKind::Stacks, segment.from, segment.to);
        if samples == 0 && rest >= MIN_ABSENCE && !is_sampled {
            let words = "it ran, and what it did is not recorded";
            sum.add(Cause::NotRecorded, rest, words);
        } else if samples == 0 && rest >= MIN_ABSENCE {
            sum.add(Cause::CpuAbsent, rest, absent(cpu, "it ran there"));
        } else {
            let words = match request {
                Some(request) => format!("it ran itself in {request}"),
                None => "it ran itself".to_owned(),
            };
            sum.add(Cause::OwnWork, rest, words);
        }
    }

    /// Returns how much of a segment lies between the begin and the end of something that a task does. It is `None` if a
    /// begin or an end may be missing.
    fn time_of(&self, task: Task, segment: &Segment, border: Border) -> Option<Duration> {
        let is_missing = |from| {
            self.recording
                .is_missing(RingKind::Others, from, segment.to)
        };
        if is_missing(segment.from) {
            return None;
        }
        let of_task = |event: &&TraceEvent| event.tid == task.tid;
        let mut since = self
            .was_begun(task, segment.from, border)
            .then_some(segment.from);
        let mut is_first = since.is_none();
        let mut time = Duration::ZERO;
        let events = self.recording.between(segment.from, segment.to);
        for event in events.iter().filter(of_task) {
            match border(&event.what) {
                Some(true) => since = Some(event.at),
                // Its begin lies before all that was read.
                Some(false) if is_first => return None,
                Some(false) => time += since.take().map_or(Duration::ZERO, |at| event.at.since(at)),
                None => continue,
            }
            is_first = false;
        }
        Some(time + since.map_or(Duration::ZERO, |at| segment.to.since(at)))
    }

    /// Returns whether a task had begun something before a moment and had not ended it.
    fn was_begun(&self, task: Task, at: MonotonicNs, border: Border) -> bool {
        let earlier = self
            .recording
            .between(at.before(MAX_RECLAIM), at)
            .iter()
            .rev();
        let mut borders = earlier.filter(|event| event.tid == task.tid);
        borders
            .find_map(|event| Some((event.at, border(&event.what)?)))
            .is_some_and(|(begun, is_begin)| {
                // Its end may be among the records that are missing.
                is_begin && !self.recording.is_missing(RingKind::Others, begun, at)
            })
    }

    /// Adds time in which the task could have run, by those who had its CPU.
    fn add_ready(&self, cpu: u32, segment: &Segment, sum: &mut Explanation) {
        let mut rest = segment.length();
        for (occupant, time) in self.recording.occupants(cpu, segment.from, segment.to) {
            rest = rest.saturating_sub(time);
            if occupant.is_idle() {
                sum.add(Cause::CpuAbsent, time, absent(cpu, "it was idle"));
                continue;
            }
            let name = occupant.name();
            let tid = self.recording.tid_of(occupant.pid);
            let words = match self.request(cpu, tid, segment).0 {
                Some(request) => format!("{name} was on the CPU in {request}"),
                None => format!("{name} was on the CPU"),
            };
            sum.add(Cause::CpuTaken(name), time, words);
        }
        let words = "it was ready while a task that is not recorded was on the CPU";
        sum.add(Cause::NotRecorded, rest, words);
    }

    /// Returns what a task was most often found to ask the kernel for on a CPU, and how often it was found there.
    fn request(&self, cpu: u32, tid: u32, segment: &Segment) -> (Option<String>, usize) {
        let mut found: Vec<(String, usize)> = Vec::new();
        let mut samples = 0;
        for event in self.recording.between(segment.from, segment.to) {
            let Happening::Sample(stack) = &event.what else {
                continue;
            };
            if event.cpu != cpu || event.tid != tid {
                continue;
            }
            samples += 1;
            let Some(request) = request_of(&self.symbols.names(stack)) else {
                continue;
            };
            match found.iter_mut().find(|(name, _)| *name == request) {
                Some((_, count)) => *count += 1,
                None => found.push((request, 1)),
            }
        }
        let most = found.into_iter().max_by_key(|(_, count)| *count);
        // Where it was mostly found in user mode, no system call is to be named.
        let most = most.filter(|(_, count)| 2 * count >= samples);
        (most.map(|(request, _)| request), samples)
    }

    /// Adds time in which the task waited.
    fn add_wait(
        &self,
        task: Task,
        late: &LateAnswer,
        segment: &Segment,
        generation: u32,
        sum: &mut Explanation,
    ) {
        let Activity::Waits {
            reason,
            stack,
            woken_by,
        } = &segment.activity
        else {
            return;
        };
        let functions = self.symbols.names(stack.unwrap_or_default());
        if *reason == SwitchReason::Stopped {
            let words = self.stop_words(task, segment.to);
            sum.add(Cause::Stopped, segment.length(), words);
        } else if let Some((cause, words)) = self.known_wait(task, &functions, segment, *woken_by) {
            sum.add(cause, segment.length(), words);
        } else if segment.from < late.idle_since {
            let words = "its previous operation waited";
            sum.add(Cause::OtherWait, segment.length(), words);
        } else if *reason == SwitchReason::Sleeps && segment.to <= late.start {
            // It slept beyond the moment at which it wanted to wake.
            self.add_late_timer(segment, *woken_by, sum);
        } else {
            self.add_child(task, late, &functions, segment, generation, sum);
        }
    }

    /// Returns the cause of a wait that is no wait for a child, with its words.
    fn known_wait(
        &self,
        task: Task,
        functions: &[&str],
        segment: &Segment,
        woken_by: Option<&TraceEvent>,
    ) -> Option<(Cause, CauseWords)> {
        match cause_of_wait(functions) {
            Some((Cause::Child, _)) => None,
            Some((cause, function)) => {
                let place = (functions, function);
                let words = self.wait_words(&cause, place, segment, woken_by);
                Some((cause, words))
            }
            None if self.was_begun(task, segment.from, reclaim_border) => {
                Some((Cause::DirectReclaim, "direct reclaim waited".into()))
            }
            None if self.is_held_back(task, segment.from) => {
                let words = "balance_dirty_pages held it back".into();
                Some((Cause::DirtyThrottling, words))
            }
            None => None,
        }
    }

    /// Adds what the child did while the task waited for it, or the wait itself if there is no child.
    fn add_child(
        &self,
        task: Task,
        late: &LateAnswer,
        functions: &[&str],
        segment: &Segment,
        generation: u32,
        sum: &mut Explanation,
    ) {
        let since = late.start.min(segment.from);
        let child = self.recording.child_of(task, since, segment.to);
        if let Some(child) = child.filter(|_| generation < MAX_GENERATIONS) {
            let part = LateAnswer {
                tid: child.tid,
                wanted: segment.from,
                idle_since: segment.from,
                start: segment.from,
                end: segment.to,
            };
            return self.add_task(child, &part, generation + 1, sum);
        }
        if cause_of_wait(functions).is_some() {
            return sum.add(Cause::Child, segment.length(), "it waited for its child");
        }
        let missing = |kind, from| self.recording.is_missing(kind, from, segment.to);
        if missing(RingKind::Others, since)
            || (functions.is_empty() && missing(RingKind::Stacks, segment.from))
        {
            let words = "it waited, and for what is not recorded";
            return sum.add(Cause::NotRecorded, segment.length(), words);
        }
        let place = functions.iter().find(|name| !is_scheduler(name));
        let place = place.map_or_else(String::new, |name| format!(" in {name}"));
        let words = format!("it waited{place}");
        sum.add(Cause::OtherWait, segment.length(), words);
    }

    /// Describes a wait of a known cause.
    fn wait_words(
        &self,
        cause: &Cause,
        (functions, function): (&[&str], &str),
        segment: &Segment,
        woken_by: Option<&TraceEvent>,
    ) -> CauseWords {
        let waker = woken_by.and_then(|event| self.recording.occupant_at(event.cpu, event.at));
        let waker = waker.filter(|task| !task.is_idle());
        let waker = waker.map(|task| format!("woken by {}", task.name()));
        let disk = match disk_work(self.recording, segment.from, segment.to) {
            DiskWork::Slowest(numbers, time) => {
                let time = format_seconds(time.as_secs_f64());
                Some(format!(
                    "the disk {numbers} took up to {time} for a request"
                ))
            }
            DiskWork::NoRequest => Some("no request was at a disk".to_owned()),
            DiskWork::NotRecorded => None,
        };
        let (what, details) = match cause {
            Cause::DirtyThrottling => return format!("{function} held it back").into(),
            Cause::DirectReclaim => return format!("direct reclaim waited in {function}").into(),
            Cause::Journal => ("it waited for the journal", [waker, disk]),
            Cause::Lock => ("it waited for a lock", [waker, None]),
            Cause::Writeback => ("it waited for a page under writeback", [disk, None]),
            Cause::DiskQueue => ("it waited for room in the queue of the disk", [disk, None]),
            _ => ("it waited for the disk", [disk, None]),
        };
        // The function that all waits for a disk have in common says little.
        let mut places = functions.iter().filter(|name| !is_scheduler(name));
        let place = match function.contains("schedule") {
            true => places.next().copied().unwrap_or(function),
            false => function,
        };
        let details: Vec<String> = details.into_iter().flatten().collect();
        CauseWords {
            before_time: format!("{what} in {place}"),
            details: details.join("; "),
        }
    }

    /// Adds time in which the task should have been woken by its timer.
    fn add_late_timer(
        &self,
        segment: &Segment,
        woken_by: Option<&TraceEvent>,
        sum: &mut Explanation,
    ) {
        let Some(woken_by) = woken_by else {
            return sum.add(Cause::NotRecorded, segment.length(), "it slept");
        };
        let occupants = self
            .recording
            .occupants(woken_by.cpu, segment.from, segment.to);
        let who = match occupants.first() {
            Some((task, _)) if !task.is_idle() => format!("{} was there", task.name()),
            Some(_) => "it was idle".to_owned(),
            None => return sum.add(Cause::NotRecorded, segment.length(), "it slept"),
        };
        let words = format!("CPU {} took no timer interrupt while {who}", woken_by.cpu);
        sum.add(Cause::CpuAbsent, segment.length(), words);
    }

    /// Names the task that sent the signal by which a task was stopped.
    fn stop_words(&self, task: Task, until: MonotonicNs) -> String {
        let earlier = self.recording.between(MonotonicNs::ZERO, until).iter();
        let mut sent = earlier
            .filter(|event| matches!(event.what, Happening::StopSignal { pid } if pid == task.pid));
        let Some(sent) = sent.next_back() else {
            return "a stop signal stopped it".to_owned();
        };
        // A number of 0: the sender is not in the PID namespace of this process.
        let sender = match sent.tid {
            0 => self.recording.occupant_at(sent.cpu, sent.at),
            tid => self.recording.switched_task(tid),
        };
        let sender = match sender {
            Some(task) => format!(" from {}", task.name()),
            None if sent.tid == 0 => String::new(),
            None => format!(" from process {}", sent.tid),
        };
        format!("a stop signal{sender} stopped it")
    }

    /// Returns whether a task was held back for the pages that it made dirty when it went to sleep at a moment.
    fn is_held_back(&self, task: Task, at: MonotonicNs) -> bool {
        let (since, until) = (at.before(HELD_BACK), at.after(Duration::from_micros(100)));
        let mut events = self.recording.between(since, until).iter();
        events.any(|event| event.tid == task.tid && event.what == Happening::DirtyPause)
    }
}

fn absent(cpu: u32, doing: &str) -> String {
    format!("CPU {cpu} did nothing although {doing} (interrupts off, or taken by the hypervisor)")
}

/// Returns whether a function is one of those by which every task goes to sleep or waits for a bit.
fn is_scheduler(name: &str) -> bool {
    let common = [
        "schedule",
        "wait_on_bit",
        "bit_wait",
        "__switch",
        "wait_common",
    ];
    common.iter().any(|part| name.contains(part))
}

/// Returns whether an event is the begin of something, its end, or neither.
type Border = fn(&Happening) -> Option<bool>;

fn reclaim_border(what: &Happening) -> Option<bool> {
    match what {
        Happening::ReclaimBegin => Some(true),
        Happening::ReclaimEnd => Some(false),
        _ => None,
    }
}

fn compaction_border(what: &Happening) -> Option<bool> {
    match what {
        Happening::CompactionBegin => Some(true),
        Happening::CompactionEnd => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::missing_records::MissingRecords;
    use super::super::trace_event::{DiskRequest, TaskId};
    use super::*;

    const PROBER: u32 = 100;
    const OTHER: u32 = 200;

    /// Numbers of the whole machine are by this much larger than those of this process.
    const PID_OFFSET: u32 = 1000;

    const SYMBOLS: &str = "1000 T do_syscall_64\n2000 T ksys_lseek\n3000 T shmem_file_llseek\n\
        4000 T jbd2_log_wait_commit\n5000 T do_wait\n6000 T balance_dirty_pages\n7000 T schedule\n";

    fn at(ms: u64) -> MonotonicNs {
        MonotonicNs::from_nanos(ms * 1_000_000)
    }

    fn event(ms: u64, tid: u32, what: Happening) -> TraceEvent {
        TraceEvent {
            at: at(ms),
            cpu: 0,
            tid,
            what,
        }
    }

    fn id(tid: u32) -> TaskId {
        let name: &[u8] = match tid {
            0 => return TaskId::new(0, b"swapper/0"),
            PROBER => b"fork-on-CPU-0",
            _ => b"mmapcp",
        };
        TaskId::new(tid + PID_OFFSET, name)
    }

    fn switch(ms: u64, from: u32, reason: SwitchReason, to: u32) -> TraceEvent {
        let what = Happening::Switch {
            from: id(from),
            reason,
            to: id(to),
        };
        event(ms, from, what)
    }

    fn waking(ms: u64, by: u32, tid: u32) -> TraceEvent {
        let pid = tid + PID_OFFSET;
        event(ms, by, Happening::Waking { pid, on: 0 })
    }

    /// Explains the time from 10 ms to 60 ms, where the operation began at `start`.
    fn explain(events: Vec<TraceEvent>, start: u64) -> Explanation {
        explain_from(events, start, MonotonicNs::ZERO)
    }

    fn explain_from(events: Vec<TraceEvent>, start: u64, complete: MonotonicNs) -> Explanation {
        explain_recording(&Recording::new(events, complete), 10, start)
    }

    fn explain_recording(recording: &Recording, idle_since: u64, start: u64) -> Explanation {
        let symbols = KernelSymbols::parse(SYMBOLS);
        let explainer = Explainer {
            recording,
            symbols: &symbols,
        };
        let explanation = explainer.explain(&LateAnswer {
            tid: PROBER,
            wanted: at(10),
            idle_since: at(idle_since),
            start: at(start),
            end: at(60),
        });
        let all: Duration = explanation.causes.iter().map(|part| part.time).sum();
        assert_eq!(all, Duration::from_millis(50), "{explanation:?}");
        explanation
    }

    fn times(explanation: &Explanation) -> Vec<(String, u128)> {
        let causes = explanation.causes.iter();
        let times = causes.map(|part| (part.cause.label(), part.time.as_millis()));
        times.collect()
    }

    fn want(parts: &[(&str, u128)]) -> Vec<(String, u128)> {
        let parts = parts.iter();
        parts
            .map(|(name, time)| ((*name).to_owned(), *time))
            .collect()
    }

    /// The case of the man page: another task has the CPU, and is found in a system call.
    #[test]
    fn another_task_had_the_cpu() {
        let sample = |ms| event(ms, OTHER, Happening::Sample(vec![0x3010, 0x2010, 0x1010]));
        let told = explain(
            vec![
                switch(1, PROBER, SwitchReason::Sleeps, OTHER),
                waking(11, OTHER, PROBER),
                sample(20),
                sample(40),
                switch(55, OTHER, SwitchReason::Preempted, PROBER),
                event(56, PROBER, Happening::Sample(vec![])),
                switch(61, PROBER, SwitchReason::Sleeps, 0),
            ],
            55,
        );
        let parts = [
            ("CPU taken by mmapcp", 44),
            ("own work", 5),
            ("CPU absent", 1),
        ];
        assert_eq!(times(&told), want(&parts));
        let sentence = told.sentence();
        let first = "mmapcp was on the CPU in lseek for 44 ms; it ran itself for 5 ms";
        assert_eq!(sentence, first);
    }

    #[test]
    fn waits_are_told_by_their_call_chains() {
        let request = DiskRequest {
            device: 8 << 20,
            sector: 64,
        };
        let told = explain(
            vec![
                switch(9, 0, SwitchReason::Preempted, PROBER),
                event(11, PROBER, Happening::Wait(vec![0x7010, 0x4010])),
                switch(11, PROBER, SwitchReason::Waits, 0),
                event(12, 0, Happening::DiskIssue(request)),
                event(41, 0, Happening::DiskComplete(request)),
                switch(41, 0, SwitchReason::Preempted, OTHER),
                waking(42, OTHER, PROBER),
                switch(44, OTHER, SwitchReason::Sleeps, PROBER),
                event(45, PROBER, Happening::DirtyPause),
                event(45, PROBER, Happening::Wait(vec![0x7010])),
                switch(45, PROBER, SwitchReason::Waits, 0),
                waking(59, 0, PROBER),
                switch(59, 0, SwitchReason::Preempted, PROBER),
            ],
            10,
        );
        let parts = [
            ("journal", 31),
            ("dirty throttling", 14),
            ("own work", 3),
            ("CPU taken by mmapcp", 2),
        ];
        assert_eq!(times(&told), want(&parts));
        assert_eq!(
            told.sentence(),
            "it waited for the journal in jbd2_log_wait_commit for 31 ms (woken by mmapcp; the disk 8:0 took up to 29 ms \
             for a request); balance_dirty_pages held it back for 14 ms; it ran itself for 3 ms"
        );
    }

    #[test]
    fn memory_and_a_late_timer_and_an_absent_cpu_are_told() {
        let told = explain(
            vec![
                switch(2, PROBER, SwitchReason::Sleeps, OTHER),
                waking(20, OTHER, PROBER),
                switch(20, OTHER, SwitchReason::Sleeps, PROBER),
                event(21, PROBER, Happening::ReclaimBegin),
                event(25, PROBER, Happening::CompactionBegin),
                event(28, PROBER, Happening::CompactionEnd),
                event(40, PROBER, Happening::ReclaimEnd),
                switch(59, PROBER, SwitchReason::Sleeps, 0),
                waking(59, 0, PROBER),
                switch(59, 0, SwitchReason::Preempted, PROBER),
            ],
            20,
        );
        // The clock of the CPU did not find the prober in 20 ms.
        let parts = [
            ("CPU absent", 30),
            ("direct reclaim", 16),
            ("compaction", 3),
            ("own work", 1),
        ];
        assert_eq!(times(&told), want(&parts), "{told:?}");
    }

    /// Makes the event of a stop signal that OTHER has sent to PROBER.
    fn stop_signal(at: u64) -> TraceEvent {
        let pid = PROBER + PID_OFFSET;
        event(at, OTHER, Happening::StopSignal { pid })
    }

    #[test]
    fn a_stop_and_its_sender_are_told() {
        let told = explain(
            vec![
                switch(5, PROBER, SwitchReason::Sleeps, OTHER),
                stop_signal(12),
                waking(12, OTHER, PROBER),
                switch(13, OTHER, SwitchReason::Preempted, PROBER),
                switch(13, PROBER, SwitchReason::Stopped, OTHER),
                waking(58, OTHER, PROBER),
                switch(59, OTHER, SwitchReason::Sleeps, PROBER),
                event(59, PROBER, Happening::Sample(vec![])),
            ],
            59,
        );
        assert_eq!(times(&told)[0], ("stopped".into(), 45));
        let sentence = told.sentence();
        assert!(
            sentence.starts_with("a stop signal from mmapcp stopped it for 45 ms"),
            "{sentence}"
        );
    }

    /// The event of the signal has the number of its sender.
    #[test]
    fn a_sender_that_no_switch_names_is_told_by_its_number() {
        let told = explain(
            vec![
                stop_signal(12),
                switch(13, PROBER, SwitchReason::Stopped, 0),
                switch(59, 0, SwitchReason::Preempted, PROBER),
            ],
            59,
        );
        let want = format!("a stop signal from process {OTHER} stopped it");
        assert!(told.sentence().starts_with(&want), "{}", told.sentence());
    }

    /// The time of a parent that waits for its child is the child's.
    #[test]
    fn a_child_is_followed() {
        const CHILD: u32 = 101;
        let fork = Happening::Fork {
            parent: PROBER + PID_OFFSET,
            child: CHILD + PID_OFFSET,
        };
        let told = explain(
            vec![
                switch(9, 0, SwitchReason::Preempted, PROBER),
                event(10, PROBER, Happening::Sample(vec![])),
                event(11, PROBER, fork),
                switch(12, PROBER, SwitchReason::Sleeps, OTHER),
                switch(50, OTHER, SwitchReason::Preempted, CHILD),
                switch(58, CHILD, SwitchReason::Ended, OTHER),
                waking(58, CHILD, PROBER),
                switch(59, OTHER, SwitchReason::Preempted, PROBER),
            ],
            10,
        );
        let parts = [("CPU taken by mmapcp", 39), ("own work", 11)];
        assert_eq!(times(&told), want(&parts), "{told:?}");
    }

    /// A waking tells only where the task ran before: it waits for the CPU on which it runs next.
    #[test]
    fn the_cpu_that_was_waited_for_is_that_of_the_next_switch() {
        let on_one = |event| TraceEvent { cpu: 1, ..event };
        let told = explain(
            vec![
                switch(1, PROBER, SwitchReason::Sleeps, 0),
                on_one(switch(2, 0, SwitchReason::Preempted, OTHER)),
                waking(10, 0, PROBER),
                on_one(switch(59, OTHER, SwitchReason::Preempted, PROBER)),
            ],
            59,
        );
        let parts = [("CPU taken by mmapcp", 49), ("own work", 1)];
        assert_eq!(times(&told), want(&parts), "{told:?}");
    }

    /// A wait in the operation before is not taken for a timer that came late.
    #[test]
    fn the_previous_operation_is_told_apart_from_a_late_timer() {
        let events = || {
            vec![
                switch(2, PROBER, SwitchReason::Sleeps, OTHER),
                waking(50, OTHER, PROBER),
                switch(50, OTHER, SwitchReason::Sleeps, PROBER),
                event(55, PROBER, Happening::Sample(vec![])),
                switch(61, PROBER, SwitchReason::Sleeps, 0),
            ]
        };
        let recording = Recording::new(events(), MonotonicNs::ZERO);
        let told = |idle_since| times(&explain_recording(&recording, idle_since, 51))[0].clone();
        assert_eq!(told(9), ("CPU absent".into(), 40));
        assert_eq!(told(50), ("other wait".into(), 40));
    }

    fn missing(kind: RingKind, from: u64, to: u64) -> MissingRecords {
        MissingRecords {
            kind,
            cpu: 0,
            from: at(from),
            to: at(to),
        }
    }

    /// The prober runs from 9 ms to 61 ms by its switches, and no clock of the CPU found it.
    #[test]
    fn nothing_is_concluded_from_records_that_are_missing() {
        let told = |span: MissingRecords, returns: Option<TraceEvent>| {
            let mut events = vec![
                switch(9, 0, SwitchReason::Preempted, PROBER),
                switch(61, PROBER, SwitchReason::Sleeps, 0),
            ];
            events.extend(returns);
            let recording = Recording::new(events, MonotonicNs::ZERO).with_missing(vec![span]);
            times(&explain_recording(&recording, 10, 10))
        };
        let absent = want(&[("CPU absent", 50)]);
        assert_eq!(told(missing(RingKind::Others, 1, 8), None), absent);
        let unknown = want(&[("not recorded", 50)]);
        for kind in [RingKind::Stacks, RingKind::Others] {
            for (from, to) in [(0, 20), (30, 31)] {
                assert_eq!(told(missing(kind, from, to), None), unknown, "{kind:?}");
            }
        }
        let gap = missing(RingKind::Switches, 30, 32);
        let parts = want(&[("CPU absent", 48), ("not recorded", 2)]);
        assert_eq!(told(gap, None), parts);
        // It left the CPU while nothing was recorded, and nobody knows for whom.
        let returns = switch(59, 0, SwitchReason::Preempted, PROBER);
        let parts = want(&[("not recorded", 29), ("CPU absent", 20), ("own work", 1)]);
        assert_eq!(told(gap, Some(returns)), parts);
    }

    #[test]
    fn what_was_overwritten_is_said() {
        let events = || {
            vec![
                switch(40, OTHER, SwitchReason::Preempted, PROBER),
                event(41, PROBER, Happening::Sample(vec![])),
                switch(61, PROBER, SwitchReason::Sleeps, 0),
            ]
        };
        let told = explain_from(events(), 10, at(30));
        let parts = [
            ("not recorded", 20),
            ("own work", 20),
            ("CPU taken by mmapcp", 10),
        ];
        let mut told = times(&told);
        told.sort();
        let mut parts = want(&parts);
        parts.sort();
        assert_eq!(told, parts);
        let nothing = explain_from(Vec::new(), 10, MonotonicNs::ZERO);
        assert_eq!(times(&nothing), want(&[("not recorded", 50)]));
    }
}
