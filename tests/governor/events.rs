//! What happens to a copy: silence, deaths, stops, a machine that is over without it; and who is named.

use std::time::Duration;

use mmapcp::transfer::rate_limit::{
    Cause, CopyTotals, Governor, LatencySample, Limits, Notice, Sample,
};

use super::TRICKLE;
use super::machine::{Machine, Record, SECOND, sample_period};

fn fork_within(milliseconds: u64) -> Limits {
    Limits {
        fork_latency: Some(Duration::from_millis(milliseconds)),
        ..Limits::default()
    }
}

/// The lowest and highest rate ordered in a stretch of time.
fn range(record: &Record, from: u64, to: u64) -> (u64, u64) {
    let orders = record.orders.iter();
    let rates = orders.filter(|(at, _)| (from..to).contains(at));
    let rates: Vec<u64> = rates.map(|(_, orders)| orders.rate).collect();
    (*rates.iter().min().unwrap(), *rates.iter().max().unwrap())
}

#[test]
fn nothing_moves_until_the_machine_was_listened_to() {
    let record = Machine::quiet(1).copy(&fork_within(50), 10 * SECOND);
    assert_eq!(range(&record, 0, 2 * SECOND / 5), (0, 0));
    let first = record.orders.iter().find(|(_, orders)| orders.rate > 0);
    assert_eq!(first.unwrap().1.rate, TRICKLE);
    // The disk's whole rate, within two seconds.
    assert!(record.rate(2..9) > 0.9e9, "{:?}", record.seconds);
    assert!(record.words.is_empty());
}

#[test]
fn without_answers_there_is_no_more_than_a_trickle() {
    for told in [false, true] {
        let mut machine = Machine::quiet(2);
        machine.silence = Some((5 * SECOND..9 * SECOND, told));
        let record = machine.copy(&fork_within(50), 20 * SECOND);
        let trickle = (TRICKLE, TRICKLE);
        assert_eq!(
            range(&record, 13 * SECOND / 2, 9 * SECOND),
            trickle,
            "told: {told}"
        );
        assert!(record.rate(2..5) > 0.9e9);
        let after = record.rate(15..19);
        // The stretch of silence, untold, is in the window for ten seconds.
        assert!(!told || after > 0.8e9, "{after}");
    }
}

#[test]
fn one_cut_answers_for_one_late_answer() {
    let mut machine = Machine::quiet(3);
    machine.silence = Some((5 * SECOND..5 * SECOND + SECOND / 2, false));
    let record = machine.copy(&fork_within(50), 8 * SECOND);
    let before = record.ordered(5 * SECOND);
    let (lowest, _) = range(&record, 5 * SECOND, 8 * SECOND);
    assert!(lowest < before * 6 / 10, "no brake: {lowest} of {before}");
    assert!(
        lowest > before * 3 / 10 / 2,
        "punished twice: {lowest} of {before}"
    );
}

#[test]
fn a_stop_is_followed_by_no_burst_and_no_punishment() {
    let mut machine = Machine::quiet(4);
    machine.stop = Some(5 * SECOND..65 * SECOND);
    let record = machine.copy(&fork_within(50), 80 * SECOND);
    assert_eq!(record.ordered(65 * SECOND), TRICKLE);
    assert!(record.rate(70..79) > 0.8e9, "{:?}", &record.seconds[60..]);
}

/// A frozen control group stops probers as well: what they answer for the time is the fault of nobody.
#[test]
fn a_stop_of_all_is_no_latency() {
    const TICK: u64 = SECOND / 40;
    let mut governor = Governor::new(&fork_within(50), sample_period, 1, 0);
    let mut done = CopyTotals::default();
    let mut decide = |now: u64, intended: u64| {
        governor.add_sample(
            Cause::ForkLatency,
            Sample::Latency(LatencySample {
                intended,
                moments: 1 + (now - intended) / TICK,
                end: now + SECOND / 1000,
            }),
        );
        let orders = governor.decide(now + SECOND / 500, done);
        done.moved += orders.rate.min(1 << 30) / 40;
        done.waited += TICK;
        orders.rate
    };
    let running = (0..200).map(|tick| decide(tick * TICK, tick * TICK)).last();
    assert!(running.unwrap() > 100 * TRICKLE);
    let frozen = (200, 2600);
    assert_eq!(decide(frozen.1 * TICK, frozen.0 * TICK), TRICKLE);
    let again = (1..80).map(|tick| decide((frozen.1 + tick) * TICK, (frozen.1 + tick) * TICK));
    let again = again.last().unwrap();
    assert!(again > 100 * TRICKLE, "{again} two seconds later");
}

#[test]
fn a_machine_that_is_over_without_us_is_said_once_and_given_up_in_time() {
    let mut machine = Machine::quiet(5);
    machine.fork = 60e6;
    let mut limits = fork_within(20);
    let record = machine.copy(&limits, 20 * SECOND);
    assert!(
        matches!(record.words[..], [(_, Notice::TargetMissedBeforeStart(_))]),
        "{:?}",
        record.words
    );
    assert_eq!(range(&record, 3 * SECOND, 20 * SECOND), (TRICKLE, TRICKLE));

    limits.give_up_after = Some(Duration::from_secs(5));
    let record = machine.copy(&limits, 20 * SECOND);
    let [
        (_, Notice::TargetMissedBeforeStart(first)),
        (at, Notice::GiveUp(last)),
    ] = record.words[..]
    else {
        panic!("{:?}", record.words);
    };
    assert!((5 * SECOND..7 * SECOND).contains(&at), "{at}");
    assert!(first.figure > 0.06 && last.figure > 0.06 && last.cause == Cause::ForkLatency);
}

