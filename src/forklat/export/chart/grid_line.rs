//! A line of a vertical scale, from one side of a chart to the other, with its label to the left.

use std::fmt::Write as _;

use super::text::escape;

/// Pixels between a label and its line.
const LABEL_GAP: f64 = 6.0;

/// Pixels from a line down to the foot of its label, which is half as high as the letters.
const LABEL_DROP: f64 = 4.0;

/// Draws the line at the height `y` from `left` to `right`, in pixels.
pub fn draw_grid_line(svg: &mut String, (left, right): (f64, f64), y: f64, label: &str) {
    let _ = write!(
        svg,
        r#"<line class="grid" x1="{left}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/><text class="small end" x="{}" y="{:.1}">{}</text>"#,
        left - LABEL_GAP,
        y + LABEL_DROP,
        escape(label)
    );
}
