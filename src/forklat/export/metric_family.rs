//! A family of metrics in the text of OpenMetrics: its head, and its samples with labels.

use std::fmt;

/// The kind of a metric family. Others would not be read by the older text format of Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricType {
    Gauge,
    Histogram,
}

/// Metrics of one name, which differ by their labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricFamily {
    /// The name, which ends with the unit if it has one.
    name: String,
    unit: String,
    help: String,
    kind: MetricType,
    /// The values of the family. A family without any is not written.
    pub(super) samples: Vec<Sample>,
}

/// One value with its labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// The end of the name that belongs to the kind, such as `_bucket`.
    suffix: &'static str,
    labels: Vec<(String, String)>,
    value: f64,
}

impl MetricFamily {
    /// Returns a family of gauges. The unit, if there is one, is added to the name.
    pub(super) fn gauge(name: &str, unit: &str, help: &str) -> Self {
        Self::new(name, unit, help, MetricType::Gauge)
    }

    /// Returns a family of histograms, whose samples are `_bucket`, `_sum` and `_count`.
    pub(super) fn histogram(name: &str, unit: &str, help: &str) -> Self {
        Self::new(name, unit, help, MetricType::Histogram)
    }

    fn new(name: &str, unit: &str, help: &str, kind: MetricType) -> Self {
        let name = match unit {
            "" => name.to_owned(),
            unit => format!("{name}_{unit}"),
        };
        Self {
            name,
            unit: unit.to_owned(),
            help: help.to_owned(),
            kind,
            samples: Vec::new(),
        }
    }
}

impl Sample {
    /// Returns a sample that has the name of its family.
    pub(super) fn new(labels: &[(&str, &str)], value: f64) -> Self {
        Self::of("", labels, value)
    }

    /// Returns a sample whose name is that of its family with `suffix`.
    pub(super) fn of(suffix: &'static str, labels: &[(&str, &str)], value: f64) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            suffix,
            labels: labels.iter().map(owned).collect(),
            value,
        }
    }
}

impl fmt::Display for MetricFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
        };
        writeln!(f, "# TYPE {} {kind}", self.name)?;
        if !self.unit.is_empty() {
            writeln!(f, "# UNIT {} {}", self.name, self.unit)?;
        }
        // The two formats differ in what they escape here. The help is ours and has nothing to escape.
        writeln!(f, "# HELP {} {}", self.name, self.help)?;
        for sample in &self.samples {
            writeln!(f, "{}{} {}", self.name, sample, sample.value)?;
        }
        Ok(())
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.suffix)?;
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| format!("{name}=\"{}\"", escape(value)));
        let labels: Vec<String> = labels.collect();
        match labels.as_slice() {
            [] => Ok(()),
            labels => write!(f, "{{{}}}", labels.join(",")),
        }
    }
}

/// Escapes what would end the value of a label, or its line.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{MetricFamily, Sample};

    #[test]
    fn a_family_has_a_head_and_escaped_labels() {
        let mut family = MetricFamily::gauge("a", "bytes", "How much");
        family
            .samples
            .push(Sample::new(&[("tool", "x\\y\"\n")], 2.0));
        family.samples.push(Sample::of("_sum", &[], 0.5));
        let want = "# TYPE a_bytes gauge\n# UNIT a_bytes bytes\n# HELP a_bytes How much\n\
                    a_bytes{tool=\"x\\\\y\\\"\\n\"} 2\na_bytes_sum 0.5\n";
        assert_eq!(family.to_string(), want);
    }
}
