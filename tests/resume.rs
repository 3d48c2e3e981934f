//! `--resume`: an interrupted copy goes on where it was on the disk, and what does not match is said and copied anew.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::*;

/// The file beside a destination that says how far its copy is.
fn state_of(dest: &Path) -> PathBuf {
    let name = dest.file_name().unwrap().display();
    dest.with_file_name(format!(".{name}.mmapcp-state"))
}

/// The offset up to which a state says that the copy is on the disk.
fn durable(dest: &Path) -> Option<u64> {
    let text = fs::read_to_string(state_of(dest)).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("durable "))?;
    line.parse().ok()
}

/// Names in the directory of a destination.
fn names_beside(dest: &Path) -> Vec<String> {
    let entries = fs::read_dir(dest.parent().unwrap()).unwrap().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Starts a slow copy and ends it with a signal when its device has more than `bytes`.
fn interrupt(pair: &CopyFixture, options: &[&str], bytes: u64) {
    let log = pair.shm.path().join("log");
    let words = [&["--resume", "--json", "--limit-rate=16M"], options].concat();
    let running = Running::start_to(&mut pair.command(&words), File::create(&log).unwrap());
    wait_until("the copy has come so far", || {
        let text = fs::read_to_string(&log).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter_map(|event| event["copied"].as_u64())
            .any(|copied| copied > bytes)
    });
    running.signal(Signal::SIGTERM);
    assert_signal(&running.finish(), libc::SIGTERM);
    fs::remove_file(log).unwrap();
}

/// Completes a copy and returns what `done` says, and what was said beside.
fn resume(pair: &CopyFixture, options: &[&str]) -> (Value, String) {
    let words = [&["--resume", "--json"], options].concat();
    let output = run(&mut pair.command(&words));
    assert_exit(&output, 0);
    let events = parse_events(&output);
    assert_same_content(&pair.source(), &pair.destination(), &format!("{words:?}"));
    assert_eq!(
        names_beside(&pair.destination()),
        ["copy"],
        "{words:?}: nothing is left"
    );
    (
        only_event(&events, "done").clone(),
        lossy_string(&output.stderr),
    )
}

const SIZE: u64 = 48 * MIB + 77;

#[test]
fn a_signal_is_gone_on_from_in_place_and_with_atomic_by_every_engine() {
    for engine in [
        "mmap",
        "splice",
        "direct",
        "dontcache",
        "sendfile",
        "buffered",
    ] {
        for options in [&[][..], &["--atomic"]] {
            let pair = CopyFixture::new(SIZE);
            let engine = format!("--engine={engine}");
            let options = [&[engine.as_str()], options].concat();
            interrupt(&pair, &options, 8 * MIB);
            let state = fs::metadata(state_of(&pair.destination())).unwrap();
            assert_eq!(state.mode() & 0o777, 0o600, "{options:?}");
            let reached = durable(&pair.destination()).unwrap();
            assert!(reached >= 8 * MIB, "{options:?}: {reached}");
            let is_atomic = options.contains(&"--atomic");
            assert_eq!(pair.destination().exists(), !is_atomic, "{options:?}");
            let (done, said) = resume(&pair, &options);
            let moved = done["data_bytes"].as_u64().unwrap();
            assert!(
                moved <= SIZE.next_multiple_of(4096) - reached,
                "{options:?}: {moved}"
            );
            assert!(said.is_empty(), "{options:?}: {said}");
        }
    }
}

/// The mode of a new file is that of its source also where the copy was completed by another run, and its checksum is that
/// of all bytes.
#[test]
fn what_is_completed_has_its_mode_and_its_digest() {
    for option in ["--atomic", "--fsync"] {
        let pair = CopyFixture::new(SIZE);
        fs::set_permissions(pair.source(), fs::Permissions::from_mode(0o640)).unwrap();
        interrupt(&pair, &[option], 4 * MIB);
        let (done, _) = resume(&pair, &[option, "--verify", "--checksum=blake3"]);
        let digest = blake3::hash(&fs::read(pair.source()).unwrap());
        assert_eq!(done["checksum"], digest.to_hex().as_str(), "{option}");
        assert_eq!(done["verified_why"].is_null(), done["verified"] == "direct");
        let mode = fs::metadata(pair.destination()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o640 & !umask(), "{option}");
    }
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}

#[test]
fn a_kill_costs_no_more_than_one_step() {
    for options in [&[][..], &["--atomic"]] {
        let size = 200 * MIB + 5;
        let pair = CopyFixture::new(size);
        let words = [&["--resume", "--limit-rate=128M"], options].concat();
        let running = Running::start(&mut pair.command(&words));
        wait_until("a step is on the disk", || {
            durable(&pair.destination()) >= Some(64 * MIB)
        });
        running.signal(Signal::SIGKILL);
        assert_signal(&running.finish(), libc::SIGKILL);
        let reached = durable(&pair.destination()).unwrap();
        let (done, said) = resume(&pair, options);
        let moved = done["data_bytes"].as_u64().unwrap();
        assert!(
            moved <= size.next_multiple_of(4096) - reached,
            "{options:?}: {moved}"
        );
        assert!(said.is_empty(), "{said}");
    }
}

#[test]
fn holes_stay_holes() {
    let pair = CopyFixture::new(0);
    let extents = [(0, 12 * MIB), (30 * MIB, 4 * MIB), (60 * MIB, 20 * MIB)];
    make_dump(&pair.source(), 100 * MIB, &extents);
    let before = allocated_bytes(&pair.source());
    interrupt(&pair, &[], 32 * MIB);
    resume(&pair, &[]);
    assert_eq!(data_bytes(&pair.destination()), 36 * MIB);
    assert_eq!(allocated_bytes(&pair.source()), before, "the source grew");
}

/// Something that happens between the two runs, and the words of the warning.
type Between = (&'static str, fn(&CopyFixture));

fn edit_state(pair: &CopyFixture, edit: impl Fn(String) -> String) {
    let path = state_of(&pair.destination());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, edit(text)).unwrap();
}

const BETWEEN: [Between; 9] = [
    ("the source has changed", |pair| {
        append(&pair.source(), b"more")
    }),
    ("the source has changed", |pair| {
        let file = File::options().write(true).open(pair.source()).unwrap();
        file.write_all_at(b"other", 0).unwrap();
    }),
    ("is damaged", |pair| {
        edit_state(pair, |text| text.replace("durable ", "durable 1"))
    }),
    ("is damaged", |pair| {
        edit_state(pair, |_| "x".repeat(100_000))
    }),
    ("a newer version", |pair| {
        edit_state(pair, |text| {
            text.replacen("mmapcp-state 1", "mmapcp-state 2", 1)
        });
    }),
    ("no file that only this user can write to", |pair| {
        let path = state_of(&pair.destination());
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    }),
    ("no file that only this user can write to", |pair| {
        let (path, other) = (state_of(&pair.destination()), pair.shm.path().join("other"));
        fs::copy(&path, &other).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
    }),
    ("become shorter", |pair| {
        let file = File::options()
            .write(true)
            .open(pair.destination())
            .unwrap();
        file.set_len(MIB).unwrap();
    }),
    ("not there any more", |pair| {
        let moved = pair.disk.path().join("moved");
        fs::rename(pair.destination(), &moved).unwrap();
        fs::write(pair.destination(), vec![7; 60 << 20]).unwrap();
        fs::remove_file(moved).unwrap();
    }),
];

#[test]
fn what_does_not_match_is_said_and_copied_anew() {
    for (words, change) in BETWEEN {
        let pair = CopyFixture::new(SIZE);
        interrupt(&pair, &[], 8 * MIB);
        change(&pair);
        let (done, said) = resume(&pair, &[]);
        assert!(
            said.contains("is copied anew: ") && said.contains(words),
            "{words}: {said}"
        );
        let size = fs::metadata(pair.source()).unwrap().len();
        assert!(done["data_bytes"].as_u64() >= Some(size), "{words}");
    }
}

#[test]
fn a_planted_link_is_replaced_and_not_written_through() {
    let pair = CopyFixture::new(SIZE);
    let victim = pair.shm.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, state_of(&pair.destination())).unwrap();
    let next = pair.destination().with_file_name(".copy.mmapcp-state~");
    symlink(&victim, &next).unwrap();
    let (_, said) = resume(&pair, &[]);
    assert!(said.contains("is copied anew"), "{said}");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_flipped_byte_in_the_part_is_found_by_verify() {
    let pair = CopyFixture::new(SIZE);
    interrupt(&pair, &[], 8 * MIB);
    let file = File::options()
        .read(true)
        .write(true)
        .open(pair.destination())
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 5 * MIB + 3).unwrap();
    file.write_all_at(&[!byte[0]], 5 * MIB + 3).unwrap();
    let output = run(&mut pair.command(&["--resume", "--verify"]));
    assert_exit(&output, 1);
    let said = lossy_string(&output.stderr);
    assert!(
        said.contains(&format!("from byte {} on", 5 * MIB + 3)),
        "{said}"
    );
    // The part is not trusted again.
    let (done, _) = resume(&pair, &["--verify"]);
    assert!(done["data_bytes"].as_u64() >= Some(SIZE));
}

