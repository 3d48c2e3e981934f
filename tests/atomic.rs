//! `--atomic`: the destination is the old file or the whole new one, whatever ends the run; and nothing else is left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tempfile::TempDir;

use crate::seccomp_filter::{
    DeniedSyscall, run_with_denied, start_with_denied, with_denied_syscalls,
};
use crate::seeded_rng::SeededRng;
use crate::support::*;

/// Several chunks and a tail that is no whole block.
const SIZE: u64 = 3 * MIB + 77;

const OLD: &[u8] = b"the old file";

/// The name that a file has beside the destination.
const TEMP_NAME: &str = ".dest.mmapcp-1";

/// How the new file is kept from sight: without a name, or with one beside, as where there are no unnamed files.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TempFileKind {
    Unnamed,
    Named,
}

const TEMP_FILE_KINDS: [TempFileKind; 2] = [TempFileKind::Unnamed, TempFileKind::Named];

/// A source in memory, and a directory with a destination and nothing else.
struct AtomicFixture {
    from: TempDir,
    to: TempDir,
}

impl AtomicFixture {
    fn new(to: TempDir) -> AtomicFixture {
        let from = shm_dir();
        make_dense_dump(&from.path().join("source"), SIZE);
        let scene = AtomicFixture { from, to };
        fs::write(scene.dest(), OLD).unwrap();
        scene
    }

    fn on_disk() -> AtomicFixture {
        AtomicFixture::new(disk_dir())
    }

    fn source(&self) -> PathBuf {
        self.from.path().join("source")
    }

    fn dest(&self) -> PathBuf {
        self.to.path().join("dest")
    }

    /// A FIFO as source: the copy is in the middle for as long as the test wants.
    fn fifo(&self) -> PathBuf {
        let fifo = self.from.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        fifo
    }

    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(self.to.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    fn command(&self) -> Command {
        copy(&self.source(), &self.dest())
    }

    fn assert_old_and_alone(&self, context: &str) {
        assert_eq!(fs::read(self.dest()).unwrap(), OLD, "{context}");
        assert_eq!(self.names(), ["dest"], "{context}");
    }

    fn assert_new_and_alone(&self, context: &str) {
        assert_same_content(&self.source(), &self.dest(), context);
        assert_eq!(self.names(), ["dest"], "{context}");
    }
}

fn copy(source: &Path, dest: &Path) -> Command {
    let mut command = mmapcp();
    command.arg("--atomic").arg(source).arg(dest);
    command
}

fn start(way: TempFileKind, mut command: Command) -> Running {
    match way {
        TempFileKind::Unnamed => Running::start(&mut command),
        TempFileKind::Named => start_with_denied(
            &[DeniedSyscall::OTmpfile],
            Errno::EOPNOTSUPP as i32,
            command,
        ),
    }
}

fn run_as(way: TempFileKind, command: Command) -> Output {
    start(way, command).finish()
}

fn assert_ok(output: &Output, context: &str) {
    assert_exit_in(output, 0, context);
}

fn assert_says(output: &Output, words: &str, context: &str) {
    assert_exit_in(output, 1, context);
    let stderr = lossy_string(&output.stderr);
    assert!(
        stderr
            .lines()
            .any(|line| line == format!("mmapcp: {words}")),
        "{context}: {stderr}"
    );
}

/// A copy that has decided what to do, has its file, and waits for more than `part`; what is written to the pipe comes next.
fn midway(
    way: TempFileKind,
    scene: &AtomicFixture,
    options: &[&str],
    part: &[u8],
) -> (Running, File) {
    let fifo = scene.fifo();
    let mut command = mmapcp();
    command
        .arg("--atomic")
        .args(options)
        .arg(&fifo)
        .arg(scene.dest());
    let running = start(way, command);
    // This waits for the reader, who has looked at the destination before.
    let mut pipe = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    pipe.write_all(part).unwrap();
    if way == TempFileKind::Named {
        retry_until_met("its file is there and locked", || {
            sleep(Duration::from_millis(5));
            holds_a_lock(&running)
        });
    }
    fs::remove_file(fifo).unwrap();
    (running, pipe)
}

fn holds_a_lock(running: &Running) -> bool {
    let pid = running.pid().to_string();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"FLOCK") && words.get(4) == Some(&pid.as_str())
    })
}

