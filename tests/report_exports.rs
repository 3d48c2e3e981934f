//! Tables, exports and `merge`, of reports that nobody measured.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mmapcp::forklat::error::ForklatError;
use mmapcp::forklat::export::hlog::HistogramLog;
use mmapcp::forklat::export::rows::Detail;
use mmapcp::forklat::export::terminal_report;
use mmapcp::forklat::export::{Exports, FORMATS, OpenExports};
use mmapcp::forklat::export::{csv, html, json_report, markdown, openmetrics, svg};
use mmapcp::forklat::merge::merge;
use mmapcp::forklat::model::{
    CopyResult, Distribution, ObserverCost, ProbeResult, ProbeRun, REPORT_VERSION, Report,
    RunResult, RunSpan, Subject, SummaryStats, WorstMoment,
};
use mmapcp::forklat::run_comparison::compare_runs;
use mmapcp::observe::conditions::SpanConditions;
use mmapcp::observe::host_info::HostInfo;
use mmapcp::observe::latency_histograms::{new_histogram, record_ns};
use mmapcp::observe::memory::timeline::{
    CacheGrowth, PressureSeries, SlabGrowth, StallSeries, Timeline,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::disk_dir;

// ---------------------------------------------------------------- reports

pub(crate) fn distribution(nanoseconds: &[u64]) -> Distribution {
    let mut all = new_histogram();
    for value in nanoseconds {
        record_ns(&mut all, *value);
    }
    Distribution::of(&all)
}

pub(crate) fn probe(name: &str, nanoseconds: &[u64]) -> ProbeResult {
    ProbeResult {
        name: name.into(),
        cpu: None,
        period: Some(0.01),
        latency: distribution(nanoseconds),
        service: distribution(&nanoseconds[..1]),
        worst: Vec::new(),
    }
}

pub(crate) fn subject(name: &str, aside: bool, probes: Vec<ProbeResult>) -> Subject {
    Subject {
        name: name.into(),
        aside,
        seconds: 3.0,
        probes,
        ..Subject::default()
    }
}

pub(crate) fn report(kind: &str, subjects: Vec<Subject>) -> Report {
    Report {
        v: REPORT_VERSION,
        kind: kind.into(),
        forklat: "0.1.0".into(),
        date: "2026-11-21T12:00:00Z".into(),
        command_line: vec!["forklat".into(), kind.into()],
        facts: HostInfo::default(),
        notes: Vec::new(),
        subjects,
        alone: None,
        seed: None,
        scale: None,
        observers: Vec::new(),
    }
}

/// A `run` whose second phase is slower.
pub(crate) fn run() -> Report {
    report(
        "run",
        vec![
            subject("baseline", false, vec![probe("fork", &[200_000; 9])]),
            subject("during", false, vec![probe("fork", &[500_000; 4])]),
            subject("after", true, vec![probe("fork", &[210_000; 2])]),
        ],
    )
}

pub(crate) fn copy(wall: f64) -> CopyResult {
    CopyResult {
        wall,
        durable: wall + 1.0,
        user: 0.01,
        system: wall / 2.0,
        cache_growth: 1_572_864_000,
        peak_dirty: 0,
        max_rss: 2_097_152,
        status: 0,
        wrong: None,
    }
}

/// A `compare` of two tools beside an idle machine.
pub(crate) fn compare() -> Report {
    let mut cp = subject("cp", false, vec![probe("write", &[641_000_000; 4])]);
    cp.copies = vec![copy(3.0), copy(5.0), copy(4.0)];
    let mut mmapcp = subject("mmapcp", false, vec![probe("write", &[200_000; 4])]);
    mmapcp.copies = vec![copy(1.0), copy(1.0), copy(9.0)];
    let idle = subject("idle", true, vec![probe("write", &[50_000; 4])]);
    report("compare", vec![idle, cp, mmapcp])
}

// ---------------------------------------------------------------- tables

#[test]
fn a_run_is_a_table_of_phases_with_ratios() {
    let want = "                 baseline  during  ratio  after
fork  count             9       4             2
      p50    us       200     500   2.50    210
      p90    us       200     500   2.50    210
      p99    us       200     500   2.50    210
      p99.9  us       200     500   2.50    210
      max    us       200     500   2.50    210
      mean   us       200     500   2.50    210

notes:
  a maximum grows with the number of samples: compare only maxima of similar counts
  p99.9 of fewer than 1000 samples is their maximum: fork
  p99 of fewer than 100 samples is their maximum: fork
";
    assert_eq!(terminal_report::render(&run(), Detail::Short), want);
    let want = "| | baseline | during | ratio | after |";
    let markdown = markdown::render(&run());
    assert_eq!(squeeze(markdown.lines().next().unwrap()), want);
    assert_eq!(
        markdown.lines().nth(1),
        Some("|---|---|---|---:|---:|---:|---:|")
    );
    let p50 = squeeze(markdown.lines().nth(3).unwrap());
    assert_eq!(p50, "| | p50 | us | 200 | 500 | 2.50 | 210 |");
}

/// Runs of blanks and empty cells as one, where only the order matters.
fn squeeze(line: &str) -> String {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let mut cells: Vec<&str> = cells[1..cells.len() - 1].to_vec();
    cells.dedup_by(|a, b| a.is_empty() && b.is_empty());
    format!("| {} |", cells.join(" | ")).replace("|  |", "| |")
}

#[test]
fn a_comparison_is_a_table_of_tools_with_ratios_behind_values() {
    let want = "                           idle      cp    mmapcp
copy   wall          s        -    4.00      1.00  (0.25)
       durable       s        -    5.00      2.00  (0.40)
       user CPU      ms       -    10.0      10.0  (1.00)
       system CPU    s        -    2.00     0.500  (0.25)
       cache growth  GiB      -    1.46      1.46  (1.00)
       peak Dirty    B        -       0         0     (-)
       peak RSS      MiB      -    2.00      2.00  (1.00)
       identical              -  3 of 3    3 of 3
write  count             4       4         4
       p99           ms   0.050     641     0.200  (0.0003)
";
    let text = terminal_report::render(&compare(), Detail::Short);
    for (line, want) in text.lines().zip(want.lines()) {
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(line), words(want));
    }
    assert!(text.contains("\ncopies:\n  cp: identical in 3 of 3\n  mmapcp: identical in 3 of 3\n"));
    let markdown = markdown::render(&compare());
    assert!(
        markdown.contains("|  | durable | s | - | 5.00 | 2.00 (0.40) |"),
        "{markdown}"
    );
}

