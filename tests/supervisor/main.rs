//! Probers that are kept: they die, in every way, and others take their place; and nobody is left. And what a forked process
//! must not have.
//!
//! Who starts a keeper must have one thread, which a test of libtest has not: so this is a program of its own, which runs
//! itself again for each case.

mod forked_process;
mod proc_lookup;
#[path = "../required_lab.rs"]
mod required_lab;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Trial};
use mmapcp::observe::error::ObserveError;
use mmapcp::observe::observer_process::{ObserverProcess, ProcessControl};
use mmapcp::observe::probe::{ProbeSetup, ProberEvent, SupervisedProber, find_spec};
use mmapcp::observe::ring::Sample;
use mmapcp::sys::clock::MonotonicNs;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid, getpid};

use proc_lookup::{child, children, is_process_running, marked, process_exists, wait_until};

/// Set in the environment of a case: its directory.
const CASE_DIR_ENV: &str = "MMAPCP_TEST_SUPERVISOR";

/// A user that has no other process.
const UNUSED_UID: u32 = 3_735_928;

struct SupervisorCase {
    name: &'static str,
    /// What is done in a process of its own.
    body: fn(&Path),
    /// How that is started.
    command: fn(Command) -> Command,
    /// What is done beside it.
    beside: fn(&mut Child, &Path),
}

impl SupervisorCase {
    const fn new(name: &'static str, body: fn(&Path)) -> Self {
        Self {
            name,
            body,
            command: |command| command,
            beside: |child, _| assert!(child.wait().unwrap().success()),
        }
    }
}

static CASES: [SupervisorCase; 13] = [
    SupervisorCase::new("a_prober_that_is_killed_is_started_anew", three_deaths),
    SupervisorCase {
        command: ignoring_sigchld,
        ..SupervisorCase::new(
            "a_caller_that_ignores_sigchld_is_served_the_same",
            three_deaths,
        )
    },
    SupervisorCase::new(
        "a_keeper_that_is_killed_is_missed_and_takes_its_prober_along",
        keeper_killed,
    ),
    SupervisorCase {
        beside: kill_it,
        ..SupervisorCase::new("nobody_outlives_a_caller_that_is_killed", wait_to_be_killed)
    },
    SupervisorCase::new(
        "nobody_holds_a_stream_of_the_caller_and_a_panic_is_told",
        streams_and_panics,
    ),
    SupervisorCase::new(
        "a_prober_that_does_not_get_ready_is_waited_for_as_long_as_is_wanted",
        never_ready,
    ),
    SupervisorCase::new("a_first_start_that_fails_is_final", no_first),
    SupervisorCase {
        command: as_the_only_one,
        ..SupervisorCase::new("without_processes_each_start_says_so", no_processes)
    },
    SupervisorCase::new(
        "starts_that_fail_later_go_on_and_each_reason_is_told_once",
        no_next,
    ),
    SupervisorCase::new(
        "words_that_were_kept_from_a_worker_are_not_read_by_it",
        forked_process::read_kept_words,
    ),
    SupervisorCase::new(
        "words_that_were_kept_from_a_worker_are_not_unmapped_by_it",
        forked_process::drop_kept_words,
    ),
    SupervisorCase::new(
        "a_panic_of_a_worker_never_reaches_the_frames_of_its_parent",
        forked_process::panic_twice,
    ),
    SupervisorCase::new(
        "what_shall_end_with_the_process_is_started_by_its_main_thread",
        forked_process::start_from_a_thread,
    ),
];

