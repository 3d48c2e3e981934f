//! `forklat compare` as any user runs it: copies that are good or wrong, tools that misbehave, refusals, and nothing left behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::compare_fixtures::*;
use crate::support::*;

/// What `--size=32M` makes.
const SIZE: u64 = 32 * MIB;

/// A tool that never ends, nor does what it started, and says who they are.
const BOTH_HANG: &str = r#"sleep 400 & echo $! $$ >"$HERE/pids"; wait"#;

// ---------------------------------------------------------------- figures

#[test]
fn the_usual_tools_make_identical_copies() {
    let place = CompareFixture::new();
    let mut command = place.forklat();
    command.args(["compare", "--runs=1", "--size=32M", "--baseline=200ms"]);
    command.args(["--warm-up=0", "--seed=7"]);
    let (output, report) = place.report(command.arg("--on").arg(&place.copy_dir));
    assert_exit(&output, 0);
    assert_eq!(report["kind"], "compare");
    assert_eq!(subject(&report, "idle")["copies"], Value::Array(Vec::new()));
    assert_eq!(report["seed"], 7);
    let engines = &subject(&report, "mmapcp")["runs"][0]["engines"];
    assert!(
        engines.as_object().is_some_and(|all| !all.is_empty()),
        "{engines}"
    );
    for tool in ["cp", "cp (again)", "dd oflag=direct", "mmapcp"] {
        let copy = only_copy(&report, tool);
        assert_eq!(copy["status"], 0, "{tool}: {copy:#}");
        assert_eq!(copy["wrong"], Value::Null, "{tool}: {copy:#}");
        let seconds = |field: &str| copy[field].as_f64().unwrap();
        assert!(seconds("wall") > 0.0, "{tool}: {copy:#}");
        assert!(seconds("durable") >= seconds("wall"), "{tool}: {copy:#}");
    }
    // A copy may be over before the slowest prober has asked.
    let probes = subject(&report, "idle")["probes"].as_array().unwrap();
    for probe in ["wakeup", "fork", "exec", "touch", "write", "fsync", "read"] {
        let found = probes.iter().any(|p| p["name"] == probe);
        assert!(found, "no {probe} in {probes:#?}");
    }
    let text = lossy_string(&output.stdout);
    assert!(text.contains("mmapcp: identical in 1 of 1"), "{text}");
    assert!(!text.contains("WRONG"), "{text}");
}

/// Each tool has a column for each state, and late answers are explained there as in a run.
#[test]
fn both_states_of_memory_are_columns() {
    let place = CompareFixture::new();
    let mut command = place.forklat();
    command.args([
        "compare",
        "--runs=1",
        "--warm-up=0",
        "--baseline=0",
        "--size=4M",
    ]);
    command.args(["--no-repeat", "--probe=touch", "--memory=both", "--why=1us"]);
    command.arg("--tool=cp=cp {source} {dest}").arg("--on");
    let (output, report) = place.report(command.arg(&place.copy_dir));
    assert_exit(&output, 0);
    let subjects = report["subjects"].as_array().unwrap();
    let states: Vec<_> = subjects
        .iter()
        .map(|s| (&s["name"], &s["memory"]))
        .collect();
    let names = ["cp warm", "cp cold"].map(Value::from);
    let memory = ["warm", "cold"].map(Value::from);
    assert_eq!(states, [(&names[0], &memory[0]), (&names[1], &memory[1])]);
    for subject in subjects {
        let late = subject["why"]["late"]
            .as_array()
            .expect("a list of late answers");
        // Every answer takes longer than a microsecond, and there is time for several until the end of the span.
        assert!(!late.is_empty(), "{subject:#}");
        assert!(
            late.iter().all(|late| late["sentence"] != ""),
            "{subject:#}"
        );
    }
}

