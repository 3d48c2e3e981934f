//! What a user sees of a copy on a terminal: lines that fit its width, also after a resize, and nothing that is left over.

mod screen;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::*;
use screen::{OnShrink, Screen};

/// Rows of the terminals, more than any frame here has.
const ROWS: u16 = 24;

/// What was on the terminal before the copy.
const PROMPT: &str = "$ mmapcp a b";

/// A rate at which a MiB takes half a second.
const RATE: &str = "--limit-rate=2M";

/// Second line of each frame of a copy with [`RATE`].
const THROTTLE_LINE: &str = "limited to 2 MiB/s";

/// Time between two looks at a screen.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

fn copy_command(options: &[&str], source: &Path, destination: &Path) -> Command {
    let mut command = mmapcp();
    command.env("LC_ALL", "C.UTF-8").arg(RATE).args(options);
    command.arg(source).arg(destination);
    command
}

/// A file in memory and a place in memory for its copy: a disk that stalls under other tests would stall the bar.
fn fixture(size: u64) -> CopyFixture {
    let pair = CopyFixture {
        shm: shm_dir(),
        disk: shm_dir(),
    };
    make_dense_dump(&pair.source(), size);
    pair
}

fn start(command: &mut Command, columns: u16) -> Screen {
    Screen::start(command, (ROWS, columns), &format!("{PROMPT}\r\n"))
}

/// Returns the rows below the prompt, which must be there.
fn below_prompt(screen: &Screen) -> Vec<String> {
    let mut rows = screen.rows();
    assert_eq!(rows.remove(0), PROMPT, "what was there stays: {rows:#?}");
    rows
}

/// Fails if the fields are not all there in this order.
fn assert_in_order(line: &str, fields: &[&str]) {
    let mut rest = line;
    for field in fields {
        let at = rest.find(field);
        let at = at.unwrap_or_else(|| panic!("{field:?} is missing or out of order: {line:?}"));
        rest = &rest[at + field.len()..];
    }
}

/// Watches a copy to its end, and returns all frames of so many lines. At no moment are there more lines, or lines that go
/// on in the next row.
fn watch(screen: &mut Screen, lines: usize) -> Vec<Vec<String>> {
    let started = Instant::now();
    let mut frames = Vec::new();
    while !screen.has_ended() {
        assert!(started.elapsed() < Duration::from_secs(60), "it hangs");
        let (mut rows, wraps) = screen.rows_and_wraps();
        assert!(!wraps, "{rows:#?}");
        assert_eq!(rows.remove(0), PROMPT, "{rows:#?}");
        assert!(rows.len() <= lines, "{rows:#?}");
        if rows.len() == lines {
            frames.push(rows);
        }
        thread::sleep(LOOK_INTERVAL);
    }
    assert!(!frames.is_empty(), "there never were {lines} lines");
    frames
}

// ---------------------------------------------------------------- one file

/// Copies a file of 8 MiB in a terminal of so many columns, and returns the frame and what is left at the end.
fn copy_in(columns: u16, options: &[&str]) -> [Vec<String>; 2] {
    let pair = fixture(8 * MIB);
    let mut command = copy_command(options, &pair.source(), &pair.destination());
    let mut screen = start(&mut command, columns);
    let frame = watch(&mut screen, 2).pop().unwrap();
    assert!(screen.finish().success(), "{:#?}", screen.rows());
    assert_same_content(&pair.source(), &pair.destination(), "a watched copy");
    [frame, below_prompt(&screen)]
}

fn assert_no_engine_in(line: &str) {
    let engine = ENGINES.iter().find(|engine| line.contains(*engine));
    assert_eq!(engine, None, "{line:?}");
}

