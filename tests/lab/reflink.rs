//! `--reflink` where blocks can be shared and where not: what is on the disk, and what is said, beside cp.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::image::{Kind, Mount};
use super::program::{Outcome, cp, mmapcp, words};
use super::{Lab, run};

const TOOLS: [&str; 4] = ["filefrag", "losetup", "mount", "umount"];

/// No whole number of blocks, and more than what a file system keeps inside of an inode.
const SIZE: u64 = (2 << 20) + 777;

/// A source on a fresh file system, and where its copies go there.
struct Place {
    disk: Mount,
    source: PathBuf,
}

impl Place {
    fn on(lab: &Lab, kind: Kind) -> Option<Self> {
        let disk = lab.mount(kind, 384)?;
        let source = disk.path("dump");
        fs::write(&source, bytes()).expect("write the dump");
        Some(Self { disk, source })
    }

    /// Copies with these options onto `dest`, which holds `before`, or is not there.
    fn copy(&self, options: &[&str], before: Option<&[u8]>) -> (Outcome, PathBuf) {
        let dest = self.disk.path("copy");
        prepare(&dest, before);
        (mmapcp(&words(options, &self.source, &dest)), dest)
    }
}

fn bytes() -> Vec<u8> {
    (0..SIZE).map(|n| (n % 251) as u8 + 1).collect()
}

fn prepare(dest: &Path, before: Option<&[u8]>) {
    let _ = fs::remove_file(dest);
    if let Some(before) = before {
        fs::write(dest, before).expect("write what was there");
    }
}

/// Whether the extents of a file have other owners.
fn is_shared(path: &Path) -> bool {
    File::open(path).expect("open").sync_all().expect("fsync");
    let table = run("filefrag", &["-v", &path.to_string_lossy()]).expect("filefrag");
    table.lines().any(|line| line.contains("shared"))
}

/// Shorter than the source, and longer by more than a block; none.
fn befores() -> [Option<Vec<u8>>; 3] {
    let longer = vec![0xEE; SIZE as usize + 100_000];
    [None, Some(vec![0xEE; 5000]), Some(longer)]
}

fn sharing(kind: Kind) {
    let Some(lab) = Lab::enter(&TOOLS) else {
        return;
    };
    let Some(place) = Place::on(&lab, kind) else {
        return;
    };
    let ways: [(&[&str], bool); 8] = [
        (&[], true),
        (&["--reflink=auto"], true),
        (&["--reflink"], true),
        (&["--engine=reflink"], true),
        // Bytes that had to be moved would take half an hour.
        (&["--limit-rate=1K"], true),
        (&["--reflink", "--limit-rate=1K"], true),
        (&["--reflink=never"], false),
        (&["--engine=direct"], false),
    ];
    for (options, shared) in ways {
        for before in befores() {
            let context = format!("{options:?} onto {:?} bytes", before.as_ref().map(Vec::len));
            let (outcome, dest) = place.copy(options, before.as_deref());
            assert_eq!(outcome.code, Some(0), "{context}: {outcome:?}");
            assert_eq!(
                outcome.engine() == "reflink",
                shared,
                "{context}: {outcome:?}"
            );
            assert!(
                fs::read(&dest).expect("read the copy") == bytes(),
                "{context}"
            );
            assert_eq!(is_shared(&dest), shared, "{context}");
        }
    }
    written_apart(&place);
}

/// A copy that shares blocks stops sharing those that are written to.
fn written_apart(place: &Place) {
    let (_, dest) = place.copy(&["--reflink=always"], None);
    let copy = File::options().write(true).open(&dest).expect("open");
    copy.write_all_at(b"new", 4096).expect("write to the copy");
    assert!(fs::read(&place.source).expect("read the source") == bytes());
}

#[test]
fn btrfs_shares_blocks() {
    sharing(Kind::Btrfs);
}

#[test]
fn xfs_shares_blocks() {
    sharing(Kind::Xfs);
}

/// Exit status, message, and what is left of the destination: as cp, for each state that it was in.
fn refused_as_cp(source: &Path, dest: &Path) {
    for before in befores() {
        let mut results = Vec::new();
        for program in [mmapcp, cp] {
            prepare(dest, before.as_deref());
            let outcome = program(&words(&["--reflink=always"], source, dest));
            let left = fs::read(dest).ok();
            results.push((outcome.code, outcome.stderr, left));
        }
        let [(ours, said, left), (theirs, words, kept)] = &results[..] else {
            panic!("two results");
        };
        assert_eq!((ours, said), (theirs, words));
        assert!(left == kept, "another destination is left");
        assert_eq!(*ours, Some(1));
    }
}

#[test]
fn where_nothing_can_be_shared_cp_is_echoed() {
    let Some(lab) = Lab::enter(&TOOLS) else {
        return;
    };
    let memory = tempfile::tempdir_in("/dev/shm").expect("memory");
    let outside = memory.path().join("dump");
    fs::write(&outside, bytes()).expect("write the dump");
    for kind in [Kind::Btrfs, Kind::Ext4, Kind::Tmpfs, Kind::Overlay] {
        let Some(place) = Place::on(&lab, kind) else {
            return;
        };
        let dest = place.disk.path("copy");
        refused_as_cp(&outside, &dest);
        if kind != Kind::Btrfs {
            refused_as_cp(&place.source, &dest);
        }
        let empty = place.disk.path("empty");
        File::create(&empty).expect("an empty file");
        if kind != Kind::Btrfs {
            refused_as_cp(&empty, &dest);
        }
    }
}

#[test]
fn what_cannot_be_shared_is_copied_and_the_reason_is_told() {
    let Some(lab) = Lab::enter(&TOOLS) else {
        return;
    };
    for kind in [Kind::Ext4, Kind::Overlay, Kind::Tmpfs] {
        let Some(place) = Place::on(&lab, kind) else {
            return;
        };
        for before in befores() {
            let (outcome, dest) = place.copy(&[], before.as_deref());
            assert_eq!(outcome.code, Some(0), "{kind:?}: {outcome:?}");
            assert!(
                fs::read(&dest).expect("read the copy") == bytes(),
                "{kind:?}"
            );
            assert_eq!(outcome.stderr, "", "{kind:?}");
            let refused = &outcome.event("plan").expect("a plan")["refused"];
            assert_eq!(refused[0]["engine"], "reflink", "{kind:?}: {refused}");
        }
        let (outcome, dest) = place.copy(&["--engine=reflink"], None);
        assert_eq!(outcome.code, Some(1), "{kind:?}: {outcome:?}");
        assert!(!dest.exists(), "{kind:?}: something was left");
        assert!(outcome.stderr.contains("reflink"), "{kind:?}: {outcome:?}");
    }
}
