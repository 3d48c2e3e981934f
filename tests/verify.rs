//! `--verify`: the copy is read back past the cache and compared, over every engine, hole and size; differences are errors.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use mmapcp::sys::mapped_file::MappedWriter;
use mmapcp::transfer::capabilities::SourceInfo;
use mmapcp::transfer::{self, CopyListener, Error, Event, Phase, Progress, TransferOptions};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::*;

/// Sizes round a page, a small file, and what is read back at once.
const SIZES: [u64; 9] = [
    0,
    1,
    4097,
    64 * KIB,
    64 * KIB + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    3 * MIB + 511,
];

const LAYOUTS: [(u64, &[(u64, u64)]); 5] = [
    (4 * MIB + 77, &[(MIB, MIB), (4 * MIB, 77)]),
    (4 * MIB + 77, &[(0, MIB)]),
    (3 * MIB + 5, &[]),
    (2 * MIB, &[(0, 4096), (64 * KIB, 8192), (MIB, 12288)]),
    (40 * MIB, &[(17 * MIB, 7 * MIB)]),
];

/// Copies with `--verify` and returns what `done` says of how it was read back.
fn verified(options: &[&str], source: &Path, dest: &Path) -> Value {
    let words = [&["--verify"], options].concat();
    let events = copy_json(&words, source, dest);
    only_event(&events, "done")["verified"].clone()
}

fn over_files(engine: &str, [from, to]: [&Path; 2], how: &str) {
    let (source, copy) = (from.join("dump"), to.join("copy"));
    let dense = SIZES.map(|size| (size, vec![(0, size)]));
    let sparse = LAYOUTS.map(|(size, extents)| (size, extents.to_vec()));
    for (size, extents) in dense.into_iter().chain(sparse) {
        make_dump(&source, size, &extents);
        let before = allocated_bytes(&source);
        for sparse in ["auto", "always", "never"] {
            let words = [format!("--engine={engine}"), format!("--sparse={sparse}")];
            let words = [words[0].as_str(), words[1].as_str()];
            let context = format!("{words:?}, {size} bytes: {extents:?}");
            assert_eq!(verified(&words, &source, &copy), how, "{context}");
            if how == "direct" {
                assert_eq!(cached_bytes(&copy), 0, "{context}: cached by the read");
            }
            assert_same_content(&source, &copy, &context);
            assert_eq!(
                allocated_bytes(&source),
                before,
                "{context}: the source grew"
            );
            fs::remove_file(&copy).unwrap();
        }
        fs::remove_file(&source).unwrap();
    }
}

/// How a copy on the disk of the build is read back: an overlay or a file system without STATX_DIOALIGN cannot promise.
fn on_disk(dir: &Path) -> Option<&'static str> {
    fs::write(dir.join("probe"), "x").unwrap();
    let info =
        mmapcp::sys::file::StatxInfo::query(&File::open(dir.join("probe")).unwrap()).unwrap();
    let is_genuine = matches!(info.dio_align, mmapcp::sys::file::DioAlign::Bytes { .. });
    is_genuine.then_some("direct")
}

#[test]
fn every_engine_is_read_back_from_the_disk() {
    let (memory, disk, other) = (shm_dir(), disk_dir(), disk_dir());
    let Some(how) = on_disk(disk.path()) else {
        return skip(
            "every_engine_is_read_back_from_the_disk",
            "O_DIRECT is not proven here",
        );
    };
    for engine in [
        "mmap",
        "splice",
        "direct",
        "dontcache",
        "sendfile",
        "buffered",
    ] {
        over_files(engine, [memory.path(), disk.path()], how);
    }
    for engine in ["direct", "copy-file-range"] {
        over_files(engine, [other.path(), disk.path()], how);
    }
}

