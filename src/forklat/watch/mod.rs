//! `forklat watch`: shows again and again where the memory of the machine is, which slab caches grow, and what the probers
//! answered last. It is made for a host in trouble: once it shows anything it starts no process, and its memory is locked.

mod jsonl_log;
mod probe_watch;
mod slab_watch;
mod snapshot;
mod watch_text;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::mman::{MlockAllFlags, mlockall};

use super::TaskContext;
use super::cli::watch::WatchArgs;
use super::print_diagnostic;
use super::probe_plan::ProbePlan;
use crate::forklat::error::ForklatError;
use crate::observe::memory_usage::{MemoryPart, MemoryUsage, MemoryUsageReader};
use crate::report::terminal_frame::{ScreenSize, TerminalFrame, can_redraw};
use crate::report::write_stdout;
use crate::sys::clock::MonotonicNs;
use crate::sys::strerror::strerror;
use jsonl_log::{JsonlLog, is_standard_output};
use probe_watch::ProbeWatch;
use slab_watch::SlabWatch;
use snapshot::Snapshot;

/// How much less often a probe runs than beside a measurement, unless `--period` says otherwise: a watch goes on for hours,
/// and one answer for each line is enough.
const PERIOD_FACTOR: u32 = 10;

/// Longest time between two checks for signals and of the ring buffers of the probers (50 ms). These hold 40 s.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// What the kernel takes for a process that it shall never kill for lack of memory (proc_pid_oom_score_adj(5)).
const NEVER_KILL: &str = "-1000";

/// Watches until a signal comes or the time of `--for` has passed. Returns the exit status.
///
/// # Errors
/// What could not be started, and lines that are missing in the log. A signal is no error.
pub(super) fn run(words: &WatchArgs, task: &TaskContext) -> Result<i32, ForklatError> {
    let probes = match words.no_probes {
        true => ProbeWatch::default(),
        false => start_probes(words)?,
    };
    let log = words
        .export_jsonl
        .as_deref()
        .map(JsonlLog::open)
        .transpose()?;
    let mut watch = Watch {
        memory: MemoryUsageReader::open(Path::new("/"))?,
        slabs: SlabWatch::open(Path::new("/")),
        probes,
        log,
        screen: Screen::new(
            words
                .export_jsonl
                .as_deref()
                .is_some_and(is_standard_output),
        ),
        start: MonotonicNs::now(),
        first: None,
        before: MemoryUsage::default(),
    };
    let shown = watch.watch(words, task);
    watch.finish(shown)
}

/// Starts the probers, with a note for each that cannot run here.
fn start_probes(words: &WatchArgs) -> Result<ProbeWatch, ForklatError> {
    let mut plan = ProbePlan::resolve(&words.probes)?;
    for (spec, period) in &mut plan.probes {
        if !words
            .probes
            .period
            .iter()
            .any(|(name, _)| name == spec.name)
        {
            *period *= PERIOD_FACTOR;
        }
    }
    for note in &plan.notes {
        print_diagnostic(note);
    }
    ProbeWatch::start(&plan)
}

/// The observers and the outputs of a watch.
struct Watch {
    memory: MemoryUsageReader,
    slabs: SlabWatch,
    probes: ProbeWatch,
    log: Option<JsonlLog>,
    screen: Screen,
    start: MonotonicNs,
    /// The memory of the first snapshot.
    first: Option<MemoryUsage>,
    /// The memory of the snapshot before.
    before: MemoryUsage,
}

