//! Trees of so many small files that several are written by one call: content, attributes and errors are the same as of files
//! that are copied one by one.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use mmapcp::sys::file::StatxInfo;
use mmapcp::transfer::{Copier, OpenedFile, TransferOptions};
use tempfile::TempDir;

use crate::seccomp_filter::{DeniedSyscall, run_with_denied};
use crate::support::*;

/// Files that a thread copies one by one before it begins with batches, if they took long enough.
const FILES_BEFORE_BATCHES: usize = 512;

/// Directories of a tree. They are small, so that batches end with a directory, too.
const DIRECTORIES: usize = 40;

/// More files than two threads copy one by one, whichever gets more of them.
const FILES: usize = 2 * FILES_BEFORE_BATCHES + 500;

/// Sizes in bytes of the files, in turns.
const SIZES: [u64; 9] = [0, 1, 511, 4096, 5000, 20_000, 65_535, 65_536, 65_537];

/// A tree of small files, and where its copy goes.
struct LargeTree {
    source: PathBuf,
    copy: PathBuf,
    _dirs: [TempDir; 2],
}

impl LargeTree {
    fn new() -> Self {
        let (from, to) = (shm_dir(), disk_dir());
        let source = from.path().join("tree");
        for n in 0..DIRECTORIES {
            fs::create_dir_all(source.join(n.to_string())).unwrap();
        }
        for n in 0..FILES {
            let path = source.join(name(n));
            make_dense_dump(&path, SIZES[n % SIZES.len()]);
            let mode = [0o644, 0o600, 0o755][n % 3];
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + n as u64);
            File::open(&path).unwrap().set_modified(time).unwrap();
        }
        Self {
            source,
            copy: to.path().join("copy"),
            _dirs: [from, to],
        }
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = mmapcp();
        command.args(options).args([&self.source, &self.copy]);
        command
    }

    /// Checks content and mode of each file, and that none of it is in the cache.
    fn check(&self, context: &str) {
        for n in 0..FILES {
            let (source, copy) = (self.source.join(name(n)), self.copy.join(name(n)));
            assert_eq!(cached_bytes(&copy), 0, "{context}: {n} is in the cache");
            assert_same_content(&source, &copy, context);
            let mode = |path: &Path| fs::metadata(path).unwrap().mode();
            assert_eq!(mode(&source), mode(&copy), "{context}: {n}");
        }
    }
}

fn name(n: usize) -> String {
    format!("{}/{n}", n % DIRECTORIES)
}

#[test]
fn a_large_tree_of_small_files_is_the_same() {
    let tree = LargeTree::new();
    assert_exit(&run(&mut tree.command(&["-r", "--jobs=2"])), 0);
    tree.check("-r");
}

#[test]
fn attributes_are_set_after_the_data() {
    let tree = LargeTree::new();
    assert_exit(&run(&mut tree.command(&["-a", "--jobs=2"])), 0);
    tree.check("-a");
    for n in 0..FILES {
        let time = |root: &Path| fs::metadata(root.join(name(n))).unwrap().mtime();
        assert_eq!(time(&tree.source), time(&tree.copy), "{n}");
    }
}

#[test]
fn files_are_copied_one_by_one_where_batches_are_refused() {
    for denied in [DeniedSyscall::IoSetup, DeniedSyscall::IoSubmit] {
        let tree = LargeTree::new();
        let command = tree.command(&["-r", "--jobs=2"]);
        let output = run_with_denied(&[denied], libc::EPERM, command);
        assert_exit(&output, 0);
        tree.check(&format!("{denied:?}"));
    }
}

/// The error of a file is its own, and the files beside it are complete.
#[test]
fn a_file_that_fails_in_a_batch_is_told_by_name() {
    const LIMIT: u64 = 20_000;
    let tree = LargeTree::new();
    let mut command = Command::new("prlimit");
    command
        .args([
            &format!("--fsize={}", LIMIT - 1),
            &*MMAPCP,
            "-r",
            "--jobs=2",
        ])
        .env("LC_ALL", "C")
        .args([&tree.source, &tree.copy]);
    let output = run(&mut command);
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    for n in 0..FILES {
        let (source, copy) = (tree.source.join(name(n)), tree.copy.join(name(n)));
        let is_too_large = fs::metadata(&source).unwrap().len() >= LIMIT;
        let line = format!("'{}': File too large\n", copy.display());
        assert_eq!(said.contains(&line), is_too_large, "{n}: {said}");
        if !is_too_large {
            assert_same_content(&source, &copy, "beside a file that is too large");
        }
    }
}

#[test]
fn a_copier_writes_a_batch() {
    let (from, to) = (shm_dir(), disk_dir());
    let mut copier = Copier::default();
    let (mut paths, mut batched) = (Vec::new(), Vec::new());
    for n in 0..24 {
        let [source, copy] = [&from, &to].map(|dir| dir.path().join(n.to_string()));
        make_dense_dump(&source, 1 + 2000 * n as u64);
        let files = [File::open(&source).unwrap(), File::create(&copy).unwrap()];
        let looks = files.each_ref().map(|file| StatxInfo::query(file).unwrap());
        let [source_file, dest_file] = [0, 1].map(|end| OpenedFile {
            file: &files[end],
            status: &looks[end],
        });
        if n == 8 && !copier.begin_batches() {
            return skip("batches", "io_setup(2) is not allowed here");
        }
        if copier.batch(source_file, dest_file, TransferOptions::default(), n) {
            batched.push(n);
        }
        paths.push((source, copy));
    }
    if batched.is_empty() {
        return skip("batches", "no RWF_DONTCACHE here");
    }
    assert_eq!(batched, (8..24).collect::<Vec<_>>());
    assert!(copier.is_batch_full());
    assert_eq!(copier.write_batch(), [true; 16]);
    assert!(copier.finish_writeback().is_empty());
    for (source, copy) in &paths[8..] {
        assert_eq!(cached_bytes(copy), 0);
        assert_same_content(source, copy, "a batch");
    }
    assert!(copier.write_batch().is_empty());
}
