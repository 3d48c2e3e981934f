//! forklat from outside: each test has a place of its own, by which its processes are known, and looks at what is left there.

mod exit_status;
mod merge;
mod observer_failures;
mod phase_figures;
mod probes;
mod run_exports;
mod run_signals;
mod run_targets;
mod stalled_prober;
mod status_line;
mod unprivileged;
mod usage_errors;
mod watch;
mod why;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mmapcp::forklat::export::json_report;
use mmapcp::forklat::model::{ProbeResult, Report, Subject};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

use crate::support::*;
use crate::tested_programs::FORKLAT;

/// A whole measurement is not wanted where only its outside is looked at.
const SHORT_RUN: [&str; 4] = ["--baseline=100ms", "--settle=0", "--probe=fork", "-v"];

/// Nothing but the time of the command.
const COMMAND_TIME_ONLY: [&str; 2] = ["--baseline=0", "--settle=0"];

// ---------------------------------------------------------------- places

/// A directory in memory for all that a test makes. It is the prober's disk, too: nobody else's writes are waited for there.
struct RunFixture {
    dir: TempDir,
}

impl RunFixture {
    fn new() -> Self {
        Self { dir: shm_dir() }
    }

    /// Where programs can be run: /dev/shm may be mounted noexec.
    fn of_programs() -> Self {
        Self {
            dir: scratch(&std::env::temp_dir()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What stands in the environment of every process of this test.
    fn env_mark(&self) -> String {
        format!("FORKLAT_STATE_DIR={}", self.path("state").display())
    }

    fn command_with_mark(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("LC_ALL", "C")
            .env("FORKLAT_STATE_DIR", self.path("state"));
        command
    }

    fn forklat(&self) -> Command {
        self.command_with_mark(&*FORKLAT)
    }

    /// `forklat run` with these words.
    fn run(&self, words: &[&str]) -> Output {
        run(self.forklat().arg("run").args(words))
    }

    /// A run that succeeds, and what it exports.
    fn run_and_report(&self, words: &[&str]) -> (Output, Report) {
        let output = run(self
            .forklat()
            .args(["run", "--export-json=json"])
            .args(words));
        assert_exit(&output, 0);
        (output, self.report("json"))
    }

    fn report(&self, name: &str) -> Report {
        json_report::parse(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// No process of this place, no state, and of files only `files`.
    fn assert_only(&self, files: &[&str]) {
        // A child that was just being forked ends by itself.
        wait_until("the end of all processes", || {
            marked(&self.env_mark()).is_empty()
        });
        assert_eq!(names(self.dir.path()), files);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

// ---------------------------------------------------------------- processes

/// What proc(5) says of a process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    parent: Pid,
    pub(crate) name: String,
    state: u8,
}

impl Process {
    fn of(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        let mut fields = rest.split(' ');
        Some(Self {
            pid,
            state: fields.next()?.bytes().next()?,
            parent: Pid::from_raw(fields.next()?.parse().ok()?),
            name: name.to_owned(),
        })
    }
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
}

pub(crate) fn children(parent: Pid) -> Vec<Process> {
    let all = pids().filter_map(Process::of);
    all.filter(|process| process.parent == parent).collect()
}

/// Processes that have `mark` in their environment; a zombie has none.
fn marked(mark: &str) -> Vec<Pid> {
    pids()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|word| word == mark.as_bytes())
        })
        .collect()
}

/// A run whose command waits until it is told to end, so that the test does what it has to while the run measures.
struct HeldRun<'a> {
    running: Running,
    place: &'a RunFixture,
}

impl<'a> HeldRun<'a> {
    /// `forklat run` with these words, measuring.
    fn start(place: &'a RunFixture, words: &[&str]) -> Self {
        let mut command = place.forklat();
        command.arg("run").args(words).args(Self::command(place));
        Self::with(place, &mut command)
    }

    /// What it runs; `done` is there when it has ended.
    fn command(place: &RunFixture) -> [&'static str; 3] {
        mkfifo(&place.path("go"), Mode::S_IRWXU).unwrap();
        ["sh", "-c", ": > started; read word < go; : > done"]
    }

    fn with(place: &'a RunFixture, command: &mut Command) -> Self {
        let mut running = Running::start(command);
        wait_until("the command runs", || {
            assert!(
                !running.has_ended(),
                "ended before its command: {command:?}"
            );
            place.path("started").exists()
        });
        Self { running, place }
    }

    /// The observers that live and whose name begins so.
    fn observers(&self, name: &str) -> Vec<Pid> {
        let all = children(self.running.pid()).into_iter();
        all.filter(|process| process.state != b'Z' && process.name.starts_with(name))
            .map(|process| process.pid)
            .collect()
    }

    /// Lets the command end.
    fn finish(self) -> Output {
        let mut nonblocking = fs::OpenOptions::new();
        nonblocking
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits());
        wait_until("the command listens", || {
            nonblocking.open(self.place.path("go")).is_ok()
        });
        self.running.finish()
    }
}

// ---------------------------------------------------------------- reports

/// The CPUs for which this process may ask.
fn cpus() -> Vec<u32> {
    let set = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..nix::sched::CpuSet::count() as u32)
        .filter(|cpu| set.is_set(*cpu as usize).unwrap())
        .collect()
}

fn subject<'a>(report: &'a Report, name: &str) -> &'a Subject {
    let found = report.subjects.iter().find(|subject| subject.name == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn probe<'a>(subject: &'a Subject, name: &str, cpu: Option<u32>) -> &'a ProbeResult {
    let found = subject
        .probes
        .iter()
        .find(|probe| probe.name == name && probe.cpu == cpu);
    found.unwrap_or_else(|| panic!("no {name} on {cpu:?} in {}", subject.name))
}

/// The kinds of probes of a subject, without what is told of each CPU.
fn probe_kinds(subject: &Subject) -> Vec<&str> {
    let together = subject.probes.iter().filter(|probe| probe.cpu.is_none());
    together.map(|probe| probe.name.as_str()).collect()
}
