//! The latencies of one probe by percentile: how long the slowest tenth, hundredth, thousandth of all waits were, both axes
//! logarithmic.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::forklat::error::ForklatError;
use crate::forklat::export::chart::grid_line::draw_grid_line;
use crate::forklat::export::chart::log_axis::LogAxis;
use crate::forklat::export::chart::palette::{colour, mark};
use crate::forklat::export::chart::text::escape;
use crate::forklat::export::grid::Unit;
use crate::forklat::model::{Distribution, Subject};
use crate::forklat::phases::RunPart;

/// Size of the chart, and the pixels of its axes: left and right, bottom and top.
const SIZE: (f64, f64) = (520.0, 300.0);
const ACROSS: (f64, f64) = (56.0, 490.0);
const UPWARDS: (f64, f64) = (262.0, 30.0);

/// Number of points that a line has for each power of ten.
const POINTS_PER_DECADE: u32 = 24;

/// Largest power of ten on the axis of percentiles: 99.9999 %.
const MAX_DECADES: u32 = 6;

/// The latencies of one subject, of all runs together and of each run.
struct Curve<'a> {
    /// Position of the subject in the report, which decides its colour and shape.
    index: usize,
    subject: &'a Subject,
    all: Histogram<u64>,
    runs: Vec<Histogram<u64>>,
}

/// Returns the chart of a probe, or `None` if it has no latency.
///
/// # Errors
/// A histogram of the report is damaged.
pub(super) fn chart(subjects: &[Subject], probe: &str) -> Result<Option<String>, ForklatError> {
    let curves = curves(subjects, probe)?;
    let histograms = || {
        curves
            .iter()
            .flat_map(|curve| curve.runs.iter().chain([&curve.all]))
    };
    let ends = histograms().flat_map(|h| [microseconds(h.min()), microseconds(h.max())]);
    let Some(axis) = LogAxis::of(ends, UPWARDS) else {
        return Ok(None);
    };
    let most = histograms().map(Histogram::len).max().unwrap_or(1);
    let decades = ((most as f64).log10().ceil() as u32).clamp(1, MAX_DECADES);
    let name = escape(probe);
    let (width, height) = SIZE;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="Latency of {name} by percentile"><text class="probe" x="12" y="18">{name}</text>"#
    );
    draw_axes(&mut svg, &axis, decades);
    for curve in &curves {
        draw_curve(&mut svg, curve, &axis, decades);
    }
    Ok(Some(svg + "</svg>\n"))
}

fn curves<'a>(subjects: &'a [Subject], probe: &str) -> Result<Vec<Curve<'a>>, ForklatError> {
    let mut curves = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        let mut probes = subject.probes.iter();
        let found = probes.find(|p| p.name == probe && p.cpu.is_none() && p.latency.count > 0);
        let Some(found) = found else { continue };
        let runs = subject.runs.iter().filter(|run| run.left_out.is_none());
        let runs = runs.filter_map(|run| run.probe(RunPart::UntilExit.name(), probe));
        let runs = runs.map(|run| run.latency.read());
        curves.push(Curve {
            index,
            subject,
            all: Distribution::read(&found.latency)?,
            runs: runs.collect::<Result<_, _>>()?,
        });
    }
    Ok(curves)
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

/// Returns the pixel of a percentile that is `decades` powers of ten away from 0 %: 1 is 90 %, 2 is 99 %.
fn across(decades: f64, all: u32) -> f64 {
    ACROSS.0 + (ACROSS.1 - ACROSS.0) * (decades / f64::from(all)).min(1.0)
}

fn draw_axes(svg: &mut String, axis: &LogAxis, decades: u32) {
    for (y, label) in axis.ticks() {
        draw_grid_line(svg, ACROSS, y, &label);
    }
    let halves = [(2_f64.log10(), "50 %".to_owned())];
    let powers = (0..=decades).map(|n| (f64::from(n), percent(n)));
    for (at, label) in powers.chain(halves) {
        let x = across(at, decades);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{}" y2="{}"/><text class="small middle" x="{x:.1}" y="{}">{label}</text>"#,
            UPWARDS.0,
            UPWARDS.1,
            UPWARDS.0 + 17.0
        );
    }
    let _ = writeln!(
        svg,
        r#"<text class="small middle" x="{}" y="{}">share of the waits that were shorter</text>"#,
        f64::midpoint(ACROSS.0, ACROSS.1),
        SIZE.1 - 5.0
    );
}

