//! Forks, replaces, ends and reaps processes, and reports the resources that they used.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CString, OsStr};
use std::io;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{UnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::ptr;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpid, getppid, gettid};

use super::clock;
use super::shared_memory::{SharedWord, count_fork};

/// The exit status of a worker that panicked, which is the one that std uses.
const PANIC_STATUS: i32 = 101;

/// Signals whose handlers a worker resets: it did not install them, and they would only set flags that it never reads.
/// SIGCHLD is among them, because children cannot be waited for while it is ignored.
const RESET_SIGNALS: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGTSTP,
    Signal::SIGXFSZ,
    Signal::SIGPIPE,
    Signal::SIGCHLD,
];

thread_local! {
    /// Whether this thread is known to be the main thread. It has no destructor, so that it may be read between fork
    /// and exec.
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
}

/// Proof that the calling thread is the main thread of its process, which ends only with the process.
///
/// `PR_SET_PDEATHSIG` follows the thread that forked, not its process (prctl(2)), so what shall end with the process is to be
/// started by this thread. The proof cannot be given to another:
/// ```compile_fail,E0277
/// let main = mmapcp::sys::process::MainThread::current().unwrap();
/// std::thread::spawn(move || drop(main));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MainThread(PhantomData<*const ()>);

impl MainThread {
    /// Returns the proof, on the main thread.
    ///
    /// # Errors
    /// On any other thread.
    pub fn current() -> io::Result<Self> {
        if gettid() == getpid() {
            IS_MAIN.set(true);
            Ok(Self(PhantomData))
        } else {
            Err(io::Error::other("not on the main thread"))
        }
    }
}

/// Forks a process that runs `body` and exits with what it returns. It ends with its parent (`PR_SET_PDEATHSIG`), is in
/// a process group of its own, so that a terminal's signals do not reach it, has default signal handlers, and /dev/null for
/// the three standard streams.
///
/// Both processes own `held` afterwards: `body` gets it in the child, and it is returned in the parent, forked or not. Memory
/// that is kept from forks is refused, in `held` and in what `body` captures, since it is not `UnwindSafe`; see
/// [`DontForkWords`](super::shared_memory::DontForkWords).
///
/// # Errors
/// fork(2)'s. A parent with threads is refused, since a lock held by another thread would stay locked in the child.
pub fn fork_and_run<T: UnwindSafe>(
    held: T,
    body: impl FnOnce(T) -> i32 + UnwindSafe,
) -> (T, io::Result<Pid>) {
    if let Err(e) = check_single_threaded() {
        return (held, Err(e));
    }
    let parent = getpid();
    // SAFETY: this process has one thread, so no lock is held by a thread that the child lacks, and everything may be called
    // there. What the parent has mapped, the child has, but for `DontForkWords`, which know it: memmap2's Advice::DontFork, a safe
    // call, is a disallowed method outside of this folder (clippy.toml). The child never returns into frames of the parent.
    match unsafe { libc::fork() } {
        -1 => (held, Err(io::Error::last_os_error())),
        0 => {
            count_fork();
            let run = catch_unwind(|| {
                set_up_child(parent);
                body(held)
            });
            exit_now(run.unwrap_or_else(|panic| {
                // Its destructor could panic once more, and unwind into the frames of the parent, whose destructors would
                // remove what is the parent's.
                mem::forget(panic);
                PANIC_STATUS
            }))
        }
        pid => (held, Ok(Pid::from_raw(pid))),
    }
}

/// How often the threads are counted: pthread_join(3) returns when the kernel has cleared the thread's number (`exit_mm`), and the
/// thread is listed until it has been scheduled once more (`release_task`).
const THREAD_COUNTS: u32 = 500;
const THREAD_COUNT_INTERVAL: Duration = Duration::from_millis(2);

/// Fails where this process has other threads, or where /proc does not tell. The only one is the main thread: a leader that has ended before its process is still counted, as a zombie.
fn check_single_threaded() -> io::Result<()> {
    for _ in 0..THREAD_COUNTS {
        let threads = std::fs::read_dir("/proc/self/task")
            .map_err(|e| io::Error::new(e.kind(), "no /proc/self/task: is /proc mounted?"))?;
        if threads.count() == 1 {
            return Ok(());
        }
        std::thread::sleep(THREAD_COUNT_INTERVAL);
    }
    Err(io::Error::other("fork from a process that has threads"))
}

fn set_up_child(parent: Pid) {
    for signal in RESET_SIGNALS {
        // SAFETY: the default action is no code of ours.
        unsafe { libc::signal(signal as i32, libc::SIG_DFL) };
    }
    let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
    super::flock::close_in_child();
    redirect_streams_to_null();
    if set_parent_death_signal(parent).is_err() {
        exit_now(1);
    }
}

/// Redirects the standard streams to /dev/null. A reader of a pipe waits until every writer has closed it, and a worker
/// that the disk blocks cannot be killed.
fn redirect_streams_to_null() {
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null");
    if let Ok(null) = null {
        let _ = dup2_stdin(&null);
        let _ = dup2_stdout(&null);
        let _ = dup2_stderr(&null);
    }
}

