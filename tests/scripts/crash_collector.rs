//! The collector scripts, as they stand in README.md and in `collect.sh`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::queue::{can_have_own_queues_or_skip, with_own_queues};
use crate::support::*;

/// The one script that README.md shows: the text between its first line and the end of its block.
fn readme_script() -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    let blocks = readme.split("```sh\n").skip(1);
    let all: Vec<&str> = blocks
        .filter_map(|block| block.split("```").next())
        .filter(|block| block.starts_with("#!/bin/sh\n"))
        .collect();
    assert_eq!(all.len(), 1, "README.md shows one script");
    all[0].into()
}

/// A crash: memory of process 4711 beside that of another, and a store. In directories of their own.
struct CrashFixture {
    dir: tempfile::TempDir,
}

impl CrashFixture {
    fn new() -> CrashFixture {
        let crash = CrashFixture { dir: shm_dir() };
        for name in ["shm", "store", "run"] {
            fs::create_dir(crash.path(name)).unwrap();
        }
        fs::set_permissions(crash.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(crash.path("collect"), include_str!("collect.sh")).unwrap();
        crash
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn memory(&self, name: &OsStr) -> PathBuf {
        self.path("shm").join(name)
    }

    /// Runs it without limits and without a queue.
    fn run(&self, words: &[&str]) -> Output {
        run(self.command().args(words).env("LIMITS", ""))
    }

    /// The command without its words, with the limits that the script has.
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command.arg(self.path("collect")).env("LC_ALL", "C");
        self.set_variables(&mut command);
        command
    }

    fn set_variables(&self, command: &mut Command) {
        command
            .env("SHM", self.path("shm"))
            .env("STORE", self.path("store"))
            .env("MMAPCP", &*MMAPCP);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("store/log")).unwrap()
    }

    /// What the store holds beside its log.
    fn stored(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = fs::read_dir(self.path("store"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("log"))
            .collect();
        all.sort();
        all
    }
}

/// Names that scripts stumble over.
const ODD_NAMES: [&[u8]; 6] = [
    b"heap.4711",
    b"-rf.4711",
    b"two words; $(touch bad).4711",
    b"new\nline.4711",
    b"\xff\xfe.4711",
    b".hidden.4711",
];

fn names_in(dir: &Path) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .collect();
    all.sort();
    all
}

#[test]
fn it_collects_what_a_process_left() {
    let crash = CrashFixture::new();
    for name in ODD_NAMES {
        make_dump(
            &crash.memory(OsStr::from_bytes(name)),
            MIB,
            &[(0, 8192), (MIB - 512, 512)],
        );
    }
    fs::write(crash.memory("other.12".as_ref()), "of another").unwrap();
    let heap = crash.memory("heap.4711".as_ref());
    fs::set_permissions(&heap, fs::Permissions::from_mode(0o640)).unwrap();
    let output = crash.run(&["4711"]);
    assert_exit(&output, 0);
    assert_eq!(
        describe_output(&output),
        "exit status: 0\nstdout: \nstderr: "
    );
    let stored = crash.stored();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let mut wanted: Vec<Vec<u8>> = ODD_NAMES.iter().map(|name| name.to_vec()).collect();
    wanted.sort();
    assert_eq!(names_in(&stored[0]), wanted);
    for name in ODD_NAMES {
        let name = OsStr::from_bytes(name);
        assert_same_content(&crash.memory(name), &stored[0].join(name), "collected");
    }
    let (old, new) = (
        fs::metadata(&heap).unwrap(),
        fs::metadata(stored[0].join("heap.4711")).unwrap(),
    );
    assert_eq!(
        (old.mode(), old.mtime_nsec()),
        (new.mode(), new.mtime_nsec())
    );
    assert!(crash.log().contains("4711: collected 6"), "{}", crash.log());
    assert!(!crash.path("bad").exists());
}