/// What the cache holds is of the whole machine, on which other tests run: it is met in a quiet moment, and soon.
#[test]
fn cp_fills_the_page_cache_and_mmapcp_does_not() {
    let tools = [
        "cp=cp {source} {dest}".to_owned(),
        "mmapcp=mmapcp --progress=never {source} {dest}".to_owned(),
    ];
    retry_until_met("the growth of the page cache", || {
        let place = CompareFixture::new();
        let (_, report) = place.report(&mut place.compare_once(&tools));
        let growth = |tool| only_copy(&report, tool)["cache_growth"].as_u64().unwrap();
        growth("cp") > SIZE * 3 / 4 && growth("mmapcp") < SIZE / 4
    });
}

/// The peak of a tool that has more than forklat is exact; for smaller ones it is looked at every 20 ms.
#[test]
fn memory_is_that_of_the_tool() {
    let place = CompareFixture::new();
    let tools = [
        "cp=cp {source} {dest}".to_owned(),
        "dd=dd if={source} of={dest} bs=32M status=none".to_owned(),
    ];
    let (output, report) = place.report(&mut place.compare_once(&tools));
    let rss = |tool| only_copy(&report, tool)["max_rss"].as_u64().unwrap();
    assert!(
        (SIZE..SIZE + 8 * MIB).contains(&rss("dd")),
        "{} bytes of dd: {}",
        rss("dd"),
        describe_output(&output)
    );
    // The machine may be too busy to look before it has ended: then it is forklat's own size.
    assert!(
        (1..12 * MIB).contains(&rss("cp")),
        "{} bytes of cp",
        rss("cp")
    );
}

#[test]
fn each_round_has_each_tool_once_in_an_order_of_the_seed() {
    let place = CompareFixture::new();
    let tools = ["a", "b"].map(|name| {
        let script = format!("echo {name} >>\"$HERE/order\"\n{COPYING_TOOL}");
        place.tool(name, &script)
    });
    let mut command = place.compare(&tools);
    command.args(["--runs=3", "--seed=11", "--size=1M"]);
    let (output, report) = place.report(&mut command);
    assert_exit(&output, 0);
    let order = place.text("order");
    let order: Vec<&str> = order.lines().collect();
    assert_eq!(order.len(), 6, "{order:?}");
    for (round, names) in (1..).zip(order.chunks(2)) {
        assert_ne!(names[0], names[1], "round {round}: {order:?}");
        for (place, name) in (1..).zip(names) {
            let runs = subject(&report, name)["runs"].as_array().unwrap();
            let run = runs.iter().find(|run| run["round"] == round).unwrap();
            assert_eq!(run["place"], place, "{name} in round {round}: {order:?}");
        }
    }
    let text = lossy_string(&output.stdout);
    assert!(text.contains("--seed 11"), "{text}");
    assert!(text.contains("3 rounds are too few to show any"), "{text}");
}

#[test]
fn a_warm_up_is_discarded_and_the_first_tool_repeated() {
    let place = CompareFixture::new();
    let script = format!("echo a >>\"$HERE/ran\"\n{COPYING_TOOL}");
    let mut command = place.forklat();
    command.args([
        "compare",
        "--baseline=50ms",
        "--probe=fork",
        "--period=fork=2ms",
    ]);
    command.args(["--warm-up=1", "--runs=1", "--size=1M", "--tool"]);
    command
        .arg(place.tool("a", &script))
        .arg("--on")
        .arg(&place.copy_dir);
    let (output, report) = place.report(&mut command);
    assert_exit(&output, 0);
    assert_eq!(place.text("ran"), "a\na\na\n", "warm-up, a, a (again)");
    only_copy(&report, "a");
    only_copy(&report, "a (again)");
    assert_eq!(subject(&report, "a (again)")["repeats"], "a");
    assert_eq!(
        subject(&report, "idle")["runs"].as_array().unwrap().len(),
        1
    );
    assert!(!report["subjects"].to_string().contains("warm-up"));
}

