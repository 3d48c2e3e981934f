//! `forklat run`: measures an idle baseline, then the same while something runs, then until writeback has settled.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cli::run_args::RunArgs;
use super::default_directory::current_directory;
use super::host::RestoreGuard;
use super::host::limited_dir::LimitedDir;
use super::host::undo_journal::UndoJournal;
use super::measured_command::{RunningCommand, find, shell_status};
use super::probe_plan::ProbePlan;
use super::report_builder::{SubjectSpec, assemble};
use super::session::{COLLECT_INTERVAL, Session};
use super::status_line::StatusLine;
use super::writeback_idle::WritebackIdle;
use super::{TaskContext, TaskOutcome, print_diagnostic};
use crate::forklat::error::{ForklatError, cannot};
use crate::observe::host_info::HostInfo;
use crate::report::quote::quote;
use crate::report::units;
use crate::sys::proc_status::{is_proc_mounted, start_time};
use crate::sys::process::{MainThread, die_with_parent};

/// The names of the columns in the table.
const BASELINE: &str = "baseline";
const DURING: &str = "during";
const AFTER: &str = "after";

/// The placeholder in the command for the directory on the limited disk.
const DISK: &str = "{disk}";

/// Longest time for which the first kind of prober is measured without the others (3 s), which is the default length of
/// the baseline.
const MAX_ISOLATED_TIME: Duration = Duration::from_secs(3);

/// The workload that runs while the machine is measured.
#[derive(Debug)]
enum Workload {
    Command {
        path: PathBuf,
        words: Vec<OsString>,
    },
    Process {
        pid: Pid,
        start_ticks: u64,
        at_most: Option<Duration>,
    },
    Time(Duration),
}

impl Workload {
    fn resolve(words: &RunArgs) -> Result<Self, ForklatError> {
        match (words.command.as_slice(), words.attach, words.time) {
            ([name, ..], _, _) => {
                let path = find(name).map_err(|e| ForklatError::cannot_run(name, e))?;
                let words = words.command.clone();
                Ok(Self::Command { path, words })
            }
            (_, Some(pid), at_most) => {
                let pid = Pid::from_raw(pid);
                let start_ticks = started(pid).ok_or_else(|| no_process(pid))?;
                Ok(Self::Process {
                    pid,
                    start_ticks,
                    at_most,
                })
            }
            (_, None, Some(time)) => Ok(Self::Time(time)),
            (_, None, None) => Err(ForklatError::usage(
                "a command, --attach or --for is required",
            )),
        }
    }

