//! Directories of segments, whose memory comes back segment by segment.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::*;

/// A directory of segments, and a place for its copy.
struct Segments {
    shm: TempDir,
    disk: TempDir,
    reference: TempDir,
}

/// The segments with their sizes.
const SEGMENTS: [(&str, u64); 5] = [
    ("large", 90 * MIB + 1),
    ("small", 5000),
    ("sub/middle", 3 * MIB),
    ("sub/deep/one", 1),
    ("empty", 0),
];

impl Segments {
    fn new() -> Self {
        let segments = Self {
            shm: shm_dir(),
            disk: disk_dir(),
            reference: shm_dir(),
        };
        for (name, size) in SEGMENTS {
            for root in [segments.source(), segments.reference.path().into()] {
                let path = root.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                make_dense_dump(&path, size);
                wait_until_closed(&path);
            }
        }
        fs::create_dir(segments.source().join("nothing")).unwrap();
        segments
    }

    fn source(&self) -> PathBuf {
        self.shm.path().join("app.1234")
    }

    fn dest(&self) -> PathBuf {
        self.disk.path().join("app.1234")
    }

    fn command(&self, options: &[&str]) -> std::process::Command {
        let mut command = mmapcp();
        command.args(["-r", "--drain"]).args(options);
        command.arg(self.source()).arg(self.disk.path());
        command
    }

    fn assert_copied(&self, context: &str) {
        for (name, _) in SEGMENTS {
            let copy = self.dest().join(name);
            assert_same_content(&self.reference.path().join(name), &copy, context);
        }
        assert!(self.dest().join("nothing").is_dir(), "{context}");
        let hidden = hidden_names(&self.dest());
        assert!(hidden.is_empty(), "{context}: {hidden:?}");
    }
}

/// The names below a directory that begin with a dot.
fn hidden_names(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(hidden_names(&entry.path()));
        } else if entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_tree_is_drained_the_smallest_first_and_removed() {
    for jobs in ["--jobs=1", "--jobs=3"] {
        let segments = Segments::new();
        let output = run(&mut segments.command(&[jobs, "--json"]));
        assert_exit(&output, 0);
        segments.assert_copied(jobs);
        assert!(!segments.source().exists(), "{jobs}");
        let events = parse_events(&output);
        let done = events.iter().filter(|event| event["event"] == "done");
        let done: Vec<_> = done.map(|event| event["bytes"].as_u64().unwrap()).collect();
        assert_eq!(done.len(), SEGMENTS.len());
        if jobs == "--jobs=1" {
            assert_eq!(done[..3], [0, 5000, 90 * MIB + 1], "in the first directory");
        }
    }
}

#[test]
fn what_is_refused_stays_and_is_named() {
    let segments = Segments::new();
    let (held, link) = (
        segments.source().join("small"),
        segments.source().join("link"),
    );
    let reader = File::open(&held).unwrap();
    symlink("large", &link).unwrap();
    let output = run(&mut segments.command(&[]));
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    for (path, why) in [(&held, "has it open or mapped"), (&link, "no regular file")] {
        let line = said
            .lines()
            .find(|l| l.contains(&path.display().to_string()));
        assert!(line.is_some_and(|line| line.contains(why)), "{said}");
    }
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(held.exists() && link.symlink_metadata().is_ok());
    assert!(!segments.source().join("sub").exists(), "it was emptied");
    assert!(!segments.source().join("large").exists());
    drop(reader);
    fs::remove_file(link).unwrap();
    let output = run(&mut segments.command(&[]));
    assert_exit(&output, 0);
    fs::remove_file(segments.dest().join("link")).unwrap();
    segments.assert_copied("afterwards");
    assert!(!segments.source().exists());
}

#[test]
fn a_tree_that_was_killed_is_completed() {
    for pause in [5, 60, 150, 300, 700] {
        let segments = Segments::new();
        let running = Running::start(&mut segments.command(&["--limit-rate=120M", "--jobs=2"]));
        std::thread::sleep(std::time::Duration::from_millis(pause));
        running.signal(Signal::SIGKILL);
        running.finish();
        if segments.source().exists() {
            let output = run(&mut segments.command(&["--resume"]));
            assert_exit_in(&output, 0, pause);
        }
        segments.assert_copied(&format!("killed after {pause} ms"));
        assert!(!segments.source().exists());
    }
}