#[test]
fn four_tools_fit_a_hundred_columns() {
    let mut report = compare();
    let mut dd = report.subjects[1].clone();
    dd.name = "dd".into();
    for _ in 0..2 {
        report.subjects.insert(2, dd.clone());
    }
    let text = terminal_report::render(&report, Detail::Short);
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{text}");
}

#[test]
fn a_wrong_copy_is_said_wherever_its_figures_are() {
    let mut report = compare();
    report.subjects[2].copies[1].wrong = Some("first different byte at 123".into());
    report.subjects[2].copies[2].status = 7;
    let text = terminal_report::render(&report, Detail::Short);
    let row = text
        .lines()
        .find(|line| line.contains("identical "))
        .unwrap();
    assert!(
        row.contains("3 of 3") && row.contains("WRONG 1 of 3"),
        "{text}"
    );
    for said in [
        "mmapcp: WRONG: first different byte at 123 (run 2)",
        "mmapcp: exit status 7 (run 3)",
        "mmapcp: identical in 2 of 3",
    ] {
        assert!(text.contains(said), "{text}");
        assert!(markdown::render(&report).contains(said));
    }
    let csv = csv::render(&report);
    let row = csv.lines().find(|line| line.contains("WRONG")).unwrap();
    assert_eq!(
        row,
        "mmapcp,,,identical,count,2,,WRONG: first different byte at 123 (run 2); \
         exit status 7 (run 3); identical in 2 of 3"
    );
}

#[test]
fn what_was_not_measured_is_a_dash_and_never_nothing() {
    let mut report = run();
    report.subjects[0].probes.clear();
    report.subjects[2].probes[0].latency = distribution(&[]);
    let text = terminal_report::render(&report, Detail::Short);
    let words: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(words, ["p50", "us", "-", "500", "-", "-"]);
    let csv = csv::render(&report);
    assert!(csv.contains("\nbaseline,fork,,p50,us,,,\n"), "{csv}");
    assert!(csv.contains("\nafter,fork,,count,count,0,,\n"), "{csv}");
}

/// Readings of Dirty, allocstall and the seconds stalled for memory; nothing else is known.
pub(crate) fn timeline(dirty: &[u64], stalls: &[u64], stalled: &[f64], pressure: bool) -> Timeline {
    let some = |values: &[u64]| values.iter().copied().map(Some).collect();
    let stalls_of_memory = StallSeries {
        some: stalled.iter().copied().map(Some).collect(),
        full: vec![None; stalled.len()],
    };
    Timeline {
        start: 0.0,
        seconds: (0..dirty.len()).map(|n| n as f64).collect(),
        late: 0.25,
        series: [
            ("Dirty".to_owned(), some(dirty)),
            ("allocstall".to_owned(), some(stalls)),
            ("oom_kill".to_owned(), vec![None; dirty.len()]),
        ]
        .into(),
        pressure: PressureSeries {
            supported: pressure,
            why: None,
            resources: pressure
                .then(|| ("memory".to_owned(), stalls_of_memory))
                .into_iter()
                .collect(),
        },
        slabs: SlabGrowth {
            why: None,
            grown: vec![CacheGrowth {
                name: "dentry".into(),
                before: 0,
                peak: 1 << 20,
                growth: 1 << 20,
            }],
        },
    }
}

#[test]
fn the_machine_has_rows_of_extremes_over_all_runs() {
    let mut report = run();
    let seconds = [0.0, 0.5, 0.5];
    report.subjects[0].timelines = vec![timeline(&[1 << 20; 3], &[7; 3], &seconds, true)];
    report.subjects[1].timelines = vec![
        timeline(&[0, 5 << 20, 0], &[7, 9, 12], &[0.0, 0.0, 1.0], true),
        timeline(&[0, 3 << 20, 0], &[7, 7, 8], &seconds, true),
    ];
    report.subjects[2].timelines = vec![timeline(&[0; 3], &[0; 3], &seconds, false)];
    let text = terminal_report::render(&report, Detail::Short);
    let row = |label: &str| {
        let line = text.lines().find(|line| line.contains(label)).unwrap();
        let (_, values) = line.split_once(label).unwrap();
        values.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("Dirty max"), "MiB 1.00 5.00 5.00 0");
    assert_eq!(row("allocstall"), "0 6 0");
    assert_eq!(
        row("PSI memory some worst second"),
        "% 50.0 100 2.00 not supported"
    );
    assert_eq!(row("PSI memory some "), "% 25.0 37.5 1.50 not supported");
    assert_eq!(row("PSI memory full "), "% - - not supported");
    assert_eq!(row("oom_kill"), "not supported not supported not supported");
    assert_eq!(row("sampler late"), "ms 250 250 1.00 250");
    assert!(
        text.contains("slab caches:\n  baseline: dentry +1.00 MiB\n"),
        "{text}"
    );
    let csv = csv::render(&report);
    assert!(
        csv.contains("\nafter,,,oom_kill,count,,,not supported\n"),
        "{csv}"
    );
    // Copying tools are told apart by their own rows.
    report.subjects[1].copies = vec![copy(1.0)];
    assert!(!terminal_report::render(&report, Detail::Short).contains("Dirty max"));
    assert!(terminal_report::render(&report, Detail::Full).contains("Dirty max"));
}

