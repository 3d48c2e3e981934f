//! The idle processes: started one by one, each reports when it is ready, and all are killed when [`IdleProcesses`] is
//! dropped.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::RunControl;
use super::child_status::died;
use super::process_limits;
use crate::forklat::error::{ForklatError, failed};
use crate::sys::{clock, process};

/// Longest time that a process may take to become ready, on a machine in difficulty (60 s).
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval, in milliseconds, between two checks of a process that has not reported yet.
const POLL_TIMEOUT_MS: u16 = 100;

/// Starts one process. Returns the time before that, and the process, which will write the time at which it is ready
/// (eight bytes) to the pipe.
pub(super) type Start<'a> = dyn FnMut(&PipeWriter) -> io::Result<(u64, Pid)> + 'a;

/// A child process, which is killed and reaped at the latest when this guard is dropped.
#[derive(Debug)]
pub(super) struct ChildGuard(Option<Pid>);

impl ChildGuard {
    pub(super) fn new(pid: Pid) -> Self {
        Self(Some(pid))
    }

    /// Returns how the child ended, or `None` if it still runs.
    pub(super) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let (status, _) = process::try_reap(self.0?).ok()??;
        self.0 = None;
        Some(status)
    }

    /// Kills the child and waits for its end.
    fn stop(mut self) -> io::Result<()> {
        match self.0.take() {
            Some(pid) => {
                kill(pid, Signal::SIGKILL)?;
                process::reap(pid).map(drop)
            }
            None => Ok(()),
        }
    }

    fn kill(&self) {
        if let Some(pid) = self.0 {
            // The child is not reaped yet, so its number cannot belong to another process. The error is ignored.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.kill();
        if let Some(pid) = self.0.take() {
            let _ = process::reap(pid);
        }
    }
}

/// The idle processes and the way to start more.
pub(super) struct IdleProcesses<'a> {
    standing: Vec<ChildGuard>,
    start: Box<Start<'a>>,
    reader: PipeReader,
    writer: PipeWriter,
    caller: &'a RunControl<'a>,
}

impl<'a> IdleProcesses<'a> {
    pub(super) fn new(
        caller: &'a RunControl<'a>,
        start: impl FnMut(&PipeWriter) -> io::Result<(u64, Pid)> + 'a,
    ) -> Result<Self, ForklatError> {
        let (reader, writer) = io::pipe().map_err(|e| failed("make a pipe", e))?;
        Ok(Self {
            standing: Vec::new(),
            start: Box::new(start),
            reader,
            writer,
            caller,
        })
    }

    /// Returns the number of idle processes.
    pub(super) fn len(&self) -> usize {
        self.standing.len()
    }

    /// Starts processes until there are `n`.
    pub(super) fn grow_to(&mut self, n: usize) -> Result<(), ForklatError> {
        while self.len() < n {
            let (child, _) = self.start_one()?;
            self.standing.push(child);
        }
        Ok(())
    }

    /// Ends processes until `n` are left. All are killed before the first is waited for, so that they end in parallel.
    pub(super) fn shrink_to(&mut self, n: usize) {
        let ending = self.standing.split_off(n.min(self.len()));
        ending.iter().for_each(ChildGuard::kill);
    }

    /// Fails if any idle process has exited, since the measurement would no longer be at N.
    pub(super) fn check_all_alive(&self) -> Result<(), ForklatError> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::All, flags) {
            Ok(WaitStatus::StillAlive) => Ok(()),
            Ok(_) => {
                let message = "one of the idle processes was killed (by the OOM killer?)";
                Err(ForklatError::Refused(message.into()))
            }
            Err(errno) => Err(failed("check the idle processes", errno)),
        }
    }

    /// Starts and stops one more process. Returns the nanoseconds from before the start until it is ready, and from the
    /// kill until it is reaped.
    pub(super) fn start_and_stop_one(&mut self) -> Result<(u64, u64), ForklatError> {
        let (child, started) = self.start_one()?;
        let began = clock::monotonic_ns();
        child.stop().map_err(|e| failed("end a process", e))?;
        Ok((started, clock::monotonic_ns() - began))
    }

    fn start_one(&mut self) -> Result<(ChildGuard, u64), ForklatError> {
        self.caller.check()?;
        let (began, pid) = (self.start)(&self.writer).map_err(|e| self.refused(e))?;
        let mut child = ChildGuard::new(pid);
        let stands = self.wait_for(&mut child)?;
        Ok((child, stands.saturating_sub(began)))
    }

    /// Returns the time at which `child` was ready, read by the child itself. The delay until this process wakes up is
    /// not counted.
    fn wait_for(&mut self, child: &mut ChildGuard) -> Result<u64, ForklatError> {
        let since = Instant::now();
        loop {
            let mut fds = [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::from(POLL_TIMEOUT_MS)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => break,
                Err(errno) => return Err(failed("wait for a process", errno)),
            }
            self.caller.check()?;
            if let Some(status) = child.ended() {
                return Err(self.failed(&died(status)));
            }
            if since.elapsed() > START_TIMEOUT {
                return Err(self.failed("it is not ready after a minute"));
            }
        }
        let mut time = [0; 8];
        let read = self.reader.read_exact(&mut time);
        read.map_err(|e| failed("read from a process", e))?;
        Ok(u64::from_ne_bytes(time))
    }

    fn failed(&self, why: &str) -> ForklatError {
        ForklatError::Refused(format!(
            "process {} did not become ready: {why}",
            self.len() + 1
        ))
    }

    fn refused(&self, error: io::Error) -> ForklatError {
        let what = format!("start process {}", self.len() + 1);
        let out_of_processes = error.raw_os_error() == Some(libc::EAGAIN);
        let error = failed(what, error);
        if out_of_processes {
            let limit = process_limits::reached(&process_limits::read(Path::new("/")));
            ForklatError::Refused(format!("{error}: {limit}"))
        } else {
            error
        }
    }
}

impl Drop for IdleProcesses<'_> {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
