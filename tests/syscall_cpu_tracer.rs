//! A tracer of system calls: how much CPU time each call of a program takes, waits left out.
//!
//! `strace -T` tells the wall time, which on a busy machine says nothing. This one stops every thread at entry and exit of each
//! call and reads what the scheduler has charged it in between (`/proc/PID/task/TID/schedstat`, in nanoseconds). Interrupts
//! that come in between are charged as well: who judges single calls must repeat the run.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// What a program spent in one kind of system call.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallCpuTime {
    pub(crate) calls: u64,
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
    /// Number and arguments of the longest call, in hexadecimal, as in `/proc/PID/syscall`.
    pub(crate) arguments: String,
    /// What each call took, in the order of the calls.
    each: CallTimes,
}

/// Times of calls, of which a failed assertion shows only how many there are.
#[derive(Clone, Default)]
struct CallTimes(Vec<Duration>);

impl fmt::Debug for CallTimes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} times", self.0.len())
    }
}

impl CallCpuTime {
    /// The time that one call in a thousand exceeds; the longest of fewer than a thousand.
    pub(crate) fn p999(&self) -> Duration {
        let mut each = self.each.0.clone();
        each.sort_unstable();
        let below = (each.len() * 999).div_ceil(1000);
        each.get(below.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

/// The system calls of one run.
#[derive(Debug, Default)]
pub(crate) struct CpuTrace {
    /// By number; the end of the process, with all that it gives back, counts for `exit_group`.
    pub(crate) spent: BTreeMap<i64, CallCpuTime>,
    /// The exit status; `None` where a signal ended the program.
    pub(crate) code: Option<i32>,
}

impl CpuTrace {
    /// How many calls of this number were made.
    pub(crate) fn calls(&self, number: i64) -> u64 {
        self.spent.get(&number).map_or(0, |spent| spent.calls)
    }

    /// The kinds of calls of which one took longer than `limit`.
    pub(crate) fn above(&self, limit: Duration) -> BTreeMap<i64, CallCpuTime> {
        let above = self.spent.iter().filter(|(_, s)| s.longest > limit);
        above.map(|(n, spent)| (*n, spent.clone())).collect()
    }

    /// The kind of call that took most time in all.
    pub(crate) fn busiest(&self) -> (i64, CallCpuTime) {
        let busiest = self.spent.iter().max_by_key(|(_, spent)| spent.total);
        busiest
            .map(|(n, spent)| (*n, spent.clone()))
            .unwrap_or_default()
    }

    /// The call that took longest.
    pub(crate) fn longest(&self) -> (i64, CallCpuTime) {
        let longest = self.spent.iter().max_by_key(|(_, spent)| spent.longest);
        longest
            .map(|(n, spent)| (*n, spent.clone()))
            .unwrap_or_default()
    }
}

/// One thread: the call that it is in, with the CPU time charged before.
#[derive(Default)]
struct TimedThread {
    call: Option<(i64, String, Duration)>,
}

/// Runs a program and all its threads under the tracer. Its output goes nowhere.
#[expect(
    clippy::zombie_processes,
    reason = "the events end with that of its exit"
)]
pub(crate) fn trace(command: &Command) -> CpuTrace {
    let child = Command::new("sh")
        .args(["-c", r#"kill -STOP $$; exec "$@" >/dev/null"#, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        // Cargo sets it for tests, and the dynamic linker would look for each library in each directory.
        .env_remove("LD_LIBRARY_PATH")
        .spawn()
        .expect("start sh");
    let main = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let stopped = waitpid(main, Some(WaitPidFlag::WUNTRACED)).expect("wait for sh");
    assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).expect("trace sh");
    kill(main, Signal::SIGCONT).expect("continue sh");
    let mut tracer = CpuTracer {
        main,
        threads: BTreeMap::new(),
        trace: CpuTrace::default(),
    };
    while tracer.event() {}
    tracer.trace
}

struct CpuTracer {
    main: Pid,
    threads: BTreeMap<i32, TimedThread>,
    trace: CpuTrace,
}

impl CpuTracer {
    /// Handles the next event. False after the end of the program.
    fn event(&mut self) -> bool {
        // Children of other tests belong to other threads.
        let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let looks = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
        let seen = waitid(Id::All, ours | looks).expect("wait for an event");
        let pid = seen.pid().expect("the thread of an event");
        if matches!(seen, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
            self.end_call(pid);
        }
        match waitpid(pid, Some(ours)).expect("take an event") {
            WaitStatus::PtraceSyscall(tid) => {
                self.handle_syscall_stop(tid);
                let _ = ptrace::syscall(tid, None);
            }
            WaitStatus::PtraceEvent(tid, _, event) => {
                if event == libc::PTRACE_EVENT_EXEC {
                    self.trace.spent.clear();
                }
                let _ = ptrace::syscall(tid, None);
            }
            WaitStatus::Stopped(tid, signal) => {
                let _ = ptrace::syscall(tid, signal);
            }
            WaitStatus::Exited(tid, code) if tid == self.main => {
                self.trace.code = Some(code);
                return false;
            }
            WaitStatus::Signaled(tid, ..) if tid == self.main => return false,
            _ => {}
        }
        true
    }

    fn handle_syscall_stop(&mut self, tid: Pid) {
        let used = self.cpu_time(tid);
        let thread = self.threads.entry(tid.as_raw()).or_default();
        match (thread.call.take(), used) {
            (Some((number, arguments, before)), Some(now)) => {
                self.trace
                    .note(number, arguments, now.saturating_sub(before));
            }
            (None, Some(now)) => {
                let text = fs::read_to_string(format!("/proc/{}/task/{tid}/syscall", self.main));
                let text = text.unwrap_or_default();
                let number = text.split(' ').next().and_then(|word| word.parse().ok());
                thread.call = Some((number.unwrap_or(-1), text, now));
            }
            _ => {}
        }
    }

    /// A thread has ended, in a call that did not come back.
    fn end_call(&mut self, tid: Pid) {
        let call = self.threads.remove(&tid.as_raw()).and_then(|t| t.call);
        if let (Some((number, arguments, before)), Some(now)) = (call, self.cpu_time(tid)) {
            self.trace
                .note(number, arguments, now.saturating_sub(before));
        }
    }

    /// CPU time of a stopped thread.
    fn cpu_time(&self, tid: Pid) -> Option<Duration> {
        let path = format!("/proc/{}/task/{tid}/schedstat", self.main);
        let text = fs::read_to_string(path).ok()?;
        text.split(' ')
            .next()?
            .parse()
            .ok()
            .map(Duration::from_nanos)
    }
}

impl CpuTrace {
    fn note(&mut self, number: i64, arguments: String, took: Duration) {
        let spent = self.spent.entry(number).or_default();
        spent.calls += 1;
        spent.total += took;
        spent.each.0.push(took);
        if took >= spent.longest {
            (spent.longest, spent.arguments) = (took, arguments.trim_end().into());
        }
    }
}

/// The name of a system call that a copy makes, or its number.
pub(crate) fn name(number: i64) -> String {
    let names = [
        (libc::SYS_copy_file_range, "copy_file_range"),
        (libc::SYS_execve, "execve"),
        (libc::SYS_exit_group, "exit_group"),
        (libc::SYS_fadvise64, "fadvise64"),
        (libc::SYS_fallocate, "fallocate"),
        (libc::SYS_fdatasync, "fdatasync"),
        (libc::SYS_ftruncate, "ftruncate"),
        (libc::SYS_lseek, "lseek"),
        (libc::SYS_mincore, "mincore"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_munmap, "munmap"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_pread64, "pread64"),
        (libc::SYS_pwrite64, "pwrite64"),
        (libc::SYS_pwritev2, "pwritev2"),
        (libc::SYS_sendfile, "sendfile"),
        (libc::SYS_splice, "splice"),
        (libc::SYS_sync_file_range, "sync_file_range"),
        (CACHESTAT, "cachestat"),
    ];
    let known = names.iter().find(|(n, _)| *n == number);
    known.map_or_else(|| format!("call {number}"), |(_, name)| (*name).into())
}

/// cachestat(2), the same number on every architecture but alpha.
pub(crate) const CACHESTAT: i64 = 451;