/// Runs the case of the environment, or all that the command line asks for.
fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(CASE_DIR_ENV) {
        let name = std::env::args().nth(1);
        let case = CASES.iter().find(|case| Some(case.name) == name.as_deref());
        (case.unwrap().body)(Path::new(&dir));
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let trials = CASES
        .iter()
        .map(|case| Trial::ignorable_test(case.name, || Ok(run(case))));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs a case, of which nothing is left then.
fn run(case: &SupervisorCase) -> Completion {
    if case.name.starts_with("without_processes") && !geteuid().is_root() {
        required_lab::assert_may_skip("it needs root");
        return Completion::ignored_with("it needs root");
    }
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(case.name).env(CASE_DIR_ENV, dir.path());
    let mut child = (case.command)(command).spawn().unwrap();
    (case.beside)(&mut child, dir.path());
    // A child that was just being forked ends by itself.
    wait_until(&format!("{}: the end of all", case.name), || {
        marked(&mark(dir.path())).is_empty()
    });
    Completion::Completed
}

fn mark(dir: &Path) -> String {
    format!("{CASE_DIR_ENV}={}", dir.display())
}

/// Children of such a process cannot be waited for, but those of its keeper can.
fn ignoring_sigchld(command: Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' CHLD; exec \"$@\"", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    let set = command.get_envs();
    shell.envs(set.filter_map(|(name, value)| Some((name, value?))));
    shell
}

fn as_the_only_one(mut command: Command) -> Command {
    command.uid(UNUSED_UID);
    command
}

fn start(name: &str, dir: &Path) -> SupervisedProber {
    let setup = ProbeSetup {
        directory: Some(dir.to_owned()),
        ..ProbeSetup::default()
    };
    SupervisedProber::start(find_spec(name).unwrap(), &setup).unwrap()
}

fn start_and_wait_ready(name: &str, dir: &Path) -> SupervisedProber {
    let mut kept = start(name, dir);
    assert_eq!(kept.wait_ready(|| false), Ok(true));
    assert_eq!(kept.next_event(), None);
    kept
}

/// The keeper and the prober in charge.
fn supervisor_and_prober_pids(name: &str) -> (Pid, Pid) {
    let keeper = child(getpid(), &format!("{name}-keeper")).unwrap();
    (keeper, child(keeper, name).unwrap())
}

fn wait_for_news(kept: &mut SupervisedProber) -> ProberEvent {
    let mut news = None;
    wait_until("news", || {
        news = kept.next_event();
        news.is_some()
    });
    news.unwrap()
}

fn wait_for_sample(kept: &SupervisedProber, after: MonotonicNs) -> Sample {
    let mut sample = None;
    wait_until("an answer", || {
        sample = kept.pop().filter(|sample| sample.start > after);
        sample.is_some()
    });
    sample.unwrap()
}

fn died(why: impl Into<String>) -> ProberEvent {
    ProberEvent::Died { why: why.into() }
}

/// Three in a row, heard of by a thread of a process that has two.
fn three_deaths(dir: &Path) {
    for name in ["fork", "fsync"] {
        let mut kept = start_and_wait_ready(name, dir);
        let keeper = supervisor_and_prober_pids(name).0;
        let heard = thread::spawn(move || {
            for _ in 0..3 {
                let prober = supervisor_and_prober_pids(name).1;
                wait_for_sample(&kept, MonotonicNs::ZERO);
                let killed = MonotonicNs::now();
                kill(prober, Signal::SIGKILL).unwrap();
                let why = format!("{name}: was killed by signal 9");
                assert_eq!(wait_for_news(&mut kept), died(why));
                let dead = MonotonicNs::now();
                assert_eq!(wait_for_news(&mut kept), ProberEvent::Restarted);
                assert_eq!(kept.next_event(), None);
                assert_ne!(supervisor_and_prober_pids(name), (keeper, prober));
                // Asked by the new one, which has a schedule of its own: nothing is made up for.
                let sample = wait_for_sample(&kept, dead);
                assert!(sample.first_intended > killed, "{sample:?}");
                assert_eq!(kept.lost(), 0);
            }
            kept
        });
        let kept = heard.join().unwrap();
        let (same, prober) = supervisor_and_prober_pids(name);
        assert_eq!(same, keeper);
        drop(kept);
        for pid in [keeper, prober] {
            assert!(!process_exists(pid), "{name} is left");
        }
    }
}

fn keeper_killed(dir: &Path) {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut kept = start_and_wait_ready("fork", dir);
        let (keeper, prober) = supervisor_and_prober_pids("fork");
        kill(keeper, signal).unwrap();
        let why = format!("fork keeper: was killed by signal {}", signal as i32);
        assert_eq!(
            wait_for_news(&mut kept),
            ProberEvent::SupervisorDied { why }
        );
        wait_until("the end of the prober", || !is_process_running(prober));
        assert_eq!(kept.next_event(), None);
    }
}

