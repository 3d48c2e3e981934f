//! The story as a picture (SVG): a mark for each run, on a logarithmic axis, for two of the bystanders. It is made of the
//! parts of forklat's own charts.

use std::fmt::Write as _;

use mmapcp::forklat::export::chart::log_axis::LogAxis;
use mmapcp::forklat::export::chart::palette::{mark, style};
use mmapcp::forklat::export::chart::text::escape;

use crate::kernel::slow_disk_scenario::BystanderWaits;
use crate::{Story, ToolRuns};

/// Microseconds in a millisecond, the unit of the story's waits.
const MICROSECONDS: f64 = 1000.0;

/// Pixels of the whole width, of both ends of the axis, and of the height of a row and of what is above the rows.
const WIDTH: f64 = 900.0;
const AXIS: (f64, f64) = (300.0, 860.0);
const ROW_HEIGHT: f64 = 26.0;
const TOP: f64 = 64.0;

/// A figure of a run, in milliseconds.
type Metric = fn(&BystanderWaits) -> Option<f64>;

/// Who waits. Their place decides their colour and shape.
const BYSTANDERS: [(&str, Metric); 2] = [
    ("a program on the slow disk is started", |felt| {
        felt.exec_from_disk
    }),
    ("4 KiB are appended to a file", |felt| felt.write),
];

/// Returns the whole picture, which has only names and a frame if no run has a figure.
pub(crate) fn svg(story: &Story) -> String {
    let bottom = TOP + ROW_HEIGHT * story.rows.len() as f64;
    let height = bottom + 40.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <style>\n{}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n",
        style(BYSTANDERS.len())
    );
    for (n, (name, _)) in BYSTANDERS.iter().enumerate() {
        let y = 18.0 + 18.0 * n as f64;
        let mark = mark("half", n, 14.0, y - 4.0);
        let _ = writeln!(
            text,
            "<g class=\"c{}\">{mark}<text x=\"26\" y=\"{y}\">longest wait of a run while {name}</text></g>",
            n + 1
        );
    }
    let runs = || story.rows.iter().flat_map(|row| &row.runs);
    let waits = runs().flat_map(|run| BYSTANDERS.iter().filter_map(|(_, of)| of(run)));
    if let Some(axis) = LogAxis::of(waits.map(|wait| wait * MICROSECONDS), AXIS) {
        draw_rows(&mut text, story, &axis, bottom);
    }
    text + "</svg>\n"
}

fn draw_rows(text: &mut String, story: &Story, axis: &LogAxis, bottom: f64) {
    for (x, label) in axis.ticks() {
        let _ = writeln!(
            text,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/><text class=\"middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>",
            bottom + 18.0
        );
    }
    for (n, row) in story.rows.iter().enumerate() {
        let y = TOP + ROW_HEIGHT * (n as f64 + 0.5);
        let name = escape(&format!("{} {}", row.series, row.tool));
        let _ = writeln!(
            text,
            "<text class=\"end\" x=\"{}\" y=\"{}\">{name}</text>",
            AXIS.0 - 10.0,
            y + 4.0
        );
        draw_marks(text, row, axis, y);
    }
}

fn draw_marks(text: &mut String, row: &ToolRuns, axis: &LogAxis, y: f64) {
    for (n, (_, of)) in BYSTANDERS.iter().enumerate() {
        let y = y - 4.0 + 8.0 * n as f64;
        let waits = row.runs.iter().filter_map(of);
        let marks = waits.map(|wait| mark("half", n, axis.position(wait * MICROSECONDS), y));
        let _ = writeln!(
            text,
            "<g class=\"c{}\">{}</g>",
            n + 1,
            marks.collect::<String>()
        );
    }
}