#[test]
fn a_tree_skips_what_its_states_say_is_whole() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let (from, to) = (shm.path().join("from"), disk.path().join("to"));
    fs::create_dir_all(from.join("sub")).unwrap();
    for name in ["a", "sub/b"] {
        make_dense_dump(&from.join(name), 100 * KIB);
    }
    make_dense_dump(&from.join("large"), 40 * MIB);
    let copy = |options: &[&str]| {
        let mut command = mmapcp();
        command
            .args(["-rT", "--resume", "--json", "--jobs=2"])
            .args(options);
        command.arg(&from).arg(&to);
        command
    };
    let running = Running::start(&mut copy(&["--limit-rate=8M"]));
    let is_whole = |name: &str| {
        let state = state_of(&to.join(name));
        fs::read_to_string(state).is_ok_and(|text| text.contains("\nwhole "))
    };
    wait_until("two files are whole, and the large one is begun", || {
        is_whole("a") && is_whole("sub/b") && has_written_bytes(&to.join("large"))
    });
    running.signal(Signal::SIGKILL);
    assert_signal(&running.finish(), libc::SIGKILL);
    // One of them is changed, and is no longer what the state says.
    append(&to.join("sub/b"), b"more");
    let manifest = disk.path().join("manifest");
    let option = format!("--manifest={}", manifest.display());
    let output = run(&mut copy(&[&option]));
    assert_exit(&output, 0);
    let checked = run(Command::new("sha256sum")
        .args(["-c", "manifest"])
        .current_dir(disk.path()));
    assert_exit(&checked, 0);
    assert_eq!(
        lossy_string(&checked.stdout).lines().count(),
        3,
        "skipped ones have lines"
    );
    let events = parse_events(&output);
    let done = events.iter().filter(|event| event["event"] == "done");
    let mut copied: Vec<_> = done
        .map(|event| event["source"].as_str().unwrap())
        .collect();
    copied.sort_unstable();
    let want = ["large", "sub/b"].map(|name| from.join(name).display().to_string());
    assert_eq!(copied, want);
    for name in ["a", "sub/b", "large"] {
        assert_same_content(&from.join(name), &to.join(name), name);
        let left = names_beside(&to.join(name));
        assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
    }
}

