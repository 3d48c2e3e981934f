//! --finish-within: what cannot be is refused, limits yield and that is said, and a copy that is late is still complete.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::*;

/// A dump in memory, and a place for its copy on the disk.
struct DeadlineFixture {
    from: TempDir,
    to: TempDir,
}

impl DeadlineFixture {
    fn new(size: u64) -> Self {
        let fixture = Self {
            from: shm_dir(),
            to: disk_dir(),
        };
        make_dense_dump(&fixture.source(), size);
        fixture
    }

    fn source(&self) -> PathBuf {
        self.from.path().join("dump")
    }

    fn copy_path(&self) -> PathBuf {
        self.to.path().join("copy")
    }

    /// Copies the dump.
    fn copy(&self, options: &[&str]) -> Output {
        self.copy_from(&self.source(), options)
    }

    fn copy_from(&self, source: &Path, options: &[&str]) -> Output {
        run(mmapcp().args(options).arg(source).arg(self.copy_path()))
    }

    fn assert_complete(&self) {
        let (source, copy) = (fs::read(self.source()), fs::read(self.copy_path()));
        assert!(source.unwrap() == copy.unwrap(), "the copy differs");
    }
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Returns the causes of the `throttle` events, in their order.
fn causes(out: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let throttle = events.filter(|event| event["event"] == "throttle");
    throttle.map(|event| event["cause"].clone()).collect()
}

#[test]
fn a_time_that_is_over_before_it_begins_is_refused() {
    for time in ["0", "0s", "10", "1us", "2000h", "soon", "-1s", ""] {
        let fixture = DeadlineFixture::new(4096);
        let out = fixture.copy(&[&format!("--finish-within={time}")]);
        assert_eq!(out.status.code(), Some(1), "{time}: {out:?}");
        assert!(stderr(&out).contains("it takes a time with a unit, from 1ms to 1000h"));
        assert!(!fixture.copy_path().exists(), "{time}");
    }
}

#[test]
fn a_rate_limit_that_cannot_make_it_is_an_error_before_the_first_byte() {
    let fixture = DeadlineFixture::new(MIB);
    fs::write(fixture.copy_path(), "old").unwrap();
    let out = fixture.copy(&["--json", "--finish-within=1s", "--limit-rate=1K"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert_eq!(
        stderr(&out),
        "mmapcp: --finish-within: 1.00 MiB at the 1.00 KiB/s of --limit-rate take 17 min 4 s, and 1.0 s is all there is\n"
    );
    assert_eq!(fs::read(fixture.copy_path()).unwrap(), b"old");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let error: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&error["event"], &error["op"]),
        (&"error".into(), &"limit".into())
    );
}

#[test]
fn all_operands_together_must_fit() {
    let fixture = DeadlineFixture::new(MIB);
    let other = fixture.from.path().join("other");
    make_dense_dump(&other, MIB);
    let mut command = mmapcp();
    command.args(["--finish-within=15s", "--limit-rate=100K"]);
    let out = run(command
        .arg(fixture.source())
        .arg(other)
        .arg(fixture.to.path()));
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(
        stderr(&out).contains("2.00 MiB at the 100.00 KiB/s"),
        "{out:?}"
    );
}

/// Holes, files that are left out, and a file that is given twice take no time.
#[test]
fn what_takes_no_time_is_no_contradiction() {
    let fixture = DeadlineFixture::new(0);
    let source = File::options().write(true).open(fixture.source()).unwrap();
    source.set_len(1 << 30).unwrap();
    let out = fixture.copy(&["--finish-within=20s", "--limit-rate=1M"]);
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    assert_eq!(fs::metadata(fixture.copy_path()).unwrap().len(), 1 << 30);

    let fixture = DeadlineFixture::new(MIB);
    fs::write(fixture.copy_path(), "old").unwrap();
    let out = fixture.copy(&["-n", "--finish-within=1s", "--limit-rate=1K"]);
    assert!(out.status.success(), "{out:?}");
}

/// A fork never takes less than a microsecond: the governor holds the copy to 2 MiB/s, which would take 12 s.
#[test]
fn limits_yield_to_the_deadline_and_that_is_said_once() {
    let fixture = DeadlineFixture::new(24 * MIB);
    let options = ["--max-fork-latency=1us", "--finish-within=6s"];
    let out = fixture.copy(&[&options[..], &["--json", "--debug"]].concat());
    assert!(out.status.success(), "{out:?}");
    fixture.assert_complete();
    assert!(causes(&out).contains(&"deadline".into()), "{out:?}");
    let text = stderr(&out);
    let warning = "warning: --finish-within: the limits do not leave enough time, and yield";
    assert_eq!(text.matches(warning).count(), 1, "{text}");
    assert!(text.contains("and the deadline needs"), "{text}");
}

#[test]
fn limits_that_leave_enough_time_do_not_yield() {
    let fixture = DeadlineFixture::new(4 * MIB);
    let out = fixture.copy(&["--json", "--max-fork-latency=1us", "--finish-within=1h"]);
    assert!(out.status.success(), "{out:?}");
    let causes = causes(&out);
    assert!(!causes.contains(&"deadline".into()), "{causes:?}");
    assert!(!stderr(&out).contains("--finish-within"), "{out:?}");
}

/// The size of a directory is known only when it was counted: then a warning, and the copy goes on behind the deadline.
#[test]
fn a_copy_that_is_late_is_said_to_be_and_is_complete() {
    let fixture = DeadlineFixture::new(4 * MIB);
    let options = ["-r", "--limit-rate=1M", "--finish-within=2s"];
    let out = fixture.copy_from(fixture.from.path(), &options);
    assert!(out.status.success(), "{out:?}");
    let copied = fs::read(fixture.copy_path().join("dump")).unwrap();
    assert!(copied == fs::read(fixture.source()).unwrap());
    let text = stderr(&out);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("the copy will not be complete in time: at 1.00 MiB/s the rest takes")
    );
    assert!(lines[1].contains("2.0 s is over; the copy goes on as fast as it can"));
}

