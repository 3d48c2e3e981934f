//! The flight recorder: trace points of all CPUs in ring buffers of the kernel, which always run and keep the newest
//! events, and are read only when somebody asks.

use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::event_decoder::EventDecoder;
use super::kernel_symbols::KernelSymbols;
use super::missing_records::MissingRecords;
use super::ring_kind::RingKind;
use super::trace_event::{Recording, TraceEvent};
use super::trace_point::TraceFs;
use crate::observe::error::{ObserveError, failed, unavailable};
use crate::observe::kernel_file::{path_below, read_trimmed};
use crate::sys::clock::MonotonicNs;
use crate::sys::perf_event::{FlightRing, PerfEvent, Trigger};

/// How often a CPU that is not idle is asked what it is doing. It is prime, so that it does not run in step with the
/// tick. A sample with its call chain takes 3 us, which is 0.15 % of a CPU.
const SAMPLES_PER_SECOND: u64 = 499;

/// Bytes of the ring buffers of a CPU: those of switches and wakings, of call chains, and of all others. Half a million
/// bytes are 4500 switches, which is a second of a busy CPU.
const SWITCH_RING_BYTES: usize = 2 << 20;
const STACK_RING_BYTES: usize = 1 << 20;
const OTHER_RING_BYTES: usize = 512 << 10;

/// Most bytes of all ring buffers together. On machines with more than 18 CPUs each has less.
const MAX_RING_BYTES: usize = 64 << 20;

/// Fewest bytes of a ring buffer, for a machine with very many CPUs.
const MIN_RING_BYTES: usize = 64 << 10;

/// How long before the events that are read it is kept when the ring buffers were read.
const MAX_GAP_AGE: Duration = Duration::from_secs(60);

/// Descriptors that a recorder needs for each CPU, and those that everything else may need.
const DESCRIPTORS_PER_CPU: u64 = TRACE_POINTS.len() as u64 + 1;
const OTHER_DESCRIPTORS: u64 = 512;

/// A wait with its call chain is recorded only if no signal can end it, which is so for disks, locks and memory.
const WAIT_FILTER: &std::ffi::CStr = c"prev_state == 2";

/// A signal is recorded if it stops the process: SIGSTOP, SIGTSTP, SIGTTIN and SIGTTOU.
const STOP_FILTER: &std::ffi::CStr = c"sig >= 19 && sig <= 22";

/// The trace points that are recorded, with the ring buffer and the filter of each.
const TRACE_POINTS: [(&str, RingKind, Option<&std::ffi::CStr>); 14] = [
    ("sched/sched_switch", RingKind::Switches, None),
    ("sched/sched_waking", RingKind::Switches, None),
    ("sched/sched_switch", RingKind::Stacks, Some(WAIT_FILTER)),
    ("sched/sched_process_fork", RingKind::Others, None),
    (
        "signal/signal_generate",
        RingKind::Others,
        Some(STOP_FILTER),
    ),
    (
        "vmscan/mm_vmscan_direct_reclaim_begin",
        RingKind::Others,
        None,
    ),
    (
        "vmscan/mm_vmscan_direct_reclaim_end",
        RingKind::Others,
        None,
    ),
    (
        "vmscan/mm_vmscan_memcg_reclaim_begin",
        RingKind::Others,
        None,
    ),
    ("vmscan/mm_vmscan_memcg_reclaim_end", RingKind::Others, None),
    ("compaction/mm_compaction_begin", RingKind::Others, None),
    ("compaction/mm_compaction_end", RingKind::Others, None),
    ("writeback/balance_dirty_pages", RingKind::Others, None),
    ("block/block_rq_issue", RingKind::Others, None),
    ("block/block_rq_complete", RingKind::Others, None),
];

/// The recorder of all CPUs. It ends with this value, or with this process, and leaves nothing in the kernel.
#[derive(Debug)]
pub struct FlightRecorder {
    decoder: EventDecoder,
    cpus: Vec<CpuRings>,
    symbols: KernelSymbols,
    /// What this kernel does not have, in words.
    missing: Vec<String>,
    began: MonotonicNs,
    /// The times in which the ring buffers were read and so took no records, and the time before they were there.
    gaps: Vec<MissingRecords>,
}