/// Expects an error with these words, before anything is written.
#[test]
fn a_part_stays_if_the_next_run_fails_before_its_first_byte() {
    for options in [&[][..], &["--atomic"]] {
        let pair = CopyFixture::new(SIZE);
        interrupt(&pair, options, 8 * MIB);
        let reached = durable(&pair.destination()).unwrap();
        let writer = File::options().write(true).open(pair.source()).unwrap();
        let words = [&["--resume", "--require-quiescent"], options].concat();
        let output = run(&mut pair.command(&words));
        assert_exit(&output, 1);
        drop(writer);
        assert_eq!(durable(&pair.destination()), Some(reached), "{options:?}");
        let (done, said) = resume(&pair, options);
        let moved = done["data_bytes"].as_u64().unwrap();
        assert!(moved <= SIZE.next_multiple_of(4096) - reached, "{moved}");
        assert!(said.is_empty(), "{said}");
    }
}

/// ext4 gives the inode number of a removed file to the next one.
#[test]
fn another_file_in_place_of_the_part_is_no_part() {
    let pair = CopyFixture::new(SIZE);
    interrupt(&pair, &[], 8 * MIB);
    fs::remove_file(pair.destination()).unwrap();
    fs::write(pair.destination(), vec![b'x'; SIZE as usize]).unwrap();
    resume(&pair, &[]);
}

