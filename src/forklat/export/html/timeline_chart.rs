//! The timeline of one round: late answers above the memory that is to be written, the available memory, and the share of
//! time in which tasks were stalled. All rounds of a report have the same scales.

use std::fmt::Write as _;

use super::rounds::{Round, Segment};
use super::series::{available, peak, stalled, thin, written};
use crate::forklat::export::chart::grid_line::draw_grid_line;
use crate::forklat::export::chart::linear_axis::LinearAxis;
use crate::forklat::export::chart::log_axis::LogAxis;
use crate::forklat::export::chart::palette::{COLOURS, mark};
use crate::forklat::export::chart::text::{escape, shorten};
use crate::forklat::export::grid::Unit;
use crate::forklat::model::{LateAnswer, MIN_LATE};
use crate::forklat::phases::RunPart;
use crate::sys::local_time::time_of_day;

/// Width of the chart in pixels, and the ends of the axis of time.
const WIDTH: f64 = 1040.0;
const ACROSS: (f64, f64) = (72.0, 1028.0);

/// The pixels between two runs.
const GAP: f64 = 14.0;

/// Bottom and top of each panel in pixels, and of the whole chart.
const LATE: (f64, f64) = (176.0, 46.0);
const WRITTEN: (f64, f64) = (294.0, 204.0);
const AVAILABLE: (f64, f64) = (382.0, 322.0);
const STALLED: (f64, f64) = (490.0, 410.0);
const HEIGHT: f64 = 526.0;

/// Width of a character of the small text, and the shortest distance of two ticks, in pixels.
const CHARACTER: f64 = 6.6;
const TICK_DISTANCE: f64 = 55.0;

/// The scales that all rounds of a report have in common.
pub(super) struct Scales {
    late: Option<LogAxis>,
    written: LinearAxis,
    available: LinearAxis,
    stalled: LinearAxis,
    /// The names of the probes, in the order of their colours.
    probes: Vec<String>,
}

impl Scales {
    /// Returns the scales for these rounds, with colours for these probes.
    pub(super) fn of(rounds: &[Round], probes: Vec<String>) -> Self {
        let segments = || rounds.iter().flat_map(|round| &round.segments);
        let longest = segments().flat_map(|s| &s.late).map(|late| late.latency);
        let longest = longest.max_by(f64::total_cmp);
        let least = MIN_LATE.as_secs_f64() * 1e6;
        let most = |values: fn(&Segment) -> f64| segments().map(values).fold(0.0, f64::max);
        let written = most(|s| written(s.timeline).iter().map(peak).fold(0.0, f64::max));
        let available = most(|s| peak(&available(s.timeline)));
        let stalled = most(|s| {
            stalled(s.timeline)
                .iter()
                .map(|(_, p)| peak(p))
                .fold(0.0, f64::max)
        });
        Self {
            late: longest.and_then(|longest| LogAxis::of([least, longest].into_iter(), LATE)),
            written: LinearAxis::up_to(written, 4, 2.0, WRITTEN),
            available: LinearAxis::up_to(available, 3, 2.0, AVAILABLE),
            stalled: LinearAxis::up_to(stalled, 4, 10.0, STALLED),
            probes,
        }
    }

    /// Returns the number of the colour and the shape of a probe.
    fn series_of(&self, probe: &str) -> usize {
        let place = self.probes.iter().position(|name| name == probe);
        place.unwrap_or(0)
    }
}

/// Returns the chart of one round.
pub(super) fn chart(round: &Round, scales: &Scales) -> String {
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Timeline of round {}">"#,
        round.number
    );
    draw_scales(&mut svg, scales);
    let all: f64 = round.segments.iter().map(|segment| segment.seconds).sum();
    let gaps = GAP * (round.segments.len() - 1) as f64;
    let mut track = Track {
        left: ACROSS.0,
        pixels_per_second: (ACROSS.1 - ACROSS.0 - gaps) / all,
    };
    let tick_seconds = tick_seconds(track.pixels_per_second);
    for segment in &round.segments {
        track.draw_frames(&mut svg, segment, tick_seconds);
        track.draw_series(&mut svg, segment, scales);
        track.draw_late(&mut svg, segment, scales);
        track.left += track.pixels_per_second * segment.seconds + GAP;
    }
    svg + "</svg>\n"
}

