//! `--verify` on file systems of every kind: what is read back comes from the device where that is said, and where it does not,
//! that is said.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use mmapcp::transfer::capabilities::SourceInfo;
use mmapcp::transfer::{self, CopyListener, Error, Event, Phase, Progress, TransferOptions};

use super::test_filesystem::{FsKind, Mount};
use super::{Lab, skip};
use crate::support::*;

/// A size that ends inside of a sector, with a hole.
const SIZE: u64 = 6 * MIB + 77;

/// The byte that is changed on the device: inside of a sector that no other equals.
const CHANGED: u64 = 4 * MIB + 512 * 3 + 100;

/// File systems, and how a copy there is read back: `None` where it depends on the kernel.
const KINDS: [(FsKind, Option<&str>); 12] = [
    (FsKind::Ext4, Some("direct")),
    (FsKind::Ext4SmallBlocks, Some("direct")),
    (FsKind::Ext4Journalled, Some("cached")),
    (FsKind::Xfs, Some("direct")),
    (FsKind::XfsBigSectors, Some("direct")),
    (FsKind::Btrfs, None),
    (FsKind::BtrfsCompressed, None),
    (FsKind::BtrfsNodatacow, None),
    (FsKind::Overlay, None),
    (FsKind::Fuse, Some("cached")),
    (FsKind::Tmpfs, Some("cached")),
    (FsKind::Ramfs, Some("cached")),
];

fn make_source(dir: &Path) -> std::path::PathBuf {
    let source = dir.join("dump");
    make_dump(&source, SIZE, &[(0, MIB), (3 * MIB, SIZE - 3 * MIB)]);
    source
}

#[test]
fn every_file_system_is_compared_and_what_is_no_proof_is_said() {
    let Some(lab) = Lab::acquire_or_skip(&["mount", "umount", "mkfs.ext4"]) else {
        return;
    };
    let shm = shm_dir();
    let source = make_source(shm.path());
    for (kind, how) in KINDS {
        let Some(mount) = lab.mount(kind, 384) else {
            continue;
        };
        let copy = mount.path("copy");
        for options in [
            &["--verify", "--checksum"][..],
            &["--verify", "--atomic", "--fsync"],
        ] {
            let output = run(mmapcp().arg("--json").args(options).arg(&source).arg(&copy));
            let context = format!("{kind:?}, {options:?}");
            assert_exit_in(&output, 0, &context);
            let events = parse_events(&output);
            let done = only_event(&events, "done");
            let verified = done["verified"].as_str().expect("it was compared");
            assert!(
                how.is_none_or(|how| how == verified),
                "{context}: {verified}"
            );
            let is_said = lossy_string(&output.stderr).contains("through the page cache");
            assert_eq!(is_said, verified == "cached", "{context}");
            assert_eq!(
                done["verified_why"].is_string(),
                verified == "cached",
                "{context}"
            );
            eprintln!("{context}: {verified} {}", done["verified_why"]);
            assert_same_content(&source, &copy, &context);
        }
    }
}

/// Changes a byte of the copy on the device, below the page cache of its file system, when the comparison begins.
struct ChangeOnDevice<'a> {
    image: &'a Path,
    copy: &'a Path,
    is_changed: bool,
}

impl CopyListener for ChangeOnDevice<'_> {
    fn event(&mut self, _: &Event) {}

    fn progress(&mut self, progress: &Progress) {
        if progress.phase == Phase::Copy || self.is_changed {
            return;
        }
        self.is_changed = true;
        // The cache of the file system has the right bytes now.
        let right = fs::read(self.copy).expect("the copy");
        let sector = (CHANGED / 512 * 512) as usize;
        let device = fs::read(self.image).expect("the image");
        let place = device
            .chunks_exact(512)
            .position(|chunk| chunk == &right[sector..sector + 512])
            .expect("the sector is on the device");
        let at = place as u64 * 512 + CHANGED % 512;
        let image = File::options()
            .write(true)
            .open(self.image)
            .expect("the image");
        image
            .write_all_at(&[!right[CHANGED as usize]], at)
            .expect("a byte is changed");
        image.sync_all().expect("the image is written out");
    }

    fn interrupted(&self) -> bool {
        false
    }
}

/// Copies to a fresh file system and changes a byte below it. Returns the first offset that differs.
fn offset_on_device(mount: &Mount, image: &Path) -> Option<u64> {
    let shm = shm_dir();
    let path = make_source(shm.path());
    let copy = mount.path("copy");
    let (source, dest) = (File::open(&path).unwrap(), File::create(&copy).unwrap());
    let options = TransferOptions {
        verify: true,
        ..TransferOptions::default()
    };
    let mut listener = ChangeOnDevice {
        image,
        copy: &copy,
        is_changed: false,
    };
    let info = SourceInfo::of(&source).unwrap();
    let copied = transfer::copy(&source, info, &dest, options, &mut listener);
    assert!(listener.is_changed, "the comparison began");
    match copied.err()?.error {
        Error::Different { at } => Some(at),
        other => panic!("{other}"),
    }
}

#[test]
fn a_byte_that_only_the_device_has_wrong_is_found() {
    let Some(lab) = Lab::acquire_or_skip(&["mount", "umount", "mkfs.ext4", "mkfs.xfs"]) else {
        return;
    };
    for kind in [FsKind::Ext4, FsKind::Xfs] {
        let Some(mount) = lab.mount(kind, 384) else {
            continue;
        };
        let Some(image) = mount.image() else {
            skip::<()>(&format!("{kind:?} has no image"));
            continue;
        };
        assert_eq!(offset_on_device(&mount, image), Some(CHANGED), "{kind:?}");
    }
}
