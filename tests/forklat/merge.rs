//! `forklat merge` of what `forklat run` has exported.

use std::fs;

use mmapcp::forklat::export::json_report;

use super::{COMMAND_TIME_ONLY, RunFixture, probe, probe_kinds, subject};
use crate::support::{assert_exit, describe_output, lossy_string, run};

/// Two runs, the second with an interval log beside.
fn two_runs() -> RunFixture {
    let place = RunFixture::new();
    for name in ["one", "two"] {
        let exports = [
            format!("--export-json={name}"),
            format!("--export-hlog={name}.hlog"),
        ];
        let output = run(place
            .forklat()
            .args(["run", "--probe=fork,touch", "--for=200ms"])
            .args(COMMAND_TIME_ONLY)
            .args(exports));
        assert_exit(&output, 0);
    }
    place
}

/// What is read from JSON may differ from what was written by the last bit.
fn same(one: f64, other: f64) -> bool {
    (one / other - 1.0).abs() < 1e-12
}

#[test]
fn counts_are_added_and_the_worst_is_kept() {
    let place = two_runs();
    let output = run(place.forklat().args([
        "merge",
        "one",
        "two",
        "--export-json=sum",
        "--export-hlog=hlog",
    ]));
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        describe_output(&output)
    );
    assert!(
        lossy_string(&output.stdout).contains("during"),
        "{}",
        describe_output(&output)
    );
    let [one, two, sum] = ["one", "two", "sum"].map(|name| place.report(name));
    assert_eq!((sum.kind.as_str(), sum.subjects.len()), ("merge", 1));
    assert_eq!(sum.facts, one.facts);
    let [one, two, sum] = [&one, &two, &sum].map(|report| subject(report, "during"));
    assert_eq!(probe_kinds(sum), ["fork", "fork-child", "touch"]);
    assert!(same(sum.seconds, one.seconds + two.seconds));
    assert_eq!(sum.probes.len(), one.probes.len());
    for all in &sum.probes {
        let [one, two] = [one, two].map(|of| probe(of, &all.name, all.cpu));
        assert_eq!(all.latency.count, one.latency.count + two.latency.count);
        assert_eq!(all.service.count, one.service.count + two.service.count);
        let max = |of: &mmapcp::forklat::model::ProbeResult| of.latency.figures.unwrap().max;
        assert!(same(max(all), max(one).max(max(two))), "{all:?}");
        assert!(
            all.worst.len() <= 10 && all.worst[0].latency == max(all),
            "{:?}",
            all.worst
        );
    }
    place.assert_only(&["hlog", "one", "one.hlog", "sum", "two", "two.hlog"]);
}

/// An interval log holds what its run's JSON does, so the two kinds may be mixed.
#[test]
fn logs_and_json_together_on_standard_output() {
    let place = two_runs();
    let output = run(place
        .forklat()
        .args(["merge", "one.hlog", "two", "--export-json=-"]));
    assert_exit(&output, 0);
    let sum = json_report::parse(&output.stdout).unwrap();
    let count = |report, name| probe(subject(report, "during"), name, None).latency.count;
    let [one, two] = ["one", "two"].map(|name| place.report(name));
    for name in ["fork", "touch"] {
        assert_eq!(count(&sum, name), count(&one, name) + count(&two, name));
    }
    assert!(
        lossy_string(&output.stderr).contains("during"),
        "the table is aside"
    );
}

#[test]
fn what_cannot_be_added_is_said_and_nothing_is_written() {
    let place = two_runs();
    let whole = fs::read(place.path("one")).unwrap();
    fs::write(place.path("half"), &whole[..whole.len() / 2]).unwrap();
    fs::write(place.path("noise"), "noise").unwrap();
    for (files, said) in [
        (
            &["missing"][..],
            "cannot read 'missing': No such file or directory",
        ),
        (&["one", "./one"], "'./one' is given twice"),
        (&["one", "half"], "'half' is truncated or damaged: "),
        (
            &["one", "noise"],
            "'noise' is neither a JSON export of forklat nor an HdrHistogram log",
        ),
        (&["."], "cannot read '.': Is a directory"),
    ] {
        let output = run(place
            .forklat()
            .args(["merge", "--export-json=sum"])
            .args(files));
        assert_exit(&output, 125);
        assert!(output.stdout.is_empty(), "{}", describe_output(&output));
        let stderr = lossy_string(&output.stderr);
        assert!(stderr.starts_with(&format!("forklat: {said}")), "{stderr}");
        place.assert_only(&["half", "noise", "one", "one.hlog", "two", "two.hlog"]);
    }
}