/// Returns the percentile that is `decades` powers of ten away from 0 %.
fn percent(decades: u32) -> String {
    match decades {
        0 => "0 %".into(),
        1 => "90 %".into(),
        2 => "99 %".into(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    }
}

fn draw_curve(svg: &mut String, curve: &Curve, axis: &LogAxis, decades: u32) {
    let class = colour(curve.index, curve.subject.aside);
    let figures = [("median", 0.5), ("p99", 0.99)].map(|(name, quantile)| {
        let value = microseconds(curve.all.value_at_quantile(quantile));
        format!("{name} {}", Unit::Microseconds.show(value))
    });
    let longest = microseconds(curve.all.max());
    let _ = write!(
        svg,
        r#"<g class="c{class}"><title>{}: {} waits, {}, longest {}</title>"#,
        escape(&curve.subject.name),
        curve.all.len(),
        figures.join(", "),
        Unit::Microseconds.show(longest)
    );
    for run in &curve.runs {
        let points = points(run, axis, decades);
        let _ = write!(svg, r#"<polyline class="single" points="{points}"/>"#);
    }
    let points = points(&curve.all, axis, decades);
    let _ = write!(svg, r#"<polyline class="series" points="{points}"/>"#);
    let end = across((curve.all.len() as f64).log10(), decades);
    svg.push_str(&mark("longest", curve.index, end, axis.position(longest)));
    svg.push_str("</g>\n");
}

/// Returns the points of a line, without those in the middle of a straight part. It ends at the share of which only the
/// longest wait is left.
fn points(histogram: &Histogram<u64>, axis: &LogAxis, decades: u32) -> String {
    let end = (histogram.len() as f64).log10().min(f64::from(decades));
    let steps = (end * f64::from(POINTS_PER_DECADE)).floor() as u32;
    let at = (0..=steps).map(|n| f64::from(n) / f64::from(POINTS_PER_DECADE));
    let point = |at: f64| {
        let value = histogram.value_at_quantile(1.0 - 10_f64.powf(-at));
        (across(at, decades), axis.position(microseconds(value)))
    };
    let last = (
        across(end, decades),
        axis.position(microseconds(histogram.max())),
    );
    let mut line: Vec<(f64, f64)> = Vec::new();
    for next in at.map(point).chain([last]) {
        let is_level = |other: &(f64, f64)| (other.1 - next.1).abs() < 0.05;
        if let [.., a, b] = line[..]
            && is_level(&a)
            && is_level(&b)
        {
            line.pop();
        }
        line.push(next);
    }
    let words = line.iter().map(|(x, y)| format!("{x:.1},{y:.1}"));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{LogAxis, UPWARDS, across, percent, points};
    use crate::observe::latency_histograms::{new_histogram, record_ns};

    #[test]
    fn percentiles_have_their_names() {
        let names = [0, 1, 2, 3, 5].map(percent);
        assert_eq!(names, ["0 %", "90 %", "99 %", "99.9 %", "99.999 %"]);
    }

    #[test]
    fn a_line_ends_with_the_longest_wait_and_has_no_point_in_a_straight_part() {
        let mut histogram = new_histogram();
        for _ in 0..99 {
            record_ns(&mut histogram, 10_000);
        }
        record_ns(&mut histogram, 1_000_000);
        let axis = LogAxis::of([10.0, 1000.0].into_iter(), UPWARDS).unwrap();
        let line = points(&histogram, &axis, 2);
        let ends: Vec<&str> = line.split(' ').collect();
        assert_eq!(ends.len(), 3, "level, and then up: {line}");
        let want = format!("{:.1},{:.1}", across(2.0, 2), UPWARDS.1);
        assert_eq!(ends[2], want);
    }
}
