//! The story as a picture (SVG): a dot a run, on a logarithmic scale, for two of the bystanders.

use std::fmt::Write as _;

use crate::kernel::slow_disk_scenario::BystanderWaits;
use crate::{Story, ToolRuns};

/// Milliseconds at the left and the right end.
const AXIS_RANGE_MS: (f64, f64) = (1.0, 100_000.0);

/// Pixels: of the names, of the scale, of a row.
const LABEL_WIDTH: f64 = 300.0;
const PLOT_WIDTH: f64 = 560.0;
const ROW_HEIGHT: f64 = 26.0;
const AXIS_HEIGHT: f64 = 64.0;

/// LoggedOperation is shown of a run, in milliseconds.
type Metric = fn(&BystanderWaits) -> Option<f64>;

/// Who waits, and in which colour: two that are told apart by who sees no red or green, too.
const BYSTANDERS: [(&str, &str, Metric); 2] = [
    ("a program on the slow disk is started", "#d55e00", |felt| {
        felt.exec_from_disk
    }),
    ("4 KiB are appended to a file", "#0072b2", |felt| felt.write),
];

/// The whole picture.
pub(crate) fn svg(story: &Story) -> String {
    let height = AXIS_HEIGHT + ROW_HEIGHT * story.rows.len() as f64 + 40.0;
    let width = LABEL_WIDTH + PLOT_WIDTH + 40.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, (name, colour, _)) in BYSTANDERS.iter().enumerate() {
        let y = 18.0 + 18.0 * n as f64;
        let _ = writeln!(
            text,
            "<circle cx=\"14\" cy=\"{}\" r=\"5\" fill=\"{colour}\"/><text x=\"26\" y=\"{y}\">worst wait while {name}</text>",
            y - 4.0
        );
    }
    scale(&mut text, height);
    for (n, row) in story.rows.iter().enumerate() {
        let y = AXIS_HEIGHT + ROW_HEIGHT * (n as f64 + 0.5);
        let name = escape(&format!("{} {}", row.series, row.tool));
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
            LABEL_WIDTH - 10.0,
            y + 4.0
        );
        dots(&mut text, row, y);
    }
    text + "</svg>\n"
}

/// A line for each power of ten.
fn scale(text: &mut String, height: f64) {
    let mut at = AXIS_RANGE_MS.0;
    while at <= AXIS_RANGE_MS.1 {
        let (x, foot) = (x_of_milliseconds(at), height - 30.0);
        let label = if at < 1000.0 {
            format!("{at} ms")
        } else {
            format!("{} s", at / 1000.0)
        };
        let _ = writeln!(
            text,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{AXIS_HEIGHT}\" y2=\"{foot}\" stroke=\"#ccc\"/><text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            foot + 18.0
        );
        at *= 10.0;
    }
}

fn dots(text: &mut String, row: &ToolRuns, y: f64) {
    for (n, (_, colour, of)) in BYSTANDERS.iter().enumerate() {
        let y = y - 4.0 + 8.0 * n as f64;
        for value in row.runs.iter().filter_map(of) {
            let x = x_of_milliseconds(value);
            let _ = writeln!(
                text,
                "<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\" fill-opacity=\"0.7\"/>"
            );
        }
    }
}

/// Where so many milliseconds are.
fn x_of_milliseconds(milliseconds: f64) -> f64 {
    let (low, high) = (AXIS_RANGE_MS.0.ln(), AXIS_RANGE_MS.1.ln());
    let part = (milliseconds.max(AXIS_RANGE_MS.0).ln() - low) / (high - low);
    LABEL_WIDTH + PLOT_WIDTH * part.min(1.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