#[test]
fn two_runs_do_not_write_to_one_file() {
    let pair = CopyFixture::new(SIZE);
    let first = Running::start(&mut pair.command(&["--resume", "--limit-rate=16M"]));
    wait_until("bytes", || has_written_bytes(&pair.destination()));
    let second = run(&mut pair.command(&["--resume"]));
    assert_exit(&second, 1);
    assert_exit(&first.finish(), 0);
    assert_same_content(&pair.source(), &pair.destination(), "the first");
    assert_eq!(names_beside(&pair.destination()), ["copy"]);
}

#[test]
fn a_destination_with_the_name_of_a_state_is_refused() {
    let pair = CopyFixture::new(4096);
    for name in [".core.mmapcp-state", ".core.mmapcp-state~"] {
        let dest = pair.destination().with_file_name(name);
        let output = run(mmapcp().arg("--resume").arg(pair.source()).arg(&dest));
        assert_exit(&output, 1);
        let said = lossy_string(&output.stderr);
        assert!(said.contains("its name is that of a state"), "{said}");
        assert!(!dest.exists());
    }
}

fn assert_refused(output: &Output, words: &str) {
    assert_exit(output, 1);
    let said = lossy_string(&output.stderr);
    assert!(said.contains(words), "{said}");
}

#[test]
fn what_cannot_go_on_is_refused() {
    let pair = CopyFixture::new(100);
    let script = format!(
        "cat '{}' | \"$0\" --resume /dev/stdin '{}'",
        pair.source().display(),
        pair.destination().display()
    );
    let output = run(Command::new("sh").args(["-c", &script]).arg(&*MMAPCP));
    assert_refused(&output, "it is no regular file");
    assert!(!pair.destination().exists());
    let output = run(mmapcp().arg("--resume").arg(pair.source()).arg("/dev/null"));
    assert_refused(&output, "'/dev/null': it is no regular file");
    assert!(!Path::new("/dev/.null.mmapcp-state").exists());
    for with in [
        "--link",
        "--symbolic-link",
        "--attributes-only",
        "--backup",
        "--remove-destination",
        "--no-clobber",
        "--update",
        "--reflink=always",
    ] {
        let output = run(&mut pair.command(&["--resume", with]));
        assert_refused(
            &output,
            &format!("options --resume and {with} are mutually exclusive"),
        );
    }
}

#[test]
fn without_room_for_the_state_nothing_is_written() {
    let test = "without_room_for_the_state_nothing_is_written";
    if !is_root_or_skip(test) {
        return;
    }
    let (bin_dir, bin) = public_bin_dir();
    let pair = CopyFixture::new(100);
    if !is_reachable_or_skip(test, pair.disk.path()) {
        return;
    }
    fs::write(pair.destination(), "old").unwrap();
    fs::set_permissions(pair.destination(), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(pair.disk.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(bin.join("mmapcp"));
    command
        .arg("--resume")
        .arg(pair.source())
        .arg(pair.destination());
    let output = run(as_nobody(&mut command));
    assert_refused(&output, "cannot write the record");
    assert_eq!(fs::read(pair.destination()).unwrap(), b"old");
    drop(bin_dir);
}
