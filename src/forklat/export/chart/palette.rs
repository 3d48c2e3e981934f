//! The colours and the marks of charts, for light and dark pages.

use std::fmt::Write as _;

/// The colours of a series on a light and on a dark page. They are those of Okabe and Ito, which colour-blind readers
/// tell apart, and lighter ones of the same hue for a dark page; the first is for what is only shown beside the others.
pub const COLOURS: [(&str, &str); 7] = [
    ("#6b7280", "#9aa3ae"),
    ("#c2410c", "#ff8c4b"),
    ("#0072b2", "#5bb4ef"),
    ("#00805c", "#2fd0a0"),
    ("#a3487b", "#e79ac6"),
    ("#8a6a00", "#e6b422"),
    ("#5b4bb7", "#a99cf5"),
];

/// Number of the shapes of marks.
const SHAPES: usize = 6;

/// Returns the style sheet of a chart with the colours of so many series: the classes `c0`, `c1` and so on.
#[must_use]
pub fn style(series: usize) -> String {
    let colours = |dark: bool| {
        let mut text = String::new();
        for (n, (on_light, on_dark)) in COLOURS.iter().enumerate().take(series + 1) {
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

/// Returns the number of the colour of the series at `index`: the first one for those beside the others, and of the
/// others in turn.
#[must_use]
pub fn colour(index: usize, aside: bool) -> usize {
    if aside {
        0
    } else {
        1 + index.saturating_sub(1) % (COLOURS.len() - 1)
    }
}

/// Returns a mark of the shape of the series at `index`, around a point. Its class is `kind`.
#[must_use]
pub fn mark(kind: &str, index: usize, x: f64, y: f64) -> String {
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