// ---------------------------------------------------------------- it is a copy

/// A row that cannot do this pair must leave all as it was; the others make the whole file.
#[test]
fn every_engine_makes_the_whole_file_or_nothing() {
    for engine in ENGINES {
        for to in [disk_dir(), shm_dir()] {
            for way in TEMP_FILE_KINDS {
                let scene = AtomicFixture::new(scratch(to.path()));
                let context = format!("{engine}, {way:?}, {}", to.path().display());
                let old = fs::metadata(scene.dest()).unwrap().ino();
                let mut command = scene.command();
                command.arg(format!("--engine={engine}"));
                let output = run_as(way, command);
                if output.status.success() {
                    scene.assert_new_and_alone(&context);
                    assert_ne!(fs::metadata(scene.dest()).unwrap().ino(), old, "{context}");
                } else {
                    scene.assert_old_and_alone(&context);
                }
            }
        }
    }
}

#[test]
fn over_a_file_and_to_a_new_name() {
    for to in [disk_dir(), shm_dir()] {
        for way in TEMP_FILE_KINDS {
            for existing in [true, false] {
                let scene = AtomicFixture::new(scratch(to.path()));
                if !existing {
                    fs::remove_file(scene.dest()).unwrap();
                }
                let context = format!("{way:?}, existing: {existing}");
                assert_ok(&run_as(way, scene.command()), &context);
                scene.assert_new_and_alone(&context);
            }
        }
    }
}

/// A new name gets the mode that cp gives it.
#[test]
fn the_mode_of_a_new_file_is_that_of_cp() {
    for way in TEMP_FILE_KINDS {
        for mode in [0o644, 0o600, 0o755, 0o4755, 0o444, 0o666] {
            for options in [&[][..], &["-p"]] {
                let scene = AtomicFixture::on_disk();
                fs::set_permissions(scene.source(), fs::Permissions::from_mode(mode)).unwrap();
                let beside = scene.from.path().join("cp");
                let mut cp = Command::new("/bin/cp");
                assert_ok(
                    &run(cp.args(options).arg(scene.source()).arg(&beside)),
                    "cp",
                );
                fs::remove_file(scene.dest()).unwrap();
                let mut command = scene.command();
                command.args(options);
                assert_ok(&run_as(way, command), "mmapcp");
                let bits = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
                assert_eq!(
                    bits(&scene.dest()),
                    bits(&beside),
                    "{way:?} {mode:o} {options:?}"
                );
            }
        }
    }
}

// ---------------------------------------------------------------- what is kept of the old file

/// Mode, owner and extended attributes of a file, as far as they are kept.
fn look(path: &Path) -> (u32, u32, u32, BTreeMap<OsString, Vec<u8>>) {
    let meta = fs::metadata(path).unwrap();
    let attributes = xattr::list(path)
        .unwrap()
        .map(|name| {
            let value = xattr::get(path, &name).unwrap().unwrap();
            (name, value)
        })
        .collect();
    (meta.mode(), meta.uid(), meta.gid(), attributes)
}

