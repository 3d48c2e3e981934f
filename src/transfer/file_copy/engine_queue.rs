//! The engines that fit one copy: the one at work, those that may follow it, and the trial of two.

use std::time::Duration;

use super::super::cpu_budget::{AdaptiveCallSize, CallCost};
use super::super::dest_writer::WriteMode;
use super::super::engine::{Engine, EngineSpec};
use super::super::engine_trial::{EngineCost, EngineTrial, TrialStep};
use super::super::event::Event;
use super::super::plan::Plan;

/// Bytes of the first call; those of the smallest and the largest follow. 2 MiB from a mapping of 4 KiB pages take 0.3
/// ms of CPU, 8 MiB of huge pages 0.1 ms, and no disk is faster with requests smaller than 128 KiB.
const FIRST_CALL: u64 = 1 << 20;
const LEAST_CALL: u64 = 128 << 10;
const MOST_CALL: u64 = 8 << 20;

/// Calls in a row that may move nothing.
pub(super) const MAX_STALLS: u32 = 2;

/// The engines of one copy. The first one is at work, and there is always one.
pub(in crate::transfer) struct EngineQueue {
    rows: Vec<&'static EngineSpec>,
    /// Whether the descriptors are in the mode that the first row needs.
    pub(super) is_started: bool,
    /// The first row's engine, once it had a chunk to move.
    pub(super) engine: Option<Box<dyn Engine>>,
    trial: Option<EngineTrial>,
    /// Bytes that one call may move without holding a CPU for long.
    call_size: AdaptiveCallSize,
    stalls: u32,
}

impl EngineQueue {
    /// Makes the queue of a plan that has a row.
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        Self {
            rows: plan.rows.clone(),
            is_started: false,
            engine: None,
            trial: plan.measure.then(EngineTrial::default),
            call_size: AdaptiveCallSize::new(FIRST_CALL, LEAST_CALL, MOST_CALL),
            stalls: 0,
        }
    }

    /// Returns the row at work.
    pub(super) fn current(&self) -> &'static EngineSpec {
        self.rows[0]
    }

    /// Returns the name of the row at work, or nothing where the last one has given up.
    pub(super) fn current_name(&self) -> &'static str {
        self.rows.first().map_or("", |row| row.name)
    }

    /// Returns the rows that are left.
    pub(in crate::transfer) fn rows(&self) -> &[&'static EngineSpec] {
        &self.rows
    }

    /// Returns the bytes that the next call of the row at work may move.
    pub(super) fn affordable_bytes(&self) -> usize {
        let affordable = usize::try_from(self.call_size.bytes()).unwrap_or(usize::MAX);
        self.current().chunk.min(affordable)
    }

    /// Adapts the size of the next call to the CPU time of one that was to move `bytes`.
    pub(super) fn adapt(&mut self, bytes: u64, cpu: Duration) {
        self.call_size.adapt(bytes, cpu);
    }

    /// Returns whether two engines are being compared.
    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Counts calls in a row that moved nothing. Returns whether they are too many.
    pub(super) fn is_stalled(&mut self, moved: usize) -> bool {
        self.stalls = if moved == 0 { self.stalls + 1 } else { 0 };
        self.stalls > MAX_STALLS
    }

    /// Takes the row at work out for good, and ends a trial. Returns it, and the one that follows, if any is left.
    pub(super) fn retire_current(&mut self) -> (&'static EngineSpec, Option<&'static EngineSpec>) {
        self.restart();
        self.trial = None;
        (self.rows.remove(0), self.rows.first().copied())
    }

    /// Takes out the rows behind the one at work that write with O_DIRECT.
    pub(super) fn retire_other_direct_rows(&mut self) {
        let first = self.current();
        self.rows
            .retain(|row| row.write_mode != WriteMode::Direct || *row == first);
    }

    /// Accounts a chunk of a trial. Returns the event of a trial that is decided now.
    pub(super) fn note_trial_chunk(&mut self, bytes: u64, cost: CallCost) -> Option<Event> {
        let name = self.current().name;
        let cost = EngineCost::new(bytes, cost);
        match self.trial.as_mut()?.moved(name, cost) {
            TrialStep::Same => None,
            TrialStep::Other => {
                self.swap();
                None
            }
            TrialStep::Decided(engine, why) => {
                if name != engine {
                    self.swap();
                }
                let trial = self.trial.take();
                let tried = trial.map(|trial| trial.tried()).unwrap_or_default();
                Some(Event::Choice { engine, why, tried })
            }
        }
    }

    fn swap(&mut self) {
        self.rows.swap(0, 1);
        self.restart();
    }

    fn restart(&mut self) {
        self.engine = None;
        self.is_started = false;
    }
}
