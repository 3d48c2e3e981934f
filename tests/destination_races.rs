//! What another process does to the destination while a copy is under way: nothing of it is removed, renamed or replaced
//! that was not decided about. A FIFO as source holds the copy at a known point.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use tempfile::TempDir;

use crate::seccomp_filter::{DeniedSyscall, start_with_denied, with_denied_syscalls};
use crate::support::*;

/// Everything in one directory on the disk: the FIFO `b/fifo`, the destination `b/dest`, and whatever else a test needs.
struct RaceFixture {
    dir: TempDir,
}

impl RaceFixture {
    fn new() -> RaceFixture {
        let scene = RaceFixture { dir: disk_dir() };
        fs::create_dir(scene.path("b")).unwrap();
        nix::unistd::mkfifo(&scene.path("b/fifo"), Mode::S_IRWXU).unwrap();
        scene
    }

    fn with_dest(content: &str) -> RaceFixture {
        let scene = RaceFixture::new();
        scene.write("b/dest", content);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Another process puts a file of its own in the place of `name`.
    fn replace(&self, name: &str, content: &str) {
        self.write("stranger", content);
        fs::rename(self.path("stranger"), self.path(name)).unwrap();
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = mmapcp();
        command.current_dir(self.dir.path()).args(options);
        command.args(["b/fifo", "b/dest"]);
        command
    }

    /// The other end of the FIFO: this waits for the copy to open it.
    fn pipe(&self) -> File {
        let path = self.path("b/fifo");
        OpenOptions::new().write(true).open(path).unwrap()
    }

    /// The files by name, the FIFO excepted.
    fn files(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(self.path("b")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "fifo" {
                let content = fs::read_to_string(entry.path()).unwrap();
                all.insert(entry.file_name().into_string().unwrap(), content);
            }
        }
        all
    }

    fn assert_files(&self, wanted: &[(&str, &str)], context: &str) {
        let wanted: BTreeMap<String, String> = wanted
            .iter()
            .map(|(name, content)| ((*name).into(), (*content).into()))
            .collect();
        assert_eq!(self.files(), wanted, "{context}");
    }
}

/// Sets the modification time to this many seconds after 1970.
fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

const LONG_AGO: u64 = 1_000_000_000;
const FAR_AHEAD: u64 = 4_000_000_000;

/// What a kernel or a file system may lack: unnamed files, and the flags of renameat2(2).
const MISSING_FEATURES: [&[DeniedSyscall]; 4] = [
    &[],
    &[DeniedSyscall::OTmpfile],
    &[DeniedSyscall::Renameat2],
    &[DeniedSyscall::OTmpfile, DeniedSyscall::Renameat2],
];

fn start(refused: &[DeniedSyscall], mut command: Command) -> Running {
    if refused.is_empty() {
        Running::start(&mut command)
    } else {
        start_with_denied(refused, Errno::EINVAL as i32, command)
    }
}

fn assert_ok(output: &Output, context: &str) {
    assert_exit_in(output, 0, context);
}

fn assert_fails_with(output: &Output, words: &str, context: &str) {
    assert_exit_in(output, 1, context);
    let stderr = lossy_string(&output.stderr);
    assert!(stderr.contains(words), "{context}: {stderr}");
}

// ---------------------------------------------------------------- removed and renamed by name

#[test]
fn a_signal_does_not_remove_a_file_that_another_process_put_there() {
    for way in MISSING_FEATURES {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let scene = RaceFixture::new();
            let running = start(way, scene.command(&[]));
            wait_until("the destination is made", || scene.path("b/dest").exists());
            scene.replace("b/dest", "important");
            running.signal(signal);
            running.finish();
            scene.assert_files(&[("dest", "important")], &format!("{way:?} {signal}"));
        }
    }
}

#[test]
fn a_signal_removes_what_the_copy_made() {
    for way in MISSING_FEATURES {
        let scene = RaceFixture::new();
        let running = start(way, scene.command(&[]));
        wait_until("the destination is made", || scene.path("b/dest").exists());
        running.signal(Signal::SIGINT);
        running.finish();
        scene.assert_files(&[], &format!("{way:?}"));
    }
}

