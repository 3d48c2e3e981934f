//! Whatever the governor is told, in whatever order: it stays within its bounds.

use std::time::Duration;

use mmapcp::transfer::rate_limit::{
    CallSpan, CallSummary, Cause, CopyTotals, Governor, LatencySample, Limits, MAX_BURST,
    RemainingWork, Sample, StallSample,
};
use proptest::prelude::*;

use super::MIN_RATE;
use super::simulated_machine::{moment, per_second};

/// Plain numbers as often as extreme ones.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..30_000_000_000_u64,
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        0..10_u64
    ]
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let time = || prop::option::of(any_number().prop_map(Duration::from_nanos));
    let rate = prop::option::of(1..u64::MAX);
    let pressure = prop::option::of(prop_oneof![0.0..100.0, any::<f64>()]);
    let deadline = (time(), any_number());
    (rate, [time(), time(), time()], pressure, time(), deadline).prop_map(
        |(rate, latencies, pressure, give_up_after, (finish_within, began))| Limits {
            rate,
            fork_latency: latencies[0],
            wakeup_latency: latencies[1],
            write_latency: latencies[2],
            pressure,
            give_up_after,
            finish_within,
            began: moment(began),
        },
    )
}

fn feed_input(governor: &mut Governor, what: u8, numbers: (u64, u64, u64)) {
    let (intended, moments, end) = numbers;
    let answer = Sample::Latency(LatencySample {
        intended: moment(intended),
        moments,
        end: moment(end),
    });
    let stall = Sample::Stall(StallSample {
        at: moment(intended),
        total_us: moments,
    });
    match what {
        0 => governor.add_sample(Cause::ForkLatency, answer),
        1 => governor.add_sample(Cause::WriteLatency, answer),
        4 => governor.add_sample(Cause::WakeupLatency, answer),
        5 => governor.add_calls(CallSummary::new(CallSpan {
            began: moment(intended),
            end: moment(end),
        })),
        2 => governor.add_sample(Cause::MemoryPressure, stall),
        3 => governor.add_sample(Cause::IoPressure, stall),
        6 => governor.sensor_lost(Cause::ForkLatency, moment(intended)),
        7 => governor.set_remaining(RemainingWork {
            bytes: moments,
            may_be_more: intended % 2 == 0,
        }),
        _ => governor.add_sample(Cause::LimitRate, answer),
    }
}

proptest! {
    #[test]
    fn nothing_leads_out_of_bounds(
        limits in any_limits(),
        periods in (any_number(), any_number()),
        threads in prop_oneof![0_usize..64, any::<usize>()],
        start in any_number(),
        calls in prop::collection::vec((0_u8..13, (any_number(), any_number(), any_number())), 1..120),
    ) {
        let period = |cause| match cause {
            Cause::ForkLatency => Duration::from_nanos(periods.0),
            _ => Duration::from_nanos(periods.1),
        };
        let mut governor = Governor::new(&limits, period, threads, moment(start));
        let mut opened = false;
        for (what, numbers) in calls {
            if what < 9 {
                feed_input(&mut governor, what, numbers);
                continue;
            }
            let done = CopyTotals { moved: numbers.1, waited: Duration::from_nanos(numbers.2), };
            let orders = governor.decide(moment(numbers.0), done);
            let limit = limits.rate.unwrap_or(u64::MAX);
            let rate = per_second(orders.rate);
            prop_assert!(rate <= limit);
            opened |= rate > 0;
            if opened {
                prop_assert!(rate >= limit.min(MIN_RATE), "{orders:?}");
            }
            if limits.holds_back() {
                prop_assert!(orders.chunk.is_power_of_two() || orders.chunk.is_multiple_of(64 << 10), "{orders:?}");
                prop_assert!((4096..=8 << 20).contains(&orders.chunk), "{orders:?}");
            }
            prop_assert!((Duration::from_millis(2)..=MAX_BURST).contains(&orders.burst), "{orders:?}");
            if let Some(holding) = orders.bottleneck {
                prop_assert!(holding.figure.is_finite() && holding.target.is_finite(), "{holding:?}");
            }
        }
    }
}
