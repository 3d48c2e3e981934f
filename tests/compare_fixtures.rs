//! What tests of `forklat compare` share: a place for each, tools written as shell scripts, and a look around afterwards.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::*;
pub(crate) use crate::tested_programs::FORKLAT;

/// Before each copy it waits, for 30 s at most, until little is left to write out; the other tests write a lot.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(300);

/// What is waited for here happens at once, or never.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A tool that copies well.
pub(crate) const COPYING_TOOL: &str = r#"cp "$1" "$2""#;

/// A tool that says who it is, and never ends.
pub(crate) const HANGING_TOOL: &str = r#"echo $$ >"$HERE/pids"; exec sleep 400"#;

/// A directory for the copies, and one for scripts, exports and the records of this test's forklats.
pub(crate) struct CompareFixture {
    pub(crate) copy_dir: PathBuf,
    home: TempDir,
}

impl CompareFixture {
    /// On the disk that holds the build.
    pub(crate) fn new() -> Self {
        let home = disk_dir();
        let on = home.path().join("on");
        fs::create_dir(&on).unwrap();
        Self { copy_dir: on, home }
    }

    /// With the copies elsewhere.
    pub(crate) fn with_copy_dir(on: &Path) -> Self {
        Self {
            copy_dir: on.to_owned(),
            home: disk_dir(),
        }
    }

    /// A file of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What a script wrote to a file of this test; nothing before it did.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// `NAME=CMD` of a tool that is a shell script: `$1` is the source, `$2` the copy, and `$HERE` where `path` is.
    pub(crate) fn tool(&self, name: &str, script: &str) -> String {
        let file = self.path(&format!("{name}.sh"));
        let here = self.home.path().display();
        fs::write(&file, format!("HERE='{here}'\n{script}\n")).unwrap();
        format!("{name}=sh '{}' {{source}} {{dest}}", file.display())
    }

    /// `forklat` with records of its own.
    pub(crate) fn forklat(&self) -> Command {
        let mut command = Command::new(&*FORKLAT);
        command
            .env("LC_ALL", "C")
            .env("FORKLAT_STATE_DIR", self.path("state"));
        command
    }

    /// `forklat compare` of these tools, with little besides.
    pub(crate) fn compare(&self, tools: &[String]) -> Command {
        let mut command = self.forklat();
        command.args([
            "compare",
            "--baseline=0",
            "--warm-up=0",
            "--no-repeat",
            "--probe=fork",
            "--period=fork=2ms",
            "--on",
        ]);
        command.arg(&self.copy_dir);
        for tool in tools {
            command.args(["--tool", tool]);
        }
        command
    }

    /// One copy of 32 MiB by each tool.
    pub(crate) fn compare_once(&self, tools: &[String]) -> Command {
        let mut command = self.compare(tools);
        command.args(["--runs=1", "--size=32M"]);
        command
    }

    /// Runs it to its end, and looks around.
    pub(crate) fn run(&self, command: &mut Command) -> Output {
        self.finish(Running::start(command))
    }

    /// Waits for its end, and looks around.
    pub(crate) fn finish(&self, running: Running) -> Output {
        let pid = running.pid();
        let output = running.finish_within(COMPARE_TIMEOUT);
        self.assert_nothing_left(pid, &describe_output(&output));
        output
    }

    /// Runs it with an export, and returns that, too.
    pub(crate) fn report(&self, command: &mut Command) -> (Output, Value) {
        let file = self.path("report.json");
        let output = self.run(command.arg("--export-json").arg(&file));
        let text = fs::read_to_string(&file)
            .unwrap_or_else(|e| panic!("{e}: {}", describe_output(&output)));
        (output, serde_json::from_str(&text).unwrap())
    }

    /// No directory of a forklat, no file of its probers, no record.
    pub(crate) fn assert_nothing_left(&self, pid: Pid, context: &str) {
        let left = self.leftovers_of(pid);
        assert!(left.is_empty(), "{left:?} left by {pid}: {context}");
    }

