//! `--queue`: one copy at a time, in the order of the queue, whatever happens to those who copy or wait.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid, mkfifo};
use serde_json::Value;
use tempfile::TempDir;

use crate::seeded_rng::SeededRng;
use crate::support::*;

/// The queue of the tests.
pub(crate) const QUEUE: &str = "--queue=q";

/// Makes the directory that is its first argument the `/run` of the program that follows.
const WITH_OWN_RUN: &str = "mount --bind \"$0\" /run && exec \"$@\"";

/// A program whose queues, and those of what it starts, are in `state`: a directory that is open to this user alone.
pub(crate) fn with_own_queues(state: &Path, program: &Path) -> Command {
    let mut command = if geteuid().is_root() {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", WITH_OWN_RUN]);
        command.arg(state).arg(program);
        command
    } else {
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", state);
        command
    };
    command.env("LC_ALL", "C");
    command
}

/// Returns whether programs can have queues of their own here. If not, the test counts as skipped.
pub(crate) fn can_have_own_queues_or_skip(test: &str) -> bool {
    if !geteuid().is_root() {
        return true;
    }
    if !has_tools_or_skip(test, &["unshare", "mount"]) {
        return false;
    }
    let is_allowed = run(Command::new("unshare").args(["-m", "true"]));
    if !is_allowed.status.success() {
        skip(test, "no mount namespace can be made");
    }
    is_allowed.status.success()
}

/// A directory for the state of queues that only these tests have, and files to copy.
pub(crate) struct QueueFixture {
    state: TempDir,
    shm: TempDir,
    disk: TempDir,
}

impl QueueFixture {
    /// Returns `None`, and counts the test as skipped, where root cannot have a `/run` of its own.
    pub(crate) fn new_or_skip(test: &str) -> Option<Self> {
        if !can_have_own_queues_or_skip(test) {
            return None;
        }
        let state = shm_dir();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Some(Self {
            state,
            shm: shm_dir(),
            disk: disk_dir(),
        })
    }

    /// The program, with the queues of this fixture.
    pub(crate) fn program(&self) -> Command {
        self.program_in(self.state.path())
    }

    fn program_in(&self, state: &Path) -> Command {
        with_own_queues(state, Path::new(&*MMAPCP))
    }

    /// A file of this size to copy.
    pub(crate) fn source(&self, name: &str, size: u64) -> PathBuf {
        let path = self.shm.path().join(name);
        make_dense_dump(&path, size);
        path
    }

    pub(crate) fn dest(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// A copy of `source` to the destination of this name, in the queue.
    pub(crate) fn copy(&self, source: &Path, name: &str, options: &[&str]) -> Command {
        let mut command = self.program();
        command
            .arg(QUEUE)
            .args(options)
            .arg(source)
            .arg(self.dest(name));
        command
    }

    /// A copy that has its turn until its pipe is closed.
    fn holder(&self) -> Holder {
        let pipe = self.shm.path().join("pipe");
        if !pipe.exists() {
            mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        }
        let running = Running::start(&mut self.copy(&pipe, "held", &[]));
        // It opens the pipe when it has its turn.
        let pipe = File::options().write(true).open(&pipe).unwrap();
        Holder { running, pipe }
    }

    fn queue_dir(&self) -> PathBuf {
        self.state.path().join("mmapcp/v1/q")
    }

    /// The tickets that are there, each with its size.
    pub(crate) fn tickets(&self) -> Vec<(String, u64)> {
        let Ok(entries) = fs::read_dir(self.queue_dir()) else {
            return Vec::new();
        };
        let tickets = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let size = entry.metadata().ok()?.len();
            Some((entry.file_name().into_string().ok()?, size))
        });
        tickets.filter(|(name, _)| name.starts_with('a')).collect()
    }

    /// Starts a copy, and returns when it waits as the last of so many.
    pub(crate) fn start_waiting(&self, command: &mut Command, members: usize) -> Running {
        let running = Running::start(command);
        wait_until("a ticket", || self.tickets().len() == members);
        running
    }

    /// The members as `--queue-status --json` has them.
    fn status(&self) -> Vec<Value> {
        let output = run(self.program().args(["--queue-status", "--json"]));
        assert_exit(&output, 0);
        parse_events(&output)
    }

    fn assert_empty(&self) {
        assert!(!self.queue_dir().exists(), "{:?}", self.tickets());
    }
}

