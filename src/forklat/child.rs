//! A command that runs while we measure: found, started, waited for, and what it cost.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::unistd::{AccessFlags, Pid, access};

use crate::sys::clock::now;
use crate::sys::process::{Cost, reap};
use crate::sys::status;

/// How often the resident size of a child is read. A reading takes 20 us: 0.1 % of a CPU.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// CPU time and peak memory.
    pub cost: Cost,
    /// Just before it was started.
    pub started: u64,
    /// When it had ended.
    pub ended: u64,
    /// When fsync(2) of the file it made had come back, or why that failed. Without a file, as `ended`.
    pub durable: Result<u64, io::Error>,
    /// What it said on standard error, where that was asked for.
    pub said: String,
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub pid: Pid,
    ended: Receiver<io::Result<Ended>>,
}

impl Running {
    /// Starts it. A thread of its own waits for its end, so that this is stamped when it happens; then brings `made` to the
    /// disk, and stamps that.
    ///
    /// # Errors
    /// What fork(2) and execve(2) say.
    pub fn start(command: &mut Command, made: Option<PathBuf>) -> io::Result<Self> {
        let started = now();
        let mut child = command.spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let stderr = child.stderr.take();
        let said = stderr.map(|mut pipe| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                // What was read before an error is still worth showing.
                let _ = pipe.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        let (send, ended) = channel();
        let watch = watch_size(pid);
        thread::spawn(move || {
            let result = wait(pid, started, made, said, watch);
            // Nobody listens any more when the measurement was given up.
            let _ = send.send(result);
        });
        Ok(Self { pid, ended })
    }

    /// Waits for the end, at most so long.
    ///
    /// # Errors
    /// wait4(2)'s.
    pub fn wait(&self, at_most: Duration) -> io::Result<Option<Ended>> {
        match self.ended.recv_timeout(at_most) {
            Ok(ended) => ended.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("its waiter is gone")),
        }
    }
}

fn wait(
    pid: Pid,
    started: u64,
    made: Option<PathBuf>,
    said: Option<JoinHandle<String>>,
    watch: JoinHandle<u64>,
) -> io::Result<Ended> {
    let (status, mut cost) = reap(pid)?;
    let ended = now();
    let durable = match made {
        Some(path) => File::open(path)
            .and_then(|file| file.sync_all())
            .map(|()| now()),
        None => Ok(ended),
    };
    let seen = watch.join().unwrap_or(0);
    // Between fork and exec it was our copy, and wait4 counts that: only what is more than we have is its own.
    if cost.max_rss <= status::size("VmHWM").unwrap_or(0) && seen > 0 {
        cost.max_rss = seen;
    }
    Ok(Ended {
        status,
        cost,
        started,
        ended,
        durable,
        said: said.and_then(|said| said.join().ok()).unwrap_or_default(),
    })
}

/// Reads the peak resident size of a process until it ends.
fn watch_size(pid: Pid) -> JoinHandle<u64> {
    thread::spawn(move || {
        let mut seen = 0;
        while let Some(size) = status::size_of_process(pid, "VmHWM") {
            seen = seen.max(size);
            thread::sleep(LOOK_EVERY);
        }
        seen
    })
}

/// The exit status that a shell would give.
#[must_use]
pub fn shell_status(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}

/// Finds a program as execvp(3) does.
///
/// # Errors
/// ENOENT, or EACCES where there is a file of that name that cannot be run.
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