/// The parts of the only run of a tool, by name.
fn part<'a>(report: &'a Value, tool: &str, part: &str) -> &'a Value {
    let spans = subject(report, tool)["runs"][0]["spans"]
        .as_array()
        .unwrap();
    let found = spans.iter().find(|span| span["part"] == part);
    found.unwrap_or_else(|| panic!("no part {part} of {tool} in {spans:#?}"))
}

/// The kernel may have written all of it by the exit of the tool, if others call sync meanwhile.
#[test]
fn what_forklat_syncs_is_a_span_of_its_own() {
    let tools = |place: &CompareFixture| {
        [
            place.tool("cp", COPYING_TOOL),
            place.tool("syncs", &format!("{COPYING_TOOL} && sync \"$2\"")),
        ]
    };
    retry_until_met("a copy that is unwritten when the tool exits", || {
        let place = CompareFixture::new();
        let (output, report) = place.report(&mut place.compare_once(&tools(&place)));
        assert_exit(&output, 0);
        for tool in ["cp", "syncs"] {
            let copy = only_copy(&report, tool);
            let seconds = |name: &str| part(&report, tool, name)["seconds"].as_f64().unwrap();
            let durable = seconds("until exit") + seconds("until durable");
            let wall = copy["wall"].as_f64().unwrap();
            assert!(seconds("until exit") >= wall, "{tool}: {report:#}");
            assert!(durable >= copy["durable"].as_f64().unwrap(), "{tool}");
            assert!(seconds("after") > 0.0, "{tool}");
        }
        let dirty = |tool: &str| subject(&report, tool)["runs"][0]["dirty_at_exit"].as_u64();
        let (Some(left), Some(synced)) = (dirty("cp"), dirty("syncs")) else {
            // This kernel, or this file system, does not tell.
            return true;
        };
        assert_eq!(synced, 0);
        assert_eq!(
            part(&report, "syncs", "until durable")["durable_by"],
            "tool"
        );
        assert!(left == 0 || part(&report, "cp", "until durable")["durable_by"] == "forklat");
        left > SIZE / 2
    });
}

#[test]
fn rounds_go_on_until_sure_or_the_time_is_over() {
    retry_until_met("a second round in the time", || {
        let place = CompareFixture::new();
        let tools = ["a", "b"].map(|name| place.tool(name, COPYING_TOOL));
        let mut command = place.compare(&tools);
        command.args(["--runs=1", "--until-sure=6s", "--size=1M"]);
        let (output, report) = place.report(&mut command);
        assert_exit(&output, 0);
        // An interval takes six rounds at least, so that one round is never sure.
        subject(&report, "a")["copies"].as_array().unwrap().len() > 1
    });
}

#[test]
fn every_export_has_every_tool() {
    let place = CompareFixture::new();
    let tools = ["one", "another"].map(|name| place.tool(name, COPYING_TOOL));
    let mut command = place.compare(&tools);
    command.args(["--runs=1", "--size=1M"]);
    let formats = ["json", "csv", "markdown", "hlog"];
    for format in formats {
        command
            .arg(format!("--export-{format}"))
            .arg(place.path(format));
    }
    let output = place.run(&mut command);
    assert_exit(&output, 0);
    for format in formats {
        let text = place.text(format);
        for tool in ["one", "another"] {
            assert!(text.contains(tool), "no {tool} in {format}:\n{text}");
        }
    }
    let markdown = place.text("markdown");
    let columns = |line: &&str| line.contains("| one") && line.contains("| another");
    assert!(markdown.lines().any(|line| columns(&line)), "{markdown}");
}

/// A program of that name in the search path is not what is measured.
#[test]
fn mmapcp_is_the_one_built_with_forklat() {
    let place = CompareFixture::new();
    let fake = place.path("mmapcp");
    fs::write(&fake, "#!/bin/sh\nexit 9\n").unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", fake.parent().unwrap().display());
    let copies = "mmapcp=mmapcp --no-clobber {source} {dest}".to_owned();
    let output = place.run(place.compare_once(&[copies]).env("PATH", &path));
    assert_exit(&output, 0);
    let refuses = "ours=mmapcp --no-such-option {source} {dest}".to_owned();
    let output = place.run(place.compare_once(&[refuses]).env("PATH", &path));
    assert_exit(&output, 1);
    assert!(
        lossy_string(&output.stderr).contains("'ours': mmapcp: "),
        "{}",
        describe_output(&output)
    );
}

