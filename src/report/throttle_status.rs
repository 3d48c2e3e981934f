//! Keeps what holds the copy back, and decides when a change of it is reported.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::sys::lock::lock;
use crate::transfer::rate_limit::Bottleneck;

/// Shortest time between two reports of a changed rate. The governor checks fifty times a second.
const MIN_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What was recorded last, and what was reported last.
#[derive(Debug, Default)]
pub(super) struct ThrottleStatus(Mutex<ThrottleState>);

#[derive(Debug, Default)]
struct ThrottleState {
    current: Option<Bottleneck>,
    last_reported: Option<Bottleneck>,
    next_report_at: Duration,
}

impl ThrottleStatus {
    /// Returns what holds the copy back now, if anything does.
    pub(super) fn current(&self) -> Option<Bottleneck> {
        self.lock().current
    }

    /// Records what holds the copy back at time `at` since the run was started, and returns whether to report it: the
    /// first at once, later ones if they changed significantly and the last report is old enough. A change that is not
    /// due yet is considered again at the next call.
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
        lock(&self.0)
    }
}

/// Returns whether the cause differs, or the rate differs by more than a quarter.
fn is_significant_change(told: Option<&Bottleneck>, now: Option<&Bottleneck>) -> bool {
    match (told, now) {
        (None, None) => false,
        (Some(told), Some(now)) if told.cause == now.cause => {
            let (before, after) = (told.rate.as_f64(), now.rate.as_f64());
            (after - before).abs() > before / 4.0
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::rate_limit::{Cause, Rate};

    fn holding(cause: Cause, rate: u64) -> Bottleneck {
        Bottleneck {
            cause,
            figure: 0.006,
            target: 0.005,
            rate: Rate::from_bytes_per_sec(rate),
        }
    }

    /// Records each value at its time in milliseconds, and returns the times at which it was reported.
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

    /// A cause that comes and goes fifty times a second is reported at most once a second, and its last state is
    /// reported.
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