/// Ends this process at once, without destructors, buffers or atexit(3).
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(status) }
}

/// Makes `command` end with this process, when that is killed. The main thread must start it; if another thread does,
/// the start fails with EINVAL.
pub fn die_with_parent(command: &mut Command, _: MainThread) {
    let parent = getpid();
    let bind = move || {
        if !IS_MAIN.get() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        set_parent_death_signal(parent)
    };
    // SAFETY: what is called between fork and exec is async-signal-safe: a read of a thread-local variable that needs neither
    // initialization nor a destructor, and what `follow` says of itself.
    unsafe { command.pre_exec(bind) };
}

/// Makes `command` end with the thread that starts it, possibly long before the process ends. It serves the tests, each
/// of which has a thread.
pub fn die_with_thread(command: &mut Command) {
    let parent = getpid();
    // SAFETY: `follow` is all that is called between fork and exec.
    unsafe { command.pre_exec(move || set_parent_death_signal(parent)) };
}

/// Makes the calling process end with the thread that forked it. It makes two system calls, prctl(2) and getppid(2), and
/// neither allocates nor locks: it is async-signal-safe.
pub(super) fn set_parent_death_signal(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // A parent that died before the call above sends no signal.
    if getppid() == parent {
        Ok(())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Forks a child that stores the time of its first instruction (CLOCK_MONOTONIC, nanoseconds) in `first` and exits, and
/// reaps it. `first` stays 0 if the child was killed before that.
///
/// # Errors
/// The errors of fork(2) and waitpid(2).
pub fn fork_once(first: SharedWord<'_>) -> io::Result<()> {
    first.store(0);
    // SAFETY: the child reads the clock (vDSO), stores an atomic and exits: async-signal-safe, whatever threads there are. The
    // word is mapped in it: no memory that a `SharedWord` points to is kept from forks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            first.store(clock::monotonic_ns());
            exit_now(0)
        }
        pid => reap(Pid::from_raw(pid)).map(drop),
    }
}

/// A program that can be started repeatedly without allocating, without arguments, and with an empty environment.
#[derive(Debug)]
pub struct Program {
    path: CString,
    /// The value of `argv[0]`, by which busybox selects its applet.
    name: CString,
}

impl Program {
    /// Prepares the program at `path` with `name` as its `argv[0]`.
    ///
    /// # Errors
    /// InvalidInput if the path or the name contains a NUL.
    pub fn new(path: &Path, name: &OsStr) -> io::Result<Self> {
        Ok(Self {
            path: CString::new(path.as_os_str().as_bytes())?,
            name: CString::new(name.as_bytes())?,
        })
    }

    /// Starts the program with posix_spawn(3) and waits for its end with waitpid(2).
    ///
    /// # Errors
    /// The errors of posix_spawn(3) and waitpid(2).
    pub fn run(&self) -> io::Result<ExitStatus> {
        let argv = [self.name.as_ptr().cast_mut(), ptr::null_mut()];
        let envp: [*mut libc::c_char; 1] = [ptr::null_mut()];
        let mut pid = 0;
        // SAFETY: path and name are C strings, both vectors are terminated by null, and all outlive the call; no actions or
        // attributes.
        let rc = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                self.path.as_ptr(),
                ptr::null(),
                ptr::null(),
                argv.as_ptr(),
                envp.as_ptr(),
            )
        };
        match rc {
            0 => reap(Pid::from_raw(pid)).map(|(status, _)| status),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// What a process and the children it reaped have used, as wait4(2) reports it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUsage {
    /// CPU time in user mode, in seconds.
    pub user: f64,
    /// CPU time in the kernel, in seconds.
    pub system: f64,
    /// Peak resident set size in bytes. It includes the time between fork and exec, when the process was a copy of its
    /// parent.
    pub max_rss: u64,
}

/// Waits for the end of a child with wait4(2).
///
/// # Errors
/// ECHILD if there is no such child.
pub fn reap(pid: Pid) -> io::Result<(ExitStatus, ProcessUsage)> {
    wait_child(pid, 0).and_then(|done| done.ok_or_else(|| io::ErrorKind::NotFound.into()))
}

/// Reaps a child with wait4(2) without waiting; returns `None` while it runs.
///
/// # Errors
/// ECHILD if there is no such child.
pub fn try_reap(pid: Pid) -> io::Result<Option<(ExitStatus, ProcessUsage)>> {
    wait_child(pid, libc::WNOHANG)
}

fn wait_child(pid: Pid, flags: i32) -> io::Result<Option<(ExitStatus, ProcessUsage)>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live variables of the types that wait4 fills.
        let rc = unsafe { libc::wait4(pid.as_raw(), &raw mut status, flags, usage.as_mut_ptr()) };
        if rc == -1 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        // SAFETY: rusage is made of integers, for which all-zero bytes are valid.
        let usage = unsafe { usage.assume_init() };
        let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
        let cost = ProcessUsage {
            user: seconds(usage.ru_utime),
            system: seconds(usage.ru_stime),
            max_rss: usage.ru_maxrss.unsigned_abs() * 1024,
        };
        return Ok((rc != 0).then(|| (ExitStatus::from_raw(status), cost)));
    }
}