#[test]
fn details_are_shown_when_asked_for() {
    let mut report = run();
    report.observers.push(ObserverCost {
        name: "fork on CPU 1".into(),
        seconds: 10.0,
        cpu: 0.25,
        max_rss: 3 << 20,
    });
    for subject in &mut report.subjects {
        let mut one = subject.probes[0].clone();
        one.cpu = Some(1);
        subject.probes.push(one);
    }
    let short = terminal_report::render(&report, Detail::Short);
    assert!(
        !short.contains("CPU 1") && !short.contains("service"),
        "{short}"
    );
    let full = terminal_report::render(&report, Detail::Full);
    for said in [
        "fork CPU 1",
        "service p99",
        "fork on CPU 1: 2.50 % of a CPU, 3.00 MiB resident",
    ] {
        assert!(full.contains(said), "{full}");
    }
    assert!(csv::render(&report).contains("\nduring,fork,1,service p99,us,"));
}

#[test]
fn three_stalls_are_named_not_three_moments_of_one() {
    let moment = |offset: f64, latency: f64| WorstMoment {
        latency,
        time: 1_795_262_400.0 + offset,
        offset,
    };
    let mut report = run();
    report.notes.push("memory could not be locked".into());
    report.subjects[1].probes[0].worst = vec![
        moment(2.0, 641_000.0),
        moment(2.5, 141_000.0),
        moment(1.0, 90_000.0),
        moment(1.05, 40_000.0),
        moment(0.5, 12_000.0),
        moment(0.1, 11_000.0),
    ];
    let text = terminal_report::render(&report, Detail::Short);
    let line = text
        .lines()
        .find(|line| line.starts_with("  fork: "))
        .unwrap();
    let shown: Vec<&str> = line.split(", ").collect();
    assert_eq!(shown.len(), 3, "{line}");
    for (shown, (latency, offset)) in shown.iter().zip([
        ("641 ms at ", "(2.000 s in)"),
        ("90.0 ms at ", "(1.000 s in)"),
        ("12.0 ms at ", "(0.500 s in)"),
    ]) {
        assert!(shown.contains(latency) && shown.ends_with(offset), "{line}");
    }
    assert!(text.contains("worst moments during:\n"), "{text}");
    assert!(text.ends_with("\n  memory could not be locked\n"), "{text}");
}

// ---------------------------------------------------------------- comparisons of runs

/// A run of round `round`, with waits for fsync and fork in milliseconds, and one for fsync until its data were durable.
fn a_run(round: u32, fsync: u64, fork: u64, tail: Option<u64>) -> RunResult {
    let probe = |name: &str, answers: u64, ms: u64| ProbeRun {
        name: name.into(),
        answers,
        mean_service: None,
        latency: distribution(&vec![ms * 1_000_000; answers as usize]),
    };
    let span = |part: &str, probes| RunSpan {
        part: part.into(),
        durable_by: None,
        seconds: 0.5,
        conditions: SpanConditions::default(),
        probes,
    };
    let mut spans = vec![span(
        "until exit",
        vec![probe("fork", 40, fork), probe("fsync", 5, fsync)],
    )];
    spans.extend(tail.map(|ms| span("until durable", vec![probe("fsync", 1, ms)])));
    RunResult {
        round,
        place: 1,
        date: "2026-11-21T12:00:00.000Z".into(),
        left_out: None,
        disturbed_by: Vec::new(),
        dirty_at_exit: Some(tail.map_or(0, |_| 240 << 20)),
        foreign_bytes: None,
        engines: [].into(),
        spans,
    }
}

/// A `compare` of ten rounds: cp twice in each, and mmapcp, under which fsync takes a hundredth and fork as long.
pub(crate) fn compare_rounds() -> Report {
    let mut report = compare();
    let tool = |name: &str, run: &dyn Fn(u32) -> RunResult| Subject {
        copies: vec![copy(1.0); 10],
        runs: (1..=10).map(run).collect(),
        ..subject(name, false, vec![probe("fsync", &[1_000_000; 4])])
    };
    let noise = |round: u32, of: u64| u64::from(round) * 7 % of;
    let cp = tool("cp", &|n| {
        a_run(n, 2000 + noise(n, 5), 3 + noise(n, 2), Some(900))
    });
    let mut again = tool("cp (again)", &|n| {
        a_run(n, 2000 + noise(n + 1, 5), 3 + noise(n + 1, 2), Some(800))
    });
    again.repeats = Some("cp".into());
    let mmapcp = tool("mmapcp", &|n| {
        a_run(n, 20 + noise(n, 3), 3 + noise(n, 3), None)
    });
    report.subjects.truncate(1);
    report.subjects.extend([cp, again, mmapcp]);
    report.seed = Some(42);
    report
}

