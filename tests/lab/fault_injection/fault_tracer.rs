//! A tracer that runs one command under ptrace(2), counts its system calls, and makes some of them fail.
//!
//! A shortened call is made by the kernel with a smaller length, so its result is true. A failed call is replaced by an
//! invalid number and never made, except close(2), which on Linux closes the descriptor even when it reports an error.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::syscall_table;
use crate::support::{MMAPCP, skip};

/// Longest run of one case. The slowest one without a hang takes 0.3 s on a busy machine with two cores.
const CASE_TIMEOUT: Duration = Duration::from_secs(20);

/// Time between two looks at whether a case has timed out.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The value of `status >> 16` in a stop of a newly traced thread (`PTRACE_EVENT_STOP`, which libc defines as an i32).
const EVENT_STOP: i32 = 128;

/// When a call is hit, counted from 1 over all threads of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultTrigger {
    /// This call alone.
    Once(u32),
    /// This call and all later ones.
    From(u32),
}

impl FaultTrigger {
    fn is_hit(self, count: u32) -> bool {
        match self {
            Self::Once(n) => count == n,
            Self::From(n) => count >= n,
        }
    }
}

/// What happens to a call that is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultEffect {
    /// It is not made, and reports this error.
    Fail(Errno),
    /// It is made with a length of 0.
    Zero,
    /// It is made with half of its length, in whole sectors where it has as many.
    Half,
    /// It is made with a third of its length, which is then odd.
    Odd,
}

impl FaultEffect {
    fn shorten(self, len: u64) -> u64 {
        match self {
            Self::Fail(_) => len,
            Self::Zero => 0,
            Self::Half if len >= 1024 => len / 2 / 512 * 512,
            Self::Half => len.min(len / 2 + 1),
            Self::Odd => len.min((len / 3) | 1),
        }
    }
}

/// Which calls of a run are hit, and how.
#[derive(Clone, Debug)]
pub(super) struct Injection {
    /// The calls, as [`calls::name`] has them; counted together.
    pub(super) calls: Vec<&'static str>,
    pub(super) trigger: FaultTrigger,
    pub(super) effect: FaultEffect,
}

/// How the traced program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TraceeEnd {
    Exited(i32),
    Killed(Signal),
    /// It was killed by the watchdog.
    Hung,
}

/// What a traced run did.
#[derive(Debug)]
pub(super) struct FaultTrace {
    pub(super) end: TraceeEnd,
    pub(super) stderr: String,
    /// How often each call was made after the program had first looked at a file of the case.
    pub(super) calls: BTreeMap<&'static str, u32>,
    /// How many calls were hit.
    pub(super) hits: u32,
}

/// What must be done when a call returns.
#[derive(Clone, Copy, Debug)]
enum ExitAction {
    /// Report this error.
    Report(Errno),
    /// Put the length back into the register or the memory it came from: programs rely on both to survive a call.
    Restore(syscall_table::LengthArg, u64),
}

/// One traced thread.
#[derive(Debug, Default)]
struct TracedThread {
    in_call: bool,
    at_exit: Option<ExitAction>,
}

/// Tracees, and when they are to be killed.
type WatchedTracees = Arc<Mutex<Option<(Instant, Vec<Pid>)>>>;

/// Whether this process may trace its children. Says why not, or panics where the whole laboratory is demanded.
pub(super) fn may_trace_or_skip(test: &str) -> bool {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read -r go"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start a shell");
    let pid = Pid::from_raw(child.id().cast_signed());
    let seized = ptrace::seize(pid, Options::empty());
    drop(child.stdin.take());
    child.wait().expect("the end of a shell without input");
    if let Err(errno) = seized {
        skip(test, &format!("ptrace(2) is not permitted: {errno}"));
    }
    seized.is_ok()
}