/// A copy under way, and the pipe that it reads.
struct Holder {
    running: Running,
    pipe: File,
}

impl Holder {
    fn end(self) {
        drop(self.pipe);
        assert_exit(&self.running.finish(), 0);
    }
}

#[test]
fn copies_go_by_priority_then_size_then_arrival() {
    let Some(fixture) = QueueFixture::new_or_skip("the order of a queue") else {
        return;
    };
    let holder = fixture.holder();
    let (large, small) = (
        fixture.source("large", 32 * MIB),
        fixture.source("small", MIB),
    );
    let stream = Path::new("/dev/null");
    let log = fixture.disk.path().join("log");
    let mut all = Vec::new();
    let jobs: [(&Path, &str, &[&str]); 5] = [
        (stream, "5", &[]),
        (&large, "4", &[]),
        (&small, "2", &[]),
        (&small, "3", &[]),
        (&large, "1", &["--queue-priority=-1"]),
    ];
    for (members, (source, name, options)) in (2..).zip(jobs) {
        let log = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap();
        let mut command = fixture.copy(source, name, options);
        all.push(Running::start_to(command.arg("-v"), log));
        wait_until("a ticket", || fixture.tickets().len() == members);
    }
    let status = fixture.status();
    assert_eq!(status.len(), 6, "{status:#?}");
    assert_eq!(status[0]["state"], "copying");
    assert_eq!(status[0]["pid"], holder.running.pid().as_raw());
    assert_eq!(status[1]["priority"], -1);
    assert_eq!(status[1]["pid"], all[4].pid().as_raw());
    assert_eq!(status[5]["size"], Value::Null, "a stream is the last");
    assert_eq!(fs::read(&log).unwrap(), b"", "all of them wait");
    holder.end();
    for copy in all {
        assert_exit(&copy.finish(), 0);
    }
    let log = fs::read_to_string(&log).unwrap();
    let order: Vec<_> = log
        .lines()
        .filter_map(|line| line.rsplit('/').next())
        .collect();
    assert_eq!(order, ["1'", "2'", "3'", "4'", "5'"], "{log}");
    assert_same_content(&large, &fixture.dest("1"), "after its wait");
    fixture.assert_empty();
}

#[test]
fn the_next_one_goes_on_after_a_kill() {
    let Some(fixture) = QueueFixture::new_or_skip("killed copies in a queue") else {
        return;
    };
    let source = fixture.source("dump", MIB);
    let holder = fixture.holder();
    let second = fixture.start_waiting(&mut fixture.copy(&source, "second", &[]), 2);
    let third = fixture.start_waiting(&mut fixture.copy(&source, "third", &[]), 3);
    second.signal(Signal::SIGKILL);
    assert_signal(&second.finish(), Signal::SIGKILL as i32);
    holder.running.signal(Signal::SIGKILL);
    assert_exit(&third.finish(), 0);
    assert_same_content(&source, &fixture.dest("third"), "after two kills");
    assert!(!fixture.dest("second").exists());
    fixture.assert_empty();
}

#[test]
fn a_signal_ends_the_wait_at_once() {
    let Some(fixture) = QueueFixture::new_or_skip("signals to a copy that waits") else {
        return;
    };
    let source = fixture.source("dump", MIB);
    let holder = fixture.holder();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let copy = fixture.start_waiting(&mut fixture.copy(&source, "copy", &[]), 2);
        copy.signal(signal);
        let output = copy.finish();
        assert_signal(&output, signal as i32);
        assert_eq!(lossy_string(&output.stderr), "", "{signal}");
        assert!(!fixture.dest("copy").exists());
        assert_eq!(fixture.tickets().len(), 1, "its ticket is gone");
    }
    holder.end();
    fixture.assert_empty();
}

