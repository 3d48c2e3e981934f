//! Checks events of `--json` against `man/mmapcp-events.schema.json`, the schema that is committed beside the man pages.
//!
//! The checker knows the keywords that this schema uses and fails on any other. A crate for the whole of JSON Schema would
//! add 60 crates to the tests.

use std::sync::LazyLock;

use serde_json::{Value, json};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../man/mmapcp-events.schema.json");
    serde_json::from_str(text).expect("the schema is JSON")
});

/// Fails unless the event is what the schema allows, and the schema describes each of its fields.
pub(crate) fn assert_valid(event: &Value) {
    if let Err(why) = check(&SCHEMA, event).and_then(|()| check_documented(event)) {
        panic!("{why}\nin {event}");
    }
}

/// Returns the first violation of a schema, in words.
fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let keywords = schema.as_object().expect("a schema is an object");
    for (keyword, wanted) in keywords {
        check_keyword(keyword, wanted, value, schema)?;
    }
    Ok(())
}

fn check_keyword(
    keyword: &str,
    wanted: &Value,
    value: &Value,
    schema: &Value,
) -> Result<(), String> {
    let ensure = |holds: bool| {
        let violated = || format!("{value} violates {keyword}: {wanted}");
        holds.then_some(()).ok_or_else(violated)
    };
    match keyword {
        "$schema" | "$defs" | "title" | "description" | "format" => Ok(()),
        "$ref" => check(resolve(wanted), value),
        "type" => ensure(has_type(wanted, value)),
        "const" => ensure(value == wanted),
        "enum" => ensure(list(wanted).contains(value)),
        "minimum" => ensure(value.is_null() || value.as_f64() >= wanted.as_f64()),
        "required" => ensure(
            list(wanted)
                .iter()
                .all(|key| value.get(text(key)).is_some()),
        ),
        "oneOf" => {
            let valid = list(wanted).iter().filter(|one| check(one, value).is_ok());
            ensure(valid.count() == 1).map_err(|_| why_no_kind(wanted, value))
        }
        "items" => value
            .as_array()
            .into_iter()
            .flatten()
            .try_for_each(|v| check(wanted, v)),
        "properties" => fields(wanted).try_for_each(|(key, schema)| match value.get(key) {
            Some(field) => check(schema, field).map_err(|why| format!("{key}: {why}")),
            None => Ok(()),
        }),
        "additionalProperties" => fields(value)
            .filter(|(key, _)| schema["properties"].get(key).is_none())
            .try_for_each(|(_, field)| check(wanted, field)),
        other => panic!("the checker does not know the keyword {other}"),
    }
}

/// Returns what is wrong with an event, judged by the schema of its kind.
fn why_no_kind(kinds: &Value, event: &Value) -> String {
    let named = |kind: &&Value| kind["properties"]["event"]["const"] == event["event"];
    match list(kinds)
        .iter()
        .find(named)
        .map(|kind| check(kind, event))
    {
        Some(Err(why)) => why,
        _ => format!("{} is the name of no event", event["event"]),
    }
}

/// Fails if the event has a field that the schema does not name. Readers must accept it, but it is not documented.
fn check_documented(event: &Value) -> Result<(), String> {
    let kinds = list(&SCHEMA["oneOf"]).iter();
    let mut kinds = kinds.filter(|kind| kind["properties"]["event"]["const"] == event["event"]);
    let kind = kinds.next().ok_or("it has no known name")?;
    let documented = &resolve(&kind["$ref"])["properties"];
    let unknown = fields(event)
        .map(|(key, _)| key)
        .find(|key| !["event", "v"].contains(&key.as_str()) && documented.get(key).is_none());
    unknown.map_or(Ok(()), |key| {
        Err(format!("the schema does not name the field {key}"))
    })
}

fn resolve(reference: &Value) -> &'static Value {
    let pointer = text(reference).strip_prefix('#');
    let schema = pointer.and_then(|pointer| SCHEMA.pointer(pointer));
    schema.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &Value| match text(name) {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the checker does not know the type {other}"),
    };
    match wanted {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("it is a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("it is a string")
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn golden_events() -> Vec<Value> {
    let lines = include_str!("golden/events.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn golden_events_are_valid() {
    let events = golden_events();
    assert!(events.len() > 10, "{}", events.len());
    for event in events {
        assert_valid(&event);
    }
}

#[test]
fn changed_events_are_invalid() {
    let is_valid = |event: &Value| check(&SCHEMA, event).and_then(|()| check_documented(event));
    let golden = golden_events();
    let done = golden.iter().find(|event| event["event"] == "done");
    let done = done.expect("a golden event is `done`");
    let changes = [
        ("v", json!(2)),
        ("event", json!("finished")),
        ("bytes", json!("1")),
        ("bytes", json!(-1)),
        ("engine", json!(1)),
        ("engines", json!({"mmap": null})),
        ("unheard_of", json!(0)),
    ];
    for (field, value) in changes {
        let mut event = done.clone();
        event[field] = value;
        assert!(is_valid(&event).is_err(), "{event}");
    }
    let mut event = done.clone();
    event.as_object_mut().unwrap().remove("extents");
    let why = is_valid(&event).expect_err("a field is missing");
    assert!(why.contains("required"), "{why}");
}