/// A link to nowhere was there before, so it stays; what was made behind it goes.
#[test]
fn a_signal_removes_what_was_made_behind_a_link() {
    let scene = RaceFixture::new();
    symlink("behind", scene.path("b/dest")).unwrap();
    let mut command = scene.command(&[]);
    command.env("POSIXLY_CORRECT", "1");
    let running = Running::start(&mut command);
    wait_until("the file is made", || scene.path("b/behind").exists());
    running.signal(Signal::SIGINT);
    running.finish();
    assert!(!scene.path("b/behind").exists());
    assert!(scene.path("b/dest").is_symlink());
}

/// More than one write of a copy from a pipe.
const PARTIAL_COPY_BYTES: usize = 9 << 20;

/// A copy in place that has made its backup and its own file.
fn backed_up(scene: &RaceFixture, way: &[DeniedSyscall], part: &[u8]) -> (Running, File) {
    let running = start(way, scene.command(&["-v", "--backup=simple"]));
    wait_until("the backup is made", || scene.path("b/dest~").exists());
    wait_until("the destination is made", || scene.path("b/dest").exists());
    let mut pipe = scene.pipe();
    pipe.write_all(part).unwrap();
    if !part.is_empty() {
        wait_until("the part is written", || {
            has_written_bytes(&scene.path("b/dest"))
        });
    }
    (running, pipe)
}

#[test]
fn a_backup_goes_back_over_part_of_a_copy() {
    for way in MISSING_FEATURES {
        for part in [&b""[..], &vec![b'n'; PARTIAL_COPY_BYTES]] {
            let scene = RaceFixture::with_dest("old");
            let (running, _pipe) = backed_up(&scene, way, part);
            running.signal(Signal::SIGINT);
            let output = running.finish();
            let context = format!(
                "{way:?}, {} bytes: {}",
                part.len(),
                describe_output(&output)
            );
            scene.assert_files(&[("dest", "old")], &context);
            assert!(
                lossy_string(&output.stdout).contains("(unbackup)"),
                "{context}"
            );
        }
    }
}

#[test]
fn a_backup_does_not_go_back_over_a_file_of_others() {
    for way in MISSING_FEATURES {
        for part in [&b""[..], &vec![b'n'; PARTIAL_COPY_BYTES]] {
            let scene = RaceFixture::with_dest("old");
            let (running, _pipe) = backed_up(&scene, way, part);
            scene.replace("b/dest", "important");
            running.signal(Signal::SIGINT);
            let output = running.finish();
            let context = format!(
                "{way:?}, {} bytes: {}",
                part.len(),
                describe_output(&output)
            );
            scene.assert_files(&[("dest", "important"), ("dest~", "old")], &context);
            let words = "cannot un-backup 'b/dest': another process has made a file of that name; \
                         the old file is 'b/dest~'\n";
            assert!(lossy_string(&output.stderr).contains(words), "{context}");
        }
    }
}

#[test]
fn a_backup_that_others_replaced_does_not_go_back() {
    let scene = RaceFixture::with_dest("old");
    let (running, _pipe) = backed_up(&scene, &[], b"");
    scene.replace("b/dest~", "important");
    running.signal(Signal::SIGINT);
    let output = running.finish();
    scene.assert_files(&[("dest~", "important")], &describe_output(&output));
    let words = "cannot un-backup 'b/dest': 'b/dest~' is not the old file any more\n";
    assert!(
        lossy_string(&output.stderr).contains(words),
        "{}",
        describe_output(&output)
    );
}

// ---------------------------------------------------------------- decided early, looked at again

/// A copy with --atomic that has looked at the destination and waits for data.
fn midway(scene: &RaceFixture, way: &[DeniedSyscall], options: &[&str]) -> (Running, File) {
    let options: Vec<&str> = ["--atomic"].iter().chain(options).copied().collect();
    let running = start(way, scene.command(&options));
    let mut pipe = scene.pipe();
    pipe.write_all(b"new").unwrap();
    wait_for_temporary(running.pid());
    (running, pipe)
}

/// Waits until a copy has the file that will take the destination's place: all else is decided by then.
fn wait_for_temporary(pid: impl std::fmt::Display) {
    let descriptors = PathBuf::from(format!("/proc/{pid}/fd"));
    let is_temporary = |entry: std::io::Result<fs::DirEntry>| {
        let leads = entry.and_then(|entry| fs::read_link(entry.path()));
        leads.is_ok_and(|path| {
            // A file without a name is shown by its inode number.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with('#') || name.starts_with(".dest.mmapcp-")
        })
    };
    wait_until("the new file is open", || {
        fs::read_dir(&descriptors).is_ok_and(|mut all| all.any(is_temporary))
    });
}

