//! A report as one page in HTML that needs neither a network nor a script: the verdict, the machine, charts of the latencies
//! and of each round, the tables, and the commands. It has colours for light and dark screens.

mod page_style;
mod percentile_chart;
mod rounds;
mod series;
mod timeline_chart;

use std::fmt::Write as _;

use super::chart::palette::{COLOURS, colour, mark, style};
use super::chart::text::escape;
use super::document::{Document, Part};
use super::format::Format;
use super::grid::Unit;
use super::report_paragraphs::{paragraphs_above_table, paragraphs_below_table};
use super::rows::{Detail, grid};
use super::svg;
use crate::forklat::error::ForklatError;
use crate::forklat::model::{Report, Subject};
use crate::forklat::run_comparison::has_runs;
use page_style::PAGE_STYLE;
use rounds::{Round, rounds};
use timeline_chart::Scales;

/// The row of `--export-html` in the table of formats.
pub const FORMAT: Format = Format {
    name: "html",
    help: "A page with the verdict, charts, timelines and all tables, which needs no network",
    scale_help: None,
    render: |report, _| render(report),
};

/// Forbids the page to load anything or to run a script, whatever a name in it may contain.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The title of the list with the verdict, which is set apart on the page.
const VERDICT: &str = "verdict";

/// Number of probes that the summary of a run names.
const SUMMARY_PROBES: usize = 4;

/// Returns the page. It is well-formed XML, too. The same report gives the same bytes.
///
/// # Errors
/// A histogram of the report is damaged.
pub fn render(report: &Report) -> Result<String, ForklatError> {
    let title = escape(&format!("forklat {}", report.kind));
    let mut page = format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}, {}</title>\n<style>\n{}{PAGE_STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p class=\"quiet\">{}</p>\n",
        escape(&report.date),
        style(COLOURS.len()),
        escape(&format!(
            "{}, made with forklat {}",
            report.date, report.forklat
        )),
    );
    page += &head(report);
    page += &overview(report);
    page += &percentiles(&report.subjects)?;
    page += &timelines(&report.subjects);
    page += &tables(report);
    page += &commands(report);
    Ok(page + "</body>\n</html>\n")
}

/// Returns the verdict, set apart, and the machine.
fn head(report: &Report) -> String {
    let mut html = String::new();
    let mut rest = Vec::new();
    for paragraph in paragraphs_above_table(report) {
        if paragraph.title == VERDICT {
            html += &verdict_box(&paragraph.lines);
        } else {
            rest.push(paragraph);
        }
    }
    if html.is_empty() {
        html = verdict_box(&summary(&report.subjects));
    }
    html + &Document(vec![Part::Lists(rest)]).html()
}

fn verdict_box(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items = lines
        .iter()
        .map(|line| format!("<p>{}</p>\n", escape(line)));
    let items: String = items.collect();
    format!("<section class=\"verdict\">\n<h2>Verdict</h2>\n{items}</section>\n")
}

/// Returns the longest waits of a run beside those of its baseline, the longest first. A comparison has a verdict instead.
fn summary(subjects: &[Subject]) -> Vec<String> {
    let [baseline, during, ..] = subjects else {
        return Vec::new();
    };
    if has_runs(subjects) {
        return Vec::new();
    }
    let longest = |subject: &Subject, name: &str| {
        let mut probes = subject.probes.iter();
        let probe = probes.find(|probe| probe.name == name && probe.cpu.is_none())?;
        Some(probe.latency.figures?.max)
    };
    let probes = during.probes.iter().filter(|probe| probe.cpu.is_none());
    let mut waits: Vec<(&str, f64)> = probes
        .filter_map(|probe| Some((&*probe.name, probe.latency.figures?.max)))
        .collect();
    waits.sort_by(|a, b| b.1.total_cmp(&a.1));
    let line = |(name, wait): &(&str, f64)| {
        let before = longest(baseline, name).map(|wait| Unit::Microseconds.show(wait));
        let before =
            before.map_or_else(String::new, |wait| format!(" ({}: {wait})", baseline.name));
        let wait = Unit::Microseconds.show(*wait);
        format!(
            "{}: others waited up to {wait} for {name}{before}.",
            during.name
        )
    };
    waits.iter().take(SUMMARY_PROBES).map(line).collect()
}

fn overview(report: &Report) -> String {
    svg::for_page(report).map_or_else(String::new, |picture| {
        format!("<h2>Latency</h2>\n<figure class=\"wide\">\n{picture}</figure>\n")
    })
}

/// Returns the names of the probes that have latencies, in the order of the table.
fn probe_names(subjects: &[Subject]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for probe in subjects.iter().flat_map(|subject| &subject.probes) {
        if probe.latency.count > 0 && !names.contains(&probe.name) {
            names.push(probe.name.clone());
        }
    }
    names
}

