//! What is refused, with a reason and before anything is touched.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use mmapcp::sys::mapped_file::MappedReader;

use super::fixture::{DrainFixture, command, has_content_from, names_in};
use crate::support::*;

const SIZE: u64 = 2 * MIB + 5;

/// Expects an error with these words, a source that is as it was, and nothing at the destination.
fn assert_refused(drain: &DrainFixture, options: &[&str], words: &str) {
    let blocks = allocated_bytes(&drain.source());
    let output = run(&mut drain.command(options));
    assert_exit_in(&output, 1, words);
    let said = lossy_string(&output.stderr);
    assert!(said.contains(words), "{words}: {said}");
    assert!(has_content_from(&drain.source(), &drain.reference(), 0));
    assert_eq!(allocated_bytes(&drain.source()), blocks, "{words}");
    assert_eq!(names_in(&drain.dest()), [""; 0], "{words}");
}

#[test]
fn options_that_do_not_go_with_it() {
    let drain = DrainFixture::new(SIZE, &[]);
    for with in [
        "--link",
        "--symbolic-link",
        "--attributes-only",
        "--atomic",
        "--interactive",
        "--backup",
        "--remove-destination",
        "--no-clobber",
        "--update",
        "--reflink=always",
        "--direct=never",
    ] {
        let words = format!("options --drain and {with} are mutually exclusive");
        assert_refused(&drain, &[with], &words);
    }
    for engine in ["buffered", "dontcache", "sendfile", "copy-file-range"] {
        let words = format!("cannot combine --engine={engine} and --drain");
        assert_refused(&drain, &[&format!("--engine={engine}")], &words);
    }
}

#[test]
fn a_source_that_somebody_else_has_open() {
    let drain = DrainFixture::new(SIZE, &[]);
    let words = "cannot drain";
    let open = |write| File::options().read(true).write(write).open(drain.source());
    for write in [false, true] {
        let file = open(write).unwrap();
        assert_refused(&drain, &[], words);
        assert_refused(&drain, &[], "another process has it open or mapped");
        if !write {
            let mapped = MappedReader::new(&file, SIZE as usize).unwrap();
            drop(file);
            assert_refused(&drain, &[], "another process has it open or mapped");
            drop(mapped);
        }
    }
    drain.complete(&[]);
}

#[test]
fn a_source_that_has_more_names_or_is_a_link() {
    let drain = DrainFixture::new(SIZE, &[]);
    let second = drain.source().with_file_name("second");
    fs::hard_link(drain.source(), &second).unwrap();
    assert_refused(&drain, &[], "it has 2 hard links");
    fs::remove_file(&second).unwrap();
    symlink(drain.source(), &second).unwrap();
    let output = run(&mut command(&[], &second, &drain.dest()));
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains("it is a symbolic link"), "{said}");
    fs::remove_file(&second).unwrap();
    drain.complete(&[]);
}

#[test]
fn a_source_that_is_no_memory_and_a_destination_that_is() {
    let drain = DrainFixture::new(SIZE, &[]);
    let on_disk = drain.dest().with_file_name("on-disk");
    fs::copy(drain.source(), &on_disk).unwrap();
    let refused = |source: &Path, dest: &Path, words: &str| {
        let output = run(&mut command(&[], source, dest));
        assert_exit_in(&output, 1, words);
        let said = lossy_string(&output.stderr);
        assert!(said.contains(words), "{words}: {said}");
        assert!(has_content_from(source, &drain.reference(), 0), "{words}");
        assert!(!dest.exists(), "{words}");
    };
    let other = drain.source().with_file_name("other");
    refused(&on_disk, &other, "and not in memory");
    refused(&drain.source(), &other, "is on the same file system");
    let output = run(&mut command(&[], &drain.source(), Path::new("/dev/null")));
    assert_exit(&output, 1);
    assert!(has_content_from(&drain.source(), &drain.reference(), 0));
}

#[test]
fn a_stream_is_refused() {
    let drain = DrainFixture::new(SIZE, &[]);
    let script = format!(
        "cat '{}' | \"$0\" --drain /dev/stdin '{}'",
        drain.source().display(),
        drain.dest().display()
    );
    let output = run(Command::new("sh").args(["-c", &script]).arg(&*MMAPCP));
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains("cannot drain '/dev/stdin'"), "{said}");
    let fifo = drain.source().with_file_name("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = run(&mut command(&[], &fifo, &drain.dest()));
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains("it is no regular file"), "{said}");
    assert_eq!(names_in(&drain.dest()), [""; 0]);
}

/// Another user may neither write to the source nor take a lease of it.
#[test]
fn a_source_of_another_user() {
    let test = "a_source_of_another_user";
    if !is_root_or_skip(test) {
        return;
    }
    let (bin_dir, bin) = public_bin_dir();
    let drain = DrainFixture::new(SIZE, &[]);
    if !is_reachable_or_skip(test, drain.dest().parent().unwrap()) {
        return;
    }
    let attempt = |mode: u32, words: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(drain.source(), fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(bin.join("mmapcp"));
        command.arg("--drain").arg(drain.source()).arg(drain.dest());
        let output = run(as_nobody(&mut command));
        assert_exit_in(&output, 1, words);
        let said = lossy_string(&output.stderr);
        assert!(said.contains(words), "{words}: {said}");
        assert!(has_content_from(&drain.source(), &drain.reference(), 0));
        assert_eq!(names_in(&drain.dest()), [""; 0], "{words}");
    };
    attempt(0o644, "it cannot be opened for writing");
    attempt(0o666, "a lease is refused");
    drop(bin_dir);
}
