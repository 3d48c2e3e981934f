//! A copy inside a container with little memory: what is charged to its memory control group, beside what cp is charged.

use std::fs;
use std::process::Command;

use super::memory_group::MemoryGroup;
use super::{Lab, skip};
use crate::support::*;

/// What mmapcp may be charged at most. Measured on 6.18: 0.5 MiB for 1 GiB by `mmap` and by `splice`.
const MAX_CHARGED: u64 = 2 << 20;

#[test]
fn a_copy_in_a_small_container_is_charged_next_to_nothing() {
    let Some(_lab) = Lab::acquire_or_skip(&["sh"]) else {
        return;
    };
    let (shm, disk) = (shm_dir(), disk_dir());
    let source = shm.path().join("source");
    make_dump(&source, 64 << 20, &[(0, 64 << 20)]);
    for (tool, args) in [
        (&*MMAPCP, &[][..]),
        (&*MMAPCP, &["--engine=splice"]),
        ("cp", &[]),
    ] {
        let group = match MemoryGroup::new("mmapcp-test") {
            Ok(group) => group,
            Err(why) => {
                return skip(&format!("no memory control group: {why}")).unwrap_or_default();
            }
        };
        let dest = disk.path().join("dest");
        let mut command = Command::new(tool);
        command.args(args).arg(&source).arg(&dest);
        // A test beside this one may have dropped the program from the page cache: whoever reads it again is charged.
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", describe_output(&output));
        fs::remove_file(&dest).unwrap();
        let charged = group.charge(&command).unwrap();
        let (peak, hits) = (charged.peak, charged.limit_hits);
        if tool == "cp" {
            assert!(
                hits > 0,
                "cp is charged for what it caches, or this test shows nothing"
            );
        } else {
            assert!(peak <= MAX_CHARGED, "{args:?}: {peak} bytes");
            assert_eq!(hits, 0, "{args:?}");
        }
        assert_same_content(&source, &dest, tool);
        fs::remove_file(&dest).unwrap();
    }
}
