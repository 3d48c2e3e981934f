//! The governor on simulated machines: hours of copying in seconds.

mod deadlines;
mod disk_kinds;
mod invariants;
mod scenarios;
mod simulated_machine;

use std::time::Duration;

use crate::seeded_rng::SeededRng;
use mmapcp::transfer::rate_limit::Limits;
use simulated_machine::{NANOS_PER_SECOND, SimulatedMachine, SimulationLog, fraction_above};

pub(crate) const MIN_RATE: u64 = 2 << 20;

/// After so long a copy has settled; then it is watched.
const SETTLED_AFTER: u64 = 20 * NANOS_PER_SECOND;
const SIMULATED_TIME: u64 = 60 * NANOS_PER_SECOND;

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// The part of the moments that were over their target, though asked above `above`. What was asked within a second after
/// others took more of the machine is not the copy's to answer for.
fn fraction_missed(
    machine: &SimulatedMachine,
    limits: &Limits,
    record: &SimulationLog,
    above: u64,
) -> f64 {
    let part = |moments: &[(u64, u64, u64)], target: Option<Duration>| {
        let steps = |at: u64| {
            machine
                .load
                .iter()
                .any(|(from, _)| (*from..from + NANOS_PER_SECOND).contains(&at))
        };
        let calm: Vec<_> = moments
            .iter()
            .filter(|(at, ..)| !steps(*at))
            .copied()
            .collect();
        target.map_or(0.0, |target| {
            fraction_above(&calm, SETTLED_AFTER, nanoseconds(target), above)
        })
    };
    let fork = part(&record.forks, limits.fork_latency);
    fork.max(part(&record.writes, limits.write_latency))
}

/// Seconds while it was watched.
fn settled_seconds(record: &SimulationLog) -> std::ops::Range<usize> {
    let seconds = record.seconds.len();
    (SETTLED_AFTER / NANOS_PER_SECOND) as usize
        ..seconds.min((SIMULATED_TIME / NANOS_PER_SECOND) as usize)
}

#[test]
fn targets_are_held_or_the_minimum_rate_is_reached_on_a_thousand_machines() {
    let mut worst: [f64; 2] = [0.0; 2];
    for seed in 0..1000 {
        let (machine, limits) = SimulatedMachine::random(seed);
        let record = machine.simulate_copy(&limits, SIMULATED_TIME);
        let missed = fraction_missed(&machine, &limits, &record, MIN_RATE);
        let worst = &mut worst[usize::from(machine.cached.is_some())];
        *worst = worst.max(missed);
        // A copy through the page cache has dirty bytes to wait for after the cut.
        let allowed = if machine.cached.is_some() {
            0.03
        } else {
            0.013
        };
        assert!(missed <= allowed, "{missed} over: {machine:?} {limits:?}");
    }
    println!("at most {worst:.4?} over, direct and cached; 0.013 and 0.03 are allowed");
}

#[test]
fn no_rate_swings_on_a_machine_that_stands_still() {
    let mut amplitudes = Vec::new();
    for seed in 0..400 {
        let (machine, limits) = SimulatedMachine::random(seed);
        // Where fork alone comes near the target, dice decide.
        let near = |target| 3.5 * machine.fork > nanoseconds(target) as f64;
        let moves = !machine.load.is_empty() || machine.noise > 0.0 || machine.cached.is_some();
        if moves || limits.fork_latency.is_some_and(near) {
            continue;
        }
        let record = machine.simulate_copy(&limits, SIMULATED_TIME);
        let seconds = &record.seconds[settled_seconds(&record)];
        let highest = seconds.iter().copied().fold(0.0, f64::max);
        let lowest = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let amplitude = highest / lowest;
        assert!(amplitude <= 4.0, "{amplitude}: {machine:?} {limits:?}");
        amplitudes.push(amplitude);
    }
    amplitudes.sort_by(f64::total_cmp);
    let most = amplitudes[amplitudes.len() * 9 / 10];
    let (half, last) = (
        amplitudes[amplitudes.len() / 2],
        amplitudes[amplitudes.len() - 1],
    );
    println!("amplitudes: {half:.3}, 9 of 10 {most:.3} (1.2 allowed), all {last:.3} (4.0)");
    assert!(amplitudes.len() > 50 && most <= 1.2, "{amplitudes:?}");
}

/// Percent by which each second was pressed beyond a fifth more than the target, where the copy went above the trickle.
fn excess(record: &SimulationLog, target: f64, seconds: std::ops::Range<usize>) -> Vec<f64> {
    let excess = |second: usize| {
        let (from, to) = (
            second as u64 * NANOS_PER_SECOND,
            (second as u64 + 1) * NANOS_PER_SECOND,
        );
        let above = record.rate_at(from).min(record.rate_at(to)) > MIN_RATE;
        let beyond = (record.pressure(second) - 1.2 * target).max(0.0);
        if above { beyond } else { 0.0 }
    };
    seconds.map(excess).collect()
}

