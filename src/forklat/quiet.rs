//! Waiting until writeback has settled.

use std::time::{Duration, Instant};

use super::session::Session;

/// Writeback has settled when no more than this is unwritten: 400 KB a second by the write prober for the 30 s that the
/// kernel lets it lie (vm.dirty_expire_centisecs), and the logs of an idle machine.
const SETTLED: u64 = 16 << 20;

/// And for so long: between two flushes there are moments without any.
const QUIET: Duration = Duration::from_secs(1);

/// Waits for a second in which there was little to write out.
#[derive(Debug)]
pub struct Quiet {
    limit: u64,
    since: Option<Instant>,
}

impl Quiet {
    /// But for `others` bytes that do not count.
    #[must_use]
    pub fn but_for(others: u64) -> Self {
        Self {
            limit: others + SETTLED,
            since: None,
        }
    }

    /// Whether there is little to write out at this moment.
    #[must_use]
    pub fn is_now(&self, session: &Session) -> bool {
        session.unwritten() <= self.limit
    }

    /// Whether it has come; to be asked each tick.
    pub fn has_come(&mut self, session: &Session) -> bool {
        if !self.is_now(session) {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= QUIET
    }
}
