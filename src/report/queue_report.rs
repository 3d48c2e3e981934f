//! What is said of a queue of copies: the place of this copy, and the members for `--queue-status`.

use std::time::Duration;

use super::Reporter;
use super::line_order::Stream;
use super::queue_state::{QueueMember, QueueNews, QueuePlace, QueueState};
use super::units::format_span;
use super::wire;

/// Returns the event of `--queue-status --json` for one copy.
#[must_use]
pub fn queue_member_line(member: &QueueMember<'_>) -> String {
    wire::Event::Member(member.into()).into_line()
}

impl Reporter {
    /// Reports the place of this copy in its queue: an event, and a line of `--debug`.
    pub fn report_queue(&self, news: &QueueNews<'_>) {
        if self.shared.report.json {
            let line = wire::Event::Queue(news.into()).into_line();
            self.shared.write(Stream::Stdout, &line);
        }
        self.debug(&debug_line(news));
    }

    /// Returns how often the place shall be looked at, where somebody watches; `None` where nobody does.
    #[must_use]
    pub fn queue_refresh(&self) -> Option<Duration> {
        self.shared.display.waiting_refresh()
    }

    /// Shows that the copy waits, on a terminal or in a log.
    pub fn show_waiting(&self, place: &QueuePlace) {
        let due = self.shared.display.show_waiting(&place.text());
        self.shared.write_pending(due);
    }

    /// Answers SIGUSR1, if it has come, with the place of a copy that waits.
    ///
    /// # Errors
    /// Returns why the place cannot be found.
    pub fn answer_waiting<E>(
        &self,
        find_place: impl FnOnce() -> Result<QueuePlace, E>,
    ) -> Result<(), E> {
        if self.shared.signals.take_status_request() {
            self.shared.write(Stream::Stderr, &find_place()?.text());
        }
        Ok(())
    }

    /// Ends the display of the wait, and makes rates and times begin here.
    pub fn begin_after_wait(&self) {
        self.shared.display.end_waiting();
        self.shared.counters.begin_here();
    }
}

fn debug_line(news: &QueueNews<'_>) -> String {
    let queue = news.queue;
    let waited = format_span(news.place.waited);
    match news.state {
        QueueState::Waiting => format!("queue {queue}: {}", news.place.text()),
        QueueState::Left => format!("queue {queue}: the turn is given up"),
        QueueState::Copying if news.adopted.is_empty() => {
            format!("queue {queue}: its turn after {waited}")
        }
        QueueState::Copying => format!(
            "queue {queue}: its turn after {waited}, with stricter limits of others: {}",
            news.adopted.join(" ")
        ),
    }
}
