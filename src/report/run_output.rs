//! What all outputs of a run share: the order of lines, the two streams, the counters, and the progress display.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::ReportOptions;
use super::counters::Counters;
use super::line_order::{LineOrder, Stream};
use super::manifest_sink::ManifestSink;
use super::progress::{PendingLine, ProgressDisplay};
use super::signal_handlers::Signals;
use super::throttle_status::ThrottleStatus;
use crate::sys::lock::lock;
use crate::sys::std_streams;
use crate::transfer::{Progress, StopReason};

/// The shared state, of which a run has one. Its locks are held while a line is written, never while bytes are copied.
#[derive(Debug)]
pub(super) struct RunOutput {
    pub(super) report: ReportOptions,
    pub(super) signals: Signals,
    /// The first failure to write to standard output. It is reported once, at the end, as cp does.
    pub(super) stdout_error: OnceLock<io::Error>,
    pub(super) counters: Counters,
    pub(super) throttle_status: ThrottleStatus,
    pub(super) display: ProgressDisplay,
    /// The file of --manifest, where there is one.
    pub(super) manifest: ManifestSink,
    /// Why the copies end with what they have, once they shall.
    pub(super) stop_reason: OnceLock<StopReason>,
    /// Whether the run was given up without a signal.
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
            display: ProgressDisplay::new(report),
            manifest: ManifestSink::default(),
            stop_reason: OnceLock::new(),
            stopped: AtomicBool::new(false),
            order: Mutex::new(LineOrder::new()),
        }
    }

    // A thread that panicked with the lock ends the program with a message of its own. Until then the others continue.
    pub(super) fn order(&self) -> MutexGuard<'_, LineOrder> {
        lock(&self.order)
    }

    /// Makes the run end before the next chunk.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Returns whether [`stop`](Self::stop) was called.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Returns whether the run is to end, because it was given up or a signal asks for it.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopped() || self.signals.pending_signal().is_some()
    }

    /// Returns the stream for lines for people: standard output, or standard error with `--json`, which needs standard
    /// output for itself.
    pub(super) fn info_stream(&self) -> Stream {
        if self.report.json {
            Stream::Stderr
        } else {
            Stream::Stdout
        }
    }

    /// Shows the progress and answers SIGUSR1, if either is due. These lines are outside the order of the other lines.
    pub(super) fn progress_tick(&self, at_work: Option<(&Progress, &Path)>) {
        self.write_pending(
            self.display
                .update(&self.counters, &self.throttle_status, at_work),
        );
        if self.signals.take_status_request() {
            let status = self
                .display
                .status_line(&self.counters, &self.throttle_status, at_work);
            self.write_pending(status.map(|line| (Stream::Stderr, line)));
        }
    }

    pub(super) fn write_pending(&self, due: PendingLine) {
        if let Some((stream, line)) = due {
            self.write(stream, &line);
        }
    }

    /// Prints a question without a newline on standard error. A failure is ignored: if standard error is gone, nobody
    /// can answer.
    pub(super) fn ask(&self, question: &str) {
        self.display.suspend(|| {
            let _ = io::stderr().write_all(question.as_bytes());
        });
    }

    /// Writes one whole line to a stream.
    pub(super) fn write(&self, stream: Stream, line: &str) {
        self.write_bytes(stream, line.as_bytes());
    }

    /// Writes one whole line, which need not be UTF-8, to a stream.
    pub(super) fn write_bytes(&self, stream: Stream, line: &[u8]) {
        match stream {
            Stream::Digests if self.manifest.is_open() => self.manifest.write(line),
            Stream::Stderr => self.display.suspend(|| eprint_bytes(line)),
            Stream::Stdout | Stream::Digests if self.stdout_error.get().is_some() => {}
            Stream::Stdout | Stream::Digests => self.display.suspend(|| {
                if let Err(e) = write_stdout(&with_end(line)) {
                    let _ = self.stdout_error.set(e);
                }
            }),
        }
    }
}

/// Writes a line to standard error in one call, since other processes may write there. A failure is ignored, since
/// there is no place to report it.
pub(super) fn eprint_line(line: &str) {
    eprint_bytes(line.as_bytes());
}

fn eprint_bytes(line: &[u8]) {
    let _ = io::stderr().write_all(&with_end(line));
}

fn with_end(line: &[u8]) -> Vec<u8> {
    [line, b"\n"].concat()
}

/// Writes to standard output at once. If it was closed when the program was started, that is an error, as in cp,
/// although the runtime has opened /dev/null in its place.
///
/// # Errors
/// EBADF for a closed standard output; the error of write(2).
pub fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut out = std_streams::stdout()?.lock();
    out.write_all(bytes)?;
    out.flush()
}
