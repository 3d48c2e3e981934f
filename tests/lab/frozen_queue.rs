//! A queue whose copy hangs on a frozen file system, where no signal ends it.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use super::Lab;
use super::test_filesystem::FsKind;
use crate::queue::{QUEUE, QueueFixture};
use crate::support::{
    MIB, Running, assert_exit, assert_same_content, assert_signal, run, wait_until,
};

/// A file system in which every write waits, until this is dropped.
struct FrozenDirectory(PathBuf);

impl FrozenDirectory {
    fn new(dir: PathBuf) -> Self {
        assert_exit(&run(Command::new("fsfreeze").arg("-f").arg(&dir)), 0);
        Self(dir)
    }
}

impl Drop for FrozenDirectory {
    fn drop(&mut self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.0));
    }
}

#[test]
fn a_killed_copy_that_hangs_gives_its_turn_back() {
    let Some(lab) = Lab::acquire_or_skip(&["fsfreeze", "mount", "umount", "unshare"]) else {
        return;
    };
    let Some(disk) = lab.mount(FsKind::Ext4, 64) else {
        return;
    };
    let Some(fixture) = QueueFixture::new_or_skip("a queue on a frozen disk") else {
        return;
    };
    let source = fixture.source("dump", MIB);
    let frozen = FrozenDirectory::new(disk.dir.clone());
    let mut command = fixture.program();
    let hung = Running::start(command.arg(QUEUE).arg(&source).arg(disk.path("copy")));
    wait_until("its turn", || {
        fixture.tickets().iter().any(|(_, size)| *size > 0)
    });
    let stack = format!("/proc/{}/wchan", hung.pid());
    wait_until("a write that waits", || {
        std::fs::read_to_string(&stack).is_ok_and(|place| place.contains("percpu_rwsem"))
    });
    let next = fixture.start_waiting(&mut fixture.copy(&source, "next", &[]), 2);
    hung.signal(Signal::SIGKILL);
    assert_exit(&next.finish(), 0);
    assert_same_content(&source, &fixture.dest("next"), "beside a frozen disk");
    drop(frozen);
    assert_signal(&hung.finish(), Signal::SIGKILL as i32);
}
