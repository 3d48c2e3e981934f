//! A report as a picture in SVG: for each probe and subject the median, the 99th percentile and the longest latency on a
//! logarithmic axis. The file has colours for a light and for a dark page.

use std::fmt::Write as _;

use super::chart::log_axis::LogAxis;
use super::chart::palette::{self, mark, style};
use super::chart::text::{escape, shorten, wrap};
use super::format::Format;
use super::grid::Unit;
use super::rows::is_comparison;
use crate::forklat::error::ForklatError;
use crate::forklat::model::{Distribution, Report, Subject};
use crate::observe::host_info::HostInfo;
use crate::observe::probe::PROBE_SPECS;

/// The row of `--export-svg` in the table of formats.
pub const FORMAT: Format = Format {
    name: "svg",
    help: "A picture of the latencies of each probe, for light and dark pages",
    scale_help: None,
    render: |report, _| render(report),
};

/// Width of the picture in pixels. README pages show about 800.
const WIDTH: f64 = 800.0;

/// Left and right end of the axis in pixels. The names of the subjects are left of it, the longest latency in words right.
const AXIS: (f64, f64) = (170.0, 720.0);

/// Top of the first group of lines in pixels, below the title and the key.
const TOP: f64 = 88.0;

/// Height of the line with the name of a probe, of the line of a subject, and of a line of the footer, in pixels.
const TITLE_HEIGHT: f64 = 24.0;
const LINE_HEIGHT: f64 = 17.0;
const FOOTER_LINE_HEIGHT: f64 = 15.0;

/// Number of characters of a subject's name that fit left of the axis, and of a line of the footer.
const NAME_CHARS: usize = 22;
const FOOTER_CHARS: usize = 118;

/// The 99th percentile of fewer latencies is the longest of them, and has no mark of its own.
const MIN_P99_COUNT: u64 = 100;

/// The three figures of a latency that have marks, in microseconds, and the number of latencies.
struct Marks {
    count: u64,
    median: f64,
    p99: Option<f64>,
    longest: f64,
}

/// The latencies of one subject for one probe.
struct Line<'a> {
    /// Position of the subject in the report, which decides its colour and shape.
    index: usize,
    subject: &'a Subject,
    marks: Marks,
}

/// The lines of one probe.
struct ProbeGroup<'a> {
    probe: &'a str,
    lines: Vec<Line<'a>>,
}

/// Returns the picture. The same report gives the same bytes.
///
/// # Errors
/// A report that has no latency to draw.
pub fn render(report: &Report) -> Result<String, ForklatError> {
    let footer = footer(report);
    picture(report, &style(report.subjects.len()), &footer)
        .ok_or_else(|| ForklatError::Refused("the report has no latency to draw".into()))
}

/// Returns the picture for a page that has the style sheet of charts and the facts of the machine itself, or `None` if
/// there is no latency to draw.
pub(super) fn for_page(report: &Report) -> Option<String> {
    picture(report, "", &[])
}

fn picture(report: &Report, style: &str, footer: &[String]) -> Option<String> {
    let groups = groups(&report.subjects);
    let values = groups.iter().flat_map(|group| &group.lines);
    let values = values.flat_map(|line| [line.marks.median, line.marks.longest]);
    let axis = LogAxis::of(values, AXIS)?;
    let heights = groups
        .iter()
        .map(|g| TITLE_HEIGHT + LINE_HEIGHT * g.lines.len() as f64);
    let bottom = TOP + heights.sum::<f64>() + 8.0;
    let height = bottom + 50.0 + FOOTER_LINE_HEIGHT * footer.len() as f64;
    let mut svg = head(report, height, style);
    draw_axis(&mut svg, &axis, bottom);
    let mut y = TOP;
    for group in &groups {
        y = draw_group(&mut svg, group, &axis, y);
    }
    for (n, line) in footer.iter().enumerate() {
        let y = bottom + 58.0 + FOOTER_LINE_HEIGHT * n as f64;
        let line = escape(line);
        let _ = writeln!(svg, r#"<text class="small" x="12" y="{y}">{line}</text>"#);
    }
    Some(svg + "</svg>\n")
}

/// Returns the probes that have latencies, all CPUs together, in the order of the table.
fn groups(subjects: &[Subject]) -> Vec<ProbeGroup<'_>> {
    let mut groups: Vec<ProbeGroup> = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        for probe in subject.probes.iter().filter(|probe| probe.cpu.is_none()) {
            let Some(marks) = marks(&probe.latency) else {
                continue;
            };
            let line = Line {
                index,
                subject,
                marks,
            };
            match groups.iter_mut().find(|group| group.probe == probe.name) {
                Some(group) => group.lines.push(line),
                None => groups.push(ProbeGroup {
                    probe: &probe.name,
                    lines: vec![line],
                }),
            }
        }
    }
    groups
}