/// Runs the program under test with these words and this standard input, and hits the calls of `injection`. Calls count from
/// the first one that names a path below one of `places`: what comes before is the start of the runtime and no part of the
/// copy.
pub(super) fn run_traced(
    words: &[OsString],
    input: Option<&[u8]>,
    places: &[&Path],
    injection: Option<&Injection>,
) -> FaultTrace {
    #[expect(clippy::zombie_processes, reason = "the tracer waits for it")]
    let mut child = spawn(words, input.is_some());
    let main = Pid::from_raw(child.id().cast_signed());
    let deadline = Instant::now() + CASE_TIMEOUT;
    let watched: WatchedTracees = Arc::new(Mutex::new(Some((deadline, vec![main]))));
    let mut tracer = FaultTracer {
        places: places
            .iter()
            .map(|p| p.as_os_str().as_encoded_bytes())
            .collect(),
        injection,
        threads: HashMap::new(),
        started: false,
        calls: BTreeMap::new(),
        counted: 0,
        hits: 0,
        watched: Arc::clone(&watched),
    };
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).expect("trace a child of our own");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"\n").expect("let the child go");
    let (end, hung) = thread::scope(|scope| {
        // A copy that fails may leave some of it unread.
        scope.spawn(move || drop(stdin.write_all(input.unwrap_or_default())));
        let watchdog = scope.spawn(|| watch(&watched));
        let end = tracer.follow(main);
        *lock(&watched) = None;
        watchdog.thread().unpark();
        (end, watchdog.join().expect("the watchdog"))
    });
    let mut stderr = String::new();
    let said = child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut stderr);
    said.expect("messages in UTF-8");
    FaultTrace {
        end: if hung { TraceeEnd::Hung } else { end },
        stderr,
        calls: tracer.calls,
        hits: tracer.hits,
    }
}

/// Starts a shell that waits for a line before it becomes the program, so that it can be traced from its first call on. What
/// follows that line is for the program, if it takes any input: a shell reads no further than the end of a line.
fn spawn(words: &[OsString], takes_input: bool) -> Child {
    let script = if takes_input {
        r#"read -r go; exec "$@""#
    } else {
        r#"read -r go; exec "$@" </dev/null"#
    };
    Command::new("/bin/sh")
        .args(["-c", script, "sh", &*MMAPCP])
        .args(words)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start a shell")
}

/// Kills the tracees when their time is up. Returns whether it did.
fn watch(watched: &WatchedTracees) -> bool {
    loop {
        match &*lock(watched) {
            None => return false,
            Some((deadline, pids)) if Instant::now() > *deadline => {
                for &pid in pids {
                    // None of them has been reaped: the tracer takes each from the list before it does that.
                    let _ = kill(pid, Signal::SIGKILL);
                }
                return true;
            }
            Some(_) => {}
        }
        thread::park_timeout(WATCH_INTERVAL);
    }
}

fn lock(watched: &WatchedTracees) -> std::sync::MutexGuard<'_, Option<(Instant, Vec<Pid>)>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

struct FaultTracer<'a> {
    places: Vec<&'a [u8]>,
    injection: Option<&'a Injection>,
    threads: HashMap<Pid, TracedThread>,
    started: bool,
    calls: BTreeMap<&'static str, u32>,
    /// Calls so far that the injection names.
    counted: u32,
    hits: u32,
    watched: WatchedTracees,
}

