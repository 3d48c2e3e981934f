//! Copies with a deadline on simulated machines: it is met whenever that is possible, and the limits hold until they
//! must yield.

use std::time::Duration;

use mmapcp::transfer::rate_limit::{Limits, Notice};

use super::simulated_machine::{NANOS_PER_SECOND, SimulatedMachine, SimulationLog, fraction_above};
use super::{MIN_RATE, nanoseconds};
use crate::seeded_rng::SeededRng;

/// A deadline is possible where a copy that nothing holds back takes at most this part of the time. The rest is for the
/// measurement before the first byte, the slow start, and what others take by turns.
const POSSIBLE_PART: f64 = 0.85;

/// The part of the moments before the limits yielded that may be late in a case, and on average. The average was set before
/// the first run as for the copies without a deadline; a short time before the crossing has few moments.
const LATE_ALLOWED: f64 = 0.013;

/// A rate that no simulated machine has.
const FULL_SPEED: u64 = 100_000_000_000;

/// A machine with limits, a file and a deadline.
struct DeadlineCase {
    machine: SimulatedMachine,
    limits: Limits,
    bytes: u64,
    /// How long a copy takes that nothing but a rate limit holds back, in nanoseconds.
    full: u64,
}

impl DeadlineCase {
    fn random(seed: u64) -> Self {
        let (machine, mut limits) = SimulatedMachine::random(seed);
        let mut dice = SeededRng(!seed);
        let unlimited = Limits {
            rate: Some(limits.rate.unwrap_or(FULL_SPEED)),
            ..Limits::default()
        };
        let speed = machine
            .simulate_copy(&unlimited, 20 * NANOS_PER_SECOND)
            .rate(0..19);
        let bytes = (speed * dice.log_uniform(2.0, 40.0)) as u64;
        let (_, full) = machine.simulate_file(&unlimited, bytes, 1000 * NANOS_PER_SECOND);
        let full = full.expect("the file is copied");
        let within = full as f64 * dice.log_uniform(0.7, 10.0);
        limits.finish_within = Some(Duration::from_nanos(within as u64));
        Self {
            machine,
            limits,
            bytes,
            full,
        }
    }

    fn within(&self) -> u64 {
        nanoseconds(self.limits.finish_within.unwrap())
    }

    fn is_possible(&self) -> bool {
        self.full as f64 <= POSSIBLE_PART * self.within() as f64
    }

    /// Copies, and returns what is told of it.
    fn copy(&self) -> DeadlineResult {
        let until = 20 * self.within();
        let (record, complete) = self.machine.simulate_file(&self.limits, self.bytes, until);
        let told = |wanted: fn(&Notice) -> bool| {
            let mut notices = record.notices.iter();
            notices
                .find(|(_, notice)| wanted(notice))
                .map(|(at, _)| *at)
        };
        let crossing = told(|notice| matches!(notice, Notice::LimitsYield(_)));
        let end = complete.unwrap_or(until);
        DeadlineResult {
            complete,
            crossing,
            too_short: told(|notice| matches!(notice, Notice::DeadlineTooShort { .. })),
            late: self.late_part(&record, crossing.unwrap_or(end)),
            calm_moments: count_before(&record, crossing.unwrap_or(end)),
        }
    }

    /// Returns the part of the moments until `until` that were over their target while more than the least rate was
    /// ordered.
    fn late_part(&self, record: &SimulationLog, until: u64) -> f64 {
        let part = |moments: &[(u64, u64, u64)], target: Option<Duration>| {
            let calm: Vec<_> = moments
                .iter()
                .filter(|(at, ..)| *at < until)
                .copied()
                .collect();
            target.map_or(0.0, |target| {
                fraction_above(&calm, 0, nanoseconds(target), MIN_RATE)
            })
        };
        let fork = part(&record.forks, self.limits.fork_latency);
        fork.max(part(&record.writes, self.limits.write_latency))
    }
}

struct DeadlineResult {
    complete: Option<u64>,
    crossing: Option<u64>,
    too_short: Option<u64>,
    late: f64,
    calm_moments: usize,
}

fn count_before(record: &SimulationLog, until: u64) -> usize {
    record.forks.iter().filter(|(at, ..)| *at < until).count()
}

fn seconds(at: u64) -> f64 {
    at as f64 / NANOS_PER_SECOND as f64
}

fn shown(at: Option<u64>) -> String {
    at.map_or("-".to_owned(), |at| format!("{:.1}", seconds(at)))
}

fn print_case(seed: u64, case: &DeadlineCase, result: &DeadlineResult) {
    println!(
        "{seed:3}: {:8.0} MB, disk {:6.0} MB/s, full speed {:6.1} s, within {:6.1} s: complete {:>6} s, \
         limits yield at {:>6} s, late before {:.4} of {}, said to be too short at {:>5} s",
        case.bytes as f64 / 1e6,
        case.machine.disk / 1e6,
        seconds(case.full),
        seconds(case.within()),
        shown(result.complete),
        shown(result.crossing),
        result.late,
        result.calm_moments,
        shown(result.too_short),
    );
}

#[test]
fn deadlines_are_met_whenever_they_can_be_and_limits_hold_until_then() {
    let (mut late, mut possible) = (Vec::new(), 0);
    for seed in 0..20 {
        let case = DeadlineCase::random(seed);
        let result = case.copy();
        print_case(seed, &case, &result);
        let is_met = result.complete.is_some_and(|at| at <= case.within());
        possible += usize::from(case.is_possible());
        assert!(is_met || !case.is_possible(), "{:?}", case.machine);
        // What cannot be met is said before the time is over.
        let is_hopeless = case.full as f64 > 1.1 * case.within() as f64;
        let is_said = result.too_short.is_some_and(|at| at < case.within());
        assert!(!is_hopeless || is_said, "{:?}", case.machine);
        late.push(result.late);
    }
    let mean = late.iter().sum::<f64>() / late.len() as f64;
    println!(
        "{possible} of 20 are possible, and met; {mean:.4} late before the crossing ({LATE_ALLOWED} allowed)"
    );
    assert!(possible >= 10 && mean <= LATE_ALLOWED, "{late:?}");
}

/// A copy with much time is as calm as one without a deadline.
#[test]
fn a_deadline_that_is_far_away_changes_nothing() {
    for seed in 0..5 {
        let (machine, limits) = SimulatedMachine::random(seed);
        let far = Limits {
            finish_within: Some(Duration::from_secs(100_000)),
            ..limits
        };
        let until = 20 * NANOS_PER_SECOND;
        let (with, _) = machine.simulate_file(&far, MIN_RATE, until);
        let (without, _) = machine.simulate_file(&limits, MIN_RATE, until);
        assert_eq!(with.rate_settings, without.rate_settings);
        assert_eq!(with.notices, without.notices);
    }
}
