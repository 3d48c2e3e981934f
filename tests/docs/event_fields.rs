//! The events of `--json` beside the tables of mmapcp(1).

use std::fs;

use serde_json::Value;

use super::man_page::pages;
use super::{programs, repository};

/// The fields that the page names before the tables: those of every event, and paths that are not UTF-8.
const COMMON_FIELDS: [&str; 4] = ["event", "v", "source_hex", "destination_hex"];

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
fn the_page_has_every_field_of_every_event() {
    let [(_, program), _] = programs();
    let page = pages(program).remove(0).roff();
    let golden = fs::read_to_string(repository("tests/golden/events.jsonl")).expect("events");
    for line in golden.lines() {
        let event: Value = serde_json::from_str(line).expect("a line is JSON");
        check_event(&page, &event);
    }
}
