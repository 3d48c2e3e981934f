//! Counts the requests of a disk that somebody waits for, as its `stat` in sysfs has them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::kernel_file::path_below;
use super::memory::proc_file::{ProcFile, words};
use crate::transfer::{RequestCounter, WaitedRequests};

/// Places of the completed reads and flushes in `stat` of a disk (Documentation/block/stat.rst). Flushes are counted since
/// Linux 5.5.
const READS: usize = 0;
const FLUSHES: usize = 15;

/// The counters of one disk.
#[derive(Debug)]
struct DiskRequests {
    stat: ProcFile,
}

/// Opens the counters of the disk below an open file. There are none where the file lies on no disk, or on several.
#[must_use]
pub fn open_request_counter(file: &File) -> Option<Box<dyn RequestCounter>> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    DiskRequests::open(Path::new("/"), &path)
        .map(|requests| Box::new(requests) as Box<dyn RequestCounter>)
}

impl DiskRequests {
    fn open(root: &Path, path: &Path) -> Option<Self> {
        let disk = Disk::of_path(root, path).ok()?;
        Self::of_disk(root, &disk.device_numbers)
    }

    fn of_disk(root: &Path, device_numbers: &str) -> Option<Self> {
        let dir = path_below(root, "/sys/dev/block").join(device_numbers);
        let stat = ProcFile::open(&dir.join("stat")).ok()?;
        Some(Self { stat })
    }
}

impl RequestCounter for DiskRequests {
    fn count(&mut self) -> Option<WaitedRequests> {
        let text = self.stat.read().ok()?;
        let field = |place| {
            let word = words(text).nth(place)?;
            std::str::from_utf8(word).ok()?.parse().ok()
        };
        Some(WaitedRequests {
            reads: field(READS)?,
            flushes: field(FLUSHES).unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_of(stat: &str) -> Option<WaitedRequests> {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("sys/dev/block/8:0");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("stat"), stat).unwrap();
        DiskRequests::of_disk(root.path(), "8:0")?.count()
    }

    #[test]
    fn reads_and_flushes_are_counted() {
        let stat = "   86854    13447 38288938    91321   133981    25846 42071464   156016        0    95760   \
            289657    51988       63 51730944    26554     8004    15764\n";
        let want = WaitedRequests {
            reads: 86854,
            flushes: 8004,
        };
        assert_eq!(count_of(stat), Some(want));
    }

    #[test]
    fn a_kernel_without_flushes_has_reads_and_nonsense_has_nothing() {
        let counts = count_of("7 0 0 0 9 0 0 0 0 0 0\n");
        assert_eq!(
            counts.map(|count| (count.reads, count.flushes)),
            Some((7, 0))
        );
        assert_eq!(count_of("\n"), None);
    }
}
