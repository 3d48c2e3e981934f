//! The text of `--export-openmetrics`, read by a parser of the rules that OpenMetrics and the older format of Prometheus have in
//! common, and how its file appears.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use mmapcp::forklat::export::{Exports, openmetrics};
use mmapcp::forklat::model::Report;
use proptest::prelude::*;

use crate::report_exports::{compare, copy, distribution, probe, report, run, subject, timeline};
use crate::support::disk_dir;

/// The samples of one family: name, labels and value.
type Samples = Vec<(String, BTreeMap<String, String>, f64)>;

/// A family with its type.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    unit: Option<String>,
    has_help: bool,
    samples: Samples,
}

/// Returns the families of a text. Panics where a rule is broken.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text
        .strip_suffix("# EOF\n")
        .expect("the text ends with EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        assert!(!line.is_empty() && line.trim() == line, "{line:?}");
        if let Some(head) = line.strip_prefix("# ") {
            let mut words = head.splitn(3, ' ');
            let [kind, name, rest] = [(); 3].map(|()| words.next().expect("three words"));
            if kind == "TYPE" {
                assert!(!families.contains_key(name), "{name} is in two places");
                current = name.to_owned();
            }
            assert_eq!(current, name, "the head of another family");
            let family = families.entry(current.clone()).or_default();
            assert!(
                family.samples.is_empty(),
                "a head after the samples of {name}"
            );
            match kind {
                "TYPE" => family.kind = rest.to_owned(),
                "UNIT" => {
                    assert!(
                        name.ends_with(&format!("_{rest}")),
                        "{name} lacks its unit {rest}"
                    );
                    family.unit = Some(rest.to_owned());
                }
                "HELP" => {
                    assert!(!rest.contains(['\\', '"']), "the formats differ: {rest}");
                    family.has_help = true;
                }
                other => panic!("{other} is no head"),
            }
            continue;
        }
        let sample = parse_sample(line);
        let family = families
            .get_mut(&current)
            .expect("a head before the samples");
        let suffix = sample
            .0
            .strip_prefix(&current)
            .expect("a sample of its family");
        match family.kind.as_str() {
            "gauge" => assert_eq!(suffix, "", "{line}"),
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            other => panic!("a node exporter does not know the type {other}"),
        }
        family.samples.push(sample);
    }
    families
}

/// Returns a sample: `name{label="value",...} number`, without a time.
fn parse_sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).expect("a name ends");
    let (name, mut rest) = line.split_at(end);
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    assert!(is_name(name), "{name}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label has a value");
            assert!(is_name(label), "{label}");
            let (value, after) = unquote(after);
            assert!(
                labels.insert(label.to_owned(), value).is_none(),
                "{label} twice"
            );
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').expect("labels end");
                    break;
                }
            }
        }
    }
    let number = rest.strip_prefix(' ').expect("a number follows").parse();
    (
        name.to_owned(),
        labels,
        number.expect("a number, and no time after it"),
    )
}

/// Returns a value up to its closing quote, and what follows that.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('\\' | '"'))) => c,
                other => panic!("{other:?} is escaped"),
            }),
            c => value.push(c),
        }
    }
    panic!("a value without an end: {text}")
}

/// Checks what holds between the samples of each family.
fn check(families: &BTreeMap<String, Family>) {
    for (name, family) in families {
        assert!(family.has_help && !family.samples.is_empty(), "{name}");
        let mut seen = BTreeSet::new();
        for (sample, labels, value) in &family.samples {
            assert!(value.is_finite(), "{sample} {labels:?}");
            assert!(seen.insert((sample, labels)), "{sample} {labels:?} twice");
        }
        if family.kind == "histogram" {
            check_histogram(name, &family.samples);
        }
    }
}

/// Checks that buckets grow, and that the last holds all.
fn check_histogram(name: &str, samples: &Samples) {
    let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for (sample, labels, value) in samples.iter().filter(|s| s.0.ends_with("_bucket")) {
        let mut labels = labels.clone();
        let bound = labels
            .remove("le")
            .unwrap_or_else(|| panic!("{sample} has no bound"));
        let bound = bound.parse().unwrap();
        buckets.entry(labels).or_default().push((bound, *value));
    }
    let count = |labels: &BTreeMap<String, String>| {
        let all = format!("{name}_count");
        let mut found = samples.iter().filter(|s| s.0 == all && s.1 == *labels);
        found.next().expect("each histogram has a count").2
    };
    for (labels, bounds) in &buckets {
        assert!(
            bounds.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
            "{bounds:?}"
        );
        let last = bounds.last().unwrap();
        assert_eq!(*last, (f64::INFINITY, count(labels)));
    }
}

fn read(report: &Report) -> BTreeMap<String, Family> {
    let families = parse(&openmetrics::render(report).unwrap());
    check(&families);
    families
}

