//! Every engine equals a plain read and write, over random extent maps, sizes and chunk lengths.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use mmapcp::transfer::capabilities::SourceInfo;
use mmapcp::transfer::engine::ENGINES;
use mmapcp::transfer::{self, Sparse, TransferOptions};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Extents of the source as (hole before, data), in bytes, and what is cut off its end.
#[derive(Debug, Clone)]
struct RandomExtents {
    extents: Vec<(u64, u64)>,
    trailing: u64,
    zeros: bool,
}

/// Lengths near the boundaries that matter: sectors, pages, chunks.
fn length() -> impl Strategy<Value = u64> {
    let near = prop_oneof![
        Just(0u64),
        Just(512),
        Just(4096),
        Just(65536),
        Just(1 << 20),
        Just(2 << 20)
    ];
    (near, -2i64..3, 0u64..3)
        .prop_map(|(base, off, times)| (base * times).saturating_add_signed(off))
}

fn shape() -> impl Strategy<Value = RandomExtents> {
    (
        prop::collection::vec((length(), length()), 0..5),
        length(),
        any::<bool>(),
    )
        .prop_map(|(extents, trailing, zeros)| RandomExtents {
            extents,
            trailing,
            zeros,
        })
}

fn make(path: &Path, shape: &RandomExtents) {
    let file = File::create(path).expect("source");
    let mut at = 0;
    for (i, (hole, data)) in shape.extents.iter().enumerate() {
        at += hole;
        let seed = i as u64 * 7919 + 1;
        let mut bytes: Vec<u8> = (0..*data)
            .map(|k| (k.wrapping_mul(seed) >> 3) as u8 | 1)
            .collect();
        if shape.zeros {
            // A block of zeros in the middle of data, for --sparse=always.
            let middle = bytes.len() / 2;
            let end = bytes.len().min(middle + 8192);
            bytes[middle..end].fill(0);
        }
        file.write_all_at(&bytes, at).expect("data");
        at += data;
    }
    file.set_len(at + shape.trailing).expect("size");
}

fn check(
    source: &Path,
    dest: &Path,
    options: TransferOptions,
    plain: &[u8],
) -> Result<(), TestCaseError> {
    let file = File::open(source).expect("source");
    let facts = SourceInfo::of(&file).expect("facts");
    let blocks = file.metadata().expect("source").blocks();
    let to = File::create(dest).expect("destination");
    let name = options.engine.map_or("auto", |row| row.name);
    if let Err(failure) = transfer::copy(&file, facts, &to, options, &mut ()) {
        // Only the rows that no pair of different file systems has may refuse, or ext4 alone.
        let only = matches!(failure.error, transfer::Error::Impossible(_))
            && matches!(name, "reflink" | "copy-file-range");
        let needs = matches!(failure.error, transfer::Error::Impossible(_))
            && source.starts_with(env!("CARGO_TARGET_TMPDIR"));
        prop_assert!(
            only || needs && matches!(name, "mmap" | "splice"),
            "{name}: {}",
            failure.error
        );
        return Ok(());
    }
    prop_assert!(fs::read(dest).expect("copy") == plain, "{name} differs");
    prop_assert_eq!(
        file.metadata().expect("source").blocks(),
        blocks,
        "{} touched a hole",
        name
    );
    Ok(())
}

fn sparse() -> impl Strategy<Value = Sparse> {
    prop_oneof![
        Just(Sparse::Auto),
        Just(Sparse::Always),
        Just(Sparse::Never)
    ]
}

fn chunk() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![
        Just(None),
        (1usize..20).prop_map(|n| Some(n * 65536)),
        Just(Some(4096))
    ]
}

/// Cases that have failed once are kept beside this file, to be committed, and are run first.
fn config() -> ProptestConfig {
    let kept = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/engine_equivalence.regressions"
    );
    ProptestConfig {
        cases: 48,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_engine_copies_memory_as_a_plain_copy_does(shape in shape(), sparse in sparse(), chunk in chunk()) {
        let shm = tempfile::tempdir_in("/dev/shm").expect("tmpfs");
        compare(shm.path(), &shape, sparse, chunk)?;
    }

    #[test]
    fn every_engine_copies_a_disk_as_a_plain_copy_does(shape in shape(), sparse in sparse(), chunk in chunk()) {
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("disk");
        compare(disk.path(), &shape, sparse, chunk)?;
    }
}

fn compare(
    from: &Path,
    shape: &RandomExtents,
    sparse: Sparse,
    chunk: Option<usize>,
) -> Result<(), TestCaseError> {
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("disk");
    let source = from.join("source");
    make(&source, shape);
    // The plain copy: read, write.
    let plain = fs::read(&source).expect("plain");
    // Reading a disk's hole through the cache may have made blocks of it; tmpfs is what must not grow.
    for engine in ENGINES.iter().copied().map(Some).chain([None]) {
        let options = TransferOptions {
            engine,
            sparse,
            chunk,
            ..TransferOptions::default()
        };
        check(&source, &disk.path().join("copy"), options, &plain)?;
    }
    Ok(())
}