fn marks(latency: &Distribution) -> Option<Marks> {
    let figures = latency.figures?;
    Some(Marks {
        count: latency.count,
        median: figures.p50,
        p99: (latency.count >= MIN_P99_COUNT).then_some(figures.p99),
        longest: figures.max,
    })
}

/// Returns the beginning of the file: size, colours, title and key.
fn head(report: &Report, height: f64, style: &str) -> String {
    let title = if is_comparison(&report.subjects) {
        "How long others waited while each tool copied"
    } else {
        "How long others waited before, during and after"
    };
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>
{style}</style>
<rect class="page" width="100%" height="100%"/>
<text class="title" x="12" y="26">{title}</text>
"#
    );
    let key = [
        (20.0, "half", "half of all waits were shorter (median)"),
        (318.0, "p99", "99 of 100 were shorter"),
        (505.0, "longest", "the longest wait"),
    ];
    for (x, kind, words) in key {
        let mark = mark(kind, 0, x, 46.0);
        let _ = writeln!(
            svg,
            r#"<g class="key">{mark}<text x="{}" y="50">{words}</text></g>"#,
            x + 11.0
        );
    }
    let _ = writeln!(
        svg,
        r#"<text class="small" x="12" y="68">99 of 100 is shown where there are {MIN_P99_COUNT} waits or more. Each vertical line is ten times the one before.</text>"#
    );
    svg
}

/// Draws the lines of one probe from `top` on, and returns where they end.
fn draw_group(svg: &mut String, group: &ProbeGroup, axis: &LogAxis, top: f64) -> f64 {
    let mut specs = PROBE_SPECS.iter();
    let about = specs.find(|spec| spec.name == group.probe).map(|spec| {
        let (what, _) = spec
            .description
            .split_once(';')
            .unwrap_or((spec.description, ""));
        format!(r#" <tspan class="small">{}</tspan>"#, escape(what))
    });
    let _ = writeln!(
        svg,
        r#"<text class="probe" x="12" y="{}">{}{}</text>"#,
        top + 17.0,
        escape(group.probe),
        about.unwrap_or_default()
    );
    let mut y = top + TITLE_HEIGHT;
    for line in &group.lines {
        draw_line(svg, line, axis, y + LINE_HEIGHT / 2.0);
        y += LINE_HEIGHT;
    }
    y
}

/// Draws the name of one subject, its marks with a line between them, and the longest wait in words.
fn draw_line(svg: &mut String, line: &Line, axis: &LogAxis, y: f64) {
    let Marks {
        count,
        median,
        p99,
        longest,
    } = line.marks;
    let show = |value| Unit::Microseconds.show(value);
    let (from, to) = (axis.position(median), axis.position(longest));
    let p99_words = p99.map_or_else(String::new, |p99| format!(", p99 {}", show(p99)));
    let _ = writeln!(
        svg,
        r#"<g class="c{}"><title>{}: {count} waits, median {}{p99_words}, longest {}</title><text class="end" x="{}" y="{}">{}</text><line class="range" x1="{from:.1}" x2="{to:.1}" y1="{y}" y2="{y}"/>"#,
        palette::colour(line.index, line.subject.aside),
        escape(&line.subject.name),
        show(median),
        show(longest),
        AXIS.0 - 12.0,
        y + 4.0,
        escape(&shorten(&line.subject.name, NAME_CHARS)),
    );
    svg.push_str(&mark("longest", line.index, to, y));
    if let Some(p99) = p99 {
        svg.push_str(&mark("p99", line.index, axis.position(p99), y));
    }
    svg.push_str(&mark("half", line.index, from, y));
    let _ = writeln!(
        svg,
        r#"<text class="small" x="{:.1}" y="{}">{}</text></g>"#,
        to + 10.0,
        y + 4.0,
        show(longest)
    );
}

/// Returns the lines below the axis: what was measured how often, and the facts of the machine.
fn footer(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(copies) = report.subjects.iter().map(|s| s.copies.len()).max()
        && copies > 0
    {
        lines.push(format!(
            "Copies of each tool: {copies}. The waits of all of them are taken together."
        ));
    }
    // A merge of interval logs has no facts about the machine.
    if report.facts != HostInfo::default() {
        lines.extend(report.facts.summary_lines());
    }
    lines
        .iter()
        .flat_map(|line| wrap(line, FOOTER_CHARS))
        .collect()
}

/// Draws a line and a label for each power of ten, and what the axis shows.
fn draw_axis(svg: &mut String, axis: &LogAxis, bottom: f64) {
    for (x, label) in axis.ticks() {
        let _ = writeln!(
            svg,
            r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}"/><text class="middle" x="{x:.1}" y="{}">{label}</text>"#,
            bottom + 16.0,
        );
    }
    let _ = writeln!(
        svg,
        r#"<text class="small middle" x="{}" y="{}">time from the intended moment to the answer (logarithmic)</text>"#,
        f64::midpoint(AXIS.0, AXIS.1),
        bottom + 34.0
    );
}
