//! A process that observes: forked early, locked in memory, ended with its parent, and able to say why it failed.

use std::any::Any;
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

use crate::sys::process::{self, Cost};
use crate::sys::shared::{KeptWords, SharedWords, Words};

/// Bytes of a message that fit into the control block; what is longer is cut.
const MESSAGE: usize = 504;

/// How long a worker may take to get ready: a prober touches its heap and makes its files in it, on a disk that is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

const STARTING: u64 = 0;
const READY: u64 = 1;
const FAILED: u64 = 2;

/// The words of the control block: state, stop flag, errno of mlockall, and the message.
const STATE: usize = 0;
const STOP: usize = 1;
const UNLOCKED: usize = 2;
const SAID: usize = 3;

/// The words of a message: its length, and its bytes.
pub(super) const SAYING: usize = 1 + MESSAGE / 8;

/// A message as words that a process can leave for another.
pub(super) fn pack(message: &str) -> [u64; SAYING] {
    let mut words = [0; SAYING];
    let bytes = &message.as_bytes()[..message.len().min(MESSAGE)];
    words[0] = bytes.len() as u64;
    for (word, chunk) in words[1..].iter_mut().zip(bytes.chunks(8)) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(eight);
    }
    words
}

/// What was packed.
pub(super) fn unpack(words: &[u64; SAYING]) -> String {
    let bytes = words[1..].iter().flat_map(|word| word.to_ne_bytes());
    let bytes: Vec<u8> = bytes.take(words[0] as usize).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What both sides of a worker see of each other.
#[derive(Debug)]
pub struct Control(KeptWords);

impl Control {
    /// The worker is prepared: from here on its figures count.
    pub fn ready(&self) {
        self.0.store(STATE, READY, Ordering::Release);
    }

    /// Whether the worker shall end.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.0.load(STOP, Ordering::Relaxed) != 0
    }

    /// Locks all memory that the worker has by now. What a machine in trouble takes away would be read back as a stall.
    pub fn lock_memory(&self) {
        if let Err(errno) = mlockall(MlockAllFlags::MCL_CURRENT) {
            self.0.store(UNLOCKED, errno as u64, Ordering::Relaxed);
        }
    }

    /// Why that did not work, if it did not.
    pub(super) fn unlocked(&self) -> Option<io::Error> {
        let errno = i32::try_from(self.0.load(UNLOCKED, Ordering::Relaxed)).ok()?;
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }

    fn fail(&self, message: &str) {
        for (index, value) in (SAID..).zip(pack(message)) {
            self.0.store(index, value, Ordering::Relaxed);
        }
        self.0.store(STATE, FAILED, Ordering::Release);
    }

    fn state(&self) -> u64 {
        self.0.load(STATE, Ordering::Acquire)
    }

    fn message(&self) -> String {
        let mut words = [0; SAYING];
        for (value, index) in words.iter_mut().zip(SAID..) {
            *value = self.0.load(index, Ordering::Relaxed);
        }
        unpack(&words)
    }
}

/// The parent's side of a running worker. Dropping it kills the process.
#[derive(Debug)]
pub struct Worker {
    name: String,
    pid: Pid,
    control: Control,
    reaped: bool,
}

impl Worker {
    /// Forks a process named `name` that runs `body`, which calls [`Control::ready`] when it is prepared and returns soon
    /// after [`Control::stopping`]. Both processes own `held` afterwards, forked or not; see [`process::start_worker`].
    ///
    /// # Errors
    /// Out of processes or memory; see [`process::start_worker`].
    pub fn start<T: UnwindSafe>(
        name: &str,
        held: T,
        body: impl FnOnce(T, &Control) -> Result<(), String> + UnwindSafe,
    ) -> (T, io::Result<Self>) {
        let words = match SharedWords::new(SAID + SAYING) {
            Ok(words) => words,
            Err(e) => return (held, Err(e)),
        };
        let ((held, words), pid) = process::start_worker((held, words), |(held, words)| {
            rename(name);
            let control = Control(words.keep_from_forks());
            // It has no stderr to panic on.
            let ended = catch_unwind(AssertUnwindSafe(|| body(held, &control)));
            match ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
                Ok(()) => 0,
                Err(message) => {
                    control.fail(&message);
                    1
                }
            }
        });
        let worker = pid.map(|pid| Self {
            name: name.to_owned(),
            pid,
            control: Control(words.keep_from_forks()),
            reaped: false,
        });
        (held, worker)
    }

    /// What it was called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// Its own message, how it died, or that it never came.
    pub fn wait_ready(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while self.control.state() == STARTING {
            self.check()?;
            if started.elapsed() > PATIENCE {
                return Err(self.says("is not ready after a minute"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.check()
    }

    /// Why its memory could not be locked, if it could not.
    #[must_use]
    pub fn unlocked(&self) -> Option<io::Error> {
        self.control.unlocked()
    }

    /// Looks whether it still lives.
    ///
    /// # Errors
    /// Its own message, or how it died.
    pub fn check(&mut self) -> Result<(), String> {
        if self.control.state() == FAILED {
            return Err(self.says(&self.control.message()));
        }
        match process::try_reap(self.pid) {
            Ok(None) => Ok(()),
            Ok(Some((status, _))) => {
                self.reaped = true;
                // It may have spoken between the two looks.
                if self.control.state() == FAILED {
                    return Err(self.says(&self.control.message()));
                }
                Err(self.says(&died(status)))
            }
            Err(e) => Err(self.is_not_ours(&e)),
        }
    }

    /// Asks it to end; [`finished`](Self::finished) waits for that.
    pub fn ask_to_stop(&self) {
        self.control.0.store(STOP, 1, Ordering::Relaxed);
    }

    /// Whether it has ended after being asked; then its cost.
    ///
    /// # Errors
    /// Its own message, or how it died.
    pub fn finished(&mut self) -> Result<Option<Cost>, String> {
        match process::try_reap(self.pid) {
            Ok(None) => Ok(None),
            Ok(Some((status, cost))) => {
                self.reaped = true;
                match (self.control.state(), status.success()) {
                    (FAILED, _) => Err(self.says(&self.control.message())),
                    (_, true) => Ok(Some(cost)),
                    (_, false) => Err(self.says(&died(status))),
                }
            }
            Err(e) => Err(self.is_not_ours(&e)),
        }
    }

    /// Asks it to end, by the flag and by SIGTERM, and waits so long for that. One that has not ended by then is killed when
    /// it is dropped.
    pub fn end_within(&mut self, patience: Duration) {
        if self.reaped {
            return;
        }
        self.ask_to_stop();
        // Ours until reaped, so the number cannot be a stranger's.
        let _ = kill(self.pid, Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.finished(), Ok(None)) && began.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// It was reaped elsewhere (by the kernel, where SIGCHLD is ignored): the number may be a stranger's by now.
    fn is_not_ours(&mut self, error: &io::Error) -> String {
        self.reaped = true;
        self.says(&format!("cannot be waited for: {error}"))
    }

    fn says(&self, message: &str) -> String {
        format!("{}: {message}", self.name)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.reaped {
            // Ours until reaped, so the number cannot be a stranger's.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = process::reap(self.pid);
        }
    }
}

/// What ps(1) shows, cut to 15 bytes by the kernel.
fn rename(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name.replace(' ', "-")) {
        let _ = prctl::set_name(&name);
    }
}

fn panicked(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a word"))
}

fn died(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended by itself with status {code}"),
        (None, None) => "ended in an unknown way".into(),
    }
}
