//! Small files: written past O_DIRECT where that is dearer, and all the same with nothing left in the cache and nothing untold.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use mmapcp::transfer::{
    Copier, CopyFailure, CopyListener, Error, Event, Progress, Sparse, TransferOptions,
};
use nix::errno::Errno;
use serde_json::Value;
use tempfile::TempDir;

use crate::seccomp_filter::{DeniedSyscall, run_with_denied};
use crate::support::*;

/// The largest file that is written so.
const MAX_SMALL_FILE_BYTES: u64 = 64 * KIB;

/// Sectors, pages and the border, each with its neighbours.
const SIZES: [u64; 12] = [
    0,
    1,
    511,
    512,
    513,
    4095,
    4096,
    4097,
    40_000,
    MAX_SMALL_FILE_BYTES - 1,
    MAX_SMALL_FILE_BYTES,
    MAX_SMALL_FILE_BYTES + 1,
];

/// The rows of small files.
const ROWS: [&str; 2] = ["dontcache", "buffered"];

/// A tree of small files, and where its copy goes.
struct SmallFileTree {
    source: PathBuf,
    copy: PathBuf,
    _dirs: [TempDir; 2],
}

impl SmallFileTree {
    fn from(from: TempDir) -> Self {
        let to = disk_dir();
        let source = from.path().join("tree");
        fs::create_dir(&source).unwrap();
        for (n, size) in SIZES.iter().cycle().take(100).enumerate() {
            make_dense_dump(&source.join(n.to_string()), *size);
        }
        Self {
            source,
            copy: to.path().join("copy"),
            _dirs: [from, to],
        }
    }

    /// Whether the copy is one, with nothing of it in the cache. Looked at before it is read.
    fn check(&self, context: &str) {
        for entry in fs::read_dir(&self.source).unwrap() {
            let name = entry.unwrap().file_name();
            let copy = self.copy.join(&name);
            assert_eq!(
                cached_bytes(&copy),
                0,
                "{context}: {name:?} is in the cache"
            );
            assert_same_content(&self.source.join(&name), &copy, context);
        }
    }
}

fn done(events: &[Value]) -> impl Iterator<Item = &Value> {
    events.iter().filter(|event| event["event"] == "done")
}

#[test]
fn a_tree_leaves_nothing_in_the_cache() {
    for from in [shm_dir(), disk_dir()] {
        let tree = SmallFileTree::from(from);
        let output = run(mmapcp().arg("-r").arg(&tree.source).arg(&tree.copy));
        assert_exit(&output, 0);
        tree.check("-r");
    }
}

#[test]
fn the_engine_used_and_those_rejected_are_reported() {
    let tree = SmallFileTree::from(shm_dir());
    let output = run(mmapcp()
        .args(["-r", "--json"])
        .arg(&tree.source)
        .arg(&tree.copy));
    assert_exit(&output, 0);
    let events = parse_events(&output);
    assert_eq!(done(&events).count(), 100);
    for event in done(&events) {
        let (bytes, engine) = (event["bytes"].as_u64().unwrap(), &event["engine"]);
        match bytes {
            0 => assert!(engine.is_null(), "{event}"),
            1..=MAX_SMALL_FILE_BYTES => assert!(ROWS.iter().any(|row| engine == row), "{event}"),
            _ => assert!(engine == "splice" || engine == "mmap", "{event}"),
        }
        assert_eq!(event["data_bytes"], bytes, "{event}");
    }
    for plan in events.iter().filter(|event| event["event"] == "plan") {
        let small = plan["size"].as_u64().unwrap() <= MAX_SMALL_FILE_BYTES;
        let refused = plan["refused"].as_array().unwrap();
        for row in ["mmap", "splice", "direct"] {
            let told = refused.iter().any(|one| {
                one["engine"] == row && one["why"].as_str().is_some_and(|why| !why.is_empty())
            });
            assert_eq!(told, small, "{row}: {plan}");
        }
    }
}