/// The cells of the row of a figure of a probe, from the table of a comparison.
fn row_of(text: &str, probe: &str, figure: &str) -> Vec<String> {
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{probe} ")));
    let line = lines.find(|line| line.contains(figure)).unwrap();
    let (_, cells) = line.split_once(figure).unwrap();
    cells.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_comparison_of_runs_says_in_sentences_what_is_shown_and_what_is_not() {
    let text = terminal_report::render(&compare_rounds(), Detail::Short);
    for sentence in [
        "  Under cp, others waited up to 2.00 s for fsync; under mmapcp up to 22.0 ms (shorter in 10 of 10 rounds).\n",
        "  cp and mmapcp: no difference shown for fork.\n",
        "  cp and cp again: no difference shown in 3 rows, as it should be (a false one is shown in at most 5 % of comparisons).\n",
        "  cp exited with 240 MiB unwritten; forklat's own fsync of the copy then took 500 ms, while others waited up to 900 ms for fsync (not charged to the tool).\n",
        "  the order of the tools is that of --seed 42\n",
    ] {
        assert!(text.contains(sentence), "{sentence}is not in:\n{text}");
    }
    assert!(!text.contains("mmapcp exited with"), "{text}");
    assert_eq!(
        row_of(&text, "fsync", " max ")[3..],
        ["2.00", "(~)", "0.021", "(0.01)"],
        "{text}"
    );
    assert_eq!(text.matches("max until durable").count(), 1, "{text}");
    let tail = row_of(&text, "fsync", " max until durable ");
    assert_eq!(tail, ["ms", "-", "900", "800", "-"], "{text}");
    assert_eq!(
        row_of(&text, "fork", " p90 ")[3..],
        ["3.50", "(~)", "4.00", "(~)"],
        "{text}"
    );
}

#[test]
fn ratios_are_to_the_first_tool_in_the_same_state_of_memory() {
    let mut report = compare_rounds();
    for subject in &mut report.subjects[1..] {
        subject.memory = Some("warm".into());
    }
    for index in [1, 3] {
        let mut cold = report.subjects[index].clone();
        cold.name.push_str(" cold");
        cold.memory = Some("cold".into());
        report.subjects.push(cold);
    }
    let rows = compare_runs(&report.subjects);
    let mut pairs: Vec<(&str, &str)> = rows.iter().map(|r| (&*r.tool, &*r.reference)).collect();
    pairs.dedup();
    let want = [
        ("cp (again)", "cp"),
        ("mmapcp", "cp"),
        ("mmapcp cold", "cp cold"),
    ];
    assert_eq!(pairs, want);
}

#[test]
fn the_throughput_of_a_competing_writer_is_compared() {
    let mut report = compare_rounds();
    for (subject, mean_us) in report.subjects[1..].iter_mut().zip([2000.0, 2000.0, 500.0]) {
        for run in &mut subject.runs {
            let stream = &mut run.spans[0].probes[0];
            stream.name = "stream".into();
            stream.mean_service = Some(mean_us + f64::from(run.round));
        }
    }
    let text = terminal_report::render(&report, Detail::Short);
    let row = row_of(&text, "stream", " rate in write(2) ");
    // 1 MiB in 2.0055 ms, and in 0.5055 ms.
    assert_eq!(
        row,
        ["GiB/s", "-", "0.487", "0.487", "(~)", "1.93", "(3.97)"],
        "{text}"
    );
    let sentence = "Under cp, the competing writer wrote at 499 MiB/s while in write(2); under mmapcp at 1.93 GiB/s (faster in 10 of 10 rounds).";
    assert!(text.contains(sentence), "{text}");
}

#[test]
fn a_percentile_is_shown_only_of_enough_answers() {
    let text = terminal_report::render(&compare_rounds(), Detail::Short);
    let fsync = text.split("\nfsync ").nth(1).unwrap();
    assert!(!fsync.contains(" p50 "), "5 answers are too few: {text}");
    assert!(!text.contains(" p99 "), "40 answers are too few: {text}");
}

#[test]
fn csv_says_where_no_difference_is_shown() {
    let csv = csv::render(&compare_rounds());
    let row = csv
        .lines()
        .find(|line| line.starts_with("mmapcp,fork,,max,"));
    let is_alike = |row: &str| row.ends_with(",,no difference shown");
    assert!(row.is_some_and(is_alike), "{csv}");
    let row = csv
        .lines()
        .find(|line| line.starts_with("mmapcp,fsync,,max,"));
    assert!(row.is_some_and(|row| row.contains(",0.0")), "{csv}");
}

#[test]
fn a_run_that_is_left_out_is_in_no_figure_and_said() {
    let mut report = compare_rounds();
    report.subjects[1].runs[4].left_out = Some("the OOM killer acted".into());
    report.subjects[1].runs[4].spans[0].probes[1].latency = distribution(&[90_000_000_000; 5]);
    report.subjects[3].runs[2].disturbed_by = vec!["3.0 % of the CPU time was stolen".into()];
    let text = terminal_report::render(&report, Detail::Short);
    assert!(!text.contains("90.0 s"), "{text}");
    for line in [
        "  cp, round 5: left out of all figures, since the OOM killer acted\n",
        "  mmapcp, round 3: disturbed, 3.0 % of the CPU time was stolen\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    // A copy that failed was not fast either.
    let mut report = compare_rounds();
    report.subjects[3].copies[0].status = 1;
    let text = terminal_report::render(&report, Detail::Short);
    assert!(text.contains("(shorter in 9 of 9 rounds)"), "{text}");
}

#[test]
fn too_few_rounds_show_no_difference_and_say_so() {
    let mut report = compare_rounds();
    for subject in &mut report.subjects {
        subject.runs.truncate(3);
        subject.copies.truncate(3);
    }
    let text = terminal_report::render(&report, Detail::Short);
    let want =
        "cp and mmapcp: no difference shown for fork, fsync (3 rounds are too few to show any).";
    assert!(text.contains(want), "{text}");
}

#[test]
fn a_false_difference_between_two_runs_of_one_tool_is_said() {
    let mut report = compare_rounds();
    report.subjects[2].runs = (1..=10).map(|n| a_run(n, 9000, 3, None)).collect();
    let text = terminal_report::render(&report, Detail::Short);
    assert!(
        text.contains("a FALSE difference is shown for fsync max"),
        "{text}"
    );
}

#[test]
fn merged_rounds_stay_rounds_of_their_own() {
    let dir = disk_dir();
    let mut few = compare_rounds();
    for subject in &mut few.subjects {
        subject.runs.truncate(5);
        subject.copies.truncate(5);
    }
    let files = ["a", "b"].map(|name| save(dir.path(), name, &few));
    let merged = merge(&files).unwrap();
    let rounds: Vec<u32> = merged.subjects[3]
        .runs
        .iter()
        .map(|run| run.round)
        .collect();
    assert_eq!(rounds, (1..=10).collect::<Vec<u32>>());
    let text = terminal_report::render(&merged, Detail::Short);
    assert!(text.contains("(shorter in 10 of 10 rounds)"), "{text}");
    let again = json_report::parse(json_report::render(&merged).unwrap().as_bytes()).unwrap();
    assert_eq!(again.subjects[1].runs, merged.subjects[1].runs);
}

// ---------------------------------------------------------------- files

fn exports(json: &Path) -> Exports {
    Exports(vec![(&json_report::FORMAT, json.to_owned())])
}

fn json_and_csv(json: &Path, csv: &Path) -> Exports {
    let Exports(mut files) = exports(json);
    files.push((&csv::FORMAT, csv.to_owned()));
    Exports(files)
}

/// Writes the run, in whatever formats were opened.
fn write(opened: OpenExports) -> Result<(), ForklatError> {
    opened.write(&run(), Some(&log()))
}

fn log() -> HistogramLog {
    HistogramLog::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_262_400_250))
}