/// Returns the seconds between two ticks: the round number for which there is room.
fn tick_seconds(pixels_per_second: f64) -> f64 {
    let least = TICK_DISTANCE / pixels_per_second;
    LinearAxis::up_to(least, 1, 10.0, (0.0, 1.0)).end()
}

/// Draws what is left of the runs: the titles of the panels, and the labels and lines of their scales.
fn draw_scales(svg: &mut String, scales: &Scales) {
    let late = scales.late.iter().flat_map(LogAxis::ticks);
    let bytes = |axis: &LinearAxis| {
        let ticks: Vec<_> = axis.ticks().collect();
        ticks
            .into_iter()
            .map(|(y, value)| (y, Unit::Bytes.show(value)))
    };
    let percent = scales.stalled.ticks();
    let percent = percent.map(|(y, value)| (y, format!("{value} %")));
    let all = late
        .chain(bytes(&scales.written))
        .chain(bytes(&scales.available));
    for (y, label) in all.chain(percent) {
        draw_grid_line(svg, ACROSS, y, &label);
    }
    draw_panel_title(svg, LATE.1, "answers that came late (logarithmic)", &[]);
    let memory = [("Dirty", 2), ("Writeback", 1)];
    draw_panel_title(svg, WRITTEN.1, "", &memory);
    draw_panel_title(svg, AVAILABLE.1, "", &[("MemAvailable", 3)]);
    let stalls = [("memory", 4), ("io", 1), ("cpu", 2)];
    draw_panel_title(
        svg,
        STALLED.1,
        "time in which some task waited (PSI) for",
        &stalls,
    );
}

