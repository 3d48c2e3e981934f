//! The self-test: a prober is stopped for a known time, and the histogram has to show exactly that.
//!
//! What was wanted while it stood still waits until it goes on: the first such moment for the length of the stall, the next
//! a period less, and so on. So the greatest latency, and with the count of all answers the 99th percentile, are known
//! beforehand. Were the moments of the stall left out, as by a prober that sleeps between its questions, p99 would be that of
//! an idle machine.

use std::thread;
use std::time::Duration;

use mmapcp::forklat::model::{Distribution, ProbeResult, Report};
use mmapcp::sys::clock::monotonic_ns;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{HeldRun, Process, RunFixture, cpus, probe, subject, wait_until};
use crate::support::assert_exit;

/// The stall that is injected.
const STALL_LENGTH: Duration = Duration::from_millis(200);

/// Between two questions.
const PERIOD_SECS: f64 = 5e-3;

/// Before the stall, and after it. With [`STALL`], p99 stands some 20 ms below the greatest value: four moments.
const TIME_AROUND_STALL: Duration = Duration::from_millis(900);

/// On a machine that is busy with other tests the prober may not get its CPU for a while when it may go on, which is a
/// stall on top of ours. The figures of the least disturbed of so many attempts count.
const MAX_STALL_ATTEMPTS: usize = 5;

#[test]
fn a_stall_of_a_fork_prober_is_measured() {
    best(
        "fork",
        "fork-on-CPU-",
        &["--probe=fork", "--period=fork=5ms"],
    );
}

#[test]
fn a_stall_of_a_write_prober_is_measured() {
    let words = ["--probe=write", "--period=write=5ms", "--on=."];
    best("write", "write", &words);
}

fn best(name: &str, comm: &str, words: &[&str]) {
    let mut said = Vec::new();
    for _ in 0..MAX_STALL_ATTEMPTS {
        match attempt(name, comm, words) {
            Ok(()) => return,
            Err(why) => said.push(why),
        }
    }
    panic!("{name}: {said:#?}");
}

/// Microseconds; `Err` where something else has stalled the prober, too.
fn attempt(name: &str, comm: &str, words: &[&str]) -> Result<(), String> {
    let place = RunFixture::new();
    let held = HeldRun::start(
        &place,
        &[words, &["--baseline=0", "--settle=0", "--export-json=json"]].concat(),
    );
    let victim = *held.observers(comm).iter().min().unwrap();
    let cpu = cpu_of(victim);
    thread::sleep(TIME_AROUND_STALL);
    let stall = stop(victim);
    thread::sleep(TIME_AROUND_STALL);
    let output = held.finish();
    assert_exit(&output, 0);
    let report = place.report("json");
    let stalled = of_cpu(&report, name, cpu);
    is_the_stall(stalled, stall)?;
    was_asked_once(stalled, stall)?;
    spares_the_others(&report, name, cpu, stall)
}

/// Stops a process and lets it go on; how long it certainly stood still, in microseconds.
fn stop(victim: Pid) -> f64 {
    kill(victim, Signal::SIGSTOP).unwrap();
    wait_until("it stands still", || {
        Process::of(victim).unwrap().state == b'T'
    });
    let stopped = monotonic_ns();
    thread::sleep(STALL_LENGTH);
    let stall = monotonic_ns() - stopped;
    kill(victim, Signal::SIGCONT).unwrap();
    stall as f64 / 1e3
}

/// The CPU of a forker, by its name.
fn cpu_of(victim: Pid) -> Option<u32> {
    let name = Process::of(victim).unwrap().name;
    name.rsplit_once('-').map(|(_, cpu)| cpu.parse().unwrap())
}

/// Where there is one prober, it is not told apart.
fn of_cpu<'a>(report: &'a Report, name: &str, cpu: Option<u32>) -> &'a ProbeResult {
    let cpu = cpu.filter(|_| cpus().len() > 1);
    probe(subject(report, "during"), name, cpu)
}

/// The greatest latency is the stall, less what was left of the period in which it began; each moment after the first
/// waited a period less than the one before.
fn is_the_stall(probe: &ProbeResult, stall: f64) -> Result<(), String> {
    let period = PERIOD_SECS * 1e6;
    let figures = probe.latency.figures.unwrap();
    let above = probe.latency.count - (probe.latency.count as f64 * 0.99).ceil() as u64;
    let tolerance = (0.05 * stall).max(1000.0);
    // The first moment missed may come at any time of the first period.
    let off = |value: f64, expected: f64| (value - expected).max(expected - period - value);
    let expected = [stall, stall - above as f64 * period];
    println!(
        "{} {:?}: stalled for {:.2} ms, max {:.2} ms; of {} moments {above} are above p99: {:.2} ms, expected {:.2} ms",
        probe.name,
        probe.cpu,
        stall / 1e3,
        figures.max / 1e3,
        probe.latency.count,
        figures.p99 / 1e3,
        expected[1] / 1e3,
    );
    for (name, value, expected) in [
        ("max", figures.max, expected[0]),
        ("p99", figures.p99, expected[1]),
    ] {
        if off(value, expected) > tolerance {
            return Err(format!("{name} is {value} us, not {expected} us"));
        }
    }
    // Whatever the machine did: these moments were answered at once.
    for (n, moment) in (0..).zip(&probe.worst) {
        let expected = figures.max - f64::from(n) * period;
        if (moment.latency - expected).abs() > 0.01 {
            return Err(format!(
                "worst moment {n} is {} us, not {expected} us",
                moment.latency
            ));
        }
    }
    // The histogram keeps three digits.
    let exact = figures.max - above as f64 * period;
    if (figures.p99 / exact - 1.0).abs() > 1e-3 {
        return Err(format!("p99 is {} us of exactly {exact} us", figures.p99));
    }
    Ok(())
}

/// The question was asked once for all moments that were missed, and nothing but the prober stood still.
fn was_asked_once(probe: &ProbeResult, stall: f64) -> Result<(), String> {
    let missed = (stall / (PERIOD_SECS * 1e6)) as u64;
    let together = probe.latency.count - probe.service.count;
    println!(
        "{}: {} moments, {} questions",
        probe.name, probe.latency.count, probe.service.count
    );
    // What came first and what came last of the stall may have been asked in time.
    assert!(together + 2 >= missed, "{missed} missed: {probe:?}");
    // It may have been stopped between a question and its answer.
    let slow = slower(&probe.service, stall / 2.0);
    if slow > 1 {
        return Err(format!("{slow} questions took half of the stall"));
    }
    Ok(())
}

fn slower(distribution: &Distribution, microseconds: f64) -> u64 {
    let histogram = distribution.read().unwrap();
    histogram.count_between((microseconds * 1e3) as u64, u64::MAX)
}

/// A stall of one CPU's prober is not one of another's.
fn spares_the_others(
    report: &Report,
    name: &str,
    cpu: Option<u32>,
    stall: f64,
) -> Result<(), String> {
    let Some(cpu) = cpu else { return Ok(()) };
    for other in cpus().into_iter().filter(|other| *other != cpu) {
        let max = of_cpu(report, name, Some(other))
            .latency
            .figures
            .unwrap()
            .max;
        println!("{name} {other}: max {:.2} ms", max / 1e3);
        if max > stall / 2.0 {
            return Err(format!("CPU {other} had {max} us"));
        }
    }
    Ok(())
}
