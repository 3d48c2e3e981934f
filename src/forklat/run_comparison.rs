//! Compares the runs of the tools of `compare`, round by round: which figures are tested, and whether a difference is
//! shown. Runs are never pooled.

use super::model::{CopyResult, RunResult, Subject, SummaryStats};
use super::phases::RunPart;
use super::statistics::{
    Block, ERROR_RATE, holm, median, median_interval, min_answers, permutation_p, smallest_p,
};

use crate::observe::probe::find_spec;

/// Reads a figure of a distribution, in microseconds.
type ReadFigure = fn(&SummaryStats) -> f64;

/// The percentiles of a run, the highest first, each with its quantile.
const PERCENTILES: [(&str, f64, ReadFigure); 4] = [
    ("p99.9", 0.999, |f| f.p999),
    ("p99", 0.99, |f| f.p99),
    ("p90", 0.9, |f| f.p90),
    ("p50", 0.5, |f| f.p50),
];

/// The probe that is measured by the operations of another one (`fork`), so that it would be tested twice.
const CHILD_SUFFIX: &str = "-child";

/// Widest interval of a ratio, from end to end, with which a row is sure: the upper end is twice the lower one.
const SURE_WIDTH: f64 = 2.0;

/// A figure of a copy: its label in the table, and how it is read.
pub type CopyFigure = (&'static str, fn(&CopyResult) -> f64);

/// The figures of a copy that are tested.
pub const COPY_FIGURES: [CopyFigure; 7] = [
    ("wall", |c| c.wall),
    ("durable", |c| c.durable),
    ("user CPU", |c| c.user),
    ("system CPU", |c| c.system),
    ("cache growth", |c| c.cache_growth as f64),
    ("peak Dirty", |c| c.peak_dirty as f64),
    ("peak RSS", |c| c.max_rss as f64),
];

/// A figure that each run has.
#[derive(Debug, Clone, Copy)]
pub enum RunFigure<'a> {
    /// A figure of the copy.
    Copy(CopyFigure),
    /// The number of operations of a probe until exit.
    Answers(&'a str),
    /// A percentile of the latency of a probe until exit.
    Percentile(&'a str, &'static str, ReadFigure),
    /// The longest latency of a probe in a part of the run.
    Longest(&'a str, RunPart),
    /// The bytes per second of a probe until exit, while it writes.
    Throughput(&'a str),
}

/// A tested figure of one tool beside that of the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct RowComparison {
    /// The name of the tool.
    pub tool: String,
    /// The name of the tool with which it is compared.
    pub reference: String,
    /// Whether both are the same tool, so that a difference would be false.
    pub is_repeat: bool,
    /// The probe, or `None` for a figure of the copy.
    pub probe: Option<String>,
    /// The label of the figure in the table.
    pub figure: &'static str,
    /// Number of rounds in which both have the figure.
    pub rounds: usize,
    /// Number of these rounds in which that of the tool was smaller.
    pub smaller: usize,
    /// Number of these rounds in which that of the tool was larger.
    pub larger: usize,
    /// Median of the ratios of the rounds, or `None` if a figure of the reference is 0.
    pub ratio: Option<f64>,
    /// The 95 % interval of the ratio, or `None` for too few rounds.
    pub interval: Option<(f64, f64)>,
    /// Probability of such a difference by chance, corrected for the number of rows of the tool.
    pub p: f64,
    /// The smallest `p` that so many rounds can give for so many rows.
    pub smallest_p: f64,
}

impl RowComparison {
    /// Returns whether a difference is shown, which is false in at most 5 % of comparisons.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.p <= ERROR_RATE
    }

    /// Returns whether the interval of the ratio is narrow. It is not asked whether a difference is shown: to stop as soon as
    /// one is would make false ones frequent.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        let width = self.interval.map(|(low, high)| high / low);
        width.is_some_and(|width| width <= SURE_WIDTH)
    }
}

/// Returns whether the subjects have runs of their own to compare. Those of an interval log and of older reports do not.
#[must_use]
pub fn has_runs(subjects: &[Subject]) -> bool {
    subjects.iter().any(|subject| !subject.runs.is_empty())
}

