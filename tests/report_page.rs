//! The page of `--export-html`: what it says and draws, that it needs nothing else, and that no name becomes markup.

use mmapcp::forklat::export::html;
use mmapcp::forklat::export::rows::{Detail, grid};
use mmapcp::forklat::merge::merge;
use mmapcp::forklat::model::{LateAnswer, Report, Subject, WorstMoment};
use roxmltree::{Document, Node, ParsingOptions};

use crate::report_exports::{compare, compare_rounds, probe, report, run, subject, timeline};
use crate::support::disk_dir;

fn page(report: &Report) -> String {
    html::render(report).unwrap()
}

/// The page as XML, which it must be as well.
fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(page, options).unwrap_or_else(|e| panic!("{e}: {page}"))
}

fn elements<'a>(document: &'a Document, tag: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document
        .descendants()
        .filter(move |n| n.tag_name().name() == tag)
}

fn text(node: Node) -> String {
    let texts = node.descendants().filter(|n| n.is_text());
    texts.filter_map(|n| n.text()).collect()
}

/// The elements of a class, such as the lines of a chart.
fn of_class<'a>(document: &'a Document, class: &'a str) -> Vec<Node<'a, 'a>> {
    let is = move |n: &Node| {
        let classes = n.attribute("class").unwrap_or_default();
        classes.split(' ').any(|word| word == class)
    };
    document.descendants().filter(is).collect()
}

/// A comparison of ten rounds whose runs have readings of a second, with one late answer in each run of cp.
fn compare_with_timelines() -> Report {
    let mut report = compare_rounds();
    for (place, subject) in report.subjects.iter_mut().enumerate().skip(1) {
        for round in 0..subject.runs.len() {
            let mut timeline = timeline(&[0, 64 << 20, 32 << 20], &[0; 3], &[0.0, 0.5, 0.5], true);
            timeline.start = 1000.0 * (round + 1) as f64 + 10.0 * place as f64;
            if subject.name == "cp" {
                subject.late.push(LateAnswer {
                    probe: "fsync".into(),
                    latency: 200_000.0,
                    time: timeline.start + 0.25,
                });
            }
            subject.timelines.push(timeline);
        }
    }
    report
}

#[test]
fn a_page_says_what_the_terminal_says() {
    let report = compare_with_timelines();
    let html = page(&report);
    let document = parse(&html);
    let verdict = elements(&document, "section").next().unwrap();
    assert_eq!(verdict.attribute("class"), Some("verdict"));
    assert!(text(verdict).contains("under mmapcp up to 22.0 ms (shorter in 10 of 10 rounds)."));
    let rows = elements(&document, "tr").count();
    let tables = [Detail::Short, Detail::Full].map(|detail| grid(&report, detail).table());
    let lines: usize = tables.iter().map(|table| 1 + table.rows.len()).sum();
    assert_eq!(rows, lines, "each row of both tables and their heads");
    let commands = text(elements(&document, "pre").next().unwrap());
    assert_eq!(commands, "forklat compare");
}

#[test]
fn a_run_has_its_longest_waits_in_place_of_a_verdict() {
    let html = page(&run());
    let want = "<p>during: others waited up to 500 us for fork (baseline: 200 us).</p>";
    assert!(html.contains(want), "{html}");
}

#[test]
fn a_page_needs_nothing_else() {
    let html = page(&compare_with_timelines());
    for other in [
        "<script",
        "<link",
        "<img",
        "<iframe",
        " src=",
        " href=",
        "url(",
        "@import",
        "javascript:",
    ] {
        assert!(!html.contains(other), "{other}");
    }
    let names = ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"];
    let bare = names
        .iter()
        .fold(html.clone(), |text, name| text.replace(name, ""));
    assert!(
        !bare.contains("://"),
        "only the names of namespaces are addresses"
    );
    assert!(html.contains("default-src 'none'; style-src 'unsafe-inline'"));
    assert!(html.contains("prefers-color-scheme:dark"));
}

#[test]
fn percentiles_have_a_thick_line_for_each_tool_and_a_thin_one_for_each_run() {
    let mut report = compare_rounds();
    report.subjects[3].runs[4].left_out = Some("the OOM killer acted".into());
    let html = page(&report);
    let document = parse(&html);
    let chart = elements(&document, "svg")
        .find(|svg| svg.attribute("aria-label") == Some("Latency of fsync by percentile"))
        .unwrap();
    let curves = |class: &str| {
        let lines = chart
            .descendants()
            .filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "polyline")));
        lines
            .filter(|n| n.attribute("class") == Some(class))
            .count()
    };
    assert_eq!(curves("series"), 3, "cp, again, and mmapcp");
    assert_eq!(curves("single"), 10 + 10 + 9);
}

