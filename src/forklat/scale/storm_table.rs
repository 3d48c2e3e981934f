//! The table `storm`: N processes are killed at once, and probers measure what others wait for meanwhile, as when a large
//! service is stopped or crashes.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::fork_table::memory;
use super::idle_processes::IdleProcesses;
use super::ramp::{Histograms, Ramp};
use super::scale_result::CostTable;
use super::{ScaleConfig, ScaleTable};
use crate::forklat::cli::probes::ProbeArgs;
use crate::forklat::error::{ForklatError, failed};
use crate::forklat::probe_plan::ProbePlan;
use crate::observe::latency_histograms::{intended_times, record_ns};
use crate::observe::probe::Prober;
use crate::report::units::format_bytes;
use crate::sys::clock::MonotonicNs;
use crate::sys::parked_process;
use crate::sys::process::MainThread;

/// The probes beside a storm, with their periods: shorter than beside a measurement, since a storm of a thousand processes
/// takes some 50 ms.
const PROBES: [(&str, Duration); 2] = [
    ("fork", Duration::from_millis(2)),
    ("wakeup", Duration::from_millis(1)),
];

/// The things that are timed: the probes, in their order, and the time from the first kill until all are reaped.
const SERIES: &[&str] = &["fork", "wakeup", "end"];

/// Number of measurements of other tables for one storm, which takes as long as the start of N processes.
const MEASUREMENTS_PER_STORM: usize = 20;

/// Shortest time that is measured from the first kill on. It has ten forks on each CPU.
const MIN_WINDOW: Duration = Duration::from_millis(20);

/// Longest time that the last answer of a prober is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval between two looks for the last answers (1 ms).
const ANSWER_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Makes the table. The probers are started first, since a process that forks must be small.
pub(super) fn table(bench: &ScaleConfig<'_>) -> Result<CostTable, ForklatError> {
    let main = MainThread::current().map_err(|e| failed("start processes", e))?;
    let mut watchers = start_probers()?;
    let mut memory = memory(bench.touch)?;
    let ladder = Ramp {
        bench,
        question: ScaleTable::Storm,
        title: format!(
            "N processes that have written to {} each are killed at once: what others wait from then until the last is gone, and how long that takes",
            format_bytes(bench.touch)
        ),
        series: SERIES,
        each: bench.touch,
    };
    let touched = bench.touch as usize;
    let crowd = IdleProcesses::new(bench.caller, |ready| {
        parked_process::fork_parked(&mut memory, touched, ready.as_fd(), main)
    })?;
    ladder.run_up_and_down(crowd, |crowd, repeat, histograms| {
        let n = crowd.len();
        for _ in 0..repeat.div_ceil(MEASUREMENTS_PER_STORM) {
            storm(bench, crowd, &mut watchers, histograms)?;
            crowd.grow_to(n)?;
        }
        Ok(())
    })
}

/// Starts the probers and waits until they are ready.
fn start_probers() -> Result<Vec<(usize, Prober)>, ForklatError> {
    let words = ProbeArgs {
        probe: PROBES.map(|(name, _)| name.to_owned()).into(),
        period: PROBES
            .map(|(name, period)| (name.to_owned(), period))
            .into(),
        rss: 0,
        exec_cold: false,
        on: None,
    };
    let plan = ProbePlan::resolve(&words)?;
    let mut probers = Vec::new();
    for (spec, period) in &plan.probes {
        let place = PROBES.iter().position(|(name, _)| *name == spec.name);
        for cpu in &plan.cpus {
            let prober = Prober::start(spec, *period, Duration::ZERO, Some(*cpu), &plan.setup);
            let prober = prober.map_err(|e| failed(format!("start the prober {}", spec.name), e));
            probers.extend(place.zip(Some(prober?)));
        }
    }
    for (_, prober) in &mut probers {
        prober.process.wait_ready()?;
    }
    Ok(probers)
}

/// Kills all processes, and adds what the probers measured until the last was gone.
fn storm(
    bench: &ScaleConfig<'_>,
    crowd: &mut IdleProcesses<'_>,
    probers: &mut [(usize, Prober)],
    histograms: &mut Histograms,
) -> Result<(), ForklatError> {
    for (_, prober) in probers.iter() {
        while prober.pop().is_some() {}
    }
    let began = MonotonicNs::now();
    crowd.shrink_to(0);
    let gone = MonotonicNs::now();
    record_ns(&mut histograms[PROBES.len()], gone.nanos_since(began));
    let until = gone.max(began.after(MIN_WINDOW));
    for (place, prober) in probers {
        collect(bench, prober, (began, until), &mut histograms[*place])?;
    }
    Ok(())
}

/// Adds the latencies that were wanted in a span of time. It waits for the first answer after the span, so that one that is
/// late is not missed.
fn collect(
    bench: &ScaleConfig<'_>,
    prober: &mut Prober,
    (from, until): (MonotonicNs, MonotonicNs),
    histogram: &mut hdrhistogram::Histogram<u64>,
) -> Result<(), ForklatError> {
    let asked = Instant::now();
    loop {
        while let Some(sample) = prober.pop() {
            for moment in intended_times(&sample, prober.period) {
                if moment >= from && moment < until {
                    record_ns(histogram, sample.end.nanos_since(moment));
                }
            }
            if sample.start >= until {
                return Ok(());
            }
        }
        bench.caller.check()?;
        prober.process.check_alive()?;
        if asked.elapsed() > ANSWER_TIMEOUT {
            let name = prober.process.name();
            let message = format!("{name}: no answer for a minute after the processes were killed");
            return Err(ForklatError::Refused(message));
        }
        std::thread::sleep(ANSWER_POLL_INTERVAL);
    }
}