#[test]
fn an_atomic_backup_is_of_the_file_that_is_replaced() {
    for way in MISSING_FEATURES {
        for (word, backup) in [("numbered", "dest.~1~"), ("simple", "dest~")] {
            let option = format!("--backup={word}");
            let scene = RaceFixture::with_dest("old");
            let (running, pipe) = midway(&scene, way, &[&option]);
            scene.replace("b/dest", "important");
            drop(pipe);
            let output = running.finish();
            let context = format!("{way:?} {word}");
            assert_ok(&output, &context);
            scene.assert_files(&[("dest", "new"), (backup, "important")], &context);
        }
    }
}

/// Also where nothing was there when the copy began, or something else than a file comes.
#[test]
fn an_atomic_backup_is_made_of_what_comes_meanwhile() {
    for way in MISSING_FEATURES {
        let scene = RaceFixture::new();
        let (running, pipe) = midway(&scene, way, &["--backup=numbered"]);
        scene.write("b/dest", "important");
        drop(pipe);
        assert_ok(&running.finish(), &format!("{way:?}"));
        scene.assert_files(&[("dest", "new"), ("dest.~1~", "important")], "a file");

        let scene = RaceFixture::with_dest("old");
        let (running, pipe) = midway(&scene, way, &["--backup=numbered"]);
        fs::remove_file(scene.path("b/dest")).unwrap();
        fs::create_dir(scene.path("b/dest")).unwrap();
        drop(pipe);
        let context = format!("{way:?}, a directory");
        assert_fails_with(&running.finish(), "as it was replaced while", &context);
        assert!(scene.path("b/dest").is_dir(), "{context}");
        assert_eq!(
            fs::read_dir(scene.path("b")).unwrap().count(),
            2,
            "{context}"
        );
    }
}

#[test]
fn two_atomic_backups_at_once_keep_both_old_files() {
    for way in MISSING_FEATURES {
        let scene = RaceFixture::with_dest("old");
        let (first, first_pipe) = midway(&scene, way, &["-v", "--backup=numbered"]);
        // The second has a FIFO of its own.
        let other = RaceFixture::new();
        let mut command = mmapcp();
        command.current_dir(scene.dir.path());
        command.args(["-v", "--atomic", "--backup=numbered"]);
        command.arg(other.path("b/fifo")).arg("b/dest");
        let second = start(way, command);
        let mut second_pipe = other.pipe();
        second_pipe.write_all(b"newer").unwrap();
        wait_for_temporary(second.pid());
        drop(first_pipe);
        let output = first.finish();
        let context = format!("{way:?}: {}", describe_output(&output));
        assert_ok(&output, &context);
        let mut files = scene.files();
        // Which of the two has the first number depends on who locks its file first.
        files.retain(|name, _| !name.starts_with(".dest.mmapcp-"));
        let wanted = [("dest", "new"), ("dest.~1~", "old")];
        let wanted = wanted.map(|(name, content)| (name.to_owned(), content.to_owned()));
        assert_eq!(files, BTreeMap::from(wanted), "{context}");
        drop(second_pipe);
        let output = second.finish();
        let context = format!("{way:?}: {}", describe_output(&output));
        assert_ok(&output, &context);
        let wanted = [("dest", "newer"), ("dest.~1~", "old"), ("dest.~2~", "new")];
        scene.assert_files(&wanted, &context);
        // It had told of another name before.
        let words = "'b/dest' -> 'b/dest.~2~' (backup)\n";
        assert!(lossy_string(&output.stdout).contains(words), "{context}");
    }
}

#[test]
fn an_atomic_update_leaves_what_became_newer() {
    for way in MISSING_FEATURES {
        for options in [
            &["-u"][..],
            &["--update=older"],
            &["-u", "--backup=numbered"],
        ] {
            for replaced in [false, true] {
                let scene = RaceFixture::with_dest("old");
                set_time(&scene.path("b/dest"), LONG_AGO);
                let (running, pipe) = midway(&scene, way, options);
                if replaced {
                    scene.replace("b/dest", "newer");
                } else {
                    scene.write("b/dest", "newer");
                }
                set_time(&scene.path("b/dest"), FAR_AHEAD);
                drop(pipe);
                let context = format!("{way:?} {options:?}, replaced: {replaced}");
                assert_ok(&running.finish(), &context);
                scene.assert_files(&[("dest", "newer")], &context);
            }
        }
    }
}

