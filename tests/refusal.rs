//! Runs a command whose system calls the kernel refuses, by a seccomp filter on the thread that starts it.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::thread;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::support::*;

/// The system calls that are optional to a copier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    /// fcntl(F_SETFL) with the O_DIRECT bit; other flags pass.
    ODirect,
    Statx,
    Splice,
    CopyFileRange,
    Pwritev2,
    Fallocate,
    /// mmap of a file that other processes see, as the source map must be; the loader's private maps pass.
    Mmap,
    Sendfile,
    Fsync,
    Fdatasync,
    SyncFileRange,
}

impl Call {
    fn number(self) -> i64 {
        match self {
            Call::ODirect => libc::SYS_fcntl,
            Call::Statx => libc::SYS_statx,
            Call::Splice => libc::SYS_splice,
            Call::CopyFileRange => libc::SYS_copy_file_range,
            Call::Pwritev2 => libc::SYS_pwritev2,
            Call::Fallocate => libc::SYS_fallocate,
            Call::Mmap => libc::SYS_mmap,
            Call::Sendfile => libc::SYS_sendfile,
            Call::Fsync => libc::SYS_fsync,
            Call::Fdatasync => libc::SYS_fdatasync,
            Call::SyncFileRange => libc::SYS_sync_file_range,
        }
    }

    /// Which of these calls are meant; none: all.
    fn rules(self) -> Vec<SeccompRule> {
        let conditions = match self {
            Call::ODirect => vec![
                equal(1, u64::MAX, libc::F_SETFL),
                equal(2, libc::O_DIRECT as u64, libc::O_DIRECT),
            ],
            Call::Mmap => vec![equal(3, libc::MAP_SHARED as u64, libc::MAP_SHARED)],
            _ => return vec![],
        };
        vec![SeccompRule::new(conditions).unwrap()]
    }
}

/// Argument `index`, through a mask, equals `value`.
fn equal(index: u8, mask: u64, value: i32) -> SeccompCondition {
    SeccompCondition::new(
        index,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(mask & 0xffff_ffff),
        value as u64,
    )
    .unwrap()
}

/// Runs `command` to its end with each of `calls` answered by `errno`. The filter binds the thread that starts the command and
/// all that it starts, so it gets a thread of its own.
pub(crate) fn run_refused(calls: &[Call], errno: i32, mut command: Command) -> Output {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls
        .iter()
        .map(|call| (call.number(), call.rules()))
        .collect();
    let refuse = SeccompAction::Errno(errno as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)
        .unwrap()
        .try_into()
        .unwrap();
    let filtered = move || {
        seccompiler::apply_filter(&filter).expect("a kernel with seccomp");
        run(&mut command)
    };
    thread::spawn(filtered).join().unwrap()
}
