//! What `forklat run` exports: whole, consistent in itself, and the same in every format.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use mmapcp::forklat::export::svg;
use mmapcp::forklat::merge::merge;
use mmapcp::forklat::model::{ProbeResult, Report, Subject, WorstMoment};

use super::{RunFixture, cpus, probe, probe_kinds, subject};
use crate::support::{assert_exit, describe_output, disk_dir, lossy_string, run};

const PHASES: [&str; 3] = ["baseline", "during", "after"];

/// All kinds, in the order of tables.
const KINDS: [&str; 8] = [
    "wakeup",
    "fork",
    "fork-child",
    "exec",
    "touch",
    "write",
    "fsync",
    "read",
];

/// One run with everything, looked at from all sides: it takes a second and a half.
#[test]
fn everything_that_was_measured() {
    let place = RunFixture::new();
    let disk = disk_dir();
    let on = format!("--on={}", disk.path().display());
    let (export, script) = (
        [
            "--export-csv=csv",
            "--export-markdown=markdown",
            "--export-hlog=hlog",
            "--export-svg=svg",
        ],
        "echo out; sleep 1",
    );
    let command = ["sh", "-c", script];
    let words = [
        &["--baseline=250ms", "--settle=250ms", &on][..],
        &export,
        &["--"],
        &command,
    ]
    .concat();
    let began = since_epoch();
    let (output, report) = place.run_and_report(&words);
    let time = began..since_epoch();
    assert_eq!(lossy_string(&output.stdout), "out\n", "the command's own");
    place.assert_only(&["csv", "hlog", "json", "markdown", "svg"]);
    is_of_this_run(&report, &command);
    for name in PHASES {
        let subject = subject(&report, name);
        has_all_probes(subject);
        has_each_cpu(subject);
        for probe in &subject.probes {
            has_worst_moments(probe, subject, &time);
        }
        has_a_timeline(subject, &time);
    }
    has_observers(&report);
    agree(&place, &report, &lossy_string(&output.stderr));
}

fn since_epoch() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

fn is_of_this_run(report: &Report, command: &[&str]) {
    assert_eq!((report.v, report.kind.as_str()), (1, "run"));
    assert!(
        humantime::parse_rfc3339(&report.date).is_ok(),
        "{}",
        report.date
    );
    assert!(
        report.command_line.ends_with(
            &command
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        )
    );
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(report.facts.kernel.as_deref(), Some(kernel.trim()));
    let on = report.facts.on.as_ref().expect("the file system of --on");
    assert!(on.file_system.is_some());
    let names: Vec<&str> = report.subjects.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, PHASES);
    for subject in &report.subjects {
        let ran = if subject.name == "during" {
            command
        } else {
            &[]
        };
        assert_eq!(subject.command, ran);
    }
    assert!(
        subject(report, "during").seconds >= 1.0,
        "the command slept for a second"
    );
}

fn has_all_probes(subject: &Subject) {
    assert_eq!(probe_kinds(subject), KINDS, "{}", subject.name);
    for probe in &subject.probes {
        let (latency, service) = (&probe.latency, &probe.service);
        assert!(
            latency.count > 0 && latency.figures.is_some(),
            "{}: {probe:?}",
            subject.name
        );
        // Of a late answer that serves several moments there is one service time.
        assert!(
            (1..=latency.count).contains(&service.count),
            "{}: {probe:?}",
            subject.name
        );
        let figures = latency.figures.unwrap();
        let quantiles = [
            figures.min,
            figures.p50,
            figures.p90,
            figures.p99,
            figures.p999,
        ];
        assert!(quantiles.is_sorted() && figures.min > 0.0, "{figures:?}");
        assert!(figures.p999 <= figures.max * 1.001, "{figures:?}");
    }
}

fn has_each_cpu(subject: &Subject) {
    let all = cpus();
    for name in ["fork", "fork-child"] {
        let each: Vec<&ProbeResult> = subject
            .probes
            .iter()
            .filter(|p| p.name == name && p.cpu.is_some())
            .collect();
        let of: Vec<u32> = each.iter().filter_map(|probe| probe.cpu).collect();
        // One alone is all together.
        assert_eq!(of, if all.len() > 1 { &all[..] } else { &[] });
        if all.len() > 1 {
            let together = probe(subject, name, None);
            let sum =
                |count: fn(&ProbeResult) -> u64| each.iter().map(|probe| count(probe)).sum::<u64>();
            assert_eq!(sum(|probe| probe.latency.count), together.latency.count);
            assert_eq!(sum(|probe| probe.service.count), together.service.count);
        }
    }
}

fn has_worst_moments(probe: &ProbeResult, subject: &Subject, time: &std::ops::Range<f64>) {
    let worst = &probe.worst;
    assert_eq!(worst.len() as u64, probe.latency.count.min(10));
    assert!(
        worst.is_sorted_by(|a, b| a.latency >= b.latency),
        "{worst:?}"
    );
    assert_eq!(worst[0].latency, probe.latency.figures.unwrap().max);
    for WorstMoment {
        time: at, offset, ..
    } in worst
    {
        assert!(time.contains(at), "{at} in {time:?}");
        assert!(
            (0.0..subject.seconds).contains(offset),
            "{offset} in {}",
            subject.seconds
        );
    }
}

