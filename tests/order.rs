//! --first and --order: what is begun first, what is complete before others begin, and what of cp does not change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::*;

/// Files of different sizes, in an order that is neither that of names nor that of sizes.
const FILES: [(&str, u64); 5] = [
    ("m.log", 300 * KIB),
    ("core.2", 2 * MIB),
    ("z.txt", 8 * KIB),
    ("core.1", 3 * MIB),
    ("a.bin", MIB),
];

/// A directory with these files, and one to copy to.
struct OrderFixture {
    from: TempDir,
    to: TempDir,
}

impl OrderFixture {
    fn new() -> Self {
        let (from, to) = (shm_dir(), disk_dir());
        for (name, size) in FILES {
            make_dense_dump(&from.path().join(name), size);
        }
        Self { from, to }
    }

    /// Copies operands, `names` in the source directory, and returns what `-v` prints.
    fn copy_operands(&self, options: &[&str], names: &[&str]) -> Output {
        let mut command = mmapcp();
        command.arg("-v").args(options);
        command.args(names.iter().map(|name| self.from.path().join(name)));
        run(command.arg(self.to.path()))
    }

    /// Copies the whole directory as one operand.
    fn copy_tree(&self, options: &[&str]) -> Output {
        let mut command = mmapcp();
        command.args(["-rv", "-T"]).args(options);
        run(command.arg(self.from.path()).arg(self.to.path()))
    }
}

/// Returns the last components of the sources, in the order in which `-v` names them.
fn order_of(out: &Output) -> String {
    assert!(out.status.success(), "{out:?}");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let names = text.lines().filter_map(|line| {
        let source = line.split("' -> '").next()?;
        source.rsplit('/').next().map(str::to_owned)
    });
    names.collect::<Vec<_>>().join(" ")
}

const GIVEN: [&str; 5] = ["m.log", "core.2", "z.txt", "core.1", "a.bin"];

#[test]
fn operands_are_copied_in_the_order_asked_for() {
    for (options, want) in [
        (&[][..], "m.log core.2 z.txt core.1 a.bin"),
        (&["--order=given"], "m.log core.2 z.txt core.1 a.bin"),
        (&["--order=size"], "z.txt m.log a.bin core.2 core.1"),
        (&["--order=name"], "a.bin core.1 core.2 m.log z.txt"),
        (&["--first=core.*"], "core.2 core.1 m.log z.txt a.bin"),
        (
            &["--first=core.*", "--order=name"],
            "core.1 core.2 a.bin m.log z.txt",
        ),
        (
            &["--first=a*", "--first=core.*", "--order=size"],
            "a.bin core.2 core.1 z.txt m.log",
        ),
        (&["--first=nothing"], "m.log core.2 z.txt core.1 a.bin"),
    ] {
        for jobs in ["--jobs=1", "--jobs=4"] {
            let fixture = OrderFixture::new();
            let options = [options, &[jobs]].concat();
            let out = fixture.copy_operands(&options, &GIVEN);
            assert_eq!(order_of(&out), want, "{options:?}");
        }
    }
}

#[test]
fn entries_of_a_directory_are_copied_in_the_order_asked_for() {
    for (options, want) in [
        (
            &["--order=size"][..],
            "z.txt m.log a.bin core.2 core.1 dir core.9",
        ),
        (
            &["--order=name"],
            "a.bin core.1 core.2 dir core.9 m.log z.txt",
        ),
        (
            &["--first=core.*", "--order=name"],
            "core.1 core.2 a.bin dir core.9 m.log z.txt",
        ),
        (
            &["--first=dir", "--order=size"],
            "dir core.9 z.txt m.log a.bin core.2 core.1",
        ),
        (
            &["--first=*/dir/core.*", "--order=name"],
            "a.bin core.1 core.2 dir core.9 m.log z.txt",
        ),
        (
            &["--first=[mz].*", "--order=name", "--fsync"],
            "m.log z.txt a.bin core.1 core.2 dir core.9",
        ),
    ] {
        let fixture = OrderFixture::new();
        let dir = fixture.from.path().join("dir");
        fs::create_dir(&dir).unwrap();
        make_dense_dump(&dir.join("core.9"), 100);
        let out = fixture.copy_tree(options);
        let top = fixture
            .from
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
            + " ";
        let names = order_of(&out);
        assert_eq!(
            names.strip_prefix(&top).unwrap_or(&names),
            want,
            "{options:?}"
        );
    }
}