/// Returns the names of the probes of all runs, in the order of the table.
#[must_use]
pub fn probe_names(subjects: &[Subject]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let spans = subjects.iter().flat_map(|s| &s.runs).flat_map(|r| &r.spans);
    for probe in spans.flat_map(|span| &span.probes) {
        if !names.contains(&probe.name.as_str()) {
            names.push(&probe.name);
        }
    }
    // A short span may lack a probe that comes first in a longer one.
    let order = |name: &&str| {
        subjects
            .iter()
            .flat_map(|subject| &subject.probes)
            .position(|probe| probe.name == *name)
    };
    names.sort_by_key(order);
    names
}

/// Returns the figures of a probe for which each run has enough answers: the highest percentile of those, and the longest
/// latency.
#[must_use]
pub fn probe_figures<'a>(subjects: &[Subject], probe: &'a str) -> Vec<RunFigure<'a>> {
    let compared = subjects.iter().filter(|subject| !subject.aside);
    let answers = compared.flat_map(usable_runs).filter_map(|(run, _)| {
        let probe = run.probe(RunPart::UntilExit.name(), probe)?;
        Some(probe.answers)
    });
    let fewest = answers.min().unwrap_or(0);
    let mut percentiles = PERCENTILES.iter();
    let highest = percentiles.find(|(_, quantile, _)| fewest >= min_answers(*quantile));
    let mut figures: Vec<RunFigure> = highest
        .map(|(label, _, get)| RunFigure::Percentile(probe, label, *get))
        .into_iter()
        .collect();
    if find_spec(probe).is_some_and(|spec| spec.bytes.is_some()) {
        figures.push(RunFigure::Throughput(probe));
    }
    figures.push(RunFigure::Longest(probe, RunPart::UntilExit));
    figures
}

/// Returns the bytes per second of a probe while it writes, from the mean time of an operation in microseconds. It is `None`
/// for a probe whose throughput is not shown.
#[must_use]
pub fn throughput_of(probe: &str, mean_us: f64) -> Option<f64> {
    let bytes = find_spec(probe)?.bytes? as f64;
    (mean_us > 0.0).then(|| bytes / mean_us * 1e6)
}

/// Returns whether a probe is tested. One that is measured by the operations of another is not.
#[must_use]
pub fn is_tested(probe: &str) -> bool {
    !probe.ends_with(CHILD_SUFFIX)
}

/// Returns the runs of a subject that count, each with its copy: those that are not left out, and whose copy is correct. A
/// tool that gave up at once was not fast.
fn usable_runs(subject: &Subject) -> impl Iterator<Item = (&RunResult, Option<&CopyResult>)> {
    let copies = subject.copies.iter().map(Some);
    let runs = subject.runs.iter();
    let pairs = runs.zip(copies.chain(std::iter::repeat(None)));
    pairs.filter(|(run, copy)| run.left_out.is_none() && copy.is_none_or(|copy| copy.is_correct()))
}

impl RunFigure<'_> {
    /// Returns the label of the figure in the table.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Copy((label, _)) | Self::Percentile(_, label, _) => label,
            Self::Answers(_) => "count",
            Self::Longest(_, RunPart::UntilExit) => "max",
            Self::Longest(_, RunPart::UntilDurable) => "max until durable",
            Self::Longest(_, RunPart::After) => "max after",
            Self::Throughput(_) => "rate in write(2)",
        }
    }

    fn probe(&self) -> Option<&str> {
        match self {
            Self::Copy(_) => None,
            Self::Answers(probe)
            | Self::Percentile(probe, ..)
            | Self::Longest(probe, _)
            | Self::Throughput(probe) => Some(probe),
        }
    }

    /// Returns the figure of one run, or `None` if the run does not have it.
    fn value(&self, run: &RunResult, copy: Option<&CopyResult>) -> Option<f64> {
        let until_exit = RunPart::UntilExit.name();
        let figures = |part: &str, probe| run.probe(part, probe)?.latency.figures;
        match self {
            Self::Copy((_, get)) => copy.map(get),
            Self::Answers(probe) => Some(run.probe(until_exit, probe)?.answers as f64),
            Self::Percentile(probe, _, get) => figures(until_exit, probe).as_ref().map(get),
            Self::Longest(probe, part) => Some(figures(part.name(), probe)?.max),
            Self::Throughput(probe) => {
                let mean = run.probe(until_exit, probe)?.mean_service?;
                throughput_of(probe, mean)
            }
        }
    }

    /// Returns the figures of the runs of a subject that have it, each with the number of its round.
    #[must_use]
    pub fn values(&self, subject: &Subject) -> Vec<(u32, f64)> {
        let runs = usable_runs(subject);
        runs.filter_map(|(run, copy)| Some((run.round, self.value(run, copy)?)))
            .collect()
    }

    /// Returns the median over the runs of a subject, or `None` if no run has the figure.
    #[must_use]
    pub fn median(&self, subject: &Subject) -> Option<f64> {
        let middle = median(self.values(subject).into_iter().map(|(_, v)| v).collect())?;
        Some(match self {
            Self::Answers(_) => middle.floor(),
            _ => middle,
        })
    }
}

