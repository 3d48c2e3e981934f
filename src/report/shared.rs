//! What all voices of a run have in common: the order, the two streams, the display.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::Report;
use super::held::Held;
use super::order::{Order, Stream};
use super::progress::{self, Display, Due};
use super::signals::Signals;
use super::tally::Tally;
use crate::sys::streams;
use crate::transfer::Progress;

/// One for a run. Its locks are held while a line is written, never while bytes are copied.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) report: Report,
    pub(super) signals: Signals,
    /// The first failure to write to standard output: said once, at the end, as cp does.
    pub(super) unwritten: OnceLock<io::Error>,
    pub(super) tally: Tally,
    pub(super) held: Held,
    pub(super) display: Display,
    /// The run is given up by itself.
    stopped: AtomicBool,
    order: Mutex<Order>,
}

impl Shared {
    pub(super) fn new(report: &Report, signals: Signals) -> Self {
        Self {
            report: *report,
            signals,
            unwritten: OnceLock::new(),
            tally: Tally::new(),
            held: Held::default(),
            display: Display::new(report.progress, report.json),
            stopped: AtomicBool::new(false),
            order: Mutex::new(Order::new()),
        }
    }

    // A thread that panicked in here is about to end the program with a message of its own; until then the others speak on.
    pub(super) fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more shall be copied.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Whether that was said.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Whether the run is to end: it was given up, or a signal asks for it.
    pub(super) fn is_ending(&self) -> bool {
        self.is_stopped() || self.signals.pending().is_some()
    }

    /// Where lines for people go: standard output, which --json takes for itself.
    pub(super) fn aside(&self) -> Stream {
        if self.report.json {
            Stream::Err
        } else {
            Stream::Out
        }
    }

    /// A file goes on, or the run has done with one: whatever is due is told, in no order with what voices say.
    pub(super) fn news(&self, at_work: Option<(&Progress, &Path)>) {
        self.write_due(self.display.progress(&self.tally, &self.held, at_work));
        if self.signals.status_wanted() {
            let status = progress::status(&self.tally, &self.held, at_work);
            self.write_due(status.map(|line| (Stream::Err, line)));
        }
    }

    pub(super) fn write_due(&self, due: Due) {
        if let Some((stream, line)) = due {
            self.write(stream, &line);
        }
    }

    /// A line without its end, on standard error: where that is gone nobody answers either.
    pub(super) fn ask(&self, question: &str) {
        self.display.suspend(|| {
            let _ = io::stderr().write_all(question.as_bytes());
        });
    }

    /// One whole line.
    pub(super) fn write(&self, stream: Stream, line: &str) {
        if stream == Stream::Out && self.unwritten.get().is_some() {
            return;
        }
        self.display.suspend(|| match stream {
            Stream::Err => eprint_line(line),
            Stream::Out => {
                if let Err(e) = print(format!("{line}\n").as_bytes()) {
                    let _ = self.unwritten.set(e);
                }
            }
        });
    }
}

/// Standard error that is gone cannot be told about. In one piece: others may write there.
pub(super) fn eprint_line(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes to standard output at once. One that was closed when the program began is the error that cp gives, not the
/// /dev/null that the runtime opened in its place.
///
/// # Errors
/// EBADF for a closed standard output; write(2)'s own.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = streams::stdout()?.lock();
    out.write_all(bytes)?;
    out.flush()
}
