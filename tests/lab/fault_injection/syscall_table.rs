//! The system calls of a copy: their names, where their lengths are, and the errors that they are given.

use nix::errno::Errno;
use nix::libc::{self, c_long, c_void, user_regs_struct};
use nix::sys::ptrace;
use nix::unistd::Pid;

/// The highest of the standard descriptors: what is written there are messages, which a terminal takes, not a copy.
const MAX_STANDARD_FD: u64 = 2;

/// cachestat(2), Linux 6.5, which libc does not name yet for this target.
const CACHESTAT: i64 = 451;

/// Errors that any call is given: of devices, of space, of refusals by file systems and filters, and passing ones.
const ERRNOS: [Errno; 20] = [
    Errno::EIO,
    Errno::ENOSPC,
    Errno::EDQUOT,
    Errno::EFBIG,
    Errno::EINVAL,
    Errno::EOPNOTSUPP,
    Errno::ENOSYS,
    Errno::EPERM,
    Errno::EACCES,
    Errno::EXDEV,
    Errno::ENOTTY,
    Errno::EROFS,
    Errno::ETXTBSY,
    Errno::ESTALE,
    Errno::ENOMEM,
    Errno::EMFILE,
    Errno::ENOENT,
    Errno::EEXIST,
    Errno::EAGAIN,
    Errno::EINTR,
];

/// The errors that a call is given.
pub(super) fn errnos(name: &str) -> Vec<Errno> {
    let own: &[Errno] = match name {
        // "No data from here on", which file systems were seen to say of data.
        "lseek" => &[Errno::ENXIO],
        "pread64" | "pwrite64" | "splice" => &[Errno::EFAULT],
        _ => &[],
    };
    [&ERRNOS[..], own].concat()
}

/// The name of a call that belongs to a copy, told apart by what it asks for where that matters. `None` for the
/// runtime's own: memory without a file, locks, signals, clocks, and the ends of threads.
pub(super) fn syscall_name(regs: &user_regs_struct) -> Option<&'static str> {
    let call = regs.orig_rax.cast_signed();
    let name = match call {
        libc::SYS_read | libc::SYS_write | libc::SYS_close if regs.rdi <= MAX_STANDARD_FD => {
            return None;
        }
        libc::SYS_mmap if (regs.r8 as i32) < 0 => return None,
        libc::SYS_read => "read",
        libc::SYS_write => "write",
        libc::SYS_close => "close",
        libc::SYS_mmap => "mmap",
        libc::SYS_mincore => "mincore",
        libc::SYS_madvise => "madvise",
        libc::SYS_pread64 => "pread64",
        libc::SYS_pwrite64 => "pwrite64",
        libc::SYS_pwritev2 => "pwritev2",
        libc::SYS_splice => "splice",
        libc::SYS_sendfile => "sendfile",
        libc::SYS_copy_file_range => "copy_file_range",
        libc::SYS_ftruncate => "ftruncate",
        libc::SYS_fallocate => "fallocate",
        libc::SYS_fadvise64 => "fadvise64",
        libc::SYS_sync_file_range if regs.r10 == u64::from(libc::SYNC_FILE_RANGE_WRITE) => {
            "sync_file_range(start)"
        }
        libc::SYS_sync_file_range => "sync_file_range(wait)",
        libc::SYS_fsync => "fsync",
        libc::SYS_fdatasync => "fdatasync",
        libc::SYS_syncfs => "syncfs",
        libc::SYS_lseek => "lseek",
        CACHESTAT => "cachestat",
        libc::SYS_fstat => "fstat",
        libc::SYS_newfstatat => "newfstatat",
        libc::SYS_statx => "statx",
        libc::SYS_fstatfs => "fstatfs",
        libc::SYS_statfs => "statfs",
        libc::SYS_openat if is_writing(regs.rdx) => "openat(write)",
        libc::SYS_openat => "openat(read)",
        libc::SYS_openat2 => "openat2",
        libc::SYS_fcntl => return fcntl_name(regs.rsi as i32),
        libc::SYS_ioctl => "ioctl",
        libc::SYS_pipe2 => "pipe2",
        libc::SYS_poll => "poll",
        libc::SYS_flock => "flock",
        libc::SYS_linkat => "linkat",
        libc::SYS_unlinkat => "unlinkat",
        libc::SYS_renameat => "renameat",
        libc::SYS_renameat2 => "renameat2",
        libc::SYS_mkdirat => "mkdirat",
        libc::SYS_symlinkat => "symlinkat",
        libc::SYS_readlinkat => "readlinkat",
        libc::SYS_faccessat | libc::SYS_faccessat2 => "faccessat",
        libc::SYS_getdents64 => "getdents64",
        libc::SYS_fchmod => "fchmod",
        libc::SYS_fchmodat => "fchmodat",
        libc::SYS_fchown => "fchown",
        libc::SYS_fchownat => "fchownat",
        libc::SYS_utimensat => "utimensat",
        libc::SYS_fgetxattr => "fgetxattr",
        libc::SYS_fsetxattr => "fsetxattr",
        libc::SYS_flistxattr => "flistxattr",
        libc::SYS_fremovexattr => "fremovexattr",
        libc::SYS_getxattr | libc::SYS_lgetxattr => "getxattr",
        libc::SYS_listxattr | libc::SYS_llistxattr => "listxattr",
        libc::SYS_setxattr | libc::SYS_lsetxattr => "setxattr",
        libc::SYS_getrusage => "getrusage",
        libc::SYS_prlimit64 => "prlimit64",
        libc::SYS_clone | libc::SYS_clone3 => "clone",
        _ => return None,
    };
    Some(name)
}

