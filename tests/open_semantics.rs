//! What our own way of opening files must not change: leases of other processes are waited for, and a file that cannot be emptied
//! counts as one that cannot be opened.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::seccomp_filter::{DeniedSyscall, run_with_denied};
use crate::support::*;

/// Takes a lease on a file (F_SETLEASE is 1024; F_RDLCK 0, F_WRLCK 1, F_UNLCK 2), says so, and gives it up 200 ms after the
/// kernel asks for it with SIGIO; with a third argument never.
const LEASE_SCRIPT: &str = r#"
open(F, "<", $ARGV[0]) or die $!;
$SIG{IO} = sub { return if $ARGV[2]; select(undef, undef, undef, 0.2); fcntl(F, 1024, 2); };
# A child that another test of this process is starting may still have the file open for a moment: EAGAIN.
for (1..200) { $granted = fcntl(F, 1024, $ARGV[1] + 0) and last; select(undef, undef, undef, 0.01); }
$granted or die $!;
syswrite(STDOUT, "held\n");
sleep 60 for 1..10;
"#;

/// A process that holds a lease until it is asked, or until the test ends.
struct LeaseHolder(Child);

impl LeaseHolder {
    /// `kind` is the number of F_RDLCK or of F_WRLCK. `None` where there is no perl.
    fn take(file: &Path, kind: &str, stubborn: bool) -> Option<Self> {
        let mut command = Command::new("perl");
        command.args(["-e", LEASE_SCRIPT]).arg(file).arg(kind);
        if stubborn {
            command.arg("never");
        }
        let mut child = match command.stdout(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(e) => {
                skip("leases", &format!("perl cannot be run: {e}"));
                return None;
            }
        };
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let holder = Self(child);
        assert_eq!(line, "held\n", "the lease was not granted");
        Some(holder)
    }
}

impl Drop for LeaseHolder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_lease_on_either_file_is_waited_for_and_force_removes_nothing() {
    let dir = disk_dir();
    let (source, dest) = (dir.path().join("a"), dir.path().join("b"));
    for (leased, kind) in [(&source, "1"), (&dest, "0"), (&dest, "1")] {
        for options in [&[][..], &["-f"], &["--atomic"]] {
            fs::write(&source, "new").unwrap();
            fs::write(&dest, "old").unwrap();
            let before = fs::metadata(&dest).unwrap().ino();
            let Some(_holder) = LeaseHolder::take(leased, kind, false) else {
                return;
            };
            let output = run(mmapcp().args(options).args([&source, &dest]));
            let case = format!(
                "{options:?}, {}: {}",
                leased.display(),
                describe_output(&output)
            );
            assert!(output.status.success(), "{case}");
            assert_eq!(fs::read(&dest).unwrap(), b"new", "{case}");
            if options != ["--atomic"] {
                let after = fs::metadata(&dest).unwrap().ino();
                assert_eq!(after, before, "made anew: {case}");
            }
        }
    }
}

#[test]
fn a_signal_ends_the_wait_for_a_lease() {
    let dir = disk_dir();
    let (source, dest) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&source, "new").unwrap();
    fs::write(&dest, "old").unwrap();
    for options in [&[][..], &["-f"]] {
        let Some(_holder) = LeaseHolder::take(&dest, "1", true) else {
            return;
        };
        let mut child = mmapcp()
            .args(options)
            .args([&source, &dest])
            .spawn()
            .unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        wait_until("it sleeps", || {
            fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S "))
        });
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(libc::SIGTERM),
            "{options:?}: {status}"
        );
        drop(_holder);
        assert_eq!(fs::read(&dest).unwrap(), b"old", "{options:?}");
    }
}

#[test]
fn a_file_that_cannot_be_emptied_is_one_that_cannot_be_opened() {
    let dir = disk_dir();
    let source = dir.path().join("a");
    fs::write(&source, "new").unwrap();
    let memory = memfd_create(c"sealed", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let mut memory = File::from(memory);
    memory.write_all(b"an old content").unwrap();
    fcntl(&memory, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    let dest = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
    let theirs = run(Command::new("/bin/cp")
        .env("LC_ALL", "C")
        .arg(&source)
        .arg(&dest));
    let ours = run(mmapcp().arg(&source).arg(&dest));
    let want = lossy_string(&theirs.stderr).replace("/bin/cp:", "mmapcp:");
    assert_eq!(
        lossy_string(&ours.stderr),
        want,
        "{}",
        describe_output(&ours)
    );
    assert_eq!(ours.status.code(), Some(1));
    let mut left = String::new();
    File::open(&dest)
        .unwrap()
        .read_to_string(&mut left)
        .unwrap();
    assert_eq!(left, "an old content");
}

#[test]
fn force_makes_a_file_anew_that_cannot_be_emptied() {
    let dir = disk_dir();
    let (source, dest) = (dir.path().join("a"), dir.path().join("b"));
    for size in [5, 300_000] {
        fs::write(&source, vec![b'n'; size]).unwrap();
        fs::write(&dest, "old").unwrap();
        let before = fs::metadata(&dest).unwrap().ino();
        let copy = |options: &[&str]| {
            let mut command = mmapcp();
            command.args(options).args([&source, &dest]);
            run_with_denied(&[DeniedSyscall::Ftruncate], libc::ETXTBSY, command)
        };
        let output = copy(&[]);
        let name = dest.display();
        let words = format!("mmapcp: cannot create regular file '{name}': Text file busy\n");
        assert_eq!(lossy_string(&output.stderr), words);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(fs::read(&dest).unwrap(), b"old");
        // The inode is held, so that its number cannot come again.
        let _held = File::open(&dest).unwrap();
        let output = copy(&["-f", "-v"]);
        assert_exit(&output, 0);
        let want = format!("'{}' -> '{name}'\nremoved '{name}'\n", source.display());
        assert_eq!(lossy_string(&output.stdout), want);
        assert_eq!(fs::read(&dest).unwrap(), vec![b'n'; size]);
        assert_ne!(fs::metadata(&dest).unwrap().ino(), before);
    }
}

/// `-f` replaces a file that cannot be opened, and not one that was opened and could not be examined.
#[test]
fn force_removes_no_file_that_was_opened() {
    let disk = disk_dir();
    let (source, dest) = (disk.path().join("source"), disk.path().join("dest"));
    fs::write(&source, "new").unwrap();
    for options in [&["-f"][..], &["-f", "--atomic"]] {
        let mut refused = 0;
        // The descriptor of the destination is one of these.
        for descriptor in 3..16 {
            fs::write(&dest, "old").unwrap();
            let inode = fs::metadata(&dest).unwrap().ino();
            let mut command = Command::new(&*MMAPCP);
            command.args(options).args([&source, &dest]);
            let denied = [DeniedSyscall::FstatOf(descriptor)];
            let output = run_with_denied(&denied, libc::EIO, command);
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("cannot fstat") && said.contains("dest") {
                refused += 1;
                assert_eq!(output.status.code(), Some(1), "{said}");
                assert_eq!(fs::metadata(&dest).unwrap().ino(), inode, "{said}");
                assert_eq!(fs::read(&dest).unwrap(), b"old", "{said}");
            }
        }
        assert_eq!(
            refused, 1,
            "{options:?}: no copy failed to examine its destination"
        );
    }
}