// ---------------------------------------------------------------- tools that misbehave

#[test]
fn wrong_copies_are_shown_as_wrong_and_the_others_measured() {
    let place = CompareFixture::new();
    let damage = r#"printf '\377\377' | dd of="$2" bs=1 seek=20000000 conv=notrunc status=none"#;
    let tools = [
        ("damages", format!("{COPYING_TOOL}\n{damage}")),
        (
            "truncates",
            format!("{COPYING_TOOL}\ntruncate -s 1000 \"$2\""),
        ),
        ("appends", format!("{COPYING_TOOL}\necho >>\"$2\"")),
        ("nothing", "true".to_owned()),
        (
            "fails",
            format!("{COPYING_TOOL}\necho my disk is sad >&2\nexit 3"),
        ),
        ("dies", "kill -9 $$".to_owned()),
        ("good", COPYING_TOOL.to_owned()),
    ]
    .map(|(name, script)| place.tool(name, &script));
    let (output, report) = place.report(&mut place.compare_once(&tools));
    assert_exit(&output, 1);
    let stdout = lossy_string(&output.stdout);
    for (tool, status, wrong) in [
        ("damages", 0, "first different byte at 2000000"),
        ("truncates", 0, "size 1000 instead of 33554432"),
        ("appends", 0, "size 33554433 instead of 33554432"),
        (
            "nothing",
            0,
            "cannot be compared: No such file or directory",
        ),
        ("fails", 3, ""),
        ("dies", 137, "cannot be compared: No such file or directory"),
        ("good", 0, ""),
    ] {
        let copy = only_copy(&report, tool);
        assert_eq!(copy["status"], status, "{tool}: {copy:#}");
        let said = copy["wrong"].as_str().unwrap_or_default();
        assert_eq!(said.is_empty(), wrong.is_empty(), "{tool}: {copy:#}");
        assert!(said.starts_with(wrong), "{tool}: {copy:#}");
        assert!(subject(&report, tool)["seconds"].as_f64().unwrap() > 0.0);
        let of_tool = |line: &&str| line.trim_start().starts_with(&format!("{tool}: "));
        let lines: String = stdout.lines().filter(of_tool).collect();
        // Who says that it failed has not lied.
        let shown = match (status, wrong.is_empty()) {
            (0, true) => "identical in 1 of 1".to_owned(),
            (0, false) => format!("WRONG: {said} (run 1)"),
            (_, true) => format!("exit status {status} (run 1)"),
            (_, false) => format!("exit status {status} (run 1): {said}"),
        };
        assert!(lines.contains(&shown), "{shown} is not in: {lines}");
        let lied = status == 0 && !wrong.is_empty();
        assert_eq!(lines.contains("WRONG"), lied, "{lines}");
    }
    let stderr = lossy_string(&output.stderr);
    assert!(
        stderr.contains("forklat: 'fails': my disk is sad\n"),
        "{stderr}"
    );
}

/// The next tool shall not be measured beside what an earlier one left.
#[test]
fn what_a_tool_leaves_running_is_killed_and_told() {
    let place = CompareFixture::new();
    let leaves = format!("sleep 400 &\necho $! >\"$HERE/pids\"\n{COPYING_TOOL}");
    let asks = r#"kill -0 $(cat "$HERE/pids") && touch "$HERE/alive""#;
    let tools = [
        place.tool("leaves", &leaves),
        place.tool("next", &format!("{COPYING_TOOL}\n{asks}\ntrue")),
    ];
    let (output, report) = place.report(&mut place.compare_once(&tools));
    assert_exit(&output, 0);
    // A zombie that nobody reaps yet would answer, too.
    let pid: i32 = place.text("pids").trim().parse().unwrap();
    expect_soon("the rest of the tool is gone", || {
        is_gone(Pid::from_raw(pid))
    });
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("leaves (1 of 1): the tool left processes running"),
        "{notes}"
    );
    assert!(!notes.contains("next (1 of 1): it left"), "{notes}");
}

