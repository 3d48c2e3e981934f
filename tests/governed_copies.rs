//! Copies held to what others feel: what watches them, that it watches, and what happens where it cannot.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpid, mkfifo};

use crate::forklat::children;
use crate::support::*;

/// The beginning of the warning that probers may be swapped out.
const UNLOCKED_WARNING: &str = "warning: cannot lock the probers in memory";

/// A user that has no other process.
const UNUSED_UID: u32 = 3_735_927;

impl CopyFixture {
    /// A copy that is refused before anything is written.
    fn assert_refused(&self, command: &mut Command, why: &str) {
        let output = run(command);
        assert_exit(&output, 1);
        assert_eq!(lossy_string(&output.stderr), format!("mmapcp: {why}\n"));
        assert!(!self.destination().exists());
    }
}

/// The keepers of a copy, by the names that ps shows.
fn keepers(of: Pid) -> Vec<(Pid, String)> {
    let all = children(of).into_iter();
    let mut all: Vec<_> = all.map(|child| (child.pid, child.name)).collect();
    all.retain(|(_, name)| name.ends_with("-keeper"));
    all.sort_by(|one, other| one.1.cmp(&other.1));
    all
}

/// The prober that a keeper has now.
fn prober(keeper: Pid, name: &str) -> Option<Pid> {
    let found = children(keeper)
        .into_iter()
        .find(|child| child.name == name);
    found.map(|child| child.pid)
}

fn wait_while_running(what: &str, running: &mut Running, mut met: impl FnMut() -> bool) {
    wait_until(what, || {
        assert!(!running.has_ended(), "ended before: {what}");
        met()
    });
}

#[test]
fn every_engine_copies_the_same_when_it_is_governed() {
    for size in [0, 1, 4097, 3 * MIB + 5] {
        let pair = CopyFixture::new(size);
        for engine in ENGINES.iter().filter(|name| **name != "copy-file-range") {
            let engine_option = format!("--engine={engine}");
            let options = [&unreachable_limits()[..], &[&engine_option]].concat();
            let output = run(&mut pair.command(&options));
            assert_exit(&output, 0);
            assert_eq!(said(&output), "", "{}", describe_output(&output));
            assert_same_content(&pair.source(), &pair.destination(), engine);
            fs::remove_file(pair.destination()).unwrap();
        }
    }
}

#[test]
fn a_tree_is_governed_as_one() {
    let (shm, disk) = (shm_dir(), disk_dir());
    for file in 0..40_u64 {
        make_dense_dump(
            &shm.path().join(file.to_string()),
            if file % 2 == 0 { 0 } else { file * 5000 },
        );
    }
    let destination = disk.path().join("copy");
    let mut command = mmapcp();
    command.args(unreachable_limits()).args(["-r", "--jobs=4"]);
    let output = run(command.arg(shm.path()).arg(&destination));
    assert_exit(&output, 0);
    for file in 0..40 {
        let name = file.to_string();
        assert_same_content(&shm.path().join(&name), &destination.join(&name), &name);
    }
}

#[test]
fn a_prober_that_dies_is_said_and_another_takes_its_place() {
    let pair = CopyFixture::new(8 * MIB);
    for (option, name) in [
        ("--max-fork-latency", "fork"),
        ("--max-wakeup-latency", "wakeup"),
        ("--max-write-latency", "fsync"),
    ] {
        let target = format!("{option}=1h");
        let mut running = Running::start(&mut pair.command(&[&target, "--limit-rate=2M"]));
        let (pid, mut victim) = (running.pid(), None);
        wait_while_running("a prober, and bytes", &mut running, || {
            let keeper = keepers(pid).first().map(|(keeper, _)| *keeper);
            victim = keeper.and_then(|keeper| prober(keeper, name));
            victim.is_some() && has_written_bytes(&pair.destination())
        });
        kill(victim.unwrap(), Signal::SIGKILL).unwrap();
        let output = running.finish();
        assert_exit(&output, 0);
        assert_eq!(
            said(&output),
            format!(
                "mmapcp: warning: {option}: the prober died ({name}: was killed by signal 9); the copy slows down until a new prober answers\n\
                 mmapcp: {option}: a new prober answers\n"
            )
        );
        assert_same_content(&pair.source(), &pair.destination(), option);
        fs::remove_file(pair.destination()).unwrap();
    }
}