#[test]
fn every_format_is_written() {
    let dir = disk_dir();
    let files = FORMATS.iter();
    let files = files.map(|format| (format, dir.path().join(format.name)));
    let opened = Exports(files.collect()).open().unwrap();
    assert!(!opened.has_standard_output());
    write(opened).unwrap();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("json"), json_report::render(&run()).unwrap());
    assert_eq!(read("csv"), csv::render(&run()));
    assert_eq!(read("markdown"), markdown::render(&run()));
    assert_eq!(read("hlog"), log().text());
    assert_eq!(read("svg"), svg::render(&run()).unwrap());
    assert_eq!(read("html"), html::render(&run()).unwrap());
    assert_eq!(read("openmetrics"), openmetrics::render(&run()).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), FORMATS.len());
}

#[test]
fn what_cannot_be_written_is_said_before_the_run_and_nothing_is_left() {
    let dir = disk_dir();
    let missing = dir.path().join("no/such");
    for (path, why) in [
        (dir.path(), "Is a directory"),
        (missing.as_path(), "No such file or directory"),
    ] {
        let created = dir.path().join("created");
        let exports = json_and_csv(&created, path);
        let message = exports.open().unwrap_err().to_string();
        let want = format!("cannot write '{}': {why}", path.display());
        assert_eq!(message, want);
        assert!(!created.exists());
    }
}

#[test]
fn two_exports_to_one_file_are_refused_by_any_name() {
    let dir = disk_dir();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    symlink(&file, &link).unwrap();
    for (one, other) in [(&file, &file), (&link, &file), (&file, &link)] {
        let exports = json_and_csv(one, other);
        let message = exports.open().unwrap_err().to_string();
        assert!(message.starts_with("two exports to '"), "{message}");
        assert!(!file.exists(), "{message}");
    }
    let out = json_and_csv(Path::new("-"), Path::new("-"));
    let message = out.open().unwrap_err().to_string();
    assert_eq!(
        message,
        "two exports to standard output and standard output"
    );
    let null = json_and_csv(Path::new("/dev/null"), Path::new("/dev/null"));
    write(null.open().unwrap()).unwrap();
}

#[test]
fn exports_of_a_run_that_fails_leave_things_as_they_were() {
    let dir = disk_dir();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::write(&old, "precious").unwrap();
    let exports = json_and_csv(&old, &new);
    let opened = exports.open().unwrap();
    assert_eq!(fs::read_to_string(&old).unwrap(), "precious");
    assert!(!new.exists());
    drop(opened);
    assert_eq!(fs::read_to_string(&old).unwrap(), "precious");
    assert!(!new.exists());
}

#[test]
fn an_old_file_is_replaced_with_its_mode_and_through_links() {
    let dir = disk_dir();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "old".repeat(10_000)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file", &link).unwrap();
    write(exports(&link).open().unwrap()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
    let want = json_report::render(&run()).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), want);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

