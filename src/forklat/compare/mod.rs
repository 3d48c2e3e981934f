//! `forklat compare`: runs tools that copy, one after the other in alternating order, each from the same prepared
//! state.

mod background_work;
mod copy_metrics;
mod fixture;
mod source_file;
mod tools;
mod verify;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::cli::compare::CompareArgs;
use super::default_directory::current_directory;
use super::host::RestoreGuard;
use super::host::limited_dir::LimitedDir;
use super::host::undo_journal::UndoJournal;
use super::measured_command::{FinishedCommand, RunningCommand};
use super::model::CopyResult;
use super::probe_plan::ProbePlan;
use super::report_builder::{SubjectSpec, assemble};
use super::session::{COLLECT_INTERVAL, Session};
use super::status_line::StatusLine;
use super::writeback_idle::WritebackIdle;
use super::{TaskContext, TaskOutcome, print_diagnostic};
use crate::forklat::error::ForklatError;
use crate::observe::host_info::HostInfo;
use crate::observe::memory::{Metric, Reading};
use crate::sys::clock::MonotonicNs;
use crate::sys::process::MainThread;
use crate::sys::strerror::strerror;
use background_work::{ShouldStop, listen, run_while_collecting};
use fixture::{Fixture, StartedBalloon};
use tools::Tool;

/// The column for the machine while no copy runs.
const IDLE: &str = "idle";

/// Exit status when a tool failed, or made a copy that differs from the source.
const WRONG: i32 = 1;

/// Runs `forklat compare` and returns its report.
///
/// # Errors
/// Whatever prevented the comparison. No part of a table is printed then.
pub(super) fn run(words: &CompareArgs, task: &TaskContext) -> Result<TaskOutcome, ForklatError> {
    let mut restore = RestoreGuard::new(UndoJournal::open()?);
    let outcome = run_on_changed_host(words, task, restore.journal_mut());
    // An error of the comparison comes first. The guard then restores when it is dropped, and says what it could not.
    let outcome = outcome?;
    restore.restore().map_err(|lines| lines.join("; "))?;
    Ok(outcome)
}

/// Runs the comparison. All that uses the changes of the host that `journal` holds has ended when it returns.
fn run_on_changed_host(
    words: &CompareArgs,
    task: &TaskContext,
    journal: &mut UndoJournal,
) -> Result<TaskOutcome, ForklatError> {
    let tools = Tool::all(&words.tool)?;
    let on = words.probes.on.clone().unwrap_or_else(current_directory);
    let limited = LimitedDir::set_up(&words.disk, &on, journal)?;
    let on = limited.as_ref().map_or(on, |disk| disk.dir().to_owned());
    let mut probes = words.probes.clone();
    probes.on = Some(on.clone());
    let observing = ProbePlan::resolve(&probes)?;
    // Both calls fork, so they come before the first thread is started.
    let host = StartedBalloon::fork_balloon(words)?;
    let session = Session::start(&observing, words.export.0.has_interval_log(), None)?;
    let stage = Fixture::set_up(words, &on, host, limited, journal)?;
    let mut comparison = Comparison {
        session,
        live: StatusLine::on_terminal(),
        fixture: stage,
        task,
        copies: tools.iter().map(|_| Vec::new()).collect(),
        doing: String::new(),
        oom_kills: None,
        balloon_death: None,
    };
    comparison.all(words, &tools)?;
    comparison.finish(&tools, &on)
}

struct Comparison<'a> {
    // Dropped first: a prober that waits for the disk does not end before the disk limit is lifted.
    fixture: Fixture,
    session: Session,
    live: StatusLine,
    task: &'a TaskContext,
    /// The copies of each tool, in the order of the runs.
    copies: Vec<Vec<CopyResult>>,
    /// What runs now, and how many processes the OOM killer had killed before.
    doing: String,
    oom_kills: Option<u64>,
    /// When the balloon was found dead, and the error that says how it ended, until it is known who killed it.
    balloon_death: Option<(MonotonicNs, ForklatError)>,
}