fn percentiles(subjects: &[Subject]) -> Result<String, ForklatError> {
    let mut charts = String::new();
    for name in probe_names(subjects) {
        if let Some(chart) = percentile_chart::chart(subjects, &name)? {
            let _ = write!(charts, "<figure>\n{chart}</figure>\n");
        }
    }
    if charts.is_empty() {
        return Ok(String::new());
    }
    let names = subjects.iter().enumerate();
    let names = names.map(|(n, subject)| (colour(n, subject.aside), n, subject.name.as_str()));
    let legend = legend(&names.collect::<Vec<_>>());
    let lines = match has_runs(subjects) {
        true => {
            "A thick line has the waits of all runs together until the tool exited, a thin one those of one run. "
        }
        false => "",
    };
    Ok(format!(
        "<h2>Latency by percentile</h2>\n<p class=\"quiet\">{lines}Each step to the right has a tenth of the waits left, and each \
         step upwards is ten times as long. The mark at the end of a line is the longest wait.</p>\n{legend}<div class=\"pairs\">\n{charts}</div>\n"
    ))
}

/// Returns the names of series with their marks, each given as colour, shape and name.
fn legend(series: &[(usize, usize, &str)]) -> String {
    let item = |(colour, shape, name): &(usize, usize, &str)| {
        let mark = mark("half", *shape, 8.0, 6.0);
        format!(
            "<li><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 12\"><g class=\"c{colour}\">{mark}</g></svg>{}</li>\n",
            escape(name)
        )
    };
    let items: String = series.iter().map(item).collect();
    format!("<ul class=\"legend\">\n{items}</ul>\n")
}

fn timelines(subjects: &[Subject]) -> String {
    let rounds = rounds(subjects);
    if rounds.is_empty() {
        return String::new();
    }
    // The probe of a child is measured by the answers of its parent, which are those that are kept.
    let late = rounds.iter().flat_map(|round| &round.segments);
    let late: Vec<_> = late.flat_map(|segment| &segment.late).collect();
    let is_late = |name: &String| late.iter().any(|answer| answer.probe == *name);
    let mut names = probe_names(subjects);
    names.retain(is_late);
    let scales = Scales::of(&rounds, names.clone());
    let shown = names.iter().enumerate();
    let shown: Vec<_> = shown
        .map(|(n, name)| (n % COLOURS.len(), n, name.as_str()))
        .collect();
    let bands = match has_runs(subjects) {
        true => " Grey bands: until the data were durable, and the time after that.",
        false => "",
    };
    let mut html = format!(
        "<h2>Timelines</h2>\n<p class=\"quiet\">An answer that came more than 1 ms late has its mark where it was wanted, as high as it \
         was late, and a line as long as the wait. The latest {} of each probe are shown.{bands} Times are those since the start of each run.</p>\n{}",
        crate::forklat::model::MAX_LATE_ANSWERS,
        legend(&shown)
    );
    for (n, round) in rounds.iter().enumerate() {
        html += &one_timeline(round, &scales, rounds.len() > 1, n == 0);
    }
    html
}

fn one_timeline(round: &Round, scales: &Scales, is_one_of_many: bool, is_open: bool) -> String {
    let figure = format!(
        "<figure class=\"wide\">\n{}</figure>\n",
        timeline_chart::chart(round, scales)
    );
    if !is_one_of_many {
        return figure;
    }
    let longest = round.segments.iter().flat_map(|segment| &segment.late);
    let longest = longest.max_by(|a, b| a.latency.total_cmp(&b.latency));
    let worst = longest.map_or_else(String::new, |late| {
        format!(
            ": longest wait {} for {}",
            Unit::Microseconds.show(late.latency),
            late.probe
        )
    });
    let open = if is_open { " open=\"open\"" } else { "" };
    format!(
        "<details{open}>\n<summary>Round {}{}</summary>\n{figure}</details>\n",
        round.number,
        escape(&worst)
    )
}

/// Returns the table with the lists below it, and all figures in a part that is closed at first.
fn tables(report: &Report) -> String {
    let table = |detail| {
        let table = grid(report, detail).table();
        format!("<div class=\"table\">\n{}</div>\n", table.html())
    };
    let lists = Document(vec![Part::Lists(paragraphs_below_table(
        report,
        Detail::Full,
    ))]);
    format!(
        "<h2>Figures</h2>\n{}<details>\n<summary>All figures, also of each CPU and of the machine</summary>\n{}</details>\n{}",
        table(Detail::Short),
        table(Detail::Full),
        lists.html()
    )
}

/// Returns the command line of forklat, and those of the tools.
fn commands(report: &Report) -> String {
    let mut lines = vec![shell_words::join(&report.command_line)];
    let tools = report
        .subjects
        .iter()
        .filter(|subject| !subject.command.is_empty());
    lines
        .extend(tools.map(|tool| format!("# {}: {}", tool.name, shell_words::join(&tool.command))));
    let lines: Vec<String> = lines.iter().map(|line| escape(line)).collect();
    format!("<h2>Commands</h2>\n<pre>{}</pre>\n", lines.join("\n"))
}
