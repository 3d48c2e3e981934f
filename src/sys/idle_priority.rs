//! A thread that steps back: the idle I/O class, the lowest nice value, and the idle scheduling policy.
//!
//! All three belong to the calling thread (on Linux the nice value, too, whatever POSIX says: setpriority(2), NOTES), and to the
//! threads and processes that it starts from then on; the tests hold the kernel to that. So they are to be called before there
//! are threads that copy, and after those processes were forked that watch what the machine feels.
#![allow(unsafe_code)]

use std::io;

/// From include/uapi/linux/ioprio.h: of whom, and the class with its level above it. glibc has no wrapper.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;
const IOPRIO_CLASS_IDLE: libc::c_int = 3;

/// The calling thread, for all three calls.
const CALLING_THREAD: libc::c_int = 0;

/// The lowest priority: a weight of 15, where a thread of nice 0 has 1024 (`sched_prio_to_weight`, kernel/sched/core.c).
const LOWEST_NICE: libc::c_int = 19;

/// ioprio_set(2): its reads and its direct and synchronous writes are served when nobody else's wait, by schedulers that look at
/// classes.
///
/// # Errors
/// EPERM for who is not root before Linux 2.6.25; ENOSYS for a kernel without block devices; what a sandbox says.
pub fn set_idle_io_class() -> io::Result<()> {
    let class = IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT;
    // SAFETY: ioprio_set takes three integers.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            CALLING_THREAD,
            class,
        )
    };
    ok_or_errno(rc == 0)
}

/// setpriority(2): nice 19. What is nicer is never forbidden, and cannot be taken back without `CAP_SYS_NICE` or
/// `RLIMIT_NICE`.
///
/// # Errors
/// What a sandbox says.
pub fn set_lowest_nice() -> io::Result<()> {
    // SAFETY: setpriority takes three integers.
    let rc = unsafe {
        libc::setpriority(
            libc::PRIO_PROCESS,
            CALLING_THREAD.cast_unsigned(),
            LOWEST_NICE,
        )
    };
    ok_or_errno(rc == 0)
}

/// sched_setscheduler(2): SCHED_IDLE, lower even than nice 19 (sched(7)): a weight of 3 for 15 (`WEIGHT_IDLEPRIO`,
/// kernel/sched/sched.h), and who wakes up does not wait for it.
///
/// # Errors
/// EPERM for a real-time thread without `CAP_SYS_NICE`; what a sandbox says.
pub fn set_idle_scheduling() -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid sched_param, made of integers; its priority must be 0 here.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads a live sched_param.
    let rc =
        unsafe { libc::sched_setscheduler(CALLING_THREAD, libc::SCHED_IDLE, &raw const param) };
    ok_or_errno(rc == 0)
}

fn ok_or_errno(done: bool) -> io::Result<()> {
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::thread;

    use super::*;

    /// I/O class, nice value and policy of a thread or a process.
    type Standing = (libc::c_long, i32, i32);

    const IDLE: Standing = (3, 19, libc::SCHED_IDLE);

    fn own() -> Standing {
        standing(CALLING_THREAD, "thread-self")
    }

    /// As ioprio_get(2) says the class, and fields 19 and 41 of proc_pid_stat(5) the rest.
    fn standing(who: libc::c_int, name: &str) -> Standing {
        // SAFETY: ioprio_get takes two integers.
        let ioprio = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, who) };
        let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let field = |n: usize| rest.split(' ').nth(n - 3).unwrap().parse().unwrap();
        (ioprio >> IOPRIO_CLASS_SHIFT, field(19), field(41))
    }

    /// Of a child process, which waits for a word meanwhile.
    fn of_child() -> Standing {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let found = standing(child.id().cast_signed(), &child.id().to_string());
        drop(child.stdin.take());
        child.wait().unwrap();
        found
    }

    #[test]
    fn a_thread_that_steps_back_takes_those_that_it_starts_along_and_nobody_else() {
        let before = own();
        assert_ne!(before, IDLE);
        let idle = thread::spawn(|| {
            set_idle_io_class().unwrap();
            set_lowest_nice().unwrap();
            set_idle_scheduling().unwrap();
            let started = thread::spawn(own).join().unwrap();
            [own(), started, of_child()]
        });
        assert_eq!(idle.join().unwrap(), [IDLE; 3]);
        let started = thread::spawn(own).join().unwrap();
        assert_eq!([own(), started, of_child()], [before; 3]);
    }

    #[test]
    fn the_class_and_the_nice_value_stay_when_the_policy_is_set_first() {
        let last = thread::spawn(|| {
            set_idle_scheduling().unwrap();
            set_lowest_nice().unwrap();
            set_idle_io_class().unwrap();
            own()
        });
        assert_eq!(last.join().unwrap(), IDLE);
    }
}
