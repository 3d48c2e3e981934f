//! Waiting until writeback has settled.

use std::time::{Duration, Instant};

use super::session::Session;

/// Writeback has settled when no more than this is unwritten: 400 KB a second by the write prober for the 30 s that the
/// kernel lets it lie (vm.dirty_expire_centisecs), and the logs of an idle machine.
const MAX_IDLE_DIRTY_BYTES: u64 = 16 << 20;

/// And for so long: between two flushes there are moments without any.
const MIN_IDLE_TIME: Duration = Duration::from_secs(1);

/// Waits for a second in which there was little to write out.
#[derive(Debug)]
pub struct WritebackIdle {
    limit: u64,
    since: Option<Instant>,
}

impl WritebackIdle {
    /// But for `others` bytes that do not count.
    #[must_use]
    pub fn ignoring(others: u64) -> Self {
        Self {
            limit: others + MAX_IDLE_DIRTY_BYTES,
            since: None,
        }
    }

    /// Whether there is little to write out at this moment.
    #[must_use]
    pub fn is_below_limit(&self, session: &Session) -> bool {
        session.unwritten() <= self.limit
    }

    /// Whether it has come; to be asked each tick.
    pub fn has_settled(&mut self, session: &Session) -> bool {
        if !self.is_below_limit(session) {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= MIN_IDLE_TIME
    }
}
