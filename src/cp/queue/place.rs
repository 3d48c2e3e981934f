//! The place of a copy in its queue, and how long it may take until its turn.

use std::time::Duration;

use super::members::Member;
use super::membership::Membership;
use crate::report::QueuePlace;

/// The least time over which the rate of the copy under way is taken.
const LEAST_RATE_TIME: Duration = Duration::from_millis(500);

/// Returns the place of a copy among the others of its queue.
pub(super) fn place_among(others: &[Member], membership: &Membership) -> QueuePlace {
    let own = membership.precedence();
    let is_before = |other: &&Member| other.advance.is_some() || other.precedence < own;
    let before: Vec<&Member> = others.iter().filter(is_before).collect();
    let ahead = before.iter().map(|other| bytes_left(other)).sum();
    QueuePlace {
        place: before.len() + 1,
        members: others.len() + 1,
        ahead,
        estimate: estimate(ahead, current_rate(others)),
        waited: membership.waited(),
    }
}

/// Returns the bytes that a copy has before it; `None` if it does not know its size.
fn bytes_left(member: &Member) -> Option<u64> {
    let copied = member.advance.map_or(0, |advance| advance.copied);
    member.ticket.size.map(|size| size.saturating_sub(copied))
}

/// Returns the bytes per second of the copy under way, if it has copied any for long enough.
fn current_rate(members: &[Member]) -> Option<f64> {
    let advance = members.iter().find_map(|member| member.advance)?;
    let time = advance.published.checked_sub(advance.since)?;
    (time >= LEAST_RATE_TIME && advance.copied > 0)
        .then(|| advance.copied as f64 / time.as_secs_f64())
}

fn estimate(ahead: Option<u64>, rate: Option<f64>) -> Option<Duration> {
    match (ahead?, rate) {
        (0, _) => Some(Duration::ZERO),
        (bytes, Some(rate)) => Duration::try_from_secs_f64(bytes as f64 / rate).ok(),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_needs_sizes_and_a_rate() {
        let seconds = |ahead, rate| estimate(ahead, rate).map(|time| time.as_secs());
        assert_eq!(seconds(Some(100), Some(20.0)), Some(5));
        assert_eq!(seconds(Some(0), None), Some(0));
        assert_eq!(seconds(Some(1), None), None);
        assert_eq!(seconds(None, Some(20.0)), None);
        assert_eq!(
            seconds(Some(u64::MAX), Some(1e-9)),
            None,
            "beyond all times"
        );
    }
}
