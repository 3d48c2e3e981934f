//! Measures once for a file whether `mmap` or `splice` is cheaper on this host.

use std::time::Duration;

use super::cpu_budget::CallCost;
use super::event::Trial;

/// Bytes that each of the two engines copies in its trial: two windows of `mmap`.
///
/// Of 20 trials of each length, those of 4 MiB and more all found the cheaper engine on 4 KiB pages (0.16 against 0.10
/// CPU s/GB) and on huge pages (0.02 against 0.05), and from 8 MiB on the costs were those of a long copy (`cargo bench
/// --bench engines -- stretch`). 16 MiB by the dearer engine are under 1 % of a GiB.
pub const STRETCH: u64 = 16 << 20;

/// Bytes of data from which a file is worth the trial: in a smaller one the dearer engine would copy over a sixteenth.
pub const MIN_TRIAL_FILE_BYTES: u64 = 16 * STRETCH;

/// Page size in bytes from which `mmap` is expected to be cheaper: several times on 2 MiB pages, while it is dearer on
/// 4 KiB.
pub const HUGE: u64 = 2 << 20;

/// CPU costs whose ratio is below this are taken for equal: medians of the same engine differed by as much from one
/// bench to the next, and no choice may cost over 15 % more CPU than the other.
const CPU_TIE_RATIO: f64 = 1.10;

/// Longest calls whose ratio is below this are taken for equal: the size of a call adapts in steps of two.
const CALL_TIE_RATIO: f64 = 2.0;

/// The cost of one engine's trial so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineCost {
    bytes: u64,
    cpu: Duration,
    wall: Duration,
    /// CPU time of the longest call.
    longest_call: Duration,
}

impl EngineCost {
    /// Returns the cost of a chunk of `bytes`.
    pub(super) fn new(bytes: u64, cost: CallCost) -> Self {
        Self {
            bytes,
            cpu: cost.cpu,
            wall: cost.wall,
            longest_call: cost.cpu,
        }
    }

    fn per_gb(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e9 / self.bytes.max(1) as f64
    }

    fn trial(&self, engine: &'static str) -> Trial {
        Trial {
            engine,
            cpu_per_gb: self.per_gb(self.cpu),
            wall_per_gb: self.per_gb(self.wall),
            longest_call: self.longest_call.as_secs_f64(),
        }
    }
}

/// A trial of two engines, one after the other.
#[derive(Debug, Default)]
pub struct EngineTrial {
    costs: Vec<(&'static str, EngineCost)>,
}

/// What follows after a chunk of a trial.
#[derive(Debug, PartialEq, Eq)]
pub enum TrialStep {
    /// The same engine continues its trial.
    Same,
    /// The trial of the other engine begins.
    Other,
    /// The trial is over, and this engine copies the rest, for this reason.
    Decided(&'static str, &'static str),
}

impl EngineTrial {
    /// Accounts a chunk that `engine` moved.
    pub(super) fn moved(&mut self, engine: &'static str, more: EngineCost) -> TrialStep {
        if self.costs.last().is_none_or(|(name, _)| *name != engine) {
            self.costs.push((engine, EngineCost::default()));
        }
        let tried = self.costs.len();
        let Some((_, cost)) = self.costs.last_mut() else {
            return TrialStep::Same;
        };
        cost.bytes += more.bytes;
        cost.cpu += more.cpu;
        cost.wall += more.wall;
        cost.longest_call = cost.longest_call.max(more.longest_call);
        match (cost.bytes >= STRETCH, tried) {
            (false, _) => TrialStep::Same,
            (true, 1) => TrialStep::Other,
            (true, _) => {
                let (engine, why) = self.decide();
                TrialStep::Decided(engine, why)
            }
        }
    }

    /// Returns the engine that copies the rest, and what decided: the CPU time; if that is about the same, how long a
    /// single call holds a CPU, which is what other programs feel; if that is, too, the wall time.
    fn decide(&self) -> (&'static str, &'static str) {
        let [first, second] = match self.costs.as_slice() {
            [first, second, ..] => [first, second],
            all => {
                return (
                    all.first().map_or("", |(name, _)| name),
                    "it alone was tried",
                );
            }
        };
        let smaller = |of: fn(&EngineCost) -> f64, tie: f64| {
            let (a, b) = (of(&first.1), of(&second.1));
            let best = if a <= b { first.0 } else { second.0 };
            (a.max(b) > a.min(b) * tie).then_some(best)
        };
        let by_cpu = smaller(|cost| cost.per_gb(cost.cpu), CPU_TIE_RATIO);
        let by_call = || smaller(|cost| cost.longest_call.as_secs_f64(), CALL_TIE_RATIO);
        let by_wall = || smaller(|cost| cost.per_gb(cost.wall), 1.0);
        if let Some(engine) = by_cpu {
            (engine, "it takes less CPU")
        } else if let Some(engine) = by_call() {
            (
                engine,
                "both take the same CPU, and its calls hold a CPU for a shorter time",
            )
        } else {
            let why = "both take the same CPU and hold it as long, and it is faster";
            (by_wall().unwrap_or(first.0), why)
        }
    }

    /// Returns what was measured so far.
    #[must_use]
    pub fn tried(&self) -> Vec<Trial> {
        self.costs
            .iter()
            .map(|(name, cost)| cost.trial(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(cpu: u64, wall: u64, longest_call: u64) -> EngineCost {
        EngineCost {
            bytes: STRETCH,
            cpu: Duration::from_millis(cpu),
            wall: Duration::from_millis(wall),
            longest_call: Duration::from_micros(longest_call),
        }
    }

    /// Returns the engine that goes on after a trial with these costs.
    fn decide(mmap: EngineCost, splice: EngineCost) -> &'static str {
        let mut choice = EngineTrial::default();
        assert_eq!(choice.moved("mmap", mmap), TrialStep::Other);
        match choice.moved("splice", splice) {
            TrialStep::Decided(engine, _) => engine,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_one_with_less_cpu_goes_on() {
        assert_eq!(decide(cost(40, 50, 90), cost(10, 90, 400)), "splice");
        assert_eq!(decide(cost(10, 90, 400), cost(40, 50, 90)), "mmap");
    }

    #[test]
    fn the_one_with_shorter_calls_goes_on_when_cpu_is_close() {
        assert_eq!(decide(cost(100, 50, 300), cost(108, 90, 140)), "splice");
        assert_eq!(decide(cost(108, 90, 140), cost(100, 50, 300)), "mmap");
    }

    #[test]
    fn wall_time_decides_when_the_rest_is_close() {
        assert_eq!(decide(cost(100, 90, 300), cost(108, 50, 200)), "splice");
        assert_eq!(decide(cost(108, 50, 200), cost(100, 90, 300)), "mmap");
    }

    #[test]
    fn a_stretch_may_take_many_chunks() {
        let mut choice = EngineTrial::default();
        let part = EngineCost {
            bytes: STRETCH / 2,
            ..cost(1, 1, 1)
        };
        assert_eq!(choice.moved("mmap", part), TrialStep::Same);
        assert_eq!(choice.moved("mmap", part), TrialStep::Other);
        assert_eq!(choice.moved("splice", part), TrialStep::Same);
    }
}
