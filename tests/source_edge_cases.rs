//! Sources that are awkward: big and odd on a disk, growing while they are read, wide-spread holes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use mmapcp::transfer::capabilities::SourceInfo;
use mmapcp::transfer::{self, CopyListener, Error, Event, Progress, Sparse, TransferOptions};

use crate::support::*;

/// From this size on a source on a disk is looked at for being cached.
const CACHE_CHECK_MIN_BYTES: u64 = 64 * MIB;

/// Every row and every word of `--sparse` over a source that is read with O_DIRECT and ends in no whole sector.
#[test]
fn a_big_source_on_disk_that_is_not_cached() {
    let disk = disk_dir();
    let (source, copy) = (disk.path().join("dump"), disk.path().join("copy"));
    for engine in ["direct", "dontcache", "sendfile", "buffered"] {
        for sparse in ["auto", "always", "never"] {
            make_dense_dump(&source, CACHE_CHECK_MIN_BYTES + 1);
            drop_cache(&source);
            let words = [format!("--engine={engine}"), format!("--sparse={sparse}")];
            let output = run(mmapcp().arg("--debug").args(&words).arg(&source).arg(&copy));
            let context = format!("{engine}, --sparse={sparse}: {}", describe_output(&output));
            assert!(output.status.success(), "{context}");
            assert!(!describe_output(&output).contains("refuses"), "{context}");
            if matches!(engine, "direct" | "dontcache" | "buffered") {
                let left = cached_bytes(&source);
                assert!(
                    left <= MIB,
                    "{context}: {left} bytes of the source were cached"
                );
            }
            assert_same_content(&source, &copy, &context);
        }
    }
}

fn drop_cache(path: &PathBuf) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    nix::fcntl::posix_fadvise(&file, 0, 0, advice).unwrap();
}

/// Grows the source, with data far behind its end, before the first chunk is moved.
struct AppendDuringCopy {
    source: PathBuf,
    grown: bool,
}

impl CopyListener for AppendDuringCopy {
    fn event(&mut self, _: &Event) {}
    fn progress(&mut self, _: &Progress) {
        if !self.grown {
            let file = File::options().write(true).open(&self.source).unwrap();
            file.write_all_at(b"more", 50 * MIB).unwrap();
            self.grown = true;
        }
    }
    fn interrupted(&self) -> bool {
        false
    }
}

#[test]
fn data_appended_during_the_copy_is_not_copied() {
    let (shm, disk) = (shm_dir(), disk_dir());
    for sparse in [Sparse::Auto, Sparse::Always, Sparse::Never] {
        let (source, copy) = (shm.path().join("dump"), disk.path().join("copy"));
        make_dump(&source, 16 * MIB, &[(0, 8192)]);
        let (from, to) = (File::open(&source).unwrap(), File::create(&copy).unwrap());
        let facts = SourceInfo::of(&from).unwrap();
        let options = TransferOptions {
            sparse,
            ..TransferOptions::default()
        };
        let mut growing = AppendDuringCopy {
            source,
            grown: false,
        };
        let failure = transfer::copy(&from, facts, &to, options, &mut growing).unwrap_err();
        assert!(
            matches!(failure.error, Error::SourceChanged { was, now } if was == 16 * MIB && now == 50 * MIB + 4),
            "{sparse:?}: {}",
            failure.error
        );
        assert_eq!(fs::metadata(&copy).unwrap().len(), 16 * MIB, "{sparse:?}");
    }
}