    /// What a forklat that is dead has left: directories, and records.
    pub(crate) fn leftovers_of(&self, pid: Pid) -> Vec<PathBuf> {
        let ours = format!(".forklat-{pid}-");
        let on = names(&self.copy_dir).into_iter();
        let on = on.filter(|path| name_starts_with(path, ".forklat"));
        let memory = names(Path::new("/dev/shm")).into_iter();
        let memory = memory.filter(|path| name_starts_with(path, &ours));
        let records = names(&self.path("state")).into_iter();
        let records = records.filter(|path| !path.ends_with("lock"));
        on.chain(memory).chain(records).collect()
    }

    /// The next start of a forklat: what it says.
    pub(crate) fn restart_messages(&self) -> String {
        let mut command = self.forklat();
        command.args(["run", "--for=10ms", "--baseline=0", "--settle=0"]);
        let output = self.run(command.arg("--probe=fork"));
        assert_exit(&output, 0);
        lossy_string(&output.stderr)
    }
}

impl Drop for CompareFixture {
    /// A test that fails after it killed a forklat leaves nothing either.
    fn drop(&mut self) {
        if thread::panicking() {
            // What was undone is of no interest; that nothing can be measured is intended.
            let _ = self.forklat().args(["merge", "/dev/null"]).output();
        }
    }
}

/// A directory that any user can enter, holding a program `forklat` that any user can run: the build may lie below `/root`.
pub(crate) fn public_forklat() -> (TempDir, PathBuf) {
    let dir = scratch(&std::env::temp_dir());
    let program = dir.path().join("forklat");
    fs::hard_link(&*FORKLAT, &program)
        .or_else(|_| fs::copy(&*FORKLAT, &program).map(drop))
        .unwrap();
    (dir, program)
}

/// What is in a directory, if it is there.
pub(crate) fn names(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn name_starts_with(path: &Path, beginning: &str) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_bytes().starts_with(beginning.as_bytes())
}

/// Waits until the tool [`HANGS`]; it, what it started, and the other children of forklat.
pub(crate) fn wait_for_hanging_tool(place: &CompareFixture, running: &Running) -> Vec<Pid> {
    expect_soon("the tool runs", || place.text("pids").ends_with('\n'));
    let pids = place.text("pids");
    let of_tool = pids.split_whitespace().map(|pid| pid.parse().unwrap());
    let mut family: Vec<Pid> = of_tool.map(Pid::from_raw).collect();
    let children = children(running.pid());
    assert!(children.len() > 2, "tool, prober, sampler: {children:?}");
    family.extend(children);
    family
}

/// The only copy that a tool made.
pub(crate) fn only_copy<'a>(report: &'a Value, tool: &str) -> &'a Value {
    let copies = &subject(report, tool)["copies"];
    assert_eq!(copies.as_array().unwrap().len(), 1, "{copies:#}");
    &copies[0]
}

/// The column of a name.
pub(crate) fn subject<'a>(report: &'a Value, name: &str) -> &'a Value {
    let subjects = report["subjects"].as_array().unwrap();
    let found = subjects.iter().find(|subject| subject["name"] == name);
    found.unwrap_or_else(|| panic!("no subject {name} in {subjects:#?}"))
}

/// Waits for what shall happen soon.
pub(crate) fn expect_soon(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < EVENT_TIMEOUT, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The parent of a process; `None` once it has ended, reaped or not.
fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then_some(())?;
    fields.next()?.parse().ok().map(Pid::from_raw)
}

/// Whether a process runs no more.
pub(crate) fn is_gone(pid: Pid) -> bool {
    parent(pid).is_none()
}

/// The processes that a process has started.
pub(crate) fn children(of: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(Pid::from_raw)
        .filter(|pid| parent(*pid) == Some(of))
        .collect()
}