fn wait_to_be_killed(dir: &Path) {
    let _kept = [
        start_and_wait_ready("fork", dir),
        start_and_wait_ready("fsync", dir),
    ];
    fs::write(dir.join("ready"), "").unwrap();
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn kill_it(caller: &mut Child, dir: &Path) {
    wait_until("the probers", || {
        assert_eq!(caller.try_wait().unwrap(), None);
        dir.join("ready").exists()
    });
    // And perhaps a child of the fork probe.
    assert!(marked(&mark(dir)).len() >= 5);
    caller.kill().unwrap();
    caller.wait().unwrap();
    wait_until("the end of all", || marked(&mark(dir)).is_empty());
}

/// Who reads the caller's output waits until nobody holds it.
fn streams_and_panics(dir: &Path) {
    let _kept = start_and_wait_ready("fsync", dir);
    let (keeper, prober) = supervisor_and_prober_pids("fsync");
    for pid in [keeper, prober] {
        for stream in 0..3 {
            let held = fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
            assert_eq!(held, Path::new("/dev/null"));
        }
    }
    let dies = |(), _: &ProcessControl| -> Result<(), ObserveError> { panic!("for a reason") };
    let mut worker = ObserverProcess::start("worker", (), dies).1.unwrap();
    let told = Err("worker: panicked: for a reason".to_owned());
    wait_until("its end", || {
        worker.check_alive().map_err(|e| e.to_string()) == told
    });
}

/// The program that it is to run stops it.
fn never_ready(_: &Path) {
    // /dev/shm may be mounted noexec.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    fs::write(&program, "#!/bin/sh\nkill -s STOP $PPID\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let setup = ProbeSetup {
        program,
        ..ProbeSetup::default()
    };
    let mut kept = SupervisedProber::start(find_spec("exec").unwrap(), &setup).unwrap();
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() == 20
    };
    assert_eq!(kept.wait_ready(stop), Ok(false));
    assert_eq!(asked.get(), 20);
}

fn nothing_in(dir: &Path) -> String {
    let dir = dir.display();
    format!("fsync: cannot create a file in '{dir}': No such file or directory")
}

fn no_first(dir: &Path) {
    let missing = dir.join("missing");
    let mut kept = start("fsync", &missing);
    let refused = kept.wait_ready(|| false).map_err(|e| e.to_string());
    assert_eq!(refused, Err(nothing_in(&missing)));
    drop(kept);
    assert_eq!(children(getpid()), []);
}

/// The caller is one process, its keeper the second, the prober the third, and the child that it forks to measure the fourth.
fn no_processes(_: &Path) {
    let limited = |processes| {
        setrlimit(Resource::RLIMIT_NPROC, processes, 4).unwrap();
        SupervisedProber::start(find_spec("fork").unwrap(), &ProbeSetup::default())
    };
    assert_eq!(limited(1).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    for (processes, what) in [(2, "start a process"), (3, "fork")] {
        let refused = limited(processes)
            .unwrap()
            .wait_ready(|| false)
            .unwrap_err();
        let want = format!("fork: cannot {what}: Resource temporarily unavailable");
        assert_eq!(refused.to_string(), want);
    }
    assert_eq!(limited(4).unwrap().wait_ready(|| false), Ok(true));
    assert_eq!(children(getpid()), []);
}

fn no_next(dir: &Path) {
    let on = dir.join("on");
    fs::create_dir(&on).unwrap();
    let mut kept = start_and_wait_ready("fsync", &on);
    fs::remove_dir(&on).unwrap();
    kill(supervisor_and_prober_pids("fsync").1, Signal::SIGKILL).unwrap();
    assert_eq!(
        wait_for_news(&mut kept),
        died("fsync: was killed by signal 9")
    );
    assert_eq!(wait_for_news(&mut kept), died(nothing_in(&on)));
    // More starts fail meanwhile: the pauses are 0.1, 0.2 and 0.4 s by now.
    thread::sleep(Duration::from_millis(500));
    assert_eq!(kept.next_event(), None);
    let since = MonotonicNs::now();
    fs::create_dir(&on).unwrap();
    assert_eq!(wait_for_news(&mut kept), ProberEvent::Restarted);
    wait_for_sample(&kept, since);
}
