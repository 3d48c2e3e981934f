//! A bind mount gives one file two names: cp's check for the same file has to see through it, and an export has to do
//! without a rename.

use std::fs::{self, File};
use std::time::UNIX_EPOCH;

use mmapcp::forklat::export::Exports;
use mmapcp::forklat::export::csv;
use mmapcp::forklat::export::hlog::HistogramLog;
use mmapcp::forklat::merge::merge;

use super::program_run::{copy_arguments, cp, mmapcp};
use super::test_filesystem::Mount;
use super::{Lab, lab_temp_dir, skip};

#[test]
fn the_same_file_through_a_bind_mount() {
    let Some(_lab) = Lab::acquire_or_skip(&["mount", "umount"]) else {
        return;
    };
    let home = lab_temp_dir().expect("a directory");
    let Some(view) = Mount::bind(home.path()).map_or_else(|why| skip(&why), Some) else {
        return;
    };
    let (here, there) = (home.path().join("dump"), view.path("dump"));
    fs::write(&here, b"precious").expect("write the dump");
    for (source, dest) in [(&here, &there), (&there, &here)] {
        assert_same(
            source,
            dest,
            &format!(
                "'{}' and '{}' are the same file",
                source.display(),
                dest.display()
            ),
        );
    }
    assert_same(
        &here,
        &view.dir,
        &format!(
            "'{}' and '{}' are the same file",
            here.display(),
            there.display()
        ),
    );
    assert_eq!(fs::read(&here).expect("read the dump"), b"precious");
}

#[test]
fn the_same_file_bound_onto_another() {
    let Some(_lab) = Lab::acquire_or_skip(&["mount", "umount"]) else {
        return;
    };
    let home = lab_temp_dir().expect("a directory");
    let (original, other) = (home.path().join("original"), home.path().join("other"));
    fs::write(&original, b"precious").expect("write the original");
    File::create(&other).expect("create the other name");
    let Some(_bound) = Mount::bind_file(&original, &other).map_or_else(|why| skip(&why), Some)
    else {
        return;
    };
    assert_same(
        &original,
        &other,
        &format!(
            "'{}' and '{}' are the same file",
            original.display(),
            other.display()
        ),
    );
    assert_eq!(fs::read(&original).expect("read the original"), b"precious");
}

/// A container's file that comes from its host: no rename can replace it.
#[test]
fn an_export_onto_a_file_that_is_bound() {
    let Some(_lab) = Lab::acquire_or_skip(&["mount", "umount"]) else {
        return;
    };
    let home = lab_temp_dir().expect("a directory");
    let (original, name) = (home.path().join("original"), home.path().join("name"));
    fs::write(&original, "an older and longer report".repeat(1000)).expect("write the original");
    File::create(&name).expect("create the other name");
    let Some(_bound) = Mount::bind_file(&original, &name).map_or_else(|why| skip(&why), Some)
    else {
        return;
    };
    let exports = Exports(vec![(&csv::FORMAT, name)]);
    let report = merge(&[]).expect("a report of nothing");
    let log = HistogramLog::new(UNIX_EPOCH);
    let opened = exports.open().expect("open the export");
    opened.write(&report, Some(&log)).expect("write the export");
    let written = fs::read_to_string(&original).expect("read the original");
    assert_eq!(written, csv::render(&report));
    let entries = fs::read_dir(home.path()).expect("list the directory");
    assert_eq!(entries.count(), 2, "nothing is left beside");
}

/// Exit 1 in cp's words, by cp's own mouth.
fn assert_same(source: &std::path::Path, dest: &std::path::Path, sentence: &str) {
    let (ours, theirs) = (
        mmapcp(&copy_arguments(&[], source, dest)),
        cp(&copy_arguments(&[], source, dest)),
    );
    assert_eq!(ours.stderr, format!("mmapcp: {sentence}\n"));
    assert_eq!(ours.stderr, theirs.stderr);
    assert_eq!((ours.code, theirs.code), (Some(1), Some(1)));
}
