//! A process that observes the machine: forked early, locked in memory, ended with its parent, and able to report why
//! it failed.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, UnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::observe::error::ObserveError;
use crate::sys::process::{self, ProcessUsage};
use crate::sys::shared_memory::{AtomicWords, DontForkWords, SharedWords};

/// Largest message in bytes that fits into the control block; a longer one is cut.
const MAX_MESSAGE_BYTES: usize = 504;

/// Longest time that an observer may take to become ready: a prober touches its heap and creates its files, possibly on
/// a busy disk.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(60);

const STATE_STARTING: u64 = 0;
const STATE_READY: u64 = 1;
const STATE_FAILED: u64 = 2;

/// Index of the state in the control block. Stop flag, errno of mlockall, and message follow.
const STATE_INDEX: usize = 0;
const STOP_INDEX: usize = 1;
const MLOCK_ERRNO_INDEX: usize = 2;
const MESSAGE_START: usize = 3;

/// Number of words of a message: its length, and its bytes.
pub(super) const MESSAGE_WORDS: usize = 1 + MAX_MESSAGE_BYTES / 8;

/// Packs a message into words that a process can leave for another.
pub(super) fn pack_message(message: &str) -> [u64; MESSAGE_WORDS] {
    let mut words = [0; MESSAGE_WORDS];
    let bytes = &message.as_bytes()[..message.len().min(MAX_MESSAGE_BYTES)];
    words[0] = bytes.len() as u64;
    for (word, chunk) in words[1..].iter_mut().zip(bytes.chunks(8)) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(eight);
    }
    words
}

/// Returns the message that was packed.
pub(super) fn unpack_message(words: &[u64; MESSAGE_WORDS]) -> String {
    let bytes = words[1..].iter().flat_map(|word| word.to_ne_bytes());
    let bytes: Vec<u8> = bytes.take(words[0] as usize).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Memory that an observer and its parent share to control each other.
#[derive(Debug)]
pub struct ProcessControl(DontForkWords);

impl ProcessControl {
    /// Tells the parent that preparation is complete and measurements count from here on.
    pub fn set_ready(&self) {
        self.0.store(STATE_INDEX, STATE_READY, Ordering::Release);
    }

    /// Returns whether the observer shall end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.load(STOP_INDEX, Ordering::Relaxed) != 0
    }

    /// Locks all memory that the observer has by now. Otherwise pages that are reclaimed would be read back, and appear
    /// as latency.
    pub fn lock_memory(&self) {
        if let Err(errno) = mlockall(MlockAllFlags::MCL_CURRENT) {
            self.0
                .store(MLOCK_ERRNO_INDEX, errno as u64, Ordering::Relaxed);
        }
    }

    /// Returns why the memory could not be locked, if it could not.
    pub(super) fn mlock_error(&self) -> Option<io::Error> {
        let errno = i32::try_from(self.0.load(MLOCK_ERRNO_INDEX, Ordering::Relaxed)).ok()?;
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }

    fn fail(&self, message: &str) {
        for (index, value) in (MESSAGE_START..).zip(pack_message(message)) {
            self.0.store(index, value, Ordering::Relaxed);
        }
        self.0.store(STATE_INDEX, STATE_FAILED, Ordering::Release);
    }

    fn state(&self) -> u64 {
        self.0.load(STATE_INDEX, Ordering::Acquire)
    }

    fn message(&self) -> String {
        let mut words = [0; MESSAGE_WORDS];
        for (value, index) in words.iter_mut().zip(MESSAGE_START..) {
            *value = self.0.load(index, Ordering::Relaxed);
        }
        unpack_message(&words)
    }
}

/// The parent's side of a running observer. Dropping it kills the process.
#[derive(Debug)]
pub struct ObserverProcess {
    name: String,
    pid: Pid,
    control: ProcessControl,
    reaped: bool,
}