#[test]
fn a_stream_has_no_size_and_that_is_said() {
    let fixture = DeadlineFixture::new(0);
    let fifo = fixture.from.path().join("fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    let writer = {
        let fifo = fifo.clone();
        std::thread::spawn(move || {
            File::create(fifo)
                .unwrap()
                .write_all(&[7; 100_000])
                .unwrap()
        })
    };
    let out = fixture.copy_from(&fifo, &["--finish-within=30s", "--limit-rate=100M"]);
    writer.join().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert!(
        stderr(&out).contains("it is not known how much there is to copy"),
        "{out:?}"
    );
    assert_eq!(fs::metadata(fixture.copy_path()).unwrap().len(), 100_000);
}

/// What is complete stays, what is under way is cut, and what was not begun is an error.
#[test]
fn with_cut_the_beginning_is_kept_when_the_time_is_over() {
    let fixture = DeadlineFixture::new(16 * MIB);
    let small = fixture.from.path().join("small");
    make_dense_dump(&small, 4096);
    let late = fixture.from.path().join("late");
    make_dense_dump(&late, 4096);
    let options = [
        "--json",
        "--cut",
        "--jobs=1",
        "--finish-within=2s",
        "--limit-rate=2M",
    ];
    let mut command = mmapcp();
    command.args(options).arg(&small).arg(fixture.source());
    let out = run(command.arg(fixture.to.path()));
    assert_eq!(out.status.code(), Some(3), "{out:?}");
    let copy = |name: &str| fixture.to.path().join(name);
    assert!(fs::read(copy("small")).unwrap() == fs::read(&small).unwrap());
    assert!(!copy("dump").exists());
    let part = fs::read(copy("dump.part")).unwrap();
    let whole = fs::read(fixture.source()).unwrap();
    assert!(!part.is_empty() && part.len() < whole.len() && part == whole[..part.len()]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let cut = text
        .lines()
        .find(|line| line.contains(r#""event":"cut""#))
        .unwrap();
    let cut: Value = serde_json::from_str(cut).unwrap();
    assert_eq!(
        (&cut["why"], &cut["at"]),
        (&"deadline".into(), &part.len().into())
    );
    let text = stderr(&out);
    assert!(
        text.contains("the copy will not be complete in time"),
        "{text}"
    );
    assert!(
        text.contains("2.0 s is over; what is not complete is cut"),
        "{text}"
    );
    assert!(text.contains("--finish-within, 2.0 s, is over"), "{text}");

    let mut command = mmapcp();
    for name in ["small", "dump.part", "dump.part.map"] {
        fs::remove_file(copy(name)).unwrap();
    }
    command.args(options).arg(fixture.source()).arg(&late);
    let out = run(command.arg(fixture.to.path()));
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(copy("dump.part").exists() && !copy("late").exists());
    assert!(stderr(&out).contains("no time for"), "{out:?}");
}

/// Without limits there is nothing to yield, and a copy in time is silent, whatever it is made of.
#[test]
fn a_deadline_alone_changes_nothing() {
    let fixture = DeadlineFixture::new(2 * MIB);
    for name in ["a", "b", "c"] {
        make_dense_dump(&fixture.from.path().join(name), 5000);
    }
    for options in [
        &["-r"][..],
        &["-r", "--verify"],
        &["-r", "--fsync", "--atomic", "--jobs=4"],
    ] {
        let options = [options, &["--finish-within=10min", "-T"]].concat();
        let out = fixture.copy_from(fixture.from.path(), &options);
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        let names = fs::read_dir(fixture.copy_path()).unwrap().count();
        assert_eq!(names, 4);
    }
}
