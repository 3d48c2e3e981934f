//! A report as a picture in SVG: for each probe and subject the median, the 99th percentile and the longest latency on a
//! logarithmic axis. The file has colours for a light and for a dark page.

use std::fmt::Write as _;

use super::format::Format;
use super::grid::Unit;
use super::rows::is_comparison;
use super::svg_text::{escape, shorten, wrap};
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

/// Number of colours and of shapes. The colours are those of Okabe and Ito, which colour-blind readers tell apart, and
/// lighter ones of the same hue for a dark page; the first is for subjects that are only shown beside the others.
const COLOURS: [(&str, &str); 7] = [
    ("#6b7280", "#9aa3ae"),
    ("#c2410c", "#ff8c4b"),
    ("#0072b2", "#5bb4ef"),
    ("#00805c", "#2fd0a0"),
    ("#a3487b", "#e79ac6"),
    ("#8a6a00", "#e6b422"),
    ("#5b4bb7", "#a99cf5"),
];
const SHAPES: usize = 6;

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

/// The logarithmic axis, from one power of ten to another.
struct LogAxis {
    /// The powers of ten of microseconds at both ends.
    decades: (i32, i32),
}

/// Returns the picture. The same report gives the same bytes.
///
/// # Errors
/// A report that has no latency to draw.
pub fn render(report: &Report) -> Result<String, ForklatError> {
    let groups = groups(&report.subjects);
    let values = groups.iter().flat_map(|group| &group.lines);
    let axis = LogAxis::of(values.flat_map(|line| [line.marks.median, line.marks.longest]))
        .ok_or_else(|| ForklatError::Refused("the report has no latency to draw".into()))?;
    let heights = groups
        .iter()
        .map(|g| TITLE_HEIGHT + LINE_HEIGHT * g.lines.len() as f64);
    let bottom = TOP + heights.sum::<f64>() + 8.0;
    let footer = footer(report);
    let height = bottom + 50.0 + FOOTER_LINE_HEIGHT * footer.len() as f64;
    let mut svg = head(report, height);
    axis.draw(&mut svg, bottom);
    let mut y = TOP;
    for group in &groups {
        y = draw_group(&mut svg, group, &axis, y);
    }
    for (n, line) in footer.iter().enumerate() {
        let y = bottom + 58.0 + FOOTER_LINE_HEIGHT * n as f64;
        let line = escape(line);
        let _ = writeln!(svg, r#"<text class="small" x="12" y="{y}">{line}</text>"#);
    }
    Ok(svg + "</svg>\n")
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
fn head(report: &Report, height: f64) -> String {
    let title = if is_comparison(&report.subjects) {
        "How long others waited while each tool copied"
    } else {
        "How long others waited before, during and after"
    };
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>
{}</style>
<rect class="page" width="100%" height="100%"/>
<text class="title" x="12" y="26">{title}</text>
"#,
        style(report.subjects.len())
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

/// Returns the style sheet, with the colours of so many subjects for light and dark pages.
fn style(subjects: usize) -> String {
    let colours = |dark: bool| {
        let mut text = String::new();
        for (n, (on_light, on_dark)) in COLOURS.iter().enumerate().take(subjects + 1) {
            let colour = if dark { on_dark } else { on_light };
            let _ = write!(text, ".c{n}{{fill:{colour};stroke:{colour}}}");
        }
        text
    };
    format!(
        "text{{font:13px sans-serif;fill:#1f2328;stroke:none}}.title{{font-size:17px;font-weight:bold}}\
         .small{{font-size:11px;font-weight:normal;fill:#59636e}}.probe{{font-weight:bold}}.end{{text-anchor:end}}.middle{{text-anchor:middle}}\n\
         .page{{fill:#fff}}.grid{{stroke:#d1d9e0}}.range{{stroke-width:2;stroke-opacity:.45}}.mark{{stroke-width:1.5}}\
         .p99{{fill-opacity:.35}}.longest{{fill:#fff}}.key{{fill:#59636e;stroke:#59636e}}{}\n\
         @media(prefers-color-scheme:dark){{text{{fill:#f0f6fc}}.small{{fill:#9198a1}}.page{{fill:#0d1117}}.grid{{stroke:#3d444d}}\
         .longest{{fill:#0d1117}}.key{{fill:#9198a1;stroke:#9198a1}}{}}}\n",
        colours(false),
        colours(true)
    )
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
    let (from, to) = (axis.x(median), axis.x(longest));
    let p99_words = p99.map_or_else(String::new, |p99| format!(", p99 {}", show(p99)));
    let _ = writeln!(
        svg,
        r#"<g class="c{}"><title>{}: {count} waits, median {}{p99_words}, longest {}</title><text class="end" x="{}" y="{}">{}</text><line class="range" x1="{from:.1}" x2="{to:.1}" y1="{y}" y2="{y}"/>"#,
        colour(line),
        escape(&line.subject.name),
        show(median),
        show(longest),
        AXIS.0 - 12.0,
        y + 4.0,
        escape(&shorten(&line.subject.name, NAME_CHARS)),
    );
    svg.push_str(&mark("longest", line.index, to, y));
    if let Some(p99) = p99 {
        svg.push_str(&mark("p99", line.index, axis.x(p99), y));
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

/// Returns the colour of a subject: the first one for those beside the others, and of the others in turn.
fn colour(line: &Line) -> usize {
    if line.subject.aside {
        0
    } else {
        1 + line.index.saturating_sub(1) % (COLOURS.len() - 1)
    }
}

/// Returns a mark of the shape of the subject at `index`, around a point.
fn mark(kind: &str, index: usize, x: f64, y: f64) -> String {
    let polygon = |points: &[(f64, f64)]| {
        let points = points
            .iter()
            .map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy));
        let points: Vec<String> = points.collect();
        format!(
            r#"<polygon class="mark {kind}" points="{}"/>"#,
            points.join(" ")
        )
    };
    match index % SHAPES {
        0 => format!(r#"<circle class="mark {kind}" cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#),
        1 => polygon(&[(-4.0, -4.0), (4.0, -4.0), (4.0, 4.0), (-4.0, 4.0)]),
        2 => polygon(&[(0.0, -5.5), (5.0, 3.5), (-5.0, 3.5)]),
        3 => polygon(&[(0.0, -5.5), (5.5, 0.0), (0.0, 5.5), (-5.5, 0.0)]),
        4 => polygon(&[(0.0, 5.5), (5.0, -3.5), (-5.0, -3.5)]),
        _ => polygon(&[
            (-5.0, -2.0),
            (0.0, -5.0),
            (5.0, -2.0),
            (3.0, 4.0),
            (-3.0, 4.0),
        ]),
    }
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

impl LogAxis {
    /// Returns the axis that holds all `values`, or `None` if there are none. Values that are not positive are left out.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let decades = values.filter(|value| *value > 0.0).map(|v| v.log10());
        let (low, high) = decades.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let low = low.is_finite().then(|| low.floor() as i32)?;
        Some(Self {
            decades: (low, (high.ceil() as i32).max(low + 1)),
        })
    }

    /// Returns where a number of microseconds is, in pixels from the left.
    fn x(&self, microseconds: f64) -> f64 {
        let (low, high) = self.decades;
        let share = (microseconds.log10() - f64::from(low)) / f64::from(high - low);
        AXIS.0 + (AXIS.1 - AXIS.0) * share.clamp(0.0, 1.0)
    }

    /// Draws a line and a label for each power of ten, and what the axis shows.
    fn draw(&self, svg: &mut String, bottom: f64) {
        for decade in self.decades.0..=self.decades.1 {
            let microseconds = 10_f64.powi(decade);
            let _ = writeln!(
                svg,
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}"/><text class="middle" x="{x:.1}" y="{}">{}</text>"#,
                bottom + 16.0,
                label(decade),
                x = self.x(microseconds),
            );
        }
        let _ = writeln!(
            svg,
            r#"<text class="small middle" x="{}" y="{}">time from the intended moment to the answer (logarithmic)</text>"#,
            f64::midpoint(AXIS.0, AXIS.1),
            bottom + 34.0
        );
    }
}

/// Returns 10 to the power of `decade` microseconds in the largest unit of which there is at least one.
fn label(decade: i32) -> String {
    let (unit, of) = match decade {
        ..0 => ("ns", -3),
        0..3 => ("µs", 0),
        3..6 => ("ms", 3),
        6.. => ("s", 6),
    };
    format!("{} {unit}", 10_f64.powi(decade - of))
}

#[cfg(test)]
mod tests {
    use super::{AXIS, LogAxis, label};

    #[test]
    fn the_axis_ends_at_powers_of_ten() {
        let axis = LogAxis::of([3.0, 0.0, 250.0].into_iter()).unwrap();
        assert_eq!(axis.decades, (0, 3));
        assert_eq!(axis.x(1.0), AXIS.0);
        assert_eq!(axis.x(1000.0), AXIS.1);
        assert_eq!(LogAxis::of([10.0].into_iter()).unwrap().decades, (1, 2));
        assert!(LogAxis::of([0.0].into_iter()).is_none());
    }

    #[test]
    fn powers_of_ten_have_their_unit() {
        let labels: Vec<String> = [-3, 0, 2, 3, 5, 6, 7].map(label).into();
        let want = ["1 ns", "1 µs", "100 µs", "1 ms", "100 ms", "1 s", "10 s"];
        assert_eq!(labels, want);
    }
}