fn is_writing(flags: u64) -> bool {
    flags as i32 & libc::O_ACCMODE != libc::O_RDONLY
}

/// fcntl(2) by its command. `None` for F_GETFD, by which a debug build of std checks a descriptor before it closes it.
fn fcntl_name(command: i32) -> Option<&'static str> {
    match command {
        libc::F_GETFD => None,
        libc::F_GETFL => Some("fcntl(F_GETFL)"),
        libc::F_SETFL => Some("fcntl(F_SETFL)"),
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => Some("fcntl(F_DUPFD)"),
        libc::F_SETPIPE_SZ => Some("fcntl(F_SETPIPE_SZ)"),
        libc::F_GETPIPE_SZ => Some("fcntl(F_GETPIPE_SZ)"),
        _ => Some("fcntl"),
    }
}

/// Whether the call of this name moves bytes, so that it can move fewer.
pub(super) fn moves_bytes(name: &str) -> bool {
    [
        "read",
        "write",
        "pread64",
        "pwrite64",
        "pwritev2",
        "splice",
        "sendfile",
        "copy_file_range",
    ]
    .contains(&name)
}

/// Where the length of a call is.
#[derive(Clone, Copy, Debug)]
pub(super) enum LengthArg {
    Rdx,
    R8,
    R10,
    /// The first length in an array of iovec at this address.
    Memory(u64),
}

/// Where the length of a call that moves bytes is.
pub(super) fn length_arg(regs: &user_regs_struct) -> Option<LengthArg> {
    match regs.orig_rax.cast_signed() {
        libc::SYS_read | libc::SYS_write | libc::SYS_pread64 | libc::SYS_pwrite64 => {
            Some(LengthArg::Rdx)
        }
        libc::SYS_splice | libc::SYS_copy_file_range => Some(LengthArg::R8),
        libc::SYS_sendfile => Some(LengthArg::R10),
        libc::SYS_pwritev2 => Some(LengthArg::Memory(regs.rsi + size_of::<u64>() as u64)),
        _ => None,
    }
}

impl LengthArg {
    pub(super) fn get(self, pid: Pid, regs: &user_regs_struct) -> nix::Result<u64> {
        match self {
            Self::Rdx => Ok(regs.rdx),
            Self::R8 => Ok(regs.r8),
            Self::R10 => Ok(regs.r10),
            Self::Memory(at) => peek(pid, at),
        }
    }

    pub(super) fn set(self, pid: Pid, regs: &mut user_regs_struct, len: u64) -> nix::Result<()> {
        match self {
            Self::Rdx => regs.rdx = len,
            Self::R8 => regs.r8 = len,
            Self::R10 => regs.r10 = len,
            Self::Memory(at) => {
                return ptrace::write(pid, at as *mut c_void, len as c_long);
            }
        }
        ptrace::setregs(pid, *regs)
    }
}

/// One word of the memory of a tracee.
pub(super) fn peek(pid: Pid, at: u64) -> nix::Result<u64> {
    ptrace::read(pid, at as *mut c_void).map(c_long::cast_unsigned)
}