#[test]
fn a_machine_that_recovers_is_not_given_up() {
    let mut machine = Machine::quiet(6);
    machine.silence = Some((5 * SECOND..8 * SECOND, true));
    let mut limits = fork_within(50);
    limits.give_up_after = Some(Duration::from_secs(5));
    let record = machine.copy(&limits, 30 * SECOND);
    assert!(record.words.is_empty(), "{:?}", record.words);
    // What was asked meanwhile and answered late is in the window for longer than there is patience.
    machine.silence = Some((5 * SECOND..8 * SECOND, false));
    let record = machine.copy(&limits, 30 * SECOND);
    assert!(record.words.is_empty(), "{:?}", record.words);
}

#[test]
fn nobody_is_named_before_there_is_a_figure() {
    let mut governor = Governor::new(&fork_within(50), sample_period, 1, 0);
    let orders = governor.decide(SECOND / 50, CopyTotals::default());
    assert_eq!((orders.rate, orders.bottleneck), (0, None));
    governor.add_sample(
        Cause::ForkLatency,
        Sample::Latency(LatencySample {
            intended: SECOND / 50,
            end: SECOND / 45,
            moments: 1,
        }),
    );
    let orders = governor.decide(SECOND / 25, CopyTotals::default());
    let holding = orders.bottleneck.unwrap();
    assert_eq!((orders.rate, holding.cause), (0, Cause::ForkLatency));
    assert!(holding.figure > 0.0);
}

#[test]
fn who_has_time_to_answer_is_not_late() {
    let hour = Duration::from_secs(3600);
    let limits = Limits {
        fork_latency: Some(hour),
        write_latency: Some(hour),
        ..Limits::default()
    };
    let mut governor = Governor::new(&limits, sample_period, 1, 0);
    let word = |governor: &mut Governor, now| governor.decide(now, CopyTotals::default()).notice;
    assert_eq!(word(&mut governor, 0), None);
    assert_eq!(word(&mut governor, 2 * SECOND + 1), None);
    assert_eq!(word(&mut governor, 2 * SECOND + 2), None);
}

#[test]
fn who_should_have_answered_is_late() {
    let mut governor = Governor::new(&fork_within(50), sample_period, 1, 0);
    governor.decide(0, CopyTotals::default());
    let word = governor
        .decide(2 * SECOND + 1, CopyTotals::default())
        .notice;
    assert!(
        matches!(word, Some(Notice::TargetMissedBeforeStart(holding)) if holding.figure >= 2.0),
        "{word:?}"
    );
}

#[test]
fn the_strictest_wins_and_is_named() {
    let mut machine = Machine::quiet(7);
    machine.source = 1e9;
    let last = |limits: &Limits| {
        let record = machine.copy(limits, 20 * SECOND);
        let (_, orders) = *record.orders.last().unwrap();
        let (low, high) = range(&record, 15 * SECOND, 20 * SECOND);
        assert!(high < 2 * low, "{low} {high}");
        (orders.bottleneck, record)
    };
    let mut limits = fork_within(5);
    let (fork, _) = last(&limits);
    let fork = fork.unwrap();
    assert_eq!(fork.cause, Cause::ForkLatency);
    assert_eq!(fork.target, 0.005);

    limits.rate = Some(fork.rate / 10);
    let (slow, record) = last(&limits);
    assert_eq!(slow.unwrap().cause, Cause::LimitRate);
    assert!((record.rate(10..19) / (fork.rate / 10) as f64 - 1.0).abs() < 0.02);

    limits.rate = None;
    limits.pressure = Some(2.0);
    let (pressed, record) = last(&limits);
    assert_eq!(pressed.unwrap().cause, Cause::IoPressure);
    let percent = (record.io[18] - record.io[10]) / 8e9 * 100.0;
    assert!((1.0..2.2).contains(&percent), "{percent}");
}

#[test]
fn a_limit_alone_is_exact_and_smooth() {
    for rate in [100_000, 10_000_000, 100_000_000] {
        let limits = Limits {
            rate: Some(rate),
            ..Limits::default()
        };
        let record = Machine::quiet(8).copy(&limits, 12 * SECOND);
        let reached = record.rate(1..11);
        assert!(
            (reached / rate as f64 - 1.0).abs() < 0.02,
            "{reached} of {rate}"
        );
        let (_, orders) = record.orders[record.orders.len() - 1];
        assert!(orders.chunk as u64 <= (rate / 80).max(4096), "{orders:?}");
        let holding = orders.bottleneck.unwrap();
        assert_eq!(
            (holding.cause, holding.target),
            (Cause::LimitRate, rate as f64)
        );
    }
}
