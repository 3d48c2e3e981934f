//! A fake prober: answers made by hand become a table, with nothing timed.

use std::time::Duration;

use mmapcp::forklat::export::rows::Detail;
use mmapcp::forklat::export::terminal_report;
use mmapcp::forklat::model::{ProbeResult, REPORT_VERSION, Report, Subject};
use mmapcp::forklat::phases::Phases;
use mmapcp::observe::host_info::HostInfo;
use mmapcp::observe::ring::Sample;
use mmapcp::sys::clock::MonotonicNs;

const PERIOD: Duration = Duration::from_millis(10);

/// The time of day at which the fake clock was zero.
const START_SINCE_EPOCH: Duration = Duration::from_secs(1_795_262_400);

fn at(milliseconds: u64) -> MonotonicNs {
    MonotonicNs::ZERO.after(Duration::from_millis(milliseconds))
}

/// An answer to a question asked in time, after a millisecond.
fn answer(intended: MonotonicNs) -> Sample {
    Sample {
        first_intended: intended,
        intended_count: 1,
        start: intended,
        end: intended.after(Duration::from_millis(1)),
        child_start: None,
    }
}

/// A second of 1 ms answers; then one with 200 ms in which nobody answers, at the end of which all is asked at once and
/// takes 2 ms.
fn measured() -> Phases {
    let mut spans = Phases::new(1);
    spans.begin("baseline", at(0));
    spans.begin("during", at(1000));
    spans.end(at(2000));
    for n in 0..200 {
        if !(130..150).contains(&n) {
            spans.record(0, PERIOD, &answer(at(10 * n)));
        }
    }
    let stalled = Sample {
        first_intended: at(1300),
        intended_count: 20,
        start: at(1498),
        end: at(1500),
        child_start: None,
    };
    spans.record(0, PERIOD, &stalled);
    spans
}

fn report(spans: &Phases) -> Report {
    let subject = |name: &str| {
        let span = spans.of(name).next().unwrap();
        let heard = &spans.prober_latencies(name)[0].answer;
        Subject {
            name: name.into(),
            seconds: span.end.since(span.start).as_secs_f64(),
            probes: vec![ProbeResult::of(
                "write",
                None,
                PERIOD,
                heard,
                span.start,
                START_SINCE_EPOCH,
            )],
            ..Subject::default()
        }
    };
    Report {
        v: REPORT_VERSION,
        kind: "run".into(),
        forklat: String::new(),
        date: String::new(),
        command_line: Vec::new(),
        facts: HostInfo::default(),
        notes: Vec::new(),
        subjects: spans.names().map(subject).collect(),
        alone: None,
        scale: None,
        seed: None,
        observers: Vec::new(),
    }
}

#[test]
fn a_stall_is_in_the_figures_for_all_who_waited() {
    let report = report(&measured());
    let [baseline, during] = [0, 1].map(|n| &report.subjects[n].probes[0]);
    assert_eq!((baseline.latency.count, baseline.service.count), (100, 100));
    // Twenty moments were missed, and asked about once.
    assert_eq!((during.latency.count, during.service.count), (100, 81));
    let figures = during.latency.figures.unwrap();
    let close = |value: f64, exact: f64| (value / exact - 1.0).abs() < 1e-3;
    assert_eq!(figures.max, 200_000.0);
    // 200, 190, 180 ... 10 ms, and 80 of 1 ms.
    assert!(close(figures.p99, 190_000.0), "{figures:?}");
    assert!(close(figures.p90, 100_000.0), "{figures:?}");
    assert!(close(figures.p50, 1000.0), "{figures:?}");
    assert!(
        close(figures.mean, (2100.0 + 80.0) * 1000.0 / 100.0),
        "{figures:?}"
    );
    assert!(close(during.service.figures.unwrap().max, 2000.0));
    let worst: Vec<(f64, f64)> = during.worst.iter().map(|m| (m.latency, m.offset)).collect();
    assert_eq!(worst[..2], [(200_000.0, 0.3), (190_000.0, 0.31)]);
    assert_eq!(worst.len(), 10);
    assert_eq!(during.worst[0].time, 1_795_262_401.3);
}

#[test]
fn a_stall_is_in_the_table() {
    let text = terminal_report::render(&report(&measured()), Detail::Short);
    let (table, below) = text.split_once("\n\n").unwrap();
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let want = [
        "baseline during ratio",
        "write count 100 100",
        "p50 ms 1.00 1.00 1.00",
        "p90 ms 1.00 100 100.00",
        "p99 ms 1.00 190 190.00",
        "p99.9 ms 1.00 200 200.00",
        "max ms 1.00 200 200.00",
        "mean ms 1.00 21.8 21.80",
    ];
    for (line, want) in lines.iter().zip(want) {
        // The histogram keeps three digits: the last decimal of a ratio of two such values is not told here.
        let shown: Vec<&str> = line.split(' ').collect();
        let wanted: Vec<&str> = want.split(' ').collect();
        assert_eq!(shown.len(), wanted.len(), "{line}: {want}");
        for (shown, wanted) in shown.iter().zip(wanted) {
            match (shown.parse::<f64>(), wanted.parse::<f64>()) {
                (Ok(shown), Ok(wanted)) => assert!((shown / wanted - 1.0).abs() < 2e-3, "{line}"),
                _ => assert_eq!(*shown, wanted, "{line}"),
            }
        }
    }
    assert_eq!(lines.len(), want.len(), "{table}");
    // One stall, not ten moments of it; then the answers that took what they always take.
    assert!(
        below.starts_with("worst moments during:\n  write: 200 ms at "),
        "{below}"
    );
    assert!(below.contains("(0.300 s in)"), "{below}");
}
