//! A dump in memory that is drained to the disk, and a second one with the same bytes to compare with.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::*;

/// The options of every drain here: it is also said how to go on.
pub(super) fn command(options: &[&str], source: &Path, dest: &Path) -> Command {
    let mut command = mmapcp();
    command
        .arg("--drain")
        .args(options)
        .arg("--")
        .arg(source)
        .arg(dest);
    command
}

/// The names in the directory of a destination, sorted.
pub(super) fn names_in(dest: &Path) -> Vec<String> {
    let entries = fs::read_dir(dest.parent().unwrap()).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The file beside a destination that says how far its copy is.
pub(super) fn state_of(dest: &Path) -> PathBuf {
    let name = dest.file_name().unwrap().display();
    dest.with_file_name(format!(".{name}.mmapcp-state"))
}

/// The offset up to which a state says that the copy is on the disk.
pub(super) fn durable_in_state(dest: &Path) -> Option<u64> {
    let text = fs::read_to_string(state_of(dest)).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("durable "))?;
    line.parse().ok()
}

/// Whether two files have the same bytes from an offset on.
pub(super) fn has_content_from(file: &Path, reference: &Path, from: u64) -> bool {
    has_content(file, reference, from, u64::MAX)
}

/// Whether two files have the same bytes from an offset to another, or to the end of the reference.
pub(super) fn has_content(file: &Path, reference: &Path, from: u64, to: u64) -> bool {
    let (file, reference) = (File::open(file).unwrap(), File::open(reference).unwrap());
    let to = to.min(reference.metadata().unwrap().len());
    let (mut left, mut right) = (vec![0; MIB as usize], vec![0; MIB as usize]);
    let mut at = from;
    while at < to {
        let len = (to - at).min(MIB) as usize;
        let read = file.read_exact_at(&mut left[..len], at);
        reference.read_exact_at(&mut right[..len], at).unwrap();
        if read.is_err() || left[..len] != right[..len] {
            return false;
        }
        at += len as u64;
    }
    true
}

/// The places of a drain.
pub(super) struct DrainFixture {
    shm: PathBuf,
    disk: TempDir,
    /// What removes the directory in memory, if that is not a mount of the lab.
    _scratch: Option<TempDir>,
    /// The same bytes, which stay.
    reference: TempDir,
}

impl DrainFixture {
    /// A source of this size with these extents, or without holes if there are none.
    pub(super) fn new(size: u64, extents: &[(u64, u64)]) -> Self {
        let scratch = shm_dir();
        let mut drain = Self::at(scratch.path());
        drain._scratch = Some(scratch);
        drain.fill(size, extents);
        drain
    }

    /// The places of a drain whose source is in another directory.
    pub(super) fn at(shm: &Path) -> Self {
        Self {
            shm: shm.into(),
            disk: disk_dir(),
            _scratch: None,
            reference: shm_dir(),
        }
    }

    /// Makes the source, and what it is compared with.
    pub(super) fn fill(&self, size: u64, extents: &[(u64, u64)]) {
        for path in [self.source(), self.reference()] {
            match extents {
                [] => make_dense_dump(&path, size),
                extents => make_dump(&path, size, extents),
            }
        }
        wait_until_closed(&self.source());
    }

    pub(super) fn source(&self) -> PathBuf {
        self.shm.join("dump")
    }

    pub(super) fn reference(&self) -> PathBuf {
        self.reference.path().join("reference")
    }

    pub(super) fn dest(&self) -> PathBuf {
        self.disk.path().join("copy")
    }

    pub(super) fn dest_len(&self) -> u64 {
        fs::metadata(self.dest()).map_or(0, |meta| meta.len())
    }

    /// The drain with these options.
    pub(super) fn command(&self, options: &[&str]) -> Command {
        command(options, &self.source(), &self.dest())
    }

    /// The source has less memory than it had.
    pub(super) fn wait_until_freed(&self) {
        let all = fs::metadata(self.source()).unwrap().blocks();
        wait_until("memory came back", || {
            fs::metadata(self.source()).is_ok_and(|meta| meta.blocks() < all)
        });
    }

    /// Begins a drain and kills it when it has freed something.
    pub(super) fn interrupt(&self, options: &[&str]) {
        let words = [&["--limit-rate=80M"], options].concat();
        let running = Running::start(&mut self.command(&words));
        self.wait_until_freed();
        running.signal(Signal::SIGKILL);
        assert_signal(&running.finish(), libc::SIGKILL);
        self.assert_whole("interrupted");
    }

    /// What the state says is durable is at the destination, and the source has what follows.
    pub(super) fn assert_whole(&self, context: &str) {
        let durable = durable_in_state(&self.dest());
        let size = fs::metadata(self.reference()).unwrap().len();
        let until = durable.unwrap_or(if self.source().exists() { 0 } else { size });
        if until > 0 {
            assert!(
                has_content(&self.dest(), &self.reference(), 0, until),
                "{context}: the first {until} bytes"
            );
        }
        if until < size {
            assert!(
                has_content_from(&self.source(), &self.reference(), until),
                "{context}: the bytes from {until} on"
            );
        }
    }

    /// Completes an interrupted drain, and expects that.
    pub(super) fn complete(&self, options: &[&str]) -> Output {
        let words = [&["--resume"], options].concat();
        if self.source().exists() {
            // assert_whole has read it.
            wait_until_closed(&self.source());
        }
        let output = run(&mut self.command(&words));
        assert_exit_in(&output, 0, format!("{words:?}"));
        self.assert_complete(&format!("{words:?}"));
        output
    }

    /// All bytes are at the destination, and nothing is left of the source and of the state.
    pub(super) fn assert_complete(&self, context: &str) {
        assert_same_content(&self.reference(), &self.dest(), context);
        assert!(!self.source().exists(), "{context}: the source is left");
        assert_eq!(names_in(&self.dest()), ["copy"], "{context}");
        assert_eq!(names_in(&self.source()), [""; 0], "{context}");
    }
}
