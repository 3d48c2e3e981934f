//! Waits until it is this copy's turn, without looking at anything from time to time: a thread waits for the lock of the
//! ticket before, or of the turn itself, and this one for that thread and for signals.
//!
//! Each copy waits for the one directly before it in the order, the first one for the turn. Whoever gets the turn looks
//! once more, since a copy with an earlier due time may have come, and then waits for that. The order of two copies never
//! changes, so these waits have no circle.

use std::fs::File;
use std::io;
use std::thread::Builder;
use std::time::Duration;

use super::error::QueueError;
use super::members::Member;
use super::membership::Membership;
use super::place::place_among;
use crate::cp::service_notify::ServiceNotifier;
use crate::report::{QueueNews, QueueState, Reporter};
use crate::sys::flock::{LockMode, lock_at_once, unlock, wait_for_lock};
use crate::sys::signal_gate::{SignalGate, Wakeup};

/// The time between two messages to a service manager, each of which asks for 60 s.
const NOTIFY_INTERVAL: Duration = Duration::from_secs(20);

/// The end of a wait.
#[derive(Debug)]
pub(super) enum WaitEnd {
    /// It is this copy's turn, and these others are in the queue.
    Turn(Vec<Member>),
    /// A signal asks this process to stop.
    Stopped,
}

/// Waits for the turn. The thread that waits for a lock has ended when it comes.
pub(super) fn wait_for_turn(
    membership: &Membership,
    reporter: &Reporter,
) -> Result<WaitEnd, QueueError> {
    let failed = |e| membership.wait_error(e);
    let mut wait = TurnWait {
        membership,
        reporter,
        gate: SignalGate::close().map_err(failed)?,
        notifier: ServiceNotifier::open_for_wait(),
        told: None,
    };
    while !reporter.is_stopping() {
        let mut others = membership.others()?;
        if let Some(nearest) = wait.nearest_before(&others) {
            wait.tell(&others);
            let before = others.swap_remove(nearest).file;
            // Each of them has an open file: thirty that wait would keep nine hundred.
            drop(others);
            wait.for_lock(before, LockMode::Shared)?;
            continue;
        }
        let turn = membership.turn();
        if !lock_at_once(turn, LockMode::Exclusive).map_err(failed)? {
            wait.tell(&others);
            drop(others);
            let turn = turn.try_clone().map_err(failed)?;
            if !wait.for_lock(turn, LockMode::Exclusive)? {
                break;
            }
        }
        let others = membership.others()?;
        if wait.nearest_before(&others).is_none() {
            return Ok(WaitEnd::Turn(others));
        }
        unlock(turn).map_err(failed)?;
    }
    Ok(WaitEnd::Stopped)
}

/// A copy that waits, with what was said of it.
struct TurnWait<'a> {
    membership: &'a Membership,
    reporter: &'a Reporter,
    gate: SignalGate,
    /// The service manager whose time would run out meanwhile, if there is one.
    notifier: Option<ServiceNotifier>,
    /// The place and the number of members that were reported last.
    told: Option<(usize, usize)>,
}

impl TurnWait<'_> {
    /// Returns the index of the copy directly before this one in the order.
    fn nearest_before(&self, others: &[Member]) -> Option<usize> {
        let own = self.membership.precedence();
        let before = others.iter().enumerate();
        let before = before.filter(|(_, other)| other.precedence < own);
        before
            .max_by_key(|(_, other)| other.precedence)
            .map(|(index, _)| index)
    }

    /// Waits for a lock in a thread. Returns false if a signal asks to stop; then the thread goes on waiting until this
    /// process ends, which is soon.
    fn for_lock(&mut self, file: File, mode: LockMode) -> Result<bool, QueueError> {
        let failed = |e| self.membership.wait_error(e);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let waiting = Builder::new().spawn(move || {
            let locked = wait_for_lock(&file, mode);
            drop(writer);
            locked
        });
        let waiting = waiting.map_err(failed)?;
        while !self.reporter.is_stopping() {
            // It may have come before the gate was closed. Who cannot be told the place now still keeps it.
            let _ = self.answer_status_request();
            match self
                .gate
                .wait(&reader, self.refresh_interval())
                .map_err(failed)?
            {
                Wakeup::Ready => {
                    let locked = waiting.join();
                    let locked = locked.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
                    return locked.map(|()| true).map_err(failed);
                }
                // Signals that come often must not keep the time of a service manager from being extended.
                Wakeup::Signal | Wakeup::Timeout => {
                    if self.refresh().is_err()
                        && let Some(notifier) = &self.notifier
                    {
                        notifier.send("waiting");
                    }
                }
            }
        }
        Ok(false)
    }

    /// Returns how often somebody wants to hear of the wait, if anybody does.
    fn refresh_interval(&self) -> Option<Duration> {
        let shown = self.reporter.queue_refresh();
        let notified = self.notifier.as_ref().map(|_| NOTIFY_INTERVAL);
        shown.into_iter().chain(notified).min()
    }

    /// Tells a service manager the place, and reports it if it is another than before.
    fn tell(&mut self, others: &[Member]) {
        let place = place_among(others, self.membership);
        if let Some(notifier) = &self.notifier {
            notifier.send(&place.text());
        }
        let now = Some((place.place, place.members));
        if std::mem::replace(&mut self.told, now) != now {
            self.reporter.report_queue(&QueueNews {
                queue: self.membership.queue_name(),
                state: QueueState::Waiting,
                place,
                adopted: &[],
            });
        }
    }

    fn answer_status_request(&self) -> Result<(), QueueError> {
        self.reporter.answer_waiting(|| {
            let others = self.membership.others()?;
            Ok(place_among(&others, self.membership))
        })
    }

    fn refresh(&mut self) -> Result<(), QueueError> {
        let others = self.membership.others()?;
        let place = place_among(&others, self.membership);
        self.reporter.show_waiting(&place);
        self.tell(&others);
        Ok(())
    }
}