/// Returns the events of a copy with `--json`.
fn events(out: &Output) -> Vec<serde_json::Value> {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// With eight threads, no file of the rest is planned before the files that are first are done.
#[test]
fn what_is_first_is_complete_before_others_begin() {
    for fsync in [&[][..], &["--fsync"]] {
        let fixture = OrderFixture::new();
        let options = [&["--json", "--jobs=8", "--first=core.*"], fsync].concat();
        let mut command = mmapcp();
        command.args(&options);
        command.args(GIVEN.map(|name| fixture.from.path().join(name)));
        let out = run(command.arg(fixture.to.path()));
        assert!(out.status.success(), "{out:?}");
        let steps: Vec<String> = events(&out)
            .iter()
            .filter(|event| ["plan", "done"].contains(&event["event"].as_str().unwrap()))
            .map(|event| {
                let name = event["source"]
                    .as_str()
                    .unwrap()
                    .rsplit('/')
                    .next()
                    .unwrap();
                format!("{} {}", event["event"].as_str().unwrap(), &name[..1])
            })
            .collect();
        let last_done = steps.iter().rposition(|step| step == "done c").unwrap();
        let first_other = steps.iter().position(|step| !step.ends_with('c')).unwrap();
        assert!(last_done < first_other, "{steps:?}");
    }
}

/// The system calls of one thread show that what is first is synced before the next file is made.
#[test]
fn what_is_first_is_durable_before_others_begin() {
    if !has_tools_or_skip("durable first", &["strace"]) {
        return;
    }
    let fixture = OrderFixture::new();
    let log = fixture.to.path().join("calls");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-y",
        "-e",
        "trace=openat,fsync,fdatasync,syncfs",
        "-o",
    ]);
    command
        .arg(&log)
        .arg(&*MMAPCP)
        .args(["--fsync", "--jobs=1", "--first=core.1"]);
    command.args(["m.log", "core.1"].map(|name| fixture.from.path().join(name)));
    let out = run(command.arg(fixture.to.path()));
    assert!(out.status.success(), "{out:?}");
    let calls = fs::read_to_string(&log).unwrap();
    let to = fixture.to.path().display().to_string();
    let at = |what: &dyn Fn(&str) -> bool| calls.lines().position(what);
    let file = at(&|line| line.contains("sync(") && line.contains(&format!("{to}/core.1>")));
    let directory = at(&|line| line.contains("sync(") && line.contains(&format!("<{to}>")));
    let next = at(&|line| line.contains("O_CREAT") && line.contains("\"m.log\""));
    let (Some(file), Some(directory), Some(next)) = (file, directory, next) else {
        panic!("{file:?} {directory:?} {next:?}: {calls}");
    };
    assert!(file < next && directory < next, "{calls}");
}

/// Two operands that lead to one name: cp copies the first that is given, whichever is smaller.
#[test]
fn the_first_of_two_sources_of_one_name_is_copied() {
    for options in [&["--order=size"][..], &["--order=name"], &["--first=*/b/*"]] {
        let (from, to) = (shm_dir(), disk_dir());
        for (dir, size) in [("a", 2 * MIB), ("b", 4096)] {
            fs::create_dir(from.path().join(dir)).unwrap();
            make_dense_dump(&from.path().join(dir).join("same"), size);
        }
        let mut command = mmapcp();
        command.args(options);
        command.args(["a", "b"].map(|dir| from.path().join(dir).join("same")));
        let out = run(command.arg(to.path()));
        assert_eq!(out.status.code(), Some(1), "{out:?}");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(text.contains("will not overwrite just-created"), "{text}");
        let copied = fs::metadata(to.path().join("same")).unwrap();
        assert_eq!(copied.len(), 2 * MIB, "{options:?}");
    }
}

#[test]
fn a_source_that_is_given_twice_is_warned_about_once() {
    let fixture = OrderFixture::new();
    let names = ["core.1", "m.log", "core.1"];
    let out = fixture.copy_operands(&["--order=size", "--first=core.1"], &names);
    assert_eq!(order_of(&out), "core.1 m.log");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(
        text.matches("specified more than once").count(),
        1,
        "{text}"
    );
}

/// What cannot be examined is reported as by cp, and the rest is copied.
#[test]
fn a_source_that_is_missing_changes_nothing_for_the_others() {
    let fixture = OrderFixture::new();
    symlink("nowhere", fixture.from.path().join("dangling")).unwrap();
    let names = ["core.1", "missing", "dangling", "z.txt"];
    let out = fixture.copy_operands(&["--order=size", "--first=core.*"], &names);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    for name in ["core.1", "z.txt"] {
        assert!(fixture.to.path().join(name).exists(), "{name}");
    }
    assert_eq!(
        String::from_utf8_lossy(&out.stderr).lines().count(),
        2,
        "{out:?}"
    );
}

#[test]
fn a_pattern_must_not_be_empty_and_a_key_must_be_known() {
    for (option, says) in [
        ("--first=", "it takes a pattern of file names"),
        ("--order=date", "Valid arguments are"),
    ] {
        let out = run(mmapcp().args([option, "a", "b"]));
        assert_eq!(out.status.code(), Some(1));
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(text.contains(says), "{text}");
    }
    assert!(!Path::new("b").exists());
}