#[test]
fn without_a_supervisor_the_copy_goes_on_at_the_minimum_rate_or_is_given_up() {
    let pair = CopyFixture::new(5 * MIB);
    for patience in [None, Some("--give-up-after=200ms")] {
        let mut options = vec!["--max-fork-latency=1h", "--limit-rate=2M"];
        options.extend(patience);
        let mut running = Running::start(&mut pair.command(&options));
        let (pid, mut found) = (running.pid(), Vec::new());
        wait_while_running("a keeper, and bytes", &mut running, || {
            found = keepers(pid);
            !found.is_empty() && has_written_bytes(&pair.destination())
        });
        kill(found[0].0, Signal::SIGKILL).unwrap();
        let output = running.finish();
        let stderr = said(&output);
        let lost = "mmapcp: warning: --max-fork-latency: no prober can be started any more (fork keeper: was killed by signal 9); the copy continues at the slowest rate\n";
        assert!(stderr.starts_with(lost), "{stderr}");
        match patience {
            None => {
                assert!(output.status.success() && stderr == lost, "{stderr}");
                assert_same_content(&pair.source(), &pair.destination(), "the lowest rate");
            }
            Some(_) => {
                assert_eq!(output.status.code(), Some(1), "{stderr}");
                assert!(
                    stderr.contains("mmapcp: giving up after 200ms at "),
                    "{stderr}"
                );
            }
        }
        fs::remove_file(pair.destination()).unwrap();
    }
}

#[test]
fn a_prober_that_cannot_start_is_an_error_before_a_byte() {
    if !is_root_or_skip("a_prober_that_cannot_start_is_an_error_before_a_byte") {
        return;
    }
    let (open, bin) = public_bin_dir();
    let pair = CopyFixture::new(4096);
    for dir in [&pair.shm, &pair.disk] {
        open_to_all(dir.path());
    }
    let mut command = limited("--nproc=1:1", &bin);
    command.arg("--max-fork-latency=5ms");
    pair.assert_refused(
        command.args([pair.source(), pair.destination()]),
        "--max-fork-latency: cannot start a prober: Resource temporarily unavailable",
    );
    // A rate needs no prober, but a thread that holds it.
    let mut command = limited("--nproc=1:1", &bin);
    command.args(["--json", "--limit-rate=1M"]);
    let output = run(command.args([pair.source(), pair.destination()]));
    assert_exit(&output, 1);
    let why = "cannot start a thread to hold the limits: Resource temporarily unavailable";
    assert_eq!(lossy_string(&output.stderr), format!("mmapcp: {why}\n"));
    let events = parse_events(&output);
    assert_eq!(only_event(&events, "error")["error"], why);
    assert_eq!(only_event(&events, "total")["errors"], 1);
    assert!(!pair.destination().exists());
    drop(open);
}

#[test]
fn probers_that_may_be_swapped_out_are_said_once() {
    let test = "probers_that_may_be_swapped_out_are_said_once";
    if !is_root_or_skip(test) {
        return;
    }
    let (open, bin) = public_bin_dir();
    let pair = CopyFixture::new(4096);
    if !is_reachable_or_skip(test, pair.disk.path()) {
        return;
    }
    for dir in [&pair.shm, &pair.disk] {
        open_to_all(dir.path());
    }
    let latencies = ["--max-fork-latency=1h", "--max-write-latency=1h"];
    let mut command = limited("--memlock=65536:65536", &bin);
    command.args(latencies);
    let output = run(command.args([pair.source(), pair.destination()]));
    assert_exit(&output, 0);
    let want = format!(
        "mmapcp: {UNLOCKED_WARNING} (Cannot allocate memory): their own page faults may count as latency; raise RLIMIT_MEMLOCK\n"
    );
    assert_eq!(lossy_string(&output.stderr), want);
    if may_lock() {
        let output = run(&mut pair.command(&latencies));
        assert_eq!(lossy_string(&output.stderr), "");
    }
    drop(open);
}