/// Compares all tools with the first one, by all tested figures.
#[must_use]
pub fn compare_runs(subjects: &[Subject]) -> Vec<RowComparison> {
    let mut tools = subjects.iter().filter(|subject| !subject.aside);
    let Some(reference) = tools.next() else {
        return Vec::new();
    };
    let copies: Vec<RunFigure> = COPY_FIGURES.map(RunFigure::Copy).into();
    let probes = probe_names(subjects).into_iter().filter(|p| is_tested(p));
    let latencies = probes.flat_map(|probe| probe_figures(subjects, probe));
    let families = [copies, latencies.collect()];
    let repeat = subjects.iter().find(|subject| subject.repeats.is_some());
    let mut rows = Vec::new();
    for tool in tools {
        // The first tool of another state of memory is the reference of that state.
        let mut of_state = subjects
            .iter()
            .filter(|s| !s.aside && s.memory == tool.memory);
        let reference = of_state.next().unwrap_or(reference);
        if reference.name == tool.name {
            continue;
        }
        let is_same = |repeat: &&Subject| repeat.name != tool.name && repeat.memory == tool.memory;
        let mut references = vec![reference];
        references.extend(repeat.filter(is_same));
        for family in &families {
            rows.extend(compare_family(tool, &references, family));
        }
    }
    rows
}

/// Tests the figures of one family, and corrects for their number.
fn compare_family(
    tool: &Subject,
    references: &[&Subject],
    figures: &[RunFigure],
) -> Vec<RowComparison> {
    let mut rows: Vec<RowComparison> = figures
        .iter()
        .filter_map(|figure| compare_row(tool, references, figure))
        .collect();
    let probabilities: Vec<f64> = rows.iter().map(|row| row.p).collect();
    let number = rows.len() as f64;
    for (row, p) in rows.iter_mut().zip(holm(&probabilities)) {
        row.p = p;
        row.smallest_p = (row.smallest_p * number).min(1.0);
    }
    rows
}

/// Tests one figure, or returns `None` if no round has it for both.
fn compare_row(
    tool: &Subject,
    references: &[&Subject],
    figure: &RunFigure,
) -> Option<RowComparison> {
    let values: Vec<Vec<(u32, f64)>> = references.iter().map(|s| figure.values(s)).collect();
    let blocks = figure.values(tool).into_iter().filter_map(|(round, tool)| {
        let in_round = |of: &Vec<(u32, f64)>| of.iter().find(|(r, _)| *r == round).map(|(_, v)| *v);
        let references: Vec<f64> = values.iter().filter_map(in_round).collect();
        (!references.is_empty()).then_some(Block { tool, references })
    });
    let blocks: Vec<Block> = blocks.collect();
    let most = blocks.iter().map(|block| block.references.len()).max()?;
    let ratios: Option<Vec<f64>> = blocks.iter().map(Block::ratio).collect();
    let middle = |block: &Block| median(block.references.clone()).unwrap_or_default();
    let count = |is: fn(f64, f64) -> bool| {
        let rounds = blocks.iter().filter(|block| is(block.tool, middle(block)));
        rounds.count()
    };
    Some(RowComparison {
        tool: tool.name.clone(),
        reference: references[0].name.clone(),
        is_repeat: tool.repeats.is_some(),
        probe: figure.probe().map(str::to_owned),
        figure: figure.label(),
        rounds: blocks.len(),
        smaller: count(|tool, reference| tool < reference),
        larger: count(|tool, reference| tool > reference),
        ratio: ratios.clone().and_then(median),
        interval: ratios.and_then(|ratios| median_interval(&ratios)),
        p: permutation_p(&blocks),
        smallest_p: smallest_p(blocks.len(), most + 1),
    })
}
