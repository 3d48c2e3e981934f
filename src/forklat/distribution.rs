//! A distribution of latencies as plain data: its histogram, and the figures of a table.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::forklat::error::{ForklatError, damaged};

/// A distribution of values in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Distribution {
    /// The number of all values.
    pub count: u64,
    /// The percentiles and other figures. This is `None`, and has no field in JSON, if there is no value.
    #[serde(flatten)]
    pub figures: Option<SummaryStats>,
    /// The whole histogram in nanoseconds, as HdrHistogram V2, deflated, in base64.
    pub histogram: String,
}

/// The figures of one distribution, in microseconds, within 0.1 % of the measured values.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
pub struct SummaryStats {
    /// The smallest of the values.
    pub min: f64,
    /// The arithmetic mean of the values.
    pub mean: f64,
    /// The median of the values.
    pub p50: f64,
    /// The 90th percentile of the values.
    pub p90: f64,
    /// The 99th percentile of the values.
    pub p99: f64,
    /// The 99.9th percentile of the values.
    pub p999: f64,
    /// The largest of the values.
    pub max: f64,
}

impl Distribution {
    /// Returns the distribution of a histogram of nanoseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let quantile = |q| microseconds(histogram.value_at_quantile(q) as f64);
        let figures = || SummaryStats {
            min: microseconds(histogram.min() as f64),
            mean: microseconds(histogram.mean()),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: microseconds(histogram.max() as f64),
        };
        Self {
            count: histogram.len(),
            figures: (!histogram.is_empty()).then(figures),
            histogram: encode(histogram),
        }
    }

    /// Returns the histogram of nanoseconds, which grows as needed.
    ///
    /// # Errors
    /// A description of the damage, if the histogram is damaged.
    pub fn read(&self) -> Result<Histogram<u64>, ForklatError> {
        let histogram = decode(&self.histogram)?;
        if histogram.len() == self.count {
            Ok(histogram)
        } else {
            Err(damaged(format!(
                "a histogram holds {} values, but its count says {}",
                histogram.len(),
                self.count
            )))
        }
    }
}

/// Returns microseconds of a number of nanoseconds.
pub(super) fn microseconds(nanoseconds: f64) -> f64 {
    nanoseconds / 1e3
}

/// Encodes a histogram as HdrHistogram V2, deflated, in base64. Interval logs contain this format, and every port of
/// the library reads it.
pub(super) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a vector takes every byte, and no count here has 64 bits");
    STANDARD.encode(bytes)
}

/// Decodes a histogram that [`encode`] wrote.
///
/// # Errors
/// A description of what is wrong with the text.
pub(super) fn decode(text: &str) -> Result<Histogram<u64>, ForklatError> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|e| damaged(format!("a histogram is not base64: {e}")))?;
    let mut histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|e| damaged(format!("a histogram is damaged: {e}")))?;
    histogram.auto(true);
    Ok(histogram)
}