#[test]
fn pressure_is_held_or_the_minimum_rate_is_reached() {
    let mut worst: [f64; 2] = [0.0; 2];
    let mut starts = [Vec::new(), Vec::new()];
    for seed in 0..300 {
        let (machine, _) = SimulatedMachine::random(seed);
        let target = SeededRng(!seed).log_uniform(2.0, 100.0);
        let limits = Limits {
            pressure: Some(target),
            ..Limits::default()
        };
        let record = machine.simulate_copy(&limits, SIMULATED_TIME);
        let settled = excess(&record, target, settled_seconds(&record));
        let over = settled.iter().filter(|percent| **percent > 0.0).count();
        let part = over as f64 / settled.len() as f64;
        // Pages wait to be dirty enough before anybody waits for memory.
        let cached = usize::from(machine.cached.is_some());
        worst[cached] = worst[cached].max(part);
        starts[cached].push(excess(&record, target, 1..6).iter().sum::<f64>());
        let allowed = [0.3, 0.4][cached];
        assert!(part <= allowed, "{part} over: {machine:?} {limits:?}");
    }
    let starts = starts.map(|all| all.iter().sum::<f64>() / all.len() as f64);
    println!(
        "at most {worst:.3?} of the seconds over (0.3 and 0.4 allowed), direct and cached; \
         at the start {starts:.2?} percent-seconds too much (1 and 15)"
    );
    assert!(starts[0] <= 1.0 && starts[1] <= 15.0, "{starts:?}");
}

#[test]
fn a_slow_start_without_pressure_is_quick() {
    let machine = SimulatedMachine {
        disk: 2e9,
        ..SimulatedMachine::quiet(9)
    };
    let limits = Limits {
        pressure: Some(100.0),
        ..Limits::default()
    };
    let seconds = machine.simulate_copy(&limits, 8 * NANOS_PER_SECOND).seconds;
    let lost = (0..6).map(|second| 1.0 - seconds[second] / seconds[6]);
    let lost = lost.sum::<f64>();
    println!("{lost:.2} s lost by slow start (1.3 allowed)");
    assert!(lost <= 1.3, "{seconds:?}");
}

/// The rate of the best fixed limit that misses no more than one moment in a hundred, by bisection.
fn best_fixed(machine: &SimulatedMachine, limits: &Limits) -> Option<f64> {
    let held = |rate: f64| {
        let fixed = Limits {
            rate: Some((rate as u64).min(limits.rate.unwrap_or(u64::MAX))),
            ..Limits::default()
        };
        let record = machine.simulate_copy(&fixed, SIMULATED_TIME);
        let held = fraction_missed(machine, limits, &record, 0) <= 0.01;
        held.then(|| record.rate(settled_seconds(&record)))
    };
    let (mut low, mut high) = (MIN_RATE as f64, 2e10_f64);
    let mut best = held(low)?;
    for _ in 0..10 {
        let rate = (low * high).sqrt();
        match held(rate) {
            Some(reached) => (low, best) = (rate, reached),
            None => high = rate,
        }
    }
    Some(best)
}

#[test]
fn the_best_fixed_rate_is_not_given_away() {
    let mut shares = Vec::new();
    for seed in (0..2000).step_by(8) {
        let (machine, limits) = SimulatedMachine::random(seed);
        if machine.load.is_empty() && machine.cached.is_none() && limits.pressure.is_none() {
            let record = machine.simulate_copy(&limits, SIMULATED_TIME);
            let best = best_fixed(&machine, &limits);
            shares.extend(best.map(|best| (record.rate(settled_seconds(&record)) / best, seed)));
        }
    }
    shares.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mean = shares.iter().map(|(share, _)| share.min(1.0)).sum::<f64>() / shares.len() as f64;
    assert!(shares.len() >= 50 && mean >= 0.83, "{mean}: {shares:?}");
    let good = shares.iter().filter(|(share, _)| *share >= 0.7).count();
    println!(
        "of the best fixed rate {mean:.3} (0.83 asked for); 0.7 on {good} of {} machines (3 of 4)",
        shares.len()
    );
    assert!(good * 4 >= shares.len() * 3, "{shares:?}");
}

#[test]
fn hours_with_changing_load_are_as_the_first_minute() {
    let mut machine = SimulatedMachine::quiet(7);
    machine.disk = 50e6;
    machine.source = 1e9;
    machine.noise = 1e-3;
    machine.spike = 50e6;
    let hours = 10 * 3600 * NANOS_PER_SECOND;
    machine.load = (0..60)
        .map(|step| (step * hours / 60, 0.1 * (step % 7) as f64))
        .collect();
    let limits = Limits {
        write_latency: Some(Duration::from_millis(20)),
        fork_latency: Some(Duration::from_millis(10)),
        ..Limits::default()
    };
    let record = machine.simulate_copy(&limits, hours);
    let missed = fraction_missed(&machine, &limits, &record, MIN_RATE);
    println!("{missed:.4} over (0.01 allowed)");
    assert!(missed <= 0.01, "{missed} over");
    let seconds = record.seconds.len() - 1;
    let (early, late) = (record.rate(60..4200), record.rate(seconds - 4200..seconds));
    println!("{early:.3e} early, {late:.3e} late (1.3 times allowed)");
    assert!(early / late < 1.3 && late / early < 1.3, "{early} {late}");
}
