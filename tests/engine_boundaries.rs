//! Every engine over sizes on both sides of each boundary, and over holes in every place, between memory and disk.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::*;

/// Sectors, pages, chunks and windows, each with its neighbours.
const SIZES: [u64; 15] = [
    0,
    1,
    511,
    512,
    513,
    4095,
    4096,
    4097,
    MIB - 1,
    MIB,
    MIB + 1,
    8 * MIB - 1,
    8 * MIB,
    8 * MIB + 1,
    2 * 8 * MIB + 4096,
];

/// Where a file has its holes: name, size, data extents.
type Layout = (&'static str, u64, &'static [(u64, u64)]);

const LAYOUTS: [Layout; 8] = [
    ("hole first", 4 * MIB + 4096, &[(3 * MIB, MIB + 4096)]),
    ("hole in the middle", 4 * MIB, &[(0, MIB), (3 * MIB, MIB)]),
    ("hole last", 4 * MIB, &[(0, MIB + 4096)]),
    ("hole last, ragged end", 4 * MIB + 77, &[(0, MIB)]),
    (
        "ragged end behind a hole",
        4 * MIB + 77,
        &[(0, MIB), (4 * MIB, 77)],
    ),
    ("all hole", 3 * MIB + 5, &[]),
    (
        // No more than four: a fifth would cost ext4 a block of its own, which would look like a filled hole.
        "small extents",
        2 * MIB,
        &[(0, 4096), (8192, 4096), (64 * KIB, 8192), (MIB, 12288)],
    ),
    (
        "a hole across a window",
        24 * MIB,
        &[(0, 7 * MIB), (17 * MIB, 7 * MIB)],
    ),
];

/// A source directory and a destination directory.
struct CopyPlaces {
    name: &'static str,
    source: TempDir,
    destination: TempDir,
    /// The destination is a disk: nothing of the copy may stay in the page cache.
    to_disk: bool,
}

fn memory_to_disk() -> CopyPlaces {
    CopyPlaces {
        name: "memory to disk",
        source: shm_dir(),
        destination: disk_dir(),
        to_disk: true,
    }
}

fn disk_to_disk() -> CopyPlaces {
    CopyPlaces {
        name: "disk to disk",
        source: disk_dir(),
        destination: disk_dir(),
        to_disk: true,
    }
}

fn memory_to_memory() -> CopyPlaces {
    CopyPlaces {
        name: "memory to memory",
        source: shm_dir(),
        destination: shm_dir(),
        to_disk: false,
    }
}

impl CopyPlaces {
    fn source(&self) -> PathBuf {
        self.source.path().join("dump")
    }

    fn destination(&self) -> PathBuf {
        self.destination.path().join("copy")
    }

    /// Copies the source as it stands by one row, and checks what holds for every copy.
    fn copy(&self, engine: &str, options: &[&str], context: &str) {
        let context = format!("{engine}, {}, {context}, {options:?}", self.name);
        let (source, destination) = (self.source(), self.destination());
        let before = allocated_bytes(&source);
        let _ = fs::remove_file(&destination);
        let engine_word = format!("--engine={engine}");
        let words = [&[engine_word.as_str()], options].concat();
        let events = copy_json(&words, &source, &destination);
        // The cache first: comparing fills it.
        if self.to_disk {
            assert_eq!(
                cached_bytes(&destination),
                0,
                "{context}: bytes of the destination in the page cache"
            );
        }
        assert_same_content(&source, &destination, &context);
        assert_eq!(
            allocated_bytes(&source),
            before,
            "{context}: the source grew"
        );
        // A file without data needs no engine, and none is named.
        let named = &only_event(&events, "done")["engine"];
        assert!(
            named == engine || (named.is_null() && before == 0),
            "{context}: by {named}"
        );
        assert!(
            engines_used(&events).iter().all(|used| used == engine),
            "{context}: other rows moved bytes: {events:#?}"
        );
    }
}

/// All sizes without holes.
fn over_sizes(engine: &str, places: CopyPlaces) {
    for size in SIZES {
        make_dense_dump(&places.source(), size);
        places.copy(engine, &[], &format!("{size} bytes"));
        fs::remove_file(places.source()).unwrap();
    }
}