    fn words(&self) -> Vec<String> {
        match self {
            Self::Command { words, .. } => words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Measures and returns the outcome, with the exit status of the command.
///
/// # Errors
/// Whatever prevented the measurement. No part of a table is printed then.
pub(super) fn run(words: &RunArgs, task: &TaskContext) -> Result<TaskOutcome, ForklatError> {
    let target = Workload::resolve(words)?;
    if !words.disk.is_given() {
        return measure(words, &target, None, task);
    }
    let mut restore = RestoreGuard::new(UndoJournal::open()?);
    let on = words.probes.on.clone().unwrap_or_else(current_directory);
    let disk = LimitedDir::set_up(&words.disk, &on, restore.journal_mut())?;
    // An error of the measurement comes first. The guard then restores when it is dropped, and says what it could not.
    let outcome = measure(words, &target, disk, task)?;
    restore.restore().map_err(|lines| lines.join("; "))?;
    Ok(outcome)
}

/// Measures the phases, on the limited disk if there is one.
fn measure(
    words: &RunArgs,
    target: &Workload,
    disk: Option<LimitedDir>,
    task: &TaskContext,
) -> Result<TaskOutcome, ForklatError> {
    let mut probes = words.probes.clone();
    if let Some(disk) = &disk {
        probes.on = Some(disk.dir().to_owned());
    }
    let observing = ProbePlan::resolve(&probes)?.with_why(words.why.why)?;
    let alone = words
        .verbose
        .then_some(words.baseline.min(MAX_ISOLATED_TIME));
    let alone = alone.filter(|length| !length.is_zero());
    let mut session = Session::start(&observing, words.export.0.has_interval_log(), alone)?;
    // Dropped before the session: a prober that waits for the disk does not end before the limit is lifted.
    let disk = disk;
    if let Some(disk) = &disk {
        session.notes.extend(disk.notes().iter().cloned());
        if words.command.is_empty() {
            print_diagnostic(&format!("the limited disk is {}", quote(disk.dir())));
        }
        disk.enable()?;
    }
    let live = StatusLine::on_terminal();
    let mut measuring = PhaseRunner {
        session: &mut session,
        live: &live,
        task,
        disk: disk.as_ref().map(LimitedDir::dir),
    };
    measuring.baseline(words.baseline)?;
    let status = measuring.during(target)?;
    measuring.after(words.settle)?;
    live.set_message("stopping the observers");
    // A signal that ended the measured time has been handled by now. A second one ends this process at once.
    let answered = status.is_some() || task.signals.pending_signal().is_some();
    let facts = HostInfo::read(Path::new("/"), observing.setup.directory.as_deref());
    drop(disk);
    let record = session.stop(&|| !answered && task.signals.pending_signal().is_some())?;
    live.finish();
    let report = assemble("run", &columns(target), &record, task, facts);
    Ok(TaskOutcome {
        status: status.unwrap_or(0),
        report: Box::new(report),
        log: record.log,
        table_to_stderr: status.is_some(),
    })
}

fn columns(target: &Workload) -> [SubjectSpec; 3] {
    [BASELINE, DURING, AFTER].map(|name| SubjectSpec {
        name: name.to_owned(),
        command: if name == DURING {
            target.words()
        } else {
            Vec::new()
        },
        ..SubjectSpec::default()
    })
}

struct PhaseRunner<'a> {
    session: &'a mut Session,
    live: &'a StatusLine,
    task: &'a TaskContext,
    /// The directory on the limited disk, if there is one.
    disk: Option<&'a Path>,
}

impl PhaseRunner<'_> {
    fn interrupted(&self) -> bool {
        self.task.signals.pending_signal().is_some()
    }

    fn baseline(&mut self, length: Duration) -> Result<(), ForklatError> {
        if length.is_zero() {
            return Ok(());
        }
        self.session.begin(BASELINE);
        if self.watch("idle", length, |_| false)? {
            return Err(ForklatError::Interrupted);
        }
        Ok(())
    }

    /// Watches until `length` has passed or `over` returns true. Returns whether a signal came first.
    fn watch(
        &mut self,
        doing: &str,
        length: Duration,
        mut over: impl FnMut(&Session) -> bool,
    ) -> Result<bool, ForklatError> {
        let started = Instant::now();
        while started.elapsed() < length && !over(self.session) {
            if self.interrupted() {
                return Ok(true);
            }
            std::thread::sleep(COLLECT_INTERVAL.min(length.saturating_sub(started.elapsed())));
            self.session.collect()?;
            self.live.show(doing, self.session);
        }
        Ok(false)
    }

    /// Measures while the workload runs. Returns the status of the command, if there is one. A signal ends the watching
    /// of a process or of a span of time, and the measurement so far is shown, as perf stat does.
    fn during(&mut self, target: &Workload) -> Result<Option<i32>, ForklatError> {
        let forever = Duration::MAX;
        match target {
            Workload::Command { path, words } => self.command(path, words).map(Some),
            Workload::Time(length) => {
                self.session.begin(DURING);
                self.watch("watching", *length, |_| false).map(|_| None)
            }
            Workload::Process {
                pid,
                start_ticks,
                at_most,
            } => {
                self.session.begin(DURING);
                let gone = |_: &Session| self::started(*pid) != Some(*start_ticks);
                let doing = format!("watching process {pid}");
                self.watch(&doing, at_most.unwrap_or(forever), gone)
                    .map(|_| None)
            }
        }
    }

    fn command(&mut self, path: &Path, words: &[OsString]) -> Result<i32, ForklatError> {
        let mut command = Command::new(path);
        command.arg0(&words[0]);
        match self.disk {
            Some(disk) => {
                command.args(words[1..].iter().map(|word| fill_disk(word, disk)));
                // Its files go with the disk, so it does not outlive this process, which removes the disk.
                let main =
                    MainThread::current().map_err(|e| cannot("run", Path::new(&words[0]), e))?;
                die_with_parent(&mut command, main);
            }
            None => {
                command.args(&words[1..]);
            }
        }
        self.session.begin(DURING);
        let running = RunningCommand::start(&mut command, None)
            .map_err(|e| ForklatError::cannot_run(&words[0], e))?;
        let (mut passed_on, mut failed) = (None, None);
        let ended = loop {
            let ended = running
                .wait(COLLECT_INTERVAL)
                .map_err(|e| cannot("wait for", Path::new(&words[0]), e))?;
            if let Some(ended) = ended {
                break ended;
            }
            if failed.is_none() {
                // The command may be important to the user, so it is left to end, but there will be no figures.
                failed = self.session.collect().err();
                match &failed {
                    Some(message) => print_diagnostic(&format!(
                        "{message}; the command continues, but is not measured any more"
                    )),
                    None => self.live.show("running", self.session),
                }
            }
            forward_signal(
                running.pid,
                self.task.signals.pending_signal(),
                &mut passed_on,
            );
        };
        match failed {
            Some(_) => Err("there are no figures, because the measurement failed"
                .to_owned()
                .into()),
            None => {
                self.task.signals.terminate_on_next_signal();
                self.session.end_at(ended.end);
                Ok(shell_status(ended.status))
            }
        }
    }

    fn after(&mut self, at_most: Duration) -> Result<(), ForklatError> {
        if at_most.is_zero() || self.interrupted() {
            self.session.end();
            return Ok(());
        }
        self.session.begin(AFTER);
        // Data that other processes had to write out before is not waited for.
        let mut quiet = WritebackIdle::ignoring(self.session.most_unwritten(BASELINE));
        self.watch("waiting until writeback has settled", at_most, |session| {
            quiet.has_settled(session)
        })?;
        if !quiet.is_below_limit(self.session) {
            let left = units::format_bytes(self.session.unwritten());
            self.session.notes.push(format!(
                "writeback had not settled: {left} were still to be written"
            ));
        }
        Ok(())
    }
}

/// Replaces each `{disk}` in a word of the command by the directory on the limited disk, whatever bytes this has.
fn fill_disk(word: &OsStr, disk: &Path) -> OsString {
    let mut filled = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(DISK.as_bytes()) {
            filled.extend(disk.as_os_str().as_bytes());
            rest = after;
        } else {
            filled.push(*first);
            rest = after;
        }
    }
    OsString::from_vec(filled)
}

