//! Events as JSON, one object a line: the interface that scripts hold on to.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use serde_json::{Map, Value, json};

use super::ReportedError;
use super::counters::{RunProgress, RunSummary, bytes_per_second};
use crate::transfer::rate_limit::Bottleneck;
use crate::transfer::{Event, Progress};

/// Version of the events. A field may be added under the same number; none changes its meaning.
const EVENT_VERSION: u32 = 1;

/// One event of a file. Notes are for people; they have no event.
#[must_use]
pub fn event(event: &Event, source: &Path, dest: &Path) -> Option<String> {
    if matches!(event, Event::Note { .. }) {
        return None;
    }
    let Ok(Value::Object(fields)) = serde_json::to_value(event) else {
        return None;
    };
    let named = matches!(event, Event::Plan { .. } | Event::Done { .. });
    let mut object = new_event(fields.get("event")?.as_str()?);
    if named {
        insert_path(&mut object, "source", source);
        insert_path(&mut object, "destination", dest);
    }
    object.extend(fields);
    Some(Value::Object(object).to_string())
}

/// The error that ended a file, given by source and destination, or that belongs to no file.
#[must_use]
pub fn error(files: Option<(&Path, &Path)>, error: &dyn ReportedError) -> String {
    let mut object = new_event("error");
    if let Some((source, dest)) = files {
        insert_path(&mut object, "source", source);
        insert_path(&mut object, "destination", dest);
    }
    object.insert("error".into(), error.to_string().into());
    object.insert("op".into(), error.operation().into());
    object.insert("errno".into(), error.errno().into());
    object.insert("code".into(), error.errno().and_then(errno_name).into());
    Value::Object(object).to_string()
}

/// Returns the name of an error number, such as `ENOSPC`.
fn errno_name(errno: i32) -> Option<String> {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => None,
        known => Some(format!("{known:?}")),
    }
}

/// How far one file is, and the run. What is not known yet is null.
pub(super) fn progress(progress: &Progress, so_far: &RunProgress) -> String {
    let rate = bytes_per_second(progress.copied, progress.elapsed);
    let total = so_far.total;
    let mut object = new_event("progress");
    object.insert("copied".into(), progress.copied.into());
    object.insert("size".into(), progress.size.into());
    object.insert("rate".into(), json!(rate));
    object.insert("elapsed".into(), json!(progress.elapsed.as_secs_f64()));
    object.insert("files_done".into(), so_far.files.into());
    object.insert("files".into(), total.map(|t| t.files).into());
    object.insert("bytes_done".into(), so_far.bytes.into());
    object.insert("bytes".into(), total.map(|t| t.bytes).into());
    Value::Object(object).to_string()
}

/// Who holds the copy back. All is null where nobody does any more.
pub(super) fn throttle(holding: Option<&Bottleneck>) -> String {
    let mut object = new_event("throttle");
    object.insert("cause".into(), json!(holding.map(|h| h.cause.name())));
    object.insert("figure".into(), json!(holding.map(|h| h.figure)));
    object.insert("target".into(), json!(holding.map(|h| h.target)));
    object.insert("rate".into(), json!(holding.map(|h| h.rate)));
    Value::Object(object).to_string()
}

/// The end of the run.
pub(super) fn total(sum: &RunSummary) -> String {
    let mut object = new_event("total");
    object.insert("files".into(), sum.files.into());
    object.insert("bytes".into(), sum.bytes.into());
    object.insert("directories".into(), sum.directories.into());
    object.insert("skipped".into(), sum.skipped.into());
    object.insert("errors".into(), sum.errors.into());
    object.insert("elapsed".into(), json!(sum.elapsed.as_secs_f64()));
    let rate = bytes_per_second(sum.bytes, sum.elapsed);
    object.insert("rate".into(), json!(rate));
    Value::Object(object).to_string()
}

fn new_event(event: &str) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("event".into(), event.into());
    object.insert("v".into(), EVENT_VERSION.into());
    object
}

/// A path as a string, or its bytes in hexadecimal under `NAME_hex` where it is not UTF-8.
fn insert_path(object: &mut Map<String, Value>, name: &str, path: &Path) {
    match path.to_str() {
        Some(text) => object.insert(name.into(), text.into()),
        None => {
            let bytes = path.as_os_str().as_bytes();
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            object.insert(format!("{name}_hex"), hex.into())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::rate_limit::Cause;

    #[test]
    fn throttle_names_cause_figure_target_and_rate() {
        let holding = Bottleneck {
            cause: Cause::ForkLatency,
            figure: 0.0062,
            target: 0.005,
            rate: 35 << 20,
        };
        let said: Value = serde_json::from_str(&throttle(Some(&holding))).unwrap();
        let want = json!({
            "event": "throttle", "v": 1,
            "cause": "fork-latency", "figure": 0.0062, "target": 0.005, "rate": 36_700_160,
        });
        assert_eq!(said, want);
    }

    #[test]
    fn nobody_is_null() {
        let said: Value = serde_json::from_str(&throttle(None)).unwrap();
        let want = json!({
            "event": "throttle", "v": 1,
            "cause": null, "figure": null, "target": null, "rate": null,
        });
        assert_eq!(said, want);
    }
}
