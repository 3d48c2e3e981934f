//! Sources that are pipes: pages are moved where all of them are whole, and else bytes are read. What ran is told, and the
//! bytes are right in either case.

use std::fs::{self, File};
use std::io::{PipeWriter, Write, pipe};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{SpliceFFlags, splice, vmsplice};
use serde_json::Value;

use crate::seccomp_filter::{DeniedSyscall, with_denied_syscalls};
use crate::support::*;

const PAGE: usize = 4096;

/// Pages and a tail that is no whole unit: more than the three times that pages may be found not to be whole.
const SIZE: usize = 5 * MIB as usize + 1234;

/// Bytes without a period that fits any unit.
fn content(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Copies what `write` writes into a pipe, with `--json` and `options`, and returns the events.
fn copy_from_pipe(
    options: &[&str],
    destination: &Path,
    write: impl FnOnce(PipeWriter) + Send,
) -> Vec<Value> {
    let (reader, writer) = pipe().unwrap();
    let mut command = mmapcp();
    command.arg("--json").args(options);
    command.args(["-T", "/dev/stdin"]).arg(destination);
    command.stdin(reader);
    let output = thread::scope(|scope| {
        scope.spawn(move || write(writer));
        finish(command)
    });
    assert!(output.status.success(), "{}", describe_output(&output));
    parse_events(&output)
}

/// Runs a command, and lets go of its end of the pipe as soon as it is started.
fn finish(mut command: Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(command);
    child.wait_with_output().unwrap()
}

/// Writes bytes in pieces of these sizes, in turn.
fn write_pieces(mut writer: PipeWriter, mut bytes: &[u8], sizes: &[usize]) {
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            return;
        }
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        writer.write_all(piece).unwrap();
        bytes = rest;
    }
}

/// Whether the copier went on to read because the pages were not whole.
fn fell_back(events: &[Value]) -> bool {
    events.iter().any(|event| {
        event["event"] == "fallback"
            && event["from"] == "splice"
            && event["to"] == "direct"
            && event["why"].as_str().unwrap().contains("not whole")
    })
}

/// The bytes that an engine moved.
fn moved_by(events: &[Value], engine: &str) -> u64 {
    only_event(events, "done")["engines"][engine]
        .as_u64()
        .unwrap_or_default()
}

/// What is expected of a way to write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// All but the end is moved.
    Moved,
    /// The bytes are read.
    Read,
    /// It depends on how far the writer is when the copier looks.
    Either,
}

/// Copies to a disk and to a tmpfs, and checks what was said and what was written.
fn check(case: &str, bytes: &[u8], expected: Expected, write: impl Fn(PipeWriter) + Sync) {
    for (dir, is_disk) in [(disk_dir(), true), (shm_dir(), false)] {
        let destination = dir.path().join("copy");
        let events = copy_from_pipe(&[], &destination, &write);
        // Reading it fills the cache.
        let cached = cached_bytes(&destination);
        let copied = fs::read(&destination).unwrap();
        assert!(copied == bytes, "{case}: {} bytes differ", copied.len());
        assert!(only_event(&events, "plan")["size"].is_null(), "{case}");
        assert_eq!(only_event(&events, "done")["bytes"], bytes.len(), "{case}");
        let (moved, read) = (moved_by(&events, "splice"), moved_by(&events, "direct"));
        if !is_disk {
            assert_eq!(moved + read, 0, "{case}: O_DIRECT in memory");
            continue;
        }
        assert_eq!(moved + read, bytes.len() as u64, "{case}: {events:#?}");
        match expected {
            Expected::Moved => {
                assert_eq!(moved, bytes.len() as u64 / MIB * MIB, "{case}: {events:#?}");
                assert!(!fell_back(&events), "{case}");
            }
            Expected::Read => assert_eq!(moved, 0, "{case}: {events:#?}"),
            Expected::Either => {}
        }
        if expected == Expected::Read && bytes.len() > 4 * MIB as usize {
            assert!(fell_back(&events), "{case}: {events:#?}");
        }
        assert_eq!(cached, 0, "{case}");
    }
}

