//! Long work between two runs: the observers are heard meanwhile, or what they answer would be lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::super::session::Session;
use crate::forklat::error::ForklatError;
use crate::report::signal_handlers::Signals;

/// Between two looks whether the work is done: short, since most of it is.
const WORK_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Whether to give up: asked by whoever works long.
pub(super) type ShouldStop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Does `work` in a thread of its own and listens to the observers until it is done. It is told to give up when a signal
/// comes or an observer dies, and waited for.
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

/// Takes in what the observers have heard, unless a signal has come.
pub(super) fn listen(session: &mut Session, signals: &Signals) -> Result<(), ForklatError> {
    if signals.pending_signal().is_some() {
        return Err(ForklatError::Interrupted);
    }
    session.collect()?;
    Ok(())
}