/// A file that another process puts there during the run is the one that is replaced, and its mode the one that stays; one
/// that has gone is made anew.
#[test]
fn what_has_the_name_in_the_end_counts() {
    let dir = disk_dir();
    let (file, other) = (dir.path().join("file"), dir.path().join("other"));
    let want = json_report::render(&run()).unwrap();
    fs::write(&file, "old").unwrap();
    let opened = exports(&file).open().unwrap();
    fs::write(&other, "newer").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&other, &file).unwrap();
    write(opened).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), want);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);

    let opened = exports(&file).open().unwrap();
    fs::remove_file(&file).unwrap();
    write(opened).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), want);
}

#[test]
fn a_file_with_two_names_is_overwritten_under_both() {
    let dir = disk_dir();
    let (file, other) = (dir.path().join("file"), dir.path().join("other"));
    fs::write(&file, "old".repeat(10_000)).unwrap();
    fs::hard_link(&file, &other).unwrap();
    write(exports(&file).open().unwrap()).unwrap();
    let want = json_report::render(&run()).unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), want);
}

#[test]
fn a_full_device_is_an_error_and_keeps_no_other_export_from_being_written() {
    let dir = disk_dir();
    let csv = dir.path().join("csv");
    let exports = json_and_csv(Path::new("/dev/full"), &csv);
    let message = write(exports.open().unwrap()).unwrap_err().to_string();
    assert_eq!(message, "cannot write '/dev/full': No space left on device");
    assert_eq!(fs::read_to_string(&csv).unwrap(), csv::render(&run()));
}

// ---------------------------------------------------------------- merge

/// Writes `report` as JSON under `name`.
fn save(dir: &Path, name: &str, report: &Report) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, json_report::render(report).unwrap()).unwrap();
    path
}

fn latency(report: &Report, subject: usize) -> &Distribution {
    &report.subjects[subject].probes[0].latency
}

/// What two histograms have in common that grew in another order.
fn figures(distribution: &Distribution) -> (u64, Option<SummaryStats>) {
    (distribution.count, distribution.figures)
}

#[test]
fn a_report_comes_back_from_json_as_it_was() {
    let report = compare();
    let text = json_report::render(&report).unwrap();
    let back = json_report::parse(text.as_bytes()).unwrap();
    assert_eq!(json_report::render(&back).unwrap(), text);
}

// ---------------------------------------------------------------- the picture

/// What the picture says of each line: the title of each group that has a class.
fn titles(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap_or_else(|e| panic!("{e}: {svg}"));
    let titles = document.descendants().filter(|n| n.has_tag_name("title"));
    titles
        .map(|n| n.text().unwrap_or_default().to_owned())
        .collect()
}

/// The marks of one kind, as (shape, attributes).
fn marks(svg: &str, kind: &str) -> Vec<(String, String)> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let class = format!("mark {kind}");
    let marks = document.descendants().filter(|n| {
        n.attribute("class") == Some(&class)
            && n.parent().unwrap().attribute("class") != Some("key")
    });
    let shape = |n: roxmltree::Node| {
        let at = n.attribute("points").or(n.attribute("cx"));
        (
            n.tag_name().name().to_owned(),
            at.unwrap_or_default().to_owned(),
        )
    };
    marks.map(shape).collect()
}

#[test]
fn the_picture_says_of_each_tool_what_the_table_says() {
    let svg = svg::render(&compare()).unwrap();
    let want = [
        "idle: 4 waits, median 50.0 us, longest 50.0 us",
        "cp: 4 waits, median 641 ms, longest 641 ms",
        "mmapcp: 4 waits, median 200 us, longest 200 us",
    ];
    assert_eq!(titles(&svg), want);
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> = document
        .descendants()
        .filter_map(|n| n.text())
        .map(str::trim)
        .collect();
    for word in [
        "write",
        "idle",
        "10 µs",
        "1 s",
        "Copies of each tool: 3. The waits of all of them are taken together.",
    ] {
        assert!(texts.contains(&word), "{word}: {texts:?}");
    }
    assert!(svg.contains("prefers-color-scheme:dark"), "{svg}");
    assert_eq!(document.root_element().attribute("width"), Some("800"));
}

/// Longer is further right, on a scale where ten times as long is as far from anywhere.
#[test]
fn marks_of_the_picture_lie_on_a_logarithmic_axis() {
    let latencies = [[20_000; 150].as_slice(), &[200_000; 2]].concat();
    let lone = subject("lone", false, vec![probe("fork", &latencies)]);
    let report = report("merge", vec![lone]);
    let svg = svg::render(&report).unwrap();
    let x = |kind: &str| -> f64 { marks(&svg, kind)[0].1.parse().unwrap() };
    // The axis is from 10 us to 1 ms, 550 pixels for two powers of ten.
    assert!((x("half") - (170.0 + 275.0 * 2_f64.log10())).abs() < 0.5);
    assert!((x("longest") - x("half") - 275.0).abs() < 0.5);
    assert_eq!(x("p99"), x("longest"), "2 of 152 are longer");
}

/// The 99th percentile of fewer than 100 latencies is the longest of them.
#[test]
fn a_picture_has_no_percentile_of_few_latencies() {
    for (count, percentiles) in [(99, 0), (100, 1)] {
        let lone = subject("lone", false, vec![probe("fork", &vec![200_000; count])]);
        let svg = svg::render(&report("run", vec![lone])).unwrap();
        assert_eq!(marks(&svg, "p99").len(), percentiles, "{count}");
        assert_eq!(marks(&svg, "longest").len(), 1);
    }
}