/// Its standard error never comes to an end.
#[test]
fn a_daemon_that_a_tool_starts_holds_nothing_up() {
    let place = CompareFixture::new();
    let script = format!(
        "setsid sh -c 'echo $$ >\"$0/pids\"; exec sleep 400' \"$HERE\" &\n{COPYING_TOOL}\nwhile [ ! -s \"$HERE/pids\" ]; do sleep 0.01; done\necho so far >&2\nexit 4"
    );
    let output = place.run(&mut place.compare_once(&[place.tool("daemon", &script)]));
    let pid: i32 = place.text("pids").trim().parse().unwrap();
    let alive = !is_gone(Pid::from_raw(pid));
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert!(alive, "a daemon is not of the tool's group");
    assert_exit(&output, 1);
    assert!(
        lossy_string(&output.stderr).contains("'daemon': so far"),
        "{}",
        describe_output(&output)
    );
}

#[test]
fn interrupted_ends_the_tool_and_dies_by_the_signal() {
    dies_by(Signal::SIGINT);
}

#[test]
fn terminated_ends_the_tool_and_dies_by_the_signal() {
    dies_by(Signal::SIGTERM);
}

fn dies_by(signal: Signal) {
    let place = CompareFixture::new();
    let export = place.path("export");
    let mut command = place.compare_once(&[place.tool("hangs", BOTH_HANG)]);
    let running = Running::start(command.arg("--export-json").arg(&export));
    let family = wait_for_hanging_tool(&place, &running);
    // Who is impatient does not keep it from clearing up.
    running.signal(signal);
    std::thread::sleep(std::time::Duration::from_millis(5));
    running.signal(signal);
    let output = place.finish(running);
    assert_signal(&output, signal as i32);
    for pid in family {
        expect_soon("the tool and the probers are gone", || is_gone(pid));
    }
    assert_eq!(lossy_string(&output.stdout), "", "no half of a table");
    assert!(!export.exists(), "no export of what was not measured");
}

/// Half a table would be taken for a whole one.
#[test]
fn a_prober_that_dies_fails_the_comparison() {
    let place = CompareFixture::new();
    let running = Running::start(&mut place.compare_once(&[place.tool("hangs", BOTH_HANG)]));
    let family = wait_for_hanging_tool(&place, &running);
    let prober = family.iter().find(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("fork-on-CPU")
    });
    nix::sys::signal::kill(*prober.expect("a prober"), Signal::SIGKILL).unwrap();
    let output = place.finish(running);
    assert_exit(&output, 125);
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.contains("fork on CPU"), "{stderr}");
    assert!(stderr.contains(": was killed by signal 9"), "{stderr}");
    assert_eq!(lossy_string(&output.stdout), "");
    for pid in family {
        expect_soon("the tool and the probers are gone", || is_gone(pid));
    }
}

#[test]
fn killed_takes_all_along_and_the_next_start_clears_up() {
    let place = CompareFixture::new();
    let tool = place.tool("hangs", HANGING_TOOL);
    let running = Running::start(&mut place.compare_once(&[tool]));
    let family = wait_for_hanging_tool(&place, &running);
    let pid = running.pid();
    running.signal(Signal::SIGKILL);
    for pid in family {
        expect_soon("the tool and the probers are gone", || is_gone(pid));
    }
    running.finish();
    let left = place.leftovers_of(pid);
    assert_eq!(left.len(), 3, "two directories and a record: {left:?}");
    let said = place.restart_messages();
    for path in left.iter().filter(|path| path.extension().is_none()) {
        let line = format!(
            "forklat: forklat {pid} was killed before it restored this host: removed the directory '{}'\n",
            path.display()
        );
        assert!(said.contains(&line), "{line}not in: {said}");
    }
    place.assert_nothing_left(pid, &said);
    assert_eq!(place.restart_messages(), "", "that was all");
}