impl Comparison<'_> {
    fn all(&mut self, words: &CompareArgs, tools: &[Tool]) -> Result<(), ForklatError> {
        self.live.set_message("making the dump");
        self.prepare_while_collecting(|stage, stop| stage.make_source(stop))?;
        if !words.baseline.is_zero() {
            self.prepare("idle")?;
            self.idle(words.baseline)?;
        }
        for round in 0..words.runs {
            for index in tools::order(round, tools.len()) {
                let tool = &tools[index];
                let doing = format!("{} ({} of {})", tool.name, round + 1, words.runs);
                self.prepare(&doing)?;
                let copy = self.copy(tool, &doing)?;
                self.copies[index].push(copy);
            }
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<(), ForklatError> {
        listen(&mut self.session, &self.task.signals)?;
        if let Err(message) = self.fixture.check() {
            self.balloon_death = Some((MonotonicNs::now(), message));
        }
        self.explain_balloon_death()
    }

    /// Finds out who killed the balloon, from the first reading after its death. If it was the OOM killer, a note is
    /// added and the next run has a new balloon: a machine that runs out of memory under a tool is a finding, and the
    /// balloon is the first process that the OOM killer takes. If it was anyone else, returns the error.
    fn explain_balloon_death(&mut self) -> Result<(), ForklatError> {
        let latest = self.session.sampler.latest();
        let (Some((at, message)), Some(latest)) = (&self.balloon_death, latest) else {
            return Ok(());
        };
        if latest.at <= *at {
            return Ok(());
        }
        if latest.get(Metric::OomKill) <= self.oom_kills {
            return Err(message.clone());
        }
        self.session.notes.push(format!(
            "{}: the machine ran out of memory, and the OOM killer killed the balloon of --squeeze: the rest of this run had free memory",
            self.doing
        ));
        self.balloon_death = None;
        Ok(())
    }

    /// Runs long work on the fixture and drains the observers' ring buffers meanwhile.
    fn prepare_while_collecting(
        &mut self,
        work: impl FnOnce(&mut Fixture, ShouldStop<'_>) -> Result<(), ForklatError> + Send,
    ) -> Result<(), ForklatError> {
        let stage = &mut self.fixture;
        run_while_collecting(&mut self.session, &self.task.signals, |stop| {
            work(stage, stop)
        })?
    }

    /// Prepares the same state for each run: no earlier copy, nothing to write out, the requested memory available, and
    /// the disk held to its rate.
    fn prepare(&mut self, doing: &str) -> Result<(), ForklatError> {
        self.session.end();
        doing.clone_into(&mut self.doing);
        self.live.set_message(&format!("{doing}: preparing"));
        // This forks, so it comes before the threads that follow.
        self.fixture.renew()?;
        self.prepare_while_collecting(|stage, _| stage.clear())?;
        let started = Instant::now();
        let mut synced = started;
        let mut quiet = WritebackIdle::ignoring(0);
        while !quiet.has_settled(&self.session) {
            if synced.elapsed() > fixture::SYNC_EVERY {
                self.prepare_while_collecting(|stage, _| stage.sync())?;
                synced = Instant::now();
            }
            if started.elapsed() > fixture::WRITEBACK_TIMEOUT {
                let left = crate::report::units::format_bytes(self.session.unwritten());
                self.session.notes.push(format!(
                    "{doing}: the run started while other programs still had {left} to write back"
                ));
                break;
            }
            std::thread::sleep(COLLECT_INTERVAL);
            self.collect()?;
        }
        self.oom_kills = self
            .session
            .sampler
            .latest()
            .and_then(|r| r.get(Metric::OomKill));
        self.prepare_while_collecting(|stage, stop| stage.apply_pressure(stop))?;
        self.collect()
    }

    fn idle(&mut self, length: Duration) -> Result<(), ForklatError> {
        self.session.begin(IDLE);
        let started = Instant::now();
        while started.elapsed() < length {
            std::thread::sleep(COLLECT_INTERVAL);
            self.collect()?;
            self.live.show(IDLE, &self.session);
        }
        self.fixture.lift_disk_limit()?;
        self.note_squeeze(IDLE);
        Ok(())
    }

    fn note_squeeze(&mut self, doing: &str) {
        if self.fixture.has_released_memory() {
            self.session.notes.push(format!(
                "{doing}: less than half of the memory asked for by --squeeze was available, so the balloon released its memory: the rest of this run had free memory"
            ));
        }
    }

    /// Measures one copy by one tool. The span lasts until the copy is on the disk: a tool that leaves its copy in the
    /// page cache has not spared the machine from writing it.
    fn copy(&mut self, tool: &Tool, doing: &str) -> Result<CopyResult, ForklatError> {
        let (source, dest) = (self.fixture.source().to_owned(), self.fixture.dest());
        let main = MainThread::current().map_err(|e| format!("{doing}: {}", strerror(&e)))?;
        let mut command = tool.command(&source, &dest, main);
        let before = self.session.sampler.latest().copied();
        self.session.begin(&tool.name);
        let running = RunningCommand::start(&mut command, Some(dest.clone()))
            .map_err(|e| ForklatError::cannot_run(tool.name.as_ref(), e))?;
        let ended = self.watch(&running, doing);
        let ended = ended.inspect_err(|_| self.kill_tool(&running))?;
        self.session.end_at(ended.durable_or_ended());
        self.fixture.lift_disk_limit()?;
        self.note_squeeze(doing);
        if ended.left_running {
            self.session.notes.push(format!(
                "{doing}: the tool left processes running, which were killed"
            ));
        }
        self.read_once_more(&ended)?;
        self.live
            .set_message(&format!("{doing}: comparing the copy with its source"));
        let wrong = run_while_collecting(&mut self.session, &self.task.signals, |stop| {
            verify::difference(&source, &dest, stop)
        })?;
        Ok(self.judge_copy(tool, &ended, before.as_ref(), wrong))
    }

    /// Kills a tool with all the processes that it started, before its copy is removed. The disk limit is lifted first,
    /// so that data still to be written is not waited for at the rate of the limit.
    fn kill_tool(&self, running: &RunningCommand) {
        // The error is ignored: the restoration that follows lifts the limit as well and says why it could not.
        let _ = self.fixture.lift_disk_limit();
        // The error is ignored, since the process group may be empty.
        let _ = killpg(running.pid, Signal::SIGKILL);
        while let Ok(None) = running.wait(COLLECT_INTERVAL) {}
    }

    fn watch(
        &mut self,
        running: &RunningCommand,
        doing: &str,
    ) -> Result<FinishedCommand, ForklatError> {
        loop {
            let ended = running.wait(COLLECT_INTERVAL);
            if let Some(ended) = ended.map_err(|e| format!("{doing}: {}", strerror(&e)))? {
                return Ok(ended);
            }
            self.collect()?;
            self.live.show(doing, &self.session);
        }
    }

    /// Waits for a reading that was taken after the copy, since a short copy may lie between two readings.
    fn read_once_more(&mut self, ended: &FinishedCommand) -> Result<(), ForklatError> {
        let until = ended.durable_or_ended();
        loop {
            self.collect()?;
            let latest = self.session.sampler.latest();
            if self.balloon_death.is_none() && latest.is_some_and(|reading| reading.at >= until) {
                return Ok(());
            }
            std::thread::sleep(COLLECT_INTERVAL);
        }
    }

    /// Returns the result of the copy. Prints the last lines of standard error of a tool that failed.
    fn judge_copy(
        &self,
        tool: &Tool,
        ended: &FinishedCommand,
        before: Option<&Reading>,
        mut wrong: Option<String>,
    ) -> CopyResult {
        if let Err(e) = &ended.durable {
            wrong.get_or_insert_with(|| format!("fsync: {}", strerror(e)));
        }
        if !ended.status.success() {
            for line in tools::last_words(&tool.name, &ended.stderr_text) {
                self.live.suspend(|| print_diagnostic(&line));
            }
        }
        copy_metrics::copy_result(ended, before, self.session.sampler.readings(), wrong)
    }

    fn finish(self, tools: &[Tool], on: &Path) -> Result<TaskOutcome, ForklatError> {
        self.live.set_message("restoring the host");
        let Self {
            mut session,
            live,
            fixture: stage,
            task,
            copies,
            ..
        } = self;
        session.notes.extend(stage.notes());
        // This reads the sysctls under which the run was measured, not those to which the host is restored.
        let facts = HostInfo::read(Path::new("/"), Some(on));
        stage.release()?;
        let record = session.stop(&|| task.signals.pending_signal().is_some())?;
        live.finish();
        let good = copies.iter().flatten().all(CopyResult::is_correct);
        let idle = SubjectSpec {
            name: IDLE.to_owned(),
            excluded_from_ratios: true,
            command: Vec::new(),
            copies: Vec::new(),
        };
        let columns = tools.iter().zip(copies).map(|(tool, copies)| SubjectSpec {
            name: tool.name.clone(),
            excluded_from_ratios: false,
            command: tool.words().to_vec(),
            copies,
        });
        let columns: Vec<SubjectSpec> = std::iter::once(idle).chain(columns).collect();
        Ok(TaskOutcome {
            status: if good { 0 } else { WRONG },
            report: Box::new(assemble("compare", &columns, &record, task, facts)),
            log: record.log,
            table_to_stderr: false,
        })
    }
}