#[test]
fn each_tool_of_a_picture_has_its_own_shape_and_colour() {
    let names = ["idle", "a", "b", "c", "d", "e"];
    let subjects =
        names.map(|name| subject(name, name == "idle", vec![probe("fork", &[200_000; 4])]));
    let svg = svg::render(&report("compare", subjects.into())).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let mut colours: Vec<&str> = document
        .descendants()
        .filter(|n| n.has_tag_name("title"))
        .map(|n| n.parent().unwrap().attribute("class").unwrap())
        .collect();
    colours.dedup();
    assert_eq!(colours, ["c0", "c1", "c2", "c3", "c4", "c5"]);
    for colour in colours {
        assert_eq!(
            svg.matches(&format!(".{colour}{{fill:")).count(),
            2,
            "light and dark: {colour}"
        );
    }
    let corners = |(shape, at): &(String, String)| match shape.as_str() {
        "circle" => String::new(),
        _ => {
            let mut points = at.split(' ').map(|point| {
                let (x, y) = point.split_once(',').unwrap();
                (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())
            });
            let first = points.next().unwrap();
            let rest = points.map(|(x, y)| format!("{:.0},{:.0} ", x - first.0, y - first.1));
            rest.collect()
        }
    };
    let mut shapes: Vec<String> = marks(&svg, "half").iter().map(corners).collect();
    shapes.sort();
    shapes.dedup();
    assert_eq!(shapes.len(), names.len());
}

#[test]
fn names_in_a_picture_are_escaped() {
    let name = "a<b>&\"c\"\n\u{1}";
    let odd = subject(name, false, vec![probe("<fork>", &[200_000; 4])]);
    let svg = svg::render(&report("run", vec![odd])).unwrap();
    let want = "a<b>&\"c\" \u{fffd}: 4 waits, median 200 us, longest 200 us";
    assert_eq!(titles(&svg), [want]);
}

#[test]
fn a_saved_measurement_gives_the_same_picture_again() {
    let dir = disk_dir();
    let saved = save(dir.path(), "saved", &compare());
    let again = merge(&[saved]).unwrap();
    let svg = svg::render(&compare()).unwrap();
    assert_eq!(svg::render(&again).unwrap(), svg);
}

#[test]
fn there_is_no_picture_of_nothing() {
    let error = svg::render(&report("run", vec![subject("baseline", false, vec![])])).unwrap_err();
    assert_eq!(error.to_string(), "the report has no latency to draw");
}

#[test]
fn merging_adds_what_has_the_same_name() {
    let dir = disk_dir();
    let mut second = run();
    second.subjects[1].command = vec!["cp".into(), "a b".into()];
    second.notes = vec!["a note".into()];
    let mut first = second.clone();
    first.subjects[1].command = vec!["mmapcp".into()];
    first.subjects.pop();
    let files = [
        save(dir.path(), "1", &first),
        save(dir.path(), "2", &second),
    ];
    let merged = merge(&files).unwrap();
    let names: Vec<&str> = merged.subjects.iter().map(|s| &*s.name).collect();
    assert_eq!(names, ["baseline", "during", "after"]);
    let counts: Vec<u64> = (0..3).map(|n| latency(&merged, n).count).collect();
    assert_eq!(counts, [18, 8, 2]);
    assert_eq!(merged.subjects[0].seconds, 6.0);
    assert_eq!(
        merged.notes,
        [
            "a note",
            "during was measured with different commands: mmapcp and cp 'a b'"
        ]
    );
    // What was merged can be merged.
    let again = [
        save(dir.path(), "merged", &merged),
        save(dir.path(), "3", &run()),
    ];
    assert_eq!(latency(&merge(&again).unwrap(), 0).count, 27);
}

#[test]
fn merging_says_where_the_machines_differ() {
    let dir = disk_dir();
    let on = |kernel: &str| {
        let mut report = run();
        report.facts.kernel = Some(kernel.into());
        save(dir.path(), kernel, &report)
    };
    let same = save(
        dir.path(),
        "same",
        &json_report::parse(&fs::read(on("6.18")).unwrap()).unwrap(),
    );
    let merged = merge(&[on("6.18"), same, on("5.10")]).unwrap();
    assert_eq!(merged.facts.kernel.as_deref(), Some("6.18"));
    let other = dir.path().join("5.10");
    let note = format!(
        "'{}' was measured on another machine than the first file: kernel 5.10, not 6.18",
        other.display()
    );
    assert_eq!(merged.notes, [note]);
}