#[test]
fn an_atomic_update_leaves_a_newer_file_that_came_and_replaces_an_older_one() {
    for way in MISSING_FEATURES {
        for existing in [false, true] {
            for (time, stays) in [(LONG_AGO, false), (FAR_AHEAD, true)] {
                let scene = RaceFixture::new();
                if existing {
                    scene.write("b/dest", "old");
                    set_time(&scene.path("b/dest"), LONG_AGO);
                }
                let (running, pipe) = midway(&scene, way, &["-u"]);
                scene.replace("b/dest", "came");
                set_time(&scene.path("b/dest"), time);
                fs::set_permissions(scene.path("b/dest"), fs::Permissions::from_mode(0o751))
                    .unwrap();
                drop(pipe);
                let context = format!("{way:?}, existing: {existing}, {time}");
                assert_ok(&running.finish(), &context);
                let content = if stays { "came" } else { "new" };
                scene.assert_files(&[("dest", content)], &context);
                // The mode is that of the file that was replaced, not of the one that was looked at first.
                let mode = fs::metadata(scene.path("b/dest")).unwrap().mode() & 0o7777;
                assert_eq!(mode, 0o751, "{context}");
            }
        }
    }
}

/// Also without a word that decides: owner and mode are those of the file whose place is taken.
#[test]
fn attributes_are_kept_of_the_file_that_is_replaced() {
    for way in MISSING_FEATURES {
        let scene = RaceFixture::with_dest("old");
        let (running, pipe) = midway(&scene, way, &[]);
        scene.replace("b/dest", "came");
        fs::set_permissions(scene.path("b/dest"), fs::Permissions::from_mode(0o600)).unwrap();
        drop(pipe);
        assert_ok(&running.finish(), &format!("{way:?}"));
        scene.assert_files(&[("dest", "new")], &format!("{way:?}"));
        let mode = fs::metadata(scene.path("b/dest")).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{way:?}");
    }
}

#[test]
fn with_no_clobber_what_comes_meanwhile_stays() {
    for way in MISSING_FEATURES {
        for (option, code) in [("-n", 0), ("--update=none", 0), ("--update=none-fail", 1)] {
            let scene = RaceFixture::new();
            let (running, pipe) = midway(&scene, way, &[option]);
            scene.write("b/dest", "came");
            drop(pipe);
            let output = running.finish();
            let context = format!("{way:?} {option}: {}", describe_output(&output));
            assert_eq!(output.status.code(), Some(code), "{context}");
            scene.assert_files(&[("dest", "came")], &context);
        }
    }
}

/// Somebody who answers questions.
struct PromptedCopy {
    child: Child,
    told: Vec<u8>,
}

impl PromptedCopy {
    fn start(mut command: Command) -> PromptedCopy {
        let child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        PromptedCopy {
            child,
            told: Vec::new(),
        }
    }

    /// Waits for the next question.
    fn question(&mut self) {
        let stderr = self.child.stderr.as_mut().unwrap();
        self.told.clear();
        while !self.told.ends_with(b"? ") {
            let mut byte = [0];
            let read = stderr.read(&mut byte).unwrap();
            assert_eq!(read, 1, "no question: {}", lossy_string(&self.told));
            self.told.push(byte[0]);
        }
        assert!(lossy_string(&self.told).contains("overwrite 'b/dest'"));
    }