/// Anybody may make names in /dev/shm, and root must not read for them what they cannot.
#[test]
fn it_follows_no_link_and_waits_for_no_pipe() {
    let crash = CrashFixture::new();
    fs::write(crash.path("secret"), "secret").unwrap();
    symlink("../secret", crash.memory("link.4711".as_ref())).unwrap();
    let pipe = crash.memory("pipe.4711".as_ref());
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = crash.run(&["4711"]);
    assert_exit(&output, 0);
    let stored = crash.stored();
    let link = fs::symlink_metadata(stored[0].join("link.4711")).unwrap();
    assert!(link.file_type().is_symlink());
}

#[test]
fn it_says_what_failed() {
    let crash = CrashFixture::new();
    for words in [&[][..], &["x"], &["1", "2"], &["../1"]] {
        assert_eq!(crash.run(words).status.code(), Some(2), "{words:?}");
    }
    let output = crash.run(&["4711"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "nothing to collect: {}",
        describe_output(&output)
    );
    assert_eq!(crash.stored().len(), 0);
    assert!(crash.log().contains("4711: nothing"), "{}", crash.log());
    // A file that is larger than any disk: what there is of it stays out of sight, and the rest is kept.
    fs::write(crash.memory("good.4711".as_ref()), "good").unwrap();
    let bad = crash.memory("bad.4711".as_ref());
    fs::create_dir(&bad).unwrap();
    fs::write(bad.join("in"), "in").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -f 4; exec sh \"$@\"", "sh"])
        .arg(crash.path("collect"))
        .arg("4711")
        .env("LIMITS", "");
    command
        .env("SHM", crash.path("shm"))
        .env("STORE", crash.path("store"));
    command.env("MMAPCP", &*MMAPCP).env("LC_ALL", "C");
    make_dense_dump(&crash.memory("large.4711".as_ref()), MIB);
    let output = run(&mut command);
    assert_exit(&output, 1);
    let log = crash.log();
    assert!(log.contains("File too large"), "{log}");
    assert!(log.contains("4711: incomplete"), "{log}");
    let stored = crash.stored();
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert!(stored[0].to_string_lossy().ends_with(".part"), "{stored:?}");
    assert_eq!(
        names_in(&stored[0]),
        [b"bad.4711".to_vec(), b"good.4711".to_vec()]
    );
}

/// Many processes crash at once, and each starts a collector with the limits of the script.
#[test]
fn a_storm_of_collectors_loses_nothing() {
    if !can_have_own_queues_or_skip("a storm of collectors") {
        return;
    }
    let crash = CrashFixture::new();
    let pids: Vec<String> = (4700..4708).map(|pid: u32| pid.to_string()).collect();
    for pid in &pids {
        let heap = crash.memory(format!("heap.{pid}").as_ref());
        make_dense_dump(&heap, MIB);
        fs::write(crash.memory(format!("stack.{pid}").as_ref()), pid).unwrap();
    }
    let start = |pid: &String| {
        let mut command = with_own_queues(&crash.path("run"), Path::new("/bin/sh"));
        crash.set_variables(&mut command);
        Running::start(command.arg(crash.path("collect")).arg(pid))
    };
    let collectors: Vec<Running> = pids.iter().map(start).collect();
    for collector in collectors {
        let output = collector.finish();
        assert_exit(&output, 0);
    }
    let stored = crash.stored();
    assert_eq!(stored.len(), pids.len(), "{stored:?}");
    for (pid, dir) in pids.iter().zip(stored) {
        for name in ["heap", "stack"] {
            let name = format!("{name}.{pid}");
            let source = crash.memory(name.as_ref());
            assert_same_content(&source, &dir.join(&name), "collected");
        }
    }
}

#[test]
fn it_keeps_the_beginning_of_what_has_no_room() {
    let crash = CrashFixture::new();
    make_dense_dump(&crash.memory("large.4711".as_ref()), MIB);
    fs::write(crash.memory("small.4711".as_ref()), "small").unwrap();
    let mut command = crash.command();
    let output = run(command.arg("4711").env("LIMITS", "--max-size=256K"));
    assert_exit(&output, 3);
    let stored = crash.stored();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let names = ["large.4711.part", "large.4711.part.map", "small.4711"];
    assert_eq!(
        names_in(&stored[0]),
        names.map(|name| name.as_bytes().to_vec())
    );
    let part = fs::metadata(stored[0].join("large.4711.part")).unwrap();
    assert_eq!(part.len(), 256 << 10);
    assert!(crash.log().contains("4711: cut"), "{}", crash.log());
}