fn no_process(pid: Pid) -> String {
    if is_proc_mounted() {
        format!("there is no process {pid}")
    } else {
        format!("cannot look for process {pid}: /proc is not mounted")
    }
}

fn started(pid: Pid) -> Option<u64> {
    start_time(Path::new("/"), pid.as_raw().unsigned_abs())
}

/// Forwards a signal that asks this process to stop to the command, once. An interrupt from a terminal has reached the
/// command already.
fn forward_signal(pid: Pid, pending: Option<i32>, passed_on: &mut Option<i32>) {
    use std::io::IsTerminal;
    let Some(number) = pending.filter(|number| *passed_on != Some(*number)) else {
        return;
    };
    *passed_on = Some(number);
    if let Ok(signal) = Signal::try_from(number)
        && (signal != Signal::SIGINT || !std::io::stdin().is_terminal())
    {
        // The error is ignored, since the command may just have ended.
        let _ = kill(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limited_disk_is_named_in_the_command_as_often_as_wanted() {
        let disk = Path::new("/d");
        for (word, want) in [
            ("of={disk}/f", "of=/d/f"),
            ("cp a {disk} && sync {disk}/a", "cp a /d && sync /d/a"),
            ("{disk", "{disk"),
            ("{{disk}}", "{/d}"),
            ("", ""),
        ] {
            assert_eq!(fill_disk(OsStr::new(word), disk), want);
        }
    }
}
