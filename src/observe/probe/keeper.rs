//! A prober that is started anew when it dies.
//!
//! Who copies has threads, and must not fork any more. So a keeper is forked before there are any: a process that forks the
//! prober, waits for its death, says how it died and forks the next. Killed from outside, each takes along those below it.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::prober::{Answers, live};
use super::schedule::Schedule;
use super::{Row, Setup};
use crate::observe::ring::{Rows, Sample};
use crate::observe::worker::{Control, PATIENCE, SAYING, Worker, pack, unpack};
use crate::sys::awaited::Awaited;
use crate::sys::clock::now;
use crate::sys::shared::{KeptWords, SharedWords, Words};
use crate::sys::words::reason;

/// Between a death and the next start: at first no longer than two moments of the shortest period that is felt, then twice as
/// long each time, so that a host on which nothing can be started is not asked to more than once a second.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A prober that lived so long was no failed start. Nanoseconds.
const LASTING: u64 = 1_000_000_000;

/// How long a keeper may take to end. Its prober cannot be killed while a disk does not answer.
const ENDING: Duration = Duration::from_secs(1);

/// Deaths that may wait for who asks for news: there are at most twenty a second, and then fewer and fewer.
const DEATHS: usize = 16;

/// The words beside the deaths: which prober answers, counted from 1, and the errno of its mlockall.
const READY: usize = 0;
const UNLOCKED: usize = 1;

/// What has happened to a prober.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It has died; another is being started.
    Died {
        /// Its own message, or how it was killed.
        why: String,
    },
    /// Its successor answers.
    Again,
    /// Nobody is left to start another.
    Lost {
        /// How the keeper died.
        why: String,
    },
}

/// A prober in the care of a keeper. Dropping it ends both.
#[derive(Debug)]
pub struct Kept {
    row: &'static Row,
    keeper: Worker,
    answers: Answers<KeptWords>,
    lives: Lives<KeptWords>,
    told: Told,
}

/// What was told of the prober so far.
#[derive(Debug)]
struct Told {
    deaths: u64,
    answering: bool,
    /// Of what the last died.
    why: String,
    /// How the keeper died, until that is told.
    gone: Option<String>,
    lost: bool,
}

impl Kept {
    /// Starts a keeper with a prober that asks every `row.period`. This process must have one thread, and both end when that
    /// thread does.
    ///
    /// # Errors
    /// Out of processes or memory. What goes wrong in the preparation comes from [`wait_ready`](Self::wait_ready).
    pub fn start(row: &'static Row, setup: &Setup) -> io::Result<Self> {
        let shared = (Answers::new()?, Lives::new()?);
        let name = format!("{} keeper", row.name);
        let ((answers, lives), keeper) = Worker::start(&name, shared, |shared, control| {
            keep(row, setup, shared, control)
        });
        Ok(Self {
            row,
            keeper: keeper?,
            answers: answers.keep_from_forks(),
            lives: lives.keep_from_forks(),
            told: Told {
                deaths: 0,
                answering: true,
                why: String::new(),
                gone: None,
                lost: false,
            },
        })
    }

    /// Waits until the first prober is ready, or `stop` says that it is waited for no more. Where that cannot be started, no
    /// other will be. Returns whether it is ready.
    ///
    /// # Errors
    /// Its own message, how it died, or that it never came.
    pub fn wait_ready(&mut self, stop: impl Fn() -> bool) -> Result<bool, String> {
        let began = Instant::now();
        while self.lives.ready() == 0 {
            // Looked at first: what it said before it died is there then.
            let gone = self.keeper.check();
            if let Some(death) = self.lives.next_death() {
                return Err(death.why);
            }
            gone?;
            if stop() {
                return Ok(false);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{}: is not ready after a minute", self.row.name));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(true)
    }

    /// The next answer that nobody has counted. After a death the answers before it are still there.
    pub fn pop(&self) -> Option<Sample> {
        self.answers.ring.pop()
    }

    /// Moments whose answers were lost, because they were not read in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.answers.ring.lost()
    }

    /// Why the memory of the prober in charge could not be locked, if it could not.
    #[must_use]
    pub fn unlocked(&self) -> Option<io::Error> {
        self.lives.unlocked()
    }

    /// What has happened since this was last asked, in the order in which it did; `None` where all was told. It neither waits
    /// nor forks. A start that fails again for the same reason is not told again.
    pub fn news(&mut self) -> Option<News> {
        if self.told.lost {
            return None;
        }
        if self.told.gone.is_none() {
            self.told.gone = self.keeper.check().err();
        }
        while let Some(Death { why, was_ready }) = self.lives.next_death() {
            self.told.deaths += 1;
            let again = !self.told.answering && !was_ready && why == self.told.why;
            self.told.answering = false;
            if !again {
                self.told.why.clone_from(&why);
                return Some(News::Died { why });
            }
        }
        if let Some(why) = self.told.gone.take() {
            self.told.lost = true;
            return Some(News::Lost { why });
        }
        let died = self.told.deaths + self.lives.untold();
        (!self.told.answering && self.lives.ready() > died).then(|| {
            self.told.answering = true;
            News::Again
        })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Killed at once it would leave its prober to init, which need not hurry.
        self.keeper.end_within(ENDING);
    }
}

/// What the keeper and its probers tell who started the keeper.
#[derive(Debug)]
struct Lives<W = SharedWords> {
    deaths: Rows<W>,
    marks: W,
}

struct Death {
    why: String,
    was_ready: bool,
}

impl Lives {
    fn new() -> io::Result<Self> {
        Ok(Self {
            deaths: Rows::new(1 + SAYING, DEATHS)?,
            marks: SharedWords::new(2)?,
        })
    }