/// The value of the one sample whose labels have these values.
fn value(families: &BTreeMap<String, Family>, name: &str, values: &[&str]) -> f64 {
    let mut found = families.iter().rev();
    let family = found.find(|(family, _)| name.starts_with(family.as_str()));
    let (_, family) = family.unwrap_or_else(|| panic!("no {name}"));
    let has = |labels: &BTreeMap<String, String>| {
        values
            .iter()
            .all(|value| labels.values().any(|other| other == value))
    };
    let mut found = family.samples.iter().filter(|s| s.0 == name && has(&s.1));
    found
        .next()
        .unwrap_or_else(|| panic!("no {name} {values:?}"))
        .2
}

#[test]
fn figures_are_those_of_the_report_in_base_units() {
    let mut compared = compare();
    compared.subjects[1].copies[0].status = 1;
    compared.subjects[1].timelines = vec![timeline(&[0, 5 << 20], &[7, 9], &[0.0, 0.5], true)];
    let families = read(&compared);
    for (name, labels, want) in [
        ("forklat_report", &["compare"][..], 1.0),
        ("forklat_report_time_seconds", &[], 1_795_262_400.0),
        ("forklat_measured_seconds", &["cp"], 3.0),
        ("forklat_latency_seconds_count", &["cp", "write"], 4.0),
        ("forklat_latency_seconds_bucket", &["cp", "0.5"], 0.0),
        ("forklat_latency_seconds_bucket", &["cp", "1"], 4.0),
        ("forklat_latency_seconds_bucket", &["mmapcp", "0.0002"], 4.0),
        ("forklat_copies", &["cp", "failed"], 1.0),
        ("forklat_copies", &["mmapcp", "correct"], 3.0),
        ("forklat_copy_wall_seconds", &["mmapcp"], 1.0),
        ("forklat_copy_peak_resident_bytes", &["cp"], 2_097_152.0),
        ("forklat_memory_max_bytes", &["cp", "Dirty"], 5_242_880.0),
        ("forklat_vm_events", &["cp", "allocstall"], 2.0),
        ("forklat_pressure_worst_ratio", &["cp", "memory some"], 0.5),
    ] {
        let got = value(&families, name, labels);
        assert!(
            (got - want).abs() <= want * 0.001,
            "{name} {labels:?}: {got}"
        );
    }
    let p99 = value(
        &families,
        "forklat_latency_quantile_seconds",
        &["cp", "0.99"],
    );
    assert!((p99 - 0.641).abs() < 0.001, "{p99}");
    assert!(families.contains_key("forklat_latency_max_seconds"));
}

#[test]
fn what_was_not_measured_has_no_sample() {
    let mut silent = probe("fork", &[1]);
    silent.latency = distribution(&[]);
    let empty = subject("after", true, vec![silent]);
    let families = read(&report("run", vec![empty]));
    assert_eq!(
        value(&families, "forklat_latency_seconds_count", &["after"]),
        0.0
    );
    for absent in [
        "forklat_latency_max_seconds",
        "forklat_copies",
        "forklat_memory_max_bytes",
    ] {
        assert!(!families.contains_key(absent), "{absent}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn any_report_follows_the_rules(
        names in prop::collection::hash_set("\\PC{0,8}|[\"\\\\\n{},=# ]{1,6}", 1..4),
        latencies in prop::collection::vec(1..1_u64 << 36, 1..40),
    ) {
        let subjects = names.iter().map(|name| {
            let mut subject = subject(name, false, vec![probe("fork", &latencies)]);
            subject.copies = vec![copy(1.5)];
            subject
        });
        let families = read(&report("compare", subjects.collect()));
        let family = &families["forklat_measured_seconds"];
        let said: BTreeSet<&String> = family.samples.iter().map(|s| &s.1["subject"]).collect();
        prop_assert_eq!(said, names.iter().collect::<BTreeSet<_>>());
    }
}

/// A node exporter reads its directory whenever it is asked: each time it must find no file, the old one or the new one. Before
/// the measurement an empty file is made and removed at once, to see whether that is possible.
#[test]
fn a_reader_never_sees_a_part_of_the_file() {
    let dir = disk_dir();
    let path = dir.path().join("forklat.prom");
    let mut large = run();
    large.subjects = (0..30)
        .map(|n| {
            subject(
                &format!("phase {n}"),
                false,
                vec![probe("fork", &[1_000_000; 3])],
            )
        })
        .collect();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            while !ended.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&path).unwrap_or_default();
                if !text.is_empty() {
                    assert!(text.ends_with("# EOF\n"), "{} bytes of it", text.len());
                    reads += 1;
                }
            }
            reads
        });
        for round in 0..10 {
            if round % 2 == 0 {
                // The next write has to make the file anew.
                let _ = fs::remove_file(&path);
            }
            let exports = Exports(vec![(&openmetrics::FORMAT, path.clone())]);
            exports.open().unwrap().write(&large, None).unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0, "the reader has read nothing");
    });
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(names, ["forklat.prom"]);
}
