//! A copy in its queue, for people and for events.

use std::time::Duration;

use super::units::{format_size, format_span};

/// What a copy does in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueState {
    /// It waits for its turn.
    Waiting,
    /// It has its turn, and copies.
    Copying,
    /// It copies, and has given its turn up, since nothing moved.
    Left,
}

impl QueueState {
    /// Returns its name in events and in the table of `--queue-status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Copying => "copying",
            Self::Left => "left",
        }
    }
}

/// Where a copy is in its queue, and what is before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueuePlace {
    /// The place from 1, which is that of the copy under way.
    pub place: usize,
    /// The number of copies in the queue.
    pub members: usize,
    /// Bytes that are to be copied before; `None` if one of these copies does not know its size.
    pub ahead: Option<u64>,
    /// How long that will take at the rate of the copy under way; `None` if that is not known.
    pub estimate: Option<Duration>,
    /// How long the copy has waited.
    pub waited: Duration,
}

/// News about the place of this copy in its queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueNews<'a> {
    /// The name of the queue.
    pub queue: &'a str,
    /// What the copy does there now.
    pub state: QueueState,
    /// Where it is in the queue.
    pub place: QueuePlace,
    /// Stricter limits of others that it keeps, as options.
    pub adopted: &'a [String],
}

/// A copy in a queue, as `--queue-status` shows it.
#[derive(Debug, Clone, Copy)]
pub struct QueueMember<'a> {
    /// The name of the queue.
    pub queue: &'a str,
    /// The process that copies, as it sees itself.
    pub pid: u32,
    /// What the copy does there now.
    pub state: QueueState,
    /// The place from 1, which is that of the copy under way.
    pub place: usize,
    /// The priority that `--queue-priority` gives.
    pub priority: i8,
    /// Bytes to copy; `None` where that is not known.
    pub size: Option<u64>,
    /// Bytes that are copied so far.
    pub copied: u64,
    /// How long the copy has waited, or waited until it began.
    pub waited: Duration,
    /// Bytes per second that its user allows.
    pub limit_rate: Option<u64>,
}

impl QueuePlace {
    /// Returns the words for a terminal and for a log.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("waiting: place {} of {}", self.place, self.members);
        if let Some(ahead) = self.ahead {
            text.push_str(&format!(", {} before it", format_size(ahead)));
        }
        if let Some(estimate) = self.estimate {
            text.push_str(&format!(", about {}", format_span(estimate)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_known() {
        let mut place = QueuePlace {
            place: 3,
            members: 7,
            ahead: Some(3 << 30),
            estimate: Some(Duration::from_secs(40)),
            waited: Duration::from_secs(5),
        };
        assert_eq!(
            place.text(),
            "waiting: place 3 of 7, 3.00 GiB before it, about 40 s"
        );
        (place.ahead, place.estimate) = (None, None);
        assert_eq!(place.text(), "waiting: place 3 of 7");
    }
}