// ---------------------------------------------------------------- sources and names

#[test]
fn a_given_source_stays_as_it_is() {
    for dir in [shm_dir(), disk_dir()] {
        let place = CompareFixture::new();
        let (source, twin) = (dir.path().join("a dump"), place.path("twin"));
        let extents = [(MIB, 4 * MIB), (12 * MIB, MIB + 777)];
        make_dump(&source, 13 * MIB + 777, &extents);
        make_dump(&twin, 13 * MIB + 777, &extents);
        let facts = |path: &Path| {
            let meta = fs::metadata(path).unwrap();
            let times = (meta.mtime(), meta.mtime_nsec());
            (meta.ino(), meta.mode(), meta.len(), times, meta.blocks())
        };
        let before = facts(&source);
        let tools = [
            "cp=cp --sparse=never {source} {dest}".to_owned(),
            "mmapcp=mmapcp {source} {dest}".to_owned(),
            place.tool("fails", "exit 3"),
            place.tool("nothing", "true"),
        ];
        let mut command = place.compare(&tools);
        let command = command.arg("--runs=1").arg("--source").arg(&source);
        let (output, report) = place.report(command);
        assert_exit(&output, 1);
        for tool in ["cp", "mmapcp"] {
            assert_eq!(only_copy(&report, tool)["wrong"], Value::Null, "{tool}");
        }
        assert_eq!(facts(&source), before);
        assert_same_content(&source, &twin, "the source");
    }
}

#[test]
fn a_directory_may_have_any_name() {
    let shm = shm_dir();
    for name in [&b"with  two spaces"[..], b"quote ' and \xff", b"-n"] {
        let on = shm.path().join(OsStr::from_bytes(name));
        fs::create_dir(&on).unwrap();
        let place = CompareFixture::with_copy_dir(&on);
        let tools = [
            "cp=cp {source} {dest}".to_owned(),
            "dd=dd if={source} of={dest} status=none bs=1M".to_owned(),
            "mmapcp=mmapcp {source} {dest}".to_owned(),
        ];
        let mut command = place.compare(&tools);
        let (output, report) = place.report(command.args(["--runs=1", "--size=1M"]));
        assert_exit(&output, 0);
        assert_eq!(only_copy(&report, "dd")["wrong"], Value::Null);
    }
}

// ---------------------------------------------------------------- refusals