#[test]
fn it_gives_memory_back_where_that_is_allowed() {
    let crash = CrashFixture::new();
    let heap = crash.memory("heap.4711".as_ref());
    make_dense_dump(&heap, MIB);
    let copy = fs::read(&heap).unwrap();
    let mut command = crash.command();
    let output = run(command.arg("4711").env("LIMITS", "").env("DRAIN", "1"));
    let stored = crash.stored();
    // A store in memory cannot be trusted to have what is written to it.
    assert_exit(&output, 1);
    assert_eq!(fs::read(&heap).unwrap(), copy, "{stored:?}");
    fs::remove_dir_all(crash.path("store")).unwrap();
    let disk = disk_dir();
    std::os::unix::fs::symlink(disk.path(), crash.path("store")).unwrap();
    let mut command = crash.command();
    let output = run(command.arg("4711").env("LIMITS", "").env("DRAIN", "1"));
    assert_exit(&output, 0);
    assert!(!heap.exists());
    let stored = crash.stored();
    assert_eq!(fs::read(stored[0].join("heap.4711")).unwrap(), copy);
}

/// A file of which there is only room for the beginning; a file system of its own would need root.
#[test]
fn the_short_one_of_the_readme_keeps_the_beginning_of_what_has_no_room() {
    if !can_have_own_queues_or_skip("the collector of the README, with a file that is cut") {
        return;
    }
    let crash = CrashFixture::new();
    let script = readme_script();
    let limited = script.replace("--keep-free=15%", "--max-size=64K");
    assert_ne!(script, limited);
    fs::write(crash.path("short"), limited).unwrap();
    make_dense_dump(&crash.memory("heap.4711".as_ref()), MIB);
    let bin = Path::new(&*MMAPCP).parent().unwrap();
    let mut command = with_own_queues(&crash.path("run"), Path::new("/bin/sh"));
    crash.set_variables(&mut command);
    command.arg(crash.path("short")).arg("4711");
    let output = run(command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())));
    assert_exit(&output, 3);
    let stored = crash.stored();
    assert_eq!(stored.len(), 1, "{stored:?}");
    let names = ["heap.4711.part", "heap.4711.part.map"];
    assert_eq!(
        names_in(&stored[0]),
        names.map(|name| name.as_bytes().to_vec())
    );
}

/// By its name in PATH, as the script calls it.
#[test]
fn the_short_one_of_the_readme_keeps_all_or_names_nothing_complete() {
    if !can_have_own_queues_or_skip("the collector of the README") {
        return;
    }
    let crash = CrashFixture::new();
    fs::write(crash.path("short"), readme_script()).unwrap();
    fs::write(crash.memory(OsStr::new("heap.4711")), "heap").unwrap();
    fs::write(crash.memory(OsStr::new("heap.4712")), "another's").unwrap();
    let collect = |pid: &str| {
        let bin = Path::new(&*MMAPCP).parent().unwrap();
        let mut command = with_own_queues(&crash.path("run"), Path::new("/bin/sh"));
        crash.set_variables(&mut command);
        command.arg(crash.path("short")).arg(pid);
        run(command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())))
    };
    assert_eq!(collect("4711").status.code(), Some(0));
    assert!(
        !collect("4713").status.success(),
        "there is nothing to keep"
    );
    let mut kept = names_in(&crash.path("store"));
    kept.sort();
    let [of_4711, of_4713] = &kept[..] else {
        panic!("{kept:?}");
    };
    assert!(of_4711.starts_with(b"4711.") && !of_4711.ends_with(b".part"));
    assert!(of_4713.ends_with(b".part"), "{kept:?}");
    let dir = crash.path("store").join(OsStr::from_bytes(of_4711));
    assert_eq!(fs::read(dir.join("heap.4711")).unwrap(), b"heap");
    assert_eq!(
        fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
}
