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

/// CPU costs whose ratio is below this are taken for equal, and wall time decides: medians of the same engine differed
/// by as much from one bench to the next, and no choice may cost over 15 % more CPU than the other.
const CPU_TIE_RATIO: f64 = 1.10;

/// The cost of one engine's trial so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineCost {
    bytes: u64,
    cpu: Duration,
    wall: Duration,
}

impl EngineCost {
    /// Returns the cost of a chunk of `bytes`.
    pub(super) fn new(bytes: u64, cost: CallCost) -> Self {
        Self {
            bytes,
            cpu: cost.cpu,
            wall: cost.wall,
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
    /// The trial is over, and this engine copies the rest.
    Decided(&'static str),
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
        match (cost.bytes >= STRETCH, tried) {
            (false, _) => TrialStep::Same,
            (true, 1) => TrialStep::Other,
            (true, _) => TrialStep::Decided(self.cheaper()),
        }
    }

    fn cheaper(&self) -> &'static str {
        let by = |time: fn(&EngineCost) -> Duration| {
            let mut all: Vec<_> = self
                .costs
                .iter()
                .map(|(n, c)| (c.per_gb(time(c)), *n))
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            all
        };
        let cpu = by(|c| c.cpu);
        match cpu.as_slice() {
            [best, second, ..] if second.0 <= best.0 * CPU_TIE_RATIO => by(|c| c.wall)[0].1,
            all => all.first().map_or("", |best| best.1),
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

    fn cost(cpu: u64, wall: u64) -> EngineCost {
        EngineCost {
            bytes: STRETCH,
            cpu: Duration::from_millis(cpu),
            wall: Duration::from_millis(wall),
        }
    }

    fn decide(mmap: EngineCost, splice: EngineCost) -> TrialStep {
        let mut choice = EngineTrial::default();
        assert_eq!(choice.moved("mmap", mmap), TrialStep::Other);
        choice.moved("splice", splice)
    }

    #[test]
    fn the_one_with_less_cpu_goes_on() {
        assert_eq!(
            decide(cost(40, 50), cost(10, 90)),
            TrialStep::Decided("splice")
        );
        assert_eq!(
            decide(cost(10, 90), cost(40, 50)),
            TrialStep::Decided("mmap")
        );
    }

    #[test]
    fn wall_time_decides_when_cpu_is_close() {
        assert_eq!(
            decide(cost(100, 90), cost(108, 50)),
            TrialStep::Decided("splice")
        );
        assert_eq!(
            decide(cost(108, 50), cost(100, 90)),
            TrialStep::Decided("mmap")
        );
    }

    #[test]
    fn a_stretch_may_take_many_chunks() {
        let mut choice = EngineTrial::default();
        let part = EngineCost {
            bytes: STRETCH / 2,
            ..cost(1, 1)
        };
        assert_eq!(choice.moved("mmap", part), TrialStep::Same);
        assert_eq!(choice.moved("mmap", part), TrialStep::Other);
        assert_eq!(choice.moved("splice", part), TrialStep::Same);
    }
}