fn has_a_timeline(subject: &Subject, time: &std::ops::Range<f64>) {
    let [timeline] = &subject.timelines[..] else {
        panic!("{} timelines", subject.timelines.len());
    };
    assert!(time.contains(&timeline.start));
    assert!(
        timeline.seconds.len() >= 2 && timeline.seconds.is_sorted(),
        "{:?}",
        timeline.seconds
    );
    for (name, values) in &timeline.series {
        assert_eq!(values.len(), timeline.seconds.len(), "{name}");
    }
    for name in [
        "MemFree",
        "MemAvailable",
        "Cached",
        "Dirty",
        "Writeback",
        "Shmem",
        "PageTables",
    ] {
        assert!(timeline.series[name].iter().all(Option::is_some), "{name}");
    }
    assert_eq!(timeline.pressure.supported, timeline.pressure.why.is_none());
}

fn has_observers(report: &Report) {
    let each_cpu = ["wakeup", "fork"].into_iter().flat_map(|kind| {
        let names = cpus().into_iter();
        names.map(move |cpu| format!("{kind} on CPU {cpu}"))
    });
    let others = ["exec", "touch", "write", "fsync", "read", "sampler"].map(str::to_owned);
    let all: Vec<String> = each_cpu.chain(others).collect();
    let names: Vec<&String> = report
        .observers
        .iter()
        .map(|observer| &observer.name)
        .collect();
    assert_eq!(names, all.iter().collect::<Vec<_>>());
    for observer in &report.observers {
        assert!(observer.seconds > 1.0 && observer.cpu > 0.0, "{observer:?}");
        assert!(
            observer.cpu < observer.seconds && observer.max_rss > 0,
            "{observer:?}"
        );
    }
}

/// Table, CSV, Markdown, interval log and picture tell what the JSON does.
fn agree(place: &RunFixture, report: &Report, table: &str) {
    let read = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    let head = "| | | | baseline | during | ratio | after | ratio |";
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let markdown: Vec<String> = read("markdown").lines().map(squeezed).collect();
    assert!(markdown.contains(&head.to_owned()), "{markdown:#?}");
    let heads: Vec<String> = table.lines().map(squeezed).collect();
    assert!(
        heads.contains(&"baseline during ratio after ratio".to_owned()),
        "{table}"
    );
    let count = |phase: &str| {
        probe(subject(report, phase), "fork", None)
            .latency
            .count
            .to_string()
    };
    let counts = PHASES.map(count);
    assert!(
        heads.contains(&format!("fork count {}", counts.join(" "))),
        "{table}"
    );
    let csv = read("csv");
    for (phase, count) in PHASES.iter().zip(&counts) {
        let line = format!("\n{phase},fork,,count,count,{count},");
        assert!(csv.contains(&line), "{csv}");
    }
    assert_eq!(read("svg"), svg::render(report).unwrap());
    let log = read("hlog");
    let intervals = log
        .lines()
        .filter(|line| line.starts_with("Tag=during/fork,"));
    assert!(intervals.count() > 1, "one a second: {log}");
    is_the_sum(&merge(&[place.path("hlog")]).unwrap(), report);
}

/// All intervals of the log together are the histograms of the report.
fn is_the_sum(log: &Report, report: &Report) {
    for name in PHASES {
        for kind in KINDS.into_iter().filter(|kind| *kind != "fork-child") {
            let [one, other] =
                [log, report].map(|of| &probe(subject(of, name), kind, None).latency);
            assert_eq!(one.read().unwrap(), other.read().unwrap(), "{name}/{kind}");
        }
    }
}

#[test]
fn json_alone_on_standard_output() {
    let place = RunFixture::new();
    let words = [
        "run",
        "--baseline=0",
        "--settle=0",
        "--probe=fork",
        "--for=100ms",
        "--export-json=-",
    ];
    let output = run(place.forklat().args(words));
    assert_exit(&output, 0);
    let report = mmapcp::forklat::export::json_report::parse(&output.stdout).unwrap();
    assert_eq!(
        probe_kinds(subject(&report, "during")),
        ["fork", "fork-child"]
    );
    assert!(
        lossy_string(&output.stderr).contains("during"),
        "{}",
        describe_output(&output)
    );
    place.assert_only(&[]);
}

/// Said when it is known, and the exit status tells that the export is missing.
#[test]
fn a_file_system_that_is_full_when_it_is_written() {
    let place = RunFixture::new();
    let words = [
        "--baseline=0",
        "--settle=0",
        "--probe=fork",
        "--export-json=/dev/full",
        "true",
    ];
    let output = place.run(&words);
    assert_exit(&output, 125);
    let stderr = lossy_string(&output.stderr);
    assert!(
        stderr.contains("during"),
        "what was measured is shown: {stderr}"
    );
    let last = "forklat: cannot write '/dev/full': No space left on device";
    assert_eq!(stderr.lines().last(), Some(last));
    place.assert_only(&[]);
}
