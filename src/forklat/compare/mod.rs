//! `forklat compare`: tools that copy, one after the other in turns, each from the same prepared state.

mod beside;
mod dump;
mod figures;
mod stage;
mod tools;
mod verify;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::assemble::{Column, assemble};
use super::child::{Ended, Running};
use super::cli::compare::CompareWords;
use super::live::Live;
use super::model::Copy;
use super::observing::Observing;
use super::quiet::Quiet;
use super::session::{Session, TICK};
use super::{Failure, Findings, Outcome, Task, say};
use crate::observe::facts::Facts;
use crate::observe::memory::{Field, Reading};
use crate::sys::clock::now;
use crate::sys::process::MainThread;
use crate::sys::words::reason;
use beside::{Stop, beside, listen};
use stage::{Host, Stage};
use tools::Tool;

/// The column of the machine without a copy.
const IDLE: &str = "idle";

/// Exit status when a tool failed, or made a copy that is not the source.
const WRONG: i32 = 1;

/// Compares.
///
/// # Errors
/// What kept it from comparing. Nothing of a table is printed then.
pub(super) fn run(words: &CompareWords, task: &Task) -> Result<Outcome, Failure> {
    let tools = Tool::all(&words.tool)?;
    let on = words
        .probes
        .on
        .clone()
        .unwrap_or_else(|| PathBuf::from("."));
    let mut probes = words.probes.clone();
    probes.on = Some(on.clone());
    let observing = Observing::resolve(&probes)?;
    // Both fork, so they come before the first thread.
    let host = Host::take(words)?;
    let session = Session::start(&observing, words.export.export_hlog.is_some(), None)?;
    let stage = Stage::set(words, &on, host)?;
    let mut comparison = Comparison {
        session,
        live: Live::on_terminal(),
        stage,
        task,
        copies: tools.iter().map(|_| Vec::new()).collect(),
        doing: String::new(),
        oom_kills: None,
        fallen: None,
    };
    comparison.all(words, &tools)?;
    comparison.finish(&tools, &on)
}

struct Comparison<'a> {
    // Dropped first: a prober that waits for the disk does not end before the limit is off.
    stage: Stage,
    session: Session,
    live: Live,
    task: &'a Task,
    /// By tool, in the order of the runs.
    copies: Vec<Vec<Copy>>,
    /// What runs, and how many processes the OOM killer had taken before.
    doing: String,
    oom_kills: Option<u64>,
    /// When the squeeze was found dead, and its last words, until it is known who killed it.
    fallen: Option<(u64, String)>,
}

