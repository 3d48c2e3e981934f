//! A report as OpenMetrics text, for the textfile directory of a Prometheus node exporter. It uses only what the older
//! text format of Prometheus has as well, which that exporter reads: gauges and histograms, and no times of their own.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::format::Format;
use super::metric_family::{MetricFamily, Sample};
use crate::forklat::error::ForklatError;
use crate::forklat::model::{CopyResult, ProbeResult, Report, Subject};
use crate::forklat::statistics::median;
use crate::observe::memory::timeline::TimelineSummary;
use crate::observe::memory::{Metric, Timeline};

/// The row of `--export-openmetrics` in the table of formats.
pub const FORMAT: Format = Format {
    name: "openmetrics",
    help: "Write the figures as OpenMetrics, for the textfile directory of a node exporter (a name that ends in .prom)",
    scale_help: None,
    render: |report, _| render(report),
};

/// The upper bounds of the buckets of a latency, in nanoseconds: 10 us to 100 s in steps of 1, 2 and 5, which the
/// histogram's own classes fit within 0.1 %.
const BUCKETS_NS: [u64; 22] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
    50_000_000_000,
    100_000_000_000,
];

/// The percentiles of a latency that have a gauge, with their label.
const QUANTILES: [(f64, &str); 4] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999")];

/// A figure of the copies of a tool: the end of its name with the unit, its help, and how it is read.
type CopyMetric = (&'static str, &'static str, fn(&CopyResult) -> f64);

const COPY_METRICS: [CopyMetric; 7] = [
    ("wall_seconds", "Time until the tool exited", |c| c.wall),
    ("durable_seconds", "Time until the copy was durable", |c| {
        c.durable
    }),
    (
        "user_cpu_seconds",
        "CPU time of the tool in user mode",
        |c| c.user,
    ),
    (
        "system_cpu_seconds",
        "CPU time of the tool in the kernel",
        |c| c.system,
    ),
    (
        "cache_growth_bytes",
        "Largest growth of the page cache",
        |c| c.cache_growth as f64,
    ),
    ("peak_dirty_bytes", "Largest value of Dirty", |c| {
        c.peak_dirty as f64
    }),
    (
        "peak_resident_bytes",
        "Peak resident size of the tool",
        |c| c.max_rss as f64,
    ),
];

/// Returns the text, which ends with the line `# EOF`. The same report gives the same bytes.
///
/// # Errors
/// A histogram of the report is damaged.
pub fn render(report: &Report) -> Result<String, ForklatError> {
    let mut families = vec![about(report), time_of(report), lengths(&report.subjects)];
    families.extend(latencies(&report.subjects)?);
    families.extend(copies(&report.subjects));
    families.extend(machine(&report.subjects));
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let _ = write!(text, "{family}");
    }
    Ok(text + "# EOF\n")
}

fn about(report: &Report) -> MetricFamily {
    let mut family = MetricFamily::gauge(
        "forklat_report",
        "",
        "The report that the other metrics come from; always 1",
    );
    let kernel = report.facts.kernel.clone().unwrap_or_default();
    let labels = [
        ("kind", report.kind.as_str()),
        ("version", report.forklat.as_str()),
        ("kernel", kernel.as_str()),
    ];
    family.samples.push(Sample::new(&labels, 1.0));
    family
}

fn time_of(report: &Report) -> MetricFamily {
    let mut family = MetricFamily::gauge(
        "forklat_report_time",
        "seconds",
        "When the measurement began, in seconds since 1970",
    );
    let date = humantime::parse_rfc3339_weak(&report.date).ok();
    let since = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    let seconds = since.map(|since| since.as_secs_f64());
    family
        .samples
        .extend(seconds.map(|seconds| Sample::new(&[], seconds)));
    family
}

fn lengths(subjects: &[Subject]) -> MetricFamily {
    let mut family =
        MetricFamily::gauge("forklat_measured", "seconds", "Measured time of a subject");
    let sample = |subject: &Subject| Sample::new(&[("subject", &subject.name)], subject.seconds);
    family.samples = subjects.iter().map(sample).collect();
    family
}

/// Returns the latencies of all probes, all CPUs together: their histograms, percentiles and maxima.
fn latencies(subjects: &[Subject]) -> Result<[MetricFamily; 3], ForklatError> {
    let mut buckets = MetricFamily::histogram(
        "forklat_latency",
        "seconds",
        "Time from the intended moment of a request to its answer",
    );
    let mut quantiles = MetricFamily::gauge(
        "forklat_latency_quantile",
        "seconds",
        "Percentile of that time, exact to 0.1 %",
    );
    let mut longest = MetricFamily::gauge("forklat_latency_max", "seconds", "Longest such time");
    for (subject, probe) in all_probes(subjects) {
        let histogram = probe.latency.read()?;
        let labels = [("subject", subject), ("probe", probe.name.as_str())];
        add_buckets(&mut buckets, &labels, &histogram);
        if histogram.is_empty() {
            continue;
        }
        for (quantile, label) in QUANTILES {
            let value = seconds(histogram.value_at_quantile(quantile));
            let labels = [labels[0], labels[1], ("quantile", label)];
            quantiles.samples.push(Sample::new(&labels, value));
        }
        longest
            .samples
            .push(Sample::new(&labels, seconds(histogram.max())));
    }
    Ok([buckets, quantiles, longest])
}

