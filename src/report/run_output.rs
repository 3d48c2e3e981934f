//! What all voices of a run have in common: the order, the two streams, the display.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::ReportOptions;
use super::counters::Counters;
use super::line_order::{LineOrder, Stream};
use super::progress::{self, PendingLine, ProgressDisplay};
use super::signals::Signals;
use super::throttle_status::ThrottleStatus;
use crate::sys::std_streams;
use crate::transfer::Progress;

/// One for a run. Its locks are held while a line is written, never while bytes are copied.
#[derive(Debug)]
pub(super) struct RunOutput {
    pub(super) report: ReportOptions,
    pub(super) signals: Signals,
    /// The first failure to write to standard output: said once, at the end, as cp does.
    pub(super) stdout_error: OnceLock<io::Error>,
    pub(super) counters: Counters,
    pub(super) throttle_status: ThrottleStatus,
    pub(super) display: ProgressDisplay,
    /// The run is given up by itself.
    stopped: AtomicBool,
    order: Mutex<LineOrder>,
}

impl RunOutput {
    pub(super) fn new(report: &ReportOptions, signals: Signals) -> Self {
        Self {
            report: *report,
            signals,
            stdout_error: OnceLock::new(),
            counters: Counters::new(),
            throttle_status: ThrottleStatus::default(),
            display: ProgressDisplay::new(report.progress, report.json),
            stopped: AtomicBool::new(false),
            order: Mutex::new(LineOrder::new()),
        }
    }

    // A thread that panicked in here is about to end the program with a message of its own; until then the others speak on.
    pub(super) fn order(&self) -> MutexGuard<'_, LineOrder> {
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
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopped() || self.signals.pending_signal().is_some()
    }

    /// Where lines for people go: standard output, which --json takes for itself.
    pub(super) fn info_stream(&self) -> Stream {
        if self.report.json {
            Stream::Stderr
        } else {
            Stream::Stdout
        }
    }

    /// A file goes on, or the run has done with one: whatever is due is told, in no order with what voices say.
    pub(super) fn progress_tick(&self, at_work: Option<(&Progress, &Path)>) {
        self.write_pending(
            self.display
                .update(&self.counters, &self.throttle_status, at_work),
        );
        if self.signals.take_status_request() {
            let status = progress::status_line(&self.counters, &self.throttle_status, at_work);
            self.write_pending(status.map(|line| (Stream::Stderr, line)));
        }
    }

    pub(super) fn write_pending(&self, due: PendingLine) {
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
        if stream == Stream::Stdout && self.stdout_error.get().is_some() {
            return;
        }
        self.display.suspend(|| match stream {
            Stream::Stderr => eprint_line(line),
            Stream::Stdout => {
                if let Err(e) = write_stdout(format!("{line}\n").as_bytes()) {
                    let _ = self.stdout_error.set(e);
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
pub fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut out = std_streams::stdout()?.lock();
    out.write_all(bytes)?;
    out.flush()
}