#[test]
fn a_copy_in_memory_is_compared_and_said_to_be_cached() {
    let (from, to) = (shm_dir(), shm_dir());
    for engine in ["sendfile", "buffered"] {
        over_files(engine, [from.path(), to.path()], "cached");
    }
    make_dense_dump(&from.path().join("dump"), 100);
    let copy = to.path().join("copy");
    let output = run(mmapcp()
        .arg("--verify")
        .arg(from.path().join("dump"))
        .arg(&copy));
    assert_exit(&output, 0);
    let said = lossy_string(&output.stderr);
    assert!(
        said.contains("warning: ") && said.contains("through the page cache"),
        "{said}"
    );
}

/// Changes a byte when the comparison begins, in the destination or through a mapping in the source.
struct ChangeBeforeComparison<F: FnMut()> {
    change: Option<F>,
    phases: Vec<Phase>,
}

impl<F: FnMut()> CopyListener for ChangeBeforeComparison<F> {
    fn event(&mut self, event: &Event) {
        assert!(
            !matches!(event, Event::Done(_)),
            "a copy that differs is not done"
        );
    }

    fn progress(&mut self, progress: &Progress) {
        self.phases.push(progress.phase);
        if progress.phase != Phase::Copy
            && let Some(mut change) = self.change.take()
        {
            change();
        }
    }

    fn interrupted(&self) -> bool {
        false
    }
}

/// Copies with a change before the comparison, and returns the first offset that is said to differ.
fn offset_of_change(source: &Path, copy: &Path, change: impl FnMut()) -> u64 {
    let source = File::open(source).unwrap();
    let dest = File::create(copy).unwrap();
    let mut listener = ChangeBeforeComparison {
        change: Some(change),
        phases: Vec::new(),
    };
    let options = TransferOptions {
        verify: true,
        ..TransferOptions::default()
    };
    let info = SourceInfo::of(&source).unwrap();
    let failed = transfer::copy(&source, info, &dest, options, &mut listener);
    match failed.expect_err("the copy differs").error {
        Error::Different { at } => at,
        other => panic!("{other}"),
    }
}

#[test]
fn the_first_byte_that_differs_is_named_wherever_it_is() {
    let size = 3 * MIB + 100;
    for place in [disk_dir(), shm_dir()] {
        for at in [0, 1, 4095, 4096, MIB - 1, MIB, 2 * MIB + 777, size - 1] {
            let pair = CopyFixture::new(size);
            let copy = place.path().join("copy");
            let flip = || {
                let file = File::options().read(true).write(true).open(&copy).unwrap();
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[!byte[0]], at).unwrap();
                // Another one behind it, which is not the first.
                file.write_all_at(&[!byte[0]], size - 1).unwrap();
            };
            assert_eq!(offset_of_change(&pair.source(), &copy, flip), at);
        }
    }
}

#[test]
fn data_where_the_source_has_a_hole_differs_and_so_does_another_size() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, copy) = (from.path().join("dump"), to.path().join("copy"));
    make_dump(&source, 24 * MIB, &[(0, 4096), (20 * MIB, 4096)]);
    let write = |at| {
        let file = File::options().write(true).open(&copy).unwrap();
        file.write_all_at(b"x", at).unwrap();
    };
    assert_eq!(
        offset_of_change(&source, &copy, || write(10 * MIB + 5)),
        10 * MIB + 5
    );
    assert_eq!(
        offset_of_change(&source, &copy, || write(24 * MIB - 1)),
        24 * MIB - 1
    );
    let append = || append(&copy, b"more");
    assert_eq!(offset_of_change(&source, &copy, append), 24 * MIB);
}

#[test]
fn a_store_through_a_mapping_during_the_copy_is_found() {
    let pair = CopyFixture::new(2 * MIB);
    let file = File::options()
        .read(true)
        .write(true)
        .open(pair.source())
        .unwrap();
    let writer = MappedWriter::new(&file, 2 * MIB as usize).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, MIB + 3).unwrap();
    // The first store moves the time of the file, the second during the copy does not.
    writer.store_byte(MIB as usize + 3, byte[0]);
    let store = || writer.store_byte(MIB as usize + 3, !byte[0]);
    assert_eq!(
        offset_of_change(&pair.source(), &pair.destination(), store),
        MIB + 3
    );
}

