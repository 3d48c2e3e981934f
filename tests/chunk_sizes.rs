//! A paced transfer goes in the pieces that are allowed when they go, not when they were asked for.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mmapcp::sys::clock::MonotonicNs;
use mmapcp::transfer::rate_limit::{MAX_BURST, Rate, RateLimiter, RateSettings};
use mmapcp::transfer::{Copier, CopyListener, Event, Progress, TransferOptions};

use crate::support::*;

/// Counts the pieces; gives other orders once the second time something waits, or is done.
struct ChunkCounter {
    pacer: Arc<RateLimiter>,
    later: Option<RateSettings>,
    calls: u32,
}

impl CopyListener for ChunkCounter {
    fn event(&mut self, _: &Event) {}
    fn progress(&mut self, _: &Progress) {
        self.calls += 1;
        if self.calls == 2
            && let Some(orders) = self.later.take()
        {
            self.pacer.apply(&orders, MonotonicNs::now());
            self.calls = 0;
        }
    }
    fn interrupted(&self) -> bool {
        false
    }
}

fn orders(rate: Rate, chunk: usize) -> RateSettings {
    RateSettings {
        rate,
        chunk,
        burst: MAX_BURST,
        bottleneck: None,
        notice: None,
    }
}

/// How often was told how far it is, and what was copied.
fn copied(source: &File, first: RateSettings, later: Option<RateSettings>) -> (u32, Vec<u8>) {
    let dir = shm_dir();
    let path = dir.path().join("copy");
    let dest = File::create(&path).unwrap();
    let pacer = Arc::new(RateLimiter::new(false));
    pacer.apply(&first, MonotonicNs::now());
    let mut worker = Copier::with_rate_limiter(Some(Arc::clone(&pacer)));
    let source_info = worker.source_info(source).unwrap();
    let mut pieces = ChunkCounter {
        pacer,
        later,
        calls: 0,
    };
    let copied = worker.copy(
        source,
        source_info,
        &dest,
        TransferOptions::default(),
        &mut pieces,
        (),
    );
    copied.unwrap();
    assert!(worker.finish_writeback().is_empty());
    (pieces.calls, fs::read(&path).unwrap())
}

#[test]
fn a_file_larger_than_a_chunk_is_not_copied_as_a_small_file() {
    let dir = shm_dir();
    let path = dir.path().join("dump");
    make_dense_dump(&path, 40 << 10);
    let source = File::open(&path).unwrap();
    let (pieces, data) = copied(&source, orders(Rate::Unlimited, 4096), None);
    assert!(pieces >= 10, "{pieces}");
    assert!(data == fs::read(&path).unwrap());
}

#[test]
fn a_chunk_that_waits_is_split_when_the_chunk_size_shrinks() {
    let dir = shm_dir();
    let path = dir.path().join("dump");
    make_dense_dump(&path, MIB);
    let data = fs::read(&path).unwrap();
    let (stops, small) = (
        orders(Rate::Stopped, 1 << 20),
        orders(Rate::Unlimited, 64 << 10),
    );

    let (pieces, copy) = copied(&File::open(&path).unwrap(), stops, Some(small));
    assert!(pieces >= 16, "{pieces} pieces of a file");
    assert!(copy == data);

    let bytes = &data;
    let (read, mut write) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            write.write_all(bytes).unwrap();
            drop(write);
        });
        let source = File::from(OwnedFd::from(read));
        let (pieces, copy) = copied(&source, stops, Some(small));
        assert!(pieces >= 16, "{pieces} pieces of a pipe");
        assert!(copy == data);
    });
}