impl ObserverProcess {
    /// Forks a process named `name` that runs `body`, which calls [`ProcessControl::set_ready`] when it is prepared and
    /// returns soon after [`ProcessControl::is_stopping`] is true. Both processes own `held` afterwards, also if the
    /// fork failed; see [`process::fork_and_run`].
    ///
    /// # Errors
    /// Processes or memory are exhausted; see [`process::fork_and_run`].
    pub fn start<T: UnwindSafe, E: fmt::Display>(
        name: &str,
        held: T,
        body: impl FnOnce(T, &ProcessControl) -> Result<(), E> + UnwindSafe,
    ) -> (T, io::Result<Self>) {
        let words = match SharedWords::new(MESSAGE_START + MESSAGE_WORDS) {
            Ok(words) => words,
            Err(e) => return (held, Err(e)),
        };
        let ((held, words), pid) = process::fork_and_run((held, words), |(held, words)| {
            set_process_name(name);
            let control = ProcessControl(words.set_dontfork());
            // The process has no stderr for the message of a panic.
            let ended = catch_unwind(AssertUnwindSafe(|| body(held, &control)));
            let message = match ended {
                Ok(Ok(())) => return 0,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic_message(panic.as_ref()),
            };
            control.fail(&message);
            1
        });
        let worker = pid.map(|pid| Self {
            name: name.to_owned(),
            pid,
            control: ProcessControl(words.set_dontfork()),
            reaped: false,
        });
        (held, worker)
    }

    /// Returns the name that it was started with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process id of the observer.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the observer is ready.
    ///
    /// # Errors
    /// Its own message, how it died, or that it did not become ready in time.
    pub fn wait_ready(&mut self) -> Result<(), ObserveError> {
        let started = Instant::now();
        while self.control.state() == STATE_STARTING {
            self.check_alive()?;
            if started.elapsed() > READY_TIMEOUT {
                return Err(self.prefix_name("is not ready after a minute"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.check_alive()
    }

    /// Returns why its memory could not be locked, if it could not.
    #[must_use]
    pub fn mlock_error(&self) -> Option<io::Error> {
        self.control.mlock_error()
    }

    /// Checks that the observer is still running.
    ///
    /// # Errors
    /// Its own message, or how it died.
    pub fn check_alive(&mut self) -> Result<(), ObserveError> {
        if self.control.state() == STATE_FAILED {
            return Err(self.prefix_name(&self.control.message()));
        }
        match process::try_reap(self.pid) {
            Ok(None) => Ok(()),
            Ok(Some((status, _))) => {
                self.reaped = true;
                // It may have left a message between the two checks.
                if self.control.state() == STATE_FAILED {
                    return Err(self.prefix_name(&self.control.message()));
                }
                Err(self.prefix_name(&describe_exit(status)))
            }
            Err(e) => Err(self.mark_reaped_elsewhere(&e)),
        }
    }

    /// Asks it to end; [`try_finish`](Self::try_finish) tells when it has.
    pub fn ask_to_stop(&self) {
        self.control.0.store(STOP_INDEX, 1, Ordering::Relaxed);
    }

    /// Returns what it cost if it has ended after being asked to, or `None` if it still runs.
    ///
    /// # Errors
    /// Its own message, or how it died.
    pub fn try_finish(&mut self) -> Result<Option<ProcessUsage>, ObserveError> {
        match process::try_reap(self.pid) {
            Ok(None) => Ok(None),
            Ok(Some((status, cost))) => {
                self.reaped = true;
                match (self.control.state(), status.success()) {
                    (STATE_FAILED, _) => Err(self.prefix_name(&self.control.message())),
                    (_, true) => Ok(Some(cost)),
                    (_, false) => Err(self.prefix_name(&describe_exit(status))),
                }
            }
            Err(e) => Err(self.mark_reaped_elsewhere(&e)),
        }
    }

    /// Asks it to end, by the flag and by SIGTERM, and waits for that at most `patience`. If it is still running then,
    /// it is killed when it is dropped.
    pub fn stop_within(&mut self, patience: Duration) {
        if self.reaped {
            return;
        }
        self.ask_to_stop();
        // The child is not reaped, so its id cannot belong to another process.
        let _ = kill(self.pid, Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.try_finish(), Ok(None)) && began.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Records that the process was reaped elsewhere (by the kernel, if SIGCHLD is ignored): its id may belong to
    /// another process by now.
    fn mark_reaped_elsewhere(&mut self, error: &io::Error) -> ObserveError {
        self.reaped = true;
        self.prefix_name(&format!("cannot be waited for: {error}"))
    }

    fn prefix_name(&self, message: &str) -> ObserveError {
        ObserveError::Process(format!("{}: {message}", self.name))
    }
}

impl Drop for ObserverProcess {
    fn drop(&mut self) {
        if !self.reaped {
            // The child is not reaped, so its id cannot belong to another process.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = process::reap(self.pid);
        }
    }
}

/// Sets the name that ps(1) shows, of which the kernel keeps 15 bytes.
fn set_process_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name.replace(' ', "-")) {
        let _ = prctl::set_name(&name);
    }
}

fn panic_message(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}

fn describe_exit(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended by itself with status {code}"),
        (None, None) => "ended in an unknown way".into(),
    }
}