/// Files made so by sh, overwritten by cp and replaced by mmapcp, look the same.
#[test]
fn a_replaced_file_looks_as_an_overwritten_one() {
    let test = "a_replaced_file_looks_as_an_overwritten_one";
    if !is_root_or_skip(test) || !has_tools_or_skip(test, &["setfacl", "setfattr"]) {
        return;
    }
    let makings = [
        "chmod 640 $F",
        "chown 1234:4321 $F; chmod 4751 $F",
        "setfattr -n user.note -v kept $F; setfattr -n trusted.note -v kept $F",
        "setfacl -m u:1234:rw,g:99:r $F",
        "setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 $F",
        "chmod 0 $F",
    ];
    for making in makings {
        for options in ["", "-p", "--preserve=mode", "--preserve=xattr"] {
            for way in TEMP_FILE_KINDS {
                let scene = AtomicFixture::on_disk();
                // What the directory gives to new files is not for one that takes the place of an old one.
                sh("setfacl -d -m u:77:rwx $F", scene.to.path());
                let beside = scene.to.path().join("cp");
                fs::write(&beside, OLD).unwrap();
                for file in [&beside, &scene.dest()] {
                    sh("setfacl -b $F; chmod 644 $F", file);
                    sh(making, file);
                }
                let words: Vec<&str> = options.split_whitespace().collect();
                let mut cp = Command::new("/bin/cp");
                assert_ok(&run(cp.args(&words).arg(scene.source()).arg(&beside)), "cp");
                if matches!(options, "-p" | "--preserve=mode") {
                    // What cp 9.1 leaves there of the old mode, and the newest does not.
                    sh("chmod ug-s $F", &beside);
                }
                let mut command = scene.command();
                command.args(&words);
                let context = format!("{making} {options} {way:?}");
                assert_ok(&run_as(way, command), &context);
                assert_eq!(look(&scene.dest()), look(&beside), "{context}");
                assert_same_content(&scene.source(), &scene.dest(), &context);
            }
        }
    }
}

fn sh(script: &str, file: &Path) {
    let output = run(Command::new("sh").args(["-ec", script]).env("F", file));
    assert_ok(&output, script);
}

#[test]
fn other_links_of_the_old_file_keep_it() {
    let scene = AtomicFixture::on_disk();
    let other = scene.from.path().join("..").join("other");
    let other = scene.to.path().join(other.file_name().unwrap());
    fs::hard_link(scene.dest(), &other).unwrap();
    assert_ok(&run(&mut scene.command()), "a file with two links");
    assert_same_content(&scene.source(), &scene.dest(), "a file with two links");
    assert_eq!(fs::read(other).unwrap(), OLD);
}

/// An owner that cannot be kept is a reason to leave the file alone.
#[test]
fn what_cannot_be_kept_is_an_error() {
    if !is_root_or_skip("what_cannot_be_kept_is_an_error") {
        return;
    }
    let (place, bin) = public_bin_dir();
    let scene = AtomicFixture::new(scratch(place.path()));
    fs::set_permissions(scene.from.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(scene.dest(), fs::Permissions::from_mode(0o666)).unwrap();
    let mut command = Command::new(bin.join("mmapcp"));
    command.args(["--atomic".as_ref(), scene.source().as_os_str()]);
    let output = run(as_nobody(command.arg(scene.dest()).env("LC_ALL", "C")));
    let words = format!(
        "cannot replace '{}' atomically: its owner cannot be kept: Operation not permitted",
        scene.dest().display()
    );
    assert_says(&output, &words, "a file of root");
    scene.assert_old_and_alone("a file of root");
}

#[test]
fn what_may_not_be_written_is_replaced_only_by_force() {
    if !is_root_or_skip("what_may_not_be_written_is_replaced_only_by_force") {
        return;
    }
    let (place, bin) = public_bin_dir();
    let scene = AtomicFixture::new(scratch(place.path()));
    fs::set_permissions(scene.dest(), fs::Permissions::from_mode(0o444)).unwrap();
    chown(scene.dest(), Some(NOBODY), Some(NOBODY)).unwrap();
    let run_with = |option: &str| {
        let mut command = Command::new(bin.join("mmapcp"));
        command.args(["--atomic", option]).arg(scene.source());
        run(as_nobody(command.arg(scene.dest()).env("LC_ALL", "C")))
    };
    let words = format!(
        "cannot create regular file '{}': Permission denied",
        scene.dest().display()
    );
    assert_says(&run_with("-v"), &words, "without force");
    scene.assert_old_and_alone("without force");
    assert_ok(&run_with("-f"), "with force");
    scene.assert_new_and_alone("with force");
}

#[test]
fn a_running_program_is_replaced() {
    let scene = AtomicFixture::on_disk();
    fs::copy("/bin/sleep", scene.dest()).unwrap();
    let mut sleeper = Command::new(scene.dest()).arg("60").spawn().unwrap();
    let output = run(&mut scene.command());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_ok(&output, "a running program");
    scene.assert_new_and_alone("a running program");
}

// ---------------------------------------------------------------- links, and what is no file

#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    for way in TEMP_FILE_KINDS {
        let scene = AtomicFixture::on_disk();
        let dir = scene.to.path();
        let below = dir.join("below");
        fs::create_dir(&below).unwrap();
        fs::rename(scene.dest(), below.join("file")).unwrap();
        // An absolute link to a link in a directory that is reached through a link.
        symlink("below", dir.join("through")).unwrap();
        symlink("file", below.join("near")).unwrap();
        symlink(dir.join("through/near"), scene.dest()).unwrap();
        assert_ok(&run_as(way, scene.command()), "through links");
        assert_eq!(
            fs::read_link(scene.dest()).unwrap(),
            dir.join("through/near")
        );
        assert_eq!(
            fs::read_link(below.join("near")).unwrap(),
            Path::new("file")
        );
        assert_same_content(&scene.source(), &below.join("file"), "through links");
        assert_eq!(fs::read_dir(&below).unwrap().count(), 2, "{way:?}");
        assert_eq!(scene.names(), ["below", "dest", "through"], "{way:?}");
    }
}

