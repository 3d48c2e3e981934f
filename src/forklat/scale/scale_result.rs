//! The results of `forklat scale` as plain data: the part of a report that only `scale` fills.

use std::path::PathBuf;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::power_law_fit::{PowerLawFit, fit};

/// The tables of one run of `forklat scale`, and the sizes with which they were made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScaleResult {
    /// Bytes of its memory that each process wrote to (fork, exec).
    pub touch: u64,
    /// The size of the mapped file in bytes (join-mapping, write-mapping).
    pub file_size: u64,
    /// The directories in which the file was, one after the other.
    pub on: Vec<PathBuf>,
    /// The file system of each of them; empty if it is not known.
    #[serde(default)]
    pub file_systems: Vec<String>,
    /// What the tables say, in one sentence; `None` if they say nothing about growth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The tables, in the order in which they were made.
    pub tables: Vec<CostTable>,
}

/// One table: the cost of an operation as N grows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CostTable {
    /// The name: `fork`, `exec`, `copy-on-write`, `storm`, `join-mapping` or `write-mapping`.
    pub name: String,
    /// The title, which describes the operation.
    pub title: String,
    /// The things that were timed.
    pub series: Vec<Series>,
}

/// One thing that was timed, at all steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    /// The name: `start`, `stop`, ...
    pub name: String,
    /// The directory of the file, if the table has several of them side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<PathBuf>,
    /// The cells, one for each step.
    pub cells: Vec<CostCell>,
    /// The growth of the median, or `None` if there is only one step.
    pub growth: Option<PowerLawFit>,
}

/// The measurement at N idle processes. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostCell {
    /// The number of idle processes, N.
    pub n: u32,
    /// The number of measurements in this cell.
    pub count: u64,
    /// The median of the measured times.
    pub p50: f64,
    /// The 99th percentile of the measured times.
    pub p99: f64,
    /// The largest of the measured times.
    pub max: f64,
}

impl CostTable {
    /// Returns one table of those of several directories, with the series of one name next to each other. That of a single
    /// directory stays as it is.
    #[must_use]
    pub fn side_by_side(mut tables: Vec<(PathBuf, Self)>) -> Option<Self> {
        if tables.len() < 2 {
            return tables.pop().map(|(_, table)| table);
        }
        let (_, first) = tables.first()?;
        let (name, title) = (first.name.clone(), first.title.clone());
        let mut series = Vec::new();
        for place in 0..first.series.len() {
            let all = tables.iter();
            series.extend(all.filter_map(|(on, table)| {
                let series = table.series.get(place)?.clone();
                let on = Some(on.clone());
                Some(Series { on, ..series })
            }));
        }
        Some(Self {
            name,
            title,
            series,
        })
    }
}

impl CostCell {
    /// Makes a cell from a histogram of nanoseconds.
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
    /// Makes a series from its cells, and fits their growth.
    #[must_use]
    pub fn new(name: &str, cells: Vec<CostCell>) -> Self {
        // A median of 0 ns means less than one, since the clock counts nanoseconds. The logarithm needs a positive
        // value.
        let points: Vec<_> = cells
            .iter()
            .map(|c| (f64::from(c.n), c.p50.max(0.001)))
            .collect();
        Self {
            name: name.to_owned(),
            on: None,
            growth: fit(&points),
            cells,
        }
    }
}