#[test]
fn a_requested_engine_is_used_for_small_files() {
    for (word, rows) in [
        ("--direct=always", &["mmap", "splice"][..]),
        ("--engine=mmap", &["mmap"]),
        ("--engine=direct", &["direct"]),
        ("--engine=sendfile", &["sendfile"]),
    ] {
        let (from, to) = (shm_dir(), disk_dir());
        let (source, copy) = (from.path().join("dump"), to.path().join("copy"));
        make_dense_dump(&source, 10_000);
        let events = copy_json(&[word], &source, &copy);
        let engine = only_event(&events, "done")["engine"].as_str().unwrap();
        assert!(rows.contains(&engine), "{word}: {engine}");
        assert_same_content(&source, &copy, word);
    }
}

#[test]
fn holes_of_small_files_stay() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, copy) = (from.path().join("dump"), to.path().join("copy"));
    for extents in [&[(0, 4096)][..], &[(32 * KIB, 4096)], &[(60_000, 1)], &[]] {
        make_dump(&source, MAX_SMALL_FILE_BYTES - 7, extents);
        let before = allocated_bytes(&source);
        let output = run(mmapcp().arg(&source).arg(&copy));
        assert_exit(&output, 0);
        assert_eq!(data_bytes(&copy), data_bytes(&source), "{extents:?}");
        assert_eq!(allocated_bytes(&source), before, "{extents:?}");
        assert_same_content(&source, &copy, &format!("{extents:?}"));
        let words = ["--sparse=never"];
        let output = run(mmapcp().args(words).arg(&source).arg(&copy));
        assert_exit(&output, 0);
        assert_eq!(
            data_bytes(&copy),
            MAX_SMALL_FILE_BYTES - 7,
            "{extents:?}, filled"
        );
        fs::remove_file(&source).unwrap();
    }
}

#[test]
fn what_was_there_is_replaced_whole_or_not_touched() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, copy) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, 5000);
    for there in [0, 100, 5000, 200_000] {
        make_dense_dump(&copy, there);
        let output = run(mmapcp().arg(&source).arg(&copy));
        assert_exit(&output, 0);
        assert_same_content(&source, &copy, &format!("onto {there} bytes"));
    }
    fs::write(&copy, "precious").unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--fsize=4096", &*MMAPCP]).env("LC_ALL", "C");
    let output = run(command.arg(&source).arg(&copy));
    assert_exit(&output, 1);
    assert!(lossy_string(&output.stderr).ends_with("': File too large\n"));
    assert_eq!(fs::read(&copy).unwrap(), b"precious");
}

/// A kernel before 6.14, or a file system without uncached writes: asked once and told once by each thread,
/// and nothing stays cached.
#[test]
fn without_uncached_writes_the_cache_is_dropped_after_the_copy() {
    for (jobs, errno) in [
        (1, Errno::EOPNOTSUPP),
        (2, Errno::ENOSYS),
        (3, Errno::EPERM),
    ] {
        let tree = SmallFileTree::from(shm_dir());
        let mut command = mmapcp();
        command
            .args(["-r", "--json", &format!("--jobs={jobs}")])
            .arg(&tree.source)
            .arg(&tree.copy);
        let output = run_with_denied(&[DeniedSyscall::Pwritev2], errno as i32, command);
        assert_exit_in(&output, 0, errno);
        let events = parse_events(&output);
        let fallbacks = events.iter().filter(|event| event["event"] == "fallback");
        assert!(fallbacks.count() <= jobs, "{errno}: {events:#?}");
        for event in done(&events)
            .filter(|event| (1..=MAX_SMALL_FILE_BYTES).contains(&event["bytes"].as_u64().unwrap()))
        {
            assert_eq!(event["engine"], "buffered", "{errno}");
        }
        tree.check(&errno.to_string());
    }
}

/// What is given its name at once has to be on the device before.
#[test]
fn a_small_file_that_does_not_reach_the_disk_replaces_nothing() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, copy) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, 5000);
    for there in [Some("precious"), None] {
        if let Some(old) = there {
            fs::write(&copy, old).unwrap();
        }
        let mut command = mmapcp();
        command.arg("--atomic").arg(&source).arg(&copy);
        let output = run_with_denied(&[DeniedSyscall::SyncFileRange], Errno::EIO as i32, command);
        assert_exit(&output, 1);
        assert!(lossy_string(&output.stderr).ends_with("': Input/output error\n"));
        let left = fs::read_to_string(&copy).ok();
        assert_eq!(left.as_deref(), there);
        let _ = fs::remove_file(&copy);
    }
}

