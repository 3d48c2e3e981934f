//! Step by step up to the last N: may so many stand, let them, measure.

use std::fs;
use std::path::Path;

use hdrhistogram::Histogram;

use super::budget::{Budget, available};
use super::crowd::Crowd;
use super::limits;
use super::record::{Cell, Series, Table};
use super::stop::{Stop, cannot};
use super::{Caller, Question};
use crate::observe::latency::{histogram, record};

/// What is measured at each step.
#[derive(Debug, Clone)]
pub(super) struct Ladder<'a> {
    pub steps: &'a [u32],
    pub caller: &'a Caller<'a>,
    pub question: Question,
    pub title: String,
    /// What is timed.
    pub series: &'static [&'static str],
    /// Bytes that one process takes at least.
    pub each: u64,
}

impl Ladder<'_> {
    /// Goes up, and calls `measure` at each step, which adds a value in nanoseconds to each of the histograms as often as it
    /// likes.
    pub(super) fn climb(
        &self,
        mut crowd: Crowd<'_>,
        mut measure: impl FnMut(&mut Crowd<'_>, &mut [Histogram<u64>]) -> Result<(), Stop>,
    ) -> Result<Table, Stop> {
        let (before, each) = (memory()?, self.each);
        let budget = Budget { before, each };
        let mut cells = vec![Vec::new(); self.series.len()];
        for n in self.steps {
            let (n, standing) = (*n, crowd.len() as u64);
            self.status(&format!("starting {n}"));
            self.allowed(budget.allow(memory()?, standing, n.into()))?;
            // One more than will stand is what is measured.
            let more = u64::from(n) - standing + 1;
            self.allowed(limits::allow(&limits::read(Path::new("/")), more))?;
            crowd.grow_to(n as usize)?;
            self.status(&format!("measuring while {n} stand"));
            let mut histograms = vec![histogram(); self.series.len()];
            measure(&mut crowd, &mut histograms)?;
            crowd.all_stand()?;
            for (cells, histogram) in cells.iter_mut().zip(&histograms) {
                cells.push(Cell::new(n, histogram));
            }
        }
        let series = self.series.iter().zip(cells);
        Ok(Table {
            name: self.question.name().to_owned(),
            title: self.title.clone(),
            series: series
                .map(|(name, cells)| Series::new(name, cells))
                .collect(),
        })
    }

    fn status(&self, text: &str) {
        (self.caller.status)(&format!("{}: {text}", self.question.name()));
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
