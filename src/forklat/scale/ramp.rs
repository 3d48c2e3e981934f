//! Goes step by step up to the last N: checks whether so many processes may run, starts them, and measures.

use std::fs;
use std::path::Path;

use hdrhistogram::Histogram;

use super::idle_processes::IdleProcesses;
use super::memory_budget::Budget;
use super::process_limits;
use super::scale_result::{CostCell, CostTable, Series};
use super::{ScaleConfig, ScaleTable};
use crate::forklat::error::{ForklatError, failed};
use crate::observe::latency_histograms::{new_histogram, record_ns};
use crate::sys::key_value::mem_available;

/// The histograms, in nanoseconds, one for each thing that is timed.
pub(super) type Histograms = Vec<Histogram<u64>>;

/// The measurement that is made at each step.
#[derive(Debug, Clone)]
pub(super) struct Ramp<'a> {
    pub bench: &'a ScaleConfig<'a>,
    pub question: ScaleTable,
    pub title: String,
    /// The names of the things that are timed.
    pub series: &'static [&'static str],
    /// Bytes that one process takes at least.
    pub each: u64,
}

impl Ramp<'_> {
    /// Goes up to the last N and down again, and calls `measure` at each step with the number of measurements. Half of
    /// the measurements are made on the way down, so that changes of the machine meanwhile do not look like growth.
    /// `measure` adds that number of values, in nanoseconds, to each of the histograms.
    pub(super) fn run_up_and_down(
        &self,
        mut crowd: IdleProcesses<'_>,
        mut measure: impl FnMut(
            &mut IdleProcesses<'_>,
            usize,
            &mut Histograms,
        ) -> Result<(), ForklatError>,
    ) -> Result<CostTable, ForklatError> {
        let budget = Budget {
            before: memory()?,
            each: self.each,
        };
        let mut rungs: Vec<(u32, Histograms)> = Vec::new();
        let up = self.bench.repeat.div_ceil(2);
        for n in &self.bench.steps {
            self.grow(&mut crowd, budget, *n)?;
            let mut histograms = vec![new_histogram(); self.series.len()];
            self.measured(&mut crowd, |crowd| measure(crowd, up, &mut histograms))?;
            rungs.push((*n, histograms));
        }
        for (n, histograms) in rungs.iter_mut().rev() {
            crowd.shrink_to(*n as usize);
            let down = self.bench.repeat - up;
            self.measured(&mut crowd, |crowd| measure(crowd, down, histograms))?;
        }
        Ok(self.table(&rungs))
    }

    /// Goes up and down like `run_up_and_down`, and measures at each step how long one more process takes to start and
    /// to stop.
    pub(super) fn time_one_more(
        &self,
        crowd: IdleProcesses<'_>,
    ) -> Result<CostTable, ForklatError> {
        self.run_up_and_down(crowd, |crowd, repeat, histograms| {
            for _ in 0..repeat {
                let (start, stop) = crowd.start_and_stop_one()?;
                add(histograms, &[start, stop]);
            }
            Ok(())
        })
    }

    /// Starts idle processes until there are `n`, if so many are allowed.
    fn grow(
        &self,
        crowd: &mut IdleProcesses<'_>,
        budget: Budget,
        n: u32,
    ) -> Result<(), ForklatError> {
        self.status(&format!("starting {n}"));
        let (all, standing) = (u64::from(n), crowd.len() as u64);
        self.allowed(budget.allow(memory()?, standing, all))?;
        // One process in addition to the idle ones is measured.
        let limits = process_limits::read(Path::new("/"));
        self.allowed(process_limits::allow(&limits, all - standing + 1))?;
        crowd.grow_to(n as usize)
    }

    fn measured(
        &self,
        crowd: &mut IdleProcesses<'_>,
        measure: impl FnOnce(&mut IdleProcesses<'_>) -> Result<(), ForklatError>,
    ) -> Result<(), ForklatError> {
        self.status(&format!("measuring beside {} idle processes", crowd.len()));
        measure(crowd)?;
        crowd.check_all_alive()
    }

    fn table(&self, rungs: &[(u32, Histograms)]) -> CostTable {
        let series = self.series.iter().enumerate().map(|(at, name)| {
            let cells = rungs
                .iter()
                .map(|(n, histograms)| CostCell::new(*n, &histograms[at]));
            Series::new(name, cells.collect())
        });
        CostTable {
            name: self.question.name().to_owned(),
            title: self.title.clone(),
            series: series.collect(),
        }
    }

    fn status(&self, text: &str) {
        (self.bench.caller.status)(&format!("{}: {text}", self.question.name()));
    }

    fn allowed(&self, answer: Result<(), ForklatError>) -> Result<(), ForklatError> {
        answer
            .map_err(|why| ForklatError::Refused(format!("table {}: {why}", self.question.name())))
    }
}

/// Adds one value to each histogram.
pub(super) fn add(histograms: &mut [Histogram<u64>], values: &[u64]) {
    for (histogram, value) in histograms.iter_mut().zip(values) {
        record_ns(histogram, *value);
    }
}

/// Returns MemAvailable of this machine, in bytes.
pub(super) fn memory() -> Result<u64, ForklatError> {
    let file = "/proc/meminfo";
    let text = fs::read_to_string(file).map_err(|e| failed(format!("read '{file}'"), e))?;
    mem_available(&text)
        .ok_or_else(|| ForklatError::Refused(format!("'{file}' has no MemAvailable")))
}