#[test]
fn dangling_links() {
    let scene = AtomicFixture::on_disk();
    fs::remove_file(scene.dest()).unwrap();
    symlink("nowhere", scene.dest()).unwrap();
    let words = format!(
        "not writing through dangling symlink '{}'",
        scene.dest().display()
    );
    assert_says(&run(&mut scene.command()), &words, "as cp");
    assert_eq!(scene.names(), ["dest"]);
    assert_ok(
        &run(scene.command().env("POSIXLY_CORRECT", "1")),
        "as POSIX",
    );
    assert_same_content(
        &scene.source(),
        &scene.to.path().join("nowhere"),
        "as POSIX",
    );
    assert_eq!(scene.names(), ["dest", "nowhere"]);
}

#[test]
fn what_is_no_file_is_refused() {
    let scene = AtomicFixture::on_disk();
    let dir = scene.to.path();
    nix::unistd::mkfifo(&dir.join("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    let mut names = vec!["fifo", "socket"];
    if nix::unistd::geteuid().is_root() {
        // A block device that nobody has, and /dev/null under another name.
        mknod(
            &dir.join("block"),
            SFlag::S_IFBLK,
            Mode::S_IRWXU,
            makedev(0, 0),
        )
        .unwrap();
        mknod(
            &dir.join("null"),
            SFlag::S_IFCHR,
            Mode::S_IRWXU,
            makedev(1, 3),
        )
        .unwrap();
        names.extend(["block", "null"]);
    }
    symlink("fifo", dir.join("link")).unwrap();
    names.push("link");
    let before = scene.names();
    for name in names {
        for option in ["-v", "-f"] {
            let dest = dir.join(name);
            let inode = fs::symlink_metadata(&dest).unwrap().ino();
            let output = run(copy(&scene.source(), &dest).arg(option));
            let words = format!(
                "cannot replace '{}' atomically: not a regular file",
                dest.display()
            );
            assert_says(&output, &words, name);
            assert_eq!(fs::symlink_metadata(&dest).unwrap().ino(), inode, "{name}");
            assert_eq!(scene.names(), before, "{name}");
        }
    }
    let output = run(copy(&scene.source(), dir).arg("-T"));
    let words = format!(
        "cannot overwrite directory '{}' with non-directory '{}'",
        dir.display(),
        scene.source().display()
    );
    assert_says(&output, &words, "a directory");
}

// ---------------------------------------------------------------- killed, stopped, refused

/// How many runs are killed; CI has little time, and an experiment asks for more.
fn kills() -> u64 {
    let asked = std::env::var("MMAPCP_KILLS").ok();
    asked.map_or(60, |text| text.parse().expect("a number in MMAPCP_KILLS"))
}

#[test]
fn killed_at_any_moment() {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let mut dice = SeededRng(seed);
    let scenes = [AtomicFixture::on_disk(), AtomicFixture::new(shm_dir())];
    let started = Instant::now();
    assert_ok(&run(&mut scenes[0].command()), "to learn how long it takes");
    let usual = started.elapsed().as_micros() as u64;
    let (mut replaced, mut left) = (0, 0);
    for n in 0..kills() {
        let scene = &scenes[(n % 2) as usize];
        let way = TEMP_FILE_KINDS[(n / 2 % 2) as usize];
        let existing = n / 4 % 3 != 0;
        let fsync = n / 12 % 2 == 0;
        let context = format!("kill {n}, {way:?}, existing: {existing}, seed {seed}");
        fs::remove_file(scene.dest()).unwrap();
        if existing {
            fs::write(scene.dest(), OLD).unwrap();
        }
        let mut command = scene.command();
        command.args(fsync.then_some("--fsync"));
        let running = start(way, command);
        sleep(Duration::from_micros(dice.below(usual * 3 / 2)));
        running.signal(Signal::SIGKILL);
        running.finish();
        match fs::read(scene.dest()) {
            Ok(bytes) if bytes == OLD && existing => {}
            Ok(_) => {
                assert_same_content(&scene.source(), &scene.dest(), &context);
                replaced += 1;
            }
            Err(e) => assert!(!existing, "{context}: {e}"),
        }
        let beside: Vec<_> = scene.names().into_iter().filter(|n| n != "dest").collect();
        assert!(
            beside.is_empty() || beside == [TEMP_NAME],
            "{context}: {beside:?}"
        );
        left += beside.len();
        if !beside.is_empty() || n % 8 == 0 {
            assert_ok(&run_as(way, scene.command()), &context);
            scene.assert_new_and_alone(&context);
        }
        if !scene.dest().exists() {
            fs::write(scene.dest(), OLD).unwrap();
        }
    }
    eprintln!(
        "{} kills: {replaced} complete, {left} left a file beside",
        kills()
    );
}

#[test]
fn a_signal_leaves_the_old_file_and_nothing_else() {
    for way in TEMP_FILE_KINDS {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            for existing in [true, false] {
                let scene = AtomicFixture::on_disk();
                if !existing {
                    fs::remove_file(scene.dest()).unwrap();
                }
                let (running, pipe) = midway(way, &scene, &[], &[7; 5000]);
                running.signal(signal);
                let output = running.finish();
                drop(pipe);
                let context = format!("{way:?} {signal} existing: {existing}");
                assert_eq!(output.status.signal(), Some(signal as i32), "{context}");
                if existing {
                    scene.assert_old_and_alone(&context);
                } else {
                    assert!(scene.names().is_empty(), "{context}: {:?}", scene.names());
                }
                let stderr = lossy_string(&output.stderr);
                assert!(
                    stderr.ends_with("is left as it was\n"),
                    "{context}: {stderr}"
                );
            }
        }
    }
}

/// What a killed run left is cleared by the next one, whose own name it is; what a living one has is not.
#[test]
fn temp_files_of_dead_processes_are_removed_and_of_live_ones_kept() {
    let scene = AtomicFixture::on_disk();
    let (killed, pipe) = midway(TempFileKind::Named, &scene, &[], b"part");
    assert_eq!(scene.names(), [TEMP_NAME, "dest"]);
    killed.signal(Signal::SIGKILL);
    killed.finish();
    drop(pipe);
    assert_eq!(scene.names(), [TEMP_NAME, "dest"]);

    let (living, mut pipe) = midway(TempFileKind::Named, &scene, &[], b"the last ");
    assert_eq!(scene.names(), [TEMP_NAME, "dest"]);
    for way in TEMP_FILE_KINDS {
        assert_ok(&run_as(way, scene.command()), "beside a living one");
        assert_same_content(&scene.source(), &scene.dest(), "beside a living one");
        assert_eq!(scene.names(), [TEMP_NAME, "dest"]);
    }
    pipe.write_all(b"one wins").unwrap();
    drop(pipe);
    assert_ok(&living.finish(), "the living one");
    assert_eq!(fs::read(scene.dest()).unwrap(), b"the last one wins");
    assert_eq!(scene.names(), ["dest"]);
}

/// Also when the first name was a living one's, so that the killed one had the second.
#[test]
fn a_leftover_of_the_second_name_is_cleared() {
    let scene = AtomicFixture::on_disk();
    let (first, first_pipe) = midway(TempFileKind::Named, &scene, &[], b"first");
    let (second, second_pipe) = midway(TempFileKind::Named, &scene, &[], b"second");
    assert_eq!(scene.names(), [TEMP_NAME, ".dest.mmapcp-2", "dest"]);
    second.signal(Signal::SIGKILL);
    second.finish();
    drop((first_pipe, second_pipe));
    assert_ok(&first.finish(), "the first");
    assert_eq!(scene.names(), [".dest.mmapcp-2", "dest"]);
    assert_ok(&run(&mut scene.command()), "the next");
    scene.assert_new_and_alone("the next");
}

#[test]
fn two_concurrent_copies_make_one_whole_file() {
    for way in TEMP_FILE_KINDS {
        for existing in [true, false] {
            for round in 0..10 {
                let scene = AtomicFixture::on_disk();
                let other = scene.from.path().join("other");
                make_dump(&other, SIZE, &[(MIB, MIB)]);
                if !existing {
                    fs::remove_file(scene.dest()).unwrap();
                }
                let both = [
                    start(way, scene.command()),
                    start(way, copy(&other, &scene.dest())),
                ];
                let outputs = both.map(Running::finish);
                let context = format!("{way:?}, existing: {existing}, round {round}");
                let done = outputs.iter().filter(|o| o.status.success()).count();
                // One may find the file replaced that it has looked at.
                assert!(done >= 1, "{context}: {outputs:?}");
                for refused in outputs.iter().filter(|o| !o.status.success()) {
                    let dest = scene.dest();
                    let words = if existing {
                        format!(
                            "not writing to '{}', as it was replaced while being copied to",
                            dest.display()
                        )
                    } else {
                        format!(
                            "cannot create regular file '{}': File exists",
                            dest.display()
                        )
                    };
                    assert_says(refused, &words, &context);
                }
                if first_difference(&other, &scene.dest()).is_some() {
                    assert_same_content(&scene.source(), &scene.dest(), &context);
                }
                assert_eq!(scene.names(), ["dest"], "{context}");
            }
        }
    }
}

/// A file that somebody makes in the meantime is not overwritten; with -n that is as if it had been there before.
#[test]
fn a_destination_that_appears_meanwhile_is_left() {
    for way in TEMP_FILE_KINDS {
        for option in ["-v", "-n"] {
            let scene = AtomicFixture::on_disk();
            fs::remove_file(scene.dest()).unwrap();
            let (running, pipe) = midway(way, &scene, &[option], b"late");
            fs::write(scene.dest(), OLD).unwrap();
            drop(pipe);
            let output = running.finish();
            let context = format!("{way:?} {option}");
            if option == "-n" {
                assert_ok(&output, &context);
                assert_eq!(lossy_string(&output.stderr), "", "{context}");
            } else {
                let words = format!(
                    "cannot create regular file '{}': File exists",
                    scene.dest().display()
                );
                assert_says(&output, &words, &context);
            }
            scene.assert_old_and_alone(&context);
        }
    }
}

#[test]
fn an_existing_file_is_left_with_no_clobber() {
    let scene = AtomicFixture::on_disk();
    assert_ok(&run(scene.command().arg("-n")), "-n");
    scene.assert_old_and_alone("-n");
}

/// What a container or a file system may refuse, and another way replaces.
#[test]
fn missing_optional_syscalls_fall_back() {
    let refused = [
        (&[DeniedSyscall::OTmpfile][..], Errno::EOPNOTSUPP),
        (&[DeniedSyscall::OTmpfile], Errno::EISDIR),
        (&[DeniedSyscall::OTmpfile], Errno::EPERM),
        (&[DeniedSyscall::OTmpfile], Errno::ENOSYS),
        (&[DeniedSyscall::Linkat], Errno::EPERM),
        (&[DeniedSyscall::Linkat], Errno::ENOSYS),
        (
            &[DeniedSyscall::OTmpfile, DeniedSyscall::Renameat2],
            Errno::EINVAL,
        ),
    ];
    for (calls, errno) in refused {
        for existing in [true, false] {
            let scene = AtomicFixture::on_disk();
            if !existing {
                fs::remove_file(scene.dest()).unwrap();
            }
            let context = format!("{calls:?} {errno}, existing: {existing}");
            let output = run_with_denied(calls, errno as i32, scene.command());
            assert_ok(&output, &context);
            scene.assert_new_and_alone(&context);
        }
    }
}

/// What nothing replaces is an error, and the old file stays.
#[test]
fn missing_required_syscalls_are_errors() {
    let refused = [
        (&[DeniedSyscall::Renameat][..], Errno::EIO, "cannot replace"),
        (
            &[DeniedSyscall::Renameat, DeniedSyscall::OTmpfile],
            Errno::EPERM,
            "cannot replace",
        ),
        (&[DeniedSyscall::Fsync], Errno::EIO, "failed to sync"),
        (
            &[DeniedSyscall::Fsync, DeniedSyscall::OTmpfile],
            Errno::EPERM,
            "failed to sync",
        ),
    ];
    for (calls, errno, words) in refused {
        let scene = AtomicFixture::on_disk();
        let context = format!("{calls:?} {errno}");
        let mut command = scene.command();
        command.arg("--fsync");
        let output = run_with_denied(calls, errno as i32, command);
        assert_exit_in(&output, 1, &context);
        let stderr = lossy_string(&output.stderr);
        assert!(
            stderr.starts_with(&format!("mmapcp: {words} ")),
            "{context}: {stderr}"
        );
        scene.assert_old_and_alone(&context);
    }
}

/// Some file systems tell of a failed write only there. Without pipes to the child: the filter binds this side, too, which
/// could not close them either.
#[test]
fn a_close_that_fails_leaves_the_old_file() {
    let scene = AtomicFixture::on_disk();
    let said = scene.from.path().join("said");
    let mut command = scene.command();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said).unwrap());
    let status = with_denied_syscalls(&[DeniedSyscall::Close], Errno::EIO as i32, move || {
        command.status().unwrap()
    });
    let stderr = fs::read_to_string(said).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    let words = format!(
        "mmapcp: failed to close '{}': Input/output error\n",
        scene.dest().display()
    );
    assert_eq!(stderr, words);
    scene.assert_old_and_alone("close refused");
}