/// Files on their way hold descriptors: with few of them, fewer are on their way.
#[test]
fn few_descriptors_are_enough() {
    let tree = SmallFileTree::from(shm_dir());
    let mut command = Command::new("prlimit");
    command
        .args(["--nofile=14", &*MMAPCP, "-r"])
        .env("LC_ALL", "C");
    let output = run(command.arg(&tree.source).arg(&tree.copy));
    assert_exit(&output, 0);
    tree.check("14 descriptors");
}

/// Changes the source when the copy has begun.
struct ChangeDuringCopy<'a> {
    source: &'a Path,
    change: fn(&File),
    calls: u32,
}

impl CopyListener for ChangeDuringCopy<'_> {
    fn event(&mut self, _: &Event) {}
    fn progress(&mut self, _: &Progress) {
        self.calls += 1;
        if self.calls == 1 {
            (self.change)(&File::options().write(true).open(self.source).unwrap());
        }
    }
    fn interrupted(&self) -> bool {
        false
    }
}

fn changed_meanwhile(change: fn(&File)) -> (CopyFailure, PathBuf, [TempDir; 2]) {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, copy) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, 5000);
    let (file, dest) = (File::open(&source).unwrap(), File::create(&copy).unwrap());
    let mut worker = Copier::default();
    let source_info = worker.source_info(&file).unwrap();
    let mut observer = ChangeDuringCopy {
        source: &source,
        change,
        calls: 0,
    };
    let copied = worker.copy(
        &file,
        source_info,
        &dest,
        TransferOptions::default(),
        &mut observer,
        (),
    );
    assert!(worker.finish_writeback().is_empty());
    (copied.unwrap_err(), copy, [from, to])
}

#[test]
fn a_small_source_that_changes_is_told() {
    type Change = (fn(&File), u64);
    let sizes: [Change; 3] = [
        (|file| file.set_len(100).unwrap(), 100),
        (|file| file.set_len(0).unwrap(), 0),
        (|file| file.set_len(9000).unwrap(), 9000),
    ];
    for (change, now_is) in sizes {
        let (failure, _, _dirs) = changed_meanwhile(change);
        assert!(
            matches!(failure.error, Error::SourceChanged { was: 5000, now } if now == now_is),
            "{}",
            failure.error
        );
    }
    // Same size, another time.
    let touched = |file: &File| {
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    let (failure, copy, _dirs) = changed_meanwhile(touched);
    assert!(
        matches!(
            failure.error,
            Error::SourceChanged {
                was: 5000,
                now: 5000
            }
        ),
        "{}",
        failure.error
    );
    assert_eq!(fs::metadata(copy).unwrap().len(), 5000);
}

/// Each thread has a worker, and all of them the same file systems.
#[test]
fn workers_write_separate_files() {
    let tree = SmallFileTree::from(shm_dir());
    fs::create_dir(&tree.copy).unwrap();
    let tree = &tree;
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                let mut worker = Copier::default();
                for n in (part..100).step_by(4) {
                    let name = n.to_string();
                    let source = File::open(tree.source.join(&name)).unwrap();
                    let dest = File::create(tree.copy.join(&name)).unwrap();
                    let source_info = worker.source_info(&source).unwrap();
                    let options = TransferOptions {
                        sparse: [Sparse::Auto, Sparse::Never][n % 2],
                        ..TransferOptions::default()
                    };
                    worker
                        .copy(&source, source_info, &dest, options, &mut (), n)
                        .unwrap_or_else(|failure| panic!("{name}: {}", failure.error));
                    assert!(worker.take_deferred_errors().is_empty());
                }
                assert!(worker.finish_writeback().is_empty());
            });
        }
    });
    tree.check("four workers");
}
