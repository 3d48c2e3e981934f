//! `forklat compare`: runs tools that copy, in rounds that have each tool once in random order, each run from the same
//! prepared state.

mod background_work;
mod copy_metrics;
mod engines;
mod fixture;
mod free_memory;
mod rounds;
mod source_file;
mod tools;
mod verify;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::cli::compare::CompareArgs;
use super::default_directory::current_directory;
use super::host::RestoreGuard;
use super::host::limited_dir::LimitedDir;
use super::host::undo_journal::UndoJournal;
use super::measured_command::{FinishedCommand, RunningCommand};
use super::model::{CopyResult, Report, Subject};
use super::phases::RunPart;
use super::probe_plan::ProbePlan;
use super::report_builder::{RunRecord, assemble, run_results};
use super::run_comparison::compare_runs;
use super::session::{COLLECT_INTERVAL, Session};
use super::status_line::StatusLine;
use super::writeback_idle::WritebackIdle;
use super::{TaskContext, TaskOutcome, print_diagnostic};
use crate::forklat::error::ForklatError;
use crate::observe::conditions::{ConditionCounters, SpanConditions};
use crate::observe::disk::Disk;
use crate::observe::host_info::HostInfo;
use crate::observe::memory::{Metric, Reading};
use crate::sys::clock::MonotonicNs;
use crate::sys::process::MainThread;
use crate::sys::strerror::strerror;
use background_work::{ShouldStop, listen, run_while_collecting};
use fixture::{Fixture, StartedBalloon};
use free_memory::MemoryState;
use rounds::RoundPlan;
use tools::Tool;

/// The column for the machine while no copy runs.
const IDLE: &str = "idle";

/// Bytes of a block in which stat(2) counts, whatever those of the file system are (inode(7)).
const BLOCK_BYTES: u64 = 512;

/// The column of the runs before the first round, which is not part of the report.
const WARM_UP: &str = "warm-up";

/// Time that is measured after the data of a tool were durable (300 ms), for what a copy leaves to the kernel: journal,
/// discards, freed memory. Three periods of the slowest probe that runs by default.
const AFTER_TIME: Duration = Duration::from_millis(300);

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
    let observing = ProbePlan::resolve(&probes)?.with_why(words.why.why)?;
    // Both calls fork, so they come before the first thread is started.
    let host = StartedBalloon::fork_balloon(words)?;
    let session = Session::start(&observing, words.export.0.has_interval_log(), None)?;
    let stage = Fixture::set_up(words, &on, host, limited, journal)?;
    let seed = words
        .seed
        .unwrap_or_else(|| fastrand::u64(..MAX_DRAWN_SEED));
    let idle = !words.baseline.is_zero();
    let states = MemoryState::chosen(words.memory);
    let mut comparison = Comparison {
        session,
        live: StatusLine::on_terminal(),
        fixture: stage,
        task,
        plan: RoundPlan::new(&tools, idle, !words.no_repeat, seed, states),
        disk: Disk::of_path(Path::new("/"), &on).ok(),
        counters: ConditionCounters::default(),
        doing: String::new(),
        oom_kills: None,
        balloon_death: None,
    };
    comparison.all(words, &tools)?;
    let outcome = comparison.finish(&tools, &on)?;
    let report = Report {
        seed: Some(seed),
        ..*outcome.report
    };
    Ok(TaskOutcome {
        report: Box::new(report),
        ..outcome
    })
}

/// Seeds that are drawn are below this, so that they are easily typed.
const MAX_DRAWN_SEED: u64 = 1_000_000;

