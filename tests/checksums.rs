//! `--checksum` and `--manifest`: digests as sha256sum(1) and b3sum(1) make and check them, over every engine, hole and name.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::*;

/// The words of `--checksum`.
const ALGORITHMS: [&str; 2] = ["sha256", "blake3"];

/// Sizes round those at which another way is taken: a page, a small file, one that is hashed after its copy, a window.
const SIZES: [u64; 9] = [
    0,
    1,
    4097,
    64 * KIB,
    64 * KIB + 1,
    MIB,
    MIB + 1,
    8 * MIB - 1,
    8 * MIB + 4097,
];

/// The digest that the tool of the algorithm makes, or for lack of b3sum the crate of a file that is read as a whole.
fn oracle(algorithm: &str, path: &Path) -> String {
    match algorithm {
        "sha256" => {
            let output = Command::new("sha256sum")
                .arg("--")
                .arg(path)
                .output()
                .unwrap();
            let line = lossy_string(&output.stdout);
            let line = line.trim_start_matches('\\');
            line.split(' ').next().unwrap().to_owned()
        }
        _ => blake3::hash(&fs::read(path).unwrap()).to_hex().to_string(),
    }
}

/// The checksum that `done` has of a copy.
fn checksum_of(options: &[&str], algorithm: &str, source: &Path, dest: &Path) -> String {
    let word = format!("--checksum={algorithm}");
    let words = [&[word.as_str()], options].concat();
    let events = copy_json(&words, source, dest);
    let done = only_event(&events, "done");
    assert_eq!(done["checksum_algorithm"], algorithm, "{words:?}");
    done["checksum"].as_str().expect("a checksum").to_owned()
}

/// Every size and layout by one engine, between these directories.
fn over_files(engine: &str, from: &TempDir, to: &TempDir) {
    let (source, copy) = (from.path().join("dump"), to.path().join("copy"));
    let layouts: [(u64, &[(u64, u64)]); 4] = [
        (4 * MIB + 77, &[(MIB, MIB), (4 * MIB, 77)]),
        (3 * MIB + 5, &[]),
        (2 * MIB, &[(0, 4096), (64 * KIB, 8192), (MIB, 12288)]),
        (40 * MIB, &[(17 * MIB, 7 * MIB)]),
    ];
    let dense = SIZES.map(|size| (size, vec![(0, size)]));
    let sparse = layouts.map(|(size, extents)| (size, extents.to_vec()));
    for (size, extents) in dense.into_iter().chain(sparse) {
        make_dump(&source, size, &extents);
        let before = allocated_bytes(&source);
        for algorithm in ALGORITHMS {
            let option = format!("--engine={engine}");
            let made = checksum_of(&[&option], algorithm, &source, &copy);
            let context = format!("{engine}, {algorithm}, {size} bytes: {extents:?}");
            assert_eq!(made, oracle(algorithm, &source), "{context}");
            assert_eq!(
                allocated_bytes(&source),
                before,
                "{context}: the source grew"
            );
            assert_same_content(&source, &copy, &context);
            fs::remove_file(&copy).unwrap();
        }
        fs::remove_file(&source).unwrap();
    }
}

#[test]
fn every_engine_has_the_digest_of_memory() {
    for engine in [
        "mmap",
        "splice",
        "direct",
        "dontcache",
        "sendfile",
        "buffered",
    ] {
        over_files(engine, &shm_dir(), &disk_dir());
    }
    for engine in ["sendfile", "copy-file-range"] {
        over_files(engine, &shm_dir(), &shm_dir());
    }
}

#[test]
fn every_engine_has_the_digest_of_a_disk() {
    for engine in [
        "direct",
        "dontcache",
        "copy-file-range",
        "sendfile",
        "buffered",
    ] {
        over_files(engine, &disk_dir(), &disk_dir());
    }
}

/// A source that is read with O_DIRECT since it is not in the cache, and does not end on a sector.
#[test]
fn a_large_source_on_disk_is_hashed_past_the_cache() {
    let disk = disk_dir();
    let (source, copy) = (disk.path().join("dump"), disk.path().join("copy"));
    make_dense_dump(&source, 64 * MIB + 1);
    let file = fs::File::open(&source).unwrap();
    file.sync_all().unwrap();
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    nix::fcntl::posix_fadvise(&file, 0, 0, advice).unwrap();
    let made = checksum_of(&["--engine=direct"], "blake3", &source, &copy);
    let left = cached_bytes(&source);
    assert!(left <= MIB, "{left} bytes of the source were cached");
    assert_eq!(made, oracle("blake3", &source));
}

#[test]
fn a_stream_is_hashed_as_it_passes() {
    for size in [0, 5, MIB - 1, 3 * MIB + 17] {
        let pair = CopyFixture::new(size);
        for algorithm in ALGORITHMS {
            let script = format!(
                "cat '{}' | \"$0\" --checksum={algorithm} /dev/stdin '{}'",
                pair.source().display(),
                pair.destination().display()
            );
            let output = run(Command::new("sh").args(["-c", &script]).arg(&*MMAPCP));
            assert_exit(&output, 0);
            let digest = oracle(algorithm, &pair.source());
            let line = format!("{digest}  {}\n", pair.destination().display());
            assert_eq!(lossy_string(&output.stdout), line, "{size} bytes");
            assert_same_content(&pair.source(), &pair.destination(), algorithm);
        }
    }
}