/// Words, exit status, and a part of what is said. Nothing is measured, so that nothing is on standard output.
#[test]
fn what_cannot_be_compared_is_refused_in_words() {
    let place = CompareFixture::new();
    let (file, empty) = (place.path("file"), place.path("empty"));
    fs::write(&file, "bytes").unwrap();
    fs::write(&empty, "").unwrap();
    let (file, empty) = (file.to_str().unwrap(), empty.to_str().unwrap());
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["--tool=a=no-such-program {source} {dest}"],
            127,
            "cannot run 'no-such-program': No such file or directory",
        ),
        (
            &[&format!("--tool=a={file} {{source}} {{dest}}")],
            126,
            "Permission denied",
        ),
        (&["--tool=cp"], 125, "'cp' is not NAME=CMD"),
        (&["--tool==cp {source} {dest}"], 125, "is not NAME=CMD"),
        (&["--tool=a="], 125, "there is no {source} in ''"),
        (&["--tool=a=cp {source}"], 125, "there is no {dest} in"),
        (&["--tool=a=cp {dest}"], 125, "there is no {source} in"),
        (&["--tool=a=cp '{source} {dest}"], 125, "quote"),
        (
            &[
                "--tool=a=cp {source} {dest}",
                "--tool=a=dd if={source} of={dest}",
            ],
            125,
            "the name 'a' is already used",
        ),
        (
            &["--tool=idle=cp {source} {dest}"],
            125,
            "the name 'idle' is already used",
        ),
        (
            &["--on=no/such/directory"],
            125,
            "cannot access 'no/such/directory': No such file or directory",
        ),
        (&["--on", file], 125, "is not a directory"),
        (
            &["--source=no-such-file"],
            125,
            "cannot open 'no-such-file': No such file or directory",
        ),
        (&["--source", empty], 125, "is empty"),
        (&["--source=/"], 125, "'/' is not a regular file"),
        (&["--source=/dev/zero"], 125, "is not a regular file"),
        (&["--source", file, "--size=1M"], 125, "cannot be used with"),
        (&["--size=10T"], 125, "no room for a copy of 10.00 TiB in"),
        (&["--size=many"], 125, "--size"),
        (&["--runs=0"], 125, "--runs"),
        (&["--runs=-1"], 125, "--runs"),
        (&["--export-json=no/such/dir/file"], 125, "no/such/dir/file"),
        (&["--period=fork=0"], 125, "from 100us to 1h"),
        (&["operand"], 125, "operand"),
    ];
    for (words, status, said) in cases {
        let mut command = place.forklat();
        command.args(["compare", "--probe=fork"]).args(*words);
        if !words.iter().any(|word| word.starts_with("--on")) {
            command.arg("--on").arg(&place.copy_dir);
        }
        let output = place.run(&mut command);
        let context = format!("{words:?}: {}", describe_output(&output));
        assert_eq!(output.status.code(), Some(*status), "{context}");
        assert!(lossy_string(&output.stderr).contains(said), "{context}");
        assert_eq!(lossy_string(&output.stdout), "", "{context}");
    }
    assert!(names(&place.copy_dir).is_empty());
}

/// It would take all memory before there is no more room in /dev/shm.
#[test]
fn a_dump_that_memory_cannot_hold_is_not_begun() {
    let shm = shm_dir();
    let free = nix::sys::statvfs::statvfs(shm.path()).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    let place = CompareFixture::new();
    let disk = nix::sys::statvfs::statvfs(&place.copy_dir).unwrap();
    if disk.blocks_available() * disk.fragment_size() < 2 * free {
        return skip(
            "a_dump_that_memory_cannot_hold_is_not_begun",
            "the disk has not twice the room of /dev/shm",
        );
    }
    let mut command = place.compare(&[place.tool("cp", COPYING_TOOL)]);
    let output = place.run(command.arg(format!("--size={}", free + free / 2)));
    assert_exit(&output, 125);
    assert!(
        lossy_string(&output.stderr).contains("no room for a dump of"),
        "{}",
        describe_output(&output)
    );
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused() {
    if !is_root_or_skip("a_directory_that_cannot_be_written_to_is_refused") {
        return;
    }
    let (open, program) = public_forklat();
    let on = open.path().join("on");
    fs::create_dir(&on).unwrap();
    for probe in ["fork", "write"] {
        let mut command = std::process::Command::new(&program);
        command
            .env("LC_ALL", "C")
            .env("FORKLAT_STATE_DIR", open.path().join("state"))
            .args(["compare", "--size=1M", "--runs=1", "--baseline=0"])
            .arg(format!("--probe={probe}"))
            .arg("--on")
            .arg(&on);
        let output = run(as_nobody(&mut command));
        assert_exit(&output, 125);
        let stderr = lossy_string(&output.stderr);
        assert!(stderr.contains("Permission denied"), "{stderr}");
        assert!(stderr.contains(on.to_str().unwrap()), "{stderr}");
        assert_eq!(lossy_string(&output.stdout), "");
    }
    let state = names(&open.path().join("state"));
    assert!(state.iter().all(|path| path.ends_with("lock")), "{state:?}");
    assert!(names(&on).is_empty());
}