/// All layouts under each word of `--sparse`.
fn over_layouts(engine: &str, places: CopyPlaces) {
    for (name, size, extents) in LAYOUTS {
        make_dump(&places.source(), size, extents);
        let data = data_bytes(&places.source());
        for word in ["auto", "always", "never"] {
            places.copy(engine, &[&format!("--sparse={word}")], name);
            let filled = data_bytes(&places.destination());
            let context = format!(
                "{engine}, {}, {name}, --sparse={word}: {filled} bytes of data",
                places.name
            );
            if word == "never" {
                assert!(filled >= size, "{context}: a hole was left in {size}");
            } else {
                assert!(filled <= data, "{context}: the source has {data}");
            }
        }
        fs::remove_file(places.source()).unwrap();
    }
}

/// Zeros that the source has as data: a hole under `--sparse=always`, data otherwise.
fn over_zeros(engine: &str, places: CopyPlaces) {
    let size = 6 * MIB;
    make_dense_dump(&places.source(), size);
    zero(&places.source(), MIB, 2 * MIB);
    zero(&places.source(), 5 * MIB, MIB);
    assert_eq!(
        allocated_bytes(&places.source()),
        size,
        "written zeros are data"
    );
    places.copy(engine, &["--sparse=always"], "zeros");
    assert_eq!(
        allocated_bytes(&places.destination()),
        3 * MIB,
        "{engine}, {}: zeros are holes",
        places.name
    );
    for word in ["--sparse=auto", "--sparse=never"] {
        places.copy(engine, &[word], "zeros");
        assert_eq!(
            allocated_bytes(&places.destination()),
            size,
            "{engine}, {}: {word} keeps zeros",
            places.name
        );
    }
}

/// Writes zeros, which is not the same as making a hole.
fn zero(path: &Path, offset: u64, len: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; len as usize], offset).unwrap();
    // A disk allocates when the bytes go out.
    file.sync_all().unwrap();
}

/// A copy over an older file: longer, shorter, or full of data where the source has holes.
fn over_older_files(engine: &str, places: CopyPlaces) {
    for (name, size, extents) in LAYOUTS {
        make_dump(&places.source(), size, extents);
        for older in [1, size / 2 + 1, size + 5 * MIB] {
            let words = [format!("--engine={engine}")];
            make_dense_dump(&places.destination(), older);
            let events = copy_json(&words, &places.source(), &places.destination());
            let context = format!("{engine}, {}, {name} over {older} bytes", places.name);
            assert_same_content(&places.source(), &places.destination(), &context);
            assert!(
                engines_used(&events).iter().all(|used| used == engine),
                "{context}"
            );
        }
    }
}

/// One engine over everything, between the places where it can work.
macro_rules! boundaries {
    ($($name:ident, $engine:literal, [$($places:ident),+];)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn sizes() {
                $(over_sizes($engine, $places());)+
            }

            #[test]
            fn layouts() {
                $(over_layouts($engine, $places());)+
            }

            #[test]
            fn zeros() {
                $(over_zeros($engine, $places());)+
            }

            #[test]
            fn older_files() {
                $(over_older_files($engine, $places());)+
            }
        }
    )+};
}

boundaries! {
    mmap, "mmap", [memory_to_disk];
    splice, "splice", [memory_to_disk];
    direct, "direct", [memory_to_disk, disk_to_disk];
    dontcache, "dontcache", [memory_to_disk, disk_to_disk];
    copy_file_range, "copy-file-range", [disk_to_disk, memory_to_memory];
    sendfile, "sendfile", [memory_to_disk, disk_to_disk, memory_to_memory];
    buffered, "buffered", [memory_to_disk, disk_to_disk, memory_to_memory];
}

/// What a user gets who names no row: the same promises, whichever rows are taken.
#[test]
fn auto_keeps_the_promises() {
    for places in [memory_to_disk(), disk_to_disk(), memory_to_memory()] {
        for (name, size, extents) in LAYOUTS {
            make_dump(&places.source(), size, extents);
            let before = allocated_bytes(&places.source());
            let _ = fs::remove_file(places.destination());
            copy_json::<&str>(&[], &places.source(), &places.destination());
            let context = format!("auto, {}, {name}", places.name);
            if places.to_disk {
                assert_eq!(
                    cached_bytes(&places.destination()),
                    0,
                    "{context}: bytes in the page cache"
                );
            }
            assert!(
                allocated_bytes(&places.destination()) <= before,
                "{context}: as sparse as the source"
            );
            assert_same_content(&places.source(), &places.destination(), &context);
            assert_eq!(
                allocated_bytes(&places.source()),
                before,
                "{context}: the source grew"
            );
        }
    }
}
