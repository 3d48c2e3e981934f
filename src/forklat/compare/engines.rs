//! The engines that mmapcp took for a copy, read from the events of its `--json`.

use std::collections::BTreeMap;

use serde_json::Value;

/// Returns the bytes that each engine copied, from the `done` events of one run.
pub(super) fn engines(events: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let events = events
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    for event in events.filter(|event: &Value| event["event"] == "done") {
        for (name, bytes) in event["engines"].as_object().into_iter().flatten() {
            *sums.entry(name.clone()).or_default() += bytes.as_u64().unwrap_or(0);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::engines;

    #[test]
    fn bytes_of_all_files_are_added_and_other_lines_passed_over() {
        let events = "{\"event\":\"plan\",\"engines\":{\"mmap\":9}}\nnot JSON\n\
                      {\"event\":\"done\",\"engines\":{\"mmap\":1,\"buffered\":2}}\n\
                      {\"event\":\"done\",\"engines\":{\"mmap\":4}}\n";
        let want = [("buffered".to_owned(), 2), ("mmap".to_owned(), 5)];
        assert_eq!(engines(events), want.into());
    }
}