impl Watch {
    /// Makes and shows a snapshot at the start and after each interval.
    fn watch(&mut self, words: &WatchArgs, task: &TaskContext) -> Result<(), ForklatError> {
        let end = words
            .time
            .map_or(MonotonicNs::MAX, |time| self.start.after(time));
        let mut due = self.start;
        while self.wait_until(due.min(end), task) {
            if due > end {
                break;
            }
            self.show(due)?;
            if due == self.start {
                self.protect();
            }
            // Moments that have passed meanwhile are left out.
            let passed = MonotonicNs::now().since(due).as_nanos() / words.interval.as_nanos();
            let steps = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1);
            due = due.after(words.interval.saturating_mul(steps));
        }
        Ok(())
    }

    /// Takes in answers until a moment. Returns false if a signal came.
    fn wait_until(&mut self, due: MonotonicNs, task: &TaskContext) -> bool {
        loop {
            self.probes.collect();
            if task.signals.pending_signal().is_some() {
                return false;
            }
            let left = due.since(MonotonicNs::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(CHECK_INTERVAL));
        }
    }

    fn show(&mut self, due: MonotonicNs) -> Result<(), ForklatError> {
        let now = MonotonicNs::now();
        let memory = self.memory.read();
        self.slabs
            .read_if_due(memory.part(MemoryPart::Slab).unwrap_or(0));
        let first = *self.first.get_or_insert(memory);
        let is_first = due == self.start;
        let snapshot = Snapshot {
            time: wall_clock_seconds(),
            seconds: now.since(self.start).as_secs_f64(),
            late: now.since(due).as_secs_f64(),
            memory,
            before: if is_first { memory } else { self.before },
            first,
            caches: self.slabs.largest(),
            probes: self.probes.take_answers(),
            lost: self.log.as_ref().map_or(0, JsonlLog::lost),
        };
        self.before = memory;
        if let Some(log) = &mut self.log {
            log.add(snapshot.json_line());
        }
        let missing = self.slabs.why_not().map(ToString::to_string);
        self.screen
            .show(watch_text::lines(&snapshot, missing.as_deref()))
    }

    /// Locks the memory that was needed so far, and asks the kernel not to kill this process. What is refused is said.
    fn protect(&mut self) {
        let mut say = |message: String| self.screen.say(&message);
        let locked = mlockall(MlockAllFlags::MCL_CURRENT)
            .err()
            .map(io::Error::from);
        if let Some(e) = locked.or_else(|| self.probes.lock_error()) {
            say(format!(
                "cannot lock memory ({}): on a host in trouble this may be slow",
                strerror(&e)
            ));
        }
        if let Err(e) = std::fs::write("/proc/self/oom_score_adj", NEVER_KILL) {
            say(format!(
                "the kernel may kill this process if memory is short: {}",
                strerror(&e)
            ));
        }
    }

    /// Ends the probers and the log. The error of the watch itself comes first.
    fn finish(self, shown: Result<(), ForklatError>) -> Result<i32, ForklatError> {
        self.screen.finish()?;
        for name in self.probes.stop() {
            print_diagnostic(&format!(
                "{name} waits in the kernel and ends when that answers"
            ));
        }
        let logged = self.log.map_or(Ok(()), JsonlLog::finish);
        shown.and(logged).map(|()| 0)
    }
}

/// Returns the time of day in seconds since the epoch.
fn wall_clock_seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Where snapshots are shown: drawn again in place on a terminal, or one below the other elsewhere.
struct Screen {
    /// Whether standard output belongs to the log.
    to_stderr: bool,
    frame: Option<TerminalFrame>,
    /// The lines that were shown last.
    last: Vec<String>,
}

impl Screen {
    fn new(to_stderr: bool) -> Self {
        let is_terminal = can_redraw() && (to_stderr || io::stdout().is_terminal());
        Self {
            to_stderr,
            frame: is_terminal.then(TerminalFrame::default),
            last: Vec::new(),
        }
    }

    fn show(&mut self, lines: Vec<String>) -> Result<(), ForklatError> {
        match &mut self.frame {
            Some(frame) => frame.draw(&lines, ScreenSize::of_stderr()),
            None => {
                let gap = if self.last.is_empty() { "" } else { "\n" };
                self.print(&format!("{gap}{}\n", lines.join("\n")))?;
            }
        }
        self.last = lines;
        Ok(())
    }

    fn print(&self, text: &str) -> Result<(), ForklatError> {
        let printed = match self.to_stderr {
            true => io::stderr().write_all(text.as_bytes()),
            false => write_stdout(text.as_bytes()),
        };
        printed.map_err(|e| format!("write error: {}", strerror(&e)).into())
    }

    /// Prints a diagnostic where it does not disturb what is drawn.
    fn say(&mut self, message: &str) {
        if let Some(frame) = &mut self.frame {
            frame.clear();
        }
        print_diagnostic(message);
        if let Some(frame) = &mut self.frame {
            frame.draw(&self.last, ScreenSize::of_stderr());
        }
    }

    /// Leaves the last snapshot on the terminal.
    fn finish(mut self) -> Result<(), ForklatError> {
        match self.frame.take() {
            Some(mut frame) => {
                frame.clear();
                self.print(&format!("{}\n", self.last.join("\n")))
            }
            None => Ok(()),
        }
    }
}
