//! Runs long work between two runs in a thread of its own. The observers' ring buffers are drained meanwhile, since
//! samples would be lost otherwise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::super::session::Session;
use crate::forklat::error::ForklatError;
use crate::report::signal_handlers::Signals;

/// Interval between two checks whether the work is done (5 ms). It is short, since most of the work is.
const WORK_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Returns whether to give up. Long work calls it at intervals.
pub(super) type ShouldStop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Runs `work` in a thread of its own and drains the observers' ring buffers until it is done. When a signal arrives or
/// an observer dies, `work` is told to give up and is still waited for.
pub(super) fn run_while_collecting<T: Send>(
    session: &mut Session,
    signals: &Signals,
    work: impl FnOnce(ShouldStop<'_>) -> T + Send,
) -> Result<T, ForklatError> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = scope.spawn(|| work(&|| stop.load(Ordering::Relaxed)));
        let mut failed = None;
        while !work.is_finished() {
            if failed.is_none() {
                failed = listen(session, signals).err();
                stop.store(failed.is_some(), Ordering::Relaxed);
            }
            thread::sleep(WORK_POLL_INTERVAL);
        }
        let done = work
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match failed {
            Some(failure) => Err(failure),
            None => Ok(done),
        }
    })
}

/// Drains the observers' ring buffers, or fails if a signal is pending.
pub(super) fn listen(session: &mut Session, signals: &Signals) -> Result<(), ForklatError> {
    if signals.pending_signal().is_some() {
        return Err(ForklatError::Interrupted);
    }
    session.collect()?;
    Ok(())
}