/// Checks all lines of a manifest with a tool, from its directory, and returns how many files it called good.
fn check(tool: &str, manifest: &Path) -> usize {
    let mut command = Command::new(tool);
    command.arg("-c").arg(manifest.file_name().unwrap());
    let output = run(command
        .current_dir(manifest.parent().unwrap())
        .env("LC_ALL", "C"));
    assert_exit_in(&output, 0, tool);
    // A name may contain an end of line, which the tool escapes.
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b": OK"))
        .count()
}

const NAMES: [&[u8]; 9] = [
    b"plain",
    b" a name with  spaces ",
    b"two\nlines",
    b"back\\slash",
    b"both\\\nof them",
    b"-dash",
    b"*star",
    b"\xc3\xa9t\xc3\xa9",
    b"carriage\rreturn",
];

/// A directory with files of all these names, the size of each being its number.
fn named_files(names: &[&[u8]]) -> TempDir {
    let dir = shm_dir();
    for (number, name) in names.iter().enumerate() {
        let path = dir.path().join(OsStr::from_bytes(name));
        make_dense_dump(&path, number as u64 * 1000);
    }
    dir
}

#[test]
fn sha256sum_and_b3sum_accept_every_name() {
    let not_utf8: [&[u8]; 2] = [b"\xff\xfe", b"x\\\xffy\n"];
    let all = [&NAMES[..], &not_utf8].concat();
    let tools = [
        ("sha256", "sha256sum", &all[..]),
        ("blake3", "b3sum", &NAMES[..]),
    ];
    for (algorithm, tool, names) in tools {
        let (from, to) = (named_files(names), disk_dir());
        let manifest = to.path().join("manifest");
        let words = [format!("--checksum={algorithm}"), "-rT".into()];
        let mut command = mmapcp();
        command
            .args(&words)
            .arg(format!("--manifest={}", manifest.display()));
        let output = run(command.arg(from.path()).arg(to.path()));
        assert_exit(&output, 0);
        assert!(output.stdout.is_empty(), "the lines are in the manifest");
        if has_tools_or_skip(tool, &[tool]) {
            assert_eq!(check(tool, &manifest), names.len(), "{tool}");
        }
        let lines = fs::read(&manifest).unwrap();
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(count, names.len(), "one line for each file");
    }
}

/// The names in the lines of a manifest.
fn names_in(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let name = |line: &str| line.split_once("  ").unwrap().1.to_owned();
    text.lines().map(name).collect()
}

#[test]
fn names_are_seen_from_the_directory_of_the_manifest() {
    let (from, to, other) = (shm_dir(), disk_dir(), disk_dir());
    make_dense_dump(&from.path().join("a"), 10);
    fs::create_dir(to.path().join("inner")).unwrap();
    symlink("inner", to.path().join("link")).unwrap();
    let manifest = to.path().join("manifest");
    let copy = |dest: &Path, dir: &Path| {
        let mut command = mmapcp();
        command
            .arg("--manifest")
            .arg(&manifest)
            .arg(from.path().join("a"))
            .arg(dest);
        assert_exit(&run(command.current_dir(dir)), 0);
        assert_eq!(check("sha256sum", &manifest), 1);
        names_in(&manifest).remove(0)
    };
    let root = Path::new("/");
    assert_eq!(copy(&to.path().join("b"), root), "b");
    assert_eq!(copy(&to.path().join("link/c"), root), "inner/c");
    assert_eq!(copy(Path::new("../d"), &to.path().join("inner")), "d");
    assert_eq!(copy(Path::new("inner"), to.path()), "inner/a");
    let elsewhere = other.path().join("e");
    let resolved = other.path().canonicalize().unwrap().join("e");
    assert_eq!(copy(&elsewhere, root), resolved.display().to_string());
}

#[test]
fn the_order_is_that_of_the_operands_with_any_number_of_jobs() {
    let (from, to) = (shm_dir(), disk_dir());
    let names: Vec<String> = (0..60)
        .map(|number| format!("file-{:02}", 97 * number % 60))
        .collect();
    for (number, name) in names.iter().enumerate() {
        // Large and small ones in turns, so that later ones are ready before earlier ones.
        let size = if number % 5 == 0 { 3 * MIB } else { 100 };
        make_dense_dump(&from.path().join(name), size);
    }
    let manifest = to.path().join("manifest");
    for jobs in ["1", "2", "8"] {
        let mut command = mmapcp();
        command
            .args(["--jobs", jobs, "--fsync", "--manifest"])
            .arg(&manifest);
        command
            .args(names.iter().map(|name| from.path().join(name)))
            .arg(to.path());
        assert_exit(&run(&mut command), 0);
        assert_eq!(names_in(&manifest), names, "--jobs={jobs}");
        assert_eq!(check("sha256sum", &manifest), names.len());
    }
}

