//! Small files that fail on their way to the device, after their copy had returned: each that is not whole is told.

use std::fs;

use super::Lab;
use super::program_run::mmapcp;
use super::test_filesystem::FsKind;

const TOOLS: [&str; 4] = ["losetup", "mkfs.ext4", "mount", "umount"];

/// Files, and what each has: more in all than the backing store takes.
const FILES: usize = 1000;
const SIZE: usize = 40 << 10;

#[test]
fn files_lost_on_a_full_backing_store_are_reported() {
    let Some(lab) = Lab::acquire_or_skip(&TOOLS) else {
        return;
    };
    let Some(disk) = lab.mount_thin(FsKind::Ext4, 96, 24) else {
        return;
    };
    let memory = tempfile::tempdir_in("/dev/shm").expect("memory");
    let tree = memory.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    let bytes = vec![7; SIZE];
    for n in 0..FILES {
        fs::write(tree.join(n.to_string()), &bytes).expect("a file");
    }
    let copy = disk.path("copy");
    let outcome = mmapcp(&["-r".as_ref(), tree.as_os_str(), copy.as_os_str()]);
    assert_eq!(outcome.code, Some(1), "the disk lost bytes: {outcome:?}");
    let told = |name: &str| outcome.stderr.contains(&format!("/{name}':"));
    let named = (0..FILES).filter(|n| told(&n.to_string())).count();
    assert!(named > 0, "no file is named: {}", outcome.stderr);
    for n in 0..FILES {
        let name = n.to_string();
        let whole = fs::metadata(copy.join(&name)).is_ok_and(|meta| meta.len() == SIZE as u64);
        assert!(
            whole || told(&name),
            "{name} is not whole, and nothing says so"
        );
    }
}