#[test]
fn each_round_has_its_runs_in_the_order_of_time_on_one_scale() {
    let mut report = compare_with_timelines();
    // In the second round the last tool came first.
    report.subjects[3].timelines[1].start = 2000.0;
    let html = page(&report);
    let document = parse(&html);
    let charts: Vec<Node> = elements(&document, "svg")
        .filter(|svg| {
            svg.attribute("aria-label")
                .is_some_and(|l| l.starts_with("Timeline"))
        })
        .collect();
    assert_eq!(charts.len(), 10);
    let names = |chart: &Node| {
        let texts = chart
            .children()
            .filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "text")));
        let names = texts.filter(|n| n.attribute("y") == Some("16"));
        names
            .map(|n| n.last_child().and_then(|n| n.text()).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&charts[0]), ["cp", "cp (again)", "mmapcp"]);
    assert_eq!(names(&charts[1]), ["mmapcp", "cp", "cp (again)"]);
    let summaries: Vec<String> = elements(&document, "summary").map(text).collect();
    assert_eq!(summaries[0], "Round 1: longest wait 200 ms for fsync");
    assert_eq!(of_class(&document, "wait").len(), 10, "one in each round");
    let open = elements(&document, "details").filter(|n| n.attribute("open").is_some());
    assert_eq!(open.count(), 1);
}

/// A run of one subject and one second fills the chart of 956 pixels from 72 on.
#[test]
fn a_late_answer_is_drawn_when_and_as_long_as_it_was_waited_for() {
    let mut during = subject("during", false, vec![probe("fork", &[200_000; 4])]);
    let mut second = timeline(&[0, 0], &[0; 2], &[0.0, 0.0], true);
    second.start = 1000.0;
    during.timelines = vec![second];
    during.late = vec![LateAnswer {
        probe: "fork".into(),
        latency: 250_000.0,
        time: 1000.5,
    }];
    let html = page(&report("run", vec![during]));
    let document = parse(&html);
    let lines = of_class(&document, "wait");
    let at = |name: &str| lines[0].attribute(name).unwrap();
    assert_eq!((at("x1"), at("x2")), ("550.0", "789.0"));
    assert_eq!(lines.len(), 1);
    let title = lines[0].parent().unwrap().first_child().unwrap();
    assert!(text(title).starts_with("fork: 250 ms at "));
}

#[test]
fn a_report_of_an_older_version_has_its_worst_moments_as_late_answers() {
    let mut slow = probe("fork", &[200_000; 4]);
    let moment = |latency: f64, offset: f64| WorstMoment {
        latency,
        time: 1000.0 + offset,
        offset,
    };
    // The second came in time, and the third was wanted after the readings.
    slow.worst = vec![
        moment(90_000.0, 0.5),
        moment(900.0, 0.2),
        moment(5000.0, 7.0),
    ];
    let mut during = subject("during", false, vec![slow]);
    let mut readings = timeline(&[0, 0], &[0; 2], &[0.0, 0.0], true);
    readings.start = 1000.0;
    during.timelines = vec![readings];
    let html = page(&report("run", vec![during]));
    assert_eq!(of_class(&parse(&html), "wait").len(), 1);
}

#[test]
fn no_name_becomes_markup() {
    let name = "<script>alert(\"1\")</script>&\u{1}";
    let odd = |aside| Subject {
        command: vec!["cp".into(), "<b>".into()],
        ..subject(name, aside, vec![probe("<i>", &[200_000; 4])])
    };
    let mut report = report("run", vec![odd(true), odd(false)]);
    report.notes = vec!["</body>".into()];
    report.command_line.push("</pre><script>".into());
    let html = page(&report);
    assert!(!html.contains("<script") && !html.contains("<i>") && !html.contains("<b>"));
    assert_eq!(html.matches("</body>").count(), 1);
    let document = parse(&html);
    assert!(text(document.root_element()).contains("<script>alert(\"1\")</script>&\u{fffd}"));
}

#[test]
fn a_report_without_readings_or_latencies_is_a_page_too() {
    let html = page(&report("merge", vec![subject("baseline", false, vec![])]));
    let document = parse(&html);
    assert_eq!(elements(&document, "svg").count(), 0);
    assert!(!text(document.root_element()).contains("Timelines"));
    assert_eq!(of_class(&document, "wait").len(), 0);
}

#[test]
fn a_saved_measurement_gives_the_same_page_again() {
    let dir = disk_dir();
    let path = dir.path().join("saved");
    let saved = compare_with_timelines();
    std::fs::write(
        &path,
        mmapcp::forklat::export::json_report::render(&saved).unwrap(),
    )
    .unwrap();
    let mut again = merge(&[path]).unwrap();
    for (name, of) in [("kind", &saved.kind), ("date", &saved.date)] {
        let at = if name == "kind" {
            &mut again.kind
        } else {
            &mut again.date
        };
        at.clone_from(of);
    }
    again.command_line.clone_from(&saved.command_line);
    again.seed = saved.seed;
    assert_eq!(page(&again), page(&saved));
    assert!(page(&compare()).contains("<h2>Figures</h2>"));
}
