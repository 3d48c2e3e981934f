//! The events of `--json` beside the tables of mmapcp(1).

use serde_json::Value;

use super::man_page::pages;
use super::programs;
use crate::support::CopyFixture;

/// The fields that every event has; the page names them before the tables.
const COMMON_FIELDS: [&str; 2] = ["event", "v"];

/// Returns the first cells of the table of one event.
fn documented_fields(page: &str, event: &str) -> Vec<String> {
    let start = format!(".SS {event}\n");
    let (_, section) = page
        .split_once(&start)
        .unwrap_or_else(|| panic!("mmapcp(1) has no table of the event {event}"));
    let (section, _) = section.split_once(".TE").expect("the table ends");
    section
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(field, _)| field.to_owned())
        .collect()
}

/// Asserts that mmapcp(1) has each field of an event.
fn check_event(page: &str, event: &Value) {
    let fields = event.as_object().expect("an event is an object");
    let name = event["event"].as_str().expect("an event has a name");
    let documented = documented_fields(page, name);
    for field in fields.keys() {
        assert!(
            COMMON_FIELDS.contains(&field.as_str()) || documented.contains(field),
            "mmapcp(1) is silent on the field {field} of {name}"
        );
    }
}

#[test]
fn the_page_has_every_field_of_the_events_of_a_copy() {
    let [(_, program), _] = programs();
    let page = pages(program).remove(0).roff();
    let pair = CopyFixture::new(1 << 20);
    let run = |options: &[&str]| pair.command(options).output().expect("mmapcp runs");
    let outputs = [
        run(&["--json", "--limit-rate=100G"]),
        run(&["--json", "--update=none-fail"]),
    ];
    let mut seen = Vec::new();
    for line in outputs
        .iter()
        .flat_map(|output| output.stdout.split(|b| *b == b'\n'))
    {
        if line.is_empty() {
            continue;
        }
        let event: Value = serde_json::from_slice(line).expect("a line is JSON");
        check_event(&page, &event);
        seen.push(event["event"].as_str().unwrap_or_default().to_owned());
    }
    for event in ["plan", "progress", "done", "error", "total"] {
        assert!(
            seen.iter().any(|name| name == event),
            "no event {event}: {seen:?}"
        );
    }
}
