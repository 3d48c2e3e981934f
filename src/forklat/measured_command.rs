//! A command that runs during a measurement: finds it, starts it, waits for it, and reads what it cost.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, fstatfs};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{AccessFlags, Pid, access};

use crate::sys::clock::MonotonicNs;
use crate::sys::proc_status;
use crate::sys::process::{ProcessUsage, reap};
use crate::sys::residency::{count_pages, page_size};

/// Interval between two readings of a child's resident size. One reading takes 20 us, which is 0.1 % of a CPU.
const RSS_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Longest wait for the rest of the output after the end of a command (100 ms). A daemon that the command started may
/// keep it open for ever.
const OUTPUT_DRAIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Bytes that are asked about at once when unwritten pages are counted (64 MiB), which took 1.1 ms (cachestat(2) counts
/// 17 ms a GiB on 6.18).
const COUNTED_WINDOW: u64 = 64 << 20;

/// How a command ended, and what it cost.
#[derive(Debug)]
pub struct FinishedCommand {
    /// The exit status of the command.
    pub status: ExitStatus,
    /// The CPU time and the peak memory of the command.
    pub cost: ProcessUsage,
    /// The time just before the command was started.
    pub start: MonotonicNs,
    /// The time at which the command had ended.
    pub end: MonotonicNs,
    /// The time at which fsync(2) of the file that the command made returned, or its error. Without a file, this is
    /// `end`.
    pub durable: Result<MonotonicNs, io::Error>,
    /// The bytes of the file that were not yet written to the disk when the command had ended; `None` if there is no
    /// file, or the kernel does not tell.
    pub dirty_at_exit: Option<u64>,
    /// The text that the command wrote to standard output, if it was piped.
    pub stdout_text: String,
    /// The text that the command wrote to standard error, if it was piped.
    pub stderr_text: String,
    /// Whether processes of its group still ran when it ended. They were killed. This is checked only if the command
    /// made a file.
    pub left_running: bool,
}

impl FinishedCommand {
    /// Returns the time at which the file was durable, or at which the command ended if fsync(2) failed.
    #[must_use]
    pub fn durable_or_ended(&self) -> MonotonicNs {
        *self.durable.as_ref().unwrap_or(&self.end)
    }
}

/// A command that is running now.
#[derive(Debug)]
pub struct RunningCommand {
    /// The process number of the command.
    pub pid: Pid,
    exited: Arc<OnceLock<MonotonicNs>>,
    ended: Receiver<io::Result<FinishedCommand>>,
}

/// The output of a command that is being read, if it is piped.
struct Output {
    stdout: Option<Receiver<Vec<u8>>>,
    stderr: Option<Receiver<Vec<u8>>>,
}

impl RunningCommand {
    /// Starts a command. A thread waits for its end, so that the time is taken when it happens; then the thread calls
    /// fsync(2) on the file `made` and takes the time of that. A command that makes a file must lead a process group of
    /// its own: processes that it leaves running are killed, since they would run on during the next measurement.
    ///
    /// # Errors
    /// The errors of fork(2) and execve(2).
    pub fn start(command: &mut Command, made: Option<PathBuf>) -> io::Result<Self> {
        let start = MonotonicNs::now();
        let mut child = command.spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let output = Output {
            stdout: child.stdout.take().map(listen),
            stderr: child.stderr.take().map(listen),
        };
        let (send, ended) = channel();
        let watch = watch_size(pid);
        let exited = Arc::new(OnceLock::new());
        let exit = Arc::clone(&exited);
        thread::spawn(move || {
            let result = wait_exit(pid, &exit)
                .and_then(|end| finish(pid, start..end, made.as_deref(), output, watch));
            // The receiver is gone if the measurement was given up, so the error is ignored.
            let _ = send.send(result);
        });
        Ok(Self { pid, exited, ended })
    }

    /// Returns the time at which the command exited, or `None` while it runs. Its file may not be durable yet.
    #[must_use]
    pub fn exited_at(&self) -> Option<MonotonicNs> {
        self.exited.get().copied()
    }

    /// Waits until the command has ended, for `at_most`. Returns `None` if it has not ended by then.
    ///
    /// # Errors
    /// The error of wait4(2).
    pub fn wait(&self, at_most: Duration) -> io::Result<Option<FinishedCommand>> {
        match self.ended.recv_timeout(at_most) {
            Ok(ended) => ended.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the thread that waits for it has ended"))
            }
        }
    }
}

