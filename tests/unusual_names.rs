//! Names that are hard to say: quoting in messages, bytes that are no UTF-8, and names as long as they may be, beside `/bin/cp`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use crate::cp_differential::{ComparisonOptions, assert_same_as_cp};
use crate::support::*;

/// Names in the notation of printf(1), which the shell turns into the bytes.
const HARD_NAMES: &[&str] = &[
    "plain",
    "two words",
    " blank first",
    "tab\\there",
    "new\\nline",
    "quote\\047s",
    "double\\042s",
    "both\\047and\\042",
    "back\\\\slash",
    "dollar$x",
    "back`tick",
    "star*",
    "what?",
    "[set]",
    "{brace}",
    "~home",
    "mid~tilde",
    "#first",
    "mid#hash",
    "a=b",
    "bang!",
    "semi;colon",
    "amp&",
    "pipe|",
    "less<",
    "(paren)",
    "-dash",
    "byte\\377",
    "\\377first",
    "\\377\\376\\375",
    "r\\303\\251sum\\303\\251",
    "control\\001",
    "bell\\007back\\010",
    "esc\\033[31m",
    "del\\177",
    // Not ending in \\377: gnulib then sets an idle '' before a name that has both a quote and a control.
    "mix \\047\\n\\377 end",
];

/// Runs one command for each hard name, which is in `$f`.
fn agree_on(what: &str, prepare: &str, command: &str) {
    let line = |name: &&str| {
        format!(
            "{what}: {name} :: f=$(printf -- '{name}'); {prepare} :: f=$(printf -- '{name}'); {command}\n"
        )
    };
    assert_same_as_cp(
        &HARD_NAMES.iter().map(line).collect::<String>(),
        ComparisonOptions::PLAIN,
    );
}

#[test]
fn quoted_in_verbose_lines() {
    agree_on(
        "copied",
        "printf s > \"./$f\"",
        "$CP -v -- \"$f\" other; $CP -rv \"./$f\" \"new$f\"",
    );
}

#[test]
fn quoted_in_errors() {
    agree_on(
        "missing",
        "",
        "$CP -- \"$f\" new; $CP a \"nodir/$f\"; $CP -t \"$f\" -- a; $CP -- \"$f\"",
    );
}

#[test]
fn quoted_in_same_file_and_directory_errors() {
    agree_on(
        "directory",
        "mkdir \"./$f\"",
        "$CP -- \"$f\" new; $CP -r \"./$f\" \"./$f\"; $CP -T a \"./$f\"",
    );
}

#[test]
fn hard_names_in_trees() {
    agree_on(
        "in a tree",
        "mkdir \"dir/d$f\"; printf s > \"dir/d$f/$f\"",
        "$CP -r dir new",
    );
}

#[test]
fn long_names() {
    let table = r#"
        source :: SET; printf l > "$n" :: SET; $CP -v "$n" new
        destination :: SET; $CP -v a "$n"
        into a directory :: SET; printf l > "$n" :: SET; $CP "$n" other
        in a tree :: SET; mkdir "dir/$n"; printf l > "dir/$n/$n" :: $CP -r dir new
    "#;
    assert_same_as_cp(
        &table.replace("SET", "n=$(printf '%0255d' 7)"),
        ComparisonOptions::PLAIN,
    );
    let table = r#"
        too long, source :: SET; $CP "$n" new
        too long, destination :: SET; $CP a "$n"
        too long, directory :: SET; $CP -r dir "$n"
        too long, below a directory :: SET; $CP a "other/$n"
        too long, -t :: SET; $CP -t "$n" a
    "#;
    assert_same_as_cp(
        &table.replace("SET", "n=$(printf '%0256d' 7)"),
        ComparisonOptions::PLAIN,
    );
}

/// JSON knows no bytes: a path that is not UTF-8 comes as hexadecimal under another key, and never mangled.
#[test]
fn json_of_a_name_that_is_not_utf8() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let source = shm
        .path()
        .join(OsString::from_vec(b"core\xff\xfe.1".to_vec()));
    let destination = disk.path().join("plain");
    make_dense_dump(&source, 5000);
    let events = copy_json::<&str>(&[], &source, &destination);
    let hex: String = source
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for name in ["plan", "done"] {
        let event = only_event(&events, name);
        assert_eq!(event["source_hex"], hex.as_str(), "{event}");
        assert!(event.get("source").is_none(), "{event}");
        assert_eq!(
            event["destination"],
            destination.to_str().unwrap(),
            "{event}"
        );
    }
    assert_same_content(&source, &destination, "a name that is not UTF-8");
}

#[test]
fn json_of_a_missing_name_that_is_not_utf8() {
    let shm = shm_dir();
    let source = shm.path().join(OsString::from_vec(b"gone\xff".to_vec()));
    let output = run(mmapcp()
        .arg("--json")
        .arg(&source)
        .arg(shm.path().join("new")));
    assert_exit(&output, 1);
    let events = parse_events(&output);
    let error = only_event(&events, "error");
    assert!(
        error["source_hex"]
            .as_str()
            .is_some_and(|hex| hex.ends_with("ff")),
        "{error}"
    );
    assert!(
        error["error"]
            .as_str()
            .is_some_and(|text| text.contains("No such file")),
        "{error}"
    );
    assert_eq!(
        fs::read_dir(shm.path()).unwrap().count(),
        0,
        "nothing was made"
    );
}