impl Comparison<'_> {
    fn all(&mut self, words: &CompareWords, tools: &[Tool]) -> Result<(), Failure> {
        self.live.say("making the dump");
        self.beside(|stage, stop| stage.make_source(stop))?;
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

    fn collect(&mut self) -> Result<(), Failure> {
        listen(&mut self.session, &self.task.signals)?;
        if let Err(message) = self.stage.check() {
            self.fallen = Some((now(), message));
        }
        self.explain_the_fall()
    }

    /// A machine that runs out of memory under a tool is a finding: the squeeze is what the OOM killer takes first, and the
    /// next run has a new one. Killed by anyone else it is an error. The next reading tells.
    fn explain_the_fall(&mut self) -> Result<(), Failure> {
        let latest = self.session.sampler.latest();
        let (Some((at, message)), Some(latest)) = (&self.fallen, latest) else {
            return Ok(());
        };
        if latest.at <= *at {
            return Ok(());
        }
        if latest.get(Field::OomKill) <= self.oom_kills {
            return Err(message.clone().into());
        }
        self.session.notes.push(format!(
            "{}: the machine ran out of memory, and the OOM killer took the squeeze: the rest of this run had free memory",
            self.doing
        ));
        self.fallen = None;
        Ok(())
    }

    /// Does something long to the stage, and listens to the observers meanwhile.
    fn beside(
        &mut self,
        work: impl FnOnce(&mut Stage, Stop<'_>) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        let stage = &mut self.stage;
        beside(&mut self.session, &self.task.signals, |stop| {
            work(stage, stop)
        })?
    }

    /// The same state each time: no earlier copy, nothing to write out, so much memory available, the disk held to its rate.
    fn prepare(&mut self, doing: &str) -> Result<(), Failure> {
        self.session.end();
        doing.clone_into(&mut self.doing);
        self.live.say(&format!("{doing}: preparing"));
        // It forks, so it comes before the threads of what follows.
        self.stage.renew()?;
        self.beside(|stage, _| stage.clear())?;
        let started = Instant::now();
        let mut synced = started;
        let mut quiet = Quiet::but_for(0);
        while !quiet.has_come(&self.session) {
            if synced.elapsed() > stage::SYNC_EVERY {
                self.beside(|stage, _| stage.sync())?;
                synced = Instant::now();
            }
            if started.elapsed() > stage::PATIENCE {
                let left = crate::report::units::bytes(self.session.unwritten());
                self.session.notes.push(format!(
                    "{doing}: began while others had {left} to write out"
                ));
                break;
            }
            std::thread::sleep(TICK);
            self.collect()?;
        }
        self.oom_kills = self
            .session
            .sampler
            .latest()
            .and_then(|r| r.get(Field::OomKill));
        self.beside(|stage, stop| stage.tighten(stop))?;
        self.collect()
    }

    fn idle(&mut self, length: Duration) -> Result<(), Failure> {
        self.session.begin(IDLE);
        let started = Instant::now();
        while started.elapsed() < length {
            std::thread::sleep(TICK);
            self.collect()?;
            self.live.show(IDLE, &self.session);
        }
        self.stage.loosen()?;
        self.note_squeeze(IDLE);
        Ok(())
    }

    fn note_squeeze(&mut self, doing: &str) {
        if self.stage.has_let_go() {
            self.session.notes.push(format!(
                "{doing}: less than half of the squeeze was left, so it let go: the rest of this run had free memory"
            ));
        }
    }

    /// One copy by one tool. The span goes on until the copy is on the disk: a tool that leaves it in the page cache has
    /// not spared the machine from writing it.
    fn copy(&mut self, tool: &Tool, doing: &str) -> Result<Copy, Failure> {
        let (source, dest) = (self.stage.source().to_owned(), self.stage.dest());
        let main = MainThread::current().map_err(|e| format!("{doing}: {}", reason(&e)))?;
        let mut command = tool.command(&source, &dest, main);
        let before = self.session.sampler.latest().copied();
        self.session.begin(&tool.name);
        let running = Running::start(&mut command, Some(dest.clone()))
            .map_err(|e| Failure::cannot_run(tool.name.as_ref(), &e))?;
        let ended = self.watch(&running, doing);
        let ended = ended.inspect_err(|_| self.give_up(&running))?;
        self.session.end_at(ended.until());
        self.stage.loosen()?;
        self.note_squeeze(doing);
        if ended.left_running {
            self.session.notes.push(format!(
                "{doing}: it left processes running, which were killed"
            ));
        }
        self.read_once_more(&ended)?;
        self.live
            .say(&format!("{doing}: comparing the copy with its source"));
        let wrong = beside(&mut self.session, &self.task.signals, |stop| {
            verify::difference(&source, &dest, stop)
        })?;
        Ok(self.judge(tool, &ended, before, wrong))
    }

    /// Ends a tool with all that it started, before its copy is removed. What it has left to write shall not be waited for
    /// at the rate of the limit.
    fn give_up(&self, running: &Running) {
        // The restoration that follows takes it off, too, and says why it could not.
        let _ = self.stage.loosen();
        // Nobody may be left.
        let _ = killpg(running.pid, Signal::SIGKILL);
        while let Ok(None) = running.wait(TICK) {}
    }

    fn watch(&mut self, running: &Running, doing: &str) -> Result<Ended, Failure> {
        loop {
            let ended = running.wait(TICK);
            if let Some(ended) = ended.map_err(|e| format!("{doing}: {}", reason(&e)))? {
                return Ok(ended);
            }
            self.collect()?;
            self.live.show(doing, &self.session);
        }
    }

    /// Waits for a reading that was taken after the copy: a short one may lie between two.
    fn read_once_more(&mut self, ended: &Ended) -> Result<(), Failure> {
        let until = ended.until();
        loop {
            self.collect()?;
            let latest = self.session.sampler.latest();
            if self.fallen.is_none() && latest.is_some_and(|reading| reading.at >= until) {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
    }

    /// What the copy came to; what a tool that failed said is shown.
    fn judge(
        &self,
        tool: &Tool,
        ended: &Ended,
        before: Option<Reading>,
        mut wrong: Option<String>,
    ) -> Copy {
        if let Err(e) = &ended.durable {
            wrong.get_or_insert_with(|| format!("fsync: {}", reason(e)));
        }
        if !ended.status.success() {
            for line in tools::last_words(&tool.name, &ended.said) {
                self.live.suspend(|| say(&line));
            }
        }
        figures::of(ended, before, self.session.sampler.readings(), wrong)
    }

    fn finish(self, tools: &[Tool], on: &Path) -> Result<Outcome, Failure> {
        self.live.say("restoring the host");
        let Self {
            mut session,
            live,
            stage,
            task,
            copies,
            ..
        } = self;
        session.notes.extend(stage.notes());
        // With the sysctls under which it was measured, not those to which the host is restored.
        let facts = Facts::of(Path::new("/"), Some(on));
        stage.restore()?;
        let record = session.stop(&|| task.signals.pending().is_some())?;
        live.finish();
        let good = copies.iter().flatten().all(Copy::is_good);
        let idle = Column {
            name: IDLE.to_owned(),
            aside: true,
            command: Vec::new(),
            copies: Vec::new(),
        };
        let columns = tools.iter().zip(copies).map(|(tool, copies)| Column {
            name: tool.name.clone(),
            aside: false,
            command: tool.words().to_vec(),
            copies,
        });
        let columns: Vec<Column> = std::iter::once(idle).chain(columns).collect();
        Ok(Outcome {
            status: if good { 0 } else { WRONG },
            findings: Findings::Report(
                Box::new(assemble("compare", &columns, &record, task, facts)),
                record.log,
            ),
            aside: false,
        })
    }
}
