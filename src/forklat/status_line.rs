//! The status line on a terminal during a measurement.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::session::Session;
use crate::observe::memory::{Metric, Reading};
use crate::report::units::format_bytes;

/// The status line on standard error.
#[derive(Debug)]
pub struct StatusLine {
    line: ProgressBar,
}

impl StatusLine {
    /// Makes a status line, which is shown only if standard error is a terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        let target = if stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(4)
        } else {
            ProgressDrawTarget::hidden()
        };
        let line = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}") {
            line.set_style(style);
        }
        Self { line }
    }

    /// Shows a text for an action other than measuring.
    pub fn set_message(&self, what: &str) {
        self.line.set_message(what.to_owned());
        self.line.tick();
    }

    /// Shows the available memory, the dirty memory and the largest latencies at this moment.
    pub fn show(&self, doing: &str, session: &Session) {
        if self.line.is_hidden() {
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
        self.line.suspend(print);
    }

    /// Clears the line at the end.
    pub fn finish(&self) {
        self.line.finish_and_clear();
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
            text.push_str(&format!(", {} {name}", format_bytes(value)));
        }
    }
    text
}