/// CAP_IPC_LOCK: capabilities(7).
fn may_lock() -> bool {
    let mask = status(getpid(), "CapEff:");
    mask & (1 << 14) != 0
}

/// A field of proc_pid_status(5) in hexadecimal digits.
fn status(pid: Pid, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let digits = lines.find_map(|line| line.strip_prefix(field)).unwrap();
    u64::from_str_radix(digits.trim(), 16).unwrap()
}

/// What is said; but not that this user may lock no memory.
fn said(output: &Output) -> String {
    let text = lossy_string(&output.stderr);
    let lines = text.split_inclusive('\n');
    lines
        .filter(|line| !line.contains(UNLOCKED_WARNING))
        .collect()
}

/// The program in `bin`, by a user who has nothing else and is held to `limit`.
fn limited(limit: &str, bin: &Path) -> Command {
    let user = UNUSED_UID.to_string();
    let mut command = Command::new("prlimit");
    command
        .env("LC_ALL", "C")
        .args([limit, "setpriv", "--clear-groups"])
        .args(["--reuid", &user, "--regid", &user])
        .arg(bin.join("mmapcp"));
    command
}

#[test]
fn a_destination_without_a_file_system_has_no_write_latency() {
    let pair = CopyFixture::new(4096);
    let mut command = mmapcp();
    command.arg("--max-write-latency=5ms").arg(pair.source());
    pair.assert_refused(
        command.arg("/dev/null"),
        "--max-write-latency: '/dev/null' is a pipe or a device, which has no file system to measure",
    );
    let fifo = pair.disk.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    // Standard output is a pipe here.
    for dest in [&fifo, Path::new("/dev/stdout")] {
        let mut command = mmapcp();
        command.arg("--max-write-latency=5ms").arg(pair.source());
        pair.assert_refused(
            command.arg(dest),
            &format!(
                "--max-write-latency: '{}' is a pipe or a device, which has no file system to measure",
                dest.display()
            ),
        );
    }
    let mut command = mmapcp();
    command.arg("--max-write-latency=5ms").arg(pair.source());
    let missing = pair.disk.path().join("missing/copy");
    let output = run(command.arg(&missing));
    assert_exit(&output, 1);
    assert!(
        lossy_string(&output.stderr).contains("No such file or directory"),
        "{}",
        describe_output(&output)
    );
}

/// The copy is in the way of nobody's writes there, so it goes on.
#[test]
fn that_writes_wait_for_nothing_in_memory_is_said() {
    let pair = CopyFixture::new(4096);
    let (memory, disk) = (pair.shm.path(), pair.disk.path());
    let (to_memory, to_disk) = (disk.join("link"), memory.join("link"));
    symlink(memory.join("new"), &to_memory).unwrap();
    symlink(disk.join("new"), &to_disk).unwrap();
    for (dest, is_told) in [
        (memory.join("copy"), true),
        (disk.join("copy"), false),
        (to_memory, true),
        (to_disk, false),
    ] {
        let mut command = mmapcp();
        command.env("POSIXLY_CORRECT", "1");
        command.arg("--max-write-latency=1h").arg(pair.source());
        let output = run(command.arg(&dest));
        assert_exit(&output, 0);
        let want = if is_told {
            format!(
                "mmapcp: warning: --max-write-latency: '{}' is on tmpfs, which is in memory: no write waits for a disk there, so this limit has no effect\n",
                memory.display()
            )
        } else {
            String::new()
        };
        assert_eq!(said(&output), want, "{}", dest.display());
        assert_same_content(&pair.source(), &dest, "it is copied all the same");
    }
}

#[test]
fn without_psi_there_is_no_limit_on_pressure() {
    let pair = CopyFixture::new(4096);
    let hidden = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs none /proc/pressure && exec \"$@\"";
        command
            .env("LC_ALL", "C")
            .args(["-m", "sh", "-c", script, "sh"])
            .args(arguments);
        command
    };
    if !run(&mut hidden(&["true"])).status.success() {
        return skip(
            "without_psi_there_is_no_limit_on_pressure",
            "no mount namespaces here, or no PSI",
        );
    }
    let mut command = hidden(&[&*MMAPCP, "--max-pressure=10"]);
    command.arg(pair.source()).arg(pair.destination());
    pair.assert_refused(
        &mut command,
        "--max-pressure: no /proc/pressure: the kernel is older than 4.20, built without PSI, or started with psi=0",
    );
}

