//! One queue for all copies of a host that name it: one of them copies at a time, within the strictest limits of all.

mod directory;
pub mod error;
mod limits;
mod members;
mod membership;
mod order;
mod place;
pub mod status;
mod ticket;
mod turn;
mod watch;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;
use std::time::Duration;

use nix::libc::{major, minor};

use super::error::{Error, LimitError};
use super::operands::OperandJobs;
use super::options::{CopyOptions, QueueRequest};
use super::throttle::find_dest_directory;
use crate::report::{OrderedOutput, QueueNews, QueueState, Reporter};
use crate::sys::clock::since_boot;
use crate::sys::file::allocated_bytes;
use crate::sys::flock;
use crate::transfer::rate_limit::Limits;
use directory::{Missing, QueueDirectories};
use error::{QueueError, QueueWarning};
use limits::strictest;
use members::Member;
use membership::Membership;
use place::place_among;
use ticket::Ticket;
use turn::{WaitEnd, wait_for_turn};
use watch::{HUNG_AFTER, StillTime, WatchStopper, watch_until};

/// The answer of a queue to a copy.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is the copy's turn.
    Turn(Box<QueueTurn>),
    /// The queue cannot be used, and the copy does not wait.
    Unqueued,
    /// A signal asks this process to stop.
    Stopped,
}

impl Admission {
    /// Returns the turn, if there is one.
    pub(super) fn turn(self) -> Option<Box<QueueTurn>> {
        match self {
            Self::Turn(turn) => Some(turn),
            Self::Unqueued | Self::Stopped => None,
        }
    }
}

/// The turn of a copy, which ends when this is dropped, or when nothing moves.
#[derive(Debug)]
pub(super) struct QueueTurn {
    membership: Membership,
    /// When the turn began, as the time since the machine was started.
    began: Duration,
    /// The limits to keep: the strictest of all in the queue.
    pub(super) limits: Limits,
}

/// Waits in the queue that the user asks for until it is this copy's turn.
///
/// # Errors
/// Returns why no queue can be used, where that needs somebody who looks at it.
pub(super) fn wait_in_queue(
    request: &QueueRequest,
    jobs: &OperandJobs,
    options: &CopyOptions,
    reporter: &Reporter,
    voice: &mut OrderedOutput,
) -> Result<Admission, Error> {
    let name = match &request.name {
        Some(name) => name.clone(),
        None => device_queue(jobs, options)?,
    };
    let waited = join(&name, request, options, voice).and_then(|membership| {
        let end = wait_for_turn(&membership, reporter)?;
        Ok((membership, end))
    });
    match waited {
        Ok((membership, WaitEnd::Turn(others))) => {
            let turn = QueueTurn::begin(membership, &others, options, reporter);
            Ok(Admission::Turn(Box::new(turn)))
        }
        Ok((_, WaitEnd::Stopped)) => Ok(Admission::Stopped),
        Err(error) if error.is_shortage() => {
            voice.diagnose(QueueWarning::Unqueued(error));
            Ok(Admission::Unqueued)
        }
        Err(error) => Err(Error::Queue(error)),
    }
}

/// Makes a ticket for the copy.
fn join(
    name: &str,
    request: &QueueRequest,
    options: &CopyOptions,
    voice: &mut OrderedOutput,
) -> Result<Membership, QueueError> {
    let directories = QueueDirectories::open(Missing::Make)?
        .ok_or_else(|| QueueError::io(error::QueueStep::Make, name, nix::errno::Errno::ENOENT))?;
    if let Some(path) = directories.other_version(Some(name))? {
        voice.diagnose(QueueWarning::OtherVersion(path));
    }
    let mut ticket = Ticket {
        arrival: since_boot(),
        priority: request.priority,
        size: size_of_sources(options),
        pid: std::process::id(),
        rate: None,
        fork_ns: None,
        wakeup_ns: None,
        write_ns: None,
        pressure: None,
        nonce: fastrand::u32(..),
    };
    ticket.set_limits(&options.throttle);
    Membership::join(directories, name, ticket)
}

/// Returns the name of the queue for the device that is copied to.
fn device_queue(jobs: &OperandJobs, options: &CopyOptions) -> Result<String, Error> {
    let failed = |why| Error::Limit {
        option: "--queue",
        why,
    };
    let dir = find_dest_directory(jobs, options).map_err(failed)?;
    let meta = fs::metadata(&dir).map_err(|e| failed(LimitError::Stat(dir, e)))?;
    Ok(format!("dev-{}-{}", major(meta.dev()), minor(meta.dev())))
}

/// Returns the bytes that all sources occupy; `None` if one of them is a directory, a stream or missing.
fn size_of_sources(options: &CopyOptions) -> Option<u64> {
    let sizes = options.sources.iter().map(|source| {
        let meta = fs::metadata(source).ok()?;
        meta.is_file().then(|| allocated_bytes(&meta))
    });
    sizes.sum()
}

impl QueueTurn {
    fn begin(
        membership: Membership,
        others: &[Member],
        options: &CopyOptions,
        reporter: &Reporter,
    ) -> Self {
        let began = since_boot();
        membership.begin(began);
        let theirs = others.iter().map(|other| other.ticket.limits());
        let (limits, adopted) = strictest(&options.throttle, theirs);
        reporter.report_queue(&QueueNews {
            queue: membership.queue_name(),
            state: QueueState::Copying,
            place: place_among(others, &membership),
            adopted: &adopted,
        });
        reporter.begin_after_wait();
        Self {
            membership,
            began,
            limits,
        }
    }

    /// Runs `copy` while others see how far it is. If nothing moves, the turn ends, and the copy goes on.
    ///
    /// The thread that watches takes the locks with it. When this process is killed they end with that thread, though the
    /// copying one may hang on its disk.
    pub(super) fn hold(self, reporter: &Reporter, copy: impl FnOnce() -> bool) -> bool {
        let over = AtomicBool::new(false);
        let (sender, taken) = std::sync::mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let ended = &over;
            let watching = Builder::new().spawn_scoped(scope, move || {
                let locks = self.membership.lock_descriptors();
                let is_apart = flock::own_descriptor_table().is_ok();
                let _ = sender.send(is_apart.then_some(locks));
                self.watch(reporter, ended);
            });
            let _end = match watching {
                Ok(watching) => Some(WatchStopper {
                    over: &over,
                    watching: watching.thread().clone(),
                }),
                Err(error) => {
                    // The turn has ended with the closure: nobody would notice that the copy hangs.
                    reporter.warn(QueueWarning::NotWatched(error));
                    None
                }
            };
            if let Ok(Some(locks)) = taken.recv() {
                flock::close_taken(&locks);
            }
            copy()
        })
    }

    fn watch(&self, reporter: &Reporter, over: &AtomicBool) {
        let mut still = StillTime::default();
        let mut shown = 0;
        watch_until(over, |since_last| {
            let copied = reporter.copied_bytes();
            if copied != shown {
                self.membership.publish(copied, self.began);
                shown = copied;
            }
            let hangs = still.look(reporter.activity(), since_last);
            if hangs {
                self.give_up(reporter);
            }
            hangs
        });
    }

    fn give_up(&self, reporter: &Reporter) {
        self.membership.leave();
        let queue = self.membership.queue_name();
        reporter.warn(QueueWarning::GaveTurnUp {
            queue: queue.to_owned(),
            after: HUNG_AFTER,
        });
        reporter.report_queue(&QueueNews {
            queue,
            state: QueueState::Left,
            place: place_among(&[], &self.membership),
            adopted: &[],
        });
    }
}
