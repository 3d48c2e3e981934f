//! Who holds the copy back: kept for whoever asks, and when it is time to tell.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::transfer::rate_limit::Bottleneck;

/// A rate that changes is told this often at most: what governs looks fifty times a second.
const MIN_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What was heard last, and what was told last.
#[derive(Debug, Default)]
pub(super) struct ThrottleStatus(Mutex<ThrottleState>);

#[derive(Debug, Default)]
struct ThrottleState {
    current: Option<Bottleneck>,
    last_reported: Option<Bottleneck>,
    next_report_at: Duration,
}

impl ThrottleStatus {
    /// Who holds it back now, if anyone does.
    pub(super) fn current(&self) -> Option<Bottleneck> {
        self.lock().current
    }

    /// What holds `at` that time since the run began. Whether it is to be told: the first at once, and then what has changed
    /// so much, when the last is long enough ago. What is not due yet is when it is asked the next time.
    pub(super) fn update(&self, holding: Option<&Bottleneck>, at: Duration) -> bool {
        let mut state = self.lock();
        state.current = holding.copied();
        let due = at >= state.next_report_at
            && is_significant_change(state.last_reported.as_ref(), holding);
        if due {
            state.last_reported = state.current;
            state.next_report_at = at + MIN_REPORT_INTERVAL;
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, ThrottleState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody else, or another rate by a quarter.
fn is_significant_change(told: Option<&Bottleneck>, now: Option<&Bottleneck>) -> bool {
    match (told, now) {
        (None, None) => false,
        (Some(told), Some(now)) if told.cause == now.cause => {
            let (before, after) = (told.rate as f64, now.rate as f64);
            (after - before).abs() > before / 4.0
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::rate_limit::Cause;

    fn holding(cause: Cause, rate: u64) -> Bottleneck {
        Bottleneck {
            cause,
            figure: 0.006,
            target: 0.005,
            rate,
        }
    }

    /// At each of these milliseconds, who holds it back then; those that are told.
    fn told(heard: &[(u64, Option<Bottleneck>)]) -> Vec<u64> {
        let held = ThrottleStatus::default();
        let told = heard.iter().filter(|(at, holding)| {
            let due = held.update(holding.as_ref(), Duration::from_millis(*at));
            assert_eq!(held.current(), *holding, "whoever asks gets the last");
            due
        });
        told.map(|(at, _)| *at).collect()
    }

    #[test]
    fn nobody_is_no_news() {
        assert_eq!(told(&[(0, None), (2000, None)]), Vec::<u64>::new());
    }

    #[test]
    fn the_first_is_told_at_once_and_again_when_it_has_changed() {
        let fork = |rate| Some(holding(Cause::ForkLatency, rate));
        let write = Some(holding(Cause::WriteLatency, 100));
        let heard = [
            (10, fork(100)),
            (20, fork(10)),
            (1009, fork(10)),
            (1010, fork(10)),
            (3000, fork(12)),
            (4000, fork(13)),
            (6000, fork(10)),
            (7000, fork(16)),
            (8000, write),
            (9000, None),
            (10_000, None),
        ];
        assert_eq!(told(&heard), [10, 1010, 4000, 8000, 9000]);
    }

    #[test]
    fn from_nothing_any_rate_is_a_change() {
        let fork = |rate| Some(holding(Cause::ForkLatency, rate));
        let heard = [(0, fork(0)), (1000, fork(0)), (2000, fork(1))];
        assert_eq!(told(&heard), [0, 2000]);
    }

    /// A cause that comes and goes fifty times a second floods nobody, and the last of it is told.
    #[test]
    fn what_flickers_is_told_once_a_second() {
        let rate = Some(holding(Cause::LimitRate, 100));
        let mut heard: Vec<_> = (0..250)
            .map(|tick| (tick * 20, rate.filter(|_| tick % 2 == 0)))
            .collect();
        heard.push((5020, None));
        heard.push((9000, None));
        let told = told(&heard);
        assert!(told.len() <= 6, "{told:?}");
        assert_eq!(told[0], 0);
    }
}
