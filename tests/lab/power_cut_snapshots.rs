//! A power cut: what a disk holds at any moment, mounted again, has every file whole that a run with `--fsync` said was done.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::program_run::{copy_arguments, mmapcp};
use super::test_filesystem::{FsKind, Mount};
use super::{Lab, run_tool, skip};

const TOOLS: [&str; 5] = ["losetup", "mkfs.ext4", "mkfs.xfs", "mount", "umount"];

/// Bytes of each copy: a few blocks and a part of one.
const SIZE: usize = 80_008;

/// Disks looked at; an experiment asks for more.
fn cuts() -> u64 {
    let asked = std::env::var("MMAPCP_POWER_CUTS").ok();
    asked.map_or(8, |text| {
        text.parse().expect("a number in MMAPCP_POWER_CUTS")
    })
}

#[test]
fn ext4_holds_every_fsynced_copy_after_a_power_cut() {
    check_power_cut(FsKind::Ext4, 160);
}

#[test]
fn xfs_holds_every_fsynced_copy_after_a_power_cut() {
    check_power_cut(FsKind::Xfs, 320);
}

/// What is known of the copies while they go on: `begun` is raised before a run, `done` after its exit 0.
#[derive(Default)]
struct CopyCounts {
    begun: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
}

/// Ends the copies, also when what the disk holds is wrong: else the test would wait for them without end.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The image lies on xfs, where a clone of a file is its content at one moment: no write is half in it, none overtakes
/// another.
fn check_power_cut(kind: FsKind, mib: u64) {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(store) = lab.mount(FsKind::Xfs, 2048) else {
        return;
    };
    let Some(memory) = lab.mount(FsKind::Tmpfs, 16) else {
        return;
    };
    let disk = match Mount::inside(kind, mib, &store) {
        Ok(disk) => disk,
        Err(why) => return skip(&format!("no {kind:?} in xfs here: {why}")).unwrap_or_default(),
    };
    let copies = CopyCounts::default();
    thread::scope(|scope| {
        let copying = scope.spawn(|| copy_repeatedly(&disk.dir, &memory.path("source"), &copies));
        let stop = StopOnDrop(&copies.stop);
        for cut in 0..cuts() {
            // Moments that have nothing to do with those of the copies.
            thread::sleep(Duration::from_millis(20 + cut * 37 % 90));
            check_snapshot(kind, &store, &copies);
            if copying.is_finished() {
                break;
            }
        }
        drop(stop);
        copying.join().expect("every copy succeeds");
    });
    assert!(copies.done.load(Ordering::SeqCst) > 2, "there were copies");
}

/// Copy after copy: over one file, and to new names with and without `--atomic`.
fn copy_repeatedly(disk: &Path, source: &Path, copies: &CopyCounts) {
    let mut n = 0;
    while !copies.stop.load(Ordering::SeqCst) {
        n += 1;
        fs::write(source, content(n)).expect("write the source");
        copies.begun.store(n, Ordering::SeqCst);
        let atomic = ["--atomic", "--fsync"];
        for (options, name) in [
            (&atomic[..], "dest".to_owned()),
            (&atomic[..], format!("new-{}", n % 100)),
            (&atomic[1..], format!("plain-{}", n % 100)),
        ] {
            let outcome = mmapcp(&copy_arguments(options, source, disk.join(name)));
            assert_eq!(outcome.code, Some(0), "{outcome:?}");
        }
        copies.done.store(n, Ordering::SeqCst);
    }
}

/// The disk as it is at this moment, mounted elsewhere.
fn check_snapshot(kind: FsKind, store: &Mount, copies: &CopyCounts) {
    let done = copies.done.load(Ordering::SeqCst);
    let (image, snapshot) = (store.path("image"), store.path("snapshot"));
    let clone = ["--reflink=always".as_ref(), image.as_path(), &snapshot];
    run_tool("cp", &clone).expect("clone the image");
    let begun = copies.begun.load(Ordering::SeqCst);
    let then = Mount::copy(kind, &snapshot).expect("mount what the disk holds");
    let whole =
        |name: &str| copy_number(&then.path(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
    if done > 0 {
        for name in ["dest".into(), format!("new-{}", done % 100)] {
            let held = whole(&name);
            assert!(
                done <= held && held <= begun,
                "{name}: {held}, {done} was done"
            );
        }
    }
    // One that is written in place now can be anything; the last that was done is whole until its name comes round again.
    if done > 0 && begun - done < 100 {
        assert_eq!(whole(&format!("plain-{}", done % 100)), done);
    }
    for entry in fs::read_dir(&then.dir).expect("list") {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        let final_name = name == "dest" || name.starts_with("new-");
        assert!(
            final_name
                || name.starts_with("plain-")
                || name.contains(".mmapcp-1")
                || name == "lost+found",
            "{name}"
        );
        if final_name {
            whole(&name);
        }
    }
    drop(then);
    fs::remove_file(snapshot).expect("remove the snapshot");
}

/// The content that says which copy it is, in every word.
fn content(n: u64) -> Vec<u8> {
    n.to_ne_bytes().repeat(SIZE / 8)
}

/// Which copy a file is of, if it is whole.
fn copy_number(path: &Path) -> Result<u64, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let first = bytes.first_chunk().ok_or("empty")?;
    let n = u64::from_ne_bytes(*first);
    if bytes == content(n) {
        Ok(n)
    } else {
        Err(format!("{} bytes, not all of copy {n}", bytes.len()))
    }
}