/// Draws the title above a panel, and the names of its lines with their colours.
fn draw_panel_title(svg: &mut String, top: f64, title: &str, series: &[(&str, usize)]) {
    let (mut x, y) = (ACROSS.0, top - 7.0);
    if !title.is_empty() {
        let _ = write!(svg, r#"<text class="small" x="{x}" y="{y}">{title}</text>"#);
        x += CHARACTER * title.len() as f64 * 0.85 + 12.0;
    }
    for (name, colour) in series {
        let _ = write!(
            svg,
            r#"<line class="c{colour} series" x1="{x:.0}" x2="{:.0}" y1="{line}" y2="{line}"/><text class="small" x="{:.0}" y="{y}">{name}</text>"#,
            x + 16.0,
            x + 21.0,
            line = y - 4.0
        );
        x += 34.0 + CHARACTER * name.len() as f64;
    }
}

/// The place of one run on the axis of time.
struct Track {
    left: f64,
    pixels_per_second: f64,
}

impl Track {
    fn x(&self, seconds: f64) -> f64 {
        self.left + self.pixels_per_second * seconds.max(0.0)
    }

    /// Draws the name of a run, a frame for each panel, bands for the parts after its exit, and the ticks of its time.
    fn draw_frames(&self, svg: &mut String, segment: &Segment, tick_seconds: f64) {
        let (left, right) = (self.left, self.x(segment.seconds));
        let name = &segment.subject.name;
        let room = ((right - left) / CHARACTER) as usize;
        let shown = if room >= 3 {
            shorten(name, room)
        } else {
            String::new()
        };
        let _ = write!(
            svg,
            r#"<text x="{left:.1}" y="16"><title>{}</title>{}</text>"#,
            escape(name),
            escape(&shown)
        );
        self.draw_bands(svg, segment);
        for (bottom, top) in [LATE, WRITTEN, AVAILABLE, STALLED] {
            let _ = write!(
                svg,
                r#"<rect class="frame" x="{left:.1}" y="{top}" width="{:.1}" height="{}"/>"#,
                right - left,
                bottom - top
            );
        }
        let ticks = (segment.seconds / tick_seconds).floor() as u32;
        for n in 0..=ticks {
            let seconds = f64::from(n) * tick_seconds;
            let x = self.x(seconds);
            // Ten digits are more than a step has; they take away the noise of the product.
            let label = format!("{seconds:.3}");
            let label = label.trim_end_matches('0').trim_end_matches('.');
            let _ = write!(
                svg,
                r#"<text class="small middle" x="{x:.1}" y="{}">{label} s</text>"#,
                STALLED.0 + 18.0
            );
        }
        svg.push('\n');
    }

    fn draw_bands(&self, svg: &mut String, segment: &Segment) {
        let mut from = 0.0;
        for span in segment.run.iter().flat_map(|run| &run.spans) {
            let to = from + span.seconds;
            let class = match span.part.as_str() {
                part if part == RunPart::UntilExit.name() => None,
                part if part == RunPart::UntilDurable.name() => Some("band"),
                _ => Some("band later"),
            };
            if let Some(class) = class {
                let x = self.x(from);
                let _ = write!(
                    svg,
                    r#"<rect class="{class}" x="{x:.1}" y="{}" width="{:.1}" height="{}"><title>{}: {}</title></rect>"#,
                    LATE.1,
                    self.x(to) - x,
                    STALLED.0 - LATE.1,
                    escape(&span.part),
                    Unit::Seconds.show(span.seconds)
                );
            }
            from = to;
        }
    }

    fn draw_series(&self, svg: &mut String, segment: &Segment, scales: &Scales) {
        let timeline = segment.timeline;
        let mut draw = |points: &[(f64, f64)], axis: &LinearAxis, colour: usize, highest: bool| {
            let within = points.iter().filter(|(at, _)| *at <= segment.seconds);
            let points: Vec<_> = within.map(|(at, value)| (self.x(*at), *value)).collect();
            let points = thin(&points, highest);
            let words = points
                .iter()
                .map(|(x, value)| format!("{x:.1},{:.1}", axis.position(*value)));
            let words = words.collect::<Vec<_>>().join(" ");
            if !words.is_empty() {
                let _ = writeln!(
                    svg,
                    r#"<polyline class="c{colour} series" points="{words}"/>"#
                );
            }
        };
        for (points, colour) in written(timeline).iter().zip([2, 1]) {
            draw(points, &scales.written, colour, true);
        }
        draw(&available(timeline), &scales.available, 3, false);
        for (resource, points) in stalled(timeline) {
            let colour = match resource {
                "memory" => 4,
                "io" => 1,
                _ => 2,
            };
            draw(&points, &scales.stalled, colour, true);
        }
    }

    /// Draws each late answer where it was wanted, as high as it was late, with a line as long as it was waited for.
    fn draw_late(&self, svg: &mut String, segment: &Segment, scales: &Scales) {
        let Some(axis) = &scales.late else { return };
        svg.push_str(r#"<g class="late">"#);
        for answer in &segment.late {
            self.draw_answer(svg, segment, answer, axis, scales.series_of(&answer.probe));
        }
        svg.push_str("</g>\n");
    }

    fn draw_answer(
        &self,
        svg: &mut String,
        segment: &Segment,
        answer: &LateAnswer,
        axis: &LogAxis,
        series: usize,
    ) {
        let offset = answer.time - segment.timeline.start;
        let (from, y) = (self.x(offset), axis.position(answer.latency));
        let to = self.x((offset + answer.latency / 1e6).min(segment.seconds));
        let _ = write!(
            svg,
            r#"<g class="c{}"><title>{}: {} at {} ({offset:.3} s in)</title><line class="wait" x1="{from:.1}" x2="{to:.1}" y1="{y:.1}" y2="{y:.1}"/>{}</g>"#,
            series % COLOURS.len(),
            escape(&answer.probe),
            Unit::Microseconds.show(answer.latency),
            time_of_day(answer.time),
            mark("half", series, from, y)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::tick_seconds;

    #[test]
    fn ticks_are_round_and_far_enough_apart() {
        assert_eq!(tick_seconds(55.0), 1.0);
        assert_eq!(tick_seconds(30.0), 2.0);
        assert_eq!(tick_seconds(2.0), 50.0);
        assert!((tick_seconds(400.0) - 0.2).abs() < 1e-9);
    }
}