#[test]
fn an_owner_that_is_refused() {
    if !is_root_or_skip("an_owner_that_is_refused") {
        return;
    }
    let scene = AtomicFixture::on_disk();
    chown(scene.dest(), Some(NOBODY), None).unwrap();
    let output = run_with_denied(
        &[DeniedSyscall::Fchown],
        Errno::EPERM as i32,
        scene.command(),
    );
    assert_exit(&output, 1);
    scene.assert_old_and_alone("chown refused");
}

// ---------------------------------------------------------------- --fsync without --atomic

#[test]
fn a_sync_that_fails_is_a_failure() {
    let scene = AtomicFixture::on_disk();
    let fsync = |options: &[&str]| {
        let mut command = mmapcp();
        command.arg("--fsync").args(options);
        command
    };
    let mut command = fsync(&[]);
    command.arg(scene.source()).arg(scene.dest());
    let output = run_with_denied(&[DeniedSyscall::Fsync], Errno::EIO as i32, command);
    let words = format!(
        "failed to sync '{}': Input/output error",
        scene.dest().display()
    );
    assert_says(&output, &words, "one file");

    let tree = scene.from.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for n in 0..100 {
        fs::write(tree.join(n.to_string()), b"small").unwrap();
    }
    let mut command = fsync(&["-r"]);
    command.arg(&tree).arg(scene.to.path());
    let output = run_with_denied(
        &[DeniedSyscall::Syncfs, DeniedSyscall::Fsync],
        Errno::EIO as i32,
        command,
    );
    assert_exit(&output, 1);
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.starts_with("mmapcp: failed to sync "), "{stderr}");
    assert_eq!(
        stderr.lines().count(),
        1,
        "one pass, not one a file: {stderr}"
    );
}

/// Nothing can be synced in /dev/null, and that is no failure.
#[test]
fn destinations_without_a_disk_are_not_synced() {
    let scene = AtomicFixture::on_disk();
    let output = run(mmapcp().arg("--fsync").arg(scene.source()).arg("/dev/null"));
    assert_ok(&output, "/dev/null");
}
