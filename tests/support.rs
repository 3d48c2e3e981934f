//! What the black-box tests share: scratch places, dump files, watched child processes, and the reader of `--json`.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mmapcp::sys::file_lease::is_open_elsewhere;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Whence, lseek64};
use serde_json::Value;
use tempfile::TempDir;

use crate::event_schema;
use crate::seeded_rng::scramble;
pub(crate) use crate::tested_programs::MMAPCP;

/// Every row of the engine table that `--engine` takes and that writes bytes.
pub(crate) const ENGINES: [&str; 7] = [
    "mmap",
    "splice",
    "direct",
    "dontcache",
    "copy-file-range",
    "sendfile",
    "buffered",
];

/// The user and group that own nothing (nobody).
pub(crate) const NOBODY: u32 = 65534;

/// A child that is still running after this long hangs. `forklat run` waits up to 60 s by itself, until writeback has settled:
/// beside builds on the same disk it did so in 2 of 60 runs.
const CHILD_TIMEOUT: Duration = Duration::from_secs(150);

/// The same for one that runs only while nobody else wants to: SCHED_IDLE has 3 shares of a CPU where others have 1024.
pub(crate) const IDLE_PRIORITY_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;

// ---------------------------------------------------------------- places

/// A command of the program under test, speaking the language that its messages are compared in.
pub(crate) fn mmapcp() -> Command {
    let mut command = Command::new(&*MMAPCP);
    command.env("LC_ALL", "C");
    command
}

/// A scratch directory in memory, removed when dropped.
pub(crate) fn shm_dir() -> TempDir {
    scratch(Path::new("/dev/shm"))
}

/// A scratch directory on the disk that holds the build, removed when dropped.
pub(crate) fn disk_dir() -> TempDir {
    scratch(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// A scratch directory below `parent` which other users may enter and write to.
pub(crate) fn scratch(parent: &Path) -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("mmapcp-test-")
        .tempdir_in(parent)
        .unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// True for root. Otherwise says what is not tested, or panics where the whole laboratory is demanded.
pub(crate) fn is_root_or_skip(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip(test, "it needs root");
    }
    root
}

/// Whether another user may enter a directory. A checkout in the home of root is closed; then the running test is skipped.
pub(crate) fn is_reachable_or_skip(test: &str, path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let closed = path.ancestors().skip(1).find(|dir| {
        let mode = fs::metadata(dir).unwrap().permissions().mode();
        mode & 0o001 == 0
    });
    if let Some(dir) = closed {
        skip(test, &format!("{} is closed to other users", dir.display()));
    }
    closed.is_none()
}

/// Whether a tool is in PATH or in one of the directories for administrators.
pub(crate) fn is_installed(tool: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
}

/// True where all tools are installed. Otherwise the running test is skipped, or fails where the whole laboratory is demanded.
pub(crate) fn has_tools_or_skip(test: &str, tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| !is_installed(tool));
    if let Some(tool) = missing {
        skip(test, &format!("{tool} is not installed"));
    }
    missing.is_none()
}

/// Counts the running test as skipped, for a reason. `test` names what is left out of it, or the test.
///
/// # Panics
/// With `MMAPCP_REQUIRE_LAB=1`.
pub(crate) fn skip(test: &str, why: &str) {
    if crate::harness::is_current_test(test) {
        crate::harness::skip(why.to_owned());
    } else {
        crate::harness::skip(format!("{test}: {why}"));
    }
}

/// Limits that are never reached: all those that this kernel can hold.
pub(crate) fn unreachable_limits() -> Vec<&'static str> {
    let mut options = vec![
        "--max-fork-latency=1h",
        "--max-wakeup-latency=1h",
        "--max-write-latency=1h",
    ];
    if fs::read("/proc/pressure/memory").is_ok() {
        options.push("--max-pressure=100");
    } else {
        crate::harness::skip_part("--max-pressure: this kernel has no PSI".to_owned());
    }
    options
}

// ---------------------------------------------------------------- files

