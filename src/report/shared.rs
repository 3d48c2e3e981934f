//! What all voices of a run have in common: the order, the two streams, the display.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::Report;
use super::order::{Order, Stream};
use super::progress::Display;
use super::signals::Signals;

/// One for a run. Of its locks none is held while bytes are copied; who has that of the order may take that of the
/// display, never the other way round.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) report: Report,
    pub(super) signals: Signals,
    /// The first failure to write to standard output: said once, at the end, as cp does.
    pub(super) unwritten: OnceLock<io::Error>,
    order: Mutex<Order>,
    display: Mutex<Display>,
}

impl Shared {
    pub(super) fn new(report: &Report, signals: Signals) -> Self {
        Self {
            report: *report,
            signals,
            unwritten: OnceLock::new(),
            order: Mutex::new(Order::new()),
            display: Mutex::new(Display::new(report.progress, report.json)),
        }
    }

    // A thread that panicked in here is about to end the program with a message of its own; until then the others speak on.
    pub(super) fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn display(&self) -> MutexGuard<'_, Display> {
        self.display.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line without its end, on standard error: where that is gone nobody answers either.
    pub(super) fn ask(&self, question: &str) {
        self.display().suspend(|| {
            let _ = io::stderr().write_all(question.as_bytes());
        });
    }

    /// One whole line.
    pub(super) fn write(&self, stream: Stream, line: &str) {
        if stream == Stream::Out && self.unwritten.get().is_some() {
            return;
        }
        self.display().suspend(|| match stream {
            Stream::Err => eprint_line(line),
            Stream::Out => {
                let mut out = io::stdout().lock();
                if let Err(e) = writeln!(out, "{line}").and_then(|()| out.flush()) {
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
