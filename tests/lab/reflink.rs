//! `--reflink` where blocks can be shared and where not: what is on the disk, and what is said, beside cp.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use super::program_run::{CopyOutcome, copy_arguments, cp, mmapcp, newest_cp};
use super::test_filesystem::{FsKind, Mount};
use super::{Lab, newest_cp, run_tool};
use crate::seccomp_filter::{DeniedSyscall, run_with_denied};
use crate::tested_programs::MMAPCP;

const TOOLS: [&str; 4] = ["filefrag", "losetup", "mount", "umount"];

/// No whole number of blocks, and more than what a file system keeps inside of an inode.
const SIZE: u64 = (2 << 20) + 777;

/// A source on a fresh file system, and where its copies go there.
struct ReflinkFixture {
    disk: Mount,
    source: PathBuf,
}

impl ReflinkFixture {
    fn on(lab: &Lab, kind: FsKind) -> Option<Self> {
        let disk = lab.mount(kind, 384)?;
        let source = disk.path("dump");
        fs::write(&source, bytes()).expect("write the dump");
        Some(Self { disk, source })
    }

    /// Copies with these options onto `dest`, which holds `before`, or is not there.
    fn copy(&self, options: &[&str], before: Option<&[u8]>) -> (CopyOutcome, PathBuf) {
        let dest = self.disk.path("copy");
        prepare(&dest, before);
        (mmapcp(&copy_arguments(options, &self.source, &dest)), dest)
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
    let table = run_tool("filefrag", &["-v", &path.to_string_lossy()]).expect("filefrag");
    table.lines().any(|line| line.contains("shared"))
}

/// Shorter than the source, and longer by more than a block; none.
fn old_contents() -> [Option<Vec<u8>>; 3] {
    let longer = vec![0xEE; SIZE as usize + 100_000];
    [None, Some(vec![0xEE; 5000]), Some(longer)]
}

fn check_sharing(kind: FsKind) {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(place) = ReflinkFixture::on(&lab, kind) else {
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
        for before in old_contents() {
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
    check_copy_on_write(&place);
}

/// A copy that shares blocks stops sharing those that are written to.
fn check_copy_on_write(place: &ReflinkFixture) {
    let (_, dest) = place.copy(&["--reflink=always"], None);
    let copy = File::options().write(true).open(&dest).expect("open");
    copy.write_all_at(b"new", 4096).expect("write to the copy");
    assert!(fs::read(&place.source).expect("read the source") == bytes());
}

#[test]
fn btrfs_shares_blocks() {
    check_sharing(FsKind::Btrfs);
}

#[test]
fn xfs_shares_blocks() {
    check_sharing(FsKind::Xfs);
}

/// Exit status, message, and what is left of the destination: as the newest cp, for each state that it was in. Before 9.2 a
/// file that was not there before is left empty.
fn assert_refused_as_by_cp(source: &Path, dest: &Path) {
    for before in old_contents() {
        let result = |program: &dyn Fn(&[OsString]) -> CopyOutcome| {
            prepare(dest, before.as_deref());
            let outcome = program(&copy_arguments(&["--reflink=always"], source, dest));
            (outcome.code, outcome.stderr, fs::read(dest).ok())
        };
        let (code, said, left) = result(&mmapcp);
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(
            left.is_some(),
            before.is_some(),
            "another destination is left"
        );
        let (theirs, words, kept) = result(&cp);
        assert_eq!((&code, &said), (&theirs, &words));
        if before.is_some() {
            assert!(left == kept, "another destination is left");
        }
        if newest_cp::directory().is_some() {
            assert!(
                (code, said, left) == result(&newest_cp),
                "not as the newest cp"
            );
        }
    }
}

/// An error of the medium is told, whatever was asked for: who copied in another way might copy what the medium has lost.
/// As cp since 9.2.
#[test]
fn an_error_of_the_medium_is_no_reason_to_copy_in_another_way() {
    let tools: Vec<&str> = TOOLS.into_iter().chain(["mkfs.btrfs", "strace"]).collect();
    let Some(lab) = Lab::acquire_or_skip(&tools) else {
        return;
    };
    let Some(place) = ReflinkFixture::on(&lab, FsKind::Btrfs) else {
        return;
    };
    for (errno, text) in [
        ("EIO", "Input/output error"),
        ("ENOSPC", "No space left on device"),
        ("EDQUOT", "Disk quota exceeded"),
        ("ENOMEM", "Cannot allocate memory"),
    ] {
        for before in old_contents() {
            let dest = place.disk.path("copy");
            prepare(&dest, before.as_deref());
            let inject = format!("inject=ioctl:error={errno}");
            let output = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
                .arg(&*MMAPCP)
                .args([&place.source, &dest])
                .env("LC_ALL", "C")
                .output()
                .expect("run strace");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{errno}: {said}");
            assert!(
                said.contains("failed to clone ") && said.contains(text),
                "{errno}: {said}"
            );
            // Nothing new is left, and nothing old is lost.
            assert!(
                fs::read(&dest).ok() == before,
                "{errno}: the destination was changed"
            );
        }
    }
    // What only means that blocks cannot be shared is no such error.
    let (outcome, _) = place.copy(&["--reflink=auto"], None);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

/// A longer old file whose rest cannot be cut off is emptied: shared blocks before that rest are a file of nobody. A last
/// block that is not full is refused before anything is shared, so that such an old file stays.
#[test]
fn no_mixture_is_left_of_a_longer_file_that_cannot_be_cut() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(place) = ReflinkFixture::on(&lab, FsKind::Xfs) else {
        return;
    };
    for size in [SIZE, 2 << 20] {
        let source = place.disk.path("part");
        let wanted = &bytes()[..size as usize];
        fs::write(&source, wanted).expect("write the source");
        check_uncut_dest(&source, &place.disk.path("copy"), wanted);
    }
}

fn check_uncut_dest(source: &Path, dest: &Path, wanted: &[u8]) {
    let cut = DeniedSyscall::FtruncateTo(wanted.len() as i32);
    let empty = DeniedSyscall::FtruncateTo(0);
    let old = old_contents()[2].clone();
    let copy = |options: &[&str], denied: &[DeniedSyscall], errno: Errno| {
        prepare(dest, old.as_deref());
        let mut command = Command::new(&*MMAPCP);
        command.args(options).args([source, dest]);
        let output = run_with_denied(denied, errno as i32, command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said, fs::read(dest).expect("read"))
    };
    // Without a demand to share, the bytes are copied. A direct copy would have to cut off the padding of its last block.
    let (code, said, left) = copy(&["--direct=never"], &[cut], Errno::EPERM);
    assert_eq!((code, &*said), (Some(0), ""));
    assert!(left == wanted);
    for (options, errno) in [(&["--reflink"][..], Errno::EPERM), (&[], Errno::EIO)] {
        let (code, said, left) = copy(options, &[cut], errno);
        assert_eq!(code, Some(1), "{options:?}: {said}");
        assert!(said.contains("failed to clone "), "{options:?}: {said}");
        assert!(
            left.is_empty() || Some(&left) == old.as_ref(),
            "{options:?}: a mixture"
        );
    }
    // What can be neither cut nor emptied is removed with -f, as a file that cannot be opened.
    let (code, said, left) = copy(&["-f"], &[cut, empty], Errno::EPERM);
    assert_eq!((code, &*said), (Some(0), ""));
    assert!(left == wanted);
    let (code, said, _) = copy(&[], &[cut, empty], Errno::EPERM);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot create regular file "), "{said}");
}

#[test]
fn where_nothing_can_be_shared_cp_is_echoed() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let memory = tempfile::tempdir_in("/dev/shm").expect("memory");
    let outside = memory.path().join("dump");
    fs::write(&outside, bytes()).expect("write the dump");
    for kind in [FsKind::Btrfs, FsKind::Ext4, FsKind::Tmpfs, FsKind::Overlay] {
        let Some(place) = ReflinkFixture::on(&lab, kind) else {
            return;
        };
        let dest = place.disk.path("copy");
        assert_refused_as_by_cp(&outside, &dest);
        if kind != FsKind::Btrfs {
            assert_refused_as_by_cp(&place.source, &dest);
        }
        let empty = place.disk.path("empty");
        File::create(&empty).expect("an empty file");
        if kind != FsKind::Btrfs {
            assert_refused_as_by_cp(&empty, &dest);
        }
    }
}

#[test]
fn what_cannot_be_shared_is_copied_and_the_reason_is_told() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    for kind in [FsKind::Ext4, FsKind::Overlay, FsKind::Tmpfs] {
        let Some(place) = ReflinkFixture::on(&lab, kind) else {
            return;
        };
        for before in old_contents() {
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