    fn keep_from_forks(self) -> Lives<KeptWords> {
        Lives {
            deaths: self.deaths.keep_from_forks(),
            marks: self.marks.keep_from_forks(),
        }
    }
}

impl<W: Words> Lives<W> {
    /// The prober's side: the one of this number answers from here on.
    fn begin(&self, number: u64, control: &Control) {
        let errno = control.unlocked().and_then(|error| error.raw_os_error());
        let errno = errno.map_or(0, i32::cast_unsigned);
        self.marks.store(UNLOCKED, errno.into(), Ordering::Relaxed);
        self.marks.store(READY, number, Ordering::Release);
    }

    /// The keeper's side.
    fn end(&self, death: &Death) {
        let mut row = [0; 1 + SAYING];
        row[0] = death.was_ready.into();
        row[1..].copy_from_slice(&pack(&death.why));
        self.deaths.push(&row, 1);
    }

    fn next_death(&self) -> Option<Death> {
        let mut row = [0; 1 + SAYING];
        self.deaths.pop(&mut row).then(|| {
            let mut words = [0; SAYING];
            words.copy_from_slice(&row[1..]);
            Death {
                why: unpack(&words),
                was_ready: row[0] != 0,
            }
        })
    }

    /// Deaths for which there was no room.
    fn untold(&self) -> u64 {
        self.deaths.lost()
    }

    fn ready(&self) -> u64 {
        self.marks.load(READY, Ordering::Acquire)
    }

    fn unlocked(&self) -> Option<io::Error> {
        let errno = i32::try_from(self.marks.load(UNLOCKED, Ordering::Relaxed)).ok()?;
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }
}

/// The life of a keeper: one prober after the other, until it shall stop.
fn keep(
    row: &Row,
    setup: &Setup,
    mut shared: (Answers, Lives),
    control: &Control,
) -> Result<(), String> {
    let failed = |e: io::Error| format!("cannot wait for signals: {}", reason(&e));
    let signals = Awaited::block(&[Signal::SIGCHLD, Signal::SIGTERM]).map_err(failed)?;
    let mut pause = PAUSE;
    for number in 1.. {
        let began = now();
        let prober;
        (shared, prober) = Worker::start(row.name, shared, |(answers, lives), control| {
            signals.restore().map_err(failed)?;
            live(row, setup, answers, control, || {
                let lives = lives.keep_from_forks();
                control.ready();
                lives.begin(number, control);
                drop(lives);
                Schedule::new(now(), row.period.as_nanos() as u64)
            })
        });
        let lives = &shared.1;
        let why = match prober {
            Ok(prober) => match outlive(prober, &signals).map_err(failed)? {
                Some(why) => why,
                None => break,
            },
            Err(e) => format!("{}: cannot start a process: {}", row.name, reason(&e)),
        };
        let was_ready = lives.ready() == number;
        lives.end(&Death { why, was_ready });
        if number == 1 && !was_ready {
            return Ok(());
        }
        if now() - began > LASTING {
            pause = PAUSE;
        }
        if !rest(pause, &signals).map_err(failed)? {
            break;
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
    if control.stopping() {
        Ok(())
    } else {
        Err("was killed by signal 15".into())
    }
}

/// Waits until the prober has died, and tells why; `None` when the keeper shall end before, and the prober with it.
fn outlive(mut prober: Worker, signals: &Awaited) -> io::Result<Option<String>> {
    loop {
        if let Err(why) = prober.check() {
            return Ok(Some(why));
        }
        if signals.next(None)? == Some(Signal::SIGTERM) {
            return Ok(None);
        }
    }
}

/// False when the keeper shall end.
fn rest(pause: Duration, signals: &Awaited) -> io::Result<bool> {
    let until = Instant::now() + pause;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match signals.next(Some(left))? {
            Some(Signal::SIGTERM) => return Ok(false),
            None => return Ok(true),
            Some(_) => {}
        }
    }
}
