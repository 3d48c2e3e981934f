//! What `forklat scale` measured, as plain data: the part of a report that only `scale` fills.

use std::path::PathBuf;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::power_law_fit::{PowerLawFit, fit};

/// The tables of one run of `forklat scale`, and the sizes that they were made with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScaleResult {
    /// Bytes of its memory that each process wrote to (1a, 1b).
    pub touch: u64,
    /// Bytes of the mapped file (2a, 2b).
    pub file_size: u64,
    /// Where it lay.
    pub on: PathBuf,
    /// In the order in which they were made.
    pub tables: Vec<CostTable>,
}

/// One question, and what it costs as N grows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CostTable {
    /// `1a`, `1b`, `2a`, `2b`.
    pub name: String,
    /// The question in words.
    pub title: String,
    /// What was timed.
    pub series: Vec<Series>,
}

/// One thing that was timed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    /// `start`, `stop`, ...
    pub name: String,
    /// One a step.
    pub cells: Vec<CostCell>,
    /// How the median grows; `None` where there is one step only.
    pub growth: Option<PowerLawFit>,
}

/// What was measured while N processes stood. Microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostCell {
    /// The processes that stood.
    pub n: u32,
    /// How often it was measured.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Greatest.
    pub max: f64,
}

impl CostCell {
    /// From nanoseconds.
    #[must_use]
    pub fn new(n: u32, histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            n,
            count: histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: histogram.max() as f64 / 1000.0,
        }
    }
}

impl Series {
    /// The cells, and their growth.
    #[must_use]
    pub fn new(name: &str, cells: Vec<CostCell>) -> Self {
        // A clock of nanoseconds gives 0 for nothing but less than one; the logarithm wants more than that.
        let points: Vec<_> = cells
            .iter()
            .map(|c| (f64::from(c.n), c.p50.max(0.001)))
            .collect();
        Self {
            name: name.to_owned(),
            growth: fit(&points),
            cells,
        }
    }
}