    fn answer(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).unwrap();
    }

    fn finish(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for PromptedCopy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_file_that_was_not_asked_about_is_asked_about() {
    for (last, content) in [("n\n", "came"), ("y\n", "new")] {
        for existing in [true, false] {
            let scene = RaceFixture::new();
            let mut asked = if existing {
                scene.write("b/dest", "old");
                let mut asked = PromptedCopy::start(scene.command(&["--atomic", "-i"]));
                asked.question();
                asked.answer("y\n");
                asked
            } else {
                PromptedCopy::start(scene.command(&["--atomic", "-i"]))
            };
            let mut pipe = scene.pipe();
            pipe.write_all(b"new").unwrap();
            wait_for_temporary(asked.child.id());
            scene.replace("b/dest", "came");
            drop(pipe);
            asked.question();
            asked.answer(last);
            asked.finish();
            scene.assert_files(&[("dest", content)], &format!("{last} {existing}"));
        }
    }
}

/// Without --atomic the answer is followed at once, and is about the file that was there when it was asked for.
#[test]
fn a_file_that_came_while_the_user_thought_is_asked_about() {
    for options in [&["-i"][..], &["-i", "-b"], &["-i", "--remove-destination"]] {
        let scene = RaceFixture::with_dest("old");
        fs::remove_file(scene.path("b/fifo")).unwrap();
        scene.write("b/fifo", "new");
        let mut asked = PromptedCopy::start(scene.command(options));
        asked.question();
        scene.replace("b/dest", "came");
        asked.answer("y\n");
        asked.question();
        asked.answer("n\n");
        asked.finish();
        assert_eq!(
            fs::read_to_string(scene.path("b/dest")).unwrap(),
            "came",
            "{options:?}"
        );
        assert!(!scene.path("b/dest~").exists(), "{options:?}");
    }
}

/// Files are looked at in advance, and written some time later.
#[test]
fn an_update_in_place_leaves_what_became_newer() {
    let scene = RaceFixture::new();
    fs::create_dir(scene.path("to")).unwrap();
    scene.write("source", "new");
    scene.write("to/source", "old");
    set_time(&scene.path("to/source"), LONG_AGO);
    let mut command = mmapcp();
    command.current_dir(scene.dir.path());
    command.args(["-u", "--jobs=2", "b/fifo", "source", "to"]);
    let running = Running::start(&mut command);
    // The copy of the FIFO is handed over together with the next file, and holds it up.
    let pipe = scene.pipe();
    scene.write("to/source", "newer");
    set_time(&scene.path("to/source"), FAR_AHEAD);
    drop(pipe);
    assert_ok(&running.finish(), "-u");
    let content = fs::read_to_string(scene.path("to/source")).unwrap();
    assert_eq!(content, "newer");
}

// ---------------------------------------------------------------- where a second name is refused

/// Who may rename a file, but not link to it (fs.protected_hardlinks), gets an atomic backup by an exchange of names; where
/// there is no such call either, it is an error that says so, and nothing has changed.
#[test]
fn what_can_neither_be_exchanged_nor_linked_is_an_error() {
    let test = "what_can_neither_be_exchanged_nor_linked_is_an_error";
    if !is_root_or_skip(test) {
        return;
    }
    let protected = fs::read_to_string("/proc/sys/fs/protected_hardlinks").unwrap();
    if protected.trim() != "1" {
        return skip(test, "fs.protected_hardlinks is off");
    }
    for numbered in [false, true] {
        let (dir, bin) = public_bin_dir();
        for (name, content) in [("a", "new"), ("b", "old"), ("b~", "older")] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let command = || {
            let mut command = Command::new(bin.join("mmapcp"));
            let word = if numbered { "numbered" } else { "simple" };
            command.current_dir(dir.path()).env("LC_ALL", "C").args([
                "--atomic",
                &format!("--backup={word}"),
                "a",
                "b",
            ]);
            as_nobody(&mut command);
            command
        };
        let look = || {
            let mut names: Vec<OsString> = fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .filter(|name| name != "bin")
                .collect();
            names.sort();
            let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
            (names, ["b", "b~", "b.~1~"].map(read))
        };
        let before = look();
        let output = start(&[DeniedSyscall::Renameat2], command()).finish();
        let words = "cannot backup 'b' atomically, since names can be neither exchanged nor linked \
                     there: Operation not permitted";
        assert_fails_with(&output, words, "neither");
        assert_eq!(look(), before);
        assert_ok(&run(&mut command()), "exchanged");
        let wanted = if numbered {
            ["new", "older", "old"]
        } else {
            ["new", "old", ""]
        };
        assert_eq!(look().1, wanted);
    }
}

/// Names that somebody holds in a directory of everybody's.
#[test]
fn names_that_are_taken_do_not_block_an_atomic_copy() {
    let test = "names_that_are_taken_do_not_block_an_atomic_copy";
    if !is_root_or_skip(test) {
        return;
    }
    let (dir, bin) = public_bin_dir();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let taken: Vec<Flock<File>> = (1..=1001)
        .map(|n| {
            let file = File::create(dir.path().join(format!(".dest.mmapcp-{n}"))).unwrap();
            Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap()
        })
        .collect();
    fs::write(dir.path().join("source"), "new").unwrap();
    for refused in [&[][..], &[DeniedSyscall::OTmpfile]] {
        for option in ["-v", "--backup=numbered"] {
            let mut command = Command::new(bin.join("mmapcp"));
            command
                .current_dir(dir.path())
                .args(["--atomic", option, "source", "dest"]);
            as_nobody(&mut command);
            let context = format!("{refused:?} {option}");
            assert_ok(&start(refused, command).finish(), &context);
            let content = fs::read_to_string(dir.path().join("dest")).unwrap();
            assert_eq!(content, "new", "{context}");
        }
    }
    let beside = |entry: &fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with(".dest.mmapcp-")
    };
    let left = fs::read_dir(dir.path())
        .unwrap()
        .map(Result::unwrap)
        .filter(beside);
    assert_eq!(left.count(), taken.len(), "what was there stays alone");
}

