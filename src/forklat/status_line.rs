//! The status line on a terminal during a measurement.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::session::Session;
use crate::observe::memory::{Metric, Reading};
use crate::report::terminal_frame::{ScreenSize, TerminalFrame, can_redraw};
use crate::report::units::{format_clock, format_size};

/// Shortest time between two changes of the figures, which nobody reads faster.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);

/// The status line on standard error.
#[derive(Debug)]
pub struct StatusLine {
    started: Instant,
    /// `None` where standard error is no terminal on which a line can be drawn again.
    line: Option<Mutex<DrawnLine>>,
}

#[derive(Debug, Default)]
struct DrawnLine {
    frame: TerminalFrame,
    last_drawn: Option<Instant>,
}

impl StatusLine {
    /// Makes a status line, which is shown only if standard error is a terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self {
            started: Instant::now(),
            line: can_redraw().then(Mutex::default),
        }
    }

    fn with_line<T>(&self, action: impl FnOnce(&mut DrawnLine) -> T) -> Option<T> {
        let line = self.line.as_ref()?;
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        Some(action(&mut line))
    }

    /// Shows a text for an action other than measuring.
    pub fn set_message(&self, what: &str) {
        let text = format!("{}  {what}", format_clock(self.started.elapsed()));
        self.with_line(|line| {
            line.frame.draw(&[text], ScreenSize::of_stderr());
            line.last_drawn = Some(Instant::now());
        });
    }

    /// Returns whether the figures are shown and old enough to be replaced.
    fn is_due(&self) -> bool {
        let due = self.with_line(|line| {
            line.last_drawn
                .is_none_or(|at| at.elapsed() >= DRAW_INTERVAL)
        });
        due.unwrap_or(false)
    }

    /// Shows the available memory, the dirty memory and the largest latencies at this moment.
    pub fn show(&self, doing: &str, session: &Session) {
        if !self.is_due() {
            return;
        }
        // A narrow terminal cuts off the end of the line, so the least important text comes last.
        let mut text = doing.to_owned();
        if let Some(reading) = session.sampler.latest() {
            text.push_str(&memory(reading));
        }
        text.push_str(", max ms:");
        for (name, worst) in worst(session) {
            let milliseconds = Duration::from_nanos(worst).as_secs_f64() * 1e3;
            text.push_str(&format!(" {name} {milliseconds:.1}"));
        }
        self.set_message(&text);
    }

    /// Runs `print` while the line is hidden.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.with_line(|line| {
            line.frame.clear();
            line.last_drawn = None;
        });
        print();
    }

    /// Clears the line at the end.
    pub fn finish(&self) {
        self.with_line(|line| line.frame.clear());
    }
}

/// Returns the largest latency of each kind of prober that has samples. All CPUs share one figure.
fn worst(session: &Session) -> Vec<(&'static str, u64)> {
    let mut all: Vec<(&str, u64)> = Vec::new();
    for (index, prober) in session.probers.iter().enumerate() {
        let Some(worst) = session.spans.worst(index) else {
            continue;
        };
        match all.last_mut() {
            Some((name, known)) if *name == prober.spec.name => *known = worst.max(*known),
            _ => all.push((prober.spec.name, worst)),
        }
    }
    all
}

fn memory(reading: &Reading) -> String {
    let shown = [
        ("available", Metric::MemAvailable),
        ("dirty", Metric::Dirty),
    ];
    let mut text = String::new();
    for (name, field) in shown {
        if let Some(value) = reading.get(field) {
            text.push_str(&format!(", {} {name}", format_size(value)));
        }
    }
    text
}
