//! Step by step up to the last N: may so many stand, let them, measure.

use std::fs;
use std::path::Path;

use hdrhistogram::Histogram;

use super::budget::Budget;
use super::crowd::Crowd;
use super::limits;
use super::record::{Cell, Series, Table};
use super::stop::{Stop, cannot};
use super::{Bench, Question};
use crate::observe::latency::{histogram, record};
use crate::sys::fields::available;

/// One for each thing that is timed. Nanoseconds.
pub(super) type Histograms = Vec<Histogram<u64>>;

/// What is measured at each step.
#[derive(Debug, Clone)]
pub(super) struct Ladder<'a> {
    pub bench: &'a Bench<'a>,
    pub question: Question,
    pub title: String,
    /// What is timed.
    pub series: &'static [&'static str],
    /// Bytes that one process takes at least.
    pub each: u64,
}

impl Ladder<'_> {
    /// Goes up and down again, and calls `measure` at each step with how often to measure: half of the measurements are
    /// made on the way down, so that what changes on the machine meanwhile does not look like growth. `measure` adds as many
    /// values, in nanoseconds, to each of the histograms.
    pub(super) fn climb(
        &self,
        mut crowd: Crowd<'_>,
        mut measure: impl FnMut(&mut Crowd<'_>, usize, &mut Histograms) -> Result<(), Stop>,
    ) -> Result<Table, Stop> {
        let budget = Budget {
            before: memory()?,
            each: self.each,
        };
        let mut rungs: Vec<(u32, Histograms)> = Vec::new();
        let up = self.bench.repeat.div_ceil(2);
        for n in &self.bench.steps {
            self.grow(&mut crowd, budget, *n)?;
            let mut histograms = vec![histogram(); self.series.len()];
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

    /// Lets `n` stand, if so many may.
    fn grow(&self, crowd: &mut Crowd<'_>, budget: Budget, n: u32) -> Result<(), Stop> {
        self.status(&format!("starting {n}"));
        let (all, standing) = (u64::from(n), crowd.len() as u64);
        self.allowed(budget.allow(memory()?, standing, all))?;
        // One more than will stand is what is measured.
        let limits = limits::read(Path::new("/"));
        self.allowed(limits::allow(&limits, all - standing + 1))?;
        crowd.grow_to(n as usize)
    }

    fn measured(
        &self,
        crowd: &mut Crowd<'_>,
        measure: impl FnOnce(&mut Crowd<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.status(&format!("measuring while {} stand", crowd.len()));
        measure(crowd)?;
        crowd.all_stand()
    }

    fn table(&self, rungs: &[(u32, Histograms)]) -> Table {
        let series = self.series.iter().enumerate().map(|(at, name)| {
            let cells = rungs
                .iter()
                .map(|(n, histograms)| Cell::new(*n, &histograms[at]));
            Series::new(name, cells.collect())
        });
        Table {
            name: self.question.name().to_owned(),
            title: self.title.clone(),
            series: series.collect(),
        }
    }

    fn status(&self, text: &str) {
        (self.bench.caller.status)(&format!("{}: {text}", self.question.name()));
    }

    fn allowed(&self, answer: Result<(), String>) -> Result<(), Stop> {
        answer.map_err(|why| Stop::Failed(format!("table {}: {why}", self.question.name())))
    }
}

/// Adds one value to each histogram.
pub(super) fn add(histograms: &mut [Histogram<u64>], values: &[u64]) {
    for (histogram, value) in histograms.iter_mut().zip(values) {
        record(histogram, *value);
    }
}

/// MemAvailable of this machine, in bytes.
pub(super) fn memory() -> Result<u64, Stop> {
    let file = "/proc/meminfo";
    let text = fs::read_to_string(file).map_err(|e| cannot(&format!("read '{file}'"), &e))?;
    available(&text).ok_or_else(|| Stop::Failed(format!("'{file}' has no MemAvailable")))
}
