//! The slab caches of a watched machine: which are the largest, and how much each has grown since the start.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::observe::error::ObserveError;
use crate::observe::memory::SlabReader;
use crate::observe::memory::slab::{CacheName, MAX_CACHES};

/// Longest time between two readings of the caches.
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// Change of all slabs together after which the caches are read again before that time (1 MiB). A reading takes 3 ms of CPU
/// where slabs hold 0.7 GiB, so that it is not made each second on a machine on which nothing grows.
const READ_CHANGE: u64 = 1 << 20;

/// Number of the largest caches that are shown.
const LARGEST: usize = 3;

/// The size of one cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct CacheSize {
    pub name: String,
    pub bytes: u64,
    /// The change since the first reading.
    pub growth: i64,
}

/// The caches as they were read at first and last.
#[derive(Debug)]
pub(super) struct SlabWatch {
    reader: Result<SlabReader, ObserveError>,
    first: Box<[u64; MAX_CACHES]>,
    last: Box<[u64; MAX_CACHES]>,
    /// When the caches were last read, and what all slabs held then.
    read: Option<(Instant, u64)>,
}

impl SlabWatch {
    /// Opens /proc/slabinfo below `root`. That it cannot be read is no error, but [`why_not`](Self::why_not) tells it.
    pub(super) fn open(root: &Path) -> Self {
        Self {
            reader: SlabReader::open(root),
            first: Box::new([0; MAX_CACHES]),
            last: Box::new([0; MAX_CACHES]),
            read: None,
        }
    }

    /// Returns why the caches cannot be read, if they cannot.
    pub(super) fn why_not(&self) -> Option<&ObserveError> {
        self.reader.as_ref().err()
    }

    /// Reads the caches if that is due: by time, or because all slabs together, which hold `slab` bytes, have changed.
    pub(super) fn read_if_due(&mut self, slab: u64) {
        let is_due = self.read.is_none_or(|(at, before)| {
            at.elapsed() >= READ_INTERVAL || before.abs_diff(slab) >= READ_CHANGE
        });
        let Ok(reader) = &mut self.reader else { return };
        if !is_due || !reader.read(&mut self.last[..]) {
            return;
        }
        if self.read.is_none() {
            self.first.copy_from_slice(&self.last[..]);
        }
        self.read = Some((Instant::now(), slab));
    }

    /// Returns the largest caches, the largest first, and after them the one that grew most since the first reading, if it is
    /// none of them.
    pub(super) fn largest(&self) -> Vec<CacheSize> {
        let Ok(reader) = &self.reader else {
            return Vec::new();
        };
        let names = reader.seen_caches().names();
        let mut places = [0; MAX_CACHES];
        let places = &mut places[..names.len()];
        for (n, place) in places.iter_mut().enumerate() {
            *place = n;
        }
        places.sort_unstable_by_key(|place| std::cmp::Reverse(self.last[*place]));
        let (largest, others) = places.split_at(LARGEST.min(places.len()));
        let fastest = others.iter().max_by_key(|place| self.growth(**place));
        let fastest = fastest.filter(|place| {
            let growth = self.growth(**place);
            growth > 0 && largest.iter().all(|other| self.growth(*other) < growth)
        });
        let shown = largest.iter().chain(fastest);
        let size = |place: &usize| CacheSize {
            name: text(&names[*place]),
            bytes: self.last[*place],
            growth: self.growth(*place),
        };
        shown.map(size).filter(|cache| cache.bytes > 0).collect()
    }

    fn growth(&self, place: usize) -> i64 {
        let [now, before] = [self.last[place], self.first[place]].map(|n| n.cast_signed());
        now.saturating_sub(before)
    }
}

fn text(name: &CacheName) -> String {
    let text = String::from_utf8_lossy(name);
    text.trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{CacheSize, READ_CHANGE, SlabWatch};

    const HEAD: &str = "slabinfo - version: 2.1\n# name\n";

    fn cache(name: &str, bytes: u64, growth: i64) -> CacheSize {
        let name = name.to_owned();
        CacheSize {
            name,
            bytes,
            growth,
        }
    }

    #[test]
    fn the_largest_caches_and_the_one_that_grew_most_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proc/slabinfo");
        fs::create_dir(dir.path().join("proc")).unwrap();
        let write = |sizes: [u64; 5]| {
            let lines = "abcde".chars().zip(sizes);
            let lines = lines.map(|(name, size)| format!("{name} 1 {size} 1000 4 1\n"));
            fs::write(&file, HEAD.to_owned() + &lines.collect::<String>()).unwrap();
        };
        write([9, 8, 7, 1, 0]);
        let mut slabs = SlabWatch::open(dir.path());
        slabs.read_if_due(0);
        let want = [
            cache("a", 9000, 0),
            cache("b", 8000, 0),
            cache("c", 7000, 0),
        ];
        assert_eq!(slabs.largest(), want);
        write([9, 2, 8, 5, 0]);
        slabs.read_if_due(READ_CHANGE - 1);
        assert_eq!(slabs.largest(), want, "too little has changed");
        slabs.read_if_due(READ_CHANGE);
        let want = [
            cache("a", 9000, 0),
            cache("c", 8000, 1000),
            cache("d", 5000, 4000),
        ];
        assert_eq!(slabs.largest(), want);
        write([9, 9, 9, 1, 6]);
        slabs.read_if_due(0);
        let shown = slabs.largest();
        assert_eq!(shown.len(), 4);
        assert_eq!(shown[3], cache("e", 6000, 6000));
    }

    #[test]
    fn a_file_that_cannot_be_read_shows_nothing_and_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let mut slabs = SlabWatch::open(dir.path());
        slabs.read_if_due(5);
        assert!(slabs.largest().is_empty());
        let why = slabs.why_not().unwrap().to_string();
        assert!(why.contains("slabinfo': No such file"), "{why}");
    }
}
