//! Sources: a dump in /dev/shm, and one on a tmpfs of huge pages.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use nix::fcntl::{FallocateFlags, fallocate};

/// A directory with a dump in it; unmounted and removed in the end, also on the way out of an error.
pub(crate) struct TmpfsDump {
    dir: tempfile::TempDir,
    mounted: bool,
}

impl TmpfsDump {
    /// On /dev/shm, in pages of 4 KiB.
    pub(crate) fn small_pages(size: u64) -> Result<Self> {
        let dump = Self {
            dir: tempfile::tempdir_in("/dev/shm")?,
            mounted: false,
        };
        dump.fill(size)?;
        Ok(dump)
    }

    /// On /dev/shm, in pages of 4 KiB, each hundredth of them a hole.
    #[allow(
        dead_code,
        reason = "not every bench that includes this file has such a dump"
    )]
    pub(crate) fn with_holes(size: u64) -> Result<Self> {
        let dump = Self::small_pages(size)?;
        let file = File::options().write(true).open(dump.path())?;
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        for page in (0..size / 4096).step_by(100) {
            fallocate(&file, punch, (page * 4096).cast_signed(), 4096)?;
        }
        Ok(dump)
    }

    /// On a tmpfs mounted with huge=always, which only root can make.
    pub(crate) fn huge_pages(size: u64) -> Result<Self> {
        let mut dump = Self {
            dir: tempfile::tempdir_in("/dev/shm")?,
            mounted: false,
        };
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "huge=always", "tmpfs"])
            .arg(dump.dir.path())
            .status()?;
        if !status.success() {
            bail!("mounting a tmpfs with huge=always needs root");
        }
        dump.mounted = true;
        dump.fill(size)?;
        Ok(dump)
    }

    /// The dump.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("dump")
    }

    /// Bytes that no file system can compress or share: a xorshift generator.
    fn fill(&self, size: u64) -> Result<()> {
        let mut file = File::create(self.path())?;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = vec![0; 2 << 20];
        let mut left = size;
        while left > 0 {
            for word in block.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let n = left.min(block.len() as u64) as usize;
            file.write_all(&block[..n])?;
            left -= n as u64;
        }
        Ok(())
    }
}

impl Drop for TmpfsDump {
    fn drop(&mut self) {
        if self.mounted {
            unmount(self.dir.path());
        }
    }
}

fn unmount(path: &Path) {
    match Command::new("umount").arg(path).status() {
        Ok(status) if status.success() => {}
        other => eprintln!("{} is still mounted: {other:?}", path.display()),
    }
}
