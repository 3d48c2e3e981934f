//! Trees in memory, the same ones each time.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

/// Small files have less than this many bytes.
const MAX_SMALL_FILE_BYTES: u64 = 40 << 10;

/// The shape of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeShape {
    /// Small files in 100 directories.
    Spread,
    /// The same in one directory.
    Flat,
    /// A fifth as many small files, some of up to 1 MiB, eight of 64 MiB.
    Mixed,
}

impl TreeShape {
    pub(crate) const ALL: [Self; 3] = [Self::Spread, Self::Flat, Self::Mixed];

    pub(crate) fn title(self, files: usize) -> String {
        match self {
            Self::Spread => format!("{files} files of 0 to 40 KiB in 100 directories"),
            Self::Flat => format!("{files} files of 0 to 40 KiB in one directory"),
            Self::Mixed => format!(
                "{} files of 0 to 40 KiB, {} of 64 KiB to 1 MiB, 8 of 64 MiB, in 100 directories",
                files / 5,
                files / 100
            ),
        }
    }

    /// Makes it below a directory of its own in memory: `tree` in there.
    pub(crate) fn make(self, files: usize) -> Result<TempDir> {
        let dir = tempfile::tempdir_in("/dev/shm")?;
        let root = dir.path().join("tree");
        let mut random = SeededRng(1);
        let sizes: Vec<u64> = match self {
            Self::Spread | Self::Flat => random.sizes(files, 0..MAX_SMALL_FILE_BYTES),
            Self::Mixed => [
                random.sizes(files / 5, 0..MAX_SMALL_FILE_BYTES),
                random.sizes(files / 100, 64 << 10..1 << 20),
                vec![64 << 20; 8],
            ]
            .concat(),
        };
        let directories = if self == Self::Flat { 1 } else { 100 };
        let data = noise();
        for n in 0..directories {
            fs::create_dir_all(root.join(format!("d{n}")))?;
        }
        for (n, size) in sizes.into_iter().enumerate() {
            let name = format!("d{}/file-{n}", n * 7 % directories);
            write(&root.join(name), size, &data)?;
        }
        Ok(dir)
    }
}

/// Writes `size` bytes that are no zeros.
pub(crate) fn write(path: &Path, size: u64, data: &[u8]) -> Result<()> {
    let mut file = File::create(path)?;
    let mut left = size as usize;
    while left > 0 {
        let n = left.min(data.len());
        file.write_all(&data[..n])?;
        left -= n;
    }
    Ok(())
}

/// Bytes for [`write`].
pub(crate) fn noise() -> Vec<u8> {
    let mut random = SeededRng(2);
    (0..1 << 20).map(|_| random.below(255) as u8 + 1).collect()
}

/// Lehmer's generator: good enough for sizes, and the same on every machine.
struct SeededRng(u64);

impl SeededRng {
    fn sizes(&mut self, files: usize, range: Range<u64>) -> Vec<u64> {
        let span = range.end - range.start;
        (0..files).map(|_| range.start + self.below(span)).collect()
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        self.0 % limit
    }
}