#[test]
fn whole_pages_are_moved() {
    let bytes = content(SIZE);
    for size in [PAGE, 65536, 131_072] {
        let write = |writer| write_pieces(writer, &bytes, &[size]);
        check(&format!("writes of {size}"), &bytes, Expected::Moved, write);
    }
    let whole = &bytes[..3 * MIB as usize];
    let write = |writer| write_pieces(writer, whole, &[65536]);
    check("no tail", whole, Expected::Moved, write);
}

#[test]
fn pages_that_are_not_whole_are_read() {
    let bytes = content(SIZE);
    for sizes in [&[PAGE - 1][..], &[PAGE + 1], &[65537, 3, PAGE, 1, 70000]] {
        let write = |writer| write_pieces(writer, &bytes, sizes);
        check(
            &format!("writes of {sizes:?}"),
            &bytes,
            Expected::Read,
            write,
        );
    }
    let few = &bytes[..100_001];
    check("single bytes", few, Expected::Read, |writer| {
        write_pieces(writer, few, &[1])
    });
    check("nothing", &[], Expected::Read, drop);
    check("one byte", &[7], Expected::Read, |writer| {
        write_pieces(writer, &[7], &[1])
    });
}

/// A core dump begins with small writes, and goes on with whole pages at multiples of a page.
#[test]
fn whole_pages_behind_small_writes_are_moved() {
    let (disk, bytes) = (disk_dir(), content(SIZE));
    let destination = disk.path().join("copy");
    let (head, body) = bytes.split_at(MIB as usize + 8 * PAGE);
    let events = copy_from_pipe(&[], &destination, |writer| {
        let pages = writer.try_clone().unwrap();
        write_pieces(writer, head, &[64, 56, 1000]);
        write_pieces(pages, body, &[PAGE]);
    });
    assert!(fs::read(&destination).unwrap() == bytes);
    let moved = moved_by(&events, "splice");
    assert!(moved >= 2 * MIB, "{moved} bytes moved: {events:#?}");
    assert!(!fell_back(&events));
}

#[test]
fn pages_of_a_file_are_moved() {
    let (shm, bytes) = (shm_dir(), content(SIZE));
    let path = shm.path().join("file");
    fs::write(&path, &bytes).unwrap();
    let splice_from = |writer: PipeWriter, start: usize| {
        let file = File::open(&path).unwrap();
        let (mut offset, end) = (start as i64, SIZE as i64);
        while offset < end {
            let flags = SpliceFFlags::empty();
            splice(&file, Some(&mut offset), &writer, None, 1 << 20, flags).unwrap();
        }
    };
    check("spliced", &bytes, Expected::Moved, |w| splice_from(w, 0));
    // A page of a file that is cut in two by its first offset stays so in the pipe.
    check("spliced from 1", &bytes[1..], Expected::Either, |w| {
        splice_from(w, 1)
    });
}

/// Pages of the writer's own memory: whole ones, and ones that begin in the middle of a page.
#[test]
fn pages_of_the_memory_of_the_writer_are_moved() {
    let mut memory = memmap2::MmapMut::map_anon(SIZE + PAGE).unwrap();
    memory.copy_from_slice(&content(SIZE + PAGE));
    let give = |writer: PipeWriter, mut rest: &[u8]| {
        while !rest.is_empty() {
            let slice = [std::io::IoSlice::new(rest)];
            let n = vmsplice(writer.as_fd(), &slice, SpliceFFlags::empty()).unwrap();
            rest = &rest[n..];
        }
    };
    let whole = &memory[..SIZE];
    check("vmsplice", whole, Expected::Moved, |w| give(w, whole));
    let shifted = &memory[100..100 + SIZE];
    check("shifted vmsplice", shifted, Expected::Either, |w| {
        give(w, shifted)
    });
}

#[test]
fn a_slow_writer_is_waited_for() {
    let bytes = content(2 * MIB as usize + 77);
    check("slowly", &bytes, Expected::Moved, |mut writer| {
        for piece in bytes.chunks(256 << 10) {
            thread::sleep(Duration::from_millis(20));
            writer.write_all(piece).unwrap();
        }
    });
}