#[test]
fn the_bar_fits_every_width() {
    let all = &[
        "dump",
        "%",
        "[",
        "]",
        "/8.00 MiB",
        "MiB/s",
        "0:0",
        "0:0",
        " left",
    ];
    let cases: [(u16, &[&str], &[&str]); 5] = [
        (20, &["%", "iB/s"], &["[", "left"]),
        (40, &["%", "/8.00 MiB", "iB/s", "left"], &["["]),
        (80, all, &[]),
        (200, all, &[]),
        (300, all, &[]),
    ];
    thread::scope(|scope| {
        for (columns, fields, absent) in cases {
            scope.spawn(move || {
                let [frame, left] = copy_in(columns, &[]);
                assert_eq!(frame[1], THROTTLE_LINE, "{columns}: {frame:#?}");
                assert_in_order(&frame[0], fields);
                for field in absent {
                    assert!(!frame[0].contains(field), "{columns}: {frame:#?}");
                }
                assert_no_engine_in(&frame[0]);
                assert_eq!(left.len(), 1, "{columns}: {left:#?}");
                assert!(left[0].starts_with("8.00 MiB in "), "{columns}: {left:#?}");
                if columns >= 80 {
                    assert_in_order(&left[0], &["8.00 MiB in ", " s, ", "iB/s, ", " by "]);
                }
            });
        }
    });
}

#[test]
fn the_engine_is_named_when_there_are_details() {
    let [frame, _] = copy_in(100, &["--engine=buffered"]);
    assert_no_engine_in(&frame[0]);
    let pair = fixture(8 * MIB);
    let options = ["-v", "--engine=buffered"];
    let mut command = copy_command(&options, &pair.source(), &pair.destination());
    // So wide that the line of -v is one row.
    let mut screen = start(&mut command, 300);
    let frame = watch(&mut screen, 3).pop().unwrap();
    assert!(frame[0].contains(" -> "), "{frame:#?}");
    assert!(frame[1].ends_with("left  buffered"), "{frame:#?}");
    assert!(screen.finish().success());
}

#[test]
fn a_resize_leaves_nothing_of_the_old_frame() {
    thread::scope(|scope| {
        for on_shrink in [OnShrink::Cut, OnShrink::Reflow] {
            scope.spawn(move || resize_in_mid_copy(on_shrink));
        }
    });
}

fn resize_in_mid_copy(on_shrink: OnShrink) {
    let pair = fixture(16 * MIB);
    let mut command = copy_command(&[], &pair.source(), &pair.destination());
    let mut screen = start(&mut command, 200);
    screen.wait_for("a bar", |rows| rows.len() == 3);
    for columns in [40, 20, 80, 300, 30, 120] {
        screen.resize((ROWS, columns), on_shrink);
        // Until the next frame the old one is there, cut off or wrapped.
        let rows = screen.wait_for("a frame of this width", |rows| {
            let widest = rows.iter().map(|row| row.chars().count()).max();
            let line = rows.get(1).map_or("", String::as_str);
            let is_whole = line.contains("B/s") && line.contains(']') == (columns >= 80);
            rows.len() == 3 && widest < Some(columns.into()) && is_whole
        });
        assert_eq!(rows[0], PROMPT);
        assert_in_order(&rows[1], &["%", "iB/s"]);
        assert_eq!(rows[2], THROTTLE_LINE);
        let (rows, wraps) = screen.rows_and_wraps();
        assert!(!wraps, "{on_shrink:?} to {columns}: {rows:#?}");
    }
    assert!(screen.finish().success());
    let left = below_prompt(&screen);
    assert_eq!(left.len(), 1, "{on_shrink:?}: {left:#?}");
}

#[test]
fn what_is_printed_meanwhile_stays_above_the_bar() {
    let pair = fixture(8 * MIB);
    let mut command = copy_command(&[], &pair.source(), &pair.destination());
    let mut screen = start(&mut command, 120);
    screen.wait_for("a bar", |rows| rows.len() == 3);
    screen.signal(Signal::SIGUSR1);
    let rows = screen.wait_for("a status line and the bar", |rows| rows.len() == 4);
    let name = format!("'{}': ", pair.source().display());
    let fields = [
        &*name,
        "%, ",
        " of 8.00 MiB, ",
        "/s, ",
        " elapsed, ",
        " left, ",
        "limited",
    ];
    assert_in_order(&rows[1], &fields);
    // The directory has the name of this program, in which there is that of an engine.
    assert_no_engine_in(rows[1].split_once("': ").unwrap().1);
    assert!(rows[2].starts_with("dump  "), "{rows:#?}");
    assert!(screen.finish().success());
    assert_eq!(below_prompt(&screen).len(), 2, "{:#?}", screen.rows());
}