/// The ring buffers of one CPU, and the events that write into them beside their own.
#[derive(Debug)]
struct CpuRings {
    cpu: u32,
    rings: Vec<(RingKind, FlightRing)>,
    events: Vec<PerfEvent>,
}

/// What a recorder has cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecorderCost {
    /// The time for which it ran.
    pub length: Duration,
    /// The number of records that were written. Their CPU time is charged to whoever caused them.
    pub records: u64,
    /// Bytes of all ring buffers.
    pub bytes: usize,
}

impl FlightRecorder {
    /// Starts to record on all CPUs. `root` has /proc and /sys.
    ///
    /// # Errors
    /// The reason why this machine or this user cannot record.
    pub fn start(root: &Path) -> Result<Self, ObserveError> {
        let traces = TraceFs::open(root)?;
        let mut decoder = EventDecoder::default();
        let (mut known, mut missing) = (Vec::new(), Vec::new());
        for (name, ring, filter) in TRACE_POINTS {
            match traces.trace_point(name) {
                Ok(point) => {
                    known.push((point.number, ring, filter));
                    decoder.add(name, point);
                }
                // Without the scheduler's own, nothing can be told.
                Err(e) if ring != RingKind::Others => return Err(e),
                // A kernel without memory groups has none of theirs.
                Err(_) if name.contains("memcg") => {}
                Err(_) => missing.push(name.to_owned()),
            }
        }
        let online = online_cpus(root)?;
        raise_descriptor_limit(DESCRIPTORS_PER_CPU * online.len() as u64 + OTHER_DESCRIPTORS);
        let share = MAX_RING_BYTES / online.len().max(1);
        let cpus: Result<Vec<CpuRings>, ObserveError> = online
            .into_iter()
            .map(|cpu| CpuRings::open(cpu, &known, share))
            .collect();
        let cpus = cpus?;
        for cpu in &cpus {
            cpu.enable().map_err(|e| failed("start the recorder", e))?;
        }
        let symbols = KernelSymbols::read(root);
        if symbols.is_empty() {
            missing.push("the names of the kernel's functions (kernel.kptr_restrict)".into());
        }
        let began = MonotonicNs::now();
        let not_yet = |kind| MissingRecords {
            kind,
            cpu: 0,
            from: MonotonicNs::ZERO,
            to: began,
        };
        Ok(Self {
            decoder,
            cpus,
            symbols,
            missing,
            began,
            gaps: [RingKind::Stacks, RingKind::Others].map(not_yet).into(),
        })
    }

    /// Returns the events since a moment, as far as they were not overwritten.
    ///
    /// # Errors
    /// The ring buffers cannot be read.
    pub fn read_since(&mut self, since: MonotonicNs) -> Result<Recording, ObserveError> {
        let (mut events, mut complete_since) = (Vec::new(), MonotonicNs::ZERO);
        let mut overwritten = Vec::new();
        self.gaps
            .retain(|gap| !gap.is_gap() || since.before(MAX_GAP_AGE) < gap.to);
        for CpuRings { cpu, rings, .. } in &self.cpus {
            for (kind, ring) in rings {
                let copy = ring.copy_since(since);
                let copy = copy.map_err(|e| failed("read the recorder", e))?;
                let first = events.len();
                let decode = |record: Vec<u8>| self.decoder.decode(*kind, *cpu, &record);
                events.extend(copy.records().filter_map(decode));
                let missing = |from, to| MissingRecords {
                    kind: *kind,
                    cpu: *cpu,
                    from,
                    to,
                };
                if copy.is_cut {
                    let oldest = events[first..]
                        .iter()
                        .map(|event: &TraceEvent| event.at)
                        .min();
                    let oldest = oldest.unwrap_or(copy.paused);
                    overwritten.push(missing(MonotonicNs::ZERO, oldest));
                    if *kind == RingKind::Switches {
                        complete_since = complete_since.max(oldest);
                    }
                }
                self.gaps.push(missing(copy.paused, copy.resumed));
            }
        }
        overwritten.extend(&self.gaps);
        Ok(Recording::new(events, complete_since).with_missing(overwritten))
    }