struct Comparison<'a> {
    // Dropped first: a prober that waits for the disk does not end before the disk limit is lifted.
    fixture: Fixture,
    session: Session,
    live: StatusLine,
    task: &'a TaskContext,
    /// The columns with their runs so far, and the order of the rounds.
    plan: RoundPlan,
    /// The disk of the copies, if it is known.
    disk: Option<Disk>,
    /// The counters of the machine when the current span began.
    counters: ConditionCounters,
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
        for round in 1..=words.warm_up {
            for tool in tools {
                let doing = format!("{} ({WARM_UP} {round})", tool.name);
                self.prepare(&doing, MemoryState::chosen(words.memory).first().copied())?;
                let mut run = RunRecord::default();
                self.copy(tool, WARM_UP, &mut run)?;
            }
        }
        let started = Instant::now();
        for round in 1.. {
            if round > words.runs {
                let time = words.until_sure.filter(|time| started.elapsed() < *time);
                if time.is_none() || self.is_sure(words.runs, tools) {
                    break;
                }
            }
            self.round(round, words, tools)?;
        }
        Ok(())
    }

    /// Runs each column once, in the order of the plan.
    fn round(
        &mut self,
        round: u32,
        words: &CompareArgs,
        tools: &[Tool],
    ) -> Result<(), ForklatError> {
        for (place, index) in (1..).zip(self.plan.order(round)) {
            let column = &self.plan.columns[index];
            let (name, tool, memory) = (column.name.clone(), column.tool, column.memory);
            let doing = format!("{name} ({round} of {})", words.runs.max(round));
            self.prepare(&doing, memory)?;
            let mut run = RunRecord {
                round,
                place,
                ..RunRecord::default()
            };
            match tool {
                Some(tool) => {
                    let copy = self.copy(&tools[tool], &name, &mut run)?;
                    self.plan.columns[index].copies.push(copy);
                }
                None => self.idle(words.baseline, &mut run)?,
            }
            self.plan.columns[index].runs.push(run);
        }
        Ok(())
    }

    /// Returns whether the intervals of all latency ratios are narrow, from at least `least` rounds without disturbance.
    fn is_sure(&self, least: u32, tools: &[Tool]) -> bool {
        let probers = self.session.prober_ids();
        let subject = |spec: super::report_builder::SubjectSpec| Subject {
            runs: run_results(&spec, &self.session.spans, &probers, self.session.epoch),
            name: spec.name,
            aside: spec.excluded_from_ratios,
            repeats: spec.repeats,
            memory: spec.memory,
            copies: spec.copies,
            ..Subject::default()
        };
        let subjects: Vec<Subject> = self.plan.specs(tools).into_iter().map(subject).collect();
        let is_calm = |subject: &Subject| {
            let runs = subject.runs.iter();
            let calm = runs.filter(|run| run.left_out.is_none() && run.disturbed_by.is_empty());
            calm.count() >= least as usize
        };
        let rows = compare_runs(&subjects);
        let mut latencies = rows.iter().filter(|row| row.probe.is_some());
        subjects.iter().all(is_calm) && latencies.all(|row| row.is_narrow())
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
    /// the disk held to its rate. Free memory is brought into a state if there is one.
    fn prepare(&mut self, doing: &str, memory: Option<MemoryState>) -> Result<(), ForklatError> {
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
        self.prepare_while_collecting(|stage, stop| {
            stage.apply_pressure(stop)?;
            memory.map_or(Ok(()), |state| stage.prepare_memory(state, stop))
        })?;
        self.collect()
    }

    fn idle(&mut self, length: Duration, run: &mut RunRecord) -> Result<(), ForklatError> {
        self.session.begin(IDLE);
        let from = MonotonicNs::now();
        self.counters = self.read_counters();
        self.observe_for(length, IDLE)?;
        self.session.end();
        run.conditions.push(self.conditions_of_span());
        self.fixture.lift_disk_limit()?;
        self.note_squeeze(run);
        self.read_once_more(MonotonicNs::now())?;
        self.leave_out_if_out_of_memory(from, run);
        Ok(())
    }

    /// Goes on observing for a time, in the open span.
    fn observe_for(&mut self, time: Duration, doing: &str) -> Result<(), ForklatError> {
        let started = Instant::now();
        while started.elapsed() < time {
            std::thread::sleep(COLLECT_INTERVAL.min(time - started.elapsed().min(time)));
            self.collect()?;
            self.live.show(doing, &self.session);
        }
        Ok(())
    }

    fn read_counters(&self) -> ConditionCounters {
        ConditionCounters::read(Path::new("/"), self.disk.as_ref())
    }

    /// Returns what the machine did since the span began, and begins the next one.
    fn conditions_of_span(&mut self) -> SpanConditions {
        let now = self.read_counters();
        let conditions = now.since(&self.counters);
        self.counters = now;
        conditions
    }

    /// Leaves a run out of all figures if the OOM killer acted meanwhile: what others felt then is the killer's work.
    fn leave_out_if_out_of_memory(&mut self, began: MonotonicNs, run: &mut RunRecord) {
        let latest = self.session.sampler.latest();
        let kills = latest.and_then(|reading| reading.get(Metric::OomKill));
        if kills > self.oom_kills {
            run.left_out = Some("the OOM killer acted".into());
            self.session.spans.leave_out_since(began);
        }
    }

    fn note_squeeze(&mut self, run: &mut RunRecord) {
        if self.fixture.has_released_memory() {
            let doing = &self.doing;
            self.session.notes.push(format!(
                "{doing}: less than half of the memory asked for by --squeeze was available, so the balloon released its memory: the rest of this run had free memory"
            ));
            run.disturbed_by
                .push("the balloon released its memory".into());
        }
    }

    /// Measures one copy by one tool, in the column `name`. It has three spans: until the tool exits, until fsync(2) of
    /// the copy by this program has returned, and a time after that. What others feel of that fsync is not the tool's.
    fn copy(
        &mut self,
        tool: &Tool,
        name: &str,
        run: &mut RunRecord,
    ) -> Result<CopyResult, ForklatError> {
        let doing = self.doing.clone();
        let (source, dest) = (self.fixture.source().to_owned(), self.fixture.dest());
        let main = MainThread::current().map_err(|e| format!("{doing}: {}", strerror(&e)))?;
        let mut command = tool.command(&source, &dest, main);
        let before = self.session.sampler.latest().copied();
        self.session.begin(name);
        self.counters = self.read_counters();
        let running = RunningCommand::start(&mut command, Some(dest.clone()))
            .map_err(|e| ForklatError::cannot_run(tool.name.as_ref(), e))?;
        let ended = self.watch(&running, &doing, run);
        let ended = ended.inspect_err(|_| self.kill_tool(&running))?;
        self.watch_after(&ended, &doing, run)?;
        self.fixture.lift_disk_limit()?;
        self.note_squeeze(run);
        if ended.left_running {
            self.session.notes.push(format!(
                "{doing}: the tool left processes running, which were killed"
            ));
        }
        self.read_once_more(ended.durable_or_ended())?;
        self.leave_out_if_out_of_memory(ended.start, run);
        run.dirty_at_exit = ended.dirty_at_exit;
        run.engines = engines::engines(&ended.stdout_text);
        run.copy_bytes = fs::metadata(&dest).map_or(0, |meta| meta.blocks() * BLOCK_BYTES);
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

    /// Waits until the tool has exited and its copy is durable, which are two spans.
    fn watch(
        &mut self,
        running: &RunningCommand,
        doing: &str,
        run: &mut RunRecord,
    ) -> Result<FinishedCommand, ForklatError> {
        loop {
            let ended = running.wait(COLLECT_INTERVAL);
            let ended = ended.map_err(|e| format!("{doing}: {}", strerror(&e)))?;
            if let Some(exit) = running.exited_at().filter(|_| run.conditions.is_empty()) {
                self.session.begin_part(RunPart::UntilDurable, exit);
                run.conditions.push(self.conditions_of_span());
            }
            if let Some(ended) = ended {
                return Ok(ended);
            }
            self.collect()?;
            self.live.show(doing, &self.session);
        }
    }

    /// Measures the time after the data of a tool were durable.
    fn watch_after(
        &mut self,
        ended: &FinishedCommand,
        doing: &str,
        run: &mut RunRecord,
    ) -> Result<(), ForklatError> {
        let from = ended.durable_or_ended();
        self.session.begin_part(RunPart::After, from);
        run.conditions.push(self.conditions_of_span());
        self.observe_for(AFTER_TIME, doing)?;
        self.session.end();
        run.conditions.push(self.conditions_of_span());
        Ok(())
    }

    /// Waits for a reading that was taken after the copy, since a short copy may lie between two readings.
    fn read_once_more(&mut self, until: MonotonicNs) -> Result<(), ForklatError> {
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
            plan,
            ..
        } = self;
        session.notes.extend(stage.notes());
        // This reads the sysctls under which the run was measured, not those to which the host is restored.
        let facts = HostInfo::read(Path::new("/"), Some(on));
        stage.release()?;
        let record = session.stop(&|| task.signals.pending_signal().is_some())?;
        live.finish();
        let columns = plan.specs(tools);
        let mut copies = columns.iter().flat_map(|column| &column.copies);
        let good = copies.all(CopyResult::is_correct);
        Ok(TaskOutcome {
            status: if good { 0 } else { WRONG },
            report: Box::new(assemble("compare", &columns, &record, task, facts)),
            log: record.log,
            table_to_stderr: false,
        })
    }
}