/// Waits until a process has exited, and publishes the time. The process is not reaped, so that its number, and that of
/// its group, cannot be reused meanwhile.
fn wait_exit(pid: Pid, exited: &OnceLock<MonotonicNs>) -> io::Result<MonotonicNs> {
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    Ok(*exited.get_or_init(MonotonicNs::now))
}

/// Makes the file of a command that has exited durable, kills what the command left running, and reaps it.
fn finish(
    pid: Pid,
    ran: Range<MonotonicNs>,
    made: Option<&Path>,
    output: Output,
    watch: JoinHandle<u64>,
) -> io::Result<FinishedCommand> {
    let file = made.map(File::open);
    let dirty_at_exit = file
        .as_ref()
        .and_then(|file| unwritten(file.as_ref().ok()?));
    let durable = match file {
        Some(file) => file
            .and_then(|file| file.sync_all())
            .map(|()| MonotonicNs::now()),
        None => Ok(ran.end),
    };
    let left_running = made.is_some() && end_group(pid);
    let (status, mut cost) = reap(pid)?;
    let seen = watch.join().unwrap_or(0);
    // Between fork and exec the child was a copy of this process, which wait4(2) counts. Only a peak above that of this
    // process is the command's own.
    if cost.max_rss <= proc_status::read_bytes("VmHWM").unwrap_or(0) && seen > 0 {
        cost.max_rss = seen;
    }
    Ok(FinishedCommand {
        status,
        cost,
        start: ran.start,
        end: ran.end,
        durable,
        dirty_at_exit,
        stdout_text: output.stdout.map(collect_text).unwrap_or_default(),
        stderr_text: output.stderr.map(collect_text).unwrap_or_default(),
        left_running,
    })
}

/// Returns the bytes of a file that are dirty or under writeback; `None` before Linux 6.5, and on overlayfs, whose files
/// have no pages of their own.
fn unwritten(file: &File) -> Option<u64> {
    if fstatfs(file).ok()?.filesystem_type() == OVERLAYFS_SUPER_MAGIC {
        return None;
    }
    let size = file.metadata().ok()?.len();
    let starts = (0..size).step_by(COUNTED_WINDOW as usize);
    let counted = starts.map(|start| {
        let length = COUNTED_WINDOW.min(size - start);
        Some(count_pages(file, start, length).ok()?.unwritten * page_size())
    });
    counted.sum()
}

/// Reads from a pipe and sends on what arrives.
fn listen(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, said) = channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        // The bytes that were read before an error are still shown.
        while let Ok(n @ 1..) = pipe.read(&mut bytes) {
            if send.send(bytes[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    said
}

fn collect_text(said: Receiver<Vec<u8>>) -> String {
    let mut bytes = Vec::new();
    let deadline = Instant::now() + OUTPUT_DRAIN_TIMEOUT;
    while let Ok(more) = said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        bytes.extend(more);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Kills the processes in the group of a process that has ended. Returns whether any were running.
fn end_group(leader: Pid) -> bool {
    let others = fs::read_dir("/proc").into_iter().flatten().flatten();
    let any = others.into_iter().any(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = proc_status::stat_fields(&stat);
        let ended = matches!(fields.next(), Some("Z" | "X") | None);
        !ended && fields.nth(1) == Some(&leader.to_string())
    });
    // The leader is in the group until it is reaped, so the group exists.
    let _ = killpg(leader, Signal::SIGKILL);
    any
}

/// Starts a thread that reads the peak resident size of a process until it ends.
fn watch_size(pid: Pid) -> JoinHandle<u64> {
    thread::spawn(move || {
        let mut seen = 0;
        while let Some(size) = proc_status::read_bytes_of(pid, "VmHWM") {
            seen = seen.max(size);
            thread::sleep(RSS_POLL_INTERVAL);
        }
        seen
    })
}

/// Returns the exit status as a shell would give it.
#[must_use]
pub fn shell_status(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}

/// Finds a program in the way that execvp(3) does.
///
/// # Errors
/// ENOENT, or EACCES if there is a file of that name that cannot be run.
pub fn find(name: &OsStr) -> io::Result<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return runnable(Path::new(name)).map(|()| name.into());
    }
    let mut error = io::Error::from_raw_os_error(libc::ENOENT);
    if name.is_empty() {
        return Err(error);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    for dir in std::env::split_paths(&path) {
        let candidate = dir.join(name);
        match runnable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => error = e,
            Err(_) => {}
        }
    }
    Err(error)
}

fn runnable(path: &Path) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    access(path, AccessFlags::X_OK)?;
    if meta.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(())
}