    /// Returns the names of the kernel's functions.
    #[must_use]
    pub fn symbols(&self) -> &KernelSymbols {
        &self.symbols
    }

    /// Returns what this kernel does not have of what is recorded, in words.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Returns what the recorder has cost so far.
    #[must_use]
    pub fn cost(&self) -> RecorderCost {
        let rings = || self.cpus.iter().flat_map(|cpu| &cpu.rings);
        let events = self.cpus.iter().flat_map(|cpu| &cpu.events);
        let events = events.chain(rings().map(|(_, ring)| ring.event()));
        RecorderCost {
            length: MonotonicNs::now().since(self.began),
            records: events.filter_map(|event| event.count().ok()).sum(),
            bytes: rings().map(|(_, ring)| ring.capacity()).sum(),
        }
    }
}

impl CpuRings {
    /// Opens the events of a CPU, and redirects them to its ring buffers, which have `share` bytes together at most.
    fn open(
        cpu: u32,
        points: &[(u64, RingKind, Option<&std::ffi::CStr>)],
        share: usize,
    ) -> Result<Self, ObserveError> {
        let cannot_record =
            |e: std::io::Error| failed(format!("record the trace points of CPU {cpu}"), e);
        let mut this = Self {
            cpu,
            rings: Vec::new(),
            events: Vec::new(),
        };
        for (number, kind, filter) in points {
            let stack = *kind == RingKind::Stacks;
            let event =
                PerfEvent::open(Trigger::TracePoint(*number), cpu, stack).map_err(cannot_record)?;
            if let Some(filter) = filter {
                event.set_filter(filter).map_err(cannot_record)?;
            }
            this.add(event, *kind, share).map_err(cannot_record)?;
        }
        let clock = PerfEvent::open(Trigger::CpuClock(SAMPLES_PER_SECOND), cpu, true)
            .map_err(cannot_record)?;
        this.add(clock, RingKind::Stacks, share)
            .map_err(cannot_record)?;
        Ok(this)
    }

    /// Adds an event. The first of each kind has the ring buffer.
    fn add(&mut self, event: PerfEvent, kind: RingKind, share: usize) -> std::io::Result<()> {
        let ring = self.rings.iter().find(|(other, _)| *other == kind);
        if let Some((_, ring)) = ring {
            event.redirect_to(ring)?;
            self.events.push(event);
            return Ok(());
        }
        let (wanted, share) = match kind {
            RingKind::Switches => (SWITCH_RING_BYTES, share / 2),
            RingKind::Stacks => (STACK_RING_BYTES, share / 4),
            RingKind::Others => (OTHER_RING_BYTES, share / 8),
        };
        // Rounded down, since the ring buffer rounds up.
        let bytes = 1 << wanted.min(share).max(MIN_RING_BYTES).ilog2();
        self.rings.push((kind, FlightRing::new(event, bytes)?));
        Ok(())
    }

    fn enable(&self) -> std::io::Result<()> {
        for (_, ring) in &self.rings {
            ring.event().enable()?;
        }
        self.events.iter().try_for_each(PerfEvent::enable)
    }
}

/// Raises the limit of open descriptors if it is lower than `needed`, as far as this user may. Programs that are measured
/// inherit it.
fn raise_descriptor_limit(needed: u64) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < needed
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard);
    }
}

/// Returns the CPUs that are online, from a list such as `0-3,8`.
fn online_cpus(root: &Path) -> Result<Vec<u32>, ObserveError> {
    let text = read_trimmed(&path_below(root, "/sys/devices/system/cpu/online"))?;
    parse_cpu_list(&text).ok_or_else(|| unavailable(format!("'{text}' is not a list of CPUs")))
}

fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse_cpu_list("0"), Some(vec![0]));
        assert_eq!(parse_cpu_list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpu_list("0-"), None);
    }
}
