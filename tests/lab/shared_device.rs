//! A device that others use: they are seen, and one small piece is on its way; alone, the best number of pieces is measured.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::test_filesystem::{FsKind, Mount};
use super::{Lab, skip};
use crate::support::*;

/// Bytes of the source: the trial of depths takes 192 MiB, begins when twice as much is left, and waits for the first look.
const SIZE: u64 = 640 * MIB;

/// The lab, which must be there until the end, a dump in memory, and a file system of its own device to copy it to.
fn dump_and_disk() -> Option<(Lab, tempfile::TempDir, Mount)> {
    let lab = Lab::acquire_or_skip(&["mount", "umount", "mkfs.ext4"])?;
    let disk = lab.mount(FsKind::Ext4, 800)?;
    let shm = shm_dir();
    make_dump(&shm.path().join("dump"), SIZE, &[(0, SIZE)]);
    Some((lab, shm, disk))
}

fn copy(shm: &Path, disk: &Mount) -> Vec<Value> {
    copy_json(&["--engine=splice"], &shm.join("dump"), &disk.path("copy"))
}

fn is_shared(events: &[Value]) -> bool {
    let mut events = events.iter();
    events.any(|event| event["event"] == "sharing" && event["shared"] == true)
}

#[test]
fn alone_the_number_of_pieces_is_measured() {
    let Some((_lab, shm, disk)) = dump_and_disk() else {
        return;
    };
    // A new file system is still completed by the kernel for a while.
    retry_until_met("a copy alone", || {
        let events = copy(shm.path(), &disk);
        let depth = events.iter().find(|event| event["event"] == "depth");
        let Some(depth) = depth.filter(|_| !is_shared(&events)) else {
            return false;
        };
        let tried = depth["tried"].as_array().unwrap().iter();
        let tried: Vec<u64> = tried.map(|rate| rate["pieces"].as_u64().unwrap()).collect();
        assert_eq!(tried, [1, 4], "{depth}");
        let pieces = depth["pieces"].as_u64().unwrap();
        assert!(tried.contains(&pieces), "{depth}");
        assert!(only_event(&events, "done")["in_flight"].as_u64().unwrap() <= 8 * MIB);
        true
    });
    assert_same_content(&shm.path().join("dump"), &disk.path("copy"), "alone");
}

#[test]
fn one_small_piece_is_on_its_way_while_another_reads() {
    let Some((_lab, shm, disk)) = dump_and_disk() else {
        return;
    };
    let path = disk.path("read");
    fs::write(&path, [1; 4096]).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    let reads = Reads::default();
    let events = std::thread::scope(|scope| {
        let _end = EndOfReads(&reads);
        scope.spawn(|| reads.run(&path));
        while reads.done.load(Ordering::Relaxed) < 3 {
            std::thread::sleep(Duration::from_millis(1));
        }
        copy(shm.path(), &disk)
    });
    let sharing = events.iter().find(|event| event["event"] == "sharing");
    let Some(sharing) = sharing else {
        return skip("this device does not count the requests of others").unwrap_or_default();
    };
    assert_eq!(sharing["shared"], true, "{events:?}");
    assert_eq!(sharing["in_flight"], MIB, "{events:?}");
    // A reader that is held up on a busy machine is gone for a while.
    if events.iter().all(|event| event["event"] != "depth") {
        let done = only_event(&events, "done");
        assert!(done["in_flight"].as_u64().unwrap() <= MIB, "{done}");
    }
    assert_same_content(
        &shm.path().join("dump"),
        &disk.path("copy"),
        "beside a reader",
    );
}

/// A thread that reads the first block of a file again and again, past the cache.
#[derive(Default)]
struct Reads {
    done: AtomicU64,
    is_over: AtomicBool,
}

impl Reads {
    fn run(&self, path: &Path) {
        let mut direct = File::options();
        let file = direct.read(true).custom_flags(libc::O_DIRECT);
        let file = file.open(path).unwrap();
        // The alignment that O_DIRECT asks of memory.
        let mut buffer = vec![0_u8; 2 * 4096];
        let start = buffer.as_ptr().align_offset(4096);
        while !self.is_over.load(Ordering::Relaxed) {
            let block = &mut buffer[start..start + 4096];
            file.read_exact_at(block, 0).unwrap();
            self.done.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Ends the reads, also when the copy fails.
struct EndOfReads<'a>(&'a Reads);

impl Drop for EndOfReads<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}
