//! What the program does before it copies: every start pays for it, and scripts start a copy for each file.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};

use nix::libc;

use crate::support::{KIB, assert_same_content, disk_dir, mmapcp, run, shm_dir};
use crate::syscall_cpu_tracer::trace;

/// The most system calls of the copy of a file of 1 KiB, those of the dynamic linker and of the shell before it included.
/// There were 178 with the Rust runtime and with questions to /proc; there are 111, and cp 9.1 makes 174.
const MOST_CALLS: u64 = 140;

/// A read is the header of a library for the dynamic linker: libc and, for the progress bar, libm. Before, /proc/self/maps took 4
/// more, /proc/self/status 8 for each of four questions, and libgcc_s one.
const MOST_READS: u64 = 2;

#[test]
fn a_small_copy_asks_nothing_that_it_does_not_need() {
    let (shm, disk) = (shm_dir(), disk_dir());
    let (source, destination) = (shm.path().join("small"), disk.path().join("copy"));
    fs::write(&source, vec![7; KIB as usize]).unwrap();
    let mut command = mmapcp();
    command.arg(&source).arg(&destination);
    let traced = trace(&command);
    assert_eq!(traced.code, Some(0));
    assert_same_content(&source, &destination, "under the tracer");
    let reads = traced.calls(libc::SYS_read);
    assert!(reads <= MOST_READS, "{reads} reads");
    // The end of the stack, a stack for signals, and whether there is SELinux.
    for call in [
        libc::SYS_sched_getaffinity,
        libc::SYS_sigaltstack,
        libc::SYS_poll,
        libc::SYS_statfs,
    ] {
        assert_eq!(traced.calls(call), 0, "system call {call}");
    }
    let calls: u64 = traced.spent.values().map(|spent| spent.calls).sum();
    assert!(calls <= MOST_CALLS, "{calls} system calls");
}

/// The program has a C `main` of its own, which must pass on what the runtime's would.
#[test]
fn arguments_and_exit_status_go_through_the_c_main() {
    let output = run(mmapcp().arg("--version"));
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"mmapcp "));
    let output = run(mmapcp().arg("/nonexistent").arg("/nonexistent/copy"));
    assert_eq!(
        (output.status.code(), output.status.signal()),
        (Some(1), None)
    );
    // An empty name, and no operand.
    let output = run(mmapcp().arg0(""));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.ends_with(b"--help' for more information.\n"));
}

/// The most system calls for a small file of a tree, fcntl(2) aside, with which debug builds look at each descriptor that they
/// close. There were 17; there are 13. cp 9.1 makes 15 as well, waits for no device, and leaves the pages behind.
const MOST_CALLS_A_FILE: u64 = 13;

#[test]
fn a_small_file_of_a_tree_takes_few_calls() {
    let calls = |files: u64| {
        let (shm, disk) = (shm_dir(), disk_dir());
        let tree = shm.path().join("tree");
        fs::create_dir(&tree).unwrap();
        for n in 0..files {
            fs::write(tree.join(n.to_string()), vec![7; 5 * KIB as usize]).unwrap();
        }
        let mut command = mmapcp();
        command.args(["-r", "--jobs=1"]).arg(&tree);
        let traced = trace(command.arg(disk.path().join("copy")));
        assert_eq!(traced.code, Some(0));
        let calls: u64 = traced.spent.values().map(|spent| spent.calls).sum();
        calls - traced.calls(libc::SYS_fcntl)
    };
    let (few, many) = (calls(100), calls(300));
    // Reading the directory and growing the heap are a few more.
    let a_file = many.saturating_sub(few + 20) / 200;
    assert!(
        a_file <= MOST_CALLS_A_FILE,
        "{a_file} calls a file: {few}, {many}"
    );
}
