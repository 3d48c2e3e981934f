//! Waits until writeback has settled.

use std::time::{Duration, Instant};

use super::session::Session;

/// Most unwritten bytes at which writeback counts as settled (16 MiB). The write prober produces 400 KB a second, which
/// the kernel keeps for 30 s (vm.dirty_expire_centisecs); the logs of an idle machine come on top.
const MAX_IDLE_DIRTY_BYTES: u64 = 16 << 20;

/// Time for which the unwritten bytes must stay below the limit (1 s), since there are moments without any between two
/// flushes.
const MIN_IDLE_TIME: Duration = Duration::from_secs(1);

/// Waits for a second in which there was little to write out.
#[derive(Debug)]
pub struct WritebackIdle {
    limit: u64,
    since: Option<Instant>,
}

impl WritebackIdle {
    /// Makes a wait that does not count `others` bytes of unwritten data.
    #[must_use]
    pub fn ignoring(others: u64) -> Self {
        Self {
            limit: others + MAX_IDLE_DIRTY_BYTES,
            since: None,
        }
    }

    /// Returns whether there is little to write out at this moment.
    #[must_use]
    pub fn is_below_limit(&self, session: &Session) -> bool {
        session.unwritten() <= self.limit
    }

    /// Returns whether writeback has settled. It must be called at each tick.
    pub fn has_settled(&mut self, session: &Session) -> bool {
        if !self.is_below_limit(session) {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= MIN_IDLE_TIME
    }
}