#[test]
fn signals_end_a_copy_that_has_not_begun_and_nobody_is_left() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let pair = CopyFixture::new(8 * MIB);
        let mut running =
            Running::start(&mut pair.command(&["--max-fork-latency=1h", "--limit-rate=2M"]));
        let (pid, mut all) = (running.pid(), Vec::new());
        wait_while_running("a prober", &mut running, || {
            all = keepers(pid).into_iter().map(|(keeper, _)| keeper).collect();
            let probers: Vec<Pid> = all.iter().filter_map(|pid| prober(*pid, "fork")).collect();
            all.extend(&probers);
            !probers.is_empty()
        });
        running.signal(signal);
        let output = running.finish();
        assert_signal(&output, signal as i32);
        wait_until("the end of all", || !all.iter().any(|pid| is_alive(*pid)));
    }
}

/// Who ends a service sends SIGTERM to all of its processes.
#[test]
fn a_keeper_that_is_ended_with_the_copy_is_no_news() {
    let pair = CopyFixture::new(0);
    let fifo = pair.shm.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    // So that both ends are open, and nothing comes.
    let held = fs::File::options().read(true).write(true).open(&fifo);
    let mut command = mmapcp();
    command.arg("--max-fork-latency=1h");
    let mut running = Running::start(command.arg(&fifo).arg(pair.destination()));
    let (pid, mut found) = (running.pid(), Vec::new());
    wait_while_running("a keeper, and a copy", &mut running, || {
        found = keepers(pid);
        !found.is_empty() && pair.destination().exists()
    });
    running.signal(Signal::SIGTERM);
    // It was taken: what dies from here on dies with the copy.
    wait_until("the signal is taken", || !is_pending(pid, Signal::SIGTERM));
    let _ = kill(found[0].0, Signal::SIGTERM);
    let output = running.finish();
    assert_signal(&output, Signal::SIGTERM as i32);
    let stderr = lossy_string(&output.stderr);
    assert!(!stderr.contains("prober"), "{stderr}");
    drop(held);
}

/// Whether a signal to the whole process waits to be taken: proc_pid_status(5).
fn is_pending(pid: Pid, signal: Signal) -> bool {
    status(pid, "ShdPnd:") & (1 << (signal as i32 - 1)) != 0
}

#[test]
fn idle_priority_applies_to_the_copier_and_not_to_the_probers() {
    let pair = CopyFixture::new(8 * MIB);
    let options = ["--idle", "--max-fork-latency=1h", "--limit-rate=2M"];
    let mut running = Running::start(&mut pair.command(&options));
    let (pid, mut watching) = (running.pid(), None);
    wait_within(IDLE_PRIORITY_TIMEOUT, "a prober, and bytes", || {
        assert!(!running.has_ended(), "ended before a prober, and bytes");
        let keeper = keepers(pid).first().map(|(keeper, _)| *keeper);
        watching = keeper.and_then(|keeper| prober(keeper, "fork"));
        watching.is_some() && has_written_bytes(&pair.destination())
    });
    assert_eq!(standing(pid), (19, libc::SCHED_IDLE));
    assert_eq!(io_class(pid), "idle");
    let watching = watching.unwrap();
    let ours = getpid();
    assert_eq!(standing(watching), standing(ours));
    assert_eq!(io_class(watching), io_class(ours));
    running.signal(Signal::SIGTERM);
    running.finish_within(IDLE_PRIORITY_TIMEOUT);
}

/// Nice value and policy: proc(5).
fn standing(pid: Pid) -> (i32, i32) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    // The fields 19 and 41, of which the first two are gone.
    (fields[16].parse().unwrap(), fields[38].parse().unwrap())
}

fn io_class(pid: Pid) -> String {
    let output = run(Command::new("ionice").arg("-p").arg(pid.to_string()));
    lossy_string(&output.stdout).trim().to_owned()
}

/// A zombie that nobody has reaped yet is not.
fn is_alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}