/// Writes `extents` (offset, length) of a `size` byte file; the rest are holes. The bytes depend on the offset, so a chunk that
/// lands in the wrong place does not compare equal, and no aligned word of them is zero.
pub(crate) fn make_dump(path: &Path, size: u64, extents: &[(u64, u64)]) {
    let file = File::create(path).unwrap();
    for &(offset, len) in extents {
        write_noise(&file, offset, len);
    }
    file.set_len(size).unwrap();
}

/// A file of `size` bytes without holes.
pub(crate) fn make_dense_dump(path: &Path, size: u64) {
    make_dump(path, size, &[(0, size)]);
}

/// Writes the bytes that belong to `offset` of any dump.
pub(crate) fn write_noise(file: &File, offset: u64, len: u64) {
    let mut done = 0;
    while done < len {
        let chunk = noise(offset + done, (len - done).min(MIB));
        file.write_all_at(&chunk, offset + done).unwrap();
        done += chunk.len() as u64;
    }
}

/// `len` bytes of the endless noise that begins at offset 0: one random MiB over and over, each sector stamped with its number.
fn noise(offset: u64, len: u64) -> Vec<u8> {
    const SECTOR: u64 = 512;
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| {
        (0..MIB / 8)
            .flat_map(|word| scramble(word).to_ne_bytes())
            .collect()
    });
    let first = offset / SECTOR;
    let end = (offset + len).div_ceil(SECTOR);
    let mut bytes = Vec::with_capacity(((end - first) * SECTOR) as usize);
    for sector in first..end {
        let at = (sector * SECTOR % MIB) as usize;
        bytes.extend_from_slice(&scramble(!sector).to_ne_bytes());
        bytes.extend_from_slice(&pattern[at + 8..at + SECTOR as usize]);
    }
    bytes.drain(..(offset % SECTOR) as usize);
    bytes.truncate(len as usize);
    bytes
}

/// Where two files first differ, in words; `None` when they hold the same bytes.
pub(crate) fn first_difference(left: &Path, right: &Path) -> Option<String> {
    let (left, right) = (File::open(left).unwrap(), File::open(right).unwrap());
    let sizes = (
        left.metadata().unwrap().len(),
        right.metadata().unwrap().len(),
    );
    if sizes.0 != sizes.1 {
        return Some(format!("sizes {} and {}", sizes.0, sizes.1));
    }
    let (mut l, mut r) = (vec![0; MIB as usize], vec![0; MIB as usize]);
    for offset in (0..sizes.0).step_by(MIB as usize) {
        let len = (sizes.0 - offset).min(MIB) as usize;
        left.read_exact_at(&mut l[..len], offset).unwrap();
        right.read_exact_at(&mut r[..len], offset).unwrap();
        // Whole chunks first: the byte-wise search is slow in a debug build.
        if l[..len] != r[..len] {
            let at = l.iter().zip(&r).position(|(a, b)| a != b).unwrap();
            return Some(format!("first different byte at {}", offset + at as u64));
        }
    }
    None
}

/// Panics, naming the first differing byte, unless two files are equal.
pub(crate) fn assert_same_content(left: &Path, right: &Path, context: &str) {
    if let Some(difference) = first_difference(left, right) {
        panic!(
            "{context}: {} and {}: {difference}",
            left.display(),
            right.display()
        );
    }
}

/// The bytes that a file occupies.
pub(crate) fn allocated_bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// The bytes of a file in the page cache, without bringing any in.
pub(crate) fn cached_bytes(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    mmapcp::sys::residency::resident_bytes(&file, 0, len).unwrap()
}

/// A dump in memory, and a place for its copy on the disk.
pub(crate) struct CopyFixture {
    pub(crate) shm: TempDir,
    pub(crate) disk: TempDir,
}

impl CopyFixture {
    /// All of the dump is data.
    pub(crate) fn new(size: u64) -> CopyFixture {
        let pair = CopyFixture {
            shm: shm_dir(),
            disk: disk_dir(),
        };
        make_dense_dump(&pair.source(), size);
        pair
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.shm.path().join("dump")
    }

    pub(crate) fn destination(&self) -> PathBuf {
        self.disk.path().join("copy")
    }

    /// The copy, with these options.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let mut command = mmapcp();
        command.args(options);
        command.arg(self.source()).arg(self.destination());
        command
    }
}

// ---------------------------------------------------------------- processes

