//! Block devices: what is behind the end of a copy stays as it was, and a device is copied to its end.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::ENGINES;

use super::program_run::mmapcp;
use super::source_dump::allocated_bytes;
use super::{Lab, lab_temp_dir, run_tool, skip};

const SIZE: u64 = 16 << 20;

/// A loop device over a file of `SIZE` bytes of 0xEE; detached in the end, also on panic.
struct LoopDevice {
    node: PathBuf,
    _dir: tempfile::TempDir,
}

impl LoopDevice {
    fn new(sector: &str) -> Result<Self, String> {
        let dir = lab_temp_dir().map_err(|e| e.to_string())?;
        let image = dir.path().join("image");
        fs::write(&image, vec![0xEE; SIZE as usize]).map_err(|e| e.to_string())?;
        let image = image.display().to_string();
        let node = run_tool("losetup", &["-f", "--show", "-b", sector, &image])?;
        Ok(Self {
            node: node.trim().into(),
            _dir: dir,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = File::open(&self.node).expect("open the device");
        file.read_to_end(&mut bytes).expect("read the device");
        bytes
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(why) = run_tool("losetup", &["-d", &self.node.display().to_string()]) {
            eprintln!("{} is still attached: {why}", self.node.display());
        }
    }
}

/// A dump of an odd size with a hole in the middle and one at the end.
fn dump(dir: &Path) -> PathBuf {
    let path = dir.join("dump");
    let file = File::create(&path).expect("make the dump");
    file.write_all_at(&vec![7; 1 << 20], 0).expect("data");
    file.write_all_at(&vec![9; 5000], 3 << 20).expect("data");
    file.set_len((4 << 20) + 777).expect("size");
    path
}

fn over_sectors(test: impl Fn(&LoopDevice, &Path)) {
    let Some(_lab) = Lab::acquire_or_skip(&["losetup"]) else {
        return;
    };
    for sector in ["512", "4096"] {
        let device = match LoopDevice::new(sector) {
            Ok(device) => device,
            Err(why) => return skip(&why).unwrap_or_default(),
        };
        let memory = tempfile::tempdir_in("/dev/shm").expect("memory");
        test(&device, memory.path());
    }
}

#[test]
fn behind_the_copy_a_device_is_untouched() {
    over_sectors(|device, memory| {
        let source = dump(memory);
        let wanted = fs::read(&source).expect("read the dump");
        // Block devices have no RWF_DONTCACHE (Linux 6.18), and copy_file_range is for files.
        let rows = ENGINES
            .iter()
            .filter(|name| !matches!(**name, "dontcache" | "copy-file-range"));
        for engine in rows {
            let (from, to) = (
                source.display().to_string(),
                device.node.display().to_string(),
            );
            let outcome = mmapcp(&[&format!("--engine={engine}"), &from, &to]);
            assert_eq!(outcome.code, Some(0), "{engine}: {outcome:?}");
            let now = device.bytes();
            assert_eq!(now.len() as u64, SIZE);
            assert!(now[..wanted.len()] == wanted, "{engine}: another content");
            let behind = &now[wanted.len()..];
            assert!(
                behind.iter().all(|b| *b == 0xEE),
                "{engine}: wrote behind the end"
            );
            let node = File::options()
                .write(true)
                .open(&device.node)
                .expect("the device");
            node.write_all_at(&vec![0xEE; SIZE as usize], 0)
                .expect("reset");
        }
    });
}

#[test]
fn a_device_is_read_to_its_end() {
    over_sectors(|device, memory| {
        let copy = memory.join("copy");
        let (from, to) = (
            device.node.display().to_string(),
            copy.display().to_string(),
        );
        let outcome = mmapcp(&[from, to]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(fs::read(&copy).expect("read the copy") == device.bytes());
    });
}

#[test]
fn a_device_that_is_too_small_is_an_error() {
    over_sectors(|device, memory| {
        let source = memory.join("large");
        fs::write(&source, vec![1; SIZE as usize + 1]).expect("write");
        let (from, to) = (
            source.display().to_string(),
            device.node.display().to_string(),
        );
        let outcome = mmapcp(&[from, to.clone()]);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        let words = format!("error writing '{to}': No space left on device");
        assert!(outcome.stderr.contains(&words), "{outcome:?}");
    });
}

/// Sectors larger than a page widen extents into the holes beside them, which a mapping would allocate.
#[test]
fn sectors_larger_than_a_page_keep_the_holes_of_the_source() {
    let Some(_lab) = Lab::acquire_or_skip(&["losetup"]) else {
        return;
    };
    let device = match LoopDevice::new("16384") {
        Ok(device) => device,
        Err(why) => return skip(&why).unwrap_or_default(),
    };
    let memory = tempfile::tempdir_in("/dev/shm").expect("memory");
    let source = memory.path().join("islands");
    let file = File::create(&source).expect("make the dump");
    for at in (0..SIZE / 2).step_by(64 << 10) {
        file.write_all_at(&[5; 4096], at).expect("an island");
    }
    file.set_len(SIZE / 2 + 4096).expect("size");
    let before = allocated_bytes(&source);
    let (from, to) = (
        source.display().to_string(),
        device.node.display().to_string(),
    );
    let refused = mmapcp(&["--engine=mmap", &from, &to]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("larger than a page"), "{refused:?}");
    let copied = mmapcp(&[&from, &to]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert_eq!(allocated_bytes(&source), before, "{copied:?}");
    let wanted = fs::read(&source).expect("read the dump");
    assert!(device.bytes()[..wanted.len()] == wanted);
}