/// Ctrl-Z leaves an empty row for the shell, and fg draws below what the shell wrote.
#[test]
fn a_copy_that_is_stopped_leaves_no_line_behind() {
    let pair = fixture(8 * MIB);
    let mut command = copy_command(&[], &pair.source(), &pair.destination());
    let mut screen = start(&mut command, 80);
    screen.wait_for("a bar", |rows| rows.len() == 3);
    screen.signal(Signal::SIGTSTP);
    wait_until("the stop", || screen.is_stopped());
    screen.wait_for("no bar", |rows| rows == [PROMPT]);
    screen.print("[1]+  Stopped\r\n$ fg\r\nmmapcp a b\r\n");
    screen.signal(Signal::SIGCONT);
    let rows = screen.wait_for("a bar", |rows| rows.len() == 6);
    assert_eq!(rows[1..4], ["[1]+  Stopped", "$ fg", "mmapcp a b"]);
    assert_eq!(rows[5], THROTTLE_LINE);
    assert!(screen.finish().success());
    assert_eq!(screen.rows().len(), 5, "{:#?}", screen.rows());
}

// ---------------------------------------------------------------- trees

/// Beginnings of names with characters of two columns, without a visible width, and with a control character.
const NAMES: [&str; 3] = [
    "記録記録記録記録記録記録記録記録-",
    "a-very-long-name-of-an-archive-of-november-",
    "\u{1b}[31mre\u{301}d",
];

/// Copies a tree of six files with three threads, and returns the frames with three files and what is left.
fn copy_tree_in(columns: u16) -> (Vec<Vec<String>>, Vec<String>) {
    let pair = fixture(0);
    fs::remove_file(pair.source()).unwrap();
    fs::create_dir(pair.source()).unwrap();
    for i in 0..6 {
        let name = format!("{}{i}.gz", NAMES[i % 3]);
        make_dense_dump(&pair.source().join(name), 2 * MIB);
    }
    let mut command = copy_command(&["-rT", "--jobs=3"], &pair.source(), &pair.destination());
    let mut screen = start(&mut command, columns);
    let frames = watch(&mut screen, 5);
    assert!(screen.finish().success(), "{:#?}", screen.rows());
    (frames, below_prompt(&screen))
}

#[test]
fn all_files_at_work_are_shown() {
    let fields = [
        "%",
        "[",
        "]",
        "/12.0 MiB",
        "/6 files",
        "iB/s",
        "0:0",
        "0:0",
        " left",
    ];
    thread::scope(|scope| {
        for columns in [20, 40, 100, 300] {
            scope.spawn(move || {
                let (frames, left) = copy_tree_in(columns);
                for frame in &frames {
                    let fields = if columns < 100 {
                        &["%", "/s"]
                    } else {
                        &fields[..]
                    };
                    assert_in_order(&frame[0], fields);
                    assert_eq!(frame[1], THROTTLE_LINE);
                    for file in &frame[2..] {
                        assert_in_order(file, &[".gz", "%"]);
                    }
                }
                for i in 0..6 {
                    let end = format!("{i}.gz");
                    let seen = frames.iter().flatten().any(|line| line.contains(&end));
                    assert!(seen, "{columns}, {end}: {frames:#?}");
                }
                assert!(left[0].starts_with("12.0 MiB in "), "{columns}: {left:#?}");
                assert_eq!(left[0].contains(", 6 files"), columns > 20, "{left:#?}");
                assert_eq!(left.len(), 1, "{columns}: {left:#?}");
            });
        }
    });
}

// ---------------------------------------------------------------- forklat

/// Until the table is printed, there is one line, which is cut off where the terminal ends.
#[test]
fn the_line_of_a_measurement_fits() {
    thread::scope(|scope| {
        for columns in [20, 60, 200] {
            scope.spawn(move || watch_measurement(columns));
        }
    });
}