/// Copies with a manifest in the directory of the destination, which had an old one, and returns it as it is then.
fn with_old_manifest(pair: &CopyFixture, options: &[&str]) -> (Command, PathBuf) {
    let manifest = pair.disk.path().join("manifest");
    fs::write(&manifest, "old").unwrap();
    let mut command = pair.command(options);
    command.arg("--manifest").arg(&manifest);
    (command, manifest)
}

#[test]
fn after_a_signal_the_old_manifest_stays_and_nothing_is_left_beside_it() {
    let pair = CopyFixture::new(8 * MIB);
    let (mut command, manifest) = with_old_manifest(&pair, &["--limit-rate=4M"]);
    let running = Running::start(&mut command);
    wait_until("the copy has begun", || {
        has_written_bytes(&pair.destination())
    });
    running.signal(Signal::SIGTERM);
    assert_signal(&running.finish(), libc::SIGTERM);
    assert_eq!(fs::read(&manifest).unwrap(), b"old");
    assert_eq!(fs::read_dir(pair.disk.path()).unwrap().count(), 2);
}

#[test]
fn a_file_that_is_not_copied_has_no_line_and_the_others_have() {
    let (from, to) = (shm_dir(), disk_dir());
    for name in ["a", "c"] {
        make_dense_dump(&from.path().join(name), 100);
    }
    let manifest = to.path().join("manifest");
    let mut command = mmapcp();
    command.arg("--manifest").arg(&manifest);
    command.args(["a", "missing", "c"].map(|name| from.path().join(name)));
    assert_exit(&run(command.arg(to.path())), 1);
    assert_eq!(names_in(&manifest), ["a", "c"]);
    assert_eq!(check("sha256sum", &manifest), 2);
}

#[test]
fn the_file_keeps_its_attributes_and_is_replaced_as_a_whole() {
    let pair = CopyFixture::new(100);
    let (mut command, manifest) = with_old_manifest(&pair, &["--fsync"]);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    fs::set_permissions(&manifest, mode).unwrap();
    let before = fs::metadata(&manifest).unwrap();
    assert_exit(&run(&mut command), 0);
    let after = fs::metadata(&manifest).unwrap();
    assert_eq!(after.mode(), before.mode());
    assert_ne!(after.ino(), before.ino(), "a new file has the name");
    assert_eq!(check("sha256sum", &manifest), 1);
}

/// Expects the run to fail with this sentence, and the destination not to be there.
fn assert_refused(output: &Output, pair: &CopyFixture, sentence: &str) {
    assert_exit(output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains(sentence), "{said}");
    assert!(!pair.destination().exists(), "nothing was copied");
}

#[test]
fn what_cannot_be_a_manifest_is_refused_before_anything_is_copied() {
    let pair = CopyFixture::new(100);
    let disk = pair.disk.path();
    let one_word = |manifest: &Path| {
        let word = format!("--manifest={}", manifest.display());
        run(&mut pair.command(&[&word]))
    };
    assert_refused(
        &one_word(&disk.join("no/dir")),
        &pair,
        "No such file or directory",
    );
    assert_refused(&one_word(disk), &pair, "Is a directory");
    assert_refused(
        &one_word(Path::new("/dev/null")),
        &pair,
        "not a regular file",
    );
    let source = pair.source();
    let before = fs::read(&source).unwrap();
    assert_refused(&one_word(&source), &pair, "which is the file of --manifest");
    assert!(
        fs::read(&source).unwrap() == before,
        "the source is as it was"
    );
    fs::write(pair.destination(), "old").unwrap();
    let output = one_word(&pair.destination());
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains("will not overwrite"), "{said}");
    assert_eq!(fs::read(pair.destination()).unwrap(), b"old");
}

#[test]
fn options_without_bytes_are_refused() {
    let pair = CopyFixture::new(1);
    for with in ["--link", "--symbolic-link", "--attributes-only"] {
        for option in ["--checksum", "--manifest=x", "--require-quiescent"] {
            let output = run(&mut pair.command(&[option, with]));
            assert_exit(&output, 1);
            let option = option.split('=').next().unwrap();
            let sentence = format!("options {option} and {with} are mutually exclusive");
            assert!(
                lossy_string(&output.stderr).contains(&sentence),
                "{sentence}"
            );
        }
    }
    let output = run(&mut pair.command(&["--checksum=md5"]));
    assert_exit(&output, 1);
    assert!(lossy_string(&output.stderr).contains("'sha256'"));
}

#[test]
fn a_governed_copy_has_its_digest() {
    let pair = CopyFixture::new(3 * MIB);
    for option in [
        "--limit-rate=8M",
        "--in-flight=64K",
        "--sparse=always",
        "--atomic",
    ] {
        let made = checksum_of(&[option], "sha256", &pair.source(), &pair.destination());
        assert_eq!(made, oracle("sha256", &pair.source()), "{option}");
    }
}
