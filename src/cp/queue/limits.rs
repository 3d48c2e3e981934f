//! The limits of a queue: those of all its copies, the strictest of each.

use crate::transfer::rate_limit::Limits;

/// Returns the strictest limits of a copy and of others, and those that are not its own, as options. A copy that fails
/// when it misses its latencies and pressures (--give-up-after) keeps its own of them.
pub(super) fn strictest(
    own: &Limits,
    others: impl IntoIterator<Item = Limits>,
) -> (Limits, Vec<String>) {
    let mut limits = *own;
    for other in others {
        limits.rate = least(limits.rate, other.rate);
        if own.give_up_after.is_some() {
            continue;
        }
        limits.fork_latency = least(limits.fork_latency, other.fork_latency);
        limits.wakeup_latency = least(limits.wakeup_latency, other.wakeup_latency);
        limits.write_latency = least(limits.write_latency, other.write_latency);
        limits.pressure = least(limits.pressure, other.pressure);
    }
    let adopted = adopted(own, &limits);
    (limits, adopted)
}

/// Returns the lesser of two limits, or the only one.
fn least<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other < one { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Returns the options for what differs between a copy's own limits and those that it keeps.
fn adopted(own: &Limits, kept: &Limits) -> Vec<String> {
    let micros =
        |time: Option<std::time::Duration>| time.map(|time| format!("{}us", time.as_micros()));
    let rate = |rate: Option<u64>| rate.map(|rate| rate.to_string());
    let percent = |share: Option<f64>| share.map(|share| share.to_string());
    let values = |limits: &Limits| {
        [
            ("--limit-rate", rate(limits.rate)),
            ("--max-fork-latency", micros(limits.fork_latency)),
            ("--max-wakeup-latency", micros(limits.wakeup_latency)),
            ("--max-write-latency", micros(limits.write_latency)),
            ("--max-pressure", percent(limits.pressure)),
        ]
    };
    let pairs = values(own).into_iter().zip(values(kept));
    pairs
        .filter(|((_, own), (_, kept))| own != kept)
        .filter_map(|(_, (option, value))| Some(format!("{option}={}", value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_strictest_of_each_kind_counts() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let own = Limits {
            rate: Some(50),
            fork_latency: ms(5),
            ..Limits::default()
        };
        let slower = Limits {
            rate: Some(20),
            fork_latency: ms(9),
            pressure: Some(2.5),
            ..Limits::default()
        };
        let (limits, adopted) = strictest(&own, [slower, Limits::default()]);
        assert_eq!((limits.rate, limits.fork_latency), (Some(20), ms(5)));
        assert_eq!(limits.pressure, Some(2.5));
        assert_eq!(adopted, ["--limit-rate=20", "--max-pressure=2.5"]);
        assert_eq!(strictest(&own, []), (own, Vec::new()));
    }

    #[test]
    fn a_copy_that_gives_up_does_so_for_its_own_limits() {
        let own = Limits {
            pressure: Some(10.0),
            give_up_after: Some(Duration::from_secs(1)),
            ..Limits::default()
        };
        let other = Limits {
            rate: Some(20),
            pressure: Some(1.0),
            ..Limits::default()
        };
        let (limits, _) = strictest(&own, [other]);
        assert_eq!((limits.rate, limits.pressure), (Some(20), Some(10.0)));
    }
}