impl FaultTracer<'_> {
    /// Follows all tracees to their end. Returns how the first one ended.
    fn follow(&mut self, main: Pid) -> TraceeEnd {
        // Other tests have children of their own, and so do other tracers of this process.
        let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let any = ours | WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
        let mut end = TraceeEnd::Hung;
        loop {
            let next = match waitid(Id::All, any) {
                Err(Errno::ECHILD) => return end,
                Err(Errno::EINTR) => continue,
                other => other.expect("wait for tracees"),
            };
            let pid = next.pid().expect("a status has a process");
            if matches!(next, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
                self.remove_thread(pid);
            }
            match waitpid(pid, Some(ours)).expect("the status that was just seen") {
                WaitStatus::Exited(pid, code) if pid == main => end = TraceeEnd::Exited(code),
                WaitStatus::Signaled(pid, signal, _) if pid == main => {
                    end = TraceeEnd::Killed(signal)
                }
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {}
                WaitStatus::PtraceSyscall(pid) => {
                    // A tracee that was killed meanwhile answers no more.
                    let _ = self.handle_syscall_stop(pid);
                    resume(pid, None);
                }
                WaitStatus::PtraceEvent(pid, _, event) => {
                    match event {
                        EVENT_STOP => self.add_thread(pid),
                        // The stop comes inside the call: the next one is its end.
                        libc::PTRACE_EVENT_EXEC => {
                            self.threads.entry(pid).or_default().in_call = true;
                        }
                        _ => {}
                    }
                    resume(pid, None);
                }
                WaitStatus::Stopped(pid, signal) => resume(pid, Some(signal)),
                other => panic!("no status of a tracee: {other:?}"),
            }
        }
    }

    fn add_thread(&mut self, pid: Pid) {
        if let Some((_, pids)) = &mut *lock(&self.watched)
            && !pids.contains(&pid)
        {
            pids.push(pid);
        }
    }

    fn remove_thread(&mut self, pid: Pid) {
        if let Some((_, pids)) = &mut *lock(&self.watched) {
            pids.retain(|known| *known != pid);
        }
        self.threads.remove(&pid);
    }

    /// A thread is about to make a call, or has made it.
    fn handle_syscall_stop(&mut self, pid: Pid) -> nix::Result<()> {
        let thread = self.threads.entry(pid).or_default();
        thread.in_call = !thread.in_call;
        if !thread.in_call {
            return match thread.at_exit.take() {
                Some(todo) => rewrite_syscall_exit(pid, todo),
                None => Ok(()),
            };
        }
        let regs = ptrace::getregs(pid)?;
        assert_eq!(
            regs.rax.cast_signed(),
            -i64::from(libc::ENOSYS),
            "a call begins"
        );
        self.started = self.started
            || self
                .places
                .iter()
                .any(|place| names_a_path_below(pid, &regs, place));
        if !self.started {
            return Ok(());
        }
        let Some(name) = syscall_table::syscall_name(&regs) else {
            return Ok(());
        };
        *self.calls.entry(name).or_default() += 1;
        let Some(injection) = self.injection.filter(|i| i.calls.contains(&name)) else {
            return Ok(());
        };
        self.counted += 1;
        if injection.trigger.is_hit(self.counted)
            && let Some(todo) = rewrite_syscall_entry(pid, regs, injection.effect)?
        {
            self.hits += 1;
            self.threads.entry(pid).or_default().at_exit = Some(todo);
        }
        Ok(())
    }
}

fn resume(pid: Pid, signal: Option<Signal>) {
    // One that was killed meanwhile is waited for like the others.
    let _ = ptrace::syscall(pid, signal);
}

/// Changes a call that is about to be made. `None` where there is nothing to change: a length that is as short already.
fn rewrite_syscall_entry(
    pid: Pid,
    mut regs: user_regs_struct,
    effect: FaultEffect,
) -> nix::Result<Option<ExitAction>> {
    if let FaultEffect::Fail(errno) = effect {
        if regs.orig_rax != libc::SYS_close.cast_unsigned() {
            regs.orig_rax = u64::MAX;
            ptrace::setregs(pid, regs)?;
        }
        return Ok(Some(ExitAction::Report(errno)));
    }
    let Some(length) = syscall_table::length_arg(&regs) else {
        return Ok(None);
    };
    let was = length.get(pid, &regs)?;
    let cut = effect.shorten(was);
    if cut == was {
        return Ok(None);
    }
    length.set(pid, &mut regs, cut)?;
    Ok(Some(ExitAction::Restore(length, was)))
}

/// Changes what a call has left.
fn rewrite_syscall_exit(pid: Pid, todo: ExitAction) -> nix::Result<()> {
    let mut regs = ptrace::getregs(pid)?;
    match todo {
        ExitAction::Report(errno) => {
            regs.rax = (-i64::from(errno as i32)).cast_unsigned();
            ptrace::setregs(pid, regs)
        }
        ExitAction::Restore(length, was) => length.set(pid, &mut regs, was),
    }
}

/// Whether a call takes a path that begins with `place`.
fn names_a_path_below(pid: Pid, regs: &user_regs_struct, place: &[u8]) -> bool {
    let takes_path = [
        libc::SYS_openat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_readlinkat,
    ];
    let call = regs.orig_rax.cast_signed();
    if !takes_path.contains(&call) {
        return false;
    }
    place.chunks(size_of::<u64>()).enumerate().all(|(n, part)| {
        let at = regs.rsi + (n * size_of::<u64>()) as u64;
        syscall_table::peek(pid, at).is_ok_and(|word| word.to_ne_bytes().starts_with(part))
    })
}