#[test]
fn merged_copies_are_told_one_after_the_other() {
    let dir = disk_dir();
    let mut second = compare();
    second.subjects[1].copies[0].wrong = Some("size 5, not 7".into());
    let files = [
        save(dir.path(), "1", &compare()),
        save(dir.path(), "2", &second),
    ];
    let text = terminal_report::render(&merge(&files).unwrap(), Detail::Short);
    assert!(text.contains("cp: WRONG: size 5, not 7 (run 4)"), "{text}");
    assert!(text.contains("cp: identical in 5 of 6"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn merging_two_is_measuring_both(
        mut one in vec(1..1_000_000_000_u64, 1..200),
        other in vec(1..1_000_000_000_u64, 1..200),
    ) {
        let dir = disk_dir();
        let file = |name: &str, values: &[u64]| {
            let subject = subject("during", false, vec![probe("fork", values)]);
            save(dir.path(), name, &report("run", vec![subject]))
        };
        let files = [file("1", &one), file("2", &other)];
        let merged = merge(&files).unwrap();
        one.extend(other);
        prop_assert_eq!(figures(latency(&merged, 0)), figures(&distribution(&one)));
    }
}

#[test]
fn intervals_of_a_log_are_added_by_tag() {
    let dir = disk_dir();
    let mut log = log();
    let second = Duration::from_secs(1);
    for n in 0..3_u64 {
        let mut all = new_histogram();
        record_ns(&mut all, 1_000_000 * (n + 1));
        log.interval("during", "fork", second * n as u32, second, &all);
        log.interval("my tool, v/2", "write", second * n as u32, second, &all);
    }
    let path = dir.path().join("log");
    fs::write(&path, log.text()).unwrap();
    let merged = merge(&[path, save(dir.path(), "json", &run())]).unwrap();
    let during = &merged.subjects[0];
    assert_eq!((&*during.name, during.seconds), ("during", 6.0));
    assert_eq!(during.probes[0].latency.count, 7);
    assert_eq!(during.probes[0].period, Some(0.01));
    let max = during.probes[0].latency.figures.unwrap().max;
    assert!((max - 3000.0).abs() < 3.0, "{max}");
    assert_eq!(merged.subjects[1].name, "my_tool__v_2");
    assert_eq!(merged.notes, [""; 0]);
}

#[test]
fn a_report_becomes_a_log_and_comes_back() {
    let dir = disk_dir();
    let path = dir.path().join("log");
    let log = HistogramLog::of(&run(), SystemTime::UNIX_EPOCH).unwrap();
    fs::write(&path, log.text()).unwrap();
    let merged = merge(&[path]).unwrap();
    for n in 0..3 {
        assert_eq!(figures(latency(&merged, n)), figures(latency(&run(), n)));
    }
}

#[test]
fn a_log_begins_as_that_of_the_reference() {
    let mut log = log();
    let mut all = new_histogram();
    record_ns(&mut all, 2_769_000);
    log.interval(
        "during",
        "fork",
        Duration::from_millis(127),
        Duration::from_millis(1007),
        &all,
    );
    let lines: Vec<&str> = log.text().lines().collect();
    assert_eq!(lines[1], "#[Histogram log format version 1.3]");
    assert_eq!(
        lines[2],
        "#[StartTime: 1795262400.250 (seconds since epoch), 2026-11-21T12:00:00Z]"
    );
    assert_eq!(
        lines[3],
        "#[BaseTime: 1795262400.250 (seconds since epoch)]"
    );
    assert_eq!(
        lines[4],
        r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#
    );
    // The greatest value that the histogram does not tell from 2.769 ms, as the reference writes it. HISTFAAA: the cookie of a deflated V2 histogram in base64, as in every such log.
    assert!(
        lines[5].starts_with("Tag=during/fork,0.127,1.007,2.771,HISTFAAA"),
        "{}",
        lines[5]
    );
}

#[test]
fn another_programs_log_is_read_with_a_note() {
    let dir = disk_dir();
    let path = dir.path().join("log");
    let text = log().text().replace("forklat", "jHiccup");
    let histogram = &distribution(&[5000]).histogram;
    fs::write(&path, format!("{text}0.127,1.007,2.769,{histogram}\n")).unwrap();
    let merged = merge(&[path]).unwrap();
    assert_eq!(merged.subjects[0].name, "merged");
    assert_eq!(merged.subjects[0].probes[0].name, "untagged");
    assert!(merged.notes[0].ends_with("its values are assumed to be nanoseconds"));
}

#[test]
fn a_file_that_cannot_be_merged_is_named() {
    let dir = disk_dir();
    let whole = json_report::render(&run()).unwrap();
    let newer = whole.replacen("\"v\": 1", "\"v\": 2", 1);
    let miscounted = whole.replacen("\"count\": 9", "\"count\": 8", 1);
    let line = format!("Tag=a/b,0.0,1.0,1.0,{}\n", distribution(&[1]).histogram);
    let cut = format!("{line}{}", &line[..40]);
    for (content, why) in [
        (&whole[..whole.len() / 2], "is truncated or damaged: EOF"),
        (
            &newer,
            "was written by a newer forklat: its format is 2, this program knows 1",
        ),
        (
            &miscounted,
            "is damaged: fork: a histogram holds 9 values, but its count says 8",
        ),
        ("{\"a\": 1}", "is JSON, but not a report of forklat"),
        (
            "{\"v\": 1, \"kind\": \"scale\", \"forklat\": \"0\"}",
            "is a report of forklat scale",
        ),
        (
            "hello\n",
            "is neither a JSON export of forklat nor an HdrHistogram log",
        ),
        (
            "",
            "is neither a JSON export of forklat nor an HdrHistogram log",
        ),
        (&cut, "is truncated or damaged: line 2 is not an interval"),
        (
            "Tag=a/b,0.0,1.0,1.0,AAAA\n",
            "is damaged: a histogram is damaged",
        ),
        (log().text(), "holds no interval"),
    ] {
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        let message = merge(std::slice::from_ref(&path)).unwrap_err().to_string();
        let want = format!("'{}' {why}", path.display());
        assert!(message.starts_with(&want), "{message}");
    }
    let missing = dir.path().join("missing");
    let message = merge(std::slice::from_ref(&missing))
        .unwrap_err()
        .to_string();
    let want = format!(
        "cannot read '{}': No such file or directory",
        missing.display()
    );
    assert_eq!(message, want);
    let twice = save(dir.path(), "twice", &run());
    let message = merge(&[twice.clone(), dir.path().join("./twice")])
        .unwrap_err()
        .to_string();
    assert!(message.ends_with("/./twice' is given twice"), "{message}");
}