#[test]
fn a_copy_that_waits_says_its_place_when_asked() {
    let Some(fixture) = QueueFixture::new_or_skip("SIGUSR1 to a copy that waits") else {
        return;
    };
    let source = fixture.source("dump", MIB);
    let holder = fixture.holder();
    let log = fixture.dest("log");
    let mut command = fixture.copy(&source, "copy", &[]);
    let mut copy = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
    wait_until("a ticket", || fixture.tickets().len() == 2);
    kill(Pid::from_raw(copy.id() as i32), Signal::SIGUSR1).unwrap();
    wait_until("an answer", || {
        fs::read(&log).unwrap() == b"waiting: place 2 of 2\n"
    });
    holder.end();
    assert!(copy.wait().unwrap().success());
}

/// Its time would run out before the turn of the copy.
#[test]
fn a_service_manager_hears_of_the_wait() {
    let Some(fixture) = QueueFixture::new_or_skip("NOTIFY_SOCKET in a queue") else {
        return;
    };
    let source = fixture.source("dump", MIB);
    let holder = fixture.holder();
    let path = fixture.dest("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = fixture.copy(&source, "copy", &[]);
    let copy = fixture.start_waiting(command.env("NOTIFY_SOCKET", &path), 2);
    let mut message = [0; 256];
    let length = socket.recv(&mut message).unwrap();
    assert_eq!(
        lossy_string(&message[..length]),
        "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=waiting: place 2 of 2\n"
    );
    holder.end();
    assert_exit(&copy.finish(), 0);
}

#[test]
fn the_strictest_limits_of_all_are_kept() {
    let Some(fixture) = QueueFixture::new_or_skip("the limits of a queue") else {
        return;
    };
    let source = fixture.source("dump", 8 * MIB);
    let holder = fixture.holder();
    let mut first = fixture.copy(&source, "first", &["--json", "--limit-rate=50M"]);
    let first = fixture.start_waiting(first.arg("--queue-priority=-5"), 2);
    let options = ["--json", "--limit-rate=20M"];
    let second = fixture.start_waiting(&mut fixture.copy(&source, "second", &options), 3);
    holder.end();
    let [first, second] = [first, second].map(|copy| {
        let output = copy.finish();
        assert_exit(&output, 0);
        parse_events(&output)
    });
    let turn = |events: &[Value]| {
        let mut turns = events.iter().filter(|event| event["state"] == "copying");
        turns.next_back().expect("its turn").clone()
    };
    let adopted = turn(&first);
    assert_eq!(adopted["adopted"][0], format!("--limit-rate={}", 20 * MIB));
    assert_eq!(adopted["members"], 2);
    assert_eq!(turn(&second)["adopted"].as_array().unwrap().len(), 0);
    let throttle = first.iter().find(|event| event["event"] == "throttle");
    assert_eq!(throttle.expect("its limit")["rate"], 20 * MIB);
    let waiting = first.iter().find(|event| event["state"] == "waiting");
    assert_eq!(waiting.expect("its wait")["place"], 2);
}

/// Probers are forked after the wait, and a process that has threads must not fork.
#[test]
fn a_copy_that_has_waited_is_measured_and_governed() {
    let Some(fixture) = QueueFixture::new_or_skip("a governed copy in a queue") else {
        return;
    };
    let source = fixture.source("dump", MIB);
    for round in 0..10 {
        let holder = fixture.holder();
        let name = format!("copy-{round}");
        let options = ["--json", "--max-fork-latency=1h"];
        let copy = fixture.start_waiting(&mut fixture.copy(&source, &name, &options), 2);
        holder.end();
        let output = copy.finish();
        assert_exit(&output, 0);
        assert_eq!(lossy_string(&output.stderr), "", "round {round}");
        assert_same_content(&source, &fixture.dest(&name), "after a wait");
    }
}

#[test]
fn devices_do_not_wait_for_each_other() {
    let Some(fixture) = QueueFixture::new_or_skip("a queue for each device") else {
        return;
    };
    let (source, pipe) = (fixture.source("dump", MIB), fixture.shm.path().join("pipe"));
    let device = |path: &Path| path.metadata().unwrap().dev();
    if device(fixture.shm.path()) == device(fixture.disk.path()) {
        return skip("a queue for each device", "the build is in memory");
    }
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let mut command = fixture.program();
    let holder = Running::start(command.arg("--queue").arg(&pipe).arg(fixture.dest("held")));
    let pipe = File::options().write(true).open(&pipe).unwrap();
    let other = fixture.shm.path().join("copy");
    let mut command = fixture.program();
    assert_exit(&run(command.arg("--queue").arg(&source).arg(&other)), 0);
    let mut command = fixture.program();
    let same = command
        .arg("--queue")
        .arg(&source)
        .arg(fixture.dest("copy"));
    let same = Running::start(same);
    wait_until("a second copy to the disk", || fixture.status().len() == 2);
    assert!(!fixture.dest("copy").exists());
    drop(pipe);
    assert_exit(&holder.finish(), 0);
    assert_exit(&same.finish(), 0);
}

#[test]
fn a_directory_that_others_could_use_is_refused() {
    let Some(fixture) = QueueFixture::new_or_skip("a directory of others") else {
        return;
    };
    let (source, program) = (
        fixture.source("dump", MIB),
        fixture.state.path().join("mmapcp"),
    );
    let refused = |words: &str| {
        let output = run(&mut fixture.copy(&source, "copy", &[]));
        assert_exit_in(&output, 1, words);
        let stderr = lossy_string(&output.stderr);
        assert!(stderr.contains(words), "{stderr}");
        assert!(!fixture.dest("copy").exists(), "{words}");
        let status = run(fixture.program().arg("--queue-status"));
        assert_exit_in(&status, 1, words);
    };
    symlink(fixture.shm.path(), &program).unwrap();
    refused("it is no directory");
    fs::remove_file(&program).unwrap();
    fs::write(&program, "").unwrap();
    refused("it is no directory");
    fs::remove_file(&program).unwrap();
    fs::create_dir(&program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    refused("its mode is 0755");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    if geteuid().is_root() {
        std::os::unix::fs::chown(&program, Some(NOBODY), None).unwrap();
        refused("it belongs to user 65534");
        std::os::unix::fs::chown(&program, Some(0), None).unwrap();
    }
    fs::create_dir(program.join("v1")).unwrap();
    fs::set_permissions(program.join("v1"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(fixture.shm.path(), fixture.queue_dir()).unwrap();
    refused("it is no directory");
}

#[test]
fn other_users_need_a_runtime_directory() {
    let (_dir, bin) = public_bin_dir();
    let disk = disk_dir();
    let mut command = Command::new(bin.join("mmapcp"));
    command
        .env_remove("XDG_RUNTIME_DIR")
        .args([QUEUE, "/dev/null", "/dev/null"]);
    if geteuid().is_root() {
        as_nobody(&mut command);
    }
    let output = run(command.current_dir("/"));
    assert_exit(&output, 1);
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.contains("XDG_RUNTIME_DIR"), "{stderr}");
    drop(disk);
}

#[test]
fn without_room_for_a_ticket_a_dump_is_not_lost() {
    let Some(fixture) = QueueFixture::new_or_skip("a full /run") else {
        return;
    };
    let source = fixture.source("dump", MIB);
    let mut commands = Vec::new();
    if geteuid().is_root() {
        for options in ["ro", "nr_inodes=1", "nr_inodes=3"] {
            let script = format!("mount -t tmpfs -o {options} none /run && exec \"$0\" \"$@\"");
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", &script]).arg(&*MMAPCP);
            commands.push(command);
        }
    } else {
        commands.push(fixture.program_in(Path::new("/nonexistent/run")));
    }
    for (number, mut command) in commands.into_iter().enumerate() {
        let dest = fixture.dest(&number.to_string());
        let output = run(command.arg(QUEUE).arg(&source).arg(&dest));
        assert_exit(&output, 0);
        let stderr = lossy_string(&output.stderr);
        assert!(
            stderr.contains("warning: copying without a queue: "),
            "{stderr}"
        );
        assert_same_content(&source, &dest, "without a queue");
    }
}

#[test]
fn what_the_dead_and_other_versions_leave_blocks_nobody() {
    let Some(fixture) = QueueFixture::new_or_skip("old tickets") else {
        return;
    };
    let source = fixture.source("dump", MIB);
    let program = fixture.state.path().join("mmapcp");
    fs::create_dir_all(fixture.queue_dir()).unwrap();
    fs::create_dir_all(program.join("v2/q")).unwrap();
    for dir in [&program, &program.join("v1"), &fixture.queue_dir()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let names = [
        "a1.p-20.s1.i1.r1024.f-.k-.w-.m-.x00000001",
        ".new-1-00000002",
        "unknown",
    ];
    for name in names {
        fs::write(fixture.queue_dir().join(name), "x").unwrap();
    }
    assert_eq!(fixture.status(), Vec::<Value>::new());
    assert_eq!(
        fs::read_dir(fixture.queue_dir()).unwrap().count(),
        3,
        "only looked at"
    );
    let output = run(&mut fixture.copy(&source, "copy", &["--json"]));
    assert_exit(&output, 0);
    let stderr = lossy_string(&output.stderr);
    assert!(
        stderr.contains("/mmapcp/v2/q' belongs to another version"),
        "{stderr}"
    );
    let events = parse_events(&output);
    assert_eq!(only_event(&events, "queue")["state"], "copying");
    let left: Vec<_> = fs::read_dir(fixture.queue_dir()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn the_status_of_nobody_is_no_error() {
    let Some(fixture) = QueueFixture::new_or_skip("the status of queues") else {
        return;
    };
    let text = |options: &[&str]| {
        let output = run(fixture.program().args(options));
        assert_exit(&output, 0);
        lossy_string(&output.stdout)
    };
    assert_eq!(text(&["--queue-status"]), "no copies\n");
    assert_eq!(text(&["--queue-status", "--json"]), "");
    assert!(
        !fixture.state.path().join("mmapcp").exists(),
        "nothing is made"
    );
    let holder = fixture.holder();
    let table = text(&["--queue-status=q"]);
    assert!(table.starts_with("queue q\nPLACE  STATE "), "{table}");
    assert!(table.contains("copying"), "{table}");
    assert_eq!(text(&["--queue-status=other"]), "no copies\n");
    holder.end();
}

#[test]
fn a_queue_that_cannot_be_is_a_usage_error() {
    let long = format!("--queue={}", "q".repeat(65));
    for (options, words) in [
        (&["--queue="][..], "for '--queue': it takes"),
        (&["--queue=.q"], "for '--queue': it takes"),
        (&["--queue=a/b"], "for '--queue': it takes"),
        (&["--queue=a b"], "for '--queue': it takes"),
        (&[&long], "for '--queue': it takes"),
        (&["--queue", "--queue-priority=20"], "from -20"),
        (&["--queue", "--queue-priority=-21"], "from -20"),
        (&["--queue", "--queue-priority=high"], "from -20"),
        (&["--queue-priority=1"], "only with --queue"),
        (&["--queue-status=.."], "for '--queue-status': it takes"),
        (&["--queue-status"], "extra operand 'a'"),
        (&["--queue-status", "--queue"], "mutually exclusive"),
    ] {
        let output = run(mmapcp().args(options).args(["a", "b"]));
        assert_exit_in(&output, 1, words);
        let stderr = lossy_string(&output.stderr);
        assert!(stderr.contains(words), "{options:?}: {stderr}");
    }
}

// ---------------------------------------------------------------- killed at random

/// Copies that are in the queue at once.
const CROWD: usize = 8;

/// The longest time in which somebody waits and nobody has the turn, on a machine that may be busy otherwise.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// How many copies are killed: `MMAPCP_KILLS`, or 25.
fn kills() -> usize {
    let asked = std::env::var("MMAPCP_KILLS").ok();
    asked.map_or(25, |text| text.parse().expect("a number in MMAPCP_KILLS"))
}

/// A crowd of copies in one queue.
struct Crowd {
    fixture: QueueFixture,
    source: PathBuf,
    running: Vec<(Running, PathBuf)>,
    started: usize,
    whole: usize,
    /// The pids of those that had the turn at the last look.
    last_holders: Vec<i32>,
    /// Since when nobody has the turn.
    idle_since: Option<Instant>,
    longest_idle: Duration,
}

impl Crowd {
    fn start_one(&mut self) {
        self.started += 1;
        let name = self.started.to_string();
        let options: &[&str] = match self.started % 3 {
            0 => &["--limit-rate=4M"],
            1 => &["--limit-rate=4M", "--queue-priority=-3"],
            _ => &["--limit-rate=4M", "--queue-priority=3"],
        };
        let copy = Running::start(&mut self.fixture.copy(&self.source, &name, options));
        self.running.push((copy, self.fixture.dest(&name)));
    }

    /// Takes those out that have ended by themselves, who must have copied everything.
    fn reap(&mut self) {
        let mut at = 0;
        while at < self.running.len() {
            if !self.running[at].0.has_ended() {
                at += 1;
                continue;
            }
            let (copy, dest) = self.running.swap_remove(at);
            assert_exit(&copy.finish(), 0);
            assert_same_content(&self.source, &dest, "a copy of the crowd");
            fs::remove_file(dest).unwrap();
            self.whole += 1;
        }
    }

    /// Looks who has the turn: never two, and not for long nobody.
    fn look(&mut self) {
        let living: Vec<i32> = self
            .running
            .iter()
            .map(|(copy, _)| copy.pid().as_raw())
            .collect();
        let tickets = self.fixture.tickets();
        let pid = |name: &str| -> i32 {
            let field = name.split('.').find_map(|field| field.strip_prefix('i'));
            field.expect("a ticket").parse().unwrap()
        };
        let tickets = tickets.iter().map(|(name, size)| (pid(name), *size > 0));
        let tickets: Vec<_> = tickets.filter(|(pid, _)| living.contains(pid)).collect();
        let holders = tickets.iter().filter(|(_, has_turn)| *has_turn);
        let holders: Vec<i32> = holders.map(|(pid, _)| *pid).collect();
        // The tickets are not read at one moment. Who is seen twice had the turn from one look to the other.
        let both = holders.iter().filter(|pid| self.last_holders.contains(pid));
        assert!(both.count() <= 1, "two have the turn: {holders:?}");
        if holders.is_empty() && !tickets.is_empty() {
            let since = *self.idle_since.get_or_insert_with(Instant::now);
            self.longest_idle = self.longest_idle.max(since.elapsed());
            assert!(since.elapsed() < STUCK_AFTER, "stuck: {tickets:?}");
        } else {
            self.idle_since = None;
        }
        self.last_holders = holders;
    }

    fn kill_one(&mut self, dice: &mut SeededRng) {
        let holder = self
            .running
            .iter()
            .position(|(copy, _)| self.last_holders.contains(&copy.pid().as_raw()));
        let any = dice.below(self.running.len() as u64) as usize;
        let at = holder.filter(|_| dice.below(2) == 0).unwrap_or(any);
        let (copy, dest) = self.running.swap_remove(at);
        copy.signal(Signal::SIGKILL);
        copy.finish();
        let _ = fs::remove_file(dest);
    }
}

#[test]
fn killed_at_any_moment_a_queue_goes_on() {
    let Some(fixture) = QueueFixture::new_or_skip("a queue of copies that are killed") else {
        return;
    };
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let mut dice = SeededRng(seed);
    let mut crowd = Crowd {
        source: fixture.source("dump", 256 * KIB),
        fixture,
        running: Vec::new(),
        started: 0,
        whole: 0,
        last_holders: Vec::new(),
        idle_since: None,
        longest_idle: Duration::ZERO,
    };
    let mut killed = 0;
    while killed < kills() {
        while crowd.running.len() < CROWD {
            crowd.start_one();
        }
        let until = Instant::now() + Duration::from_micros(dice.below(60_000));
        while Instant::now() < until {
            crowd.look();
            sleep(Duration::from_millis(1));
        }
        crowd.reap();
        if !crowd.running.is_empty() {
            crowd.kill_one(&mut dice);
            killed += 1;
        }
    }
    while !crowd.running.is_empty() {
        crowd.look();
        crowd.reap();
        sleep(Duration::from_millis(1));
    }
    let mut out = std::io::stderr();
    let (whole, idle) = (crowd.whole, crowd.longest_idle);
    writeln!(
        out,
        "{killed} kills, {whole} copies: nobody had the turn for {idle:?} at most, seed {seed}"
    )
    .unwrap();
    let output = run(&mut crowd.fixture.copy(&crowd.source, "last", &[]));
    assert_exit(&output, 0);
    crowd.fixture.assert_empty();
}
