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
pub(crate) enum DeniedSyscall {
    /// fcntl(F_SETFL) with the O_DIRECT bit; other flags pass.
    ODirect,
    Statx,
    IoSetup,
    IoSubmit,
    Splice,
    CopyFileRange,
    Pwritev2,
    Fallocate,
    Pwrite,
    /// pwrite64(2) at an offset of 10 MiB or more.
    PwriteFrom10M,
    /// mmap of a file that other processes see, as the source map must be; the loader's private maps pass.
    Mmap,
    Sendfile,
    Fsync,
    Ftruncate,
    /// ftruncate(2) to this size alone.
    FtruncateTo(i32),
    /// fstat(2) of this descriptor alone.
    FstatOf(i32),
    Fdatasync,
    SyncFileRange,
    Syncfs,
    /// openat(2) of a file without a name.
    OTmpfile,
    Linkat,
    /// renameat2(2), of which only the flags are optional.
    Renameat2,
    Renameat,
    Fchown,
    /// fcntl(F_SETPIPE_SZ), which fails beyond a user's quota.
    SetPipeSize,
    /// close(2) of all but the first descriptors, which the loader needs.
    Close,
}

impl DeniedSyscall {
    fn number(self) -> i64 {
        match self {
            DeniedSyscall::ODirect | DeniedSyscall::SetPipeSize => libc::SYS_fcntl,
            DeniedSyscall::Statx => libc::SYS_statx,
            DeniedSyscall::IoSetup => libc::SYS_io_setup,
            DeniedSyscall::IoSubmit => libc::SYS_io_submit,
            DeniedSyscall::Splice => libc::SYS_splice,
            DeniedSyscall::CopyFileRange => libc::SYS_copy_file_range,
            DeniedSyscall::Pwritev2 => libc::SYS_pwritev2,
            DeniedSyscall::Fallocate => libc::SYS_fallocate,
            DeniedSyscall::Pwrite | DeniedSyscall::PwriteFrom10M => libc::SYS_pwrite64,
            DeniedSyscall::Mmap => libc::SYS_mmap,
            DeniedSyscall::Sendfile => libc::SYS_sendfile,
            DeniedSyscall::Fsync => libc::SYS_fsync,
            DeniedSyscall::Ftruncate | DeniedSyscall::FtruncateTo(_) => libc::SYS_ftruncate,
            // This is how glibc since 2.33 makes an fstat(2).
            DeniedSyscall::FstatOf(_) => libc::SYS_newfstatat,
            DeniedSyscall::Fdatasync => libc::SYS_fdatasync,
            DeniedSyscall::SyncFileRange => libc::SYS_sync_file_range,
            DeniedSyscall::Syncfs => libc::SYS_syncfs,
            DeniedSyscall::OTmpfile => libc::SYS_openat,
            DeniedSyscall::Linkat => libc::SYS_linkat,
            DeniedSyscall::Renameat2 => libc::SYS_renameat2,
            DeniedSyscall::Renameat => libc::SYS_renameat,
            DeniedSyscall::Fchown => libc::SYS_fchown,
            DeniedSyscall::Close => libc::SYS_close,
        }
    }

    /// Which of these calls are meant; none: all.
    fn rules(self) -> Vec<SeccompRule> {
        let conditions = match self {
            DeniedSyscall::ODirect => vec![
                masked_argument_equals(1, u64::MAX, libc::F_SETFL),
                masked_argument_equals(2, libc::O_DIRECT as u64, libc::O_DIRECT),
            ],
            DeniedSyscall::SetPipeSize => {
                vec![masked_argument_equals(1, u64::MAX, libc::F_SETPIPE_SZ)]
            }
            DeniedSyscall::Close => {
                vec![
                    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Gt, 4).unwrap(),
                ]
            }
            DeniedSyscall::PwriteFrom10M => {
                let (qword, at_least) = (SeccompCmpArgLen::Qword, SeccompCmpOp::Ge);
                vec![SeccompCondition::new(3, qword, at_least, 10 << 20).unwrap()]
            }
            DeniedSyscall::OTmpfile => vec![masked_argument_equals(
                2,
                libc::O_TMPFILE as u64,
                libc::O_TMPFILE,
            )],
            DeniedSyscall::Mmap => vec![masked_argument_equals(
                3,
                libc::MAP_SHARED as u64,
                libc::MAP_SHARED,
            )],
            DeniedSyscall::FtruncateTo(size) => vec![masked_argument_equals(1, u64::MAX, size)],
            DeniedSyscall::FstatOf(descriptor) => {
                vec![masked_argument_equals(0, u64::MAX, descriptor)]
            }
            _ => return vec![],
        };
        vec![SeccompRule::new(conditions).unwrap()]
    }
}

/// Argument `index`, through a mask, equals `value`.
fn masked_argument_equals(index: u8, mask: u64, value: i32) -> SeccompCondition {
    SeccompCondition::new(
        index,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(mask & 0xffff_ffff),
        value as u64,
    )
    .unwrap()
}

/// Runs `command` to its end with each of `calls` answered by `errno`.
pub(crate) fn run_with_denied(calls: &[DeniedSyscall], errno: i32, command: Command) -> Output {
    start_with_denied(calls, errno, command).finish()
}

/// The same without waiting for the end.
pub(crate) fn start_with_denied(
    calls: &[DeniedSyscall],
    errno: i32,
    mut command: Command,
) -> Running {
    with_denied_syscalls(calls, errno, move || Running::start(&mut command))
}

/// Does something where each of `calls` is answered by `errno`. The filter binds the thread and all that it starts, so it
/// is a thread of its own.
pub(crate) fn with_denied_syscalls<T: Send + 'static>(
    calls: &[DeniedSyscall],
    errno: i32,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in calls {
        rules.entry(call.number()).or_default().extend(call.rules());
    }
    let refuse = SeccompAction::Errno(errno as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)
        .unwrap()
        .try_into()
        .unwrap();
    let filtered = move || {
        seccompiler::apply_filter(&filter).expect("a kernel with seccomp");
        work()
    };
    thread::spawn(filtered).join().unwrap()
}