fn all_probes(subjects: &[Subject]) -> impl Iterator<Item = (&str, &ProbeResult)> {
    subjects.iter().flat_map(|subject| {
        let probes = subject.probes.iter().filter(|probe| probe.cpu.is_none());
        probes.map(|probe| (subject.name.as_str(), probe))
    })
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn add_buckets(family: &mut MetricFamily, labels: &[(&str, &str); 2], histogram: &Histogram<u64>) {
    let mut counted = 0;
    let mut from = 0;
    for bound in BUCKETS_NS {
        counted += histogram.count_between(from, bound);
        // The next bucket begins where the class of this bound ends, so that nothing is counted twice.
        from = histogram.highest_equivalent(bound) + 1;
        let le = seconds(bound).to_string();
        let labels = [labels[0], labels[1], ("le", &le)];
        family
            .samples
            .push(Sample::of("_bucket", &labels, counted as f64));
    }
    let all = histogram.len() as f64;
    let last = [labels[0], labels[1], ("le", "+Inf")];
    family.samples.push(Sample::of("_bucket", &last, all));
    let sum = histogram.mean() * all / 1e9;
    family.samples.push(Sample::of("_sum", labels, sum));
    family.samples.push(Sample::of("_count", labels, all));
}

/// Returns the number of copies by their result, and the medians of those that are correct.
fn copies(subjects: &[Subject]) -> Vec<MetricFamily> {
    let tools = || subjects.iter().filter(|subject| !subject.copies.is_empty());
    let mut results =
        MetricFamily::gauge("forklat_copies", "", "Number of copies of a tool by result");
    for tool in tools() {
        let count = |is: fn(&CopyResult) -> bool| tool.copies.iter().filter(|c| is(c)).count();
        for (result, count) in [
            ("correct", count(CopyResult::is_correct)),
            ("failed", count(|copy| copy.status != 0)),
            ("wrong", count(CopyResult::is_silently_wrong)),
        ] {
            let labels = [("subject", tool.name.as_str()), ("result", result)];
            results.samples.push(Sample::new(&labels, count as f64));
        }
    }
    let mut families = vec![results];
    for (name, help, get) in COPY_METRICS {
        let (name, unit) = name.rsplit_once('_').unwrap_or((name, ""));
        let help = format!("{help}, median of the correct copies");
        let mut family = MetricFamily::gauge(&format!("forklat_copy_{name}"), unit, &help);
        for tool in tools() {
            let correct = tool.copies.iter().filter(|copy| copy.is_correct());
            let value = median(correct.map(get).collect());
            let labels = [("subject", tool.name.as_str())];
            family
                .samples
                .extend(value.map(|value| Sample::new(&labels, value)));
        }
        families.push(family);
    }
    families
}

/// Returns the extremes of the memory, the events and the stalled time, over all runs of a subject.
fn machine(subjects: &[Subject]) -> [MetricFamily; 4] {
    let gauge = MetricFamily::gauge;
    let mut families = [
        gauge(
            "forklat_memory_min",
            "bytes",
            "Smallest value in /proc/meminfo",
        ),
        gauge(
            "forklat_memory_max",
            "bytes",
            "Largest value in /proc/meminfo",
        ),
        gauge(
            "forklat_vm_events",
            "",
            "Events of /proc/vmstat in the measured time",
        ),
        gauge(
            "forklat_pressure_worst",
            "ratio",
            "Share of the worst second in which tasks were stalled (PSI)",
        ),
    ];
    for subject in subjects {
        let runs = subject.timelines.iter().map(Timeline::summarize);
        let runs: Vec<TimelineSummary> = runs.collect();
        for metric in Metric::ALL {
            let labels = [
                ("subject", subject.name.as_str()),
                ("metric", metric.name()),
            ];
            for (family, value) in families.iter_mut().zip(extremes(&runs, metric)) {
                let sample = value.map(|value| Sample::new(&labels, value));
                family.samples.extend(sample);
            }
        }
    }
    families
}

/// Returns the value of a metric in each of the families of [`machine`]; `None` where it does not belong.
fn extremes(runs: &[TimelineSummary], metric: Metric) -> [Option<f64>; 4] {
    let gauges = || runs.iter().flat_map(|run| &run.gauges);
    let ranges = || gauges().filter(|gauge| gauge.0 == metric);
    let counters = runs.iter().flat_map(|run| &run.counters);
    let counts = counters.filter(|counter| counter.0 == metric);
    let stalls = runs.iter().flat_map(|run| &run.stalls);
    let stalls = stalls.filter(|stall| stall.0 == metric);
    let worst = stalls.filter_map(|(_, stall)| stall.worst);
    [
        ranges().map(|(_, range)| range.min as f64).reduce(f64::min),
        ranges().map(|(_, range)| range.max as f64).reduce(f64::max),
        counts.map(|(_, n)| *n as f64).reduce(|a, b| a + b),
        worst.reduce(f64::max).map(|percent| percent / 100.0),
    ]
}