/// The end of a pipe looks the same whether its writer was finished or killed.
#[test]
fn what_a_killed_writer_wrote_is_there() {
    let disk = disk_dir();
    let destination = disk.path().join("copy");
    let mut writer = Command::new("cat")
        .arg("/dev/zero")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut command = mmapcp();
    command
        .args(["--json", "-T", "/dev/stdin"])
        .arg(&destination);
    command.stdin(writer.stdout.take().unwrap());
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        writer.kill().unwrap();
        writer.wait().unwrap();
    });
    let output = finish(command);
    killer.join().unwrap();
    assert!(output.status.success(), "{}", describe_output(&output));
    let events = parse_events(&output);
    let size = fs::metadata(&destination).unwrap().len();
    assert_eq!(only_event(&events, "done")["bytes"], size);
    assert!(moved_by(&events, "splice") > 0, "{events:#?}");
    assert!(
        fs::read(&destination)
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[test]
fn zeros_of_a_pipe_become_holes_if_that_is_asked() {
    let mut bytes = content(SIZE);
    bytes[MIB as usize..4 * MIB as usize].fill(0);
    let disk = disk_dir();
    let destination = disk.path().join("copy");
    let write = |writer| write_pieces(writer, &bytes, &[65536]);
    let events = copy_from_pipe(&["--sparse=always"], &destination, write);
    assert!(fs::read(&destination).unwrap() == bytes);
    assert!(allocated_bytes(&destination) <= 3 * MIB);
    assert_eq!(engines_used(&events), ["direct"]);
    let plan = only_event(&events, "plan");
    let refused = plan["refused"].as_array().unwrap();
    let splice = refused
        .iter()
        .find(|row| row["engine"] == "splice")
        .unwrap();
    assert!(splice["why"].as_str().unwrap().contains("zeros"), "{plan}");
}

/// The pipe is enlarged, which its writer sees, and where that is forbidden the bytes are read.
#[test]
fn a_pipe_that_cannot_be_enlarged_is_read() {
    let capacity = |denied: &'static [DeniedSyscall], expected_engine: &str| {
        let (disk, bytes) = (disk_dir(), content(3 * MIB as usize));
        let destination = disk.path().join("copy");
        let (reader, mut writer) = pipe().unwrap();
        let probe = writer.try_clone().unwrap();
        let mut command = mmapcp();
        command
            .args(["--json", "-T", "/dev/stdin"])
            .arg(&destination);
        command.stdin(reader);
        let body = bytes.clone();
        let writes = thread::spawn(move || writer.write_all(&body).unwrap());
        let output = with_denied_syscalls(denied, libc::EPERM, move || {
            let capacity = || {
                let fd = probe.as_fd();
                nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap()
            };
            let before = capacity();
            let waits = thread::spawn(move || finish(command));
            writes.join().unwrap();
            let after = capacity();
            drop(probe);
            (waits.join().unwrap(), before, after)
        });
        let (output, before, after) = output;
        assert!(output.status.success(), "{}", describe_output(&output));
        assert!(fs::read(&destination).unwrap() == bytes);
        let events = parse_events(&output);
        assert_eq!(engines_used(&events), [expected_engine], "{events:#?}");
        (before, after)
    };
    assert_eq!(capacity(&[], "splice"), (65536, 1 << 20));
    assert_eq!(
        capacity(&[DeniedSyscall::SetPipeSize], "direct"),
        (65536, 65536)
    );
    assert_eq!(
        capacity(&[DeniedSyscall::Splice], "direct"),
        (65536, 1 << 20)
    );
}

/// A rate makes writes small, and pages are moved all the same.
#[test]
fn a_limited_copy_moves_pages_as_well() {
    let (disk, bytes) = (disk_dir(), content(2 * MIB as usize + 5));
    let destination = disk.path().join("copy");
    let write = |writer| write_pieces(writer, &bytes, &[65536]);
    let events = copy_from_pipe(&["--limit-rate=20M"], &destination, write);
    assert!(fs::read(&destination).unwrap() == bytes);
    assert_eq!(moved_by(&events, "splice"), 2 * MIB, "{events:#?}");
}