// ---------------------------------------------------------------- many at once

/// Writers at once in the loops below.
const WRITERS: usize = 6;

/// Copies of each writer.
const COPIES_PER_WRITER: usize = 15;

/// Each content that was ever copied to one name is there in the end, once, under that name or a backup's; so is what another
/// program puts there with a rename of its own, as it does when it keeps the old file by a link first.
#[test]
fn many_atomic_backups_lose_nothing() {
    for way in MISSING_FEATURES {
        let scene = RaceFixture::with_dest("old");
        let dir = scene.dir.path();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    for round in 0..COPIES_PER_WRITER {
                        let source = format!("source-{writer}-{round}");
                        fs::write(dir.join(&source), &source).unwrap();
                        let mut command = mmapcp();
                        command.current_dir(dir).args([
                            "--atomic",
                            "--backup=numbered",
                            &source,
                            "b/dest",
                        ]);
                        let output = start(way, command).finish();
                        assert_ok(&output, &format!("{way:?} {source}"));
                    }
                });
            }
        });
        let mut contents: Vec<String> = scene.files().into_values().collect();
        contents.sort();
        let mut wanted: Vec<String> = (0..WRITERS)
            .flat_map(|writer| {
                (0..COPIES_PER_WRITER).map(move |round| format!("source-{writer}-{round}"))
            })
            .chain(["old".to_owned()])
            .collect();
        wanted.sort();
        let lacks: Vec<_> = wanted.iter().filter(|c| !contents.contains(c)).collect();
        assert!(lacks.is_empty(), "{way:?} lost: {lacks:?}");
        assert_eq!(contents, wanted, "{way:?}");
    }
}

/// A newer file that comes at any moment of a copy with -u stays.
#[test]
fn a_newer_file_stays_whenever_it_comes() {
    for way in [MISSING_FEATURES[0], MISSING_FEATURES[1]] {
        for round in 0..100 {
            let scene = RaceFixture::with_dest("old");
            set_time(&scene.path("b/dest"), LONG_AGO);
            scene.write("source", "new");
            scene.write("newer", "newer");
            set_time(&scene.path("newer"), FAR_AHEAD);
            let mut command = mmapcp();
            command.current_dir(scene.dir.path());
            command.args(["-u", "--atomic", "source", "b/dest"]);
            let running = start(way, command);
            thread::sleep(Duration::from_micros(round * 60));
            fs::rename(scene.path("newer"), scene.path("b/dest")).unwrap();
            let output = running.finish();
            let context = format!("{way:?} {round}: {}", describe_output(&output));
            scene.assert_files(&[("dest", "newer")], &context);
        }
    }
}

/// The filter of refused calls binds its thread alone, so the test itself may link and rename.
#[test]
fn refused_calls_are_refused() {
    let renamed = with_denied_syscalls(&[DeniedSyscall::Renameat2], Errno::EINVAL as i32, || {
        let dir = disk_dir();
        let file = File::open(dir.path()).unwrap();
        let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
        nix::fcntl::renameat2(&file, "a", &file, "b", flags)
    });
    assert_eq!(renamed, Err(Errno::EINVAL));
}