/// A child whose output is collected while it runs, and that does not outlive its test.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    words: String,
}

impl Running {
    /// Starts `command` in a process group of its own, so that what it starts in turn can be ended with it.
    pub(crate) fn start(command: &mut Command) -> Running {
        Running::start_to(command, Stdio::piped())
    }

    /// As `start`, with standard output going elsewhere.
    pub(crate) fn start_to(command: &mut Command, stdout: impl Into<Stdio>) -> Running {
        let words = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{words}: {error}"));
        let stdout = child.stdout.take().map(read_in_background);
        let stderr = child.stderr.take().map(read_in_background);
        Running {
            child,
            stdout,
            stderr,
            words,
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // A child that ended is a zombie until finish(): the signal never meets a stranger.
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end. A child that hangs is killed, and the test fails.
    pub(crate) fn finish(self) -> Output {
        self.finish_within(CHILD_TIMEOUT)
    }

    /// As `finish`, for a child that may well take longer than others.
    pub(crate) fn finish_within(mut self, timeout: Duration) -> Output {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > timeout {
                self.kill_group();
                panic!("hung: {}", self.words);
            }
            thread::sleep(Duration::from_millis(1));
        };
        let stdout = self
            .stdout
            .take()
            .map_or(Vec::new(), |reader| reader.join().unwrap());
        let stderr = self.stderr.take().unwrap().join().unwrap();
        Output {
            status,
            stdout,
            stderr,
        }
    }

    fn kill_group(&mut self) {
        // An error means that nobody is left in the group.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.stderr.is_some() && !self.has_ended() {
            self.kill_group();
        }
    }
}

/// Reads a stream to its end beside the test, so that the child never waits for a reader.
fn read_in_background(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Runs `command` to its end, or for a minute.
pub(crate) fn run(command: &mut Command) -> Output {
    Running::start(command).finish()
}

/// Makes `command` run as a user who owns nothing; std drops the supplementary groups with it.
pub(crate) fn as_nobody(command: &mut Command) -> &mut Command {
    command.uid(NOBODY).gid(NOBODY)
}

/// Copies with `--json` and `options`, expects success, and returns the events.
pub(crate) fn copy_json<S: AsRef<OsStr>>(
    options: &[S],
    source: &Path,
    destination: &Path,
) -> Vec<Value> {
    let output = run(mmapcp()
        .arg("--json")
        .args(options)
        .arg(source)
        .arg(destination));
    assert!(
        output.status.success(),
        "{} -> {}: {}",
        source.display(),
        destination.display(),
        describe_output(&output)
    );
    parse_events(&output)
}

/// Reads standard output as `--json` events, one on each line, and fails if one is not what the schema says.
pub(crate) fn parse_events(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).expect("JSON is UTF-8");
    text.lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(event["event"].is_string(), "an event has a name: {line}");
            assert_eq!(event["v"], 1, "{line}");
            event_schema::assert_valid(&event);
            event
        })
        .collect()
}

/// The only event of a name.
pub(crate) fn only_event<'a>(events: &'a [Value], name: &str) -> &'a Value {
    let all: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == name)
        .collect();
    assert_eq!(all.len(), 1, "one `{name}` event in {events:#?}");
    all[0]
}

/// The engines that moved bytes, from the `done` event.
pub(crate) fn engines_used(events: &[Value]) -> Vec<String> {
    only_event(events, "done")["engines"]
        .as_object()
        .expect("engines is an object")
        .keys()
        .cloned()
        .collect()
}

/// The program has ended with this exit status.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: impl Into<Option<i32>>) {
    assert_exit_in(output, code, "exit status");
}

/// The same, where `context` says of what the output is.
#[track_caller]
pub(crate) fn assert_exit_in(output: &Output, code: impl Into<Option<i32>>, context: impl Display) {
    let described = describe_output(output);
    assert_eq!(output.status.code(), code.into(), "{context}: {described}");
}

/// This signal has ended the program.
#[track_caller]
pub(crate) fn assert_signal(output: &Output, signal: i32) {
    assert_signal_in(output, signal, "signal");
}