/// A mapping that stores to the first page for as long as a copy lasts: the second pass sees another value.
#[test]
fn a_torn_copy_is_an_error_and_with_atomic_the_old_file_stays() {
    for options in [&["--verify"][..], &["--verify", "--atomic"]] {
        let pair = CopyFixture::new(8 * MIB);
        fs::write(pair.destination(), "old").unwrap();
        let file = File::options()
            .read(true)
            .write(true)
            .open(pair.source())
            .unwrap();
        let writer = MappedWriter::new(&file, 8 * MIB as usize).unwrap();
        writer.store_byte(0, 0);
        let mut running = Running::start(pair.command(options).arg("--limit-rate=16M"));
        let mut value = 0_u8;
        while !running.has_ended() {
            value = value.wrapping_add(1);
            writer.store_byte(0, value);
        }
        let output = running.finish();
        assert_exit(&output, 1);
        let said = lossy_string(&output.stderr);
        assert!(said.contains("from byte 0 on, as read back"), "{said}");
        let is_kept = fs::read(pair.destination()).unwrap() == b"old";
        assert_eq!(is_kept, options.contains(&"--atomic"), "{said}");
    }
}

#[test]
fn the_comparison_is_a_phase_of_the_progress_and_can_be_interrupted() {
    let pair = CopyFixture::new(6 * MIB);
    let mut command = pair.command(&["--verify", "--atomic", "--json", "--limit-rate=2M"]);
    let output = run(&mut command);
    assert_exit(&output, 0);
    let events = parse_events(&output);
    let phases = |name: &str| {
        let progress = events.iter().filter(|event| event["event"] == "progress");
        progress.filter(|event| event["phase"] == name).count()
    };
    assert!(phases("copy") > 0 && phases("verify") > 0, "{events:#?}");
    let compared = events
        .iter()
        .rfind(|event| event["phase"] == "verify")
        .unwrap();
    assert_eq!(compared["copied"], 6 * MIB);
    assert!(compared["verified"].as_u64().unwrap() <= 6 * MIB);
    // The size of the file is not known by a name with --atomic: the events tell when the comparison has begun.
    fs::remove_file(pair.destination()).unwrap();
    let log = pair.disk.path().join("log");
    let running = Running::start_to(&mut command, File::create(&log).unwrap());
    wait_until("the comparison has begun", || {
        fs::read_to_string(&log)
            .unwrap()
            .contains("\"phase\":\"verify\"")
    });
    running.signal(Signal::SIGTERM);
    assert_signal(&running.finish(), libc::SIGTERM);
    assert!(!pair.destination().exists());
}

#[test]
fn what_cannot_be_read_again_is_refused_before_a_byte_is_written() {
    let pair = CopyFixture::new(100);
    let script = format!(
        "cat '{}' | \"$0\" --verify /dev/stdin '{}'",
        pair.source().display(),
        pair.destination().display()
    );
    let output = run(Command::new("sh").args(["-c", &script]).arg(&*MMAPCP));
    assert_exit(&output, 1);
    assert!(
        lossy_string(&output.stderr).contains("is a stream"),
        "{}",
        describe_output(&output)
    );
    assert!(!pair.destination().exists());
    let output = run(mmapcp().arg("--verify").arg(pair.source()).arg("/dev/null"));
    assert_exit(&output, 1);
    assert!(lossy_string(&output.stderr).contains("cannot be read back"));
    let output = run(&mut pair.command(&["--verify", "--link"]));
    assert_exit(&output, 1);
    assert!(lossy_string(&output.stderr).contains("mutually exclusive"));
}