fn watch_measurement(columns: u16) {
    let state = disk_dir();
    let mut command = Command::new(&*crate::compare_fixtures::FORKLAT);
    command.args([
        "run",
        "--probe=fork",
        "--baseline=500ms",
        "--settle=0",
        "--for=1s",
    ]);
    command
        .env("FORKLAT_STATE_DIR", state.path().join("state"))
        .env("LC_ALL", "C.UTF-8");
    let mut screen = start(&mut command, columns);
    let mut lines = Vec::new();
    while !screen.has_ended() {
        let (rows, wraps) = screen.rows_and_wraps();
        if rows.len() > 2 {
            let log = lossy_string(&screen.log());
            assert!(
                log.contains("machine:"),
                "{columns}: not the table: {rows:#?}"
            );
            break;
        }
        assert_eq!(rows[0], PROMPT, "{columns}: {rows:#?}");
        assert!(!wraps, "{columns}: {rows:#?}");
        lines.extend(rows.into_iter().skip(1));
        thread::sleep(LOOK_INTERVAL);
    }
    assert!(
        lines.iter().any(|line| line.starts_with("0:01  ")),
        "{lines:#?}"
    );
    let whole = lines.iter().any(|line| line.contains("max ms: fork "));
    assert_eq!(whole, columns == 200, "{columns}: {lines:#?}");
    assert!(screen.finish().success());
}

// ---------------------------------------------------------------- terminals that cannot redraw

#[test]
fn a_dumb_terminal_gets_lines() {
    thread::scope(|scope| {
        for term in [Some("dumb"), Some(""), None] {
            scope.spawn(move || copy_on_dumb_terminal(term));
        }
    });
}

fn copy_on_dumb_terminal(term: Option<&str>) {
    let pair = fixture(8 * MIB);
    let mut command = copy_command(&[], &pair.source(), &pair.destination());
    match term {
        Some(term) => command.env("TERM", term),
        None => command.env_remove("TERM"),
    };
    let mut screen = start(&mut command, 200);
    assert!(screen.finish().success());
    let log = lossy_string(&screen.log()).replace("\r\n", "\n");
    assert!(!log.contains(['\r', '\x1b']), "{term:?}: {log:?}");
    let (lines, last) = log.trim_end().rsplit_once('\n').expect(&log);
    let name = format!("'{}': ", pair.source().display());
    let fields = [
        &*name,
        "%, ",
        " of 8.00 MiB, ",
        "/s, ",
        " elapsed, ",
        " left",
    ];
    for line in lines.lines() {
        assert_in_order(line, &fields);
    }
    assert!(last.starts_with("8.00 MiB in "), "{term:?}: {log:?}");
}

#[test]
fn a_short_copy_leaves_no_line() {
    let pair = fixture(5000);
    for term in ["xterm", "dumb"] {
        let mut command = copy_command(&[], &pair.source(), &pair.destination());
        let mut screen = start(command.env("TERM", term), 80);
        assert!(screen.finish().success());
        assert_eq!(lossy_string(&screen.log()), "", "{term}");
    }
}

#[test]
fn a_copy_that_is_interrupted_leaves_its_error_alone() {
    let pair = fixture(8 * MIB);
    let mut command = copy_command(&[], &pair.source(), &pair.destination());
    let mut screen = start(&mut command, 300);
    screen.wait_for("a bar", |rows| rows.len() == 3);
    screen.signal(Signal::SIGINT);
    assert!(!screen.finish().success());
    let rows = below_prompt(&screen);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert!(rows[0].starts_with("mmapcp: interrupted: "), "{rows:#?}");
}

/// The cursor is then where the user types.
#[test]
fn a_job_in_the_background_draws_no_bar() {
    let pair = fixture(4 * MIB);
    let copy = format!(
        "{} --limit-rate=2M {} {}",
        &*MMAPCP,
        pair.source().display(),
        pair.destination().display()
    );
    for (script, draws) in [
        (format!("set -m; {copy}"), true),
        (format!("set -m; {copy} & wait"), false),
    ] {
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "bash", "-c", &script]);
        command.env("LC_ALL", "C.UTF-8");
        let mut screen = start(&mut command, 80);
        wait_until("the copy ends", || screen.has_ended());
        let has_bar = lossy_string(&screen.log()).contains("[=");
        assert_eq!(has_bar, draws, "{script}: {:#?}", screen.rows());
    }
}