/// The same, where `context` says of what the output is.
#[track_caller]
pub(crate) fn assert_signal_in(output: &Output, signal: i32, context: impl Display) {
    let described = describe_output(output);
    assert_eq!(
        output.status.signal(),
        Some(signal),
        "{context}: {described}"
    );
}

/// Status and both streams, for the message of a failed assertion.
pub(crate) fn describe_output(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        lossy_string(&output.stdout),
        lossy_string(&output.stderr)
    )
}

pub(crate) fn lossy_string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory that any user can enter, holding a program `mmapcp` that any user can run: the build may lie below `/root`.
pub(crate) fn public_bin_dir() -> (TempDir, PathBuf) {
    let dir = scratch(&std::env::temp_dir());
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    // A link where that is possible: the debug build is large.
    let program = bin.join("mmapcp");
    fs::hard_link(&*MMAPCP, &program)
        .or_else(|_| fs::copy(&*MMAPCP, &program).map(drop))
        .unwrap();
    (dir, bin)
}

// ---------------------------------------------------------------- a copy held in the middle

/// Whether a copy has written its first bytes: by then the plan is made. Reserved space alone has blocks, but no size.
pub(crate) fn has_written_bytes(destination: &Path) -> bool {
    fs::metadata(destination).is_ok_and(|meta| meta.len() > 0 && meta.blocks() > 0)
}

/// Starts a copy and stops it (SIGSTOP) once `destination` has bytes. `None` when the copy was over before it could be stopped; the caller tries again.
pub(crate) fn start_and_stop_midway(command: &mut Command, destination: &Path) -> Option<Running> {
    let mut running = Running::start(command);
    let started = Instant::now();
    while !has_written_bytes(destination) {
        if running.has_ended() {
            return None;
        }
        assert!(
            started.elapsed() < CHILD_TIMEOUT,
            "the destination never appeared: {command:?}"
        );
        thread::sleep(Duration::from_micros(50));
    }
    running.signal(Signal::SIGSTOP);
    wait_stopped(&running).then_some(running)
}

/// Waits until the kernel shows the process as stopped; false if it ended first.
fn wait_stopped(running: &Running) -> bool {
    let stat = format!("/proc/{}/stat", running.pid());
    loop {
        let line = fs::read_to_string(&stat).unwrap();
        // The state follows the name, which is in parentheses and may hold spaces.
        match line.rsplit_once(") ").unwrap().1.as_bytes()[0] {
            b'T' => return true,
            b'Z' | b'X' => return false,
            _ => thread::sleep(Duration::from_micros(100)),
        }
    }
}

/// Waits for what the program does by itself.
pub(crate) fn wait_until(what: &str, met: impl FnMut() -> bool) {
    wait_within(CHILD_TIMEOUT, what, met);
}

/// Waits until no other process has `path` open. One that another test is starting has inherited this process's descriptors
/// of files that were just made or read, until its exec closes them: on a loaded machine for some milliseconds.
pub(crate) fn wait_until_closed(path: &Path) {
    wait_until("closed by all others", || {
        let file = File::options().read(true).write(true).open(path);
        !is_open_elsewhere(file.expect("open the file")).expect("take a lease and give it back")
    });
}

/// The same for what may well take longer.
pub(crate) fn wait_within(timeout: Duration, what: &str, mut met: impl FnMut() -> bool) {
    let started = Instant::now();
    while !met() {
        assert!(started.elapsed() < timeout, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Tries `attempt` until it says that it met the moment it was looking for.
pub(crate) fn retry_until_met(what: &str, mut attempt: impl FnMut() -> bool) {
    assert!(
        (0..40).any(|_| attempt()),
        "{what}: never met in 40 attempts"
    );
}

/// Appends to a file, as a process that is still writing its dump would.
pub(crate) fn append(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

/// Bytes of a file that are no hole. Blocks would count what a file system needs for its own books, too: ext4 pays one for
/// a fifth extent, and how many there are depends on its free space.
pub(crate) fn data_bytes(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    let (mut at, mut sum) = (0, 0);
    while let Ok(start) = lseek64(&file, at, Whence::SeekData) {
        at = lseek64(&file, start, Whence::SeekHole).unwrap();
        sum += u64::try_from(at - start).unwrap();
    }
    sum
}
